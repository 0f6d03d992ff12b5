//! Replies that their user wants no more of.
//!
//! Whoever writes a reply is asked to end it, for it alone has all the text; PostgreSQL carries the
//! request, and the broker makes it sooner. A reply that nobody writes yet, or whose process does
//! not answer in time, is ended in its place: with its run gone, that process can write nothing
//! more.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use super::{Engine, Replies};
use crate::{
    broker::Notice,
    db::{DbError, Outcome, RunKey, UnfinishedReply, Viewer, ViewerTx},
    model::{Conversation, MessageId, MessageStatus, UserId},
};

/// How often PostgreSQL is asked whether another process has ended its reply.
const LOOK: Duration = Duration::from_millis(50);

/// Replies that a transaction ends or deletes, whoever writes them.
#[must_use = "those who write them have to be told once the transaction is committed"]
pub struct EndedRuns {
    engine: Arc<Engine>,
    user_id: UserId,
    replies: Vec<MessageId>,
}

impl EndedRuns {
    /// The transaction is committed: hangs up, and has others hang up. Those whom no notice reaches
    /// learn of it at their next tick.
    pub fn announce(self) {
        let Self {
            engine,
            user_id,
            replies,
        } = self;
        if replies.is_empty() {
            return;
        }
        for message_id in replies {
            let key = RunKey {
                user_id,
                message_id,
            };
            match engine.registry.find(&key) {
                Some(run) => run.lost.cancel(),
                None => engine.broker.publish(Notice::Stop {
                    user_id,
                    message_id,
                }),
            }
        }
        // What waited behind them need wait no longer.
        engine.room.look_again();
    }
}

impl UnfinishedReply {
    /// Whether a process has text of it that PostgreSQL may not have yet.
    fn is_being_written(&self) -> bool {
        self.held && self.status == MessageStatus::Streaming
    }
}

impl Replies {
    /// Whether processes should be asked to end some of these replies, before anybody else does.
    pub fn are_written(unfinished: &[UnfinishedReply]) -> bool {
        unfinished.iter().any(UnfinishedReply::is_being_written)
    }

    /// Asks whoever writes these replies to end them, and waits until that is done, or until it
    /// has taken too long. Those that wait are not begun any more.
    pub async fn request_stops(
        &self,
        viewer: &Viewer,
        unfinished: &[UnfinishedReply],
    ) -> Result<(), DbError> {
        let deadline = Instant::now() + self.engine.timing.patience;
        let ids: Vec<_> = unfinished.iter().map(|reply| reply.message_id).collect();
        let mut tx = self.engine.database.viewer_tx(viewer).await?;
        tx.request_stops(&ids).await?;
        tx.commit().await?;
        let (mut here, mut elsewhere) = (Vec::new(), Vec::new());
        for reply in unfinished.iter().filter(|reply| reply.held) {
            let (user_id, message_id) = (viewer.user_id(), reply.message_id);
            let key = RunKey {
                user_id,
                message_id,
            };
            if let Some(run) = self.engine.registry.find(&key) {
                run.stop.cancel();
                here.push(run);
            } else {
                self.engine.broker.publish(Notice::Stop {
                    user_id,
                    message_id,
                });
                elsewhere.push(message_id);
            }
        }
        let ended = async {
            join_all(here.iter().map(|run| run.log.ended())).await;
            self.ended_elsewhere(viewer, &elsewhere).await
        };
        timeout_at(deadline, ended).await.unwrap_or(Ok(()))
    }

    async fn ended_elsewhere(&self, viewer: &Viewer, replies: &[MessageId]) -> Result<(), DbError> {
        if replies.is_empty() {
            return Ok(());
        }
        let mut pace = interval(LOOK);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            pace.tick().await;
            let mut tx = self.engine.database.viewer_tx(viewer).await?;
            let waits = tx.is_any_unfinished(replies).await?;
            tx.commit().await?;
            if !waits {
                return Ok(());
            }
        }
    }

    /// Ends replies that this transaction has locked, whoever writes them, with the text that is
    /// known here. Their conversation is locked, and touched afterwards.
    pub async fn end_stopped(
        &self,
        viewer: &Viewer,
        tx: &mut ViewerTx,
        conversation: &Conversation,
        unfinished: &[UnfinishedReply],
    ) -> Result<EndedRuns, DbError> {
        for reply in unfinished {
            let text = match reply.status {
                MessageStatus::Pending => Some(String::new()),
                _ => self.seal(viewer.user_id(), reply),
            };
            tx.finish_reply(
                reply.message_id,
                conversation.revision + 1,
                text.as_deref(),
                &Outcome::Stopped,
                None,
            )
            .await?;
        }
        Ok(self.ended_runs(viewer, unfinished))
    }

    /// All the text of a reply that is written here, and has some. Its subscribers will see no more
    /// of it; should the transaction fail, its own task still ends it.
    fn seal(&self, user_id: UserId, reply: &UnfinishedReply) -> Option<String> {
        let key = RunKey {
            user_id,
            message_id: reply.message_id,
        };
        let run = self.engine.registry.find(&key)?;
        if run.fence != reply.fence {
            // Another process has taken it over, and this one does not know yet.
            return None;
        }
        run.stop.cancel();
        Some(run.log.seal()).filter(|text| !text.is_empty())
    }

    /// For replies that a transaction has locked and is about to end or to delete.
    pub fn ended_runs(&self, viewer: &Viewer, unfinished: &[UnfinishedReply]) -> EndedRuns {
        EndedRuns {
            engine: Arc::clone(&self.engine),
            user_id: viewer.user_id(),
            replies: unfinished.iter().map(|reply| reply.message_id).collect(),
        }
    }
}

impl Engine {
    /// Another process wants this reply ended; if it is not written here, that is no news.
    pub(super) fn stop_here(&self, key: &RunKey) {
        if let Some(run) = self.registry.find(key) {
            run.stop.cancel();
        }
    }
}
