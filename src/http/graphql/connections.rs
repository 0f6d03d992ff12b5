//! How many sockets and streams each user has open in this process.
//!
//! Invariant: a user is remembered for as long as they have one open, and no longer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::model::UserId;

/// One per process; clones are handles to the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Connections {
    open: Arc<Mutex<HashMap<UserId, usize>>>,
}

/// Held for as long as the socket or stream is open.
#[derive(Debug)]
pub(super) struct Place {
    user_id: UserId,
    among: Connections,
}

impl Connections {
    /// `None`: the user has as many open as they may.
    pub fn take(&self, user_id: UserId, most: usize) -> Option<Place> {
        let mut open = self.lock();
        let count = open.get(&user_id).copied().unwrap_or(0);
        if count >= most {
            return None;
        }
        open.insert(user_id, count + 1);
        drop(open);
        Some(Place {
            user_id,
            among: self.clone(),
        })
    }

    /// No code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.among.lock();
        if let Some(count) = open.get_mut(&self.user_id) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.user_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Connections;
    use crate::model::UserId;

    #[test]
    fn each_user_has_so_many_places_and_leaves_nothing_behind() {
        let connections = Connections::default();
        let (ada, bob) = (UserId::new(), UserId::new());
        let first = connections.take(ada, 2).expect("free");
        let second = connections.take(ada, 2).expect("free");
        assert!(connections.take(ada, 2).is_none());
        let other = connections.take(bob, 2).expect("another's are their own");
        drop(first);
        let third = connections.take(ada, 2).expect("free again");
        drop((second, third, other));
        assert!(connections.lock().is_empty());
    }
}
