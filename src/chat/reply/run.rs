//! One run: from the stored question to the stored answer.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout, timeout_at};

use super::{
    Engine,
    ask::Asked,
    log::LogPhase,
    recover::{DoomedRun, internal},
    registry::Run,
    room::TakenPlace,
};
use crate::{
    chat::prompt::{Material, Window},
    db::{DbError, Outcome, PathChange},
    model::{ReplyError, ReplyErrorCode, TokenUsage},
};

/// How long to wait before a database that was not there is asked again.
const RETRY: Duration = Duration::from_millis(250);

/// What becomes of a run that its task is done with.
pub(super) enum Stop {
    /// It is not this process's any more.
    Lost,
    /// This process stops, and another is to begin it anew.
    HandedOver,
    Ended(Outcome),
}

impl Engine {
    /// Holds its place to the end.
    pub(super) async fn write_reply(self: Arc<Self>, run: Arc<Run>, _place: TakenPlace) {
        let mut held = Held {
            engine: &self,
            run: &run,
            phase: LogPhase::Lost,
        };
        let asked = Asked::default();
        let written = timeout(self.settings.reply_timeout, self.generate(&run, &asked));
        // Dropping the future of the provider's stream hangs up on it.
        let stop = tokio::select! {
            biased;
            () = run.lost.cancelled() => Stop::Lost,
            () = run.stop.cancelled() => Stop::Ended(Outcome::Stopped),
            () = self.lifecycle.hard_stop().cancelled() => Stop::HandedOver,
            stop = AssertUnwindSafe(written).catch_unwind() => match stop {
                Ok(stop) => stop.unwrap_or_else(|_| self.took_too_long(&run)),
                Err(_) => panicked(&run),
            },
        };
        match stop {
            // Readers that find no run look into the database, so it must know first.
            Stop::Ended(outcome) => {
                run.ending.store(true, Ordering::Release);
                let model = asked.model();
                let usage = self.cost(&run, asked).await;
                held.phase = self.finish(&run, &outcome, usage).await;
                let is_whole = matches!(outcome, Outcome::Completed { .. });
                if let (LogPhase::Finished, true, Some(model)) = (held.phase, is_whole, model) {
                    self.title_soon(&run, model);
                }
            }
            // What it has written is stored, and its row let go, together with all others.
            Stop::HandedOver => self.let_go(&run).await,
            Stop::Lost => {
                drop(held);
                if let Err(error) = self.in_time(self.count_deleted(&run, asked)).await {
                    tracing::warn!(
                        message.id = %run.message_id(),
                        error = &error as &dyn std::error::Error,
                        "what a reply had cost when it was deleted could not be counted"
                    );
                }
            }
        }
    }

    /// A reply that is deleted while it is written has its price all the same; one that goes on
    /// elsewhere, or was ended in place of this process, has been counted there.
    async fn count_deleted(&self, run: &Run, asked: Asked) -> Result<(), DbError> {
        if asked.model().is_none() {
            return Ok(());
        }
        let mut tx = self.database.engine_tx(&run.viewer).await?;
        let is_there = tx.message(run.message_id()).await?.is_some();
        tx.commit().await?;
        if is_there {
            return Ok(());
        }
        let usage = self.cost(run, asked).await;
        let mut tx = self.database.engine_tx(&run.viewer).await?;
        tx.count_deleted_usage(run.message_id(), usage).await?;
        tx.commit().await
    }

    async fn generate(&self, run: &Run, asked: &Asked) -> Stop {
        let material = match self.begin(run).await {
            Ok(Some(material)) => material,
            Ok(None) => {
                // It has ended, was deleted or taken over, unless a policy hides it from its user.
                let outcome = Outcome::Failed(internal());
                self.abandon(doomed(run), None, &outcome).await;
                return Stop::Lost;
            }
            Err(error) => {
                tracing::error!(
                    message.id = %run.message_id(),
                    error = &error as &dyn std::error::Error,
                    "a reply could not be begun"
                );
                return Stop::Ended(failed(
                    ReplyErrorCode::Internal,
                    "The server could not begin this reply. Send the message again.",
                ));
            }
        };
        run.log.enter(LogPhase::Streaming);
        self.ask(run, material, asked).await
    }

