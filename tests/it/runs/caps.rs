//! How many replies are written at once, and whose turn it is.

use loquat::{
    broker::Memory,
    chat::ChatError,
    db::Viewer,
    model::{MessageId, MessageStatus},
};
use serde_json::json;

use super::{enqueue, room, runs};
use crate::support::{Api, QUICK, Replica, TestDatabase, Writing, eventually, sql, text};

/// Sends what is to be known by this text, in a conversation of its own.
async fn ask(replica: &Replica, viewer: &Viewer, text: &str) -> MessageId {
    let conversation = replica.conversation(viewer).await;
    let sent = replica.send(viewer, conversation, text).await;
    sent.expect("sent").reply.id
}

fn question(writing: &Writing) -> &str {
    &writing.prompt.turns.last().expect("a question").text
}

async fn status(replica: &Replica, viewer: &Viewer, id: MessageId) -> MessageStatus {
    replica.message(viewer, id).await.expect("there").status
}

#[tokio::test]
async fn a_process_writes_so_many_at_once_and_then_the_oldest_that_wait() {
    let test = TestDatabase::create().await;
    let replica = Replica::with(&test, QUICK, room(2, 5)).await;
    let mut asked = Vec::new();
    for name in ["ann", "bob", "cid", "dan", "eve"] {
        let viewer = replica.viewer(name).await;
        let id = ask(&replica, &viewer, name).await;
        asked.push((viewer, id));
    }
    assert_eq!(runs(&test).await, (3, 2));
    for (viewer, id) in &asked[2..] {
        assert_eq!(status(&replica, viewer, *id).await, MessageStatus::Pending);
    }
    // A subscriber that came while it waited hears every word of it.
    let mut reader = replica.follow(&asked[2].0, asked[2].1).await;
    let mut writing = vec![replica.desk.next().await, replica.desk.next().await];
    writing.sort_by(|one, other| question(one).cmp(question(other)));
    for name in ["cid", "dan", "eve"] {
        assert_eq!(
            replica.desk.unanswered().await,
            0,
            "not before there is room"
        );
        writing.remove(0).finish();
        let next = replica.desk.next().await;
        assert_eq!(question(&next), name);
        if name == "cid" {
            next.say("at ");
            reader.until("at ").await;
            next.say("last");
        }
        writing.push(next);
    }
    for writing in writing {
        writing.finish();
    }
    // Everything else ended before: the third, too.
    assert_eq!(reader.finished().await.content, "at last");
    replica.chat.drained().await;
    assert_eq!(runs(&test).await, (0, 0));
}

#[tokio::test]
async fn a_users_cap_holds_over_all_processes_and_keeps_nobody_else_waiting() {
    let test = TestDatabase::create().await;
    let memory = Memory::default();
    let here = Replica::beside(&test, &memory, QUICK, room(10, 2)).await;
    let there = Replica::beside(&test, &memory, QUICK, room(10, 2)).await;
    let (alice, bob) = (here.viewer("alice").await, here.viewer("bob").await);
    ask(&here, &alice, "one").await;
    ask(&there, &alice, "two").await;
    ask(&here, &alice, "three").await;
    ask(&there, &alice, "four").await;
    assert_eq!(runs(&test).await, (2, 2));
    let (one, two) = (here.desk.next().await, there.desk.next().await);
    // Younger than what waits, and of somebody else.
    ask(&here, &bob, "bob's").await;
    let bobs = here.desk.next().await;
    assert_eq!(question(&bobs), "bob's");
    assert_eq!(runs(&test).await, (2, 3));

    one.finish();
    let three = either(&here, &there).await;
    assert_eq!(question(&three), "three");
    two.finish();
    let four = either(&here, &there).await;
    assert_eq!(question(&four), "four");
    for writing in [three, four, bobs] {
        writing.finish();
    }
    here.chat.drained().await;
    there.chat.drained().await;
}

/// The next reply that either is asked for.
async fn either(here: &Replica, there: &Replica) -> Writing {
    tokio::select! {
        writing = here.desk.next() => writing,
        writing = there.desk.next() => writing,
    }
}

