//! Many runs that wait, and many who look for them.

use std::{collections::HashSet, time::Duration};

use loquat::chat::{StartChat, Timing};
use sqlx::Connection;

use super::{room, runs};
use crate::support::{QUICK, Replica, TestDatabase, eventually, sql, within};

#[tokio::test]
async fn processes_that_look_at_the_same_moment_write_no_reply_twice() {
    let test = TestDatabase::create().await;
    let sender = Replica::with(&test, QUICK, room(0, 5)).await;
    for user in 0..12 {
        let viewer = sender.viewer(&format!("user {user}")).await;
        for n in 0..3 {
            let conversation = sender.conversation(&viewer).await;
            let text = format!("{user} {n}");
            sender
                .send(&viewer, conversation, &text)
                .await
                .expect("sent");
        }
    }
    assert_eq!(runs(&test).await, (36, 0));
    let begun = tokio::join!(
        Replica::with(&test, QUICK, room(20, 5)),
        Replica::with(&test, QUICK, room(20, 5)),
        Replica::with(&test, QUICK, room(20, 5)),
    );
    let replicas = [begun.0, begun.1, begun.2];
    let asked = async || {
        let mut asked = 0;
        for replica in &replicas {
            asked += replica.desk.unanswered().await;
        }
        asked
    };
    eventually("every reply is begun", || async {
        (asked().await == 36).then_some(())
    })
    .await;
    let mut questions = HashSet::new();
    for replica in &replicas {
        let mut writing = Vec::new();
        while replica.desk.unanswered().await > 0 {
            writing.push(replica.desk.next().await);
        }
        assert!(writing.len() <= 20, "{}", writing.len());
        for writing in writing {
            let question = writing.prompt.turns[0].text.clone();
            assert!(questions.insert(question), "once");
            writing.say("an answer");
            writing.finish();
        }
    }
    for replica in &replicas {
        replica.chat.drained().await;
    }
    let stored: (i64, i64) = sqlx::query_as(
        "select count(*) filter (where status = 'COMPLETED' and content = 'an answer'), \
           (select count(*) from chat.replies) from chat.messages where role = 'ASSISTANT'",
    )
    .fetch_one(&mut test.superuser().await)
    .await
    .expect("counts");
    assert_eq!(stored, (36, 0));
    assert_eq!(asked().await, 0, "one run at the provider for each");
}

#[tokio::test]
async fn a_user_whose_places_are_locked_hides_nobody_elses_runs() {
    let test = TestDatabase::create().await;
    let sender = Replica::with(&test, QUICK, room(0, 100)).await;
    let (busy, other) = (sender.viewer("busy").await, sender.viewer("other").await);
    // More than one look looks at, and older.
    for (viewer, count) in [(&busy, 30), (&other, 1)] {
        for _ in 0..count {
            let conversation = sender.conversation(viewer).await;
            let sent = sender.send(viewer, conversation, "hi").await;
            sent.expect("sent");
        }
    }
    // As whoever sends one message after another keeps them.
    let mut holder = test.superuser().await;
    sqlx::query("select pg_advisory_lock(hashtextextended($1::text, 7232405))")
        .bind(busy.user_id().uuid())
        .execute(&mut holder)
        .await
        .expect("the places are locked");
    let replica = Replica::with(&test, QUICK, room(10, 100)).await;
    replica.desk.next().await.finish();
    eventually("the other's reply is done", || async {
        (runs(&test).await == (30, 0)).then_some(())
    })
    .await;
    drop(holder);
    replica.desk.next().await;
}

const HOUR: Duration = Duration::from_secs(60 * 60);

/// A hundred users with as many unfinished replies as anybody may have.
const CROWD: &str = "\
    insert into chat.users (user_id, issuer, external_id) \
      select gen_random_uuid(), 'test', 'user ' || n from generate_series(1, 100) n; \
    insert into chat.conversations (user_id, id, created_at, updated_at, last_active_at) \
      select user_id, gen_random_uuid(), now(), now(), now() from chat.users, generate_series(1, 100); \
    insert into chat.messages (user_id, id, conversation_id, active, position, role, content, status, created_at) \
      select user_id, gen_random_uuid(), id, true, 1, 'ASSISTANT', '', 'PENDING', now() from chat.conversations; \
    insert into chat.replies (user_id, message_id, conversation_id, claims, fence, attempt, position) \
      select user_id, id, conversation_id, '{\"sub\": \"somebody\"}', 0, 0, 1 from chat.messages;";

