//! The life of a reply in one process, and what its subscribers see.

use loquat::{
    chat::{ChatError, FollowEvent},
    config::ChatSettings,
    llm::TurnRole,
    model::{MessageStatus, ReplyErrorCode},
};

use crate::support::{QUICK, Replica, SqlGate, TestDatabase, eventually, sql};

#[tokio::test]
async fn a_reply_streams_in_the_contracts_order_and_is_stored_whole() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;

    let sent = replica
        .send(&viewer, conversation, "hi")
        .await
        .expect("sent");
    assert_eq!(sent.reply.status, MessageStatus::Pending);
    let mut reader = replica.follow(&viewer, sent.reply.id).await;
    let first = reader.next().await.expect("an event").expect("no error");
    assert!(matches!(first, FollowEvent::Changed(_)), "{first:?}");
    let second = reader.next().await.expect("an event").expect("no error");
    assert!(
        matches!(second, FollowEvent::Delta { offset: 0, .. }),
        "{second:?}"
    );

    let writing = replica.desk.next().await;
    writing.say("Grüße ");
    reader.until("Grüße ").await;
    writing.say("🍊🍊");
    reader.until("Grüße 🍊🍊").await;
    let message = replica
        .message(&viewer, sent.reply.id)
        .await
        .expect("there");
    assert_eq!(message.status, MessageStatus::Streaming);
    assert_eq!(message.content, "Grüße 🍊🍊", "the text so far");
    writing.finish();

    let finished = reader.finished().await;
    assert_eq!(finished.status, MessageStatus::Completed);
    assert_eq!(finished.content, "Grüße 🍊🍊");
    assert_eq!(finished.usage.map(|usage| usage.total_tokens), Some(7));
    assert!(finished.completed_at.is_some());

    // Again, to a message that is finished.
    let mut late = replica.follow(&viewer, sent.reply.id).await;
    assert_eq!(late.finished().await.content, "Grüße 🍊🍊");
    assert_eq!(late.deltas, 1);

    let mut connection = test.superuser().await;
    let left: (i64, i64) = sqlx::query_as(
        "select (select count(*) from chat.replies), (select count(*) from chat.reply_chunks)",
    )
    .fetch_one(&mut connection)
    .await
    .expect("counts");
    assert_eq!(left, (0, 0), "neither run nor chunk is left");
}

#[tokio::test]
async fn subscribers_that_come_late_or_twice_read_the_same_text() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let (sent, mut early, writing) = replica.begin(&viewer, conversation).await;
    writing.say("one ");
    early.until("one ").await;
    let mut late = replica.follow(&viewer, sent.reply.id).await;
    let mut twice = replica.follow(&viewer, sent.reply.id).await;
    late.until("one ").await;
    drop(early);
    writing.say("two");
    writing.finish();
    assert_eq!(late.finished().await.content, "one two");
    assert_eq!(twice.finished().await.content, "one two");
}

#[tokio::test]
async fn a_slow_subscriber_has_no_queue_and_gets_larger_deltas() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let sent = replica
        .send(&viewer, conversation, "hi")
        .await
        .expect("sent");
    let mut slow = replica.follow(&viewer, sent.reply.id).await;
    let mut quick = replica.follow(&viewer, sent.reply.id).await;
    let writing = replica.desk.next().await;
    let mut whole = String::new();
    for part in 0..20 {
        for token in 0..100 {
            let token = format!("{part}.{token}é🍊 ");
            writing.say(&token);
            whole.push_str(&token);
        }
        // The slow one reads one event for a hundred tokens.
        quick.until(&whole).await;
        slow.next().await.expect("an event").expect("no error");
    }
    writing.finish();
    assert_eq!(slow.finished().await.content, whole);
    assert!(
        slow.deltas <= 22,
        "2,000 tokens came in {} deltas",
        slow.deltas
    );
}