#[tokio::test]
async fn what_is_new_does_not_overtake_what_waits() {
    let test = TestDatabase::create().await;
    // It looks when it is told, and not by itself.
    let timing = loquat::chat::Timing {
        recovery: std::time::Duration::from_secs(60 * 60),
        ..QUICK
    };
    let sender = Replica::with(&test, timing, room(0, 1)).await;
    let alice = sender.viewer("alice").await;
    ask(&sender, &alice, "older").await;
    let replica = Replica::with(&test, timing, room(5, 1)).await;
    // The first look is over, and what waits is held by nobody: as if the look had come before it.
    let older = replica.desk.next().await;
    sql(
        &test,
        "update chat.replies set process_id = null, lease_expires_at = null, fence = fence + 1",
    )
    .await;
    older.hung_up().await;
    ask(&replica, &alice, "younger").await;
    let first = replica.desk.next().await;
    assert_eq!(question(&first), "older");
    first.finish();
    assert_eq!(question(&replica.desk.next().await), "younger");
}

#[tokio::test]
async fn the_places_of_a_process_that_crashed_are_free_with_its_leases() {
    let test = TestDatabase::create().await;
    let replica = Replica::with(&test, QUICK, room(10, 2)).await;
    let alice = replica.viewer("alice").await;
    ask(&replica, &alice, "one").await;
    ask(&replica, &alice, "two").await;
    let gone = [replica.desk.next().await, replica.desk.next().await];
    // They are a process's that is gone, which nobody can know yet.
    sql(
        &test,
        "update chat.replies set process_id = gen_random_uuid(), fence = fence + 1, losses = 2, \
           lease_expires_at = now() + interval '1 hour'",
    )
    .await;
    for writing in gone {
        writing.hung_up().await;
    }
    let third = ask(&replica, &alice, "three").await;
    assert_eq!(runs(&test).await, (1, 2));
    assert_eq!(
        status(&replica, &alice, third).await,
        MessageStatus::Pending
    );
    sql(
        &test,
        "update chat.replies set lease_expires_at = now() where process_id is not null",
    )
    .await;
    let writing = replica.desk.next().await;
    assert_eq!(question(&writing), "three");
    writing.finish();
    replica.follow(&alice, third).await.finished().await;
}

#[tokio::test]
async fn the_replies_of_a_conversation_are_written_in_order_however_they_end() {
    let test = TestDatabase::create().await;
    let memory = Memory::default();
    let here = Replica::beside(&test, &memory, QUICK, room(10, 5)).await;
    let there = Replica::beside(&test, &memory, QUICK, room(10, 5)).await;
    let viewer = here.viewer("alice").await;
    let conversation = here.conversation(&viewer).await;
    let mut replies = Vec::new();
    for (n, text) in ["one", "two", "three", "four", "five"]
        .into_iter()
        .enumerate()
    {
        let replica = if n % 2 == 0 { &here } else { &there };
        replies.push(enqueue(replica, &viewer, conversation, text).await.reply.id);
    }
    assert_eq!(runs(&test).await, (4, 1));
    let alone = async || {
        assert_eq!(here.desk.unanswered().await, 0);
        assert_eq!(there.desk.unanswered().await, 0);
        assert_eq!(runs(&test).await.1, 1);
    };
    let first = either(&here, &there).await;
    assert_eq!(question(&first), "one");
    alone().await;
    first.fail(loquat::model::ReplyErrorCode::ProviderTimeout, "slow");
    // One that fails, one that is stopped, one that is lost three times, one that is handed over.
    let second = either(&here, &there).await;
    assert_eq!(
        second.prompt.turns.last().expect("a turn").text,
        "one\n\ntwo"
    );
    alone().await;
    let stopped = there.chat.stop_reply(&viewer, replies[1]).await;
    stopped.expect("stopped");
    let third = either(&here, &there).await;
    alone().await;
    sql(
        &test,
        "update chat.replies set process_id = gen_random_uuid(), fence = fence + 1, losses = 2, \
           lease_expires_at = now() - interval '1 second' where process_id is not null",
    )
    .await;
    let fourth = either(&here, &there).await;
    third.hung_up().await;
    alone().await;
    assert!(question(&fourth).ends_with("four"));
    here.lifecycle.begin_soft_stop();
    fourth.say("so far");
    fourth.finish();
    let fifth = either(&here, &there).await;
    assert_eq!(question(&fifth), "five");
    fifth.finish();
    let last = there.follow(&viewer, replies[4]).await.finished().await;
    assert_eq!(last.status, MessageStatus::Completed);
    let mut ends = Vec::new();
    for id in replies {
        ends.push(status(&there, &viewer, id).await.as_str());
    }
    assert_eq!(
        ends,
        ["FAILED", "STOPPED", "FAILED", "COMPLETED", "COMPLETED"]
    );
}

