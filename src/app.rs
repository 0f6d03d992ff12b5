//! The composition root: builds every dependency, once, and takes them down in reverse order.
//!
//! Invariant: nothing else makes a dependency for itself. What starts is what is stopped: requests
//! and tasks first, then the pool, and the database last.

mod descriptors;
mod error;
mod host;
mod signals;
mod welcome;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use tokio::{net::TcpListener, time::timeout};

use crate::{
    accounts::{Accounts, DeletionTiming},
    audit::Audit,
    auth::Authenticator,
    broker::{Broker, Memory, Redis},
    chat::{Chat, Timing},
    config::{Environment, Settings, names},
    db::Database,
    graphql::{self, Vetting, guard::Guard},
    http::{
        self, Health,
        graphql::{
            ChatBackend, Endpoint, Options, Persisted, Timing as ConnectionTiming, TrustedDocuments,
        },
        server::Server,
    },
    lifecycle::Lifecycle,
    llm::{Provider, demo::Demo, openai::OpenAi},
};

pub use error::StartError;
pub use host::DatabaseHost;
pub use signals::Signals;

/// How long subscribers may take to hear the end of the replies that have ended. Those who follow
/// a reply of another process hear it there.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How long tasks may take to notice the hard stop.
const HARD_STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the pool may take to close.
const POOL_CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A server that has everything it needs, and listens.
pub struct App {
    settings: Settings,
    listener: TcpListener,
    address: SocketAddr,
    host: DatabaseHost,
    services: Services,
    lifecycle: Lifecycle,
}

/// What stands on the database.
struct Services {
    database: Database,
    chat: Chat,
    router: Router,
}

impl App {
    /// Takes the address first: that is what most often is not free, and costs nothing to ask.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        let (listener, address) = listen(&settings).await?;
        let guard = guard(&settings);
        let trusted = trusted_documents(&settings, &guard).await?;
        let lifecycle = Lifecycle::new();
        let host = DatabaseHost::start(&settings).await?;
        match Services::start(&settings, &host, guard, trusted, &lifecycle).await {
            Ok(services) => Ok(Self {
                settings,
                listener,
                address,
                host,
                services,
                lifecycle,
            }),
            Err(error) => {
                lifecycle.begin_hard_stop();
                end_tasks(&lifecycle).await;
                host.stop().await;
                Err(error)
            }
        }
    }

    /// Where it listens; of use where the settings left the port to the system.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until a signal, and then until everything is put away.
    pub async fn run(self, signals: &mut Signals) {
        let Self {
            settings,
            listener,
            address,
            host,
            services,
            lifecycle,
        } = self;
        let server = Server::new(services.router, lifecycle.clone())
            .behind(&settings.trusted_proxies)
            .with_at_most(descriptors::connections(&settings));
        lifecycle.spawn(server.serve(listener));
        welcome::say(&settings, address, &host);

        signals.next().await;
        tracing::info!("stopping: no new work is taken, running replies may finish");
        lifecycle.begin_soft_stop();
        tokio::select! {
            () = take_leave(&services.chat, &lifecycle, settings.shutdown_grace) => {}
            () = signals.next() => tracing::warn!("stopping at once"),
        }

        lifecycle.begin_hard_stop();
        end_tasks(&lifecycle).await;
        if timeout(POOL_CLOSE_TIMEOUT, services.database.close())
            .await
            .is_err()
        {
            tracing::warn!("some database connections did not close in time");
        }
        host.stop().await;
        tracing::info!("stopped");
    }
}

