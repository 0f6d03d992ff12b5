//! How many transactions one user may have open at once, so that nobody's requests, however many
//! fields they select, keep everybody else waiting for a connection.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::model::UserId;

/// The right to one transaction; given back when it has ended.
#[derive(Debug)]
pub struct Turn {
    _permit: OwnedSemaphorePermit,
    /// One that had to come before.
    _before: Option<Box<Turn>>,
}

impl Turn {
    /// Waits for a turn, first come, first served.
    pub async fn of(semaphore: &Arc<Semaphore>) -> Self {
        Self {
            _permit: Arc::clone(semaphore)
                .acquire_owned()
                .await
                .expect("the semaphore is never closed"),
            _before: None,
        }
    }

    /// Gives that one back, too.
    pub fn behind(self, before: Self) -> Self {
        Self {
            _before: Some(Box::new(before)),
            ..self
        }
    }
}

/// The turns of all users. One who has none is not in it.
#[derive(Debug)]
pub struct Turns {
    each: usize,
    users: Mutex<HashMap<UserId, Weak<Semaphore>>>,
}

impl Turns {
    /// A third of the connections for one user, and always one.
    pub fn of(connections: u32) -> Self {
        Self {
            each: (connections / 3).max(1) as usize,
            users: Mutex::default(),
        }
    }

    /// One for each user.
    pub fn one_each() -> Self {
        Self {
            each: 1,
            users: Mutex::default(),
        }
    }

    /// Waits for the user's next turn, first come, first served.
    pub async fn next(&self, user_id: UserId) -> Turn {
        Turn::of(&self.semaphore(user_id)).await
    }

    fn semaphore(&self, user_id: UserId) -> Arc<Semaphore> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(semaphore) = users.get(&user_id).and_then(Weak::upgrade) {
            return semaphore;
        }
        // What is left are the users of this moment: no more than wait or hold a turn.
        users.retain(|_, semaphore| semaphore.strong_count() > 0);
        let semaphore = Arc::new(Semaphore::new(self.each));
        users.insert(user_id, Arc::downgrade(&semaphore));
        semaphore
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn one_user_waits_for_themselves_and_for_nobody_else() {
        let turns = Turns::of(6);
        let (busy, other) = (UserId::new(), UserId::new());
        let first = turns.next(busy).await;
        let _second = turns.next(busy).await;
        assert!(turns.next(busy).now_or_never().is_none());
        assert!(turns.next(other).now_or_never().is_some());
        drop(first);
        assert!(turns.next(busy).now_or_never().is_some());
        assert!(turns.users.lock().unwrap().len() <= 2);
    }
}
