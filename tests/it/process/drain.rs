//! The stop that a process manager asks for, in the middle of a reply.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use serde_json::json;

use crate::{
    provider::{FakeProvider, Gate, Script},
    support::{
        TestDatabase, eventually,
        process::{Answer, Device, program},
        program::{Server, client},
    },
};

/// Waits until the server says by its readiness that it is stopping.
async fn stopping(server: &Server) {
    let client = client();
    eventually("the server notices the signal", || async {
        let ready = Answer::to(client.get(server.url("/health/ready"))).await;
        (ready.status == 503 && ready.body["process"] == "stopping").then_some(())
    })
    .await;
}

async fn a_stop_lets_the_running_reply_finish(signal: Signal) {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    let gate = Gate::default();
    let script = Script::stream()
        .text("begun ")
        .wait(&gate)
        .text("and ended");
    model.script(script.complete());
    let server = program(&test, &model).serve().await;
    let device = Device::of(&server, "ann");
    let [busy, idle] = [device.start_chat().await, device.start_chat().await];
    let reply = device.send(&busy, "hi").await;
    let mut follower = device.follow(&reply).await;
    follower.until("begun ").await;

    server.signal(signal);
    stopping(&server).await;
    let refused = device.try_send(&idle, "too late", None).await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.code(), "UNAVAILABLE");
    let retry_after = &refused.error()["extensions"]["retryAfter"];
    assert!(retry_after.as_u64().is_some_and(|s| s > 0), "{refused:?}");
    assert_eq!(refused.headers["retry-after"], *retry_after.to_string());
    follower
        .socket
        .send(json!({ "type": "subscribe", "id": "late", "payload": { "query": "{ viewer { id } }" } }))
        .await;
    let late = follower.socket.next().await;
    assert_eq!(late["type"], "error", "{late}");
    assert_eq!(late["payload"][0]["extensions"]["code"], "UNAVAILABLE");
    gate.open();

    let finished = follower.finished().await;
    assert_eq!(finished["status"], "COMPLETED");
    assert_eq!(finished["content"], "begun and ended");
    assert_eq!(follower.socket.closed().await.0, 1012);
    drop(follower);
    let ended = server.end().await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(!ended.output.contains("in time"), "{ended:?}");
    assert_eq!(ended.errors, "");
    assert_eq!(model.requests().len(), 1);
}

async fn a_second_signal_ends_it_at_once(signal: Signal) {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    model.script(Script::stream().text("so far").stall());
    let server = program(&test, &model).serve().await;
    let device = Device::of(&server, "ann");
    let conversation = device.start_chat().await;
    let reply = device.send(&conversation, "hi").await;
    let mut follower = device.follow(&reply).await;
    follower.until("so far").await;

    server.signal(signal);
    stopping(&server).await;
    server.signal(signal);

    assert_eq!(follower.socket.closed().await.0, 1012);
    drop(follower);
    model.hung_up(1).await;
    let ended = server.end().await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    is_taken_up_at_once(&test, &model, &reply).await;
}

/// A server that starts again takes its own replies up, without waiting for anything to run out.
async fn is_taken_up_at_once(test: &TestDatabase, model: &FakeProvider, reply: &str) {
    let run: (bool, i32, String) = sqlx::query_as(
        "select process_id is null, losses, text from chat.replies \
         join chat.reply_chunks using (user_id, message_id)",
    )
    .fetch_one(&mut test.superuser().await)
    .await
    .expect("one run and its text");
    assert_eq!(run, (true, 0, "so far".to_owned()));
    model.reply_with(["all ", "of it"]);
    let server = program(test, model).serve().await;
    // As its subscribers do, who come back by themselves.
    let device = Device::of(&server, "ann");
    let finished = device.follow(reply).await.finished().await;
    assert_eq!(finished["status"], "COMPLETED");
    assert_eq!(finished["content"], "all of it");
    assert_eq!(model.requests().len(), 2);
}

#[tokio::test]
async fn a_reply_that_outlasts_the_stop_is_handed_over() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    model.script(Script::stream().text("so far").stall());
    let server = program(&test, &model)
        .variable("LOQUAT_SHUTDOWN_GRACE_SECONDS", "1")
        .serve()
        .await;
    let device = Device::of(&server, "ann");
    let conversation = device.start_chat().await;
    let reply = device.send(&conversation, "hi").await;
    let mut follower = device.follow(&reply).await;
    follower.until("so far").await;

    server.signal(Signal::SIGTERM);

    assert_eq!(follower.socket.closed().await.0, 1012);
    drop(follower);
    let ended = server.end().await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    is_taken_up_at_once(&test, &model, &reply).await;
}

#[tokio::test]
async fn sigterm_lets_the_running_reply_finish() {
    a_stop_lets_the_running_reply_finish(Signal::SIGTERM).await;
}

#[tokio::test]
async fn sigint_lets_the_running_reply_finish() {
    a_stop_lets_the_running_reply_finish(Signal::SIGINT).await;
}

#[tokio::test]
async fn a_second_sigterm_ends_the_running_reply_at_once() {
    a_second_signal_ends_it_at_once(Signal::SIGTERM).await;
}

#[tokio::test]
async fn a_second_sigint_ends_the_running_reply_at_once() {
    a_second_signal_ends_it_at_once(Signal::SIGINT).await;
}

#[tokio::test]
async fn sockets_are_closed_one_after_another() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    let server = program(&test, &model).serve().await;
    let devices = ["ann", "ben", "cyd", "dot"].map(|user| Device::of(&server, user));
    let mut sockets = Vec::new();
    for device in devices.iter().cycle().take(200) {
        sockets.push(device.socket().await);
    }
    let begun = Instant::now();
    server.signal(Signal::SIGTERM);
    let closings = sockets.into_iter().map(async |mut socket| {
        assert_eq!(socket.closed().await.0, 1012);
    });
    join_all(closings).await;
    // Two milliseconds for each. A busy machine can only make it more.
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(200), "{took:?}");
    assert_eq!(server.end().await.status.code(), Some(0));
}
