//! What the process says about itself: structured logs, and the id that ties a request's lines
//! together.
//!
//! Invariant: no prompt, reply, token or address is ever logged by this program, at any level.

mod request_id;
pub mod security;

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::config::{LogFormat, LogSettings};

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

/// Starts logging, once a process. Panics are logged too, by their place alone: the message of a
/// failed slice shows the text that it was to cut.
pub fn init(settings: &LogSettings, output: LogOutput) {
    match output {
        LogOutput::Stdout => subscribe(settings, io::stdout, io::stdout().is_terminal()),
        LogOutput::Stderr => subscribe(settings, io::stderr, io::stderr().is_terminal()),
    }
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        tracing::error!(
            panic.location = location.as_deref().unwrap_or("unknown"),
            "a task panicked"
        );
    }));
}

fn subscribe<W>(settings: &LogSettings, writer: W, colour: bool)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = SILENT
        .iter()
        .map(|directive| directive.parse().expect("a log directive"))
        .fold(EnvFilter::new(&settings.filter), EnvFilter::add_directive);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer);
    match settings.format {
        LogFormat::Text => builder.with_ansi(colour).with_target(false).init(),
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(true)
            .init(),
    }
}
