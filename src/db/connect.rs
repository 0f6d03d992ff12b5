use std::{str::FromStr, sync::Arc, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    Connection, PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::{sync::Semaphore, time::timeout};

use super::{
    Admin, AdminTx, DbError, SystemReason, SystemTx, Viewer, ViewerTx,
    changes::{Changes, Listeners},
    error::during,
    migrate::{self, MigrateError},
    statements::Pool,
    turns::{Turn, Turns},
};
use crate::model::UserId;

/// How long a request waits for a connection before it is told to come back later.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// The roles that statements run as, one for each kind of transaction.
pub(super) const ROLES: [&str; 3] = ["loquat_viewer", "loquat_system", "loquat_admin"];

/// The oldest PostgreSQL that the SQL of this program is for.
const OLDEST_SERVER: u32 = 15;

/// The database. Holds the only pool, and never lends it out.
#[derive(Clone, Debug)]
pub struct Database {
    /// What requests wait for.
    requests: Pool,
    /// What replies are written through: their leases must not wait behind requests.
    engine: Pool,
    turns: Arc<Turns>,
    /// One fewer than the engine has connections: the last is for ticks, which renew leases.
    writers: Arc<Semaphore>,
    /// One a user: all of them change the user's list, so they would wait for each other there, and
    /// keep everybody else from writing meanwhile.
    own_writers: Arc<Turns>,
    pub(super) listeners: Listeners,
}

/// Why the database cannot be used. Each text is one line, for whoever starts the server, and goes
/// behind the name of the setting that chose the database.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseSetupError {
    #[error(
        "not a PostgreSQL URL ({0}): write it as postgresql://user:password@host:5432/database"
    )]
    Url(String),
    #[error(
        "the database cannot be reached ({0}): check host, port, user and password, and that the server runs"
    )]
    Unreachable(String),
    #[error(
        "the database runs PostgreSQL {0}, and Loquat needs 15 or newer: upgrade it or name another"
    )]
    TooOld(u32),
    #[error(
        "the role {login:?} may not become {role}: as an administrator, run GRANT loquat_viewer, loquat_system, loquat_admin TO \"{login}\";"
    )]
    RoleNotGranted { login: String, role: &'static str },
    #[error(transparent)]
    Migrate(#[from] MigrateError),
}

impl Database {
    /// Connects, brings the schema up to date and makes sure that every role can be taken on.
    /// `named_statements` off suits poolers in transaction mode.
    pub async fn connect(
        url: &SecretString,
        max_connections: u32,
        named_statements: bool,
    ) -> Result<Self, DatabaseSetupError> {
        let options = connect_options(url)?;
        migrate::up(&options).await?;
        let mut connection = migrate::open(&options).await?;
        check_roles(&mut connection).await?;
        connection.close().await.map_err(unreachable)?;
        let pool = |connections| {
            let limits = PgPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(ACQUIRE_TIMEOUT);
            Pool::new(limits, options.clone(), named_statements)
        };
        let engine = (max_connections / 3).clamp(2, 10);
        let requests = max_connections.saturating_sub(engine).max(1);
        let database = Self {
            requests: pool(requests),
            engine: pool(engine),
            turns: Arc::new(Turns::of(requests)),
            writers: Arc::new(Semaphore::new(engine as usize - 1)),
            own_writers: Arc::new(Turns::one_each()),
            listeners: Listeners::default(),
        };
        Ok(database)
    }

    /// Opens a transaction on the viewer's own rows, for a request of theirs. Waits for their turn
    /// first, no longer than for a connection.
    pub async fn viewer_tx(&self, viewer: &Viewer) -> Result<ViewerTx, DbError> {
        let turn = self.turn(viewer.user_id()).await?;
        ViewerTx::begin(&self.requests, viewer, self.changes(viewer), turn).await
    }

    /// The same, to read several things as they are at one moment.
    pub async fn viewer_snapshot(&self, viewer: &Viewer) -> Result<ViewerTx, DbError> {
        let turn = self.turn(viewer.user_id()).await?;
        ViewerTx::begin_snapshot(&self.requests, viewer, self.changes(viewer), turn).await
    }

    /// Opens a transaction on what an admin may see, if they are one still.
    pub async fn admin_tx(&self, admin: &Admin) -> Result<AdminTx, DbError> {
        let turn = self.turn(admin.user_id()).await?;
        let mut tx = AdminTx::begin(&self.requests, admin, turn).await?;
        admin.check(&mut tx.tx).await?;
        Ok(tx)
    }

    async fn turn(&self, user_id: UserId) -> Result<Turn, DbError> {
        timeout(ACQUIRE_TIMEOUT, self.turns.next(user_id))
            .await
            .map_err(|_| sqlx::Error::PoolTimedOut)
            .map_err(during("wait for the user's turn"))
    }

    /// Opens a transaction on the viewer's own rows, for a reply of theirs.
    pub async fn engine_tx(&self, viewer: &Viewer) -> Result<ViewerTx, DbError> {
        let own = self.own_writers.next(viewer.user_id()).await;
        let turn = Turn::of(&self.writers).await.behind(own);
        ViewerTx::begin(&self.engine, viewer, self.changes(viewer), turn).await
    }

    fn changes(&self, viewer: &Viewer) -> Changes {
        Changes::new(&self.listeners, viewer.user_id())
    }

    /// Opens a transaction across users.
    pub async fn system_tx(&self, reason: SystemReason) -> Result<SystemTx, DbError> {
        let pool = match reason {
            SystemReason::SignIn
            | SystemReason::Audit
            | SystemReason::Deletion
            | SystemReason::Keys
            | SystemReason::Health => &self.requests,
            SystemReason::Tick
            | SystemReason::Recovery
            | SystemReason::Progress
            | SystemReason::Endings
            | SystemReason::CleanUp => &self.engine,
        };
        SystemTx::begin(pool, reason).await
    }

    /// Whether the database answers now.
    pub async fn ping(&self) -> Result<(), DbError> {
        self.system_tx(SystemReason::Health).await?.commit().await
    }

    /// Closes every connection and waits for those in use.
    pub async fn close(&self) {
        tokio::join!(self.requests.close(), self.engine.close());
    }
}

/// Whether the login role may become each of the three: the last question it asks itself.
pub(super) async fn check_roles(connection: &mut PgConnection) -> Result<(), DatabaseSetupError> {
    let mut tx = connection.begin().await.map_err(unreachable)?;
    for role in ROLES {
        let (login, granted): (String, bool) = sqlx::query_as(
                "select current_user::text, pg_has_role(current_user, $1, \
                 case when current_setting('server_version_num')::int >= 160000 then 'SET' else 'MEMBER' end)",
            )
            .bind(role)
            .persistent(false)
            .fetch_one(&mut *tx)
            .await
            .map_err(unreachable)?;
        if !granted {
            return Err(DatabaseSetupError::RoleNotGranted { login, role });
        }
    }
    Ok(())
}

/// Reads a URL of the settings.
pub(super) fn connect_options(url: &SecretString) -> Result<PgConnectOptions, DatabaseSetupError> {
    let options = PgConnectOptions::from_str(url.expose_secret())
        .map_err(|error| DatabaseSetupError::Url(one_line(&error)))?;
    Ok(options.application_name("loquat"))
}

pub(super) fn check_version(version_num: i32) -> Result<(), DatabaseSetupError> {
    let major = u32::try_from(version_num / 10_000).unwrap_or(0);
    if major < OLDEST_SERVER {
        return Err(DatabaseSetupError::TooOld(major));
    }
    Ok(())
}

pub(super) fn unreachable(error: sqlx::Error) -> DatabaseSetupError {
    DatabaseSetupError::Unreachable(one_line(&error))
}

/// The message of the innermost cause, which names the fault; never holds the URL.
pub(super) fn one_line(error: &sqlx::Error) -> String {
    let text = match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Configuration(error) => error.to_string(),
        other => other.to_string(),
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
