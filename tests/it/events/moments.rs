//! What happens at the very moment at which a snapshot is put together, or while nobody listens.

use serde_json::json;

use super::{Overview, Window, pair, quiet};
use crate::support::{Api, Replica, SqlGate, TestDatabase, sql, text};

const GATE: i64 = 42;

#[tokio::test]
async fn a_message_that_is_stored_while_a_snapshot_is_put_together_is_shown_once() {
    let test = TestDatabase::create().await;
    let [here, there] = pair(&test, true).await;
    let viewer = here.viewer("alice").await;
    let api = Api::of(&here);
    let id = api.start_chat(&viewer, "a title").await;
    let send = "mutation($id: ID!) { sendMessage(input: { conversationId: $id, content: \"hi\" }) { reply { id } } }";

    // Pages are read behind the gate: the conversation has been loaded, its messages have not.
    let mut gate = SqlGate::closed(&test, GATE).await;
    let policy = format!(
        "create policy gate on chat.conversations as restrictive for select to loquat_viewer using (case \
           when current_query() like 'with page%' then {} else true end)",
        SqlGate::passed(GATE)
    );
    sql(&test, &policy).await;
    let mut window = Window::open(&there, &viewer, &id);
    let meanwhile = async {
        gate.waiting(1).await;
        api.data(&viewer, send, json!({ "id": id })).await;
        let writing = here.desk.next().await;
        writing.say("whole");
        gate.open().await;
        writing
    };
    let (_, writing) = futures_util::join!(window.next(), meanwhile);
    window.until_text("whole").await;
    writing.finish();
    quiet(&here, &viewer, &id).await;
    window.until_right().await;
    assert_eq!(window.told[1], "ConversationSnapshot", "{:?}", window.told);
    assert!(
        !window.told.contains(&"MessageAdded".to_owned()),
        "{:?}",
        window.told
    );
}

#[tokio::test]
async fn a_reply_that_ends_while_a_snapshot_is_put_together_is_told_whole() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let api = Api::of(&replica);
    let id = api.start_chat(&viewer, "a title").await;
    let send = "mutation($id: ID!) { sendMessage(input: { conversationId: $id, content: \"hi\", \
        whenBusy: ENQUEUE }) { reply { id } } }";
    let mut window = Window::open(&replica, &viewer, &id);
    let sent = api.data(&viewer, send, json!({ "id": id })).await;
    let reply = text(&sent["sendMessage"]["reply"]["id"]);
    let writing = replica.desk.next().await;
    writing.say("half");
    while window.next().await["text"] != "half" {}
    let before = window.told.len();

    let mut gate = SqlGate::closed(&test, GATE).await;
    let policy = format!(
        "create policy gate on chat.conversations as restrictive for select to loquat_viewer using (case \
           when current_query() like 'with page%' then {} else true end)",
        SqlGate::passed(GATE)
    );
    sql(&test, &policy).await;
    // More than are told one by one: a snapshot, in mid-reply.
    for _ in 0..15 {
        api.data(&viewer, send, json!({ "id": id })).await;
    }
    let meanwhile = async {
        gate.waiting(1).await;
        writing.say(" and half");
        writing.finish();
        // The next one in turn is asked for when this one has ended.
        let next = replica.desk.next().await;
        gate.open().await;
        next
    };
    let told = async {
        while !window.told[before..].contains(&"MessageFinished".to_owned()) {
            window.next().await;
        }
    };
    let _next = futures_util::join!(told, meanwhile);
    assert_eq!(
        window.live.content(&reply).as_deref(),
        Some("half and half")
    );
    let told = &window.told[before..];
    assert!(
        told.contains(&"ConversationSnapshot".to_owned()),
        "{told:?}"
    );
    assert!(
        told.ends_with(&["MessageDelta".to_owned(), "MessageFinished".to_owned()]),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_conversation_that_is_started_while_a_snapshot_is_put_together_is_shown_once() {
    let test = TestDatabase::create().await;
    let [here, there] = pair(&test, true).await;
    let viewer = here.viewer("alice").await;
    let api = Api::of(&here);
    api.start_chat(&viewer, "a title").await;
    let mut gate = SqlGate::closed(&test, GATE).await;
    let policy = format!(
        "create policy gate on chat.conversations as restrictive for select to loquat_viewer using (case \
           when current_query() like 'select %order by last_active_at%' then {} else true end)",
        SqlGate::passed(GATE)
    );
    sql(&test, &policy).await;
    let mut list = Overview::open(&there, &viewer);
    let meanwhile = async {
        gate.waiting(1).await;
        api.start_chat(&viewer, "another").await;
        gate.open().await;
    };
    futures_util::join!(list.next(), meanwhile);
    list.until_right().await;
    assert_eq!(list.told, ["ViewerSnapshot", "ViewerSnapshot"]);
}

#[tokio::test]
async fn more_changes_than_are_told_one_by_one_are_shown_by_a_snapshot() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let api = Api::of(&replica);
    let id = api.start_chat(&viewer, "a title").await;
    let mut window = Window::open(&replica, &viewer, &id);
    let mut list = Overview::open(&replica, &viewer);
    window.until_right().await;
    list.until_right().await;
    let (told, listed) = (window.told.len(), list.told.len());
    // A device that takes nothing for a long time costs nothing, and is told the state of things.
    for number in 0..15 {
        api.exchange(&viewer, &id, &format!("question {number}"))
            .await;
    }
    for _ in 0..101 {
        api.start_chat(&viewer, "one of many").await;
    }
    window.until_right().await;
    assert!(window.told[told..].contains(&"ConversationSnapshot".to_owned()));
    assert!(window.told.len() - told < 10, "{:?}", window.told);
    list.until_right().await;
    assert!(list.told[listed..].contains(&"ViewerSnapshot".to_owned()));
    assert!(list.told.len() - listed < 10, "{:?}", list.told);
}