    /// Marks the reply as streaming and reads what it answers. `None`: the run is lost.
    async fn begin(&self, run: &Run) -> Result<Option<Material>, DbError> {
        let mut pause = interval(RETRY);
        pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            pause.tick().await;
            let begun = timeout_at(run.lease_until(), self.try_begin(run)).await;
            match begun.unwrap_or(Err(DbError::TimedOut)) {
                Err(error) if error.is_unavailable() && run.holds_lease() => {}
                Err(error) if error.is_unavailable() => {
                    tracing::warn!(
                        message.id = %run.message_id(),
                        error = &error as &dyn std::error::Error,
                        "a reply lost its lease before it began"
                    );
                    return Ok(None);
                }
                done => return done,
            }
        }
    }

    async fn try_begin(&self, run: &Run) -> Result<Option<Material>, DbError> {
        let mut tx = self.database.engine_tx(&run.viewer).await?;
        let Some(conversation) = tx
            .touch_conversation(run.conversation_id, PathChange::None)
            .await?
        else {
            return Ok(None);
        };
        if !tx.lock_run(run.message_id(), run.fence).await? {
            return Ok(None);
        }
        let Some(model) = tx
            .begin_reply(run.message_id(), conversation.revision)
            .await?
        else {
            return Ok(None);
        };
        let own = tx.system_prompts(&[run.conversation_id]).await?.pop();
        let most = Window::of(&model, &self.settings).bytes();
        let path = tx
            .path_before(run.conversation_id, run.position, most)
            .await?;
        tx.commit().await?;
        let instructions = [
            self.settings.system_prompt.clone(),
            own.map(|(_, text)| text),
        ];
        Ok(Some(Material {
            model,
            instructions: instructions.into_iter().flatten().collect(),
            path,
        }))
    }

    /// The final transaction, tried until it succeeds or the lease runs out.
    async fn finish(&self, run: &Run, outcome: &Outcome, usage: Option<TokenUsage>) -> LogPhase {
        let text = run.log.text();
        // An attempt that ends before its first word keeps the text of the one before.
        let keeps_earlier = text.is_empty() && !matches!(outcome, Outcome::Completed { .. });
        let text = (!keeps_earlier).then_some(text.as_str());
        let mut pause = interval(RETRY);
        pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while Instant::now() < run.lease_until() {
            pause.tick().await;
            let finish = self.try_finish(run, text, outcome, usage);
            let finished = timeout_at(run.lease_until(), finish).await;
            match finished.unwrap_or(Err(DbError::TimedOut)) {
                Ok(true) => return LogPhase::Finished,
                // It is gone, as where one cannot be begun.
                Ok(false) => {
                    let outcome = Outcome::Failed(internal());
                    self.abandon(doomed(run), text, &outcome).await;
                    return LogPhase::Lost;
                }
                Err(error) if error.is_unavailable() => {
                    tracing::warn!(
                        message.id = %run.message_id(),
                        error = &error as &dyn std::error::Error,
                        "a finished reply waits for the database"
                    );
                }
                Err(error) => {
                    tracing::error!(
                        message.id = %run.message_id(),
                        error = &error as &dyn std::error::Error,
                        "a finished reply could not be stored"
                    );
                    let outcome = Outcome::Failed(internal());
                    self.end(doomed(run), text, &outcome).await;
                    return LogPhase::Lost;
                }
            }
        }
        LogPhase::Lost
    }

    async fn try_finish(
        &self,
        run: &Run,
        text: Option<&str>,
        outcome: &Outcome,
        usage: Option<TokenUsage>,
    ) -> Result<bool, DbError> {
        let mut tx = self.database.engine_tx(&run.viewer).await?;
        let Some(conversation) = tx
            .touch_conversation(run.conversation_id, PathChange::None)
            .await?
        else {
            return Ok(false);
        };
        if !tx.lock_run(run.message_id(), run.fence).await? {
            return Ok(false);
        }
        let (id, revision) = (run.message_id(), conversation.revision);
        tx.finish_reply(id, revision, text, outcome, usage).await?;
        tx.commit().await?;
        Ok(true)
    }
}

/// A run that this process writes. However its task ends, its subscribers learn of it, and nothing
/// renews its lease any more.
struct Held<'e> {
    engine: &'e Engine,
    run: &'e Arc<Run>,
    phase: LogPhase,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.run.log.enter(self.phase);
        self.engine.registry.remove(self.run);
    }
}

fn doomed(run: &Run) -> DoomedRun<'_> {
    DoomedRun {
        viewer: &run.viewer,
        message_id: run.message_id(),
        conversation_id: run.conversation_id,
        fence: run.fence,
    }
}

fn panicked(run: &Run) -> Stop {
    tracing::error!(message.id = %run.message_id(), "the task that wrote a reply panicked");
    Stop::Ended(failed(
        ReplyErrorCode::Internal,
        "The server failed to write this reply. Send the message again.",
    ))
}

pub(super) fn failed(code: ReplyErrorCode, message: impl Into<String>) -> Outcome {
    Outcome::Failed(ReplyError {
        code,
        message: message.into(),
    })
}
