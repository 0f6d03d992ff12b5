//! `kill -9` in the middle of a reply.

use std::time::{Duration, Instant};

use crate::{
    provider::{FakeProvider, Gate, Script},
    support::{
        TestDatabase, eventually,
        process::{Device, program, written_down},
    },
};

/// The promise: how long after a crash its replies may look alive.
const RECOVERY: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_reply_that_is_cut_by_a_crash_ends_with_its_text_and_the_chat_goes_on() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    let gate = Gate::default();
    let halves = Script::stream().text("Grüße, ").wait(&gate).text("zwei 🍊");
    model.script(halves.stall());
    let server = program(&test, &model).serve().await;
    let device = Device::of(&server, "ann");
    let conversation = device.start_chat().await;
    let reply = device.send(&conversation, "hi").await;
    let mut follower = device.follow(&reply).await;
    written_down(&test, "Grüße, ").await;
    gate.open();
    written_down(&test, "Grüße, zwei 🍊").await;
    follower.until("Grüße, zwei 🍊").await;

    server.crash().await;
    let crashed = Instant::now();
    let server = program(&test, &model).serve().await;
    let device = Device::of(&server, "ann");
    let mut follower = device.follow(&reply).await;
    let finished = follower.finished().await;

    assert!(crashed.elapsed() < RECOVERY, "{:?}", crashed.elapsed());
    assert_eq!(finished["status"], "FAILED");
    assert_eq!(finished["error"]["code"], "INTERRUPTED");
    assert_eq!(finished["content"], "Grüße, zwei 🍊");
    let stored = device.message(&reply).await;
    assert_eq!(stored["content"], "Grüße, zwei 🍊");
    assert_eq!(stored["error"]["retryable"], true);
    assert!(stored["completedAt"].is_string(), "{stored}");

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
            ("assistant", "Grüße, zwei 🍊"),
            ("user", "go on")
        ]
    );
}

#[tokio::test]
async fn what_was_not_yet_written_down_is_all_that_a_crash_loses() {
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

    server.crash().await;
    let server = program(&test, &model).serve().await;
    let finished = Device::of(&server, "ann")
        .follow(&reply)
        .await
        .finished()
        .await;

    assert_eq!(finished["status"], "FAILED");
    let content = finished["content"].as_str().expect("text");
    assert!(["kept", "kept or lost"].contains(&content), "{content}");
}

#[tokio::test]
async fn a_reply_that_had_no_word_yet_ends_too() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    model.script(Script::stream().held_at(&Gate::default()));
    let server = program(&test, &model).serve().await;
    let device = Device::of(&server, "ann");
    let conversation = device.start_chat().await;
    let reply = device.send(&conversation, "hi").await;
    model.asked(1).await;

    server.crash().await;
    let crashed = Instant::now();
    let server = program(&test, &model).serve().await;
    let device = Device::of(&server, "ann");
    let busy = device.try_send(&conversation, "too early", None).await;
    assert_eq!(busy.code(), "CONFLICT");
    assert_eq!(busy.error()["extensions"]["messageId"], reply.as_str());
    let ended = eventually("the reply is ended, with nobody watching", || async {
        let message = device.message(&reply).await;
        (message["status"] == "FAILED").then_some(message)
    })
    .await;

    assert!(crashed.elapsed() < RECOVERY, "{:?}", crashed.elapsed());
    assert_eq!(ended["error"]["code"], "INTERRUPTED");
    assert_eq!(ended["content"], "");
    device.send(&conversation, "go on").await;
}
