//! What each of the three does to the active path, and what it leaves alone.

use loquat::{
    chat::{ChatError, RateMessage, RegenerateReply},
    config::ChatSettings,
    llm::TurnRole,
    model::{Feedback, MessageId, MessageStatus, Rating},
};

use super::{edit, edited, exchange, path, regenerate, regenerated, texts};
use crate::support::{QUICK, Replica, TestDatabase};

#[tokio::test]
async fn an_edit_ends_the_path_at_its_place_and_keeps_what_followed() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let first = exchange(&replica, &viewer, conversation, "one").await;
    exchange(&replica, &viewer, conversation, "two").await;

    let sent = edit(&replica, &viewer, first.user_message.id, "uno").await;
    let sent = sent.expect("edited");
    assert_eq!(sent.user_message.version_number, 2);
    assert_eq!(sent.user_message.position, 0);
    assert_eq!(sent.reply.status, MessageStatus::Pending);
    assert_eq!(sent.reply.version_number, 1);
    let writing = replica.desk.next().await;
    let asked: Vec<_> = writing
        .prompt
        .turns
        .iter()
        .map(|turn| (turn.role, turn.text.as_str()))
        .collect();
    assert_eq!(asked, [(TurnRole::User, "uno")], "of this path alone");
    writing.say("answer to uno");
    writing.finish();
    replica
        .follow(&viewer, sent.reply.id)
        .await
        .finished()
        .await;
    let now = path(&replica, &viewer, conversation).await;
    assert_eq!(texts(&now), ["uno", "answer to uno"]);
    let counts = replica.chat.count_paths(&viewer, &[conversation]).await;
    assert_eq!(counts.expect("counts")[0].1, 2);
    let last = replica.chat.last_messages(&viewer, &[conversation]).await;
    assert_eq!(last.expect("a message")[0].id, sent.reply.id);

    let back = replica
        .chat
        .select_version(&viewer, first.user_message.id)
        .await
        .expect("selected");
    assert_eq!(
        back.last_active_at,
        replica
            .message(&viewer, sent.reply.id)
            .await
            .expect("still there")
            .created_at,
        "a choice stores no message"
    );
    assert_eq!(back.path_revision, back.revision);
    let now = path(&replica, &viewer, conversation).await;
    assert_eq!(
        texts(&now),
        ["one", "answer to one", "two", "answer to two"]
    );
    let positions: Vec<i32> = now.iter().map(|message| message.position).collect();
    assert_eq!(positions, [0, 1, 2, 3]);
}

#[tokio::test]
async fn a_reply_is_written_anew_beside_the_one_before_with_another_model_if_one_is_named() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let first = exchange(&replica, &viewer, conversation, "one").await;
    exchange(&replica, &viewer, conversation, "two").await;
    let input = |model: &str| RegenerateReply {
        message_id: first.reply.id,
        model: Some(model.to_owned()),
        idempotency_key: Some("k".to_owned()),
    };
    let unknown = replica.chat.regenerate_reply(&viewer, input("huge")).await;
    assert!(
        matches!(
            unknown,
            Err(ChatError::Invalid {
                argument: "model",
                ..
            })
        ),
        "{unknown:?}"
    );
    let made = replica.chat.regenerate_reply(&viewer, input("large")).await;
    let made = made.expect("written anew");
    assert_eq!(made.reply.parent_id, Some(first.user_message.id));
    assert_eq!((made.reply.position, made.reply.version_number), (1, 2));
    assert_eq!(made.reply.idempotency_key.as_deref(), Some("k"));
    let writing = replica.desk.next().await;
    assert_eq!(writing.prompt.model, "large");
    assert_eq!(writing.prompt.turns.len(), 1, "the question alone");
    writing.say("better");
    writing.finish();
    replica
        .follow(&viewer, made.reply.id)
        .await
        .finished()
        .await;
    let now = path(&replica, &viewer, conversation).await;
    assert_eq!(texts(&now), ["one", "better"]);
}

#[tokio::test]
async fn a_version_that_is_not_active_is_edited_on_a_path_that_becomes_active() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let first = exchange(&replica, &viewer, conversation, "one").await;
    let second = exchange(&replica, &viewer, conversation, "two").await;
    let other = edited(&replica, &viewer, first.user_message.id, "uno").await;
    exchange(&replica, &viewer, conversation, "due").await;

    // Both lie beside the path.
    edited(&replica, &viewer, second.user_message.id, "zwei").await;
    let now = path(&replica, &viewer, conversation).await;
    assert_eq!(
        texts(&now),
        ["one", "answer to one", "zwei", "answer to zwei"]
    );
    replica
        .chat
        .select_version(&viewer, other.user_message.id)
        .await
        .expect("selected");
    regenerated(&replica, &viewer, second.reply.id, "better").await;
    let now = path(&replica, &viewer, conversation).await;
    assert_eq!(texts(&now), ["one", "answer to one", "two", "better"]);
    // The way through the first edit is as it was.
    replica
        .chat
        .select_version(&viewer, other.reply.id)
        .await
        .expect("selected");
    let now = path(&replica, &viewer, conversation).await;
    assert_eq!(
        texts(&now),
        ["uno", "answer to uno", "due", "answer to due"]
    );
}

