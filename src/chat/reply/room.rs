//! How many replies this process may write at once, and the wish to look for those that wait.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

pub struct Room {
    places: Arc<Semaphore>,
    news: Arc<Notify>,
    /// Whether runs waited for a place here when they were last looked for: they come first.
    is_waited_for: AtomicBool,
}

/// The right to write one reply; given back when dropped.
pub struct Place {
    permit: OwnedSemaphorePermit,
    news: Arc<Notify>,
}

/// A place in use. Once it is free, runs are looked for that wait.
pub struct TakenPlace {
    permit: Option<OwnedSemaphorePermit>,
    news: Arc<Notify>,
}

impl Room {
    pub fn for_runs(most: u32) -> Self {
        Self {
            places: Arc::new(Semaphore::new(most as usize)),
            news: Arc::default(),
            is_waited_for: AtomicBool::new(false),
        }
    }

    /// A place for a new run, unless older ones wait for it.
    pub fn take(&self) -> Option<Place> {
        if self.is_waited_for.load(Ordering::Acquire) {
            return None;
        }
        self.next()
    }

    /// A place for a run that waits.
    pub fn next(&self) -> Option<Place> {
        Some(Place {
            permit: Arc::clone(&self.places).try_acquire_owned().ok()?,
            news: Arc::clone(&self.news),
        })
    }

    pub fn free(&self) -> usize {
        self.places.available_permits()
    }

    /// Says whether there were more runs than places when they were last looked for.
    pub fn note(&self, is_waited_for: bool) {
        self.is_waited_for.store(is_waited_for, Ordering::Release);
    }

    /// Has runs looked for before the next look is due.
    pub fn look_again(&self) {
        self.news.notify_one();
    }

    pub async fn news(&self) {
        self.news.notified().await;
    }
}

impl Place {
    pub fn taken(self) -> TakenPlace {
        TakenPlace {
            permit: Some(self.permit),
            news: self.news,
        }
    }
}

impl Drop for TakenPlace {
    fn drop(&mut self) {
        // In this order, so that whoever looks finds it free.
        drop(self.permit.take());
        self.news.notify_one();
    }
}
