//! The command line: what was asked for, and how it ended.
//!
//! Invariant: a command that cannot do its work says so in one line on standard error. Exit codes:
//! 0, done; 1, something unforeseen, or a problem that `doctor` has found; 2, a setting or an
//! argument is wrong.

mod doctor;
mod flags;
mod migrate;
mod schema;
mod serve;
mod token;

use std::process::ExitCode;

use clap::{Parser, Subcommand, error::ErrorKind};

use tokio::runtime::Runtime;

use crate::{
    app::StartError,
    auth::MintError,
    config::{Settings, SettingsError, Sources},
    telemetry::SecurityLogError,
};

use flags::Flags;

#[derive(Debug, Parser)]
#[command(
    name = "loquat",
    version,
    about = "The GraphQL chat backend for apps whose users already sign in somewhere else",
    after_help = "A setting may also be an environment variable, a line of .env.local or .env, or a \
                  key of loquat.toml; the stronger comes first in this list, and flags beat all."
)]
struct Arguments {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server (the default)
    Serve,
    /// Bring the database's schema up to date, or back
    #[command(subcommand)]
    Migrate(migrate::Migrate),
    /// Print the GraphQL schema
    Schema,
    /// Print a token for trying things out, in development
    Token(token::Token),
    /// Look for what keeps the server from working, or say why a token is refused
    Doctor(doctor::Doctor),
}

/// How a command failed. Each text is one line.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Token(#[from] MintError),
    #[error(transparent)]
    SecurityLog(#[from] SecurityLogError),
    #[error("{0}")]
    Unforeseen(anyhow::Error),
}

impl Failure {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Settings(_) | Self::Start(_) | Self::Token(_) | Self::SecurityLog(_) => {
                ExitCode::from(2)
            }
            Self::Unforeseen(_) => ExitCode::FAILURE,
        }
    }

    /// The whole chain of causes, without line breaks.
    fn line(&self) -> String {
        let text = match self {
            Self::Unforeseen(error) => format!("{error:#}"),
            other => other.to_string(),
        };
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// Reads the arguments of the process and does what they say.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    match run(arguments) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("loquat: {}", failure.line());
            failure.exit_code()
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let settings = || -> Result<Settings, SettingsError> {
        Settings::resolve(&Sources::load(arguments.flags.into_values())?)
    };
    match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(settings()?),
        Command::Migrate(action) => migrate::run(&settings()?, &action),
        Command::Schema => schema::run(),
        Command::Token(token) => token::run(&settings()?, &token),
        Command::Doctor(doctor) => return doctor::run(settings(), &doctor),
    }
    .map(|()| ExitCode::SUCCESS)
}

fn runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Unforeseen(error.into()))
}

/// Help goes out whole; what is wrong with an argument, in one line.
fn usage(error: &clap::Error) -> ExitCode {
    let code = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Some(ExitCode::SUCCESS),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Some(ExitCode::from(2)),
        _ => None,
    };
    if let Some(code) = code {
        return error.print().map_or(ExitCode::FAILURE, |()| code);
    }
    let text = error.to_string();
    let problem = text.split("\n\n").next().unwrap_or(&text);
    let problem = problem.strip_prefix("error: ").unwrap_or(problem);
    let problem = problem.split_whitespace().collect::<Vec<_>>().join(" ");
    eprintln!("loquat: {problem}; see loquat --help");
    ExitCode::from(2)
}
