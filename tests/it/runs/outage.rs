//! PostgreSQL is gone for a while.

use std::time::Duration;

use loquat::{chat::Timing, config::ChatSettings, model::MessageStatus};
use serde_json::json;

use super::{attempt, runs};
use crate::support::{Api, Cable, QUICK, Replica, TestDatabase, sql};

async fn behind(cable: &Cable, test: &TestDatabase, lease: Duration) -> Replica {
    let timing = Timing { lease, ..QUICK };
    let through = test.through(cable.url.clone());
    Replica::with(&through, timing, ChatSettings::default()).await
}

#[tokio::test]
async fn a_reply_outlasts_a_silence_that_is_shorter_than_its_lease() {
    let test = TestDatabase::create().await;
    let cable = Cable::to(&test.url).await;
    let replica = behind(&cable, &test, Duration::from_secs(30)).await;
    let elsewhere = Replica::start(&test).await;
    elsewhere.lifecycle.begin_soft_stop();
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let sent = replica
        .send(&viewer, conversation, "hi")
        .await
        .expect("sent");
    let mut near = replica.follow(&viewer, sent.reply.id).await;
    let mut far = elsewhere.follow(&viewer, sent.reply.id).await;
    let writing = replica.desk.next().await;
    writing.say("before, ");
    near.until("before, ").await;
    far.until("before, ").await;

    cable.stall();
    writing.say("meanwhile 🍊");
    near.until("before, meanwhile 🍊").await;
    // PostgreSQL ends what stood still for four seconds, and nobody here hears of it yet.
    sql(&test, "select pg_sleep(5)").await;
    writing.say(" and after");
    writing.finish();
    near.until("before, meanwhile 🍊 and after").await;
    assert_eq!(attempt(&test).await, (1, 0));

    cable.mend();
    for mut reader in [near, far] {
        let finished = reader.finished().await;
        assert_eq!(finished.status, MessageStatus::Completed);
        assert_eq!(finished.content, "before, meanwhile 🍊 and after");
    }
    assert_eq!(runs(&test).await, (0, 0));
    assert_eq!(replica.desk.unanswered().await, 0, "asked once");
}

#[tokio::test]
async fn a_reply_outlasts_an_outage_that_is_shorter_than_its_lease() {
    let test = TestDatabase::create().await;
    let cable = Cable::to(&test.url).await;
    let replica = behind(&cable, &test, Duration::from_secs(60 * 60)).await;
    let elsewhere = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let idle = replica.conversation(&viewer).await;
    let sent = replica
        .send(&viewer, conversation, "hi")
        .await
        .expect("sent");
    let mut near = replica.follow(&viewer, sent.reply.id).await;
    let mut far = elsewhere.follow(&viewer, sent.reply.id).await;
    let writing = replica.desk.next().await;
    writing.say("before, ");
    near.until("before, ").await;
    far.until("before, ").await;

    let api = Api::of(&replica);
    let shown = api
        .data(
            &viewer,
            "{ viewer { conversations { nodes { id activeReply { id } } } } }",
            json!({}),
        )
        .await;
    let nodes = shown["viewer"]["conversations"]["nodes"].as_array();
    let (busy, free): (Vec<_>, Vec<_>) = nodes
        .expect("two")
        .iter()
        .partition(|node| node["activeReply"].is_object());

    cable.cut();
    writing.say("meanwhile ");
    near.until("before, meanwhile ").await;
    for (document, id) in [
        (
            "mutation($id: ID!) { sendMessage(input: { conversationId: $id, content: \"hi\" }) \
               { reply { id } } }",
            &free[0]["id"],
        ),
        (
            "mutation($id: ID!) { stopReply(input: { messageId: $id }) { reply { id } } }",
            &busy[0]["activeReply"]["id"],
        ),
    ] {
        let refusal = api.refusal(&viewer, document, json!({ "id": id })).await;
        assert_eq!(refusal["code"], "UNAVAILABLE", "{refusal}");
        assert!(refusal["retryAfter"].as_u64().is_some_and(|s| s > 0));
    }
    writing.say("and after 🍊");
    writing.finish();
    near.until("before, meanwhile and after 🍊").await;
    assert_eq!(attempt(&test).await, (1, 0));

    cable.mend();
    for mut reader in [near, far] {
        let finished = reader.finished().await;
        assert_eq!(finished.status, MessageStatus::Completed);
        assert_eq!(finished.content, "before, meanwhile and after 🍊");
    }
    assert_eq!(runs(&test).await, (0, 0));
    assert_eq!(replica.desk.unanswered().await, 0, "asked once");
    replica.send(&viewer, idle, "again").await.expect("sent");
}

#[tokio::test]
async fn a_reply_is_begun_anew_after_an_outage_that_is_longer_than_its_lease() {
    // Every connection breaks, or says nothing any more.
    for fault in [Cable::cut, Cable::stall] {
        begins_anew_after(fault).await;
    }
}

async fn begins_anew_after(fault: fn(&Cable)) {
    let test = TestDatabase::create().await;
    let cable = Cable::to(&test.url).await;
    // A lease that a busy machine does not lose by itself.
    let replica = behind(&cable, &test, Duration::from_secs(4)).await;
    let elsewhere = Replica::start(&test).await;
    elsewhere.lifecycle.begin_soft_stop();
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let sent = replica
        .send(&viewer, conversation, "hi")
        .await
        .expect("sent");
    let mut near = replica.follow(&viewer, sent.reply.id).await;
    let mut far = elsewhere.follow(&viewer, sent.reply.id).await;
    let writing = replica.desk.next().await;
    writing.say("before");
    near.until("before").await;
    far.until("before").await;

    fault(&cable);
    writing.say(", and never stored");
    // It cannot know whether somebody else has taken the reply over.
    writing.hung_up().await;
    cable.mend();

    let anew = replica.desk.next().await;
    // One more where a claim was made whose commit nobody heard of: its lease has to run out.
    let (attempts, losses) = attempt(&test).await;
    assert!((1..=2).contains(&losses), "{losses}");
    assert_eq!(attempts, losses + 1);
    anew.say("all of ");
    near.until("all of ").await;
    far.until("all of ").await;
    anew.say("it");
    anew.finish();
    for mut reader in [near, far] {
        assert_eq!(reader.finished().await.content, "all of it");
    }
    assert_eq!(runs(&test).await, (0, 0));
}
