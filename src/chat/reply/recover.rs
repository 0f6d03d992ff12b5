//! What becomes of runs whose process is gone.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::{Engine, run::failed};
use crate::{
    db::{DbError, ExpiredRun, PathChange, SystemReason},
    model::ReplyErrorCode,
};

/// How many runs are taken over at once; while there are so many, the next look follows at once.
const BATCH: u32 = 100;

/// How many of them are ended at the same time.
const AT_ONCE: usize = 4;

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
                Ok(taken) => {
                    if due {
                        cleaned = Some(Instant::now());
                    }
                    failing = false;
                    if taken == BATCH as usize {
                        clock.reset_immediately();
                    }
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

    /// How many runs were taken over.
    async fn recover(&self, clean_up: bool) -> Result<usize, DbError> {
        let expired = self.in_time(self.take_expired()).await?;
        let taken = expired.len();
        stream::iter(expired)
            .for_each_concurrent(AT_ONCE, |run| async move { self.end(&run).await })
            .await;
        if clean_up {
            self.in_time(self.clean_up()).await?;
        }
        Ok(taken)
    }

    async fn take_expired(&self) -> Result<Vec<ExpiredRun>, DbError> {
        let mut tx = self.database.system_tx(SystemReason::Recovery).await?;
        let expired = tx
            .take_expired_runs(self.process_id, self.timing.lease, BATCH)
            .await?;
        tx.commit().await?;
        Ok(expired)
    }

    async fn clean_up(&self) -> Result<(), DbError> {
        let mut tx = self.database.system_tx(SystemReason::CleanUp).await?;
        tx.delete_retired_keys().await?;
        tx.commit().await
    }

    /// A database that does not answer must not stop the looking: a dead connection says nothing.
    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, DbError>>,
    ) -> Result<T, DbError> {
        timeout(self.timing.lease, work)
            .await
            .unwrap_or(Err(DbError::TimedOut))
    }

    /// One bad reply does not keep the others from their end; its new lease runs out in its turn.
    async fn end(&self, run: &ExpiredRun) {
        match self.in_time(self.interrupt(run)).await {
            Ok(true) => tracing::info!(
                message.id = %run.message_id,
                reply.attempt = run.attempt,
                "a reply whose process is gone was ended"
            ),
            Ok(false) => {}
            Err(error) => tracing::error!(
                message.id = %run.message_id,
                error = &error as &dyn std::error::Error,
                "an interrupted reply could not be ended"
            ),
        }
    }

    /// Whether there was anything left to end.
    async fn interrupt(&self, run: &ExpiredRun) -> Result<bool, DbError> {
        let mut tx = self.database.engine_tx(&run.viewer).await?;
        let Some(conversation) = tx
            .touch_conversation(run.conversation_id, PathChange::None)
            .await?
        else {
            return Ok(false);
        };
        if !tx.lock_run(run.message_id, run.fence).await? {
            return Ok(false);
        }
        let outcome = failed(
            ReplyErrorCode::Interrupted,
            "The server that wrote this reply was lost. Send the message again.",
        );
        tx.finish_reply(run.message_id, conversation.revision, None, &outcome)
            .await?;
        tx.commit().await?;
        Ok(true)
    }
}
