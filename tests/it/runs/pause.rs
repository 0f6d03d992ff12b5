//! Processes that stand still, and go on when others have taken their place.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::{
    provider::{FakeProvider, Gate, Script},
    support::{
        SqlGate, TestDatabase, eventually,
        process::{Device, program, written_down},
        sql, within,
    },
};

#[tokio::test]
async fn a_process_that_was_paused_past_its_lease_writes_nothing_over_its_successors_text() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    let first = Gate::default();
    let script = Script::stream().text("the first ").wait(&first);
    model.script(script.texts(["is ", "too late"]).complete());
    let paused = program(&test, &model).serve().await;
    let device = Device::of(&paused, "ann");
    let conversation = device.start_chat().await;
    let reply = device.send(&conversation, "hi").await;
    // A device that stays with the process, and one that is elsewhere.
    let mut near = device.follow(&reply).await;
    near.until("the first ").await;
    written_down(&test, "the first ").await;
    let successor = program(&test, &model).serve().await;
    let elsewhere = Device::of(&successor, "ann");
    let mut far = elsewhere.follow(&reply).await;
    far.until("the first ").await;

    let second = Gate::default();
    let third = Gate::default();
    let script = Script::stream().text("The second ").wait(&second);
    let script = script.text("goes on ").wait(&third).text("to its end");
    model.script(script.complete());
    paused.pause().await;
    // All that it has not read yet lies in its socket when it wakes up.
    first.open();
    model.asked(2).await;
    far.until("The second ").await;
    paused.signal(Signal::SIGCONT);
    // It has noticed once its own subscriber has the successor's text.
    near.until("The second ").await;
    second.open();
    for follower in [&mut near, &mut far] {
        follower.until("The second goes on ").await;
    }
    let stored: String = eventually("the successor's text is written down", || async {
        let stored: String = sqlx::query_scalar(
            "select string_agg(attempt || text, '' order by attempt, \"offset\") from chat.reply_chunks",
        )
        .fetch_one(&mut test.superuser().await)
        .await
        .expect("chunks");
        stored.ends_with("goes on ").then_some(stored)
    })
    .await;
    assert!(stored.starts_with("1the first 2The second "), "{stored}");
    assert!(!stored.contains("late"), "{stored}");
    third.open();
    for mut follower in [near, far] {
        let finished = within("the end", follower.finished()).await;
        assert_eq!(finished["status"], "COMPLETED");
        assert_eq!(finished["content"], "The second goes on to its end");
    }
    assert_eq!(model.requests().len(), 2);
    // The one that was paused is as good as any other again.
    model.reply_with(["still here"]);
    let next = device.send(&conversation, "go on").await;
    let mut follower = device.follow(&next).await;
    assert_eq!(follower.finished().await["content"], "still here");
}

#[tokio::test]
async fn a_process_that_was_paused_inside_its_last_transaction_holds_nobody_up_for_long() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    let last = Gate::default();
    let script = Script::stream().text("the first ").wait(&last);
    model.script(script.texts(["is ", "whole"]).complete());
    let paused = program(&test, &model).serve().await;
    let device = Device::of(&paused, "ann");
    let conversation = device.start_chat().await;
    let reply = device.send(&conversation, "hi").await;
    let mut near = device.follow(&reply).await;
    near.until("the first ").await;
    written_down(&test, "the first ").await;
    let successor = program(&test, &model).serve().await;
    let elsewhere = Device::of(&successor, "ann");
    let mut far = elsewhere.follow(&reply).await;
    far.until("the first ").await;

    // It has locked its conversation when it stands still.
    let mut gate = SqlGate::closed(&test, 42).await;
    let policy = format!(
        "create policy gate on chat.usage as restrictive for insert to loquat_viewer with check ({})",
        SqlGate::passed(42)
    );
    sql(&test, &policy).await;
    last.open();
    gate.waiting(1).await;
    paused.pause().await;
    gate.open().await;
    // Whoever wants it stopped is answered once PostgreSQL has ended that transaction, or may ask
    // again: each of the answers is one of the two.
    let document =
        "mutation($id: ID!) { stopReply(input: { messageId: $id }) { reply { status content } } }";
    let stopped = within("the reply is stopped", async {
        loop {
            let answer = elsewhere
                .answer(document, json!({ "id": reply }))
                .await
                .body;
            let Some(error) = answer["errors"].get(0) else {
                return answer["data"]["stopReply"]["reply"].clone();
            };
            assert_eq!(error["extensions"]["code"], "UNAVAILABLE", "{answer}");
            assert!(error["extensions"]["retryAfter"].is_u64(), "{answer}");
        }
    })
    .await;
    assert_eq!(stopped["status"], "STOPPED", "{stopped}");
    let text = stopped["content"].as_str().expect("text").to_owned();
    assert!(text.starts_with("the first "), "{text}");
    assert_eq!(far.finished().await["content"], text);
    paused.signal(Signal::SIGCONT);
    // What it was about to store it stores no more.
    let finished = within("the end", near.finished()).await;
    assert_eq!(finished["status"], "STOPPED");
    assert_eq!(finished["content"], text);
    model.reply_with(["still here"]);
    let next = device.send(&conversation, "go on").await;
    assert_eq!(
        device.follow(&next).await.finished().await["content"],
        "still here"
    );
}
