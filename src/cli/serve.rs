use super::Failure;
use crate::{
    app::{App, Signals},
    config::Settings,
    telemetry::{self, LogOutput},
};

/// Runs the server until a signal ends it.
pub(super) fn run(settings: Settings) -> Result<(), Failure> {
    telemetry::init(&settings, LogOutput::Stdout)?;
    let runtime = super::runtime()?;
    let outcome = runtime.block_on(serve(settings));
    // What still blocks a thread now is cut off with the process.
    runtime.shutdown_background();
    outcome
}

async fn serve(settings: Settings) -> Result<(), Failure> {
    let mut signals = Signals::listen().map_err(|error| Failure::Unforeseen(error.into()))?;
    let app = tokio::select! {
        started = App::start(settings) => started?,
        () = signals.next() => return Ok(()),
    };
    app.run(&mut signals).await;
    Ok(())
}
