//! The whole server in this process, and clients that offer it credentials of every shape.

use std::net::SocketAddr;

use loquat::{
    app::{App, Signals},
    config::Settings,
};
use reqwest::{
    Client, StatusCode,
    header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    mini::Socket,
    support::{TestDatabase, program::client},
};

pub struct Server {
    address: SocketAddr,
    http: Client,
    pub database: TestDatabase,
}

/// How a client fared, as far as it can see.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// Signed in, as this user.
    User(String),
    Refused,
    /// To come back in so many seconds.
    Unavailable(u64),
    Other(String),
}

pub type Headers = Vec<(&'static str, Vec<u8>)>;

const REFUSAL: &str = "The credential was not accepted. Sign in again.";
const QUESTION: &str = "{ viewer { externalId } }";

impl Server {
    pub async fn start(mut settings: Settings) -> Self {
        let database = TestDatabase::create().await;
        let http = client();
        settings.database.url = Some(database.url.clone());
        settings.bind = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut signals = Signals::listen().expect("signals can be heard");
        let app = App::start(settings).await.expect("the server starts");
        let address = app.address();
        // It ends with the test's runtime.
        tokio::spawn(async move { app.run(&mut signals).await });
        Self {
            address,
            http,
            database,
        }
    }

    /// Asks who it is, by POST, with these headers and this query string.
    pub async fn ask(&self, headers: &Headers, query: &str) -> Reply {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let value = HeaderValue::from_bytes(value).expect("a header");
            map.append(HeaderName::from_static(name), value);
        }
        let url = format!("http://{}/graphql{query}", self.address);
        let asking = self.http.post(url).headers(map);
        let answer = asking
            .json(&json!({ "query": QUESTION }))
            .send()
            .await
            .expect("an answer");
        let status = answer.status();
        let headers = answer.headers().clone();
        let body: Value = answer.json().await.expect("JSON");
        let refusal = json!({ "errors": [
            { "message": REFUSAL, "extensions": { "code": "UNAUTHENTICATED" } },
        ] });
        match body["data"]["viewer"]["externalId"].as_str() {
            Some(user) => Reply::User(user.to_owned()),
            None if status == StatusCode::UNAUTHORIZED
                && body == refusal
                && headers[WWW_AUTHENTICATE] == "Bearer" =>
            {
                Reply::Refused
            }
            None if status == StatusCode::SERVICE_UNAVAILABLE => {
                let error = &body["errors"][0]["extensions"];
                assert_eq!(error["code"], "UNAVAILABLE");
                let seconds = error["retryAfter"].as_u64().expect("seconds");
                assert_eq!(headers[RETRY_AFTER], seconds.to_string().as_str());
                Reply::Unavailable(seconds)
            }
            None => Reply::Other(format!("{status} {body}")),
        }
    }

    /// Opens a socket with this payload.
    pub async fn open(&self, payload: &Value) -> Reply {
        let stream = TcpStream::connect(self.address)
            .await
            .expect("a connection");
        let mut socket = Socket::open(stream).await;
        socket
            .send(json!({ "type": "connection_init", "payload": payload }))
            .await;
        match socket.frame().await {
            Some(Message::Text(_)) => {}
            Some(Message::Close(Some(close))) => {
                return match (u16::from(close.code), close.reason.as_str()) {
                    (4403, REFUSAL) => Reply::Refused,
                    (code, reason) => Reply::Other(format!("{code} {reason}")),
                };
            }
            other => return Reply::Other(format!("{other:?}")),
        }
        socket.subscribe("1", QUESTION).await;
        let answer = socket.next().await;
        let user = &answer["payload"]["data"]["viewer"]["externalId"];
        Reply::User(user.as_str().expect("a user").to_owned())
    }
}
