//! What becomes of runs whose process is gone.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Engine, run::failed};
use crate::{
    db::{DbError, ExpiredRun, SystemReason},
    model::ReplyErrorCode,
};

/// How many runs are taken over at once; the rest follow at the next look.
const BATCH: u32 = 100;

/// How often idempotency keys are looked for whose time is over.
const CLEAN_UP: Duration = Duration::from_secs(60 * 60);

impl Engine {
    /// Looks for expired leases, at the start and ever after. A process that is alive renews its
    /// own in time, so none of its runs is ever found here.
    pub(super) async fn recover_on(self: Arc<Self>) {
        let mut clock = interval(self.timing.recovery);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut cleaned: Option<Instant> = None;
        let mut failing = false;
        loop {
            tokio::select! {
                _ = clock.tick() => {}
                () = self.lifecycle.hard_stop().cancelled() => return,
            }
            let due = cleaned.is_none_or(|at| at.elapsed() >= CLEAN_UP);
            match self.recover(due).await {
                Ok(()) => {
                    if due {
                        cleaned = Some(Instant::now());
                    }
                    failing = false;
                }
                Err(error) if !failing => {
                    failing = true;
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "interrupted replies could not be looked for"
                    );
                }
                Err(_) => {}
            }
        }
    }

    async fn recover(&self, clean_up: bool) -> Result<(), DbError> {
        let mut tx = self.database.system_tx(SystemReason::Recovery).await?;
        let expired = tx
            .take_expired_runs(self.process_id, self.timing.lease, BATCH)
            .await?;
        tx.commit().await?;
        for run in expired {
            match self.interrupt(&run).await {
                Ok(()) => tracing::info!(
                    message.id = %run.message_id,
                    reply.attempt = run.attempt,
                    "a reply whose process is gone was ended"
                ),
                // One bad reply does not keep the others from their end; its new lease runs out
                // in its turn.
                Err(error) => tracing::error!(
                    message.id = %run.message_id,
                    error = &error as &dyn std::error::Error,
                    "an interrupted reply could not be ended"
                ),
            }
        }
        if clean_up {
            let mut tx = self.database.system_tx(SystemReason::CleanUp).await?;
            tx.delete_retired_keys().await?;
            tx.commit().await?;
        }
        Ok(())
    }

    async fn interrupt(&self, run: &ExpiredRun) -> Result<(), DbError> {
        let mut tx = self.database.viewer_tx(&run.viewer).await?;
        if tx
            .touch_conversation(run.conversation_id, None)
            .await?
            .is_none()
            || !tx.lock_run(run.message_id, run.fence).await?
        {
            return Ok(());
        }
        let outcome = failed(
            ReplyErrorCode::Interrupted,
            "The server that wrote this reply was lost. Send the message again.",
        );
        tx.finish_reply(run.message_id, None, &outcome).await?;
        tx.commit().await
    }
}
