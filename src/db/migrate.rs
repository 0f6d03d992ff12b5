//! The schema's versions. Migrations run as the login role, one process at a time; everything
//! else runs as one of the three roles that they make.

use std::time::Duration;

use secrecy::SecretString;
use sqlx::{
    Connection, PgConnection,
    migrate::{Migrate, Migrator},
    postgres::PgConnectOptions,
};
use tokio::time::timeout;

use super::connect::{DatabaseSetupError, check_version, connect_options, one_line, unreachable};

/// How long a server may take to accept a connection; a host that drops packets never answers.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

const SCHEMA: &str = "chat";
const TABLE: &str = "chat.migrations";

/// Why the schema could not be brought to a version. Each text is one line.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error(
        "the database is newer than this program (it has migration {0}, which is unknown here): start a newer loquat, or run the newer one's `loquat migrate down` first"
    )]
    DatabaseIsNewer(i64),
    #[error(
        "migration {version} of the database differs from this program's: it was applied by another build; start that build, or name another database"
    )]
    Changed { version: i64 },
    #[error("the role {login:?} may not {missing}: as an administrator, run: {mend}")]
    NotAllowed {
        login: String,
        missing: &'static str,
        mend: String,
    },
    #[error("the database could not be migrated ({0})")]
    Failed(String),
}

/// One migration, and whether the database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationStatus {
    pub version: i64,
    pub name: String,
    pub applied: bool,
}

/// Applies what is missing. Returns how many migrations that were.
pub(super) async fn up(options: &PgConnectOptions) -> Result<usize, DatabaseSetupError> {
    let mut connection = open(options).await?;
    // A role that may only use the schema cannot take the migrator's path, and need not when
    // nothing is missing.
    let missing = pending(&mut connection).await?;
    if missing == 0 {
        return Ok(0);
    }
    match migrator().run(&mut connection).await {
        Ok(()) => Ok(missing),
        Err(error) => Err(explain(&mut connection, error).await.into()),
    }
}

/// Applies what is missing, for the command line.
pub async fn run_up(url: &SecretString) -> Result<usize, DatabaseSetupError> {
    up(&connect_options(url, false)?).await
}

/// Undoes the newest `count` migrations. Returns how many there were to undo.
pub async fn run_down(url: &SecretString, count: usize) -> Result<usize, DatabaseSetupError> {
    let mut connection = open(&connect_options(url, false)?).await?;
    let applied: Vec<i64> = status(&mut connection)
        .await?
        .into_iter()
        .filter(|migration| migration.applied)
        .map(|migration| migration.version)
        .collect();
    let undone = count.min(applied.len());
    if undone == 0 {
        return Ok(0);
    }
    let target = applied
        .len()
        .checked_sub(undone + 1)
        .map_or(0, |index| applied[index]);
    match migrator().undo(&mut connection, target).await {
        Ok(()) => Ok(undone),
        Err(error) => Err(explain(&mut connection, error).await.into()),
    }
}

/// Every migration of this program, oldest first.
pub async fn run_status(url: &SecretString) -> Result<Vec<MigrationStatus>, DatabaseSetupError> {
    let mut connection = open(&connect_options(url, false)?).await?;
    status(&mut connection).await
}

fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!();
    migrator.create_schema(SCHEMA);
    migrator.dangerous_set_table_name(TABLE);
    migrator
}

pub(super) async fn open(options: &PgConnectOptions) -> Result<PgConnection, DatabaseSetupError> {
    let mut connection = timeout(CONNECT_TIMEOUT, PgConnection::connect_with(options))
        .await
        .map_err(|_| {
            DatabaseSetupError::Unreachable(format!(
                "no answer within {} seconds",
                CONNECT_TIMEOUT.as_secs()
            ))
        })?
        .map_err(unreachable)?;
    let version: i32 = sqlx::query_scalar("select current_setting('server_version_num')::int")
        .fetch_one(&mut connection)
        .await
        .map_err(unreachable)?;
    check_version(version)?;
    Ok(connection)
}

async fn pending(connection: &mut PgConnection) -> Result<usize, DatabaseSetupError> {
    let status = status(connection).await?;
    Ok(status.iter().filter(|migration| !migration.applied).count())
}

pub(super) async fn status(
    connection: &mut PgConnection,
) -> Result<Vec<MigrationStatus>, DatabaseSetupError> {
    let applied = applied(connection).await?;
    let migrator = migrator();
    let known: Vec<_> = migrator
        .iter()
        .filter(|migration| migration.migration_type.is_up_migration())
        .collect();
    for (version, checksum) in &applied {
        match known.iter().find(|known| known.version == *version) {
            None => return Err(MigrateError::DatabaseIsNewer(*version).into()),
            Some(known) if known.checksum.as_ref() != checksum.as_slice() => {
                return Err(MigrateError::Changed { version: *version }.into());
            }
            Some(_) => {}
        }
    }
    Ok(known
        .into_iter()
        .map(|known| MigrationStatus {
            version: known.version,
            name: known.description.to_string(),
            applied: applied.iter().any(|(version, _)| *version == known.version),
        })
        .collect())
}

