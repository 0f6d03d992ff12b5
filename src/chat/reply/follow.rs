//! One subscriber of one reply: first where it stands, then what is written, then how it ended.

use std::{collections::VecDeque, sync::Arc};

use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    Engine, Replies,
    log::{Delta, LogEvent, LogPhase, LogReader, utf16_length},
    progress::Seen,
};
use crate::{
    chat::ChatError,
    db::{RunKey, Viewer},
    model::{Message, MessageId, MessageStatus},
};

/// First `Changed`, then the text so far as one delta at offset 0, then deltas, then `Finished`,
/// then the end. `Changed` again when a pending reply begins. A delta at offset 0 again when the
/// text begins anew.
#[derive(Clone, Debug)]
pub enum FollowEvent {
    Changed(Message),
    /// `offset` in UTF-16 code units.
    Delta {
        offset: u32,
        text: String,
    },
    Finished(Message),
}

impl Replies {
    pub async fn follow(
        &self,
        viewer: &Viewer,
        message_id: MessageId,
    ) -> Result<BoxStream<'static, Result<FollowEvent, ChatError>>, ChatError> {
        let mut follower = Follower {
            engine: Arc::clone(&self.engine),
            key: RunKey {
                user_id: viewer.user_id(),
                message_id,
            },
            viewer: viewer.clone(),
            ready: VecDeque::new(),
            source: Source::Ended,
            status: MessageStatus::Pending,
        };
        follower.begin().await?;
        Ok(stream::unfold(follower, |mut follower| async move {
            let event = follower.next().await?;
            Some((event, follower))
        })
        .boxed())
    }
}

struct Follower {
    engine: Arc<Engine>,
    viewer: Viewer,
    key: RunKey,
    /// Events that are known already: three at the most.
    ready: VecDeque<FollowEvent>,
    source: Source,
    /// The status that the subscriber was last told.
    status: MessageStatus,
}

/// Where the rest of the text comes from.
enum Source {
    /// This process writes it.
    Log(LogReader),
    /// Another process does: the database tells how far it is.
    Database {
        seen: watch::Receiver<Seen>,
        /// The text as the subscriber has it: another attempt shows in that it does not go on from
        /// here.
        sent: String,
    },
    Ended,
}

/// Where a reply is written, as it was when its subscriber came.
enum Origin {
    Here(LogReader),
    Elsewhere(watch::Receiver<Seen>),
}

impl Follower {
    /// The state of things, as the first two or three events.
    async fn begin(&mut self) -> Result<(), ChatError> {
        // The log first: once a reply is missing here, the database knows how it ended.
        let origin = match self.engine.registry.find(&self.key) {
            Some(run) => Origin::Here(run.log.read()),
            None => Origin::Elsewhere(self.engine.watches.watch(self.key)),
        };
        let mut message = self.try_load().await?;
        if message.status.is_terminal() {
            self.push_changed(message.clone());
            self.push_delta(0, message.content.clone());
            self.push_end(message);
            return Ok(());
        }
        let mut reader = match origin {
            Origin::Here(reader) => reader,
            Origin::Elsewhere(seen) => {
                let sent = message.content.clone();
                self.push_changed(message);
                self.push_delta(0, sent.clone());
                self.source = Source::Database { seen, sent };
                return Ok(());
            }
        };
        // What the log says is newer than what was loaded.
        let (delta, phase) = reader.catch_up();
        message.content.clone_from(&delta.text);
        if phase == LogPhase::Streaming {
            message.status = MessageStatus::Streaming;
        }
        self.push_changed(message);
        self.push_delta(0, delta.text);
        self.source = Source::Log(reader);
        if matches!(phase, LogPhase::Finished | LogPhase::Lost) {
            self.enter(phase).await?;
        }
        Ok(())
    }

    async fn next(&mut self) -> Option<Result<FollowEvent, ChatError>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            let advanced = match &mut self.source {
                Source::Ended => return None,
                Source::Log(reader) => match reader.next().await {
                    LogEvent::Delta(Delta { offset, text }) => {
                        return Some(Ok(FollowEvent::Delta { offset, text }));
                    }
                    LogEvent::Phase(phase) => self.enter(phase).await,
                },
                Source::Database { seen, .. } => {
                    // The sender goes only with the last receiver, which is this one.
                    let _ = seen.changed().await;
                    self.catch_up().await
                }
            };
            if let Err(error) = advanced {
                self.source = Source::Ended;
                return Some(Err(error));
            }
        }
    }

    /// The log that this process wrote has come to a new phase.
    async fn enter(&mut self, phase: LogPhase) -> Result<(), ChatError> {
        match phase {
            LogPhase::Pending => {}
            LogPhase::Streaming => {
                let message = self.load().await?;
                if message.status == MessageStatus::Streaming {
                    self.push_changed(message);
                }
            }
            LogPhase::Finished => {
                let message = self.load().await?;
                self.push_end(message);
            }
            LogPhase::Lost => {
                // What was published and not written down may be gone: begin again from what the
                // database holds.
                let seen = self.engine.watches.watch(self.key);
                let message = self.load().await?;
                self.push_delta(0, message.content.clone());
                if message.status.is_terminal() {
                    self.push_end(message);
                } else {
                    let sent = message.content;
                    self.source = Source::Database { seen, sent };
                }
            }
        }
        Ok(())
    }

    /// The database has seen a change: sends what is new.
    async fn catch_up(&mut self) -> Result<(), ChatError> {
        let message = self.load().await?;
        if message.status != self.status && !message.status.is_terminal() {
            self.push_changed(message.clone());
        }
        let Source::Database { sent, .. } = &mut self.source else {
            return Ok(());
        };
        let delta = match message.content.strip_prefix(sent.as_str()) {
            Some("") => None,
            Some(more) => Some((utf16_length(sent), more.to_owned())),
            None => Some((0, message.content.clone())),
        };
        sent.clone_from(&message.content);
        if let Some((offset, text)) = delta {
            self.push_delta(offset, text);
        }
        if message.status.is_terminal() {
            self.push_end(message);
        }
        Ok(())
    }

    /// The message as it is now. An outage is no news about it, so it is waited out: an error
    /// would end the subscription for good, since clients do not ask again after one.
    async fn load(&self) -> Result<Message, ChatError> {
        let mut pause = interval(self.engine.timing.progress);
        pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            pause.tick().await;
            match timeout(self.engine.timing.lease, self.try_load()).await {
                Ok(Err(ChatError::Database(error))) if error.is_unavailable() => {}
                Ok(loaded) => return loaded,
                Err(_) => {}
            }
        }
    }

    async fn try_load(&self) -> Result<Message, ChatError> {
        let mut tx = self.engine.database.viewer_tx(&self.viewer).await?;
        let message = tx.message(self.key.message_id).await?;
        tx.commit().await?;
        let mut message = message.ok_or(ChatError::NotFound("message"))?;
        self.engine.fill_in(self.key.user_id, &mut message);
        Ok(message)
    }

    fn push_changed(&mut self, message: Message) {
        self.status = message.status;
        self.ready.push_back(FollowEvent::Changed(message));
    }

    fn push_delta(&mut self, offset: u32, text: String) {
        self.ready.push_back(FollowEvent::Delta { offset, text });
    }

    fn push_end(&mut self, message: Message) {
        self.ready.push_back(FollowEvent::Finished(message));
        self.source = Source::Ended;
    }
}
