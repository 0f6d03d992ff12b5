//! The broker of processes that are one process: a server without Redis has nobody else to tell,
//! and several engines in one address space tell each other here.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, Weak},
};

use super::{Broker, Notice, Receiver, Topic, lock};
use crate::model::UserId;

/// Those who tell each other.
#[derive(Clone, Default)]
pub struct Memory {
    members: Arc<Mutex<Vec<Weak<State>>>>,
}

/// One of them. Hears of everything but its own notices.
pub struct Member {
    state: Arc<State>,
    memory: Memory,
}

#[derive(Default)]
struct State {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    receiver: Option<Weak<dyn Receiver>>,
    followed: HashMap<UserId, usize>,
}

impl Memory {
    pub fn join(&self) -> Member {
        let state = Arc::new(State::default());
        let mut members = lock(&self.members);
        members.retain(|member| member.strong_count() > 0);
        members.push(Arc::downgrade(&state));
        drop(members);
        Member {
            state,
            memory: self.clone(),
        }
    }
}

impl State {
    /// Who takes the notices of this topic here, if anybody does.
    fn receiver_of(&self, topic: Topic) -> Option<Arc<dyn Receiver>> {
        let inner = lock(&self.inner);
        let follows = match topic {
            Topic::Runs => true,
            Topic::User(user_id) => inner.followed.contains_key(&user_id),
        };
        inner.receiver.as_ref().filter(|_| follows)?.upgrade()
    }
}

impl Broker for Member {
    fn deliver_to(&self, receiver: Weak<dyn Receiver>) {
        lock(&self.state.inner).receiver = Some(receiver);
    }

    fn publish(&self, notice: Notice) {
        let receivers: Vec<_> = lock(&self.memory.members)
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|member| !Arc::ptr_eq(member, &self.state))
            .filter_map(|member| member.receiver_of(notice.topic()))
            .collect();
        for receiver in receivers {
            receiver.receive(notice.clone());
        }
    }

    fn follow(&self, user_id: UserId) {
        *lock(&self.state.inner).followed.entry(user_id).or_insert(0) += 1;
    }

    fn unfollow(&self, user_id: UserId) {
        let mut inner = lock(&self.state.inner);
        if let Some(count) = inner.followed.get_mut(&user_id) {
            *count -= 1;
            if *count == 0 {
                inner.followed.remove(&user_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{broker::ReplyDelta, model::MessageId};

    #[derive(Default)]
    struct Heard(Mutex<Vec<Notice>>);

    impl Receiver for Heard {
        fn receive(&self, notice: Notice) {
            lock(&self.0).push(notice);
        }

        fn look_again(&self) {}

        fn look_again_at(&self, _: UserId) {}
    }

    fn member(memory: &Memory) -> (Member, Arc<Heard>) {
        let heard = Arc::new(Heard::default());
        let member = memory.join();
        let receiver: Arc<dyn Receiver> = heard.clone();
        member.deliver_to(Arc::downgrade(&receiver));
        (member, heard)
    }

    fn delta(user_id: UserId) -> Notice {
        Notice::Delta(ReplyDelta {
            user_id,
            message_id: MessageId::new(),
            attempt: 1,
            offset: 0,
            text: "Hello".to_owned(),
        })
    }

    #[test]
    fn a_notice_reaches_the_others_that_follow_its_user() {
        let memory = Memory::default();
        let ((writer, own), (reader, heard)) = (member(&memory), member(&memory));
        let user = UserId::new();
        writer.publish(delta(user));
        reader.follow(user);
        reader.follow(user);
        reader.unfollow(user);
        let notice = delta(user);
        writer.publish(notice.clone());
        writer.publish(delta(UserId::new()));
        reader.unfollow(user);
        writer.publish(delta(user));
        assert_eq!(*lock(&heard.0), [notice]);
        assert_eq!(*lock(&own.0), []);
    }

    #[test]
    fn what_is_said_of_runs_reaches_every_other() {
        let memory = Memory::default();
        let ((writer, own), (_reader, heard)) = (member(&memory), member(&memory));
        writer.publish(Notice::Waiting);
        assert_eq!(*lock(&heard.0), [Notice::Waiting]);
        assert_eq!(*lock(&own.0), []);
    }
}
