//! Servers of key sets: one that counts, waits at a gate, and answers whatever it is told; and one
//! that turns rogue.

use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Json, Response},
};
use loquat::{auth::Authenticator, config::Settings, lifecycle::Lifecycle};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::issuer::{AUDIENCE, ISSUER, SECRET, settings};

type Answer = Arc<dyn Fn() -> Response + Send + Sync>;

#[derive(Clone)]
struct Shared {
    answer: Arc<Mutex<Answer>>,
    requests: watch::Sender<usize>,
    gate: watch::Sender<bool>,
}

pub struct JwksServer {
    pub url: String,
    shared: Shared,
    _stop: DropGuard,
}

impl JwksServer {
    /// Publishes these keys.
    pub async fn start(keys: &[Value]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Shared {
            answer: Arc::new(Mutex::new(key_set(keys))),
            requests: watch::Sender::new(0),
            gate: watch::Sender::new(true),
        };
        let stop = CancellationToken::new();
        let router = Router::new().fallback(respond).with_state(shared.clone());
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = axum::serve(listener, router) => {}
                () = stopped.cancelled() => {}
            }
        });
        Self {
            url: format!("http://{address}/jwks.json"),
            shared,
            _stop: stop.drop_guard(),
        }
    }

    pub fn publish(&self, keys: &[Value]) {
        *self.shared.answer.lock().expect("unpoisoned") = key_set(keys);
    }

    pub fn answer<R: IntoResponse>(&self, answer: impl Fn() -> R + Send + Sync + 'static) {
        *self.shared.answer.lock().expect("unpoisoned") =
            Arc::new(move || answer().into_response());
    }

    /// From now on requests are counted, then wait.
    pub fn close_gate(&self) {
        self.shared.gate.send_replace(false);
    }

    pub fn open_gate(&self) {
        self.shared.gate.send_replace(true);
    }

    pub fn requests(&self) -> usize {
        *self.shared.requests.borrow()
    }

    pub async fn reached(&self, requests: usize) {
        self.shared
            .requests
            .subscribe()
            .wait_for(|reached| *reached >= requests)
            .await
            .expect("the server holds the sender");
    }

    /// Trusts this server's keys, for every algorithm that a key set may be for.
    pub fn settings(&self) -> Settings {
        trusting(&self.url)
    }

    /// Trusts this server's keys and a shared secret.
    pub fn settings_with_secret(&self) -> Settings {
        settings(&[
            ("JWT_JWKS_URL", self.url.as_str()),
            ("JWT_SECRET_KEY", SECRET),
            ("JWT_ISSUER", ISSUER),
            ("JWT_AUDIENCE", AUDIENCE),
        ])
    }

    pub fn authenticator(&self) -> Authenticator {
        Authenticator::new(&self.settings(), &Lifecycle::new()).expect("a usable configuration")
    }
}

fn trusting(url: &str) -> Settings {
    use jsonwebtoken::Algorithm as A;
    let mut settings = settings(&[
        ("JWT_JWKS_URL", url),
        ("JWT_ISSUER", ISSUER),
        ("JWT_AUDIENCE", AUDIENCE),
    ]);
    for issuer in &mut settings.issuers {
        issuer.algorithms = vec![
            A::RS256,
            A::RS384,
            A::RS512,
            A::PS256,
            A::PS384,
            A::PS512,
            A::ES256,
            A::ES384,
            A::EdDSA,
        ];
    }
    settings
}

fn key_set(keys: &[Value]) -> Answer {
    let set = json!({ "keys": keys });
    Arc::new(move || Json(set.clone()).into_response())
}

async fn respond(State(shared): State<Shared>) -> Response {
    shared.requests.send_modify(|requests| *requests += 1);
    let opened = shared.gate.subscribe().wait_for(|open| *open).await.is_ok();
    assert!(opened, "the server holds the gate");
    let answer = Arc::clone(&shared.answer.lock().expect("unpoisoned"));
    answer()
}

/// Publishes its keys to the first who comes, and does to everybody else what it likes.
pub struct Rogue {
    pub url: String,
    connections: Arc<AtomicUsize>,
    sent: Arc<AtomicUsize>,
    _stop: DropGuard,
}

/// A connection whose request has been read.
pub struct Victim {
    stream: TcpStream,
    sent: Arc<AtomicUsize>,
}

impl Rogue {
    pub async fn start<F, Fut>(keys: &[Value], misdeed: F) -> Self
    where
        F: Fn(Victim) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (connections, sent) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let stop = CancellationToken::new();
        let (stopped, counter, bytes) = (stop.clone(), Arc::clone(&connections), Arc::clone(&sent));
        let keys = json!({ "keys": keys }).to_string();
        tokio::spawn(stopped.run_until_cancelled_owned(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let mut victim = Victim::of(stream, &bytes).await;
                if counter.fetch_add(1, Ordering::SeqCst) == 0 {
                    victim.answer("200 OK", "", keys.as_bytes()).await;
                    bytes.store(0, Ordering::SeqCst);
                } else {
                    tokio::spawn(misdeed(victim));
                }
            }
        }));
        Self {
            url: format!("http://{address}/jwks.json"),
            connections,
            sent,
            _stop: stop.drop_guard(),
        }
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// How many bytes the misdeeds could get rid of.
    pub fn sent(&self) -> usize {
        self.sent.load(Ordering::SeqCst)
    }

    pub fn authenticator(&self) -> Authenticator {
        Authenticator::new(&trusting(&self.url), &Lifecycle::new()).expect("a usable configuration")
    }
}

impl Victim {
    async fn of(mut stream: TcpStream, sent: &Arc<AtomicUsize>) -> Self {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.expect("a request"));
        }
        Self {
            stream,
            sent: Arc::clone(sent),
        }
    }

    /// Whether it still listens.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        let is_sent = self.stream.write_all(bytes).await.is_ok();
        self.sent.fetch_add(bytes.len(), Ordering::SeqCst);
        is_sent
    }

    /// The last answer on this connection.
    pub async fn answer(&mut self, status: &str, headers: &str, body: &[u8]) {
        let head = format!(
            "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        self.send(&[head.as_bytes(), body].concat()).await;
        drop(self.stream.shutdown().await);
    }
}
