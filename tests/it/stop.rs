//! Replies that their user wants no more of, wherever they are written.

mod busy;
mod elsewhere;
mod queue;

use std::time::Duration;

use loquat::{
    chat::{ChatError, Timing},
    config::ChatSettings,
    model::{MessageId, MessageStatus},
};

use crate::support::{QUICK, Replica, SqlGate, TestDatabase, eventually, sql};

const GATE: i64 = 42;

/// Clocks as slow as in production, where only the broker or the call itself can be quick.
fn slow_ticks() -> Timing {
    Timing {
        tick: Duration::from_secs(60 * 60),
        lease: Duration::from_secs(2 * 60 * 60),
        patience: Duration::from_secs(60 * 60),
        ..QUICK
    }
}

/// Runs, chunks, and replies that were counted.
async fn left(test: &TestDatabase) -> (i64, i64, i64) {
    sqlx::query_as(
        "select (select count(*) from chat.replies), (select count(*) from chat.reply_chunks), \
           (select count(*) from chat.usage)",
    )
    .fetch_one(&mut test.superuser().await)
    .await
    .expect("counts")
}

async fn written_down(test: &TestDatabase, text: &str) {
    eventually("the text is in chunks", || async {
        let written: Option<String> = sqlx::query_scalar(
            "select string_agg(text, '' order by message_id, \"offset\") from chat.reply_chunks",
        )
        .fetch_one(&mut test.superuser().await)
        .await
        .expect("chunks");
        (written.as_deref() == Some(text)).then_some(())
    })
    .await;
}

/// Until somebody waits for the lock of a conversation.
async fn waits_for_the_conversation(test: &TestDatabase) {
    eventually("the stop waits for the conversation", || async {
        let waits: bool = sqlx::query_scalar(
            "select exists (select from pg_stat_activity where datname = current_database() \
               and wait_event_type = 'Lock' and query like '% from chat.conversations %for update')",
        )
        .fetch_one(&mut test.superuser().await)
        .await
        .expect("activity");
        waits.then_some(())
    })
    .await;
}

/// Gives every run to a process that never ticks, for longer than a test takes.
async fn orphan(test: &TestDatabase) {
    sql(
        test,
        "update chat.replies set fence = fence + 1, process_id = gen_random_uuid(), \
           lease_expires_at = now() + interval '1 hour'",
    )
    .await;
}

#[tokio::test]
async fn a_reply_that_is_stopped_keeps_its_text_and_the_chat_goes_on() {
    let test = TestDatabase::create().await;
    let replica = Replica::with(&test, slow_ticks(), ChatSettings::default()).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let (sent, mut reader, writing) = replica.begin(&viewer, conversation).await;
    writing.say("Grüße 🍊 ");
    reader.until("Grüße 🍊 ").await;

    let stopped = replica.chat.stop_reply(&viewer, sent.reply.id).await;
    let stopped = stopped.expect("stopped");
    writing.hung_up().await;
    assert_eq!(stopped.id, sent.reply.id);
    assert_eq!(stopped.status, MessageStatus::Stopped);
    assert_eq!(stopped.content, "Grüße 🍊 ");
    assert!(stopped.completed_at.is_some() && stopped.error.is_none());
    let told = reader.finished().await;
    assert_eq!(
        (told.status, told.content),
        (MessageStatus::Stopped, stopped.content.clone())
    );
    assert_eq!(left(&test).await, (0, 0, 1), "the provider was asked");

    let again = replica.chat.stop_reply(&viewer, sent.reply.id).await;
    let again = again.expect("stopped before");
    assert_eq!(
        (again.revision, again.completed_at),
        (stopped.revision, stopped.completed_at),
        "stopping again changes nothing"
    );
    replica
        .send(&viewer, conversation, "go on")
        .await
        .expect("the conversation goes on");
    let writing = replica.desk.next().await;
    assert_eq!(writing.prompt.turns[1].text, "Grüße 🍊 ");
}

