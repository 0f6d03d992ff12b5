//! Whatever one device does, the others see.

use serde_json::{Value, json};

use super::{Overview, Window, pair, quiet};
use crate::support::{Api, Replica, TestDatabase, text};

async fn mutate(replica: &Replica, viewer: &loquat::db::Viewer, body: &str) -> Value {
    let document = format!("mutation {{ {body} }}");
    Api::of(replica).data(viewer, &document, json!({})).await
}

/// Sends a message; the id of the reply.
async fn send(replica: &Replica, viewer: &loquat::db::Viewer, id: &str, more: &str) -> String {
    let body = format!(
        "sendMessage(input: {{ conversationId: \"{id}\", content: \"hi\" {more} }}) {{ reply {{ id }} }}"
    );
    text(&mutate(replica, viewer, &body).await["sendMessage"]["reply"]["id"])
}

async fn every_kind_of_change_is_seen(with_broker: bool) {
    let test = TestDatabase::create().await;
    let [here, there] = pair(&test, with_broker).await;
    let viewer = here.viewer("alice").await;
    let id = Api::of(&here).start_chat(&viewer, "a title").await;
    let mut windows = [
        Window::open(&here, &viewer, &id),
        Window::open(&there, &viewer, &id),
    ];
    let mut lists = [
        Overview::open(&here, &viewer),
        Overview::open(&there, &viewer),
    ];
    macro_rules! seen {
        () => {
            for window in &mut windows {
                window.until_right().await;
            }
            for list in &mut lists {
                list.until_right().await;
            }
        };
    }
    seen!();

    // A reply, as it is written.
    let first = send(&here, &viewer, &id, "").await;
    let writing = here.desk.next().await;
    for (piece, whole) in [("Grüße", "Grüße"), (" 👩‍👩‍👧‍👦", "Grüße 👩‍👩‍👧‍👦")]
    {
        writing.say(piece);
        for window in &mut windows {
            window.until_text(whole).await;
        }
    }
    writing.finish();
    quiet(&here, &viewer, &id).await;
    seen!();

    for change in [
        format!(
            "rateMessage(input: {{ messageId: \"{first}\", rating: UP, comment: \"yes\" }}) {{ message {{ id }} }}"
        ),
        format!("rateMessage(input: {{ messageId: \"{first}\" }}) {{ message {{ id }} }}"),
        format!(
            "updateConversation(input: {{ conversationId: \"{id}\", title: \"another\", pinned: true }}) {{ conversation {{ id }} }}"
        ),
        format!(
            "updateConversation(input: {{ conversationId: \"{id}\", model: \"large\", archived: true }}) {{ conversation {{ id }} }}"
        ),
        "startChat(input: { title: \"new\" }) { conversation { id } }".to_owned(),
    ] {
        mutate(&here, &viewer, &change).await;
        seen!();
    }

    // Another version, and back to the first.
    let anew = format!("regenerateReply(input: {{ messageId: \"{first}\" }}) {{ reply {{ id }} }}");
    mutate(&here, &viewer, &anew).await;
    let writing = here.desk.next().await;
    writing.say("another");
    for window in &mut windows {
        window.until_text("another").await;
    }
    writing.finish();
    quiet(&here, &viewer, &id).await;
    seen!();
    let back =
        format!("selectVersion(input: {{ messageId: \"{first}\" }}) {{ conversation {{ id }} }}");
    mutate(&here, &viewer, &back).await;
    seen!();

    // One waits for another, and both are stopped.
    let running = send(&here, &viewer, &id, "").await;
    let writing = here.desk.next().await;
    writing.say("half");
    send(&here, &viewer, &id, "whenBusy: ENQUEUE").await;
    for window in &mut windows {
        window.until(|live| live.messages.len() == 6).await;
        window
            .until(|live| live.content(&running).as_deref() == Some("half"))
            .await;
    }
    let last = send(&here, &viewer, &id, "whenBusy: STOP").await;
    let writing = here.desk.next().await;
    writing.say("after");
    let stop = format!("stopReply(input: {{ messageId: \"{last}\" }}) {{ reply {{ status }} }}");
    for window in &mut windows {
        window.until_text("after").await;
    }
    mutate(&here, &viewer, &stop).await;
    quiet(&here, &viewer, &id).await;
    seen!();

    // A reply that fails.
    send(&here, &viewer, &id, "").await;
    let writing = here.desk.next().await;
    writing.fail(loquat::model::ReplyErrorCode::ProviderRejected, "no");
    quiet(&here, &viewer, &id).await;
    seen!();

    let reset = format!(
        "resetConversation(input: {{ conversationId: \"{id}\" }}) {{ conversation {{ id }} }}"
    );
    mutate(&here, &viewer, &reset).await;
    seen!();
    let delete = format!(
        "deleteConversation(input: {{ conversationId: \"{id}\" }}) {{ deletedConversationId }}"
    );
    mutate(&here, &viewer, &delete).await;
    for list in &mut lists {
        list.until_right().await;
    }
    for window in &mut windows {
        window.until(|live| live.is_deleted).await;
        assert_eq!(window.events.next().await, None);
    }
}

