//! While a reply is unfinished nobody moves the path; and each call happens once.

use futures_util::future::join_all;
use loquat::chat::ChatError;

use super::{answer, edit, edit_with_key, exchange, path, regenerate, texts};
use crate::support::{Replica, TestDatabase};

#[tokio::test]
async fn an_unfinished_reply_is_named_by_all_that_would_move_the_path() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let first = exchange(&replica, &viewer, conversation, "one").await;
    let running = replica.send(&viewer, conversation, "two").await;
    let running = running.expect("sent").reply.id;
    let writing = replica.desk.next().await;
    let refusals = [
        edit(&replica, &viewer, first.user_message.id, "uno")
            .await
            .map(drop),
        regenerate(&replica, &viewer, first.reply.id, None)
            .await
            .map(drop),
        replica
            .chat
            .select_version(&viewer, first.reply.id)
            .await
            .map(drop),
    ];
    for refusal in refusals {
        match refusal {
            Err(ChatError::ReplyInProgress { message_id }) => assert_eq!(message_id, running),
            other => panic!("not a conflict: {other:?}"),
        }
    }
    writing.say("answer to two");
    writing.finish();
    replica.follow(&viewer, running).await.finished().await;
    let now = path(&replica, &viewer, conversation).await;
    assert_eq!(
        texts(&now),
        ["one", "answer to one", "two", "answer to two"]
    );
}

#[tokio::test]
async fn of_twenty_edits_at_once_one_is_made_and_its_key_answers_alike_ever_after() {
    let test = TestDatabase::create().await;
    let replicas = [Replica::start(&test).await, Replica::start(&test).await];
    let viewer = replicas[0].viewer("alice").await;
    let conversation = replicas[0].conversation(&viewer).await;
    let sent = exchange(&replicas[0], &viewer, conversation, "one").await;
    let asked = sent.user_message.id;
    let made = join_all(
        (0..20).map(|index| edit_with_key(&replicas[index % 2], &viewer, asked, "uno", Some("k"))),
    )
    .await;
    let first = made[0].as_ref().expect("edited");
    for other in &made {
        let other = other.as_ref().expect("edited");
        assert_eq!(other.user_message.id, first.user_message.id);
        assert_eq!(other.reply.id, first.reply.id);
    }
    assert_eq!(first.user_message.idempotency_key.as_deref(), Some("k"));
    let writing = tokio::select! {
        writing = replicas[0].desk.next() => writing,
        writing = replicas[1].desk.next() => writing,
    };
    // In mid-reply, before the busy check.
    writing.say("text");
    let mut reader = replicas[0].follow(&viewer, first.reply.id).await;
    reader.until("text").await;
    let retried = edit_with_key(&replicas[0], &viewer, asked, "uno", Some("k")).await;
    assert_eq!(retried.expect("a retry").reply.id, first.reply.id);
    writing.finish();
    reader.finished().await;
    // And when its version is not the active one any more.
    let chat = &replicas[0].chat;
    chat.select_version(&viewer, asked).await.expect("selected");
    let retried = edit_with_key(&replicas[0], &viewer, asked, "uno", Some("k")).await;
    let retried = retried.expect("a retry");
    assert_eq!(retried.reply.id, first.reply.id);
    assert!(!retried.reply.active, "a retry moves nothing");
    let reused = edit_with_key(&replicas[0], &viewer, asked, "dos", Some("k")).await;
    assert!(matches!(reused, Err(ChatError::KeyReused)), "{reused:?}");
    chat.reset_conversation(&viewer, conversation)
        .await
        .expect("reset");
    let retried = edit_with_key(&replicas[0], &viewer, asked, "uno", Some("k")).await;
    assert!(
        matches!(retried, Err(ChatError::KeyResultDeleted)),
        "{retried:?}"
    );
}

#[tokio::test]
async fn a_key_of_a_reply_that_is_written_anew_starts_one() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let sent = exchange(&replica, &viewer, conversation, "one").await;
    let made =
        join_all((0..10).map(|_| regenerate(&replica, &viewer, sent.reply.id, Some("k")))).await;
    let first = made[0].as_ref().expect("written anew").reply.id;
    for other in &made {
        assert_eq!(other.as_ref().expect("written anew").reply.id, first);
    }
    // The key of another mutation is another key.
    let busy = edit_with_key(&replica, &viewer, sent.user_message.id, "uno", Some("k")).await;
    assert!(
        matches!(busy, Err(ChatError::ReplyInProgress { .. })),
        "{busy:?}"
    );
    answer(&replica, &viewer, first, "", "better").await;
    let other = regenerate(&replica, &viewer, first, Some("k")).await;
    assert!(matches!(other, Err(ChatError::KeyReused)), "{other:?}");
    replica
        .chat
        .delete_conversation(&viewer, conversation)
        .await
        .expect("deleted");
    let retried = regenerate(&replica, &viewer, sent.reply.id, Some("k")).await;
    assert!(
        matches!(retried, Err(ChatError::KeyResultDeleted)),
        "{retried:?}"
    );
    assert_eq!(replica.desk.unanswered().await, 0);
}

#[tokio::test]
async fn a_process_that_is_about_to_stop_starts_no_version() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let sent = exchange(&replica, &viewer, conversation, "one").await;
    replica.lifecycle.begin_soft_stop();
    let refused = edit(&replica, &viewer, sent.user_message.id, "uno").await;
    assert!(matches!(refused, Err(ChatError::Draining)), "{refused:?}");
    let refused = regenerate(&replica, &viewer, sent.reply.id, None).await;
    assert!(matches!(refused, Err(ChatError::Draining)), "{refused:?}");
}
