//! What ends a session before its proof runs out: its key is revoked, its user is suspended or
//! deleted, on whichever replica.
//!
//! Every process asks PostgreSQL once a second for what ended lately, never for what lives, and
//! tells the sessions of its own. Each look goes back behind the one before it: a session that was
//! signed in just before its key was revoked, and is registered just after the look that found
//! the revocation, is ended by the next. What has ended stays so, so a second look changes nothing.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{
    db::{Database, DbError},
    lifecycle::Lifecycle,
    model::{ApiKeyId, UserId},
};

/// The time between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// How long one may take. A dead connection says nothing.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    KeyRevoked,
    /// Its user may not be served any more. The client is not told why.
    UserRefused,
}

/// Tells a session's bearer when it is over. Clones tell the same.
#[derive(Clone, Debug)]
pub struct Ended(Option<Arc<Signal>>);

/// The sessions of this process that somebody still holds.
#[derive(Debug, Default)]
pub struct Sessions {
    of_users: Mutex<HashMap<UserId, SessionsOfUser>>,
}

/// By what they came in with; `None`: in person. All that came in with the same share a signal.
type SessionsOfUser = HashMap<Option<ApiKeyId>, Weak<Signal>>;

#[derive(Debug)]
struct Signal {
    ending: watch::Sender<Option<Ending>>,
    user_id: UserId,
    key_id: Option<ApiKeyId>,
    sessions: Arc<Sessions>,
}

impl Ended {
    /// Of a session that nothing ends.
    pub fn never() -> Self {
        Self(None)
    }

    /// Waits until the session is over.
    pub async fn wait(&self) -> Ending {
        let Some(signal) = &self.0 else {
            return std::future::pending().await;
        };
        let mut ending = signal.ending.subscribe();
        let over = ending.wait_for(Option::is_some).await;
        over.ok()
            .and_then(|ending| *ending)
            .expect("the sender lives as long as the signal, and the value is there")
    }
}

impl Sessions {
    pub fn register(self: &Arc<Self>, user_id: UserId, key_id: Option<ApiKeyId>) -> Ended {
        let mut of_users = self.lock();
        let entry = of_users.entry(user_id).or_default().entry(key_id);
        let mut fresh = None;
        let weak = entry.or_default();
        let signal = weak.upgrade().unwrap_or_else(|| {
            let signal = Arc::new(Signal {
                ending: watch::Sender::new(None),
                user_id,
                key_id,
                sessions: self.clone(),
            });
            fresh = Some(Arc::downgrade(&signal));
            signal
        });
        if let Some(fresh) = fresh {
            *weak = fresh;
        }
        Ended(Some(signal))
    }

    /// Ends what came in with the key.
    pub fn end_key(&self, user_id: UserId, key_id: ApiKeyId) {
        let ended = self
            .lock()
            .get_mut(&user_id)
            .and_then(|sessions| sessions.remove(&Some(key_id)));
        end(ended, Ending::KeyRevoked);
    }

    /// Ends whatever came in for the user.
    pub fn end_user(&self, user_id: UserId) {
        let ended = self.lock().remove(&user_id);
        let ended = ended.into_iter().flat_map(HashMap::into_values);
        end(ended, Ending::UserRefused);
    }

    /// No code panics while it holds the lock, and none drops a signal.
    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, SessionsOfUser>> {
        self.of_users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn end(signals: impl IntoIterator<Item = Weak<Signal>>, ending: Ending) {
    for signal in signals.into_iter().filter_map(|signal| signal.upgrade()) {
        signal.ending.send_replace(Some(ending));
    }
}

impl Drop for Signal {
    /// Another may have taken its place.
    fn drop(&mut self) {
        let mut of_users = self.sessions.lock();
        let Some(sessions) = of_users.get_mut(&self.user_id) else {
            return;
        };
        if let Some(signal) = sessions.get(&self.key_id)
            && signal.strong_count() == 0
        {
            sessions.remove(&self.key_id);
        }
        if sessions.is_empty() {
            of_users.remove(&self.user_id);
        }
    }
}

/// Looks for what ended, until the hard stop.
pub(super) async fn watch_on(database: Database, sessions: Arc<Sessions>, lifecycle: Lifecycle) {
    let mut clock = interval(LOOK);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last_asked = None;
    let mut failing = false;
    loop {
        tokio::select! {
            _ = clock.tick() => {}
            () = lifecycle.hard_stop().cancelled() => return,
        }
        let looked = timeout(PATIENCE, database.endings(last_asked)).await;
        match looked.unwrap_or(Err(DbError::TimedOut)) {
            Ok(endings) => {
                failing = false;
                last_asked = Some(endings.asked_at);
                for (user_id, key_id) in endings.keys {
                    sessions.end_key(user_id, key_id);
                }
                for user_id in endings.users {
                    sessions.end_user(user_id);
                }
            }
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "revoked credentials could not be looked for"
                );
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn is_over(session: &Ended) -> Option<Ending> {
        session.wait().now_or_never()
    }

    #[test]
    fn a_key_ends_its_own_sessions_and_a_user_all_of_theirs() {
        let sessions = Arc::<Sessions>::default();
        let (ann, bob) = (UserId::new(), UserId::new());
        let (one, other) = (ApiKeyId::new(), ApiKeyId::new());
        let in_person = sessions.register(ann, None);
        let by_one = [(); 2].map(|()| sessions.register(ann, Some(one)));
        let by_other = sessions.register(ann, Some(other));
        let bobs = sessions.register(bob, None);
        sessions.end_key(bob, one);
        assert_eq!(is_over(&by_one[0]), None);
        for _ in 0..2 {
            sessions.end_key(ann, one);
            assert!(
                by_one
                    .iter()
                    .all(|it| is_over(it) == Some(Ending::KeyRevoked))
            );
        }
        assert_eq!((is_over(&in_person), is_over(&by_other)), (None, None));
        sessions.end_user(ann);
        sessions.end_user(ann);
        assert_eq!(is_over(&in_person), Some(Ending::UserRefused));
        assert_eq!(is_over(&by_other), Some(Ending::UserRefused));
        assert_eq!(is_over(&by_one[1]), Some(Ending::KeyRevoked));
        assert_eq!(is_over(&bobs), None);
        assert_eq!(is_over(&Ended::never()), None);
    }

    #[test]
    fn whoever_comes_back_after_an_ending_begins_anew() {
        let sessions = Arc::<Sessions>::default();
        let ann = UserId::new();
        let suspended = sessions.register(ann, None);
        sessions.end_user(ann);
        let restored = sessions.register(ann, None);
        // The one that is over is let go of, and the new one stays known.
        drop(suspended);
        assert_eq!(is_over(&restored), None);
        sessions.end_user(ann);
        assert_eq!(is_over(&restored), Some(Ending::UserRefused));
    }

    #[test]
    fn sessions_that_nobody_holds_leave_nothing_behind() {
        let sessions = Arc::<Sessions>::default();
        let (ann, key) = (UserId::new(), ApiKeyId::new());
        for _ in 0..3 {
            let held = sessions.register(ann, None);
            drop([
                sessions.register(ann, None),
                sessions.register(ann, Some(key)),
            ]);
            assert_eq!(sessions.lock()[&ann].len(), 1);
            drop(held);
            assert!(sessions.lock().is_empty());
        }
        let ended = sessions.register(ann, Some(key));
        sessions.end_key(ann, key);
        drop(ended);
        assert!(sessions.lock().is_empty());
    }
}
