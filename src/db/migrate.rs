//! The schema's versions. Migrations run as the login role, one process at a time; everything
//! else runs as one of the three roles that they make.
//!
//! Invariant: every statement stands in a transaction, and so does the lock, and none finds a name
//! taken. A pooler in transaction mode may answer what stands outside of a transaction on any of its
//! connections, even the two messages that one statement takes.

use std::time::Duration;

use secrecy::SecretString;
use sqlx::{Connection, PgConnection, migrate::Migrator, postgres::PgConnectOptions};
use tokio::time::timeout;

use super::connect::{
    DatabaseSetupError, ROLES, check_version, connect_options, one_line, unreachable,
};

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
    #[error(
        "the role {login:?} may not migrate the database ({refusal}): run `loquat migrate` as {owner:?}, which owns it"
    )]
    NotOwner {
        login: String,
        owner: String,
        refusal: String,
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
    match run(&mut connection, Direction::Up).await {
        Ok(()) => Ok(missing),
        Err(error) => Err(explain(&mut connection, error).await.into()),
    }
}

enum Direction {
    Up,
    DownTo(i64),
}

/// All of it or nothing, one process at a time.
async fn run(
    connection: &mut PgConnection,
    direction: Direction,
) -> Result<(), sqlx::migrate::MigrateError> {
    let mut tx = connection.begin().await?;
    // The migrator names its statements, and a pooler's connection may hold those of others.
    sqlx::raw_sql(
        "deallocate all; select pg_advisory_xact_lock(hashtextextended('loquat migrations', 0))",
    )
    .execute(&mut *tx)
    .await?;
    match direction {
        Direction::Up => migrator().run(&mut *tx).await?,
        Direction::DownTo(version) => migrator().undo(&mut *tx, version).await?,
    }
    Ok(tx.commit().await?)
}

/// Applies what is missing, for the command line.
pub async fn run_up(url: &SecretString) -> Result<usize, DatabaseSetupError> {
    up(&connect_options(url)?).await
}

/// Undoes the newest `count` migrations. Returns how many there were to undo.
pub async fn run_down(url: &SecretString, count: usize) -> Result<usize, DatabaseSetupError> {
    let mut connection = open(&connect_options(url)?).await?;
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
    match run(&mut connection, Direction::DownTo(target)).await {
        Ok(()) => Ok(undone),
        Err(error) => Err(explain(&mut connection, error).await.into()),
    }
}

/// Every migration of this program, oldest first.
pub async fn run_status(url: &SecretString) -> Result<Vec<MigrationStatus>, DatabaseSetupError> {
    let mut connection = open(&connect_options(url)?).await?;
    status(&mut connection).await
}

fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!();
    migrator.create_schema(SCHEMA);
    migrator.dangerous_set_table_name(TABLE);
    migrator.set_locking(false);
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
    let mut tx = connection.begin().await.map_err(unreachable)?;
    let version: i32 = sqlx::query_scalar("select current_setting('server_version_num')::int")
        .persistent(false)
        .fetch_one(&mut *tx)
        .await
        .map_err(unreachable)?;
    tx.rollback().await.map_err(unreachable)?;
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
    let mut tx = connection.begin().await.map_err(unreachable)?;
    // The catalogue, since `to_regclass` fails where the schema may not be used.
    let exists: bool = sqlx::query_scalar(
        "select exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace \
         where n.nspname || '.' || c.relname = $1)",
    )
    .bind(TABLE)
    .persistent(false)
    .fetch_one(&mut *tx)
    .await
    .map_err(unreachable)?;
    if !exists {
        return Ok(Vec::new());
    }
    let login = sqlx::query_scalar("select current_user::text")
        .persistent(false)
        .fetch_one(&mut *tx)
        .await
        .map_err(unreachable)?;
    let read = sqlx::query_as(
        "select version, checksum from chat.migrations where success order by version",
    )
    .persistent(false)
    .fetch_all(&mut *tx)
    .await;
    match read {
        Ok(rows) => Ok(rows),
        Err(error) if is_refusal(&error) => Err(DatabaseSetupError::RoleNotGranted {
            login,
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
    let (source, version) = match &error {
        sqlx::migrate::MigrateError::Execute(source) => (source, None),
        sqlx::migrate::MigrateError::ExecuteMigration(source, version) => (source, Some(*version)),
        sqlx::migrate::MigrateError::VersionMissing(version)
        | sqlx::migrate::MigrateError::VersionTooNew(version, _) => {
            return MigrateError::DatabaseIsNewer(*version);
        }
        sqlx::migrate::MigrateError::VersionMismatch(version) => {
            return MigrateError::Changed { version: *version };
        }
        other => return MigrateError::Failed(other.to_string()),
    };
    let said = match version {
        Some(version) => format!("migration {version}: {}", one_line(source)),
        None => one_line(source),
    };
    if !is_refusal(source) {
        return MigrateError::Failed(said);
    }
    match Rights::of(connection).await {
        Ok(rights) => rights.explain(said),
        Err(_) => MigrateError::Failed(said),
    }
}

const GRANTS: &str = "GRANT loquat_viewer, loquat_system, loquat_admin TO";

/// What the login role may do that the migrations need.
#[derive(sqlx::FromRow)]
pub(super) struct Rights {
    pub login: String,
    database: String,
    creates_roles: bool,
    creates_schemas: bool,
    /// How many of the three roles there are, and how many of them it may take on.
    roles: i64,
    granted: i64,
    /// Who owns the schema, if that is somebody else.
    foreign_owner: Option<String>,
}

impl Rights {
    pub async fn of(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let mut tx = connection.begin().await?;
        sqlx::query_as(
            "select current_user::text as login, current_database()::text as database, \
             (select rolcreaterole or rolsuper from pg_roles where rolname = current_user) as creates_roles, \
             has_database_privilege(current_database(), 'CREATE') as creates_schemas, \
             count(*) as roles, count(*) filter (where pg_has_role(current_user, oid, \
               case when current_setting('server_version_num')::int >= 160000 then 'SET' else 'MEMBER' end)) as granted, \
             (select pg_get_userbyid(nspowner)::text from pg_namespace where nspname = $2 \
               and not pg_has_role(current_user, nspowner, 'USAGE')) as foreign_owner \
             from pg_roles where rolname = any ($1)",
        )
        .bind(ROLES)
        .bind(SCHEMA)
        .persistent(false)
        .fetch_one(&mut *tx)
        .await
    }

    /// The first right that is missing to begin with, with the SQL that gives it. Roles that are
    /// there need not be made.
    pub fn missing(&self) -> Option<MigrateError> {
        let Self {
            login, database, ..
        } = self;
        if !self.creates_schemas {
            let mend = format!("GRANT CREATE ON DATABASE \"{database}\" TO \"{login}\";");
            return Some(self.lacking("create a schema", mend));
        }
        if !self.has_all_roles() && !self.creates_roles {
            let mend = format!(
                "CREATE ROLE loquat_viewer NOLOGIN; CREATE ROLE loquat_system NOLOGIN; CREATE ROLE loquat_admin NOLOGIN; {GRANTS} \"{login}\";"
            );
            return Some(self.lacking("create roles", mend));
        }
        None
    }

    pub fn has_all_roles(&self) -> bool {
        self.roles == ROLES.len() as i64
    }

    /// Why PostgreSQL refused the role what it was asked for. What it said itself, unless a right is
    /// known to be missing.
    fn explain(self, said: String) -> MigrateError {
        if let Some(missing) = self.missing() {
            return missing;
        }
        if self.granted < self.roles {
            let mend = format!("{GRANTS} \"{}\";", self.login);
            return self.lacking(
                "grant itself the roles loquat_viewer, loquat_system and loquat_admin",
                mend,
            );
        }
        match self.foreign_owner {
            Some(owner) => MigrateError::NotOwner {
                login: self.login,
                owner,
                refusal: said,
            },
            None => MigrateError::Failed(said),
        }
    }

    fn lacking(&self, missing: &'static str, mend: String) -> MigrateError {
        MigrateError::NotAllowed {
            login: self.login.clone(),
            missing,
            mend,
        }
    }
}
