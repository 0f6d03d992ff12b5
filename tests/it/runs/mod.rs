//! Which process carries out which run, and when: room, order, takeovers, hand-overs, outages.

mod caps;
mod claims;
mod outage;
mod pause;
mod takeover;

use loquat::{
    chat::{BusyPolicy, Sent},
    config::{ChatSettings, RunSettings},
    db::Viewer,
    model::ConversationId,
};

use crate::support::{Replica, TestDatabase, eventually, sql};

/// So many replies at once, in a process and for a user.
fn room(most: u32, most_per_user: u32) -> ChatSettings {
    ChatSettings {
        runs: RunSettings {
            most,
            most_per_user,
        },
        ..ChatSettings::default()
    }
}

/// The process of every run is gone, and its lease is over.
async fn crash(test: &TestDatabase) {
    sql(
        test,
        "update chat.replies set process_id = gen_random_uuid(), fence = fence + 1, \
           lease_expires_at = now() - interval '1 second' where process_id is not null",
    )
    .await;
}

/// Waits until this is what stands in chunks of this attempt.
async fn written_down(test: &TestDatabase, attempt: i32, text: &str) {
    eventually("the text is written down", || async {
        let written: Option<String> = sqlx::query_scalar(
            "select string_agg(text, '' order by \"offset\") from chat.reply_chunks where attempt = $1",
        )
        .bind(attempt)
        .fetch_one(&mut test.superuser().await)
        .await
        .expect("chunks");
        (written.as_deref() == Some(text)).then_some(())
    })
    .await;
}

/// Runs that wait, and those that are held.
async fn runs(test: &TestDatabase) -> (i64, i64) {
    sqlx::query_as(
        "select count(*) filter (where process_id is null), count(process_id) from chat.replies",
    )
    .fetch_one(&mut test.superuser().await)
    .await
    .expect("counts")
}

/// The attempt and the losses of the one run.
async fn attempt(test: &TestDatabase) -> (i32, i32) {
    sqlx::query_as("select attempt, losses from chat.replies")
        .fetch_one(&mut test.superuser().await)
        .await
        .expect("one run")
}

async fn enqueue(
    replica: &Replica,
    viewer: &Viewer,
    conversation_id: ConversationId,
    content: &str,
) -> Sent {
    let sent = replica
        .send_when_busy(viewer, conversation_id, content, BusyPolicy::Enqueue, None)
        .await;
    sent.expect("sent")
}
