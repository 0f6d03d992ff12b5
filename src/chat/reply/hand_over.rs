//! What a process that stops does with the replies that it has not finished: it stores what they
//! have, and lets their runs go for others to begin anew.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::{Instant, sleep, timeout_at};

use super::{Engine, registry::Run, tick::Entry};
use crate::{
    broker::Notice,
    db::{DbError, RunState, SystemReason},
};

/// How long replies that have come to their end may take to be stored, before they are begun anew
/// by somebody else like the others.
const LAST_WRITES: Duration = Duration::from_secs(2);

/// How long all of it may take. What is left then is found by its leases.
const LIMIT: Duration = Duration::from_secs(4);

impl Engine {
    /// Lets go of every run of this process, and returns when none is left.
    pub(super) async fn hand_over(&self) {
        loop {
            self.hand_all_over().await;
            // Whatever begins from now on lets go of itself; what has begun before is seen here.
            self.handed_over.store(true, Ordering::SeqCst);
            if self
                .registry
                .all()
                .iter()
                .all(|run| run.lost.is_cancelled())
            {
                return;
            }
        }
    }

    /// The end of a run whose process stops.
    pub(super) async fn let_go(&self, run: &Arc<Run>) {
        let limit = run.lease_until();
        if self.handed_over.load(Ordering::SeqCst) {
            let released = timeout_at(limit, self.release(std::slice::from_ref(run))).await;
            if let Err(error) = released.unwrap_or(Err(DbError::TimedOut)) {
                not_yet(&error);
            }
        } else {
            // Together with all others.
            drop(timeout_at(limit, run.lost.cancelled()).await);
        }
    }

    async fn hand_all_over(&self) {
        let begun = Instant::now();
        let limit = begun + LIMIT;
        while Instant::now() < limit {
            let is_late = begun.elapsed() >= LAST_WRITES;
            let mut runs = self.registry.all();
            runs.retain(|run| {
                run.is_committed() && (is_late || !run.ending.load(Ordering::Acquire))
            });
            if !runs.is_empty() {
                let released = timeout_at(limit, self.release(&runs)).await;
                if let Err(error) = released.unwrap_or(Err(DbError::TimedOut)) {
                    not_yet(&error);
                }
            }
            tokio::select! {
                () = self.registry.empty() => return,
                () = sleep(self.timing.tick) => {}
            }
        }
        for run in self.registry.all() {
            run.lost.cancel();
        }
    }

    /// Stores what these runs have written, and lets them go, as far as nobody else is at work on
    /// them.
    async fn release(&self, runs: &[Arc<Run>]) -> Result<(), DbError> {
        let asked: Vec<_> = runs.iter().map(|run| (run.key, run.fence)).collect();
        let mut tx = self.database.system_tx(SystemReason::Tick).await?;
        let states = tx.lock_runs(self.process_id, &asked).await?;
        let (mut held, mut chunks) = (Vec::new(), Vec::new());
        for run in runs {
            if states.get(&run.key) == Some(&RunState::Held) {
                held.push(run.key);
                chunks.extend(Entry::new(Arc::clone(run)).chunk);
            }
        }
        if !chunks.is_empty() {
            tx.write_chunks(&chunks).await?;
        }
        tx.release_runs(self.process_id, &held).await?;
        tx.commit().await?;
        for run in runs {
            if states.get(&run.key) != Some(&RunState::Busy) {
                run.lost.cancel();
            }
        }
        self.broker.publish(Notice::Waiting);
        Ok(())
    }
}

fn not_yet(error: &DbError) {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "replies could not be handed over yet"
    );
}