impl Services {
    async fn start(
        settings: &Settings,
        host: &DatabaseHost,
        guard: Guard,
        trusted: TrustedDocuments,
        lifecycle: &Lifecycle,
    ) -> Result<Self, StartError> {
        let authenticator = Authenticator::new(settings, lifecycle)?;
        let provider: Arc<dyn Provider> = match &settings.provider.openai {
            Some(openai) => Arc::new(OpenAi::new(openai).map_err(StartError::Provider)?),
            None => Arc::new(Demo::default()),
        };
        let database = Database::connect(
            host.url(),
            settings.database.max_connections,
            settings.database.named_statements,
        )
        .await
        .map_err(|error| StartError::database(settings, error))?;
        let redis = redis(settings, &database, lifecycle).await?;
        let broker: Arc<dyn Broker> = match &redis {
            Some(redis) => Arc::new(redis.clone()),
            None => Arc::new(Memory::default().join()),
        };
        let chat = Chat::start(
            database.clone(),
            provider,
            broker,
            &settings.provider,
            settings.chat.clone(),
            Timing::default(),
            lifecycle.clone(),
        );
        let accounts = Accounts::start(
            authenticator,
            database.clone(),
            Audit::start(database.clone(), settings.audit_retention, lifecycle),
            settings.jwt_leeway,
            DeletionTiming::default(),
            lifecycle,
        );
        let endpoint = Endpoint::new(
            ChatBackend::new(chat.clone(), accounts),
            guard,
            lifecycle.clone(),
            Options {
                public_introspection: settings.environment == Environment::Development,
                socket_origins: settings.cors_origins.clone(),
                timing: ConnectionTiming::default(),
                limits: settings.limits.request,
            },
        )
        .with_persisted(Persisted::new(
            settings.documents.admitted,
            trusted,
            redis.clone(),
        ));
        let router = http::router(
            settings,
            http::graphql::router(endpoint),
            Health::new(database.clone(), redis, lifecycle.clone()),
        );
        Ok(Self {
            database,
            chat,
            router,
        })
    }
}

/// What documents may cost.
fn guard(settings: &Settings) -> Guard {
    Guard::new(settings.limits.document.into(), &graphql::sdl())
}

/// The documents of the manifests, each of which could run.
async fn trusted_documents(
    settings: &Settings,
    guard: &Guard,
) -> Result<TrustedDocuments, StartError> {
    let manifests = &settings.documents.trusted;
    if manifests.is_empty() {
        return Ok(TrustedDocuments::default());
    }
    TrustedDocuments::load(manifests, &Vetting::new(guard.clone()))
        .await
        .map_err(|error| StartError::documents(settings, error))
}

/// How many documents the settings trust, or why the server would not start with them.
pub async fn examine_documents(settings: &Settings) -> Result<usize, StartError> {
    let trusted = trusted_documents(settings, &guard(settings)).await?;
    Ok(trusted.len())
}

/// The fast path to other processes, if there is one. That it does not work yet stops nothing.
async fn redis(
    settings: &Settings,
    database: &Database,
    lifecycle: &Lifecycle,
) -> Result<Option<Redis>, StartError> {
    let Some(redis) = &settings.redis else {
        return Ok(None);
    };
    let key = database.broker_key().await.map_err(StartError::BrokerKey)?;
    Ok(Some(Redis::start(redis, &key, lifecycle)))
}

async fn listen(settings: &Settings) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen {
        setting: settings.origins.of(&names::BIND),
        address: settings.bind,
        source,
    };
    let listener = TcpListener::bind(settings.bind).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Lets replies finish and parts with those who are connected, all within this time.
async fn take_leave(chat: &Chat, lifecycle: &Lifecycle, grace: Duration) {
    let farewell = lifecycle.farewell_time().min(grace / 2);
    if timeout(grace - farewell, drained(chat, lifecycle))
        .await
        .is_err()
    {
        tracing::warn!("some replies did not finish in time and are handed over");
    }
    drop(timeout(farewell, lifecycle.part_with_guests(farewell)).await);
}

/// Every reply of this process has ended, and its subscribers know.
async fn drained(chat: &Chat, lifecycle: &Lifecycle) {
    chat.drained().await;
    // Whoever is left waits for something else.
    drop(timeout(LAST_WORDS, lifecycle.settled()).await);
}

async fn end_tasks(lifecycle: &Lifecycle) {
    if timeout(HARD_STOP_TIMEOUT, lifecycle.finished())
        .await
        .is_err()
    {
        tracing::warn!("some tasks did not end in time");
    }
}