#[tokio::test]
async fn ten_thousand_runs_that_wait_are_found_by_their_index() {
    let test = TestDatabase::create().await;
    test.open().await.close().await;
    sql(&test, CROWD).await;
    sql(
        &test,
        "analyze; select pg_stat_reset_single_table_counters('chat.replies'::regclass)",
    )
    .await;
    // Everybody comes to their cap: every look passes nearly ten thousand runs by. Nothing else
    // happens to the table meanwhile.
    let timing = Timing {
        tick: HOUR,
        lease: HOUR * 2,
        ..QUICK
    };
    let replica = Replica::with(&test, timing, room(200, 1)).await;
    let mut begun = Vec::new();
    for _ in 0..100 {
        begun.push(replica.desk.next().await);
    }
    assert_eq!(runs_by_index(&test).await, (9_900, 100));
    begun.pop().expect("one").finish();
    begun.push(replica.desk.next().await);
    assert_eq!(replica.desk.unanswered().await, 0);
    let by_index = scans(&test, "replies", 1_000).await;
    assert_eq!(by_index.1, 0, "and {} by an index", by_index.0);
}

#[tokio::test]
async fn ticks_and_ends_pass_ten_thousand_runs_that_wait_and_as_many_that_have_ended() {
    let test = TestDatabase::create().await;
    test.open().await.close().await;
    sql(&test, CROWD).await;
    // As many conversations of the same users are finished.
    sql(
        &test,
        "insert into chat.conversations (user_id, id, created_at, updated_at, last_active_at) \
           select user_id, gen_random_uuid(), now(), now(), now() from chat.conversations; \
         insert into chat.messages (user_id, id, conversation_id, active, position, role, content, status, created_at, completed_at) \
           select user_id, gen_random_uuid(), id, true, 1, 'ASSISTANT', 'done', 'COMPLETED', now(), now() \
           from chat.conversations c where not exists (select from chat.replies r where r.conversation_id = c.id); \
         update chat.conversations set path_length = 2",
    )
    .await;
    sql(&test, "analyze; select pg_stat_reset()").await;
    let timing = Timing {
        lease: HOUR * 2,
        ..QUICK
    };
    let replica = Replica::with(&test, timing, room(20, 1)).await;
    let mut begun = Vec::new();
    for _ in 0..20 {
        begun.push(replica.desk.next().await);
    }
    for round in 1..=30 {
        for writing in &begun {
            writing.say("a word, ");
        }
        eventually("all of it is written down", || async {
            let chunks: i64 = sqlx::query_scalar("select count(*) from chat.reply_chunks")
                .fetch_one(&mut test.superuser().await)
                .await
                .expect("a count");
            (chunks == 20 * round).then_some(())
        })
        .await;
    }
    for _ in 0..10 {
        begun.pop().expect("one").finish();
        begun.insert(0, replica.desk.next().await);
    }
    replica.lifecycle.begin_hard_stop();
    within("the runs are let go", replica.lifecycle.finished()).await;
    for table in ["replies", "messages", "conversations"] {
        let (by_index, by_table) = scans(&test, table, 10).await;
        assert_eq!(by_table, 0, "{table}, and {by_index} by an index");
    }
}

