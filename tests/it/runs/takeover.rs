//! Runs whose process is gone, or hands them over.

use loquat::{
    broker::Memory,
    config::ChatSettings,
    model::{MessageStatus, ReplyErrorCode},
};

use super::{attempt, crash, room, runs, written_down};
use crate::support::{QUICK, Replica, SqlGate, TestDatabase, eventually, sql, within};

#[tokio::test]
async fn a_run_that_is_taken_over_begins_anew_and_every_subscriber_has_the_exact_text() {
    for memory in [Some(Memory::default()), None] {
        let test = TestDatabase::create().await;
        let beside = async || {
            let memory = memory.clone().unwrap_or_default();
            Replica::beside(&test, &memory, QUICK, ChatSettings::default()).await
        };
        let (one, two, third) = (beside().await, beside().await, beside().await);
        // Neither takes anything up.
        one.lifecycle.begin_soft_stop();
        third.lifecycle.begin_soft_stop();
        let viewer = two.viewer("alice").await;
        let conversation = two.conversation(&viewer).await;
        let sent = two.send(&viewer, conversation, "hi").await.expect("sent");
        let mut readers = Vec::new();
        for replica in [&one, &two, &third] {
            readers.push(replica.follow(&viewer, sent.reply.id).await);
        }
        let first = two.desk.next().await;
        first.say("the first attempt 🍊");
        for reader in &mut readers {
            reader.until("the first attempt 🍊").await;
        }
        written_down(&test, 1, "the first attempt 🍊").await;

        crash(&test).await;
        let second = two.desk.next().await;
        first.hung_up().await;
        assert_eq!(attempt(&test).await, (2, 1));
        let begun = one.message(&viewer, sent.reply.id).await.expect("there");
        assert_eq!(begun.status, MessageStatus::Streaming);
        second.say("the second ");
        for reader in &mut readers {
            reader.until("the second ").await;
        }
        second.say("one");
        second.finish();
        for mut reader in readers {
            let finished = reader.finished().await;
            assert_eq!(finished.status, MessageStatus::Completed);
            assert_eq!(finished.content, "the second one");
        }
        assert_eq!(runs(&test).await, (0, 0));
    }
}

#[tokio::test]
async fn an_attempt_without_a_word_shows_none_of_the_one_before() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let elsewhere = Replica::start(&test).await;
    elsewhere.lifecycle.begin_soft_stop();
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let sent = replica
        .send(&viewer, conversation, "hi")
        .await
        .expect("sent");
    let mut reader = elsewhere.follow(&viewer, sent.reply.id).await;
    let first = replica.desk.next().await;
    first.say("gone");
    written_down(&test, 1, "gone").await;
    reader.until("gone").await;
    crash(&test).await;
    let second = replica.desk.next().await;
    first.hung_up().await;
    reader.until("").await;
    for replica in [&replica, &elsewhere] {
        let message = replica.message(&viewer, sent.reply.id).await;
        assert_eq!(message.expect("there").content, "");
    }
    second.finish();
    assert_eq!(reader.finished().await.content, "");
}

#[tokio::test]
async fn an_attempt_that_fails_without_a_word_keeps_the_text_of_the_one_before() {
    let test = TestDatabase::create().await;
    let memory = Memory::default();
    let beside = async || Replica::beside(&test, &memory, QUICK, ChatSettings::default()).await;
    let (replica, elsewhere) = (beside().await, beside().await);
    elsewhere.lifecycle.begin_soft_stop();
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let sent = replica
        .send(&viewer, conversation, "hi")
        .await
        .expect("sent");
    let mut readers = [
        replica.follow(&viewer, sent.reply.id).await,
        elsewhere.follow(&viewer, sent.reply.id).await,
    ];
    let first = replica.desk.next().await;
    first.say("half 🍊");
    for reader in &mut readers {
        reader.until("half 🍊").await;
    }
    written_down(&test, 1, "half 🍊").await;
    crash(&test).await;
    let second = replica.desk.next().await;
    first.hung_up().await;
    second.fail(ReplyErrorCode::ProviderUnavailable, "Gone.");
    for reader in &mut readers {
        let ended = reader.finished().await;
        assert_eq!(ended.status, MessageStatus::Failed);
        assert_eq!(ended.content, "half 🍊");
        let error = ended.error.expect("an error");
        assert_eq!(error.code, ReplyErrorCode::ProviderUnavailable);
    }
}

