//! `kill -9` in the middle of a reply.

use std::time::{Duration, Instant};

use crate::{
    provider::{FakeProvider, Gate, Script},
    support::{
        TestDatabase, eventually,
        process::{Device, program, written_down},
        sql,
    },
};

/// The promise: how long after a crash its replies may look alive.
const RECOVERY: Duration = Duration::from_secs(10);

/// As if two processes had been lost over every reply before.
const LOST_TWICE: &str = "update chat.replies set losses = 2";

#[tokio::test]
async fn a_reply_that_is_cut_by_a_crash_is_begun_anew_and_the_chat_goes_on() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    model.script(Script::stream().text("Grüße, zwei 🍊").stall());
    let server = program(&test, &model).serve().await;
    let device = Device::of(&server, "ann");
    let conversation = device.start_chat().await;
    let reply = device.send(&conversation, "hi").await;
    written_down(&test, "Grüße, zwei 🍊").await;

    let gate = Gate::default();
    let anew = Script::stream().text("Noch ").wait(&gate).text("einmal 🍊");
    model.script(anew.complete());
    server.crash().await;
    let crashed = Instant::now();
    let server = program(&test, &model).serve().await;
    let device = Device::of(&server, "ann");
    let mut follower = device.follow(&reply).await;
    follower.until("Noch ").await;
    assert!(crashed.elapsed() < RECOVERY, "{:?}", crashed.elapsed());
    gate.open();
    let finished = follower.finished().await;

    assert_eq!(finished["status"], "COMPLETED");
    assert_eq!(finished["content"], "Noch einmal 🍊");
    assert_eq!(model.requests().len(), 2, "one for each attempt");

    model.reply_with(["and ", "on"]);
    let next = device.send(&conversation, "go on").await;
    let finished = device.follow(&next).await.finished().await;
    assert_eq!(finished["content"], "and on");
    let asked = model.requests();
    let prompt = asked.last().expect("asked").messages();
    assert_eq!(
        prompt,
        [
            ("user", "hi"),
            ("assistant", "Noch einmal 🍊"),
            ("user", "go on")
        ]
    );
}

#[tokio::test]
async fn what_was_not_yet_written_down_is_all_that_the_last_crash_loses() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    let gate = Gate::default();
    model.script(
        Script::stream()
            .text("kept")
            .wait(&gate)
            .text(" or lost")
            .stall(),
    );
    let server = program(&test, &model).serve().await;
    let device = Device::of(&server, "ann");
    let conversation = device.start_chat().await;
    let reply = device.send(&conversation, "hi").await;
    written_down(&test, "kept").await;
    let mut follower = device.follow(&reply).await;
    gate.open();
    follower.until("kept or lost").await;

    sql(&test, LOST_TWICE).await;
    server.crash().await;
    let server = program(&test, &model).serve().await;
    let device = Device::of(&server, "ann");
    let finished = device.follow(&reply).await.finished().await;

    assert_eq!(finished["status"], "FAILED");
    assert_eq!(finished["error"]["code"], "INTERRUPTED");
    let content = finished["content"].as_str().expect("text");
    assert!(["kept", "kept or lost"].contains(&content), "{content}");
    let stored = device.message(&reply).await;
    assert_eq!(stored["content"], content);
    assert_eq!(stored["error"]["retryable"], true);
    assert!(stored["completedAt"].is_string(), "{stored}");
    assert_eq!(model.requests().len(), 1);
}

#[tokio::test]
async fn a_reply_that_had_no_word_yet_is_ended_or_begun_anew_with_nobody_watching() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    model.by_default(Script::stream().held_at(&Gate::default()));
    let server = program(&test, &model).serve().await;
    let device = Device::of(&server, "ann");
    let [ending, going_on] = [device.start_chat().await, device.start_chat().await];
    let ending = (device.send(&ending, "hi").await, ending);
    model.asked(1).await;
    sql(&test, LOST_TWICE).await;
    let reply = device.send(&going_on, "hi").await;
    model.asked(2).await;

    server.crash().await;
    let crashed = Instant::now();
    model.reply_with(["at last"]);
    let server = program(&test, &model).serve().await;
    let device = Device::of(&server, "ann");
    let busy = device.try_send(&ending.1, "too early", None).await;
    assert_eq!(busy.code(), "CONFLICT");
    assert_eq!(busy.error()["extensions"]["messageId"], ending.0.as_str());
    let done = async |reply: &str| {
        eventually("the reply is done", || async {
            let message = device.message(reply).await;
            message["completedAt"].is_string().then_some(message)
        })
        .await
    };
    let ended = done(&ending.0).await;
    let begun_anew = done(&reply).await;

    assert!(crashed.elapsed() < RECOVERY, "{:?}", crashed.elapsed());
    assert_eq!(ended["error"]["code"], "INTERRUPTED");
    assert_eq!(ended["content"], "");
    assert_eq!(begun_anew["status"], "COMPLETED");
    assert_eq!(begun_anew["content"], "at last");
    device.send(&ending.1, "go on").await;
}
