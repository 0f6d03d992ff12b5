use std::{io::Write, time::Duration};

use clap::Args;

use super::Failure;
use crate::{auth, config::Settings};

#[derive(Debug, Args)]
pub(super) struct Token {
    /// Whom the token names, as the issuer would
    #[arg(long, value_name = "USER")]
    user: String,
    /// How long it lasts, such as 30s, 15m, 1h or 7d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    ttl: Duration,
}

/// Prints a token that the server with these settings accepts.
pub(super) fn run(settings: &Settings, token: &Token) -> Result<(), Failure> {
    let token = auth::mint(settings, &token.user, token.ttl)?;
    writeln!(std::io::stdout(), "{token}").map_err(|error| Failure::Unforeseen(error.into()))
}
