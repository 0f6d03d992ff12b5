use std::io::{self, Write};

use clap::Subcommand;
use secrecy::SecretString;

use super::Failure;
use crate::{
    app::{DatabaseHost, StartError},
    config::Settings,
    db::migrate,
    telemetry::{self, LogOutput},
};

#[derive(Debug, Subcommand)]
pub(super) enum Migrate {
    /// Apply every migration that the database lacks
    Up,
    /// Undo the newest migrations, and the data that they hold
    Down {
        /// How many to undo
        #[arg(default_value_t = 1)]
        count: usize,
    },
    /// List the migrations and whether the database has them
    Status,
}

/// Works on the configured database, or on the private one: beside a running server on that
/// server's, otherwise on one that is started for the purpose.
pub(super) fn run(settings: &Settings, action: &Migrate) -> Result<(), Failure> {
    telemetry::init(settings, LogOutput::Stderr)?;
    super::runtime()?.block_on(async {
        let host = DatabaseHost::reach(settings).await?;
        let outcome = apply(settings, host.url(), action).await;
        host.stop().await;
        outcome
    })
}

async fn apply(
    settings: &Settings,
    database: &SecretString,
    action: &Migrate,
) -> Result<(), Failure> {
    let failed = |error| Failure::Start(StartError::database(settings, error));
    let text = match action {
        Migrate::Up => match migrate::run_up(database).await.map_err(failed)? {
            0 => "The database has every migration already.\n".to_owned(),
            count => format!("Applied {count} migration(s).\n"),
        },
        Migrate::Down { count } => {
            match migrate::run_down(database, *count).await.map_err(failed)? {
                0 => "The database has no migration to undo.\n".to_owned(),
                count => format!("Undid {count} migration(s).\n"),
            }
        }
        Migrate::Status => migrate::run_status(database)
            .await
            .map_err(failed)?
            .into_iter()
            .map(|migration| {
                let state = if migration.applied {
                    "applied"
                } else {
                    "pending"
                };
                format!("{:04} {} {state}\n", migration.version, migration.name)
            })
            .collect(),
    };
    io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Failure::Unforeseen(error.into()))
}