#[tokio::test]
async fn the_third_loss_ends_a_reply_with_the_text_of_the_newest_attempt_that_has_any() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let sent = replica
        .send(&viewer, conversation, "hi")
        .await
        .expect("sent");
    let mut reader = replica.follow(&viewer, sent.reply.id).await;
    for (number, text) in [(1, "first"), (2, "second 🍊")] {
        let writing = replica.desk.next().await;
        writing.say(text);
        written_down(&test, number, text).await;
        crash(&test).await;
        writing.hung_up().await;
    }
    // The third never comes to a word.
    let third = replica.desk.next().await;
    crash(&test).await;
    third.hung_up().await;
    let ended = reader.finished().await;
    assert_eq!(ended.status, MessageStatus::Failed);
    assert_eq!(ended.content, "second 🍊");
    let error = ended.error.expect("an error");
    assert_eq!(error.code, ReplyErrorCode::Interrupted);
    assert_eq!(replica.desk.unanswered().await, 0, "no fourth attempt");
    assert_eq!(runs(&test).await, (0, 0));
    let chunks: i64 = sqlx::query_scalar("select count(*) from chat.reply_chunks")
        .fetch_one(&mut test.superuser().await)
        .await
        .expect("a count");
    assert_eq!(chunks, 0);
}

#[tokio::test]
async fn a_reply_may_be_handed_over_any_number_of_times_and_is_begun_anew_at_once() {
    let test = TestDatabase::create().await;
    let memory = Memory::default();
    let beside = async || Replica::beside(&test, &memory, QUICK, ChatSettings::default()).await;
    let mut holder = beside().await;
    let viewer = holder.viewer("alice").await;
    let conversation = holder.conversation(&viewer).await;
    let sent = holder
        .send(&viewer, conversation, "hi")
        .await
        .expect("sent");
    for handed_over in 1..=5 {
        let writing = holder.desk.next().await;
        assert_eq!(attempt(&test).await, (handed_over, 0));
        writing.say("so far");
        let mut reader = holder.follow(&viewer, sent.reply.id).await;
        reader.until("so far").await;
        holder.lifecycle.begin_hard_stop();
        writing.hung_up().await;
        holder.chat.drained().await;
        holder.lifecycle.finished().await;
        // Stored before it was let go.
        written_down(&test, handed_over, "so far").await;
        assert_eq!(runs(&test).await, (1, 0));
        holder = beside().await;
    }
    let mut reader = holder.follow(&viewer, sent.reply.id).await;
    let writing = holder.desk.next().await;
    writing.say("whole");
    writing.finish();
    assert_eq!(reader.finished().await.content, "whole");
}

#[tokio::test]
async fn a_living_process_takes_up_at_once_what_another_hands_over() {
    let test = TestDatabase::create().await;
    let memory = Memory::default();
    // Neither looks by itself while the test lasts.
    let timing = loquat::chat::Timing {
        recovery: std::time::Duration::from_secs(60 * 60),
        ..QUICK
    };
    let one = Replica::beside(&test, &memory, timing, ChatSettings::default()).await;
    let other = Replica::beside(&test, &memory, timing, ChatSettings::default()).await;
    let viewer = one.viewer("alice").await;
    let conversation = one.conversation(&viewer).await;
    let sent = one.send(&viewer, conversation, "hi").await.expect("sent");
    let mut reader = other.follow(&viewer, sent.reply.id).await;
    let writing = one.desk.next().await;
    writing.say("half");
    reader.until("half").await;
    one.lifecycle.begin_soft_stop();
    writing.say(" and more");
    reader.until("half and more").await;
    one.lifecycle.begin_hard_stop();
    let anew = other.desk.next().await;
    writing.hung_up().await;
    assert_eq!(attempt(&test).await, (2, 0));
    anew.say("all of it");
    anew.finish();
    assert_eq!(reader.finished().await.content, "all of it");
}

#[tokio::test]
async fn a_reply_that_has_come_to_its_end_is_stored_and_not_handed_over() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let (sent, mut reader, writing) = replica.begin(&viewer, conversation).await;
    writing.say("whole");
    reader.until("whole").await;
    // Its final transaction stands before a gate as the process stops.
    let mut gate = SqlGate::closed(&test, 42).await;
    let policy = format!(
        "create policy gate on chat.usage as restrictive for insert to loquat_viewer with check ({})",
        SqlGate::passed(42)
    );
    sql(&test, &policy).await;
    writing.finish();
    gate.waiting(1).await;
    replica.lifecycle.begin_hard_stop();
    gate.open().await;
    replica.chat.drained().await;
    replica.lifecycle.finished().await;
    let stored = eventually("the reply is stored", || async {
        replica
            .message(&viewer, sent.reply.id)
            .await
            .filter(|message| message.status.is_terminal())
    })
    .await;
    assert_eq!(stored.status, MessageStatus::Completed);
    assert_eq!(stored.content, "whole");
}

