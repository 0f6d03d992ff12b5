//! Messages that wait for the replies before theirs.

use loquat::{
    broker::Memory,
    chat::{BusyPolicy, ChatError, Sent},
    config::ChatSettings,
    db::Viewer,
    model::{ConversationId, MessageStatus, ReplyErrorCode},
};

use serde_json::json;

use super::{busy::path, left, orphan, written_down};
use crate::support::{Api, QUICK, Replica, TestDatabase, Writing, eventually};

async fn enqueue(
    replica: &Replica,
    viewer: &Viewer,
    conversation: ConversationId,
    text: &str,
) -> Sent {
    let sent = replica
        .send_when_busy(viewer, conversation, text, BusyPolicy::Enqueue, None)
        .await
        .expect("sent");
    assert_eq!(sent.reply.status, MessageStatus::Pending);
    sent
}

/// What the model was asked last.
fn question(writing: &Writing) -> &str {
    &writing.prompt.turns.last().expect("a question").text
}

#[tokio::test]
async fn queued_messages_are_answered_in_their_order_however_those_before_end() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    // The first of them finds nothing to wait for.
    let mut sent = Vec::new();
    for text in ["one", "two", "three", "four", "five"] {
        sent.push(enqueue(&replica, &viewer, conversation, text).await);
    }
    let refused = replica.send(&viewer, conversation, "six").await;
    match refused {
        Err(ChatError::ReplyInProgress { message_id }) => assert_eq!(message_id, sent[0].reply.id),
        other => panic!("not a conflict: {other:?}"),
    }

    let writing = replica.desk.next().await;
    assert_eq!(question(&writing), "one");
    writing.say("first answer");
    assert_eq!(replica.desk.unanswered().await, 0);
    writing.finish();

    let writing = replica.desk.next().await;
    assert_eq!(question(&writing), "two");
    assert_eq!(writing.prompt.turns[1].text, "first answer");
    writing.say("half");
    // One that waits goes without its turn.
    let waiting = replica.chat.stop_reply(&viewer, sent[3].reply.id).await;
    let waiting = waiting.expect("stopped");
    assert_eq!(
        (waiting.status, waiting.content.as_str()),
        (MessageStatus::Stopped, "")
    );
    writing.fail(ReplyErrorCode::ProviderUnavailable, "Gone.");

    let writing = replica.desk.next().await;
    assert_eq!(question(&writing), "three");
    assert_eq!(writing.prompt.turns[3].text, "half");
    writing.say("stopped");
    let mut reader = replica.follow(&viewer, sent[2].reply.id).await;
    reader.until("stopped").await;
    let streaming = replica.chat.stop_reply(&viewer, sent[2].reply.id).await;
    assert_eq!(streaming.expect("stopped").content, "stopped");
    writing.hung_up().await;

    let writing = replica.desk.next().await;
    assert!(question(&writing).ends_with("five"), "with that of four");
    writing.finish();
    let mut reader = replica.follow(&viewer, sent[4].reply.id).await;
    reader.finished().await;
    let ends: Vec<_> = path(&replica, &viewer, conversation)
        .await
        .into_iter()
        .skip(1)
        .step_by(2)
        .map(|(_, status, content)| (status, content))
        .collect();
    let end = |status, content: &str| (status, content.to_owned());
    assert_eq!(
        ends,
        [
            end(MessageStatus::Completed, "first answer"),
            end(MessageStatus::Failed, "half"),
            end(MessageStatus::Stopped, "stopped"),
            end(MessageStatus::Stopped, ""),
            end(MessageStatus::Completed, ""),
        ]
    );
    assert_eq!(replica.desk.unanswered().await, 0);
    assert_eq!(left(&test).await, (0, 0, 4), "one was never begun");
}

