//! What a message does while a reply is unfinished in its conversation.

use loquat::{
    chat::{BusyPolicy, ChatError, SendMessage, Sent},
    db::Viewer,
    model::{ConversationId, Message, MessageRole, MessageStatus, PageRequest, Slice},
};

use serde_json::json;

use super::{left, orphan, written_down};
use crate::support::{Api, Replica, TestDatabase, sql};

/// The active path: who says what, and in which state.
pub async fn path(
    replica: &Replica,
    viewer: &Viewer,
    conversation: ConversationId,
) -> Vec<(MessageRole, MessageStatus, String)> {
    let request = PageRequest {
        slice: Slice::First(100),
        after: None,
        before: None,
    };
    let pages = replica
        .chat
        .path_pages(viewer, &[conversation], request, 1_000_000)
        .await
        .expect("pages");
    let messages = pages.into_iter().flat_map(|page| page.page.items);
    messages
        .map(|message| (message.role, message.status, message.content))
        .collect()
}

fn said(text: &str) -> (MessageRole, MessageStatus, String) {
    (MessageRole::User, MessageStatus::Completed, text.to_owned())
}

fn stopped(text: &str) -> (MessageRole, MessageStatus, String) {
    (
        MessageRole::Assistant,
        MessageStatus::Stopped,
        text.to_owned(),
    )
}

#[tokio::test]
async fn a_message_that_stops_the_reply_before_it_keeps_its_text_and_goes_on_from_there() {
    let test = TestDatabase::create().await;
    let (writer, elsewhere) = (Replica::start(&test).await, Replica::start(&test).await);
    let viewer = writer.viewer("alice").await;
    for sender in [&writer, &elsewhere] {
        let conversation = writer.conversation(&viewer).await;
        let first = writer
            .send(&viewer, conversation, "one")
            .await
            .expect("sent");
        let writing = writer.desk.next().await;
        let mut reader = writer.follow(&viewer, first.reply.id).await;
        writing.say("half an answer");
        reader.until("half an answer").await;

        let second = sender
            .send_when_busy(&viewer, conversation, "two", BusyPolicy::Stop, None)
            .await
            .expect("sent");
        writing.hung_up().await;
        assert_eq!(reader.finished().await.status, MessageStatus::Stopped);
        let next = sender.desk.next().await;
        let turns: Vec<&str> = next
            .prompt
            .turns
            .iter()
            .map(|turn| turn.text.as_str())
            .collect();
        assert_eq!(turns, ["one", "half an answer", "two"]);
        next.finish();
        let mut reader = sender.follow(&viewer, second.reply.id).await;
        assert_eq!(reader.finished().await.status, MessageStatus::Completed);
        assert_eq!(
            path(sender, &viewer, conversation).await[..3],
            [said("one"), stopped("half an answer"), said("two")]
        );
    }
    assert_eq!(left(&test).await, (0, 0, 4));
}

#[tokio::test]
async fn a_message_does_not_wait_for_an_owner_that_hangs() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    replica
        .send(&viewer, conversation, "one")
        .await
        .expect("sent");
    let writing = replica.desk.next().await;
    writing.say("written down");
    written_down(&test, "written down").await;
    orphan(&test).await;
    writing.hung_up().await;

    let send = replica.send_when_busy(&viewer, conversation, "two", BusyPolicy::Stop, None);
    let refused = replica.send(&viewer, conversation, "three");
    let (sent, refused) = futures_util::join!(send, refused);
    let sent = sent.expect("sent");
    assert!(
        matches!(refused, Err(ChatError::ReplyInProgress { .. })),
        "{refused:?}"
    );
    replica.desk.next().await.finish();
    let mut reader = replica.follow(&viewer, sent.reply.id).await;
    reader.finished().await;
    assert_eq!(
        path(&replica, &viewer, conversation).await[..3],
        [said("one"), stopped("written down"), said("two")]
    );
}

#[tokio::test]
async fn of_messages_that_stop_each_other_all_are_stored_and_one_is_answered() {
    let test = TestDatabase::create().await;
    let (one, two) = (Replica::start(&test).await, Replica::start(&test).await);
    let viewer = one.viewer("alice").await;
    let conversation = one.conversation(&viewer).await;
    one.send(&viewer, conversation, "first")
        .await
        .expect("sent");
    let sends = (0..8).map(|number| {
        let replica = if number % 2 == 0 { &one } else { &two };
        let viewer = &viewer;
        async move {
            let text = format!("{number}");
            replica
                .send_when_busy(viewer, conversation, &text, BusyPolicy::Stop, None)
                .await
        }
    });
    let sent: Vec<Sent> = futures_util::future::join_all(sends)
        .await
        .into_iter()
        .map(|sent| sent.expect("sent"))
        .collect();
    let path = path(&one, &viewer, conversation).await;
    assert_eq!(path.len(), 18, "{path:?}");
    let running: Vec<usize> = (0..path.len())
        .filter(|place| !path[*place].1.is_terminal())
        .collect();
    assert_eq!(running, [17], "{path:?}");
    let last: &Message = sent
        .iter()
        .map(|sent| &sent.reply)
        .max_by_key(|reply| reply.position)
        .expect("eight");
    one.chat
        .stop_reply(&viewer, last.id)
        .await
        .expect("stopped");
    assert_eq!(left(&test).await.0, 0);
}

