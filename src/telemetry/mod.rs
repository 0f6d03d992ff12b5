//! What the process says about itself: structured logs, and the id that ties a request's lines
//! together.
//!
//! Invariant: no prompt, reply, token, claim or e-mail address is ever logged by this program, at any
//! level; where a client is, in the security log alone.

mod request_id;
pub mod security;

use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tracing::{Metadata, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt, FilterFn, filter_fn},
    fmt::{self, MakeWriter},
    layer::{Filter, SubscriberExt},
    util::SubscriberInitExt,
};

use crate::config::{LogFormat, LogSettings, Origin, Settings, names};

pub use request_id::RequestId;

/// Libraries that would log what they carry, at whatever level somebody asks for.
const SILENT: &[&str] = &[
    // What it cannot read of a reply, and what a provider answers.
    "async_openai=off",
    // Every frame of every socket, at trace.
    "tungstenite=debug",
];

/// Where the logs go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogOutput {
    /// For the server, so that standard error holds nothing but the line of a failed start.
    Stdout,
    /// For commands whose standard output is their result.
    Stderr,
}

/// The security log cannot be written.
#[derive(Debug, thiserror::Error)]
#[error(
    "{setting}: cannot write to {} ({source}); name a file that the server may write", path.display()
)]
pub struct SecurityLogError {
    setting: Origin,
    path: PathBuf,
    source: io::Error,
}

/// Starts logging, once a process. Panics are logged too, by their place alone: the message of a
/// failed slice shows the text that it was to cut.
pub fn init(settings: &Settings, output: LogOutput) -> Result<(), SecurityLogError> {
    match output {
        LogOutput::Stdout => subscribe(
            &settings.log,
            io::stdout,
            io::stdout().is_terminal(),
            security_log(settings)?,
        ),
        LogOutput::Stderr => {
            subscribe(&settings.log, io::stderr, io::stderr().is_terminal(), None);
        }
    }
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        tracing::error!(
            panic.location = location.as_deref().unwrap_or("unknown"),
            "a task panicked"
        );
    }));
    Ok(())
}

fn security_log(settings: &Settings) -> Result<Option<File>, SecurityLogError> {
    let open = |path: &Path| {
        // Each line goes to the end of the file, wherever that is by now, so that it may be copied
        // and truncated while the server runs.
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            // A pipe that nobody reads is refused, rather than waited for; one that is read may be
            // slow.
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(path)
            .and_then(|file| {
                fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
                Ok(file)
            })
            .map_err(|source| SecurityLogError {
                setting: settings.origins.of(&names::SECURITY_LOG),
                path: path.to_owned(),
                source,
            })
    };
    settings.log.security.as_deref().map(open).transpose()
}

/// With a file for them, security events go there and nowhere else.
fn subscribe<W>(settings: &LogSettings, writer: W, colour: bool, security: Option<File>)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let wanted = SILENT
        .iter()
        .map(|directive| directive.parse().expect("a log directive"))
        .fold(EnvFilter::new(&settings.filter), EnvFilter::add_directive);
    let wanted: Box<dyn Filter<Registry> + Send + Sync> = match security {
        None => Box::new(wanted.or(security_events())),
        Some(_) => Box::new(wanted.and(everything_else())),
    };
    let main = match settings.format {
        LogFormat::Text => fmt::layer()
            .with_ansi(colour)
            .with_target(false)
            .with_writer(writer)
            .boxed(),
        LogFormat::Json => json_lines().with_writer(writer).boxed(),
    };
    let security = security.map(|file| {
        json_lines()
            .with_writer(file)
            .with_filter(security_events())
    });
    tracing_subscriber::registry()
        .with(main.with_filter(wanted))
        .with(security)
        .init();
}

fn json_lines<S>() -> fmt::Layer<S, fmt::format::JsonFields, fmt::format::Format<fmt::format::Json>>
{
    fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(true)
}

/// Every security event, and the spans that say which request it belongs to.
fn security_events() -> FilterFn {
    let is_one = |metadata: &Metadata<'_>| {
        metadata.target() == security::TARGET
            || metadata.is_span() && metadata.target().starts_with("loquat::http")
    };
    filter_fn(is_one as fn(&Metadata<'_>) -> bool).with_max_level_hint(LevelFilter::INFO)
}

fn everything_else() -> FilterFn {
    let is_other = |metadata: &Metadata<'_>| metadata.target() != security::TARGET;
    filter_fn(is_other as fn(&Metadata<'_>) -> bool).with_max_level_hint(LevelFilter::TRACE)
}
