//! What the model is asked, as much as it reads, and what that costs.

use std::time::Duration;

use loquat::{
    config::{ChatSettings, ContextSettings},
    db::Viewer,
    model::{ConversationId, Message, MessageStatus, ReplyErrorCode, TokenUsage},
};

use crate::support::{QUICK, Replica, TestDatabase, Writing};

fn settings(context: Option<u32>) -> ChatSettings {
    ChatSettings {
        context: ContextSettings {
            every: context,
            ..ContextSettings::default()
        },
        system_prompt: Some("Be kind.".to_owned()),
        ..ChatSettings::default()
    }
}

async fn ended(replica: &Replica, viewer: &Viewer, reply: &Message) -> Message {
    replica.follow(viewer, reply.id).await.finished().await
}

/// Three exchanges of about a hundred tokens each, and a conversation to ask the fourth in.
async fn long_conversation(replica: &Replica, viewer: &Viewer) -> ConversationId {
    let id = replica.conversation(viewer).await;
    for question in ["one", "two", "three"] {
        let sent = replica.send(viewer, id, question).await.expect("sent");
        let writing = replica.desk.next().await;
        writing.say(&"word ".repeat(100));
        writing.finish();
        ended(replica, viewer, &sent.reply).await;
    }
    id
}

fn texts(writing: &Writing) -> Vec<&str> {
    let turns = writing.prompt.turns.iter();
    turns.map(|turn| turn.text.trim_end()).collect()
}

#[tokio::test]
async fn what_does_not_fit_is_left_out_from_the_oldest_exchange_on() {
    let test = TestDatabase::create().await;
    let replica = Replica::with(&test, QUICK, settings(Some(500))).await;
    let viewer = replica.viewer("alice").await;
    let id = long_conversation(&replica, &viewer).await;
    replica.send(&viewer, id, "four").await.expect("sent");
    let writing = replica.desk.next().await;
    let answer = "word ".repeat(100);
    let answer = answer.trim_end();
    assert_eq!(
        texts(&writing),
        ["Be kind.", "two", answer, "three", answer, "four"]
    );
    assert_eq!(writing.prompt.max_tokens, None);
}

#[tokio::test]
async fn a_question_that_never_fits_fails_before_anybody_is_asked() {
    let test = TestDatabase::create().await;
    let mut settings = settings(Some(500));
    settings.max_reply_tokens = Some(100);
    let replica = Replica::with(&test, QUICK, settings).await;
    let viewer = replica.viewer("alice").await;
    let id = replica.conversation(&viewer).await;
    let long = "word ".repeat(600);
    let sent = replica.send(&viewer, id, &long).await.expect("sent");
    let failed = ended(&replica, &viewer, &sent.reply).await;
    assert_eq!(failed.status, MessageStatus::Failed);
    let error = failed.error.expect("a reason");
    assert_eq!(error.code, ReplyErrorCode::ContextTooLong);
    assert!(!error.code.is_retryable());
    assert_eq!((failed.content.as_str(), failed.usage), ("", None));

    // It does not stand in the way of the next, and one that leaves little room is asked all the same.
    let sent = replica
        .send(&viewer, id, &"word ".repeat(430))
        .await
        .expect("sent");
    let writing = replica.desk.next().await;
    assert_eq!(texts(&writing).len(), 2);
    let room = writing.prompt.max_tokens.expect("a limit");
    assert!((30..70).contains(&room), "{room}");
    writing.say("yes");
    writing.finish();
    assert_eq!(
        ended(&replica, &viewer, &sent.reply).await.status,
        MessageStatus::Completed
    );
    assert_eq!(replica.desk.unanswered().await, 0);
}

