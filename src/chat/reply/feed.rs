//! One subscriber's way to a reply, wherever it is written: in this process, in another, or now
//! here and now there.

use std::sync::Arc;

use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{
    Engine,
    log::{Delta, LogEvent, LogPhase, LogReader},
    mirror::Mirror,
};
use crate::{
    chat::ChatError,
    db::{DbError, RunKey, Viewer},
    model::Message,
};

/// Made before whatever its subscriber loads of the reply, so that nothing falls in between.
pub struct ReplyFeed {
    engine: Arc<Engine>,
    viewer: Viewer,
    key: RunKey,
    reader: LogReader,
    /// Keeps what the reader reads alive, if another process writes it.
    _mirror: Option<Arc<Mirror>>,
    stage: Stage,
    /// Whether it is known to the subscriber that the reply has begun.
    streaming: bool,
}

enum Stage {
    /// The reader's text is not the subscriber's yet.
    Fresh,
    Reading,
    /// All text has been told, and the message is to be loaded.
    Ending,
    /// The message held another text, which has been told since.
    Corrected,
    Ended,
}

/// Where a subscriber begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedStart {
    pub text: String,
    /// Whether the reply has begun to be written.
    pub streaming: bool,
}

#[derive(Debug)]
pub enum FeedEvent {
    /// At offset 0 where the text begins anew, which may be an empty one.
    Delta(Delta),
    /// The reply has begun to be written. Told once at the most, before the text.
    Streaming,
    /// The message as it is stored, which holds what the deltas said; `NotFound` if it was deleted.
    /// Nothing follows.
    Ended(Result<Box<Message>, ChatError>),
}

impl Engine {
    pub(super) fn read_reply(self: &Arc<Self>, viewer: &Viewer, key: RunKey) -> ReplyFeed {
        let (reader, mirror) = self.origin(viewer, key);
        ReplyFeed {
            engine: Arc::clone(self),
            viewer: viewer.clone(),
            key,
            reader,
            _mirror: mirror,
            stage: Stage::Fresh,
            streaming: false,
        }
    }

    fn origin(self: &Arc<Self>, viewer: &Viewer, key: RunKey) -> (LogReader, Option<Arc<Mirror>>) {
        if let Some(run) = self.run_here(&key) {
            return (run.log.read(), None);
        }
        let mirror = self.mirror(viewer, key);
        (mirror.read(), Some(mirror))
    }

    async fn load_message(&self, viewer: &Viewer, key: RunKey) -> Result<Message, ChatError> {
        let mut tx = self.database.viewer_tx(viewer).await?;
        let message = tx.message(key.message_id).await?;
        tx.commit().await?;
        message.ok_or(ChatError::NotFound("message"))
    }
}

impl ReplyFeed {
    /// The text so far, in place of the first delta.
    pub async fn begin(&mut self) -> FeedStart {
        loop {
            let (text, phase) = self.reader.begin().await;
            if phase == LogPhase::Lost {
                self.turn();
                continue;
            }
            self.stage = Stage::Reading;
            self.streaming |= phase == LogPhase::Streaming;
            return FeedStart {
                text,
                streaming: self.streaming,
            };
        }
    }

    /// What the subscriber does not know yet. May be dropped and called again at any time; after
    /// the end it waits for ever.
    pub async fn next(&mut self) -> FeedEvent {
        loop {
            match &mut self.stage {
                Stage::Fresh => {
                    let knew = self.streaming;
                    let FeedStart { text, streaming } = self.begin().await;
                    if streaming && !knew {
                        self.stage = Stage::Fresh;
                        return FeedEvent::Streaming;
                    }
                    return FeedEvent::Delta(Delta { offset: 0, text });
                }
                Stage::Reading => match self.reader.next().await {
                    LogEvent::Delta(delta) => return FeedEvent::Delta(delta),
                    LogEvent::Phase(LogPhase::Pending) => {}
                    LogEvent::Phase(LogPhase::Streaming) => {
                        if !std::mem::replace(&mut self.streaming, true) {
                            return FeedEvent::Streaming;
                        }
                    }
                    LogEvent::Phase(LogPhase::Finished) => self.stage = Stage::Ending,
                    // What was published and not written down may be gone: begin again with what
                    // is known where the reply is written now.
                    LogEvent::Phase(LogPhase::Lost) => self.turn(),
                },
                Stage::Ending => match self.message().await {
                    Ok(message) if !message.status.is_terminal() => self.turn(),
                    Ok(message) if !self.reader.holds(&message.content) => {
                        self.stage = Stage::Corrected;
                        return FeedEvent::Delta(Delta {
                            offset: 0,
                            text: message.content,
                        });
                    }
                    ended => {
                        self.stage = Stage::Ended;
                        return FeedEvent::Ended(ended.map(Box::new));
                    }
                },
                Stage::Corrected => {
                    let ended = self.message().await;
                    self.stage = Stage::Ended;
                    return FeedEvent::Ended(ended.map(Box::new));
                }
                Stage::Ended => std::future::pending().await,
            }
        }
    }

    /// The message as it is now. An outage is no news about it, so it is waited out: an error
    /// would end the subscription for good, since clients do not ask again after one.
    pub async fn message(&self) -> Result<Message, ChatError> {
        let mut pause = interval(self.engine.timing.progress);
        pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            pause.tick().await;
            match self.try_message().await {
                Err(ChatError::Database(error)) if error.is_unavailable() => {}
                loaded => return loaded,
            }
        }
    }

    /// The message as it is now, loaded once for all who ask here at the same time.
    pub async fn try_message(&self) -> Result<Message, ChatError> {
        let engine = Arc::clone(&self.engine);
        let (viewer, key) = (self.viewer.clone(), self.key);
        let shared = self.reader.message();
        // On a task of its own: a subscriber that is slow to read its answer does not keep those
        // waiting who wait for the same load.
        let task = self.engine.lifecycle.spawn(async move {
            let load = timeout(engine.timing.lease, engine.load_message(&viewer, key));
            shared
                .load(async { load.await.unwrap_or(Err(DbError::TimedOut.into())) })
                .await
        });
        let mut message = task.await.map_err(|_| ChatError::Panicked)??;
        self.engine.fill_in(self.key.user_id, &mut message);
        Ok(message)
    }

    /// Looks anew for where the reply is written.
    fn turn(&mut self) {
        let (reader, mirror) = self.engine.origin(&self.viewer, self.key);
        self.reader = reader;
        self._mirror = mirror;
        self.stage = Stage::Fresh;
    }
}
