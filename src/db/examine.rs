//! A look at a database that changes nothing in it.

use secrecy::SecretString;
use sqlx::Connection;

use super::{
    connect::{DatabaseSetupError, check_roles, connect_options, unreachable},
    migrate::{self, MigrationStatus, Rights},
};

/// A database that the server can use, after the migrations that it lacks.
#[derive(Clone, Debug)]
pub struct DatabaseReport {
    /// PostgreSQL's own, such as `18.4`.
    pub version: String,
    /// The role that the server signs in as.
    pub login: String,
    /// Oldest first.
    pub migrations: Vec<MigrationStatus>,
}

/// Finds what would keep the server from starting on this database.
pub async fn examine(url: &SecretString) -> Result<DatabaseReport, DatabaseSetupError> {
    let mut connection = migrate::open(&connect_options(url)?).await?;
    let migrations = migrate::status(&mut connection).await?;
    let rights = Rights::of(&mut connection).await.map_err(unreachable)?;
    let mut tx = connection.begin().await.map_err(unreachable)?;
    let version: String =
        sqlx::query_scalar("select split_part(current_setting('server_version'), ' ', 1)")
            .persistent(false)
            .fetch_one(&mut *tx)
            .await
            .map_err(unreachable)?;
    tx.rollback().await.map_err(unreachable)?;
    if rights.has_all_roles() {
        check_roles(&mut connection).await?;
    }
    let is_new = !migrations.iter().any(|migration| migration.applied);
    match rights.missing() {
        Some(missing) if is_new => return Err(missing.into()),
        _ => {}
    }
    Ok(DatabaseReport {
        version,
        login: rights.login,
        migrations,
    })
}
