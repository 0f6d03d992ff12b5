//! One subscriber of one reply: first where it stands, then what is written, then how it ended.

use std::{collections::VecDeque, time::Duration};

use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use tokio::time::timeout;

use super::{
    Replies,
    feed::{FeedEvent, ReplyFeed},
    log::Delta,
};
use crate::{
    chat::ChatError,
    db::{DbError, RunKey, Viewer},
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
        let key = RunKey {
            user_id: viewer.user_id(),
            message_id,
        };
        let mut follower = Follower {
            feed: self.engine.read_reply(viewer, key),
            ready: VecDeque::new(),
            status: MessageStatus::Pending,
            ended: false,
        };
        follower.begin(self.engine.timing.lease).await?;
        Ok(stream::unfold(follower, |mut follower| async move {
            let event = follower.next().await?;
            Some((event, follower))
        })
        .boxed())
    }
}

struct Follower {
    feed: ReplyFeed,
    /// Events that are known already: three at the most.
    ready: VecDeque<FollowEvent>,
    /// The status that the subscriber was last told.
    status: MessageStatus,
    ended: bool,
}

impl Follower {
    /// The state of things, as the first two or three events.
    async fn begin(&mut self, limit: Duration) -> Result<(), ChatError> {
        let mut message = self.feed.try_message().await?;
        if message.status.is_terminal() {
            self.push_changed(message.clone());
            self.push_delta(0, message.content.clone());
            self.push_end(message);
            return Ok(());
        }
        // What the feed says is newer than what was loaded.
        let start = timeout(limit, self.feed.begin())
            .await
            .map_err(|_| DbError::TimedOut)?;
        message.content.clone_from(&start.text);
        if start.streaming {
            message.status = MessageStatus::Streaming;
        }
        self.push_changed(message);
        self.push_delta(0, start.text);
        Ok(())
    }

    async fn next(&mut self) -> Option<Result<FollowEvent, ChatError>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            if self.ended {
                return None;
            }
            let failed = match self.feed.next().await {
                FeedEvent::Delta(Delta { offset, text }) => {
                    return Some(Ok(FollowEvent::Delta { offset, text }));
                }
                FeedEvent::Streaming if self.status == MessageStatus::Streaming => None,
                FeedEvent::Streaming => match self.feed.message().await {
                    Ok(message) => {
                        if message.status == MessageStatus::Streaming {
                            self.push_changed(message);
                        }
                        None
                    }
                    Err(error) => Some(error),
                },
                FeedEvent::Ended(Ok(message)) => {
                    self.push_end(*message);
                    None
                }
                FeedEvent::Ended(Err(error)) => Some(error),
            };
            if let Some(error) = failed {
                self.ended = true;
                return Some(Err(error));
            }
        }
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
        self.ended = true;
    }
}