#[tokio::test]
async fn what_is_active_is_chosen_without_a_change() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let sent = exchange(&replica, &viewer, conversation, "one").await;
    let before = replica.chat.conversations(&viewer, &[conversation]).await;
    let after = replica
        .chat
        .select_version(&viewer, sent.user_message.id)
        .await;
    assert_eq!(
        after.expect("selected").revision,
        before.expect("conversations")[0].revision
    );
}

#[tokio::test]
async fn what_does_not_fit_is_refused_by_name() {
    let test = TestDatabase::create().await;
    let settings = ChatSettings {
        greeting: Some("Welcome!".to_owned()),
        ..ChatSettings::default()
    };
    let replica = Replica::with(&test, QUICK, settings).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let greeting = path(&replica, &viewer, conversation).await.remove(0);
    let sent = exchange(&replica, &viewer, conversation, "one").await;
    let refused = |result: Result<(), ChatError>| match result {
        Err(ChatError::Invalid { argument, problem }) => {
            assert_eq!(argument, "messageId", "{problem}");
            problem
        }
        other => panic!("not refused: {other:?}"),
    };
    let edit_reply = edit(&replica, &viewer, sent.reply.id, "mine").await;
    assert!(refused(edit_reply.map(drop)).contains("assistant"));
    let question = regenerate(&replica, &viewer, sent.user_message.id, None).await;
    assert!(refused(question.map(drop)).contains("user"));
    let said = regenerate(&replica, &viewer, greeting.id, None).await;
    assert!(refused(said.map(drop)).contains("greeting"));
    let nothing = edit(&replica, &viewer, MessageId::new(), "mine").await;
    assert!(
        matches!(nothing, Err(ChatError::NotFound("message"))),
        "{nothing:?}"
    );
    for content in ["", " \n", "a\0b", &"x".repeat(100_001)] {
        let refused = edit(&replica, &viewer, sent.user_message.id, content).await;
        assert!(
            matches!(
                refused,
                Err(ChatError::Invalid {
                    argument: "content",
                    ..
                })
            ),
            "{refused:?}"
        );
    }
    let now = path(&replica, &viewer, conversation).await;
    assert_eq!(texts(&now), ["Welcome!", "one", "answer to one"]);
    assert_eq!(replica.desk.unanswered().await, 0);
}

#[tokio::test]
async fn hostile_texts_are_kept_word_for_word() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let sent = exchange(&replica, &viewer, conversation, "one").await;
    for text in ["'; drop table chat.messages; --", "$1 \\ \" %s 🍊\u{202e}"] {
        let again = edited(&replica, &viewer, sent.user_message.id, text).await;
        assert_eq!(again.user_message.content, text);
        let rated = RateMessage {
            message_id: again.reply.id,
            rating: Some(Rating::Down),
            comment: Some(text.to_owned()),
        };
        replica
            .chat
            .rate_message(&viewer, rated)
            .await
            .expect("rated");
        let stored = replica.message(&viewer, again.reply.id).await;
        let feedback = stored.expect("there").feedback;
        assert_eq!(
            feedback,
            Some(Feedback {
                rating: Rating::Down,
                comment: Some(text.to_owned()),
            })
        );
    }
}

#[tokio::test]
async fn a_reset_and_a_deletion_take_every_version() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    for deleted in [false, true] {
        let conversation = replica.conversation(&viewer).await;
        let sent = exchange(&replica, &viewer, conversation, "one").await;
        exchange(&replica, &viewer, conversation, "two").await;
        edited(&replica, &viewer, sent.user_message.id, "uno").await;
        // Not the end of it: the reply is being written.
        let running = regenerate(&replica, &viewer, sent.reply.id, None).await;
        running.expect("written anew");
        let writing = replica.desk.next().await;
        if deleted {
            let gone = replica.chat.delete_conversation(&viewer, conversation);
            gone.await.expect("deleted");
        } else {
            let emptied = replica.chat.reset_conversation(&viewer, conversation);
            emptied.await.expect("reset");
        }
        writing.hung_up().await;
        let left: (i64, i64) = sqlx::query_as(
            "select (select count(*) from chat.messages), (select count(*) from chat.replies)",
        )
        .fetch_one(&mut test.superuser().await)
        .await
        .expect("counts");
        assert_eq!(left, (0, 0));
    }
}
