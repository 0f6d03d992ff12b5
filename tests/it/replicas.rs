//! Several processes on one database: leases, fences and recovery.

use std::time::Duration;

use loquat::{
    chat::{FollowEvent, Timing},
    config::ChatSettings,
    model::{MessageStatus, ReplyErrorCode},
};

use crate::support::{QUICK, Replica, TestDatabase, eventually};

#[tokio::test]
async fn a_process_that_starts_beside_a_living_one_ends_none_of_its_replies() {
    let test = TestDatabase::create().await;
    let one = Replica::start(&test).await;
    let viewer = one.viewer("alice").await;
    let conversation = one.conversation(&viewer).await;
    let sent = one.send(&viewer, conversation, "hi").await.expect("sent");
    let writing = one.desk.next().await;
    writing.say("still ");
    let mut reader = one.follow(&viewer, sent.reply.id).await;
    reader.until("still ").await;

    let other = Replica::start(&test).await;
    // The lease of the beginning is over for certain when the database's clock says so.
    let mut connection = test.superuser().await;
    let began: String = sqlx::query_scalar("select lease_expires_at::text from chat.replies")
        .fetch_one(&mut connection)
        .await
        .expect("a lease");
    crate::support::within("the first lease is over", async {
        loop {
            let over: bool = sqlx::query_scalar(
                "select pg_sleep(0.05) is not null and clock_timestamp() > $1::timestamptz + interval '0.3 s'",
            )
            .bind(&began)
            .fetch_one(&mut connection)
            .await
            .expect("the time");
            if over {
                break;
            }
        }
    })
    .await;
    let seen = other.message(&viewer, sent.reply.id).await.expect("there");
    assert_eq!(seen.status, MessageStatus::Streaming);
    writing.say("here");
    writing.finish();
    assert_eq!(reader.finished().await.content, "still here");
}

#[tokio::test]
async fn a_run_whose_process_is_gone_ends_with_its_text_and_the_chat_goes_on() {
    let test = TestDatabase::create().await;
    let gone = Replica::start(&test).await;
    let viewer = gone.viewer("alice").await;
    let conversation = gone.conversation(&viewer).await;
    let sent = gone.send(&viewer, conversation, "hi").await.expect("sent");
    let writing = gone.desk.next().await;
    writing.say("written down");
    let mut connection = test.superuser().await;
    eventually("the text is in chunks", || async {
        let mut connection = test.superuser().await;
        let text: Option<String> =
            sqlx::query_scalar("select string_agg(text, '') from chat.reply_chunks")
                .fetch_one(&mut connection)
                .await
                .expect("chunks");
        (text.as_deref() == Some("written down")).then_some(())
    })
    .await;
    // Its process forgets it: no tick renews the lease, as after a crash. Two were lost before.
    sqlx::query(
        "update chat.replies set process_id = gen_random_uuid(), fence = fence + 1, losses = 2",
    )
    .execute(&mut connection)
    .await
    .expect("an update");
    writing.hung_up().await;

    let survivor = Replica::start(&test).await;
    let mut reader = survivor.follow(&viewer, sent.reply.id).await;
    let ended = reader.finished().await;
    assert_eq!(ended.status, MessageStatus::Failed);
    assert_eq!(ended.content, "written down");
    let error = ended.error.expect("an error");
    assert_eq!(error.code, ReplyErrorCode::Interrupted);
    survivor
        .send(&viewer, conversation, "go on")
        .await
        .expect("the conversation goes on");
}

/// Raises the fences of all runs, and nothing else: they stay this process's and within their lease.
async fn fence_off(connection: &mut sqlx::PgConnection) {
    sqlx::query("update chat.replies set fence = fence + 1")
        .execute(connection)
        .await
        .expect("an update");
}

#[tokio::test]
async fn a_process_that_was_fenced_off_cannot_end_its_reply() {
    let test = TestDatabase::create().await;
    // No tick tells it: only the final transaction itself can find out.
    let timing = Timing {
        tick: Duration::from_secs(60 * 60),
        lease: Duration::from_secs(60 * 60),
        ..QUICK
    };
    let replica = Replica::with(&test, timing, ChatSettings::default()).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let (_, mut reader, writing) = replica.begin(&viewer, conversation).await;
    writing.say("before ");
    reader.until("before ").await;
    let mut connection = test.superuser().await;
    fence_off(&mut connection).await;
    sqlx::query(
        "insert into chat.reply_chunks (user_id, message_id, attempt, \"offset\", length, text) \
         select user_id, message_id, attempt, 0, 7, 'another' from chat.replies",
    )
    .execute(&mut connection)
    .await
    .expect("the other owner's text");
    writing.say("after");
    writing.finish();
    // The loser's readers turn to what the owner has written down.
    reader.until("another").await;
    let stored: (String, String, i64, String) = sqlx::query_as(
        "select m.status, m.content, r.fence, c.text from chat.messages m \
         join chat.replies r on r.message_id = m.id join chat.reply_chunks c on c.message_id = m.id",
    )
    .fetch_one(&mut connection)
    .await
    .expect("one message, its run and its chunk");
    let expected = ("STREAMING", "", 2, "another");
    assert_eq!(
        (
            stored.0.as_str(),
            stored.1.as_str(),
            stored.2,
            stored.3.as_str()
        ),
        expected
    );
}

