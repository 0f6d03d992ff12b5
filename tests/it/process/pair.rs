//! Two processes on one database.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use serde_json::Value;

use crate::{
    provider::{FakeProvider, Gate, Script},
    support::{
        TestDatabase,
        process::{Device, program, written_down},
        program::Server,
    },
};

async fn pair(test: &TestDatabase, model: &FakeProvider) -> [Server; 2] {
    // At the same time: both find an empty database, and each must come up.
    tokio::join!(program(test, model).serve(), program(test, model).serve()).into()
}

#[tokio::test]
async fn a_subscriber_elsewhere_has_the_exact_text() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    let gate = Gate::default();
    let pieces: Vec<String> = (0..200).map(|n| format!("{n} 🍊é\n")).collect();
    let (first, second) = pieces.split_at(80);
    let script = Script::stream()
        .texts(first.iter().map(String::as_str))
        .wait(&gate);
    let script = script.texts(second.iter().map(String::as_str)).complete();
    model.script(script);
    let [here, elsewhere] = pair(&test, &model).await;
    let writer = Device::of(&here, "ann");
    let conversation = writer.start_chat().await;
    let reply = writer.send(&conversation, "count").await;
    let reader = Device::of(&elsewhere, "ann");

    let mut early = reader.follow(&reply).await;
    early.until(&first.concat()).await;
    let late = reader.follow(&reply).await;
    gate.open();

    for mut follower in [early, late] {
        let finished = follower.finished().await;
        assert_eq!(finished["status"], "COMPLETED");
        assert_eq!(finished["content"], pieces.concat());
    }
}

#[tokio::test]
async fn a_subscriber_elsewhere_learns_that_its_server_took_the_reply_of_a_crashed_one_over() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    model.script(Script::stream().text("as far as this").stall());
    let [here, elsewhere] = pair(&test, &model).await;
    let writer = Device::of(&here, "ann");
    let conversation = writer.start_chat().await;
    let reply = writer.send(&conversation, "hi").await;
    let reader = Device::of(&elsewhere, "ann");
    let mut follower = reader.follow(&reply).await;
    written_down(&test, "as far as this").await;

    follower.until("as far as this").await;
    model.reply_with(["as ", "far as that"]);
    here.crash().await;
    let crashed = Instant::now();
    let finished = follower.finished().await;

    let took = crashed.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(finished["status"], "COMPLETED");
    assert_eq!(finished["content"], "as far as that");
    assert_eq!(model.requests().len(), 2, "one for each attempt");
    reader.send(&conversation, "go on").await;
}

#[tokio::test]
async fn fifty_parallel_retries_of_one_send_make_one_message_and_one_reply() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    let gate = Gate::default();
    model.by_default(Script::stream().text("once").wait(&gate).complete());
    let servers = pair(&test, &model).await;
    // A device has connections of its own: five of them, on either process.
    let devices: Vec<Device> = (0..10)
        .map(|n| Device::of(&servers[n % 2], "ann"))
        .collect();
    let conversation = devices[0].start_chat().await;

    let retry = |n: usize| devices[n % 10].try_send(&conversation, "hi", Some("the key"));
    let answers = join_all((0..50).map(retry)).await;

    let made: HashSet<String> = answers
        .iter()
        .map(|answer| {
            assert_eq!(answer.body.get("errors"), None, "{answer:?}");
            answer.body["data"]["sendMessage"].to_string()
        })
        .collect();
    assert_eq!(made.len(), 1, "{made:?}");
    gate.open();
    let made: Value = serde_json::from_str(made.iter().next().expect("one")).expect("JSON");
    let reply = made["reply"]["id"].as_str().expect("an id");
    let finished = devices[1].follow(reply).await.finished().await;
    assert_eq!(finished["content"], "once");
    assert_eq!(model.requests().len(), 1);
    let stored: i64 = sqlx::query_scalar("select count(*) from chat.messages")
        .fetch_one(&mut test.superuser().await)
        .await
        .expect("a count");
    assert_eq!(stored, 2);
    // Long after, and with another text.
    let again = devices[0]
        .try_send(&conversation, "hi", Some("the key"))
        .await;
    assert_eq!(again.body["data"]["sendMessage"], made);
    let other = devices[1]
        .try_send(&conversation, "ho", Some("the key"))
        .await;
    assert_eq!(other.code(), "CONFLICT");
    assert_eq!(
        other.error()["extensions"]["reason"],
        "IDEMPOTENCY_KEY_REUSED"
    );
}

#[tokio::test]
async fn of_twenty_parallel_different_sends_one_is_made() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    let gate = Gate::default();
    model.by_default(Script::stream().text("one").wait(&gate).complete());
    let servers = pair(&test, &model).await;
    let devices: Vec<Device> = (0..10)
        .map(|n| Device::of(&servers[n % 2], "ann"))
        .collect();
    let conversation = devices[0].start_chat().await;

    let texts: Vec<String> = (0..20).map(|n| format!("number {n}")).collect();
    let send = |n: usize| devices[n % 10].try_send(&conversation, &texts[n], None);
    let answers = join_all((0..20).map(send)).await;

    let (made, refused): (Vec<_>, Vec<_>) = answers
        .iter()
        .partition(|answer| answer.body.get("errors").is_none());
    assert_eq!((made.len(), refused.len()), (1, 19));
    let reply = &made[0].body["data"]["sendMessage"]["reply"]["id"];
    for answer in refused {
        assert_eq!(answer.code(), "CONFLICT");
        let extensions = &answer.error()["extensions"];
        assert_eq!(extensions["reason"], "REPLY_IN_PROGRESS");
        assert_eq!(extensions["messageId"], *reply);
    }
    gate.open();
    let reply = reply.as_str().expect("an id");
    devices[1].follow(reply).await.finished().await;
    assert_eq!(model.requests().len(), 1);
}
