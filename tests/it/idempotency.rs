//! A send happens once.

use futures_util::future::join_all;
use loquat::chat::{BusyPolicy, ChatError, SendMessage, StartChat};

use crate::support::{Replica, TestDatabase};

#[tokio::test]
async fn fifty_retries_at_once_from_two_processes_make_one_message_and_one_reply() {
    let test = TestDatabase::create().await;
    let replicas = [Replica::start(&test).await, Replica::start(&test).await];
    let viewer = replicas[0].viewer("alice").await;
    let conversation = replicas[0].conversation(&viewer).await;
    let sent = join_all((0..50).map(|index| {
        replicas[index % 2].send_with_key(&viewer, conversation, "hi", Some("the key"))
    }))
    .await;
    let first = sent[0].as_ref().expect("sent");
    for other in &sent {
        let other = other.as_ref().expect("sent");
        assert_eq!(other.user_message.id, first.user_message.id);
        assert_eq!(other.reply.id, first.reply.id);
    }
    let counts = replicas[0].chat.count_paths(&viewer, &[conversation]).await;
    assert_eq!(counts.expect("counts")[0].1, 2);
    let writing = tokio::select! {
        writing = replicas[0].desk.next() => writing,
        writing = replicas[1].desk.next() => writing,
    };
    writing.say("once");
    writing.finish();
    let mut reader = replicas[0].follow(&viewer, first.reply.id).await;
    assert_eq!(reader.finished().await.content, "once");
    for replica in &replicas {
        assert_eq!(
            replica.desk.unanswered().await,
            0,
            "the model is asked once"
        );
    }
}

#[tokio::test]
async fn twenty_different_sends_at_once_make_one_and_nineteen_conflicts() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let contents: Vec<String> = (0..20).map(|index| format!("message {index}")).collect();
    let sent = join_all(
        contents
            .iter()
            .map(|content| replica.send(&viewer, conversation, content)),
    )
    .await;
    let (made, refused): (Vec<_>, Vec<_>) = sent.into_iter().partition(Result::is_ok);
    assert_eq!(made.len(), 1);
    let made = made.into_iter().next().expect("one").expect("sent");
    for refusal in refused {
        match refusal {
            Err(ChatError::ReplyInProgress { message_id }) => assert_eq!(message_id, made.reply.id),
            other => panic!("not a conflict: {other:?}"),
        }
    }
    let counts = replica.chat.count_paths(&viewer, &[conversation]).await;
    assert_eq!(counts.expect("counts")[0].1, 2, "nothing else was stored");
}

#[tokio::test]
async fn a_key_answers_alike_in_mid_reply_and_after_it() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let sent = replica
        .send_with_key(&viewer, conversation, "hi", Some("k"))
        .await
        .expect("sent");
    assert_eq!(sent.user_message.idempotency_key.as_deref(), Some("k"));
    let writing = replica.desk.next().await;
    writing.say("text");
    let mut reader = replica.follow(&viewer, sent.reply.id).await;
    reader.until("text").await;
    let retried = replica
        .send_with_key(&viewer, conversation, "hi", Some("k"))
        .await
        .expect("a retry in mid-reply");
    assert_eq!(
        (retried.reply.id, retried.reply.content.as_str()),
        (sent.reply.id, "text")
    );
    writing.finish();
    reader.finished().await;
    let retried = replica
        .send_with_key(&viewer, conversation, "hi", Some("k"))
        .await
        .expect("a retry after the reply");
    assert_eq!(retried.reply.id, sent.reply.id);
    assert_eq!(replica.desk.unanswered().await, 0);
}

#[tokio::test]
async fn a_key_belongs_to_its_user_its_mutation_and_its_input() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let (alice, bob) = (replica.viewer("alice").await, replica.viewer("bob").await);
    let conversation = replica.conversation(&alice).await;
    replica
        .send_with_key(&alice, conversation, "hi", Some("k"))
        .await
        .expect("sent");
    let reused = replica
        .send_with_key(&alice, conversation, "something else", Some("k"))
        .await;
    assert!(matches!(reused, Err(ChatError::KeyReused)), "{reused:?}");
    let reused = replica
        .chat
        .send_message(
            &alice,
            SendMessage {
                conversation_id: conversation,
                content: "hi".to_owned(),
                model: Some("large".to_owned()),
                idempotency_key: Some("k".to_owned()),
                when_busy: BusyPolicy::Reject,
            },
        )
        .await;
    assert!(matches!(reused, Err(ChatError::KeyReused)), "{reused:?}");

    let start = |title: &str| StartChat {
        title: Some(title.to_owned()),
        idempotency_key: Some("k".to_owned()),
        ..Default::default()
    };
    let first = replica
        .chat
        .start_chat(&alice, start("a"))
        .await
        .expect("starts");
    let again = replica
        .chat
        .start_chat(&alice, start("a"))
        .await
        .expect("starts");
    assert_eq!(first.conversation.id, again.conversation.id);
    let reused = replica.chat.start_chat(&alice, start("b")).await;
    assert!(matches!(reused, Err(ChatError::KeyReused)), "{reused:?}");
    let bobs = replica
        .chat
        .start_chat(&bob, start("a"))
        .await
        .expect("starts");
    assert_ne!(bobs.conversation.id, first.conversation.id);
}

#[tokio::test]
async fn a_refused_send_does_not_use_up_its_key() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let sent = replica
        .send(&viewer, conversation, "first")
        .await
        .expect("sent");
    let refused = replica
        .send_with_key(&viewer, conversation, "second", Some("k"))
        .await;
    assert!(
        matches!(refused, Err(ChatError::ReplyInProgress { .. })),
        "{refused:?}"
    );
    replica.desk.next().await.finish();
    replica
        .follow(&viewer, sent.reply.id)
        .await
        .finished()
        .await;
    replica
        .send_with_key(&viewer, conversation, "second", Some("k"))
        .await
        .expect("the same key, once there is room");
}

#[tokio::test]
async fn a_key_outlives_what_it_made_and_starts_nothing_again() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    replica
        .send_with_key(&viewer, conversation, "hi", Some("k"))
        .await
        .expect("sent");
    replica.desk.next().await.finish();
    replica
        .chat
        .reset_conversation(&viewer, conversation)
        .await
        .expect("reset");
    let retried = replica
        .send_with_key(&viewer, conversation, "hi", Some("k"))
        .await;
    assert!(
        matches!(retried, Err(ChatError::KeyResultDeleted)),
        "{retried:?}"
    );
    replica
        .chat
        .delete_conversation(&viewer, conversation)
        .await
        .expect("deleted");
    let retried = replica
        .send_with_key(&viewer, conversation, "hi", Some("k"))
        .await;
    assert!(
        matches!(retried, Err(ChatError::KeyResultDeleted)),
        "{retried:?}"
    );
    assert_eq!(replica.desk.unanswered().await, 0);
}
