//! Who in this process follows what, and the hint that there is something new of it.
//!
//! A hint holds nothing but how far PostgreSQL is known to be, so it may come twice, late or
//! for nothing, and those that a slow follower misses cost nothing. Hints come from the commits of
//! this process, from the notices of others, and from the quiet check: one question a second about
//! everything that is followed here, since a notice may be lost.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{
    broker::Broker,
    chat::lock,
    db::{Database, DbError, Subject, SystemReason},
    lifecycle::Lifecycle,
    model::{ConversationId, UserId},
};

/// What is followed in this process.
pub struct Hub {
    broker: Arc<dyn Broker>,
    followed: Mutex<HashMap<Subject, watch::Sender<Hint>>>,
    /// Asks for a check before the next one is due.
    early: Notify,
}

/// What a follower learns without asking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Hint {
    /// How often somebody said that there was a change.
    calls: u64,
    found: Found,
}

/// What the last check found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Found {
    #[default]
    NotYet,
    Revision(i64),
    Nothing,
}

impl Hub {
    pub fn new(broker: Arc<dyn Broker>) -> Self {
        Self {
            broker,
            followed: Mutex::default(),
            early: Notify::new(),
        }
    }

    /// Follows until the answer is dropped. What was said before the call is not said again, so
    /// whoever loads something in order to follow it comes here first.
    pub fn follow(self: &Arc<Self>, subject: Subject) -> Hints {
        let hint = lock(&self.followed).entry(subject).or_default().subscribe();
        self.broker.follow(subject.user_id());
        let last = *hint.borrow();
        Hints {
            hub: Arc::clone(self),
            subject,
            last,
            hint,
        }
    }

    /// Something in this conversation has changed, and so has its user's list.
    pub fn changed(&self, user_id: UserId, conversation_id: ConversationId) {
        let followed = lock(&self.followed);
        for subject in [
            Subject::Conversation(user_id, conversation_id),
            Subject::List(user_id),
        ] {
            if let Some(hint) = followed.get(&subject) {
                hint.send_modify(|hint| hint.calls += 1);
            }
        }
    }

    /// Notices may have been lost.
    pub fn look_again(&self) {
        self.early.notify_one();
    }

    /// Notices about this user may have been lost.
    pub fn look_again_at(&self, user_id: UserId) {
        for (subject, hint) in lock(&self.followed).iter() {
            if subject.user_id() == user_id {
                hint.send_modify(|hint| hint.calls += 1);
            }
        }
    }

    /// The quiet check; ends with the process.
    pub async fn check_on(
        self: Arc<Self>,
        database: Database,
        pace: Duration,
        limit: Duration,
        lifecycle: Lifecycle,
    ) {
        let mut clock = interval(pace);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            tokio::select! {
                _ = clock.tick() => {}
                () = self.early.notified() => {}
                () = lifecycle.hard_stop().cancelled() => return,
            }
            match timeout(limit, self.check(&database)).await {
                Ok(Ok(())) => failing = false,
                Ok(Err(error)) if !failing => {
                    failing = true;
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "conversations could not be checked for changes"
                    );
                }
                Ok(Err(_)) => {}
                Err(_) => tracing::warn!("the database did not say which conversations changed"),
            }
        }
    }

    async fn check(&self, database: &Database) -> Result<(), DbError> {
        let subjects: Vec<Subject> = lock(&self.followed).keys().copied().collect();
        if subjects.is_empty() {
            return Ok(());
        }
        let mut tx = database.system_tx(SystemReason::Progress).await?;
        let revisions = tx.revisions(&subjects).await?;
        tx.commit().await?;
        let followed = lock(&self.followed);
        for subject in subjects {
            if let Some(hint) = followed.get(&subject) {
                let found = revisions
                    .get(&subject)
                    .map_or(Found::Nothing, |revision| Found::Revision(*revision));
                hint.send_if_modified(|hint| {
                    let differs = hint.found != found;
                    hint.found = found;
                    differs
                });
            }
        }
        Ok(())
    }

    fn unfollow(&self, subject: Subject) {
        self.broker.unfollow(subject.user_id());
        let mut followed = lock(&self.followed);
        if followed
            .get(&subject)
            .is_some_and(|hint| hint.receiver_count() == 0)
        {
            followed.remove(&subject);
        }
    }
}

/// One follower's ear.
pub struct Hints {
    hub: Arc<Hub>,
    subject: Subject,
    /// What it was last told.
    last: Hint,
    hint: watch::Receiver<Hint>,
}

impl Hints {
    /// Waits until there may be more than `seen`, the revision that the follower has read.
    pub async fn beyond(&mut self, seen: i64) {
        loop {
            // The sender lives as long as there is a receiver.
            let _ = self.hint.changed().await;
            let hint = *self.hint.borrow_and_update();
            let before = std::mem::replace(&mut self.last, hint);
            if hint.calls != before.calls || hint.found != Found::Revision(seen) {
                return;
            }
        }
    }
}

impl Drop for Hints {
    fn drop(&mut self) {
        // Its receiver must not be counted any more.
        self.hint = watch::channel(Hint::default()).1;
        self.hub.unfollow(self.subject);
    }
}
