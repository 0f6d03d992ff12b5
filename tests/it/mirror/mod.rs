//! Replies that are followed where they are not written: at the pace of the broker, and exact
//! whatever it loses.

mod crowd;
mod losses;
mod successors;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use loquat::{
    broker::{Broker, Member, Memory, Notice, Receiver, ReplyDelta},
    chat::{ChatError, FollowEvent, Timing},
    config::ChatSettings,
    model::{MessageStatus, UserId},
};

use crate::support::{QUICK, Reader, Replica, SqlGate, TestDatabase, eventually, sql};

const GATE: i64 = 42;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// PostgreSQL is not asked about replies elsewhere, unless something says that it should be.
const NO_QUIET_CHECK: Timing = Timing {
    progress: HOUR,
    ..QUICK
};

async fn replica(test: &TestDatabase, memory: &Memory, timing: Timing) -> Replica {
    Replica::beside(test, memory, timing, ChatSettings::default()).await
}

/// A process that hears what the others say.
struct Ear {
    heard: Mutex<Vec<Notice>>,
}

impl Ear {
    fn new(member: &Member) -> Arc<Self> {
        let ear = Arc::new(Self {
            heard: Mutex::default(),
        });
        let receiver: Arc<dyn Receiver> = ear.clone();
        member.deliver_to(Arc::downgrade(&receiver));
        ear
    }

    fn deltas(&self) -> Vec<ReplyDelta> {
        let heard = self.heard.lock().expect("no panic");
        heard
            .iter()
            .filter_map(|notice| match notice {
                Notice::Delta(delta) => Some(delta.clone()),
                _ => None,
            })
            .collect()
    }
}

impl Receiver for Ear {
    fn receive(&self, notice: Notice) {
        self.heard.lock().expect("no panic").push(notice);
    }

    fn look_again(&self) {}

    fn look_again_at(&self, _: UserId) {}
}

/// The first events of a reply that has begun: what it is, and its text so far.
async fn begun(reader: &mut Reader) {
    let first = reader.next().await.expect("an event").expect("no error");
    assert!(matches!(first, FollowEvent::Changed(_)), "{first:?}");
    let second = reader.next().await.expect("an event").expect("no error");
    let at_the_start = matches!(second, FollowEvent::Delta { offset: 0, .. });
    assert!(at_the_start, "{second:?}");
}

#[tokio::test]
async fn text_arrives_elsewhere_at_the_pace_of_the_broker() {
    let test = TestDatabase::create().await;
    let memory = Memory::default();
    // Nothing is written down before the end: all text comes through the broker.
    let timing = Timing {
        tick: HOUR,
        lease: HOUR,
        ..NO_QUIET_CHECK
    };
    let writer = replica(&test, &memory, timing).await;
    let elsewhere = replica(&test, &memory, timing).await;
    let viewer = writer.viewer("alice").await;
    let conversation = writer.conversation(&viewer).await;
    let sent = writer
        .send(&viewer, conversation, "hi")
        .await
        .expect("sent");
    let writing = writer.desk.next().await;
    let mut reader = elsewhere.follow(&viewer, sent.reply.id).await;
    begun(&mut reader).await;
    let mut whole = String::new();
    for piece in ["Grüße ", "🍊", "👩🏽‍🚀 ", "von", " dort"] {
        writing.say(piece);
        whole.push_str(piece);
        reader.until(&whole).await;
    }
    writing.finish();
    let finished = reader.finished().await;
    assert_eq!(finished.status, MessageStatus::Completed);
    assert_eq!(finished.content, whole);
}

#[tokio::test]
async fn who_comes_late_gets_what_was_written_before_and_what_is_written_now() {
    let test = TestDatabase::create().await;
    let memory = Memory::default();
    let writer = replica(&test, &memory, NO_QUIET_CHECK).await;
    let elsewhere = replica(&test, &memory, NO_QUIET_CHECK).await;
    let viewer = writer.viewer("alice").await;
    let conversation = writer.conversation(&viewer).await;
    let sent = writer
        .send(&viewer, conversation, "hi")
        .await
        .expect("sent");
    let writing = writer.desk.next().await;
    let mut near = writer.follow(&viewer, sent.reply.id).await;
    writing.say("early 🍊 ");
    near.until("early 🍊 ").await;
    let mut first = elsewhere.follow(&viewer, sent.reply.id).await;
    writing.say("later ");
    first.until("early 🍊 later ").await;
    let mut second = elsewhere.follow(&viewer, sent.reply.id).await;
    begun(&mut second).await;
    assert_eq!(second.content(), "early 🍊 later ");
    let seen = elsewhere.message(&viewer, sent.reply.id).await;
    assert_eq!(seen.expect("there").content, "early 🍊 later ");
    writing.say("last");
    writing.finish();
    for mut reader in [near, first, second] {
        assert_eq!(reader.finished().await.content, "early 🍊 later last");
    }
}

