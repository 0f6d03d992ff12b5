//! Runs that nobody can carry out any more, and how they end.

use tokio::time::timeout;

use super::Engine;
use crate::{
    db::{AbandonedRun, ClaimedRun, DbError, Fate, Outcome, PathChange, RunKey, Viewer},
    model::{ConversationId, MessageId, ReplyError, ReplyErrorCode},
};

/// A run that this process holds and that is to be ended.
pub(super) struct DoomedRun<'a> {
    pub viewer: &'a Viewer,
    pub message_id: MessageId,
    pub conversation_id: ConversationId,
    pub fence: i64,
}

impl Engine {
    /// A database that does not answer must not stop the looking: a dead connection says nothing.
    pub(super) async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, DbError>>,
    ) -> Result<T, DbError> {
        timeout(self.timing.lease, work)
            .await
            .unwrap_or(Err(DbError::TimedOut))
    }

    /// Ends a run that was claimed for that. If it cannot be done now, its new lease runs out in its
    /// turn.
    pub(super) async fn give_up(&self, run: ClaimedRun) {
        let outcome = match run.fate {
            Fate::Write | Fate::Lost => Outcome::Failed(ReplyError {
                code: ReplyErrorCode::Interrupted,
                message: "The servers that wrote this reply were lost. Send the message again."
                    .to_owned(),
            }),
            Fate::Unwanted => Outcome::Stopped,
            Fate::Unreadable => {
                tracing::error!(message.id = %run.message_id, "a run holds unknown claims");
                Outcome::Failed(internal())
            }
        };
        let doomed = DoomedRun {
            viewer: &run.viewer,
            message_id: run.message_id,
            conversation_id: run.conversation_id,
            fence: run.fence,
        };
        if self.end(doomed, None, &outcome).await {
            tracing::info!(
                message.id = %run.message_id,
                reply.attempt = run.attempt,
                "a reply that no process was to finish was ended"
            );
            // What waited behind it need wait no longer.
            self.room.look_again();
        }
    }

    /// Ends a run with this text or, without one, with what is written down of its newest attempt that
    /// has any. Whether it was there to be ended.
    pub(super) async fn end(
        &self,
        run: DoomedRun<'_>,
        text: Option<&str>,
        outcome: &Outcome,
    ) -> bool {
        match self.in_time(self.try_end(&run, text, outcome)).await {
            Ok(true) => true,
            Ok(false) => self.abandon(run, text, outcome).await,
            Err(error) => {
                tracing::error!(
                    message.id = %run.message_id,
                    error = &error as &dyn std::error::Error,
                    "a reply could not be ended"
                );
                !error.is_unavailable() && self.abandon(run, text, outcome).await
            }
        }
    }

    /// Whether there was anything to end, in the eyes of its user.
    async fn try_end(
        &self,
        run: &DoomedRun<'_>,
        text: Option<&str>,
        outcome: &Outcome,
    ) -> Result<bool, DbError> {
        let mut tx = self.database.engine_tx(run.viewer).await?;
        let Some(conversation) = tx
            .touch_conversation(run.conversation_id, PathChange::None)
            .await?
        else {
            return Ok(false);
        };
        if !tx.lock_run(run.message_id, run.fence).await? {
            return Ok(false);
        }
        tx.finish_reply(run.message_id, conversation.revision, text, outcome, None)
            .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// The last resort: policies of the database's owner keep the user from ending their own reply,
    /// or hide it from them, and it would be taken up again and again. Where the run is gone, this does
    /// nothing.
    pub(super) async fn abandon(
        &self,
        run: DoomedRun<'_>,
        text: Option<&str>,
        outcome: &Outcome,
    ) -> bool {
        let abandoned = self.in_time(async {
            let text = match text {
                Some(text) => text.to_owned(),
                None => self.written_down(&run).await?,
            };
            let key = RunKey {
                user_id: run.viewer.user_id(),
                message_id: run.message_id,
            };
            let abandoned = AbandonedRun {
                key,
                conversation_id: run.conversation_id,
                fence: run.fence,
                text: &text,
                outcome,
            };
            self.database.abandon_run(abandoned).await
        });
        match abandoned.await {
            Ok(ended) => {
                if ended {
                    tracing::warn!(
                        message.id = %run.message_id,
                        "a reply was ended in its user's place: they may not write it"
                    );
                }
                ended
            }
            Err(error) => {
                tracing::error!(
                    message.id = %run.message_id,
                    error = &error as &dyn std::error::Error,
                    "a reply that its user may not write could not be ended"
                );
                false
            }
        }
    }

    /// Only its user may read it.
    async fn written_down(&self, run: &DoomedRun<'_>) -> Result<String, DbError> {
        let mut tx = self.database.engine_tx(run.viewer).await?;
        let text = tx.newest_text(run.message_id).await?;
        tx.commit().await?;
        Ok(text)
    }
}

pub(super) fn internal() -> ReplyError {
    ReplyError {
        code: ReplyErrorCode::Internal,
        message: "The server failed to write this reply. Send the message again.".to_owned(),
    }
}