#[tokio::test]
async fn only_a_reply_of_ones_own_can_be_stopped() {
    let test = TestDatabase::create().await;
    let settings = ChatSettings {
        greeting: Some("Welcome!".to_owned()),
        ..ChatSettings::default()
    };
    let replica = Replica::with(&test, QUICK, settings).await;
    let (alice, bob) = (replica.viewer("alice").await, replica.viewer("bob").await);
    let conversation = replica.conversation(&alice).await;
    let sent = replica
        .send(&alice, conversation, "hi")
        .await
        .expect("sent");
    let writing = replica.desk.next().await;
    for (viewer, id) in [(&bob, sent.reply.id), (&alice, MessageId::new())] {
        let refused = replica.chat.stop_reply(viewer, id).await;
        assert!(
            matches!(refused, Err(ChatError::NotFound("message"))),
            "{refused:?}"
        );
    }
    let question = replica.chat.stop_reply(&alice, sent.user_message.id).await;
    assert!(
        matches!(&question, Err(ChatError::Invalid { argument, .. }) if *argument == "messageId"),
        "{question:?}"
    );
    writing.say("still here");
    writing.finish();
    let mut reader = replica.follow(&alice, sent.reply.id).await;
    assert_eq!(reader.finished().await.status, MessageStatus::Completed);

    let greeting = sent.user_message.parent_id.expect("the greeting");
    for (id, text) in [(greeting, "Welcome!"), (sent.reply.id, "still here")] {
        let finished = replica.chat.stop_reply(&alice, id).await;
        let finished = finished.expect("finished already");
        assert_eq!(
            (finished.status, finished.content.as_str()),
            (MessageStatus::Completed, text)
        );
    }
}

#[tokio::test]
async fn a_reply_that_is_just_beginning_is_stopped_without_text() {
    let test = TestDatabase::create().await;
    let replica = Replica::with(&test, slow_ticks(), ChatSettings::default()).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    // Its beginning waits in the database.
    let mut gate = SqlGate::closed(&test, GATE).await;
    let policy = format!(
        "create policy gate on chat.replies as restrictive for select to loquat_viewer using (case \
           when current_query() like 'select from chat.replies%' then {} else true end)",
        SqlGate::passed(GATE)
    );
    sql(&test, &policy).await;
    let sent = replica
        .send(&viewer, conversation, "hi")
        .await
        .expect("sent");
    let mut reader = replica.follow(&viewer, sent.reply.id).await;
    gate.waiting(1).await;
    let stop = replica.chat.stop_reply(&viewer, sent.reply.id);
    let begin = async {
        // The beginning holds the conversation; so it comes first, and is stopped right after.
        waits_for_the_conversation(&test).await;
        gate.open().await;
    };
    let (stopped, ()) = futures_util::join!(stop, begin);
    let stopped = stopped.expect("stopped");
    assert_eq!(
        (stopped.status, stopped.content.as_str()),
        (MessageStatus::Stopped, "")
    );
    assert_eq!(reader.finished().await.status, MessageStatus::Stopped);
    assert_eq!(left(&test).await.0, 0);
}

#[tokio::test]
async fn stops_at_once_and_a_natural_end_agree() {
    let test = TestDatabase::create().await;
    let (writer, elsewhere) = (Replica::start(&test).await, Replica::start(&test).await);
    let viewer = writer.viewer("alice").await;
    for end in [false, true] {
        let conversation = writer.conversation(&viewer).await;
        let sent = writer
            .send(&viewer, conversation, "hi")
            .await
            .expect("sent");
        let writing = writer.desk.next().await;
        let mut reader = writer.follow(&viewer, sent.reply.id).await;
        writing.say("whole");
        reader.until("whole").await;
        let finish = async {
            if end {
                writing.finish();
                None
            } else {
                Some(writing)
            }
        };
        let (one, two, three, kept) = futures_util::join!(
            writer.chat.stop_reply(&viewer, sent.reply.id),
            elsewhere.chat.stop_reply(&viewer, sent.reply.id),
            writer.chat.stop_reply(&viewer, sent.reply.id),
            finish,
        );
        let told = reader.finished().await;
        for answer in [one, two, three] {
            let answer = answer.expect("an answer");
            assert_eq!(
                (answer.status, answer.revision, answer.content.as_str()),
                (told.status, told.revision, "whole")
            );
        }
        if let Some(writing) = kept {
            assert_eq!(told.status, MessageStatus::Stopped);
            writing.hung_up().await;
        }
    }
    assert_eq!(left(&test).await, (0, 0, 2), "each was counted once");
}

