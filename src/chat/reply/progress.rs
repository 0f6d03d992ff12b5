//! The quiet check: replies that other processes write, asked about once a second and all in one
//! query, for as long as somebody here follows them.

use std::{collections::HashMap, sync::Arc};

use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Engine;
use crate::db::{DbError, ReplyProgress, RunKey, SystemReason};

impl Engine {
    pub(super) async fn watch_on(self: Arc<Self>) {
        let mut clock = interval(self.timing.progress);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            tokio::select! {
                _ = clock.tick() => {}
                () = self.early_check.notified() => {}
                () = self.lifecycle.hard_stop().cancelled() => return,
            }
            match timeout(self.timing.lease, self.check_on_mirrors()).await {
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

    async fn check_on_mirrors(&self) -> Result<(), DbError> {
        let mirrors = self.mirrors.all();
        if mirrors.is_empty() {
            return Ok(());
        }
        let keys: Vec<RunKey> = mirrors.iter().map(|mirror| mirror.key()).collect();
        let mut tx = self.database.system_tx(SystemReason::Progress).await?;
        let found = tx.reply_progress(&keys).await?;
        tx.commit().await?;
        let found: HashMap<RunKey, ReplyProgress> = found
            .into_iter()
            .map(|progress| (progress.run, progress))
            .collect();
        for mirror in mirrors {
            mirror.compare(found.get(&mirror.key()));
        }
        Ok(())
    }
}