#[tokio::test]
async fn a_reply_goes_on_when_nobody_listens() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let (sent, reader, writing) = replica.begin(&viewer, conversation).await;
    drop(reader);
    writing.say("all of it");
    writing.finish();
    let stored = eventually("the reply is stored", || async {
        let message = replica.message(&viewer, sent.reply.id).await?;
        message.status.is_terminal().then_some(message)
    })
    .await;
    assert_eq!(stored.content, "all of it");
}

#[tokio::test]
async fn the_model_sees_instructions_the_earlier_turns_and_its_own_name() {
    let test = TestDatabase::create().await;
    let settings = ChatSettings {
        greeting: Some("Welcome!".to_owned()),
        system_prompt: Some("Be kind.".to_owned()),
        ..ChatSettings::default()
    };
    let replica = Replica::with(&test, QUICK, settings).await;
    let viewer = replica.viewer("alice").await;
    let started = replica
        .chat
        .start_chat(
            &viewer,
            loquat::chat::StartChat {
                system_prompt: Some("Be brief.".to_owned()),
                model: Some("large".to_owned()),
                message: Some("one".to_owned()),
                ..Default::default()
            },
        )
        .await
        .expect("starts");
    assert_eq!(started.greeting.expect("a greeting").content, "Welcome!");
    let reply = started.reply.expect("a reply");
    let writing = replica.desk.next().await;
    assert_eq!(writing.prompt.model, "large");
    writing.say("first answer");
    writing.finish();
    replica.follow(&viewer, reply.id).await.finished().await;

    let sent = replica
        .send(&viewer, started.conversation.id, "two")
        .await
        .expect("sent");
    let turns: Vec<_> = replica
        .desk
        .next()
        .await
        .prompt
        .turns
        .iter()
        .map(|turn| (turn.role, turn.text.clone()))
        .collect();
    assert_eq!(
        turns,
        [
            (TurnRole::System, "Be kind.\n\nBe brief.".to_owned()),
            (TurnRole::Assistant, "Welcome!".to_owned()),
            (TurnRole::User, "one".to_owned()),
            (TurnRole::Assistant, "first answer".to_owned()),
            (TurnRole::User, "two".to_owned()),
        ]
    );
    assert_eq!(sent.reply.position, 4);
}

#[tokio::test]
async fn a_fault_of_the_provider_keeps_the_text_and_says_why() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let (_, mut reader, writing) = replica.begin(&viewer, conversation).await;
    writing.say("half an ");
    writing.fail(ReplyErrorCode::ProviderTimeout, "The model took too long.");
    let failed = reader.finished().await;
    assert_eq!(failed.status, MessageStatus::Failed);
    assert_eq!(failed.content, "half an ");
    let error = failed.error.expect("an error");
    assert_eq!(error.code, ReplyErrorCode::ProviderTimeout);
    assert_eq!(error.message, "The model took too long.");

    // The conversation goes on, and the next reply may be cut by the provider's limit.
    let sent = replica
        .send(&viewer, conversation, "again")
        .await
        .expect("sent");
    let writing = replica.desk.next().await;
    writing.say("cut");
    writing.cut_at_its_limit();
    let cut = replica
        .follow(&viewer, sent.reply.id)
        .await
        .finished()
        .await;
    assert_eq!(
        (cut.status, cut.truncated),
        (MessageStatus::Completed, true)
    );
}

#[tokio::test]
async fn a_provider_that_panics_fails_one_reply() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let sent = replica
        .send(&viewer, conversation, "panic!")
        .await
        .expect("sent");
    let failed = replica
        .follow(&viewer, sent.reply.id)
        .await
        .finished()
        .await;
    assert_eq!(
        failed.error.map(|error| error.code),
        Some(ReplyErrorCode::Internal)
    );
}

