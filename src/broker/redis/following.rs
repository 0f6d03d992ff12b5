//! Which users' notices this process wants.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::seal::Channel;
use crate::model::UserId;

/// How long a user's channel stays subscribed when nobody follows them any more: a subscriber that
/// reconnects costs nothing.
pub(super) const LINGER: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(super) struct Following {
    users: HashMap<UserId, Followed>,
}

struct Followed {
    channel: Channel,
    followers: usize,
    /// Since when there are none.
    left: Option<Instant>,
}

impl Following {
    /// Whether the user's channel has to be subscribed for it.
    pub(super) fn follow(&mut self, user_id: UserId, channel: Channel) -> bool {
        match self.users.get_mut(&user_id) {
            Some(followed) => {
                followed.followers += 1;
                followed.left = None;
                false
            }
            None => {
                let followed = Followed {
                    channel,
                    followers: 1,
                    left: None,
                };
                self.users.insert(user_id, followed);
                true
            }
        }
    }

    pub(super) fn unfollow(&mut self, user_id: UserId, now: Instant) {
        if let Some(followed) = self.users.get_mut(&user_id) {
            followed.followers = followed.followers.saturating_sub(1);
            if followed.followers == 0 {
                followed.left = Some(now);
            }
        }
    }

    pub(super) fn is_followed(&self, user_id: UserId) -> bool {
        self.users
            .get(&user_id)
            .is_some_and(|followed| followed.followers > 0)
    }

    /// Every channel that is to be subscribed.
    pub(super) fn channels(&self) -> impl Iterator<Item = &Channel> {
        self.users.values().map(|followed| &followed.channel)
    }

    /// Forgets those who have had no follower for [`LINGER`], and says which channels were theirs.
    pub(super) fn forget(&mut self, now: Instant) -> Vec<Channel> {
        self.users
            .extract_if(|_, followed| {
                followed
                    .left
                    .is_some_and(|left| now.duration_since(left) >= LINGER)
            })
            .map(|(_, followed)| followed.channel)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretBox;

    use super::*;
    use crate::broker::{Topic, redis::seal::Seal};

    #[test]
    fn a_channel_is_subscribed_once_and_lingers_behind_its_last_follower() {
        let seal = Seal::new(&SecretBox::new(Box::new([1; 32])));
        let user = UserId::new();
        let channel = seal.channel(Topic::User(user));
        let mut following = Following::default();
        let now = Instant::now();
        assert!(following.follow(user, channel.clone()));
        assert!(!following.follow(user, channel.clone()));
        following.unfollow(user, now);
        assert!(following.is_followed(user));
        following.unfollow(user, now);
        assert!(!following.is_followed(user));
        assert_eq!(following.forget(now + LINGER / 2), []);

        assert!(!following.follow(user, channel.clone()));
        assert!(following.is_followed(user));
        assert_eq!(following.forget(now + LINGER), []);
        following.unfollow(user, now + LINGER);
        assert_eq!(following.channels().collect::<Vec<_>>(), [&channel]);
        assert_eq!(following.forget(now + 2 * LINGER), [channel]);
        assert_eq!(following.channels().count(), 0);
    }
}