#[tokio::test]
async fn a_retry_is_answered_in_mid_reply_and_stops_nothing_whatever_the_policy() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    for policy in [BusyPolicy::Reject, BusyPolicy::Enqueue, BusyPolicy::Stop] {
        let conversation = replica.conversation(&viewer).await;
        let key = format!("{policy:?}");
        let send = |policy| replica.send_when_busy(&viewer, conversation, "hi", policy, Some(&key));
        let sent = send(policy).await.expect("sent");
        let writing = replica.desk.next().await;
        writing.say("half");
        let mut reader = replica.follow(&viewer, sent.reply.id).await;
        reader.until("half").await;
        let again = send(policy).await.expect("answered again");
        assert_eq!(
            (again.reply.id, again.reply.status, again.reply.content),
            (sent.reply.id, MessageStatus::Streaming, "half".to_owned())
        );
        for other in [BusyPolicy::Reject, BusyPolicy::Enqueue, BusyPolicy::Stop] {
            let reused = send(other).await;
            assert_eq!(
                matches!(reused, Err(ChatError::KeyReused)),
                other != policy,
                "{policy:?} as {other:?}: {reused:?}"
            );
        }
        writing.say(" and half");
        writing.finish();
        let finished = reader.finished().await;
        assert_eq!(
            (finished.status, finished.content.as_str()),
            (MessageStatus::Completed, "half and half")
        );
    }
}

#[tokio::test]
async fn a_message_that_is_refused_stops_nothing() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let (alice, bob) = (replica.viewer("alice").await, replica.viewer("bob").await);
    let conversation = replica.conversation(&alice).await;
    let sent = replica
        .send_with_key(&alice, conversation, "one", Some("key"))
        .await
        .expect("sent");
    let writing = replica.desk.next().await;
    let stop = |content: &str, model: Option<&str>, key: Option<&str>| SendMessage {
        conversation_id: conversation,
        content: content.to_owned(),
        model: model.map(str::to_owned),
        idempotency_key: key.map(str::to_owned),
        when_busy: BusyPolicy::Stop,
    };
    for (viewer, message) in [
        (&alice, stop(" ", None, None)),
        (&alice, stop("two", Some("of another server"), None)),
        (&alice, stop("two", None, Some("key"))),
        (&bob, stop("two", None, None)),
    ] {
        let refused = replica.chat.send_message(viewer, message).await;
        assert!(refused.is_err(), "{refused:?}");
    }
    replica.lifecycle.begin_soft_stop();
    let refused = replica
        .chat
        .send_message(&alice, stop("two", None, None))
        .await;
    assert!(matches!(refused, Err(ChatError::Draining)), "{refused:?}");
    let mut reader = replica.follow(&alice, sent.reply.id).await;
    writing.say("whole");
    writing.finish();
    let finished = reader.finished().await;
    assert_eq!(
        (finished.status, finished.content.as_str()),
        (MessageStatus::Completed, "whole")
    );
}

#[tokio::test]
async fn a_message_that_cannot_be_stored_stops_no_reply_that_has_not_begun() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let sent = replica
        .send(&viewer, conversation, "one")
        .await
        .expect("sent");
    let _writing = replica.desk.next().await;
    orphan(&test).await;
    sql(
        &test,
        "update chat.messages set status = 'PENDING' where status = 'STREAMING'; \
         create function outage() returns bool language plpgsql as $$ begin \
           raise exception 'shutting down' using errcode = '57P01'; end $$; \
         create policy outage on chat.messages as restrictive for insert to loquat_viewer \
           with check (outage())",
    )
    .await;
    let refused = replica
        .send_when_busy(&viewer, conversation, "two", BusyPolicy::Stop, None)
        .await;
    assert!(
        matches!(&refused, Err(ChatError::Database(error)) if error.is_unavailable()),
        "{refused:?}"
    );
    let reply = replica.message(&viewer, sent.reply.id).await;
    assert_eq!(reply.expect("there").status, MessageStatus::Pending);
}

#[tokio::test]
async fn the_schema_says_what_is_wrong_with_a_stop_or_a_message() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let api = Api::of(&replica);
    let (alice, bob) = (replica.viewer("alice").await, replica.viewer("bob").await);
    let conversation = api.start_chat(&alice, "a title").await;
    let send = "mutation($id: ID!, $when: BusyPolicy! = REJECT) { \
        sendMessage(input: { conversationId: $id, content: \"hi\", whenBusy: $when }) \
        { userMessage { id } reply { id status } } }";
    let stop = "mutation($id: ID!) { stopReply(input: { messageId: $id }) \
        { reply { id status content error { code } completedAt } } }";
    let sent = api.data(&alice, send, json!({ "id": conversation })).await;
    let _writing = replica.desk.next().await;
    let [question, reply] = ["userMessage", "reply"].map(|made| &sent["sendMessage"][made]["id"]);

    let refused = api
        .refusal(&alice, send, json!({ "id": conversation }))
        .await;
    assert_eq!(
        refused,
        json!({ "code": "CONFLICT", "reason": "REPLY_IN_PROGRESS", "messageId": reply })
    );
    for id in [question, &json!(conversation), &json!("?")] {
        let refused = api.refusal(&alice, stop, json!({ "id": id })).await;
        assert_eq!(
            refused,
            json!({ "code": "BAD_USER_INPUT", "argument": "messageId" })
        );
    }
    let refused = api.refusal(&bob, stop, json!({ "id": reply })).await;
    assert_eq!(refused, json!({ "code": "NOT_FOUND" }));

    let variables = json!({ "id": conversation, "when": "ENQUEUE" });
    let queued = api.data(&alice, send, variables).await;
    let queued = &queued["sendMessage"]["reply"];
    assert_eq!(queued["status"], "PENDING");
    for id in [&queued["id"], reply] {
        let stopped = api.data(&alice, stop, json!({ "id": id })).await;
        let stopped = &stopped["stopReply"]["reply"];
        assert_eq!(
            (&stopped["id"], &stopped["status"]),
            (id, &json!("STOPPED"))
        );
        assert_eq!(stopped["error"], json!(null));
        assert!(stopped["completedAt"].is_string(), "{stopped}");
    }
}