#[tokio::test]
async fn a_model_that_finds_a_prompt_too_long_is_asked_again_with_less() {
    let test = TestDatabase::create().await;
    let replica = Replica::with(&test, QUICK, settings(None)).await;
    let viewer = replica.viewer("alice").await;
    let id = long_conversation(&replica, &viewer).await;

    let sent = replica.send(&viewer, id, "four").await.expect("sent");
    let writing = replica.desk.next().await;
    assert_eq!(texts(&writing).len(), 8);
    writing.fail(ReplyErrorCode::ContextTooLong, "too long");
    let writing = replica.desk.next().await;
    let shown = texts(&writing);
    assert!(shown.len() < 8, "{shown:?}");
    assert_eq!(
        (shown[0], *shown.last().expect("turns")),
        ("Be kind.", "four")
    );
    writing.say("yes");
    writing.finish();
    let message = ended(&replica, &viewer, &sent.reply).await;
    assert_eq!(
        (message.status, message.content.as_str()),
        (MessageStatus::Completed, "yes")
    );

    let sent = replica.send(&viewer, id, "five").await.expect("sent");
    let mut before = usize::MAX;
    loop {
        let writing = replica.desk.next().await;
        let shown = texts(&writing).len();
        assert!(shown < before, "{shown} after {before}");
        before = shown;
        writing.fail(ReplyErrorCode::ContextTooLong, "too long");
        // What is never left out: instructions and question.
        if shown == 2 {
            break;
        }
    }
    let message = ended(&replica, &viewer, &sent.reply).await;
    assert_eq!(
        message.error.map(|error| error.code),
        Some(ReplyErrorCode::ContextTooLong)
    );

    // Nothing can be left out of the first question, so it is not asked again.
    let id = replica.conversation(&viewer).await;
    let sent = replica.send(&viewer, id, "one").await.expect("sent");
    let writing = replica.desk.next().await;
    writing.fail(ReplyErrorCode::ContextTooLong, "too long");
    let message = ended(&replica, &viewer, &sent.reply).await;
    assert_eq!(
        message.error.map(|error| error.code),
        Some(ReplyErrorCode::ContextTooLong)
    );
    assert_eq!(replica.desk.unanswered().await, 0);
}

#[tokio::test]
async fn a_reply_that_takes_too_long_in_all_ends_with_its_text() {
    let test = TestDatabase::create().await;
    let settings = ChatSettings {
        reply_timeout: Duration::from_secs(1),
        ..ChatSettings::default()
    };
    let replica = Replica::with(&test, QUICK, settings).await;
    let viewer = replica.viewer("alice").await;
    let id = replica.conversation(&viewer).await;
    let sent = replica.send(&viewer, id, "one").await.expect("sent");
    let writing = replica.desk.next().await;
    writing.say("so far");
    writing.hung_up().await;
    let message = ended(&replica, &viewer, &sent.reply).await;
    assert_eq!(
        (message.status, message.content.as_str()),
        (MessageStatus::Failed, "so far")
    );
    let code = message.error.expect("a reason").code;
    assert_eq!(code, ReplyErrorCode::ProviderTimeout);
    assert!(code.is_retryable());
}

/// The question has 3 tokens for the protocol, 4 for its turn and 1 of its own.
#[tokio::test]
async fn what_the_provider_does_not_count_is_counted_however_the_reply_ends() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let counted = Some(TokenUsage::of(8, 2));
    let ask = async || {
        let id = replica.conversation(&viewer).await;
        let sent = replica.send(&viewer, id, "one").await.expect("sent");
        let mut reader = replica.follow(&viewer, sent.reply.id).await;
        let writing = replica.desk.next().await;
        writing.say("Hello there");
        reader.until("Hello there").await;
        (sent.reply, writing, reader)
    };

    let (_, writing, mut reader) = ask().await;
    writing.cut_at_its_limit();
    let message = reader.finished().await;
    assert_eq!((message.usage, message.truncated), (counted, true));

    let (_, writing, mut reader) = ask().await;
    writing.fail(ReplyErrorCode::ProviderUnavailable, "gone");
    assert_eq!(reader.finished().await.usage, counted);

    let (reply, writing, mut reader) = ask().await;
    replica
        .chat
        .stop_reply(&viewer, reply.id)
        .await
        .expect("stopped");
    writing.hung_up().await;
    let message = reader.finished().await;
    assert_eq!(
        (message.status, message.usage),
        (MessageStatus::Stopped, counted)
    );

    // The provider knows better.
    let (_, writing, mut reader) = ask().await;
    writing.finish();
    assert_eq!(reader.finished().await.usage, Some(TokenUsage::of(3, 4)));

    let sums: (i64, i64) =
        sqlx::query_as("select count(*), sum(total_tokens)::bigint from chat.usage")
            .fetch_one(&mut test.superuser().await)
            .await
            .expect("sums");
    assert_eq!(sums, (4, 37));
}
