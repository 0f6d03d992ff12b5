//! The quiet check: replies that other processes write, asked about once a second and all in one
//! query, for as long as somebody here follows them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::{
    sync::{Notify, watch},
    time::{MissedTickBehavior, interval, timeout},
};

use super::{Engine, registry::lock};
use crate::db::{DbError, ReplyProgress, RunKey, SystemReason};

/// What a watched reply looked like when PostgreSQL was last asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    NotYet,
    Progress(ReplyProgress),
    Gone,
}

#[derive(Default)]
pub struct Watches {
    watched: Mutex<HashMap<RunKey, watch::Sender<Seen>>>,
    /// Asks for a look before the next one is due.
    early: Notify,
}

impl Watches {
    /// Watches a reply for as long as the receiver lives.
    /// A change that was told before the call is not told again, so whoever loads a reply in order
    /// to follow it watches first.
    pub fn watch(&self, key: RunKey) -> watch::Receiver<Seen> {
        lock(&self.watched)
            .entry(key)
            .or_insert_with(|| watch::Sender::new(Seen::NotYet))
            .subscribe()
    }

    pub fn look_again(&self) {
        self.early.notify_one();
    }

    fn keys(&self) -> Vec<RunKey> {
        let mut watched = lock(&self.watched);
        watched.retain(|_, sender| sender.receiver_count() > 0);
        watched.keys().copied().collect()
    }

    fn tell(&self, asked: &[RunKey], found: Vec<ReplyProgress>) {
        let mut found: HashMap<RunKey, ReplyProgress> = found
            .into_iter()
            .map(|progress| (progress.run, progress))
            .collect();
        let watched = lock(&self.watched);
        for key in asked {
            let seen = found.remove(key).map_or(Seen::Gone, Seen::Progress);
            if let Some(sender) = watched.get(key) {
                sender.send_if_modified(|last| {
                    let changed = *last != seen;
                    *last = seen;
                    changed
                });
            }
        }
    }
}

impl Engine {
    pub(super) async fn watch_on(self: Arc<Self>) {
        let mut clock = interval(self.timing.progress);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            tokio::select! {
                _ = clock.tick() => {}
                () = self.watches.early.notified() => {}
                () = self.lifecycle.hard_stop().cancelled() => return,
            }
            match timeout(self.timing.lease, self.look_at_watched()).await {
                Ok(Ok(())) => failing = false,
                Ok(Err(error)) if !failing => {
                    failing = true;
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "replies of other processes could not be followed"
                    );
                }
                Ok(Err(_)) => {}
                Err(_) => tracing::warn!("the database did not say how far other replies are"),
            }
        }
    }

    async fn look_at_watched(&self) -> Result<(), DbError> {
        let keys = self.watches.keys();
        if keys.is_empty() {
            return Ok(());
        }
        let mut tx = self.database.system_tx(SystemReason::Progress).await?;
        let found = tx.reply_progress(&keys).await?;
        tx.commit().await?;
        self.watches.tell(&keys, found);
        Ok(())
    }
}
