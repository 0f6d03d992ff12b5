use std::{io::Write, time::Duration};

use clap::Args;

use super::Failure;
use crate::{
    auth::{self, TokenRequest},
    config::Settings,
};

#[derive(Debug, Args)]
pub(super) struct Token {
    /// Whom the token names, as the issuer would
    #[arg(long, value_name = "USER")]
    user: String,
    /// Make the user an admin
    #[arg(long)]
    admin: bool,
    /// How long it lasts, such as 30s, 15m, 1h or 7d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    ttl: Duration,
    /// The name of the issuer, where there are several
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,
}

/// Prints a token that the server with these settings accepts.
pub(super) fn run(settings: &Settings, token: &Token) -> Result<(), Failure> {
    let token = auth::mint(
        settings,
        &TokenRequest {
            user: &token.user,
            is_admin: token.admin,
            ttl: token.ttl,
            issuer: token.issuer.as_deref(),
        },
    )?;
    writeln!(std::io::stdout(), "{token}").map_err(|error| Failure::Unforeseen(error.into()))
}
