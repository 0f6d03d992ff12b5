//! Replies that another process begins anew, while they are followed.

use loquat::{
    broker::{Broker, Memory, Notice, ReplyDelta},
    chat::FollowEvent,
    db::Viewer,
    model::{MessageId, MessageStatus},
};

use super::{NO_QUIET_CHECK, replica};
use crate::support::{QUICK, TestDatabase, sql};

/// A process that there is not takes every run over, and keeps it for longer than a test takes.
const TAKE_OVER: &str = "update chat.replies set fence = fence + 1, attempt = attempt + 1, \
    process_id = gen_random_uuid(), lease_expires_at = now() + interval '1 hour'";

/// It has written this down.
const WRITE: &str = "insert into chat.reply_chunks (user_id, message_id, attempt, \"offset\", length, text) \
    select user_id, message_id, attempt, 0, 8, 'anew 😀 ' from chat.replies";

/// What its final transaction would write.
const END: &str = "with gone as (delete from chat.replies) \
    update chat.messages set status = 'COMPLETED', content = 'anew 😀 and whole', completed_at = now() \
    where status = 'STREAMING'";

fn delta(viewer: &Viewer, message_id: MessageId, attempt: i32, offset: u32, text: &str) -> Notice {
    Notice::Delta(ReplyDelta {
        user_id: viewer.user_id(),
        message_id,
        attempt,
        offset,
        text: text.to_owned(),
    })
}

#[tokio::test]
async fn a_text_that_begins_anew_does_so_for_everybody_and_late_text_of_the_loser_is_ignored() {
    let test = TestDatabase::create().await;
    let memory = Memory::default();
    let writer = replica(&test, &memory, QUICK).await;
    let elsewhere = replica(&test, &memory, NO_QUIET_CHECK).await;
    let successor = memory.join();
    let viewer = writer.viewer("alice").await;
    let conversation = writer.conversation(&viewer).await;
    let sent = writer
        .send(&viewer, conversation, "hi")
        .await
        .expect("sent");
    let id = sent.reply.id;
    let writing = writer.desk.next().await;
    let mut near = writer.follow(&viewer, id).await;
    let mut far = elsewhere.follow(&viewer, id).await;
    writing.say("first 🍊 try");
    near.until("first 🍊 try").await;
    far.until("first 🍊 try").await;

    sql(&test, TAKE_OVER).await;
    writing.hung_up().await;
    // Not yet heard of the successor: what else the loser wrote is text of its own attempt.
    successor.publish(delta(&viewer, id, 1, 12, "!"));
    far.until("first 🍊 try!").await;
    successor.publish(delta(&viewer, id, 2, 0, ""));
    let anew = far.next().await.expect("an event").expect("no error");
    let FollowEvent::Delta { offset: 0, text } = anew else {
        panic!("the text does not begin anew: {anew:?}");
    };
    assert_eq!(text, "");
    successor.publish(delta(&viewer, id, 1, 13, " too late"));
    successor.publish(delta(&viewer, id, 1, 0, "too late"));
    sql(&test, WRITE).await;
    // The notice before this one is lost.
    successor.publish(delta(&viewer, id, 2, 8, "and "));
    successor.publish(delta(&viewer, id, 1, 13, " too late"));
    far.until("anew 😀 and ").await;
    let seen = elsewhere.message(&viewer, id).await.expect("there");
    assert_eq!(seen.content, "anew 😀 and ");
    near.until("anew 😀 ").await;
    successor.publish(delta(&viewer, id, 2, 12, "whole"));
    far.until("anew 😀 and whole").await;
    sql(&test, END).await;
    successor.publish(Notice::Changed {
        user_id: viewer.user_id(),
        conversation_id: conversation,
    });
    for reader in [&mut near, &mut far] {
        let finished = reader.finished().await;
        assert_eq!(finished.content, "anew 😀 and whole");
        assert_eq!(finished.status, MessageStatus::Completed);
    }
}

#[tokio::test]
async fn an_end_with_less_text_than_was_told_is_told_again() {
    let test = TestDatabase::create().await;
    let memory = Memory::default();
    let writer = replica(&test, &memory, QUICK).await;
    let elsewhere = replica(&test, &memory, QUICK).await;
    let other = memory.join();
    let viewer = writer.viewer("alice").await;
    let conversation = writer.conversation(&viewer).await;
    let sent = writer
        .send(&viewer, conversation, "hi")
        .await
        .expect("sent");
    let writing = writer.desk.next().await;
    writing.say("anew 😀 and w");
    let mut far = elsewhere.follow(&viewer, sent.reply.id).await;
    far.until("anew 😀 and w").await;
    sql(&test, TAKE_OVER).await;
    writing.hung_up().await;
    other.publish(delta(
        &viewer,
        sent.reply.id,
        2,
        0,
        "anew 😀 and whole, and more than is kept",
    ));
    far.until("anew 😀 and whole, and more than is kept").await;
    sql(&test, END).await;
    assert_eq!(far.finished().await.content, "anew 😀 and whole");
}

#[tokio::test]
async fn a_reply_that_moves_to_another_process_is_exact_there_and_elsewhere() {
    let test = TestDatabase::create().await;
    let memory = Memory::default();
    let first = replica(&test, &memory, QUICK).await;
    let (one, other) = (
        replica(&test, &memory, NO_QUIET_CHECK).await,
        replica(&test, &memory, NO_QUIET_CHECK).await,
    );
    let viewer = first.viewer("alice").await;
    let conversation = first.conversation(&viewer).await;
    let sent = first.send(&viewer, conversation, "hi").await.expect("sent");
    let writing = first.desk.next().await;
    let mut readers = [
        one.follow(&viewer, sent.reply.id).await,
        other.follow(&viewer, sent.reply.id).await,
    ];
    writing.say("first 🍊 try");
    for reader in &mut readers {
        reader.until("first 🍊 try").await;
    }
    // Its process stops, and lets it go.
    first.lifecycle.begin_hard_stop();
    let writing = tokio::select! {
        writing = one.desk.next() => writing,
        writing = other.desk.next() => writing,
    };
    for reader in &mut readers {
        reader.until("").await;
    }
    writing.say("another 😀");
    for reader in &mut readers {
        reader.until("another 😀").await;
    }
    writing.say(" one");
    writing.finish();
    for reader in &mut readers {
        assert_eq!(reader.finished().await.content, "another 😀 one");
    }
}

#[tokio::test]
async fn a_process_that_loses_a_reply_and_takes_it_over_itself_tells_its_own_subscribers() {
    let test = TestDatabase::create().await;
    let only = replica(&test, &Memory::default(), QUICK).await;
    let viewer = only.viewer("alice").await;
    let conversation = only.conversation(&viewer).await;
    let sent = only.send(&viewer, conversation, "hi").await.expect("sent");
    let writing = only.desk.next().await;
    let mut reader = only.follow(&viewer, sent.reply.id).await;
    writing.say("first try");
    reader.until("first try").await;
    sql(&test, TAKE_OVER).await;
    writing.hung_up().await;
    // The other has written this, and is lost in its turn.
    sql(&test, WRITE).await;
    reader.until("anew 😀 ").await;
    sql(&test, "update chat.replies set lease_expires_at = now()").await;
    let writing = only.desk.next().await;
    reader.until("").await;
    writing.say("here again");
    reader.until("here again").await;
    writing.finish();
    assert_eq!(reader.finished().await.content, "here again");
}