#[tokio::test]
async fn a_user_has_a_hundred_unfinished_replies_and_no_more() {
    let test = TestDatabase::create().await;
    let replica = Replica::with(&test, QUICK, room(10, 2)).await;
    let (alice, bob) = (replica.viewer("alice").await, replica.viewer("bob").await);
    let api = Api::of(&replica);
    let busy = replica.conversation(&alice).await;
    let mut last = None;
    for n in 0..100 {
        last = Some(enqueue(&replica, &alice, busy, &n.to_string()).await);
    }
    let started = api.start_chat(&alice, "another").await;
    let document = "mutation($id: ID!) { sendMessage(input: { conversationId: $id, content: \"hi\" }) \
        { reply { id } } }";
    let refusal = api
        .refusal(&alice, document, json!({ "id": started }))
        .await;
    assert_eq!(
        refusal,
        json!({ "code": "LIMIT_EXCEEDED", "limit": "unfinishedReplies", "value": 100,
            "documentation": "docs/limits.md#unfinishedreplies" })
    );
    let refused = replica
        .chat
        .start_chat(
            &alice,
            loquat::chat::StartChat {
                message: Some("hi".to_owned()),
                ..Default::default()
            },
        )
        .await
        .expect_err("refused");
    assert!(
        matches!(refused, ChatError::TooManyReplies(100)),
        "{refused:?}"
    );
    let stored: i64 = sqlx::query_scalar("select count(*) from chat.messages")
        .fetch_one(&mut test.superuser().await)
        .await
        .expect("a count");
    assert_eq!(stored, 200, "nothing of what was refused");
    ask(&replica, &bob, "nobody else's concern").await;

    let last = last.expect("sent").reply.id;
    replica
        .chat
        .stop_reply(&alice, last)
        .await
        .expect("stopped");
    let sent = api.data(&alice, document, json!({ "id": started })).await;
    text(&sent["sendMessage"]["reply"]["id"]);
    eventually("the first of another conversation begins", || async {
        (runs(&test).await.1 == 3).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_user_whose_rows_are_locked_keeps_nobody_elses_replies_waiting() {
    let test = TestDatabase::create().await;
    let replica = Replica::with(&test, QUICK, room(10, 5)).await;
    let (alice, bob) = (replica.viewer("alice").await, replica.viewer("bob").await);
    let mut asked = Vec::new();
    for n in 0..4 {
        let id = ask(&replica, &alice, &n.to_string()).await;
        asked.push((id, replica.desk.next().await));
    }
    // As while something large of hers is deleted.
    let mut holder = test.superuser().await;
    sqlx::raw_sql("begin")
        .execute(&mut holder)
        .await
        .expect("begun");
    sqlx::query("select from chat.list_revisions where user_id = $1 for update")
        .bind(alice.user_id().uuid())
        .execute(&mut holder)
        .await
        .expect("locked");
    let mut replies = Vec::new();
    for (id, writing) in asked {
        writing.finish();
        replies.push(id);
    }
    let bobs = ask(&replica, &bob, "bob's").await;
    let writing = replica.desk.next().await;
    assert_eq!(question(&writing), "bob's");
    writing.finish();
    replica.follow(&bob, bobs).await.finished().await;
    assert_eq!(runs(&test).await, (0, 4));

    sqlx::raw_sql("rollback")
        .execute(&mut holder)
        .await
        .expect("ended");
    for id in replies {
        let ended = replica.follow(&alice, id).await.finished().await;
        assert_eq!(ended.status, MessageStatus::Completed);
    }
}
