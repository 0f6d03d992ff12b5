//! The tick: what all runs of this process wrote since the last one, and their leases, in one
//! transaction.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::{
    Engine,
    log::{Position, utf16_length},
    registry::Run,
};
use crate::db::{Chunk, DbError, RunState, SystemReason};

impl Engine {
    /// Ends when the process stops, with its runs handed over.
    pub(super) async fn tick_on(self: Arc<Self>) {
        let mut clock = interval(self.timing.tick);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut renewed = Instant::now();
        let mut failing = false;
        loop {
            tokio::select! {
                _ = clock.tick() => {}
                () = self.lifecycle.hard_stop().cancelled() => return self.hand_over().await,
            }
            let now = Instant::now();
            let renew = now.duration_since(renewed) >= self.timing.renewal;
            // A tick that hangs must not keep this loop from noticing that leases run out.
            let limit = self.timing.lease.saturating_sub(Duration::from_millis(1));
            match timeout(limit, self.tick(renew)).await {
                Ok(Ok(())) => {
                    if renew {
                        renewed = now;
                    }
                    failing = false;
                }
                Ok(Err(error)) if !failing => {
                    failing = true;
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "replies could not be written down; they are kept in memory while their leases last"
                    );
                }
                Ok(Err(_)) => {}
                Err(_) => tracing::warn!("a tick of the replies took longer than their leases"),
            }
            for run in self.registry.all() {
                if !run.holds_lease() {
                    run.lost.cancel();
                }
            }
        }
    }

    async fn tick(&self, renew: bool) -> Result<(), DbError> {
        let runs: Vec<_> = self
            .registry
            .all()
            .into_iter()
            .filter(|run| run.is_committed())
            .collect();
        if runs.is_empty() {
            return Ok(());
        }
        let batch: Vec<Entry> = runs
            .into_iter()
            .map(Entry::new)
            .filter(|entry| renew || entry.chunk.is_some())
            .collect();
        // From before the renewal is sent, so that a lease runs out here no later than there.
        let lease_until = Instant::now() + self.timing.lease;
        let asked: Vec<_> = batch
            .iter()
            .map(|entry| (entry.run.key, entry.run.fence))
            .collect();
        let mut tx = self.database.system_tx(SystemReason::Tick).await?;
        for key in tx.runs_to_stop(self.process_id).await? {
            if let Some(run) = self.registry.find(&key) {
                run.stop.cancel();
            }
        }
        if batch.is_empty() {
            return tx.commit().await;
        }
        let states = tx.lock_runs(self.process_id, &asked).await?;
        let (mut held, mut chunks) = (Vec::new(), Vec::new());
        for entry in &batch {
            match states.get(&entry.run.key) {
                Some(RunState::Held) => {
                    held.push(entry.run.key);
                    chunks.extend(entry.chunk.clone());
                }
                Some(RunState::Busy) => {}
                Some(RunState::Lost) | None => entry.run.lost.cancel(),
            }
        }
        if !chunks.is_empty() {
            tx.write_chunks(&chunks).await?;
        }
        if renew && !held.is_empty() {
            tx.renew_leases(self.process_id, &held, self.timing.lease)
                .await?;
        }
        tx.commit().await?;
        for entry in batch {
            if states.get(&entry.run.key) == Some(&RunState::Held) {
                entry.run.set_written(entry.end);
                if renew {
                    entry.run.extend_lease(lease_until);
                }
            }
        }
        Ok(())
    }
}

/// One run's share of a tick.
pub(super) struct Entry {
    pub run: Arc<Run>,
    pub chunk: Option<Chunk>,
    /// Where the log stands once the chunk is written.
    end: Position,
}

impl Entry {
    pub fn new(run: Arc<Run>) -> Self {
        let (delta, end) = run.log.since(run.written());
        let chunk = (!delta.text.is_empty()).then(|| Chunk {
            run: run.key,
            attempt: run.attempt,
            offset: delta.offset,
            length: utf16_length(&delta.text),
            text: delta.text,
        });
        Self { run, chunk, end }
    }
}
