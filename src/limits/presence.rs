//! What each user has open and under way in this process: connections, and bytes.
//!
//! Bytes are those of what a user has sent, of the answers that are being put together, and of what
//! the user has not taken yet. Each operation is bounded by itself; without this, one user could
//! have as many large ones as there are connections. Nobody waits here: a user's own clients would
//! wait for each other, and for one that reads nothing.
//!
//! Invariant: a user is remembered for as long as something of theirs is there, and no longer.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::model::UserId;

/// What one user may have at once.
#[derive(Clone, Copy, Debug)]
pub struct PresenceLimits {
    /// Sockets and streams.
    pub connections: usize,
    /// What they have under way.
    pub bytes: usize,
}

/// One per process; clones are handles to the same.
#[derive(Clone, Debug)]
pub struct Presences {
    here: Arc<Mutex<HashMap<UserId, Weak<Presence>>>>,
    limits: PresenceLimits,
}

/// One user, for as long as they have something here.
#[derive(Debug)]
pub struct Presence {
    user_id: UserId,
    among: Presences,
    connections: AtomicUsize,
    bytes: AtomicUsize,
}

/// Held for as long as a socket or stream is open.
#[derive(Debug)]
pub struct Place {
    presence: Arc<Presence>,
}

/// Bytes that count as the user's until this is dropped.
#[derive(Debug)]
pub struct Charge {
    presence: Arc<Presence>,
    bytes: AtomicUsize,
}

/// The user would have more bytes under way than they may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "What you have under way would take up more than {most} bytes on this server: ask again when \
     other answers have arrived, or for less at once."
)]
pub struct TooMuch {
    pub most: usize,
    /// It would be too much with nothing else under way, too.
    pub always: bool,
}

impl Presences {
    pub fn new(limits: PresenceLimits) -> Self {
        Self {
            here: Arc::default(),
            limits,
        }
    }

    pub fn of(&self, user_id: UserId) -> Arc<Presence> {
        let mut here = self.lock();
        if let Some(presence) = here.get(&user_id).and_then(Weak::upgrade) {
            return presence;
        }
        let presence = Arc::new(Presence {
            user_id,
            among: self.clone(),
            connections: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
        });
        here.insert(user_id, Arc::downgrade(&presence));
        presence
    }

    /// No code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, Weak<Presence>>> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Presence {
    /// Room for one more socket or stream. `None`: the user has as many open as they may.
    pub fn connect(self: &Arc<Self>) -> Option<Place> {
        let most = self.among.limits.connections;
        raise(&self.connections, 1, most).then(|| Place {
            presence: Arc::clone(self),
        })
    }

    /// Room for so many bytes.
    pub fn charge(self: &Arc<Self>, bytes: usize) -> Result<Charge, TooMuch> {
        let charge = self.hold(0);
        charge.grow(bytes).map(|()| charge)
    }

    /// Counts bytes that are there already, whether there is room or not.
    pub fn hold(self: &Arc<Self>, bytes: usize) -> Charge {
        let charge = Charge {
            presence: Arc::clone(self),
            bytes: AtomicUsize::new(0),
        };
        charge.set(bytes);
        charge
    }
}

impl Charge {
    /// Room for so many bytes more.
    pub fn grow(&self, bytes: usize) -> Result<(), TooMuch> {
        let most = self.presence.among.limits.bytes;
        if bytes == 0 || raise(&self.presence.bytes, bytes, most) {
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
            return Ok(());
        }
        let alone = self.bytes.load(Ordering::Relaxed).checked_add(bytes);
        Err(TooMuch {
            most,
            always: alone.is_none_or(|alone| alone > most),
        })
    }

    /// It is to be so many bytes: always possible where they are fewer.
    pub fn resize(&self, bytes: usize) -> Result<(), TooMuch> {
        let now = self.bytes.load(Ordering::Relaxed);
        match bytes.checked_sub(now) {
            Some(more) => self.grow(more),
            None => {
                self.set(bytes);
                Ok(())
            }
        }
    }

    /// It is so many bytes now, whether there is room or not.
    pub fn set(&self, bytes: usize) {
        let before = self.bytes.swap(bytes, Ordering::Relaxed);
        let change = bytes.wrapping_sub(before);
        self.presence.bytes.fetch_add(change, Ordering::Relaxed);
    }
}

/// `false`: it would be more than there may be.
fn raise(count: &AtomicUsize, by: usize, most: usize) -> bool {
    let raised = |count: usize| count.checked_add(by).filter(|raised| *raised <= most);
    count
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, raised)
        .is_ok()
}

impl Drop for Place {
    fn drop(&mut self) {
        self.presence.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut here = self.among.lock();
        // The user may have come back since.
        if here
            .get(&self.user_id)
            .is_some_and(|presence| presence.strong_count() == 0)
        {
            here.remove(&self.user_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, atomic::Ordering};

    use super::{PresenceLimits, Presences, TooMuch};
    use crate::model::UserId;

    fn presences() -> Presences {
        Presences::new(PresenceLimits {
            connections: 2,
            bytes: 100,
        })
    }

    #[test]
    fn each_user_has_so_many_places_and_leaves_nothing_behind() {
        let presences = presences();
        let (ada, bob) = (UserId::new(), UserId::new());
        let connect = |user_id| presences.of(user_id).connect();
        let first = connect(ada).expect("free");
        let second = connect(ada).expect("free");
        assert!(connect(ada).is_none());
        let other = connect(bob).expect("another's are their own");
        drop(first);
        let third = connect(ada).expect("free again");
        drop((second, third, other));
        assert!(presences.lock().is_empty());
    }

    #[test]
    fn bytes_are_a_user_s_until_they_are_let_go() {
        let presences = presences();
        let ada = presences.of(UserId::new());
        let first = ada.charge(60).expect("room");
        let full = TooMuch {
            most: 100,
            always: false,
        };
        let never = TooMuch {
            always: true,
            ..full
        };
        assert_eq!(ada.charge(41).expect_err("no room"), full);
        assert_eq!(ada.charge(101).expect_err("no room"), never);
        first.grow(40).expect("room");
        assert_eq!(first.grow(1), Err(never));
        ada.charge(0).expect("nothing is always possible");
        first.grow(usize::MAX).expect_err("no room at all");
        // What was refused is not counted.
        first.resize(10).expect("less");
        assert_eq!(first.resize(101), Err(never));
        let second = ada.charge(90).expect("room");
        // What is there is there, and keeps others out.
        let held = ada.hold(1_000);
        ada.charge(1).expect_err("no room");
        drop(second);
        ada.charge(1).expect_err("no room");
        drop(held);
        let rest = ada.charge(90).expect("room");
        presences
            .of(UserId::new())
            .charge(100)
            .expect("another's are their own");
        drop((first, rest));
        assert_eq!(ada.bytes.load(Ordering::Relaxed), 0);
        drop(ada);
        assert!(presences.lock().is_empty());
    }

    #[test]
    fn who_has_gone_and_come_back_is_counted_anew() {
        let presences = presences();
        let user_id = UserId::new();
        let before = presences.of(user_id);
        assert!(Arc::ptr_eq(&before, &presences.of(user_id)));
        drop(before.charge(100));
        drop(before);
        presences.of(user_id).charge(100).expect("room");
        assert!(presences.lock().is_empty());
    }
}
