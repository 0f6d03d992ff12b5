//! Deletions that are cut off, and how they come to their end all the same.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use serde_json::json;

use super::{
    DELETE, gate_before_erasure, gone, is_acknowledged, is_gone, rows_of, some_of_everything,
};
use crate::{
    provider::FakeProvider,
    support::{
        Api, Replica, TestDatabase, eventually,
        process::{Device, program},
        session_of, text,
    },
};

#[tokio::test]
async fn a_deletion_that_its_process_did_not_finish_is_finished_by_another() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let api = Api::of(&replica);
    let alice = replica.viewer("alice").await;
    some_of_everything(&api, &alice).await;
    let mut gate = gate_before_erasure(&test).await;
    tokio::select! {
        answer = api.data(&alice, DELETE, json!({ "id": "alice" })) => {
            panic!("the gate is closed: {answer}")
        }
        () = gate.waiting(1) => {}
    }
    replica.lifecycle.begin_hard_stop();

    assert!(is_acknowledged(&test, alice.user_id()).await);
    assert!(rows_of(&test, alice.user_id()).await["conversations"] > 0);
    let again = replica.viewer("alice").await;
    assert_ne!(
        again.user_id(),
        alice.user_id(),
        "nobody waits for the rest"
    );

    gate.open().await;
    assert!(!is_gone(&test, alice.user_id()).await);
    let _other = Replica::start(&test).await;
    gone(&test, alice.user_id()).await;
    assert_eq!(rows_of(&test, again.user_id()).await["users"], 1);
}

#[tokio::test]
async fn a_deletion_that_takes_long_is_answered_and_goes_on() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let api = Api::of(&replica);
    let alice = replica.viewer("alice").await;
    some_of_everything(&api, &alice).await;
    let gate = gate_before_erasure(&test).await;
    api.data(&alice, DELETE, json!({ "id": "alice" })).await;
    assert!(is_acknowledged(&test, alice.user_id()).await);
    assert!(!is_gone(&test, alice.user_id()).await);
    gate.open().await;
    gone(&test, alice.user_id()).await;
}

/// Drops the future when it would be polled once more than this. Whether it was done before.
async fn cut_after(polls: usize, future: impl Future) -> bool {
    let mut future = pin!(future);
    let mut polled = 0;
    poll_fn(|context| {
        if polled == polls {
            return Poll::Ready(false);
        }
        polled += 1;
        future.as_mut().poll(context).map(|_| true)
    })
    .await
}

#[tokio::test]
async fn a_deletion_that_is_cut_anywhere_happens_whole_or_not_at_all() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let mut users = Vec::new();
    for polls in 0..500 {
        let name = format!("user {polls}");
        let viewer = replica.viewer(&name).await;
        replica.conversation(&viewer).await;
        let session = session_of(&viewer);
        let deletion = replica.accounts.delete_viewer(&session, &name);
        users.push(viewer.user_id());
        if cut_after(polls, deletion).await {
            break;
        }
    }
    assert!(
        (10..500).contains(&users.len()),
        "it was cut in many places"
    );
    let mut gone = 0;
    for user_id in users {
        gone += eventually("the deletion is whole or nothing", || async {
            if is_gone(&test, user_id).await {
                return Some(1);
            }
            let rows = rows_of(&test, user_id).await;
            let untouched = !is_acknowledged(&test, user_id).await;
            (untouched && rows["conversations"] == 1 && rows["tombstones"] == 0).then_some(0)
        })
        .await;
    }
    assert!(gone > 1, "some were acknowledged before they were cut");
}

#[tokio::test]
async fn a_server_that_is_killed_in_the_middle_of_a_deletion_finishes_it_when_it_is_back() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    let server = program(&test, &model).serve().await;
    let ann = Device::of(&server, "ann");
    ann.start_chat().await;
    let old = ann.data("{ viewer { id } }", json!({})).await;
    let user_id: uuid::Uuid = sqlx::query_scalar("select user_id from chat.users")
        .fetch_one(&mut test.superuser().await)
        .await
        .expect("a user");
    let mut gate = gate_before_erasure(&test).await;
    let asked = ann
        .post()
        .json(&json!({ "query": DELETE, "variables": { "id": "ann" } }))
        .send();
    tokio::select! {
        answer = asked => panic!("the gate is closed: {answer:?}"),
        () = gate.waiting(1) => {}
    }
    server.crash().await;
    gate.open().await;

    let server = program(&test, &model).serve().await;
    let new = Device::of(&server, "ann")
        .data("{ viewer { id conversations { totalCount } } }", json!({}))
        .await;
    assert_ne!(text(&new["viewer"]["id"]), text(&old["viewer"]["id"]));
    assert_eq!(new["viewer"]["conversations"]["totalCount"], 0);
    gone(&test, user_id.into()).await;
}
