//! How the process ends: softly, then hard, with every task accounted for.
//!
//! The soft stop begins at the first signal: no new work is taken, replies that are being written
//! may finish. The hard stop follows when they have, or when their time is up, or at a second
//! signal: sockets close and tasks end. Invariant: every task that outlives a request is spawned
//! here, so that none is still running when the database goes away.

use std::future::Future;

use tokio::task::JoinHandle;
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

/// One per process; clones are handles to the same.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle {
    soft: CancellationToken,
    hard: CancellationToken,
    tasks: TaskTracker,
    awaited: TaskTracker,
}

/// Something that a client waits to hear the end of. Let go of when the client was told.
#[derive(Debug)]
pub struct Awaited {
    _token: TaskTrackerToken,
}

impl Lifecycle {
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when no new work is to be taken.
    pub fn soft_stop(&self) -> &CancellationToken {
        &self.soft
    }

    /// Cancelled when what still runs is to end now. Implies the soft stop.
    pub fn hard_stop(&self) -> &CancellationToken {
        &self.hard
    }

    pub fn is_draining(&self) -> bool {
        self.soft.is_cancelled()
    }

    pub fn begin_soft_stop(&self) {
        self.soft.cancel();
    }

    pub fn begin_hard_stop(&self) {
        self.soft.cancel();
        self.hard.cancel();
    }

    /// Runs a task that the process waits for before it ends.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tasks.spawn(task)
    }

    /// Makes the soft stop wait, for a moment, until what is returned is dropped.
    pub fn awaited(&self) -> Awaited {
        Awaited {
            _token: self.awaited.token(),
        }
    }

    /// Waits until clients wait for nothing more. Some wait for what never ends, so this needs a
    /// limit. Only of use once nothing new is taken.
    pub async fn settled(&self) {
        self.awaited.close();
        self.awaited.wait().await;
    }

    /// Waits for every task. Only of use after the hard stop has begun.
    pub async fn finished(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