#[tokio::test]
async fn every_kind_of_change_is_seen_where_a_broker_tells() {
    every_kind_of_change_is_seen(true).await;
}

#[tokio::test]
async fn every_kind_of_change_is_seen_without_a_broker() {
    every_kind_of_change_is_seen(false).await;
}

#[tokio::test]
async fn what_is_told_has_its_natural_order() {
    let test = TestDatabase::create().await;
    let [here, there] = pair(&test, true).await;
    let viewer = here.viewer("alice").await;
    let id = Api::of(&here).start_chat(&viewer, "a title").await;
    for replica in [&here, &there] {
        let mut window = Window::open(replica, &viewer, &id);
        window.next().await;
        assert_eq!(window.told, ["ConversationSnapshot"]);
        // A change that is told one by one: the snapshot is over.
        let title = format!("title {:p}", replica);
        let rename = format!(
            "updateConversation(input: {{ conversationId: \"{id}\", title: \"{title}\" }}) {{ conversation {{ id }} }}"
        );
        mutate(&here, &viewer, &rename).await;
        window
            .until(|live| live.conversation["title"] == title.as_str())
            .await;
        window.told.clear();
        let reply = send(&here, &viewer, &id, "").await;
        let writing = here.desk.next().await;
        window
            .until(|live| {
                let status = live.messages.last().map(|last| &last["status"]);
                status == Some(&json!("STREAMING"))
            })
            .await;
        writing.say("whole");
        window
            .until(|live| live.content(&reply).as_deref() == Some("whole"))
            .await;
        writing.finish();
        window.until(|live| !live.is_busy()).await;
        let mut told = window.told.clone();
        told.dedup();
        let at = |kind: &str| {
            told.iter()
                .position(|it| it == kind)
                .unwrap_or_else(|| panic!("{kind} in {told:?}"))
        };
        assert_eq!(at("MessageAdded"), 0, "{told:?}");
        assert!(at("MessageDelta") < at("MessageFinished"), "{told:?}");
        assert_eq!(told.last().map(String::as_str), Some("ConversationChanged"));
        assert!(
            !told.contains(&"ConversationSnapshot".to_owned()),
            "{told:?}"
        );
    }
}

#[tokio::test]
async fn nobody_hears_of_what_is_not_theirs() {
    let test = TestDatabase::create().await;
    let [here, there] = pair(&test, true).await;
    let (alice, bob) = (here.viewer("alice").await, here.viewer("bob").await);
    let id = Api::of(&here).start_chat(&alice, "a title").await;
    let own = Api::of(&here).start_chat(&bob, "own").await;
    for replica in [&here, &there] {
        let api = Api::of(replica);
        let mut refusals = Vec::new();
        for strange in [id.clone(), own.clone()] {
            // A conversation of hers, and one that is gone.
            if strange == own {
                let delete = format!(
                    "deleteConversation(input: {{ conversationId: \"{own}\" }}) {{ deletedConversationId }}"
                );
                let document = format!("mutation {{ {delete} }}");
                api.ask(&bob, &document, json!({})).await;
            }
            let mut events = api.subscribe(
                &bob,
                crate::support::CONVERSATION_EVENTS,
                json!({ "id": strange }),
            );
            let mut refusal =
                crate::support::within("a refusal", futures_util::StreamExt::next(&mut events))
                    .await
                    .expect("an event");
            assert_eq!(
                refusal["errors"][0]["extensions"]["code"], "NOT_FOUND",
                "{refusal}"
            );
            refusals.push(refusal["errors"].take());
            let end =
                crate::support::within("the end", futures_util::StreamExt::next(&mut events)).await;
            assert_eq!(end, None);
        }
        assert_eq!(refusals[0], refusals[1]);
    }
    // Her list moves; the next that he hears of is his own.
    let mut list = Overview::open(&there, &bob);
    list.until_right().await;
    list.told.clear();
    let rename = format!(
        "updateConversation(input: {{ conversationId: \"{id}\", title: \"secret\" }}) {{ conversation {{ id }} }}"
    );
    mutate(&here, &alice, &rename).await;
    mutate(
        &here,
        &alice,
        "startChat(input: { title: \"secret\" }) { conversation { id } }",
    )
    .await;
    mutate(
        &here,
        &bob,
        "startChat(input: { title: \"mine\" }) { conversation { id } }",
    )
    .await;
    let event = list.next().await.to_string();
    assert!(
        event.contains("mine") && !event.contains("secret"),
        "{event}"
    );
}