#[tokio::test]
async fn what_is_sent_as_the_process_stops_is_acknowledged_and_handed_over() {
    // Before the run is stored, and between that and the commit.
    for (table, action) in [("messages", "insert"), ("list_revisions", "update")] {
        let test = TestDatabase::create().await;
        let replica = Replica::start(&test).await;
        let viewer = replica.viewer("alice").await;
        let conversation = replica.conversation(&viewer).await;
        let mut gate = SqlGate::closed(&test, 42).await;
        let policy = format!(
            "create policy gate on chat.{table} as restrictive for {action} to loquat_viewer \
               with check ({})",
            SqlGate::passed(42)
        );
        sql(&test, &policy).await;
        let send = replica.send(&viewer, conversation, "hi");
        let stop = async {
            gate.waiting(1).await;
            replica.lifecycle.begin_hard_stop();
            gate.open().await;
        };
        let (sent, ()) = futures_util::join!(send, stop);
        let sent = sent.expect("acknowledged");
        within("the process ends", replica.lifecycle.finished()).await;
        assert_eq!(replica.desk.unanswered().await, 0, "{table}");
        assert_eq!(runs(&test).await, (1, 0), "{table}");
        assert_eq!(attempt(&test).await.1, 0, "{table}");

        let next = Replica::start(&test).await;
        let writing = next.desk.next().await;
        writing.say("answered");
        writing.finish();
        let mut reader = next.follow(&viewer, sent.reply.id).await;
        assert_eq!(reader.finished().await.content, "answered");
    }
}

#[tokio::test]
async fn a_run_whose_claims_nobody_can_read_ends_with_its_text() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let (_, mut reader, writing) = replica.begin(&viewer, conversation).await;
    writing.say("kept");
    written_down(&test, 1, "kept").await;
    sql(&test, "update chat.replies set claims = '[1]'").await;
    crash(&test).await;
    let ended = reader.finished().await;
    assert_eq!(ended.content, "kept");
    let error = ended.error.expect("an error");
    assert_eq!(error.code, ReplyErrorCode::Internal);
    assert_eq!(runs(&test).await, (0, 0));
}

#[tokio::test]
async fn a_reply_that_an_owners_policy_lets_nobody_end_ends_all_the_same() {
    for policy in [
        // Refused in so many words, and as if there were nothing to end.
        "using (true) with check (completed_at is null)",
        "using (status = 'PENDING')",
    ] {
        let test = TestDatabase::create().await;
        let replica = Replica::start(&test).await;
        let viewer = replica.viewer("alice").await;
        let conversation = replica.conversation(&viewer).await;
        let (_, mut reader, writing) = replica.begin(&viewer, conversation).await;
        writing.say("never stored");
        sql(
            &test,
            &format!(
                "create policy no_ends on chat.messages as restrictive for update to loquat_viewer {policy}"
            ),
        )
        .await;
        writing.finish();
        let ended = reader.finished().await;
        assert_eq!(ended.status, MessageStatus::Failed);
        let error = ended.error.expect("an error");
        assert_eq!(error.code, ReplyErrorCode::Internal);
        assert_eq!(runs(&test).await, (0, 0));
        assert_eq!(replica.desk.unanswered().await, 0, "not tried again");
    }
}

/// Neither may be changed by anybody who is not the system: the message, and the conversation, which
/// then looks as if it were not there.
const NOBODYS: [&str; 2] = [
    "create policy nobodys on chat.messages as restrictive for update to loquat_viewer using (false)",
    "create policy nobodys on chat.conversations as restrictive for update to loquat_viewer using (false)",
];

/// The revision of the one reply, and that of its conversation.
async fn revisions(test: &TestDatabase) -> (i64, i64) {
    sqlx::query_as(
        "select m.revision, c.revision from chat.messages m \
         join chat.conversations c on c.id = m.conversation_id where m.role = 'ASSISTANT'",
    )
    .fetch_one(&mut test.superuser().await)
    .await
    .expect("one reply")
}

