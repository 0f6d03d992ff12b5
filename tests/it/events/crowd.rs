//! Many followers in one process.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, future::join_all};
use loquat::{
    chat::{ConversationEvent, Timing},
    config::ChatSettings,
    db::ConversationChanges,
};

use super::Overview;
use crate::support::{Replica, TestDatabase, eventually, sql, within};

const CROWD: usize = 1000;

/// Of several users, for one has few transactions at once.
const USERS: usize = 10;

/// How often the check is made in this test.
const PACE: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_thousand_followers_of_different_conversations_cost_one_question_at_a_time() {
    let test = TestDatabase::create().await;
    let timing = Timing {
        progress: PACE,
        ..Timing::default()
    };
    let replica = Replica::with(&test, timing, ChatSettings::default()).await;
    let chat = &replica.chat;
    let followers = join_all((0..USERS).map(|user| {
        let replica = &replica;
        async move {
            let viewer = replica.viewer(&format!("user {user}")).await;
            let mut followers = Vec::new();
            for _ in 0..CROWD / USERS {
                let id = replica.conversation(&viewer).await;
                let events = chat.follow_conversation(&viewer, id).await;
                let mut events = events.expect("a stream");
                let first = within("a snapshot", events.next()).await;
                assert!(matches!(first, Some(Ok(ConversationEvent::Snapshot(_)))));
                // It goes on to wait.
                let next = tokio::spawn(async move { events.next().await });
                followers.push((viewer.clone(), id, next));
            }
            followers
        }
    }))
    .await;
    let mut followers: Vec<_> = followers.into_iter().flatten().collect();
    assert_eq!(followers.len(), CROWD);
    let mut list = Overview::open(&replica, &followers[0].0);
    list.until_right().await;

    // The one list that is followed is asked for once in each question.
    let policies = format!(
        "create sequence checks; grant usage on sequence checks to public; \
         create policy counted on chat.list_revisions as restrictive for select to loquat_system \
           using (case when user_id = '{}' then nextval('checks') > 0 else true end); \
         create sequence reads; grant usage on sequence reads to public; \
         create policy counted on chat.conversations as restrictive for select to loquat_viewer \
           using (nextval('reads') > 0)",
        followers[0].0.user_id()
    );
    sql(&test, &policies).await;
    eventually("nobody is woken for nothing", || async {
        let (began, (checks, reads)) = (Instant::now(), counts(&test).await);
        let asked = eventually("five questions are asked", || async {
            let (now, _) = counts(&test).await;
            (now >= checks + 5).then_some(now - checks)
        })
        .await;
        // Twice as many as there should be: one that was held up comes close before the next.
        let most = 2 * (began.elapsed().as_millis() / PACE.as_millis() + 1);
        assert!(asked.unsigned_abs() <= most as u64, "{asked} in {most}");
        (counts(&test).await.1 == reads).then_some(())
    })
    .await;

    // And each still hears what is its own.
    sql(&test, "drop policy counted on chat.conversations").await;
    for (viewer, id, next) in followers.drain(..3) {
        let changes = ConversationChanges {
            pinned: Some(true),
            ..ConversationChanges::default()
        };
        let changed = chat.update_conversation(&viewer, id, changes).await;
        changed.expect("changed");
        let event = within("an event", next).await.expect("no panic");
        assert!(
            matches!(event, Some(Ok(ConversationEvent::Changed(_)))),
            "{event:?}"
        );
    }
    for (_, _, next) in followers {
        assert!(!next.is_finished());
        next.abort();
    }
}

async fn counts(test: &TestDatabase) -> (i64, i64) {
    sqlx::query_as("select checks.last_value, reads.last_value from checks, reads")
        .fetch_one(&mut test.superuser().await)
        .await
        .expect("counts")
}
