//! What replies have cost: counted once each, whatever becomes of them, and shown to whom it
//! concerns.

use chrono::{DateTime, Duration, Utc};
use loquat::{
    chat::BusyPolicy,
    db::Viewer,
    model::{MessageId, ReplyErrorCode},
};
use serde_json::{Value, json};

use crate::support::{Api, Replica, TestDatabase, eventually, sql, within};

async fn usage(api: &Api<'_>, viewer: &Viewer, range: Value) -> Value {
    let data = api
        .data(
            viewer,
            "query($since: DateTime, $until: DateTime) { viewer { usage(since: $since, until: $until) { \
               replies promptTokens completionTokens totalTokens } } }",
            range,
        )
        .await;
    data["viewer"]["usage"].clone()
}

fn used(replies: i64, prompt: i64, completion: i64, total: i64) -> Value {
    json!({
        "replies": replies, "promptTokens": prompt, "completionTokens": completion,
        "totalTokens": total,
    })
}

/// An admin, who is in `viewer` and in `admin`.
#[tokio::test]
async fn every_reply_that_reached_the_provider_is_counted_however_it_ended() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let api = Api::of(&replica);
    let (alice, bob) = (replica.viewer("alice").await, replica.viewer("bob").await);
    assert_eq!(usage(&api, &alice, json!({})).await, used(0, 0, 0, 0));

    let conversation = replica.conversation(&alice).await;
    let finished = |message: MessageId| {
        let replica = &replica;
        let alice = &alice;
        async move { replica.follow(alice, message).await.finished().await }
    };
    let ask = || async {
        let sent = replica.send(&alice, conversation, "hi").await;
        let id = sent.expect("sent").reply.id;
        (id, replica.desk.next().await)
    };
    let (id, writing) = ask().await;
    assert_eq!(
        usage(&api, &alice, json!({})).await,
        used(0, 0, 0, 0),
        "not before its end"
    );
    writing.finish();
    finished(id).await;
    assert_eq!(usage(&api, &alice, json!({})).await, used(1, 3, 4, 7));
    let (id, writing) = ask().await;
    writing.cut_at_its_limit();
    finished(id).await;
    let (id, writing) = ask().await;
    writing.say("half");
    writing.fail(ReplyErrorCode::ProviderTimeout, "too slow");
    finished(id).await;
    assert_eq!(usage(&api, &alice, json!({})).await, used(3, 15, 5, 20));

    // One that three processes were lost with counts too, and is ended here.
    let (id, _writing) = ask().await;
    sql(
        &test,
        "update chat.replies set lease_expires_at = now() - interval '1 second', fence = fence + 1, \
           losses = 2",
    )
    .await;
    within("the reply is ended", async {
        while replica
            .message(&alice, id)
            .await
            .is_none_or(|message| message.completed_at.is_none())
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(usage(&api, &alice, json!({})).await, used(4, 15, 5, 20));

    // What was paid stays paid.
    replica
        .chat
        .delete_conversation(&alice, conversation)
        .await
        .expect("deleted");
    assert_eq!(usage(&api, &alice, json!({})).await, used(4, 15, 5, 20));
    assert_eq!(usage(&api, &bob, json!({})).await, used(0, 0, 0, 0));
}

#[tokio::test]
async fn a_reply_that_is_deleted_while_it_is_written_is_counted_once() {
    let test = TestDatabase::create().await;
    // The other hears of it with its next tick.
    let (writer, other) = (Replica::start(&test).await, Replica::start(&test).await);
    let api = Api::of(&writer);
    let alice = writer.viewer("alice").await;
    let mut replies = 0;
    for (deleter, is_reset) in [
        (&writer, true),
        (&other, true),
        (&writer, false),
        (&other, false),
    ] {
        let conversation = writer.conversation(&alice).await;
        let sent = writer.send(&alice, conversation, "hi").await.expect("sent");
        let writing = writer.desk.next().await;
        let mut reader = writer.follow(&alice, sent.reply.id).await;
        writing.say("nearly all of it");
        reader.until("nearly all of it").await;
        // One that nobody was asked for costs nothing.
        let waiting =
            writer.send_when_busy(&alice, conversation, "more", BusyPolicy::Enqueue, None);
        waiting.await.expect("sent");
        if is_reset {
            let reset = deleter.chat.reset_conversation(&alice, conversation).await;
            reset.expect("reset");
        } else {
            let deleted = deleter.chat.delete_conversation(&alice, conversation);
            deleted.await.expect("deleted");
        }
        writing.hung_up().await;
        replies += 1;
        let counted = eventually("it is counted", || async {
            let used = usage(&api, &alice, json!({})).await;
            (used["replies"] == replies).then_some(used)
        })
        .await;
        let prompt = counted["promptTokens"].as_i64().expect("a number");
        let completion = counted["completionTokens"].as_i64().expect("a number");
        assert!(prompt >= replies && completion >= replies, "{counted}");
        assert_eq!(
            counted,
            used(replies, prompt, completion, prompt + completion)
        );
    }
}

/// Two replies of this user a minute apart, dear enough to overflow an Int.
async fn two_dear_replies(test: &TestDatabase, viewer: &Viewer) -> [DateTime<Utc>; 2] {
    let later = DateTime::parse_from_rfc3339("2026-03-01T12:00:00.250Z")
        .expect("a time")
        .to_utc();
    let times = [later - Duration::minutes(1), later];
    for time in times {
        sqlx::query(
            "insert into chat.usage (user_id, id, occurred_at, prompt_tokens, completion_tokens, total_tokens) \
             values ($1, $2, $3, 2000000000, 1, 2000000001)",
        )
        .bind(viewer.user_id().uuid())
        .bind(MessageId::new().uuid())
        .bind(time)
        .execute(&mut test.superuser().await)
        .await
        .expect("usage");
    }
    times
}

#[tokio::test]
async fn a_range_holds_its_beginning_and_not_its_end() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let api = Api::of(&replica);
    let (alice, root) = (replica.viewer("alice").await, replica.admin("root").await);
    let [first, second] = two_dear_replies(&test, &alice).await;
    let both = used(2, 4_000_000_000, 2, 4_000_000_002);
    let one = used(1, 2_000_000_000, 1, 2_000_000_001);
    let none = used(0, 0, 0, 0);
    let millisecond = Duration::milliseconds(1);
    let everywhere = "query($since: DateTime, $until: DateTime) { admin { \
        users { nodes { externalId usage(since: $since, until: $until) { ...all } } } \
        usage(since: $since, until: $until) { ...all } } } \
        fragment all on Usage { replies promptTokens completionTokens totalTokens }";
    for (since, until, expected) in [
        (None, None, &both),
        (Some(first), None, &both),
        (Some(first + millisecond), None, &one),
        (None, Some(second), &one),
        (None, Some(second + millisecond), &both),
        (Some(first), Some(second), &one),
        (Some(second), Some(second), &none),
        (Some(second + millisecond), None, &none),
    ] {
        let range = json!({ "since": since, "until": until });
        assert_eq!(
            usage(&api, &alice, range.clone()).await,
            *expected,
            "{range}"
        );
        let data = api.data(&root, everywhere, range.clone()).await;
        assert_eq!(data["admin"]["usage"], *expected, "{range}");
        assert_eq!(
            data["admin"]["users"]["nodes"],
            json!([
                { "externalId": "root", "usage": none },
                { "externalId": "alice", "usage": expected },
            ]),
            "{range}"
        );
    }
    for document in [
        "{ viewer { usage(since: \"2026-03-02T00:00:00Z\", until: \"2026-03-01T00:00:00Z\") { replies } } }",
        "{ admin { usage(since: \"2026-03-02T00:00:00Z\", until: \"2026-03-01T00:00:00Z\") { replies } } }",
        "{ admin { users(first: 1) { nodes { usage(since: \"2026-03-02T00:00:00Z\", until: \"2026-03-01T00:00:00Z\") { replies } } } } }",
    ] {
        let refused = api.refusal(&root, document, json!({})).await;
        assert_eq!(
            refused,
            json!({ "code": "BAD_USER_INPUT", "argument": "until" })
        );
    }
}

#[tokio::test]
async fn users_of_one_list_share_the_query_for_their_usage() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let api = Api::of(&replica);
    let root = replica.admin("root").await;
    for number in 0..30 {
        let user = replica.viewer(&format!("user {number}")).await;
        two_dear_replies(&test, &user).await;
    }
    // Counts the statements that an admin reads usage by.
    sql(
        &test,
        "create sequence chat.statements; grant usage on sequence chat.statements to loquat_admin; \
         create policy counted on chat.usage as restrictive to loquat_admin \
           using ((select nextval('chat.statements')) > 0)",
    )
    .await;
    let data = api
        .data(
            &root,
            "{ admin { users(first: 100) { nodes { usage { replies } } edges { node { usage { replies } } } } } }",
            json!({}),
        )
        .await;
    let nodes = data["admin"]["users"]["nodes"].as_array().expect("users");
    assert_eq!(nodes.len(), 31);
    assert_eq!(nodes[0]["usage"]["replies"], 2);
    let statements: i64 = sqlx::query_scalar("select last_value from chat.statements")
        .fetch_one(&mut test.superuser().await)
        .await
        .expect("a number");
    assert_eq!(statements, 1);
}