#[tokio::test]
async fn the_third_loss_of_a_reply_that_its_user_may_not_end_keeps_its_text_and_tells_everybody() {
    for policy in NOBODYS {
        let test = TestDatabase::create().await;
        let replica = Replica::start(&test).await;
        let elsewhere = Replica::start(&test).await;
        elsewhere.lifecycle.begin_soft_stop();
        let viewer = replica.viewer("alice").await;
        let conversation = replica.conversation(&viewer).await;
        let sent = replica
            .send(&viewer, conversation, "hi")
            .await
            .expect("sent");
        let mut reader = elsewhere.follow(&viewer, sent.reply.id).await;
        let writing = replica.desk.next().await;
        writing.say("kept 🍊");
        written_down(&test, 1, "kept 🍊").await;
        reader.until("kept 🍊").await;
        let before = revisions(&test).await;
        sql(&test, policy).await;
        sql(&test, "update chat.replies set losses = 2").await;
        crash(&test).await;
        let ended = reader.finished().await;
        assert_eq!(ended.status, MessageStatus::Failed, "{policy}");
        assert_eq!(ended.content, "kept 🍊", "{policy}");
        let error = ended.error.expect("an error");
        assert_eq!(error.code, ReplyErrorCode::Interrupted, "{policy}");
        let after = revisions(&test).await;
        assert_eq!(after.0, after.1, "{policy}");
        assert!(after > before, "{policy}: {after:?}");
        assert_eq!(runs(&test).await, (0, 0));
    }
}

#[tokio::test]
async fn a_reply_that_a_policy_hides_from_its_user_ends_at_once_with_all_its_text() {
    for policy in NOBODYS {
        for is_begun in [true, false] {
            let test = TestDatabase::create().await;
            // Nothing comes to its end by its lease while the test lasts.
            let timing = loquat::chat::Timing {
                lease: std::time::Duration::from_secs(60 * 60),
                ..QUICK
            };
            let replica = Replica::with(&test, timing, ChatSettings::default()).await;
            let sender = Replica::with(&test, timing, room(0, 5)).await;
            let viewer = replica.viewer("alice").await;
            let conversation = replica.conversation(&viewer).await;
            let id = if is_begun {
                let sent = replica.send(&viewer, conversation, "hi").await;
                let writing = replica.desk.next().await;
                sql(&test, policy).await;
                writing.say("all of it");
                writing.finish();
                sent.expect("sent").reply.id
            } else {
                replica.lifecycle.begin_hard_stop();
                let sent = sender.send(&viewer, conversation, "hi").await;
                sql(&test, policy).await;
                sent.expect("sent").reply.id
            };
            let next = Replica::with(&test, timing, ChatSettings::default()).await;
            let ended = next.follow(&viewer, id).await.finished().await;
            assert_eq!(ended.status, MessageStatus::Failed, "{policy}");
            let text = if is_begun { "all of it" } else { "" };
            assert_eq!(ended.content, text, "{policy}");
            assert_eq!(runs(&test).await, (0, 0), "{policy}");
            assert_eq!(next.desk.unanswered().await, 0, "{policy}");
        }
    }
}

#[tokio::test]
async fn a_reply_that_is_only_to_be_ended_waits_for_no_room() {
    for change in ["losses = 2", "stop_requested_at = now()"] {
        let test = TestDatabase::create().await;
        let one = Replica::start(&test).await;
        let viewer = one.viewer("alice").await;
        let conversation = one.conversation(&viewer).await;
        let sent = one.send(&viewer, conversation, "hi").await.expect("sent");
        let writing = one.desk.next().await;
        writing.say("kept");
        written_down(&test, 1, "kept").await;
        one.lifecycle.begin_soft_stop();
        let full = Replica::with(&test, QUICK, room(0, 1)).await;
        let mut reader = full.follow(&viewer, sent.reply.id).await;
        // As if its owner had never seen that.
        sql(
            &test,
            &format!(
                "update chat.replies set {change}, process_id = gen_random_uuid(), fence = fence + 1, \
                   lease_expires_at = now() - interval '1 second'"
            ),
        )
        .await;
        let ended = reader.finished().await;
        assert_eq!(ended.content, "kept", "{change}");
        assert_ne!(ended.status, MessageStatus::Completed, "{change}");
        assert_eq!(runs(&test).await, (0, 0));
    }
}
