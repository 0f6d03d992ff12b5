//! The program itself, over HTTP and sockets.

use std::net::SocketAddr;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    sync::{Mutex, mpsc},
};
use tokio_tungstenite::tungstenite::Message;

use super::{Common, User};
use crate::{
    mini::Socket,
    support::{
        TestDatabase,
        process::program,
        program::{Server, client},
    },
};

pub struct Running {
    address: SocketAddr,
    http: reqwest::Client,
    /// Gone once it was waited for.
    server: Mutex<Option<Server>>,
}

impl Running {
    pub async fn start(common: &Common, test: &TestDatabase) -> Self {
        let provider = common.author.provider().await;
        let mut program = program(test, provider)
            .variable("LOQUAT_DATABASE_STATEMENT_CACHE", "false")
            .variable("LOQUAT_SHUTDOWN_GRACE_SECONDS", "1");
        if let Some((most, most_per_user)) = common.places {
            program = program
                .variable("LOQUAT_MAX_RUNS", &most.to_string())
                .variable("LOQUAT_MAX_RUNS_PER_USER", &most_per_user.to_string());
        }
        if let Some(redis) = &*common.redis.lock().await {
            program = program.variable("REDIS_URL", &redis.url());
        }
        let server = program.serve().await;
        Self {
            address: server.address(),
            http: client(),
            server: Mutex::new(Some(server)),
        }
    }

    pub async fn ask(&self, user: &User, document: &str, variables: Value) -> Option<Value> {
        let body = json!({ "query": document, "variables": variables });
        let request = self.http.post(format!("http://{}/graphql", self.address));
        let answer = request.header("x-user-id", user.name).json(&body).send();
        answer.await.ok()?.json().await.ok()
    }

    pub fn subscribe(
        &self,
        user: &User,
        document: &str,
        variables: Value,
    ) -> mpsc::Receiver<Value> {
        let (sender, receiver) = mpsc::channel(1);
        let subscribe = json!({ "type": "subscribe", "id": "it", "payload": {
            "query": document, "variables": variables,
        } });
        let forwarded = forward(self.address, user.name, subscribe, sender);
        tokio::spawn(async move {
            let _ = forwarded.await;
        });
        receiver
    }

    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    pub async fn stop(&self) {
        self.resume();
        self.signal(Signal::SIGTERM);
        if let Some(server) = self.server.lock().await.take() {
            let ended = server.end().await;
            assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        }
    }

    pub async fn reap(&self) {
        if let Some(server) = self.server.lock().await.take() {
            server.end().await;
        }
    }

    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        if let Ok(server) = self.server.try_lock()
            && let Some(server) = server.as_ref()
        {
            server.signal(signal);
        }
    }
}

/// `None`: the connection is gone, however that came about.
async fn forward(
    address: SocketAddr,
    user: &'static str,
    subscribe: Value,
    events: mpsc::Sender<Value>,
) -> Option<()> {
    let stream = TcpStream::connect(address).await.ok()?;
    let mut socket = Socket::try_open(stream).await?;
    let init = json!({ "type": "connection_init", "payload": { "X-User-Id": user } });
    socket.try_say(Message::text(init.to_string())).await;
    loop {
        let frame = tokio::select! {
            frame = socket.frame() => frame?,
            () = events.closed() => return None,
        };
        let message: Value = match frame {
            Message::Text(text) => serde_json::from_str(&text).expect("JSON"),
            Message::Close(_) => return None,
            _ => continue,
        };
        match message["type"].as_str() {
            Some("connection_ack") => {
                socket.try_say(Message::text(subscribe.to_string())).await;
            }
            Some("next") => events.send(message["payload"].clone()).await.ok()?,
            Some("error") => {
                let errors = json!({ "errors": message["payload"] });
                events.send(errors).await.ok()?;
            }
            Some("complete") => return Some(()),
            _ => {}
        }
    }
}