#[tokio::test]
async fn a_stop_that_comes_as_the_reply_ends_finds_it_whole() {
    let test = TestDatabase::create().await;
    let replica = Replica::with(&test, slow_ticks(), ChatSettings::default()).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let mut gate = SqlGate::closed(&test, GATE).await;
    let policy = format!(
        "create policy gate on chat.replies as restrictive for delete to loquat_viewer using ({})",
        SqlGate::passed(GATE)
    );
    sql(&test, &policy).await;
    let sent = replica
        .send(&viewer, conversation, "hi")
        .await
        .expect("sent");
    let writing = replica.desk.next().await;
    writing.say("whole");
    writing.finish();
    gate.waiting(1).await;
    let stop = replica.chat.stop_reply(&viewer, sent.reply.id);
    let end = async {
        waits_for_the_conversation(&test).await;
        gate.open().await;
    };
    let (finished, ()) = futures_util::join!(stop, end);
    let finished = finished.expect("an answer");
    assert_eq!(
        (finished.status, finished.content.as_str()),
        (MessageStatus::Completed, "whole")
    );
    assert_eq!(left(&test).await, (0, 0, 1));
}

#[tokio::test]
async fn a_stop_that_comes_as_the_conversation_goes_finds_nothing_or_is_in_time() {
    let test = TestDatabase::create().await;
    let (writer, elsewhere) = (Replica::start(&test).await, Replica::start(&test).await);
    let viewer = writer.viewer("alice").await;
    for _ in 0..5 {
        let conversation = writer.conversation(&viewer).await;
        let sent = writer
            .send(&viewer, conversation, "hi")
            .await
            .expect("sent");
        let writing = writer.desk.next().await;
        let (stopped, deleted) = futures_util::join!(
            elsewhere.chat.stop_reply(&viewer, sent.reply.id),
            writer.chat.delete_conversation(&viewer, conversation),
        );
        deleted.expect("deleted");
        match stopped {
            Ok(message) => assert_eq!(message.status, MessageStatus::Stopped),
            Err(error) => assert!(matches!(error, ChatError::NotFound("message")), "{error:?}"),
        }
        writing.hung_up().await;
        assert_eq!((left(&test).await.0, left(&test).await.1), (0, 0));
    }
}

#[tokio::test]
async fn a_stop_that_could_not_be_stored_is_carried_out_after_the_outage() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let sent = replica
        .send(&viewer, conversation, "hi")
        .await
        .expect("sent");
    let writing = replica.desk.next().await;
    let mut reader = replica.follow(&viewer, sent.reply.id).await;
    writing.say("all that ");
    reader.until("all that ").await;
    writing.say("was seen");
    reader.until("all that was seen").await;
    sql(
        &test,
        "create function outage() returns bool language plpgsql as $$ begin \
           raise exception 'shutting down' using errcode = '57P01'; end $$; \
         create policy outage on chat.messages as restrictive for update to loquat_viewer \
           using (outage())",
    )
    .await;
    let refused = replica.chat.stop_reply(&viewer, sent.reply.id).await;
    assert!(
        matches!(&refused, Err(ChatError::Database(error)) if error.is_unavailable()),
        "{refused:?}"
    );
    writing.hung_up().await;
    sql(&test, "drop policy outage on chat.messages").await;
    let stopped = reader.finished().await;
    assert_eq!(
        (stopped.status, stopped.content.as_str()),
        (MessageStatus::Stopped, "all that was seen")
    );
    assert_eq!(left(&test).await, (0, 0, 1));
}

#[tokio::test]
async fn a_stop_during_an_outage_loses_nothing() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let sent = replica
        .send(&viewer, conversation, "hi")
        .await
        .expect("sent");
    let writing = replica.desk.next().await;
    let mut reader = replica.follow(&viewer, sent.reply.id).await;
    writing.say("before ");
    reader.until("before ").await;
    // What a server answers that is shutting down.
    sql(
        &test,
        "create function outage() returns bool language plpgsql as $$ begin \
           raise exception 'shutting down' using errcode = '57P01'; end $$; \
         create policy outage on chat.conversations as restrictive for update to loquat_viewer \
           using (outage())",
    )
    .await;
    let refused = replica.chat.stop_reply(&viewer, sent.reply.id).await;
    assert!(
        matches!(&refused, Err(ChatError::Database(error)) if error.is_unavailable()),
        "{refused:?}"
    );
    writing.say("after");
    reader.until("before after").await;
    sql(&test, "drop policy outage on chat.conversations").await;
    let stopped = replica.chat.stop_reply(&viewer, sent.reply.id).await;
    assert_eq!(stopped.expect("stopped").content, "before after");
    assert_eq!(reader.finished().await.status, MessageStatus::Stopped);
}
