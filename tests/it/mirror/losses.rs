//! A broker that loses, repeats and reorders. Without any, the quiet check brings all:
//! `replicas.rs` follows that way.

use std::sync::{Arc, Mutex, Weak};

use loquat::{
    broker::{Broker, Member, Memory, Notice, Receiver},
    config::ChatSettings,
    model::UserId,
};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::support::{QUICK, Replica, TestDatabase};

/// Loses a third of what is published, repeats some, and lets some overtake others.
struct Unreliable {
    member: Member,
    state: Mutex<(StdRng, Vec<Notice>)>,
}

impl Unreliable {
    fn new(member: Member, seed: u64) -> Self {
        Self {
            member,
            state: Mutex::new((StdRng::seed_from_u64(seed), Vec::new())),
        }
    }
}

impl Broker for Unreliable {
    fn deliver_to(&self, receiver: Weak<dyn Receiver>) {
        self.member.deliver_to(receiver);
    }

    fn publish(&self, notice: Notice) {
        let mut out = Vec::new();
        {
            let mut state = self.state.lock().expect("no panic");
            let (random, held_back) = &mut *state;
            match random.random_range(0..6) {
                0 | 1 => {}
                2 => held_back.push(notice),
                3 => out.extend([notice.clone(), notice]),
                _ => out.push(notice),
            }
            if !held_back.is_empty() && random.random_range(0..4) == 0 {
                let which = random.random_range(0..held_back.len());
                // It stays: the same notice may come again, much later.
                out.push(held_back[which].clone());
            }
        }
        for notice in out {
            self.member.publish(notice);
        }
    }

    fn follow(&self, user_id: UserId) {
        self.member.follow(user_id);
    }

    fn unfollow(&self, user_id: UserId) {
        self.member.unfollow(user_id);
    }
}

#[tokio::test]
async fn whatever_the_broker_loses_the_text_elsewhere_is_exact() {
    let test = TestDatabase::create().await;
    let memory = Memory::default();
    for seed in 0..8 {
        let broker = Arc::new(Unreliable::new(memory.join(), seed));
        let writer = Replica::told_by(&test, broker, QUICK, ChatSettings::default()).await;
        let elsewhere = Replica::beside(&test, &memory, QUICK, ChatSettings::default()).await;
        let viewer = writer.viewer("alice").await;
        let conversation = writer.conversation(&viewer).await;
        let sent = writer
            .send(&viewer, conversation, "hi")
            .await
            .expect("sent");
        let writing = writer.desk.next().await;
        let mut near = writer.follow(&viewer, sent.reply.id).await;
        let mut far = elsewhere.follow(&viewer, sent.reply.id).await;
        let mut random = StdRng::seed_from_u64(seed);
        let mut whole = String::new();
        for number in 0..60 {
            let piece =
                ["a", "ß", "€", "😀", "👩🏽‍🚀"][random.random_range(0..5)].repeat(number % 4 + 1);
            writing.say(&piece);
            whole.push_str(&piece);
            // Now and then one waits until the other has it, too: a gap is healed while writing.
            near.until(&whole).await;
            if number % 20 == 19 {
                far.until(&whole).await;
            }
        }
        writing.finish();
        assert_eq!(near.finished().await.content, whole, "seed {seed}");
        assert_eq!(far.finished().await.content, whole, "seed {seed}");
        writer.lifecycle.begin_hard_stop();
        elsewhere.lifecycle.begin_hard_stop();
    }
}