#[tokio::test]
async fn the_tick_of_a_process_that_was_fenced_off_hangs_up_and_writes_nothing_more() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let (_, mut reader, writing) = replica.begin(&viewer, conversation).await;
    writing.say("before ");
    eventually("the text is in chunks", || async {
        let mut connection = test.superuser().await;
        let text: Option<String> =
            sqlx::query_scalar("select string_agg(text, '') from chat.reply_chunks")
                .fetch_one(&mut connection)
                .await
                .expect("chunks");
        (text.as_deref() == Some("before ")).then_some(())
    })
    .await;
    let mut connection = test.superuser().await;
    crate::support::sql(&test, "update chat.replies set losses = 2").await;
    fence_off(&mut connection).await;
    writing.say("after");
    writing.hung_up().await;
    let later: i64 =
        sqlx::query_scalar("select count(*) from chat.reply_chunks where text like '%after%'")
            .fetch_one(&mut connection)
            .await
            .expect("a count");
    assert_eq!(later, 0);
    // Nobody renews the lease, for the third time, so the reply ends as an interrupted one.
    let ended = reader.finished().await;
    assert_eq!(ended.status, MessageStatus::Failed);
    assert_eq!(ended.content, "before ");
}

#[tokio::test]
async fn a_subscriber_elsewhere_follows_through_the_database() {
    let test = TestDatabase::create().await;
    let (writer, elsewhere) = (Replica::start(&test).await, Replica::start(&test).await);
    let viewer = writer.viewer("alice").await;
    let conversation = writer.conversation(&viewer).await;
    let sent = writer
        .send(&viewer, conversation, "hi")
        .await
        .expect("sent");
    let writing = writer.desk.next().await;
    let mut reader = elsewhere.follow(&viewer, sent.reply.id).await;
    writing.say("Grüße 🍊 ");
    reader.until("Grüße 🍊 ").await;
    writing.say("von dort");
    reader.until("Grüße 🍊 von dort").await;
    writing.finish();
    let finished = reader.finished().await;
    assert_eq!(finished.status, MessageStatus::Completed);
    assert_eq!(finished.content, "Grüße 🍊 von dort");
}

#[tokio::test]
async fn a_reply_outlives_every_connection_to_the_database() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let (_, mut reader, writing) = replica.begin(&viewer, conversation).await;
    writing.say("before ");
    reader.until("before ").await;
    let mut connection = test.superuser().await;
    sqlx::query(
        "select pg_terminate_backend(pid) from pg_stat_activity \
         where datname = current_database() and pid <> pg_backend_pid()",
    )
    .execute(&mut connection)
    .await
    .expect("terminated");
    writing.say("after");
    reader.until("before after").await;
    writing.finish();
    assert_eq!(reader.finished().await.content, "before after");
}

#[tokio::test]
async fn one_reply_whose_row_is_held_by_another_does_not_keep_the_rest_waiting() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let (held, free) = (
        replica.conversation(&viewer).await,
        replica.conversation(&viewer).await,
    );
    let held = replica.send(&viewer, held, "hi").await.expect("sent").reply;
    let held_writing = replica.desk.next().await;
    let free = replica.send(&viewer, free, "hi").await.expect("sent").reply;
    let free_writing = replica.desk.next().await;
    held_writing.say("held");
    replica.follow(&viewer, held.id).await.until("held").await;

    let mut connection = test.superuser().await;
    let mut tx = sqlx::Connection::begin(&mut connection)
        .await
        .expect("a transaction");
    sqlx::query("select from chat.replies where message_id = $1 for update")
        .bind(held.id.uuid())
        .execute(&mut *tx)
        .await
        .expect("a lock");
    free_writing.say("free");
    eventually("the free reply is written down", || async {
        let mut connection = test.superuser().await;
        let written: i64 =
            sqlx::query_scalar("select count(*) from chat.reply_chunks where message_id = $1")
                .bind(free.id.uuid())
                .fetch_one(&mut connection)
                .await
                .expect("a count");
        (written > 0).then_some(())
    })
    .await;
    tx.rollback().await.expect("the lock goes");
    held_writing.finish();
    free_writing.finish();
    for (reply, text) in [(held, "held"), (free, "free")] {
        let mut reader = replica.follow(&viewer, reply.id).await;
        let first = reader.next().await.expect("an event").expect("no error");
        assert!(matches!(first, FollowEvent::Changed(_)), "{first:?}");
        assert_eq!(reader.finished().await.content, text);
    }
}