#[tokio::test]
async fn a_pending_reply_is_told_to_begin_elsewhere_before_its_text() {
    let test = TestDatabase::create().await;
    let memory = Memory::default();
    let elsewhere = replica(&test, &memory, NO_QUIET_CHECK).await;
    let writer = replica(&test, &memory, NO_QUIET_CHECK).await;
    let viewer = writer.viewer("alice").await;
    let conversation = writer.conversation(&viewer).await;
    let mut gate = SqlGate::closed(&test, GATE).await;
    sql(
        &test,
        &format!(
            "create policy gate on chat.messages as restrictive for update to loquat_viewer using (case \
               when status = 'PENDING' and current_query() like 'update%' then {} else true end)",
            SqlGate::passed(GATE)
        ),
    )
    .await;
    let sent = writer
        .send(&viewer, conversation, "hi")
        .await
        .expect("sent");
    gate.waiting(1).await;
    let mut reader = elsewhere.follow(&viewer, sent.reply.id).await;
    begun(&mut reader).await;
    gate.open().await;
    let writing = writer.desk.next().await;
    writing.say("now");
    let changed = reader.next().await.expect("an event").expect("no error");
    let FollowEvent::Changed(message) = changed else {
        panic!("text before its beginning: {changed:?}");
    };
    assert_eq!(message.status, MessageStatus::Streaming);
    reader.until("now").await;
    writing.finish();
    assert_eq!(reader.finished().await.content, "now");
}

#[tokio::test]
async fn a_reply_that_is_deleted_ends_its_subscription_elsewhere() {
    let test = TestDatabase::create().await;
    let memory = Memory::default();
    let writer = replica(&test, &memory, NO_QUIET_CHECK).await;
    let elsewhere = replica(&test, &memory, NO_QUIET_CHECK).await;
    let viewer = writer.viewer("alice").await;
    let conversation = writer.conversation(&viewer).await;
    let sent = writer
        .send(&viewer, conversation, "hi")
        .await
        .expect("sent");
    let writing = writer.desk.next().await;
    let mut reader = elsewhere.follow(&viewer, sent.reply.id).await;
    writing.say("half");
    reader.until("half").await;
    let deleted = writer.chat.delete_conversation(&viewer, conversation).await;
    deleted.expect("deleted");
    let end = reader.next().await.expect("an end");
    assert!(matches!(end, Err(ChatError::NotFound(_))), "{end:?}");
    assert!(reader.next().await.is_none(), "nothing follows the end");
}

#[tokio::test]
async fn a_reply_that_is_stopped_in_place_of_its_owner_ends_here_at_once() {
    let test = TestDatabase::create().await;
    // The owner hears of nothing, and nobody hears of the owner.
    let deaf = Timing {
        tick: HOUR,
        lease: HOUR,
        ..NO_QUIET_CHECK
    };
    let writer = replica(&test, &Memory::default(), deaf).await;
    let elsewhere = replica(&test, &Memory::default(), NO_QUIET_CHECK).await;
    let viewer = writer.viewer("alice").await;
    let conversation = writer.conversation(&viewer).await;
    let sent = writer
        .send(&viewer, conversation, "hi")
        .await
        .expect("sent");
    let _writing = writer.desk.next().await;
    let mut reader = elsewhere.follow(&viewer, sent.reply.id).await;
    begun(&mut reader).await;
    let stopped = elsewhere.chat.stop_reply(&viewer, sent.reply.id).await;
    assert_eq!(stopped.expect("stopped").status, MessageStatus::Stopped);
    assert_eq!(reader.finished().await.status, MessageStatus::Stopped);
}

#[tokio::test]
async fn a_slow_subscriber_elsewhere_gets_larger_deltas() {
    let test = TestDatabase::create().await;
    let memory = Memory::default();
    let writer = replica(&test, &memory, QUICK).await;
    let elsewhere = replica(&test, &memory, QUICK).await;
    let viewer = writer.viewer("alice").await;
    let conversation = writer.conversation(&viewer).await;
    let sent = writer
        .send(&viewer, conversation, "hi")
        .await
        .expect("sent");
    let writing = writer.desk.next().await;
    let mut slow = elsewhere.follow(&viewer, sent.reply.id).await;
    let mut quick = elsewhere.follow(&viewer, sent.reply.id).await;
    let mut whole = String::new();
    for number in 0..50 {
        let piece = format!("{number}😀 ");
        writing.say(&piece);
        whole.push_str(&piece);
        quick.until(&whole).await;
    }
    slow.until(&whole).await;
    assert!(slow.deltas <= 2, "{} deltas", slow.deltas);
    writing.finish();
    assert_eq!(slow.finished().await.content, whole);
    assert_eq!(quick.finished().await.content, whole);
}

#[tokio::test]
async fn nothing_is_published_once_the_lease_is_over() {
    let test = TestDatabase::create().await;
    let memory = Memory::default();
    let listener = memory.join();
    let ear = Ear::new(&listener);
    // No tick renews the lease, or says that it is over.
    let timing = Timing {
        tick: HOUR,
        lease: Duration::from_millis(1000),
        ..QUICK
    };
    let writer = replica(&test, &memory, timing).await;
    let viewer = writer.viewer("alice").await;
    listener.follow(viewer.user_id());
    let conversation = writer.conversation(&viewer).await;
    writer
        .send(&viewer, conversation, "hi")
        .await
        .expect("sent");
    let writing = writer.desk.next().await;
    writing.say("in time");
    eventually("the text is published", || async {
        let text: String = ear.deltas().into_iter().map(|delta| delta.text).collect();
        (text == "in time").then_some(())
    })
    .await;
    let first = ear.deltas().swap_remove(0);
    assert_eq!((first.attempt, first.offset), (1, 0));
    eventually("the lease is over", || async {
        let over: bool = sqlx::query_scalar(
            "select coalesce(bool_and(lease_expires_at < clock_timestamp()), true) from chat.replies",
        )
        .fetch_one(&mut test.superuser().await)
        .await
        .expect("the time");
        over.then_some(())
    })
    .await;
    writing.say(" and too late");
    writing.hung_up().await;
    let text: String = ear.deltas().into_iter().map(|delta| delta.text).collect();
    assert_eq!(text, "in time");
}
