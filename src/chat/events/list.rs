//! One subscriber of one user's list of conversations.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};

use super::{hub::Hints, patiently, pause_after};
use crate::{
    chat::{Chat, ChatError},
    db::{DbError, ListNews, Subject, Viewer},
    model::{Conversation, ConversationId},
};

/// How many changes are told one by one; after more a snapshot says it shorter.
const MOST_CHANGES: usize = 100;

/// How long a subscriber may not have looked and still be told what went. That is kept for a day.
const MOST_BEHIND: TimeDelta = TimeDelta::hours(12);

/// First `Snapshot`; again when it cannot be said what happened.
#[derive(Clone, Debug)]
pub enum ListEvent {
    Snapshot,
    Added(Conversation),
    Changed(Conversation),
    Deleted(ConversationId),
}

impl Chat {
    /// The viewer's list of conversations, live.
    pub fn follow_list(&self, viewer: &Viewer) -> BoxStream<'static, Result<ListEvent, ChatError>> {
        let follower = Follower {
            hints: self.hub.follow(Subject::List(viewer.user_id())),
            chat: self.clone(),
            viewer: viewer.clone(),
            ready: VecDeque::new(),
            stage: Stage::New,
            seen: 0,
            read_at: DateTime::UNIX_EPOCH,
        };
        stream::unfold(follower, |mut follower| async move {
            let event = follower.next().await?;
            Some((event, follower))
        })
        .boxed()
    }

    /// As of one moment.
    async fn read_list(self, viewer: Viewer, since: i64) -> Result<ListNews, DbError> {
        let mut tx = self.database.viewer_snapshot(&viewer).await?;
        let news = tx.list_news(since, MOST_CHANGES).await?;
        tx.commit().await?;
        Ok(news)
    }
}

struct Follower {
    chat: Chat,
    viewer: Viewer,
    hints: Hints,
    /// Events that are known already: one read's at the most.
    ready: VecDeque<ListEvent>,
    stage: Stage,
    /// The revision that the subscriber knows.
    seen: i64,
    /// When that was read, on the database's clock.
    read_at: DateTime<Utc>,
}

enum Stage {
    New,
    /// So many snapshots in a row were told, and it is not known yet whether the last one shows all.
    Unsettled(u32),
    Settled,
    Ended,
}

impl Follower {
    async fn next(&mut self) -> Option<Result<ListEvent, ChatError>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            let snapshots = match self.stage {
                Stage::Ended => return None,
                Stage::New => 0,
                Stage::Unsettled(snapshots) => {
                    pause_after(snapshots, self.chat.timing.progress).await;
                    snapshots
                }
                Stage::Settled => {
                    self.hints.beyond(self.seen).await;
                    0
                }
            };
            match self.read().await {
                Ok(news) => self.tell(news, snapshots),
                Err(error) => {
                    self.stage = Stage::Ended;
                    return Some(Err(error));
                }
            }
        }
    }

    async fn read(&self) -> Result<ListNews, ChatError> {
        let since = match self.stage {
            // A snapshot will show it all.
            Stage::New => i64::MAX,
            _ => self.seen,
        };
        let ask = || self.chat.clone().read_list(self.viewer.clone(), since);
        patiently(&self.chat, ask).await
    }

    fn tell(&mut self, news: ListNews, snapshots: u32) {
        let (seen, read_at) = (self.seen, self.read_at);
        self.seen = news.revision;
        self.read_at = news.read_at;
        let is_sure = !matches!(self.stage, Stage::New)
            && news.revision >= seen
            && knows_what_went(read_at, news.read_at);
        let conversations = news.conversations.filter(|conversations| {
            // A snapshot that was put together meanwhile may show these, or not.
            let any_new = conversations.iter().any(|it| it.added_revision > seen);
            is_sure && !(any_new && matches!(self.stage, Stage::Unsettled(_)))
        });
        let Some(conversations) = conversations else {
            self.stage = Stage::Unsettled(snapshots + 1);
            self.ready.push_back(ListEvent::Snapshot);
            return;
        };
        self.stage = Stage::Settled;
        let changed = conversations.into_iter().map(|conversation| {
            let at = conversation.list_revision;
            if conversation.added_revision > seen {
                (at, ListEvent::Added(conversation))
            } else {
                (at, ListEvent::Changed(conversation))
            }
        });
        let deleted = news.deleted.into_iter();
        let mut events: Vec<_> = deleted
            .map(|(id, at)| (at, ListEvent::Deleted(id)))
            .chain(changed)
            .collect();
        events.sort_by_key(|(at, _)| *at);
        self.ready
            .extend(events.into_iter().map(|(_, event)| event));
    }
}

/// Whether what went since the last look can still be told.
fn knows_what_went(last: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    now.signed_duration_since(last) < MOST_BEHIND
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_was_away_for_long_is_shown_the_list_anew() {
        let last = DateTime::UNIX_EPOCH;
        assert!(knows_what_went(last, last + TimeDelta::hours(11)));
        assert!(!knows_what_went(last, last + TimeDelta::hours(13)));
    }
}