#[tokio::test]
async fn a_message_that_stops_those_before_it_stops_the_queue_too() {
    let test = TestDatabase::create().await;
    let (one, two) = (Replica::start(&test).await, Replica::start(&test).await);
    let viewer = one.viewer("alice").await;
    for sender in [&one, &two] {
        let conversation = one.conversation(&viewer).await;
        let running = one.send(&viewer, conversation, "running").await;
        let running = running.expect("sent");
        let writing = one.desk.next().await;
        let mut reader = one.follow(&viewer, running.reply.id).await;
        writing.say("half");
        reader.until("half").await;
        let queued = [
            enqueue(&one, &viewer, conversation, "queued").await,
            enqueue(&two, &viewer, conversation, "queued").await,
        ];
        let mut followed = sender.follow(&viewer, queued[1].reply.id).await;
        let last = sender
            .send_when_busy(&viewer, conversation, "last", BusyPolicy::Stop, None)
            .await
            .expect("sent");
        writing.hung_up().await;
        assert_eq!(reader.finished().await.content, "half");
        for queued in &queued {
            let stopped = one.message(&viewer, queued.reply.id).await.expect("there");
            assert_eq!(
                (stopped.status, stopped.content.as_str()),
                (MessageStatus::Stopped, "")
            );
        }
        assert_eq!(followed.finished().await.status, MessageStatus::Stopped);
        let writing = sender.desk.next().await;
        assert!(question(&writing).ends_with("last"));
        writing.finish();
        sender.follow(&viewer, last.reply.id).await.finished().await;
    }
    assert_eq!(one.desk.unanswered().await + two.desk.unanswered().await, 0);
    assert_eq!(left(&test).await, (0, 0, 4));
}

#[tokio::test]
async fn the_queue_goes_on_behind_a_reply_that_was_ended_in_place_of_its_owner() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let hanging = replica.send(&viewer, conversation, "hanging").await;
    let writing = replica.desk.next().await;
    writing.say("written");
    written_down(&test, "written").await;
    orphan(&test).await;
    writing.hung_up().await;
    enqueue(&replica, &viewer, conversation, "next").await;
    let stopped = replica
        .chat
        .stop_reply(&viewer, hanging.expect("sent").reply.id)
        .await;
    assert_eq!(stopped.expect("stopped").content, "written");
    let writing = replica.desk.next().await;
    assert_eq!(question(&writing), "next");
}

#[tokio::test]
async fn deleting_or_resetting_takes_the_queue_along() {
    let test = TestDatabase::create().await;
    let memory = Memory::default();
    let settings = ChatSettings::default;
    let writer = Replica::beside(&test, &memory, QUICK, settings()).await;
    let elsewhere = Replica::beside(&test, &memory, QUICK, settings()).await;
    let viewer = writer.viewer("alice").await;
    for reset in [true, false] {
        let conversation = writer.conversation(&viewer).await;
        writer
            .send(&viewer, conversation, "running")
            .await
            .expect("sent");
        let writing = writer.desk.next().await;
        enqueue(&writer, &viewer, conversation, "queued").await;
        enqueue(&elsewhere, &viewer, conversation, "queued").await;
        if reset {
            let reset = elsewhere.chat.reset_conversation(&viewer, conversation);
            reset.await.expect("reset");
        } else {
            let deleted = elsewhere.chat.delete_conversation(&viewer, conversation);
            deleted.await.expect("deleted");
        }
        writing.hung_up().await;
        assert_eq!(left(&test).await, (0, 0, 0));
    }
    // Whoever had been waiting would be begun before this one.
    let conversation = writer.conversation(&viewer).await;
    let sent = enqueue(&writer, &viewer, conversation, "another").await;
    let writing = writer.desk.next().await;
    assert_eq!(question(&writing), "another");
    writing.finish();
    writer.follow(&viewer, sent.reply.id).await.finished().await;
    assert_eq!(
        writer.desk.unanswered().await + elsewhere.desk.unanswered().await,
        0
    );
}

#[tokio::test]
async fn a_user_who_is_deleted_elsewhere_leaves_neither_run_nor_queue() {
    let test = TestDatabase::create().await;
    let (writer, elsewhere) = (Replica::start(&test).await, Replica::start(&test).await);
    let viewer = writer.viewer("alice").await;
    let conversation = writer.conversation(&viewer).await;
    writer
        .send(&viewer, conversation, "running")
        .await
        .expect("sent");
    let writing = writer.desk.next().await;
    enqueue(&writer, &viewer, conversation, "queued").await;
    Api::of(&elsewhere)
        .data(
            &viewer,
            "mutation { deleteViewer(input: { confirmExternalId: \"alice\" }) { deletedViewerId } }",
            json!({}),
        )
        .await;
    writing.hung_up().await;
    eventually("the user is gone", || async {
        (left(&test).await == (0, 0, 0)).then_some(())
    })
    .await;
    assert_eq!(
        writer.desk.unanswered().await + elsewhere.desk.unanswered().await,
        0,
        "what had waited was never begun"
    );
}