#[tokio::test]
async fn a_user_whose_places_somebody_holds_is_looked_at_twice_and_then_when_it_is_due() {
    let test = TestDatabase::create().await;
    let sender = Replica::with(&test, QUICK, room(0, 5)).await;
    let viewer = sender.viewer("alice").await;
    let conversation = sender.conversation(&viewer).await;
    sender
        .send(&viewer, conversation, "hi")
        .await
        .expect("sent");
    sender.lifecycle.begin_hard_stop();
    within("it stops", sender.lifecycle.finished()).await;
    let mut holder = test.superuser().await;
    sqlx::query(
        "select pg_advisory_lock(hashtextextended(user_id::text, 7232405)) from chat.users",
    )
    .execute(&mut holder)
    .await
    .expect("a lock");
    sql(
        &test,
        "create sequence looks; grant usage on sequence looks to public; \
         create policy counted on chat.replies as restrictive for select to loquat_system \
           using (nextval('looks') > 0)",
    )
    .await;
    let timing = Timing {
        recovery: HOUR,
        tick: HOUR,
        ..QUICK
    };
    let replica = Replica::with(&test, timing, room(5, 5)).await;
    let looks = async || {
        let looks: i64 = sqlx::query_scalar("select last_value from looks")
            .fetch_one(&mut test.superuser().await)
            .await
            .expect("a count");
        looks
    };
    eventually("it has looked", || async {
        (looks().await > 1).then_some(())
    })
    .await;
    // Time for fifty looks, each of which sees the row once or more often.
    sqlx::query("select pg_sleep(1)")
        .execute(&mut holder)
        .await
        .expect("a second");
    let seen = looks().await;
    assert!(seen <= 10, "{seen}");
    assert_eq!(replica.desk.unanswered().await, 0);
}

/// How often a table was read by an index, at least so often, and as a whole; the connections tell
/// it now and then.
async fn scans(test: &TestDatabase, table: &str, least: i64) -> (i64, i64) {
    eventually("the scans are counted", || async {
        let scans: (i64, i64) = sqlx::query_as(
            "select coalesce(idx_scan, 0), seq_scan from pg_stat_user_tables \
             where relid = format('chat.%I', $1)::regclass",
        )
        .bind(table)
        .fetch_one(&mut test.superuser().await)
        .await
        .expect("the statistics");
        (scans.0 > least).then_some(scans)
    })
    .await
}

/// What [`runs`] tells, without reading the table.
async fn runs_by_index(test: &TestDatabase) -> (i64, i64) {
    let mut connection = test.superuser().await;
    sqlx::raw_sql("set enable_seqscan = off")
        .execute(&mut connection)
        .await
        .expect("a setting");
    sqlx::query_as(
        "select (select count(*) from chat.replies where process_id is null), \
           (select count(*) from chat.replies where lease_expires_at is not null)",
    )
    .fetch_one(&mut connection)
    .await
    .expect("counts")
}

#[tokio::test]
async fn a_chat_that_starts_and_a_message_elsewhere_never_wait_for_each_other() {
    let test = TestDatabase::create().await;
    let (starter, sender) = (Replica::start(&test).await, Replica::start(&test).await);
    let viewer = sender.viewer("alice").await;
    let conversation = sender.conversation(&viewer).await;
    // Whoever comes first to what both of them need stands first in the row when it is free.
    let mut holder = test.superuser().await;
    let mut list = holder.begin().await.expect("a transaction");
    sqlx::query("select from chat.list_revisions for update")
        .execute(&mut *list)
        .await
        .expect("the list is locked");
    let first = StartChat {
        message: Some("new".to_owned()),
        ..StartChat::default()
    };
    let meanwhile = async {
        waiting(&test, 1).await;
        let sent = sender.send(&viewer, conversation, "old");
        let free = async {
            waiting(&test, 2).await;
            list.commit().await.expect("a commit");
        };
        tokio::join!(sent, free).0
    };
    let (started, sent) = tokio::join!(starter.chat.start_chat(&viewer, first), meanwhile);
    started.expect("a chat starts");
    sent.expect("sent");
}

/// Until so many statements wait for a lock.
async fn waiting(test: &TestDatabase, count: i64) {
    eventually("statements wait", || async {
        let waiting: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity \
             where datname = current_database() and wait_event_type = 'Lock'",
        )
        .fetch_one(&mut test.superuser().await)
        .await
        .expect("activity");
        (waiting == count).then_some(())
    })
    .await;
}
