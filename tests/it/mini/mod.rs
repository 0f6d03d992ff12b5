//! The transports on a schema of their own: everything that an answer can do, on command.

mod schema;
mod socket;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_graphql::Request as GraphqlRequest;
use axum::{Router, body::Body, routing::get};
use http::{Request, Response};
use loquat::{
    auth::Credential,
    config::{LimitSettings, RequestLimits},
    graphql::{
        TextBudget,
        guard::{Guard, Limits},
    },
    http::{
        graphql::{Backend, Endpoint, Options, Persisted, SignInError, Timing, router},
        server::Server,
    },
    lifecycle::Lifecycle,
    model::UserId,
};
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tower::ServiceExt;

pub use schema::{Controls, schema};
pub use socket::{Socket, handshake};

/// A user of the small schema.
#[derive(Clone, Debug)]
pub struct User {
    pub name: String,
    expires_at: Option<SystemTime>,
    /// Opened by a test.
    ended: Arc<Semaphore>,
}

#[derive(Clone)]
pub struct MiniBackend {
    schema: schema::MiniSchema,
    controls: Controls,
}

impl Backend for MiniBackend {
    type Session = User;
    type Executor = schema::MiniSchema;

    fn executor(&self) -> &schema::MiniSchema {
        &self.schema
    }

    /// A token is a name, and after an `@` the time at which it expires.
    async fn sign_in(
        &self,
        credential: &Credential,
        _address: Option<IpAddr>,
    ) -> Result<User, SignInError> {
        let token = match credential {
            Credential::Bearer(token) | Credential::ApiKey(token) => token.expose_secret(),
            Credential::DevelopmentUser(name) | Credential::Gateway { user: name, .. } => name,
        };
        match token {
            "refused" => return Err(SignInError::Refused),
            "unavailable" => {
                return Err(SignInError::Unavailable {
                    retry_after: Duration::from_millis(6_100),
                });
            }
            "slow" => self.controls.gate("sign-in").await,
            _ => {}
        }
        let (name, expires_at) = match token.split_once('@') {
            Some((name, at)) => {
                let at = Duration::from_millis(at.parse().expect("milliseconds"));
                (name, Some(SystemTime::UNIX_EPOCH + at))
            }
            None => (token, None),
        };
        Ok(User {
            name: name.to_owned(),
            expires_at,
            ended: self.controls.semaphore(&format!("end of {name}")),
        })
    }

    fn user(session: &User) -> UserId {
        let mut bytes = [0; 16];
        bytes
            .iter_mut()
            .zip(session.name.bytes())
            .for_each(|(byte, of)| *byte = of);
        UserId::from_uuid(uuid::Uuid::from_bytes(bytes))
    }

    fn expires_at(session: &User) -> Option<SystemTime> {
        session.expires_at
    }

    async fn ended(session: &User) -> &'static str {
        drop(session.ended.acquire().await.expect("never closed"));
        "The test has ended the session"
    }

    fn may_go_on(current: &User, fresh: &User) -> Result<(), &'static str> {
        if current.name == fresh.name {
            Ok(())
        } else {
            Err("The credential is another user's")
        }
    }

    fn attach(&self, request: GraphqlRequest, session: &User, _: TextBudget) -> GraphqlRequest {
        request.data(session.clone())
    }
}

/// The token of a user that expires after this long.
pub fn token_for(name: &str, lasting: Duration) -> String {
    let at = SystemTime::now() + lasting;
    let at = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970");
    format!("{name}@{}", at.as_millis())
}

/// Everything on one router, in memory until [`Mini::serve`] binds it.
pub struct Mini {
    pub controls: Controls,
    pub guard: Guard,
    pub lifecycle: Lifecycle,
    router: Router,
}

pub fn options() -> Options {
    Options {
        public_introspection: false,
        socket_origins: vec!["https://app.example.com".to_owned()],
        timing: Timing::default(),
        limits: RequestLimits::default(),
    }
}

impl Mini {
    pub fn new() -> Self {
        Self::with(options())
    }

    pub fn with(options: Options) -> Self {
        Self::made_of(options, Limits::default(), Persisted::default())
    }

    pub fn persisting(persisted: Persisted) -> Self {
        Self::made_of(options(), Limits::default(), persisted)
    }

    pub fn limited(limits: LimitSettings) -> Self {
        let options = Options {
            limits: limits.request,
            ..options()
        };
        Self::made_of(options, limits.document.into(), Persisted::default())
    }

    fn made_of(options: Options, limits: Limits, persisted: Persisted) -> Self {
        let controls = Controls::default();
        let schema = schema(&controls);
        let guard = Guard::new(limits, &schema.sdl());
        let lifecycle = Lifecycle::new();
        let backend = MiniBackend {
            schema,
            controls: controls.clone(),
        };
        let endpoint = Endpoint::new(backend, guard.clone(), lifecycle.clone(), options)
            .with_persisted(persisted);
        Self {
            controls,
            guard,
            lifecycle,
            // Which a proxy asks for.
            router: router(endpoint).route("/health/ready", get(async || "ready")),
        }
    }

    pub async fn send(&self, request: Request<Body>) -> Response<Body> {
        let router = self.router.clone();
        router.oneshot(request).await.expect("infallible")
    }

    /// Binds a port that nobody else has.
    pub async fn serve(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = Server::new(self.router.clone(), self.lifecycle.clone());
        self.lifecycle.spawn(server.serve(listener));
        address
    }

    /// A socket that has done nothing yet.
    pub async fn socket(&self) -> Socket {
        let address = self.serve().await;
        let stream = TcpStream::connect(address).await.expect("a connection");
        Socket::open(stream).await
    }

    /// A socket whose user is Ada.
    pub async fn open_socket(&self) -> Socket {
        let mut socket = self.socket().await;
        socket.init("ada").await;
        socket
    }
}

impl Drop for Mini {
    fn drop(&mut self) {
        self.lifecycle.begin_hard_stop();
    }
}

pub async fn json(response: Response<Body>) -> Value {
    let body = axum::body::to_bytes(response.into_body(), usize::MAX)
        .await
        .expect("a body");
    serde_json::from_slice(&body).expect("JSON")
}

/// The code of the first error.
pub fn code(answer: &Value) -> &str {
    answer["errors"][0]["extensions"]["code"]
        .as_str()
        .unwrap_or_else(|| panic!("no code in {answer}"))
}
