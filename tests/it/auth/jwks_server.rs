//! A server of key sets that counts, waits at a gate, and answers whatever it is told.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    extract::State,
    response::{IntoResponse, Json, Response},
};
use loquat::{auth::Authenticator, config::Settings, lifecycle::Lifecycle};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch};
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
        use jsonwebtoken::Algorithm as A;
        let mut settings = settings(&[
            ("JWT_JWKS_URL", self.url.as_str()),
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
