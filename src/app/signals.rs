use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The requests to end: Ctrl-C, and what a process manager sends.
///
/// Made before anything is started, so that a signal in the middle of the start still finds
/// somebody who puts away what was begun.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Must be called inside a Tokio runtime.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one, whichever it is.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
