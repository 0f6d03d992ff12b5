//! Replies that another process writes, or was to write, and that are stopped from here.

use std::time::Duration;

use loquat::{broker::Memory, chat::Timing, config::ChatSettings, model::MessageStatus};

use super::{left, orphan, slow_ticks, written_down};
use crate::support::{QUICK, Replica, TestDatabase, sql, within};

#[tokio::test]
async fn a_reply_that_another_process_has_not_begun_is_ended_in_its_place() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let sent = replica
        .send(&viewer, conversation, "hi")
        .await
        .expect("sent");
    let writing = replica.desk.next().await;
    orphan(&test).await;
    sql(
        &test,
        "update chat.messages set status = 'PENDING' where status = 'STREAMING'",
    )
    .await;
    let stopped = replica.chat.stop_reply(&viewer, sent.reply.id).await;
    let stopped = stopped.expect("stopped");
    assert_eq!(
        (stopped.status, stopped.content.as_str()),
        (MessageStatus::Stopped, "")
    );
    writing.hung_up().await;
    assert_eq!(left(&test).await, (0, 0, 0), "nobody was asked for it");
}

#[tokio::test]
async fn a_replica_stops_what_another_writes_by_the_next_tick() {
    let test = TestDatabase::create().await;
    // Whoever asks would wait for an hour before doing it in the writer's place.
    let timing = Timing {
        patience: Duration::from_secs(60 * 60),
        ..QUICK
    };
    let writer = Replica::start(&test).await;
    let elsewhere = Replica::with(&test, timing, ChatSettings::default()).await;
    let viewer = writer.viewer("alice").await;
    let conversation = writer.conversation(&viewer).await;
    let sent = writer
        .send(&viewer, conversation, "hi")
        .await
        .expect("sent");
    let writing = writer.desk.next().await;
    let mut near = writer.follow(&viewer, sent.reply.id).await;
    let mut far = elsewhere.follow(&viewer, sent.reply.id).await;
    writing.say("so far");
    near.until("so far").await;
    let stop = elsewhere.chat.stop_reply(&viewer, sent.reply.id);
    let stopped = within("the stop is over", stop).await.expect("stopped");
    writing.hung_up().await;
    assert_eq!(
        (stopped.status, stopped.content.as_str()),
        (MessageStatus::Stopped, "so far")
    );
    for reader in [&mut near, &mut far] {
        let told = reader.finished().await;
        assert_eq!(
            (told.status, told.content.as_str()),
            (MessageStatus::Stopped, "so far")
        );
    }
    assert_eq!(left(&test).await, (0, 0, 1));
}

#[tokio::test]
async fn a_notice_makes_a_stop_elsewhere_sooner_than_any_tick() {
    let test = TestDatabase::create().await;
    let memory = Memory::default();
    let settings = ChatSettings::default;
    let writer = Replica::beside(&test, &memory, slow_ticks(), settings()).await;
    let elsewhere = Replica::beside(&test, &memory, slow_ticks(), settings()).await;
    let viewer = writer.viewer("alice").await;
    let conversation = writer.conversation(&viewer).await;
    let sent = writer
        .send(&viewer, conversation, "hi")
        .await
        .expect("sent");
    let writing = writer.desk.next().await;
    let mut reader = writer.follow(&viewer, sent.reply.id).await;
    writing.say("not in chunks");
    reader.until("not in chunks").await;
    let stopped = elsewhere.chat.stop_reply(&viewer, sent.reply.id).await;
    let stopped = stopped.expect("stopped");
    writing.hung_up().await;
    assert_eq!(
        (stopped.status, stopped.content.as_str()),
        (MessageStatus::Stopped, "not in chunks")
    );
    assert_eq!(reader.finished().await.status, MessageStatus::Stopped);
}

#[tokio::test]
async fn an_owner_that_hangs_is_fenced_off_and_what_it_wrote_down_is_kept() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let sent = replica
        .send(&viewer, conversation, "hi")
        .await
        .expect("sent");
    let writing = replica.desk.next().await;
    writing.say("written ");
    written_down(&test, "written ").await;
    orphan(&test).await;
    writing.hung_up().await;
    let mut reader = replica.follow(&viewer, sent.reply.id).await;

    let stopped = replica.chat.stop_reply(&viewer, sent.reply.id).await;
    let stopped = stopped.expect("stopped");
    assert_eq!(
        (stopped.status, stopped.content.as_str()),
        (MessageStatus::Stopped, "written ")
    );
    assert_eq!(reader.finished().await.status, MessageStatus::Stopped);
    assert_eq!(left(&test).await, (0, 0, 1));
}

#[tokio::test]
async fn a_reply_that_is_to_stop_is_not_begun_anew_when_its_process_is_lost() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let sent = replica
        .send(&viewer, conversation, "hi")
        .await
        .expect("sent");
    let writing = replica.desk.next().await;
    writing.say("written");
    written_down(&test, "written").await;
    // Whoever asked for the stop is gone as well.
    sql(
        &test,
        "update chat.replies set fence = fence + 1, process_id = gen_random_uuid(), \
           lease_expires_at = now(), stop_requested_at = now()",
    )
    .await;
    writing.hung_up().await;
    let mut reader = replica.follow(&viewer, sent.reply.id).await;
    let stopped = reader.finished().await;
    assert_eq!(
        (stopped.status, stopped.content.as_str()),
        (MessageStatus::Stopped, "written")
    );
    assert_eq!(replica.desk.unanswered().await, 0);
    assert_eq!(left(&test).await, (0, 0, 1));
}

#[tokio::test]
async fn deleting_or_resetting_elsewhere_hangs_up_at_once() {
    let test = TestDatabase::create().await;
    let memory = Memory::default();
    let settings = ChatSettings::default;
    let writer = Replica::beside(&test, &memory, slow_ticks(), settings()).await;
    let elsewhere = Replica::beside(&test, &memory, slow_ticks(), settings()).await;
    let viewer = writer.viewer("alice").await;
    for reset in [true, false] {
        let conversation = writer.conversation(&viewer).await;
        writer
            .send(&viewer, conversation, "hi")
            .await
            .expect("sent");
        let writing = writer.desk.next().await;
        if reset {
            let reset = elsewhere.chat.reset_conversation(&viewer, conversation);
            reset.await.expect("reset");
        } else {
            let deleted = elsewhere.chat.delete_conversation(&viewer, conversation);
            deleted.await.expect("deleted");
        }
        writing.hung_up().await;
    }
    assert_eq!(left(&test).await, (0, 0, 0));
}