/// Version and checksum of each migration that the database has.
async fn applied(connection: &mut PgConnection) -> Result<Vec<(i64, Vec<u8>)>, DatabaseSetupError> {
    // The catalogue, since `to_regclass` fails where the schema may not be used.
    let exists: bool = sqlx::query_scalar(
        "select exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace \
         where n.nspname || '.' || c.relname = $1)",
    )
    .bind(TABLE)
    .fetch_one(&mut *connection)
    .await
    .map_err(unreachable)?;
    if !exists {
        return Ok(Vec::new());
    }
    let read = sqlx::query_as(
        "select version, checksum from chat.migrations where success order by version",
    )
    .fetch_all(&mut *connection)
    .await;
    match read {
        Ok(rows) => Ok(rows),
        Err(error) if is_refusal(&error) => Err(DatabaseSetupError::RoleNotGranted {
            login: sqlx::query_scalar("select current_user::text")
                .fetch_one(connection)
                .await
                .map_err(unreachable)?,
            role: "loquat_system",
        }),
        Err(error) => Err(MigrateError::Failed(one_line(&error)).into()),
    }
}

/// Whether a privilege was missing.
fn is_refusal(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| error.code().as_deref() == Some("42501"))
}

/// Turns what the migrator says into the one line that mends it.
async fn explain(
    connection: &mut PgConnection,
    error: sqlx::migrate::MigrateError,
) -> MigrateError {
    // The migrator keeps its lock when it fails; the connection ends soon, and the lock with it.
    let _ = connection.unlock().await;
    let source = match &error {
        sqlx::migrate::MigrateError::Execute(source)
        | sqlx::migrate::MigrateError::ExecuteMigration(source, _) => source,
        sqlx::migrate::MigrateError::VersionMissing(version)
        | sqlx::migrate::MigrateError::VersionTooNew(version, _) => {
            return MigrateError::DatabaseIsNewer(*version);
        }
        sqlx::migrate::MigrateError::VersionMismatch(version) => {
            return MigrateError::Changed { version: *version };
        }
        other => return MigrateError::Failed(other.to_string()),
    };
    if !is_refusal(source) {
        return MigrateError::Failed(one_line(source));
    }
    match Rights::of(connection).await {
        Ok(rights) => rights.missing(true).unwrap_or_else(|| {
            let mend = format!("{GRANTS} \"{}\";", rights.login);
            rights.lacking(
                "grant itself the roles loquat_viewer, loquat_system and loquat_admin",
                mend,
            )
        }),
        Err(_) => MigrateError::Failed(one_line(source)),
    }
}

const GRANTS: &str = "GRANT loquat_viewer, loquat_system, loquat_admin TO";

/// What the login role may do that the first migration needs.
pub(super) struct Rights {
    pub login: String,
    database: String,
    creates_roles: bool,
    creates_schemas: bool,
}

impl Rights {
    pub async fn of(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let (login, database, creates_roles, creates_schemas) = sqlx::query_as(
            "select current_user::text, current_database()::text, \
             (select rolcreaterole or rolsuper from pg_roles where rolname = current_user), \
             has_database_privilege(current_database(), 'CREATE')",
        )
        .fetch_one(connection)
        .await?;
        Ok(Self {
            login,
            database,
            creates_roles,
            creates_schemas,
        })
    }

    /// The first right that is missing, with the SQL that gives it. The roles are needed unless
    /// they are there.
    pub fn missing(&self, needs_roles: bool) -> Option<MigrateError> {
        let Self {
            login, database, ..
        } = self;
        if !self.creates_schemas {
            let mend = format!("GRANT CREATE ON DATABASE \"{database}\" TO \"{login}\";");
            return Some(self.lacking("create a schema", mend));
        }
        if needs_roles && !self.creates_roles {
            let mend = format!(
                "CREATE ROLE loquat_viewer NOLOGIN; CREATE ROLE loquat_system NOLOGIN; CREATE ROLE loquat_admin NOLOGIN; {GRANTS} \"{login}\";"
            );
            return Some(self.lacking("create roles", mend));
        }
        None
    }

    fn lacking(&self, missing: &'static str, mend: String) -> MigrateError {
        MigrateError::NotAllowed {
            login: self.login.clone(),
            missing,
            mend,
        }
    }
}
