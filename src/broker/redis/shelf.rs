//! Texts that the processes of one database keep for each other, for a while.
//!
//! Invariant: nobody waits for long, and nobody fails. Without a link, after an answer that did not
//! come in time and after a refusal there is nothing on the shelf, and nobody asks again for a
//! moment. What is on it is sealed like a notice: Redis sees neither the texts nor their names, and
//! what anybody else puts there is not read.

use std::{
    sync::{Mutex, atomic::Ordering},
    time::Duration,
};

use redis::{Cmd, FromRedisValue};
use tokio::time::{Instant, timeout};

use super::{NodeError, Redis, lock, seal::Channel};

/// How long a text is kept after it was last asked for.
pub const KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a request waits. Redis answers within a millisecond, or has other things to do.
const PATIENCE: Duration = Duration::from_millis(100);

/// How long nobody asks after that. A link that is of no use is found to be so soon after.
const PAUSE: Duration = Duration::from_secs(2);

#[derive(Default)]
pub(super) struct Shelf {
    /// Nobody asks until then.
    paused: Mutex<Option<Instant>>,
}

impl Shelf {
    fn is_paused(&self) -> bool {
        lock(&self.paused).is_some_and(|until| Instant::now() < until)
    }

    fn pause(&self) {
        *lock(&self.paused) = Some(Instant::now() + PAUSE);
    }
}

impl Redis {
    /// The text that a process of this database has kept under this name, for as long again.
    pub async fn recall(&self, name: &[u8]) -> Option<Vec<u8>> {
        let key = self.shared.seal.key(name);
        let mut command = redis::cmd("GETEX");
        command.arg(key.as_str()).arg("EX").arg(KEPT_FOR.as_secs());
        let sealed: Option<Vec<u8>> = self.ask(&key, &command).await?;
        match self
            .shared
            .seal
            .open_text(key.as_str().as_bytes(), &sealed?)
        {
            Ok(text) => Some(text),
            Err(error) => {
                self.shared.refuse(error);
                None
            }
        }
    }

    /// Keeps a text for the others; whether that was done.
    pub async fn keep(&self, name: &[u8], text: &[u8]) -> bool {
        let key = self.shared.seal.key(name);
        let mut command = redis::cmd("SET");
        command
            .arg(key.as_str())
            .arg(self.shared.seal.seal_text(&key, text.to_vec()))
            .arg("EX")
            .arg(KEPT_FOR.as_secs());
        self.ask::<()>(&key, &command).await.is_some()
    }

    async fn ask<T: FromRedisValue>(&self, key: &Channel, command: &Cmd) -> Option<T> {
        let shared = &self.shared;
        let mut connection = shared.route(key.slot())?.connection()?;
        if shared.shelf.is_paused() {
            return None;
        }
        let problem = match timeout(PATIENCE, command.query_async(&mut connection)).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => NodeError::from(error),
            Err(_) => NodeError::Slow,
        };
        shared.shelf.pause();
        if !shared.complaints.shelf.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                redis.error = %problem,
                "redis keeps no documents now; each process has its own until it does"
            );
        }
        None
    }
}