#[tokio::test]
async fn deleting_or_resetting_a_conversation_stops_its_reply() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    for reset in [true, false] {
        let conversation = replica.conversation(&viewer).await;
        let (_, mut reader, writing) = replica.begin(&viewer, conversation).await;
        writing.say("half");
        reader.until("half").await;
        if reset {
            let conversation = replica.chat.reset_conversation(&viewer, conversation).await;
            conversation.expect("reset");
        } else {
            let deleted = replica
                .chat
                .delete_conversation(&viewer, conversation)
                .await;
            deleted.expect("deleted");
        }
        writing.hung_up().await;
        let end = loop {
            match reader.next().await.expect("an event") {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(matches!(end, ChatError::NotFound("message")), "{end:?}");
        assert!(reader.next().await.is_none());
        let again = replica.send(&viewer, conversation, "more").await;
        assert_eq!(again.is_ok(), reset, "a reset conversation goes on");
        if reset {
            replica.desk.next().await.finish();
        }
    }
}

#[tokio::test]
async fn a_soft_stop_takes_nothing_new_and_a_hard_stop_hands_over() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let (one, other) = (
        replica.conversation(&viewer).await,
        replica.conversation(&viewer).await,
    );
    let sent = replica
        .send_with_key(&viewer, one, "hi", Some("key"))
        .await
        .expect("sent");
    let mut reader = replica.follow(&viewer, sent.reply.id).await;
    let writing = replica.desk.next().await;
    writing.say("half");
    reader.until("half").await;

    replica.lifecycle.begin_soft_stop();
    let refused = replica
        .send(&viewer, other, "hi")
        .await
        .expect_err("refused");
    assert!(matches!(refused, ChatError::Draining), "{refused:?}");
    let retried = replica
        .send_with_key(&viewer, one, "hi", Some("key"))
        .await
        .expect("a retry is answered");
    assert_eq!(retried.reply.id, sent.reply.id);
    writing.say(" and more");
    reader.until("half and more").await;

    replica.lifecycle.begin_hard_stop();
    writing.hung_up().await;
    replica.chat.drained().await;
    replica.lifecycle.finished().await;
    let mut connection = test.superuser().await;
    let (waits, losses, text): (bool, i32, String) = sqlx::query_as(
        "select process_id is null, losses, string_agg(text, '' order by \"offset\") \
         from chat.replies join chat.reply_chunks using (user_id, message_id) group by 1, 2",
    )
    .fetch_one(&mut connection)
    .await
    .expect("its run");
    assert_eq!((waits, losses, &*text), (true, 0, "half and more"));
    let kept = replica
        .message(&viewer, sent.reply.id)
        .await
        .expect("there");
    assert_eq!(kept.status, MessageStatus::Streaming);
    assert_eq!(kept.content, "half and more", "until it is begun anew");
}

#[tokio::test]
async fn a_look_for_runs_that_outlasts_the_beginning_of_the_stop_takes_none() {
    const GATE: i64 = 1;
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let (sent, mut reader, writing) = replica.begin(&viewer, conversation).await;
    writing.say("half");
    reader.until("half").await;
    replica.lifecycle.begin_hard_stop();
    replica.lifecycle.finished().await;

    let mut gate = SqlGate::closed(&test, GATE).await;
    let trigger = format!(
        "create function public.gate() returns trigger language plpgsql as $$ begin \
           if {} then return new; end if; end $$; \
         create trigger gate before update on chat.replies for each row \
           when (old.process_id is null and new.process_id is not null) \
           execute function public.gate()",
        SqlGate::passed(GATE)
    );
    sql(&test, &trigger).await;
    let stopping = Replica::start(&test).await;
    gate.waiting(1).await;
    stopping.lifecycle.begin_soft_stop();
    gate.open().await;
    stopping.lifecycle.begin_hard_stop();
    stopping.lifecycle.finished().await;
    let (waits, attempt): (bool, i32) =
        sqlx::query_as("select process_id is null, attempt from chat.replies")
            .fetch_one(&mut test.superuser().await)
            .await
            .expect("its run");
    assert_eq!((waits, attempt), (true, 1), "it is others' to begin anew");
    let kept = stopping
        .message(&viewer, sent.reply.id)
        .await
        .expect("there");
    assert_eq!(kept.content, "half");
}
