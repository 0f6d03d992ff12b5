//! One server over one database, reached as clients reach it: every request through the real
//! router, with a credential that the server itself judges.

use std::net::SocketAddr;

use axum::{Router, body::Body};
use http::{Request, header};
use loquat::{
    graphql::{
        self,
        guard::{Guard, Limits},
    },
    http::{
        graphql::{ChatBackend, Endpoint, Options, Timing, router},
        server::Server,
    },
};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tower::ServiceExt;

use super::floors::Floor;
use crate::{
    mini::Socket,
    support::{Blindfold, Replica, TestDatabase, eventually, text, token},
};

pub struct Stage {
    pub test: TestDatabase,
    pub replica: Replica,
    pub blindfold: Option<Blindfold>,
    router: Router,
    address: SocketAddr,
}

/// What a caller shows.
#[derive(Clone)]
pub enum Credential {
    None,
    Bearer(String),
}

impl Credential {
    pub fn token(user: &str) -> Self {
        Self::Bearer(token(user, json!({})))
    }

    pub fn admin(user: &str) -> Self {
        Self::Bearer(token(user, json!({ "admin": true })))
    }
}

/// What came back, to the byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Of HTTP, or the code with which the socket was closed.
    pub status: u16,
    pub body: String,
}

impl Answer {
    /// The one answer, or the first event of a subscription.
    pub fn json(&self) -> Value {
        serde_json::from_str(self.body.lines().next().unwrap_or_default()).unwrap_or_default()
    }

    /// Whether there is anything in the data but nulls.
    pub fn has_data(&self) -> bool {
        !is_empty(&self.json()["data"])
    }

    pub fn codes(&self) -> Vec<String> {
        let answer = self.json();
        let errors = answer["errors"].as_array().cloned().unwrap_or_default();
        let code = |error: &Value| error["extensions"]["code"].as_str().map(str::to_owned);
        errors
            .iter()
            .map(|error| code(error).unwrap_or_default())
            .collect()
    }
}

/// Whether there is nothing in it but nulls.
fn is_empty(data: &Value) -> bool {
    match data {
        Value::Null => true,
        Value::Array(items) => items.iter().all(is_empty),
        Value::Object(members) => members.values().all(is_empty),
        _ => false,
    }
}

impl Stage {
    /// With these floors still there: [`Stage::remove`] takes them away once the people have moved in.
    pub async fn set(removable: &[Floor]) -> Self {
        let test = TestDatabase::create().await;
        let (replica, blindfold) = if removable.contains(&Floor::Sql) {
            let blindfold = Blindfold::before(&test.url).await;
            let through = test.through(blindfold.url.clone());
            (Replica::start(&through).await, Some(blindfold))
        } else {
            (Replica::start(&test).await, None)
        };
        let endpoint = Endpoint::new(
            ChatBackend::new(replica.chat.clone(), replica.accounts.clone()),
            Guard::new(Limits::default(), &graphql::sdl()),
            replica.lifecycle.clone(),
            Options {
                public_introspection: false,
                socket_origins: Vec::new(),
                timing: Timing::default(),
                limits: loquat::config::RequestLimits::default(),
            },
        );
        let router = router(endpoint);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = Server::new(router.clone(), replica.lifecycle.clone());
        replica.lifecycle.spawn(server.serve(listener));
        Self {
            test,
            replica,
            blindfold,
            router,
            address,
        }
    }

    pub async fn ask(&self, who: &Credential, document: &str, variables: &Value) -> Answer {
        let body = json!({ "query": document, "variables": variables });
        let mut request =
            Request::post("/graphql").header(header::CONTENT_TYPE, "application/json");
        if let Credential::Bearer(token) = who {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request
            .body(Body::from(body.to_string()))
            .expect("a request");
        let response = self
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("an answer");
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
        let body = String::from_utf8(body.expect("a body").to_vec()).expect("UTF-8");
        Answer { status, body }
    }

    /// The events of a subscription, an event a line, up to its end or the first that has data.
    pub async fn subscribe(&self, who: &Credential, document: &str, variables: &Value) -> Answer {
        let stream = TcpStream::connect(self.address)
            .await
            .expect("a connection");
        let mut socket = Socket::open(stream).await;
        let payload = match who {
            Credential::None => json!({}),
            Credential::Bearer(token) => json!({ "token": token }),
        };
        socket
            .send(json!({"type": "connection_init", "payload": payload}))
            .await;
        let mut body = String::new();
        loop {
            let message: Value = match socket.frame().await {
                Some(Message::Text(text)) => serde_json::from_str(&text).expect("JSON"),
                Some(Message::Close(close)) => {
                    let status = close.map_or(0, |close| close.code.into());
                    return Answer { status, body };
                }
                Some(_) => continue,
                None => return Answer { status: 0, body },
            };
            match message["type"].as_str() {
                Some("connection_ack") => {
                    let payload = json!({ "query": document, "variables": variables });
                    socket
                        .send(json!({"type": "subscribe", "id": "1", "payload": payload}))
                        .await;
                    continue;
                }
                Some("complete") => return Answer { status: 200, body },
                Some("error") => {
                    body.push_str(&json!({ "errors": message["payload"] }).to_string());
                    return Answer { status: 200, body };
                }
                _ => {}
            }
            body.push_str(&message["payload"].to_string());
            body.push('\n');
            if message["payload"].get("errors").is_none() {
                return Answer { status: 200, body };
            }
        }
    }

    /// The data of an answer without errors.
    pub async fn data(&self, who: &Credential, document: &str, variables: Value) -> Value {
        let answer = self.ask(who, document, &variables).await;
        assert!(answer.codes().is_empty(), "{document}: {answer:?}");
        answer.json()["data"].take()
    }

    /// Waits until a reply has ended.
    pub async fn finished(&self, who: &Credential, reply: &str) {
        let document = "query($id: ID!) { node(id: $id) { ... on Message { status } } }";
        eventually("the reply ends", || async {
            let found = self.data(who, document, json!({ "id": reply })).await;
            (text(&found["node"]["status"]) == "COMPLETED").then_some(())
        })
        .await;
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.replica.lifecycle.begin_hard_stop();
    }
}
