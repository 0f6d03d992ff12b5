//! What users and admins read of the audit log, and what is noted of what admins do.

use loquat::db::Viewer;
use serde_json::{Value, json};

use crate::support::{Api, Replica, TestDatabase, eventually, text};

const EVENT: &str = "id action outcome credential ipAddress targetId user { externalId }";

/// As admins know them.
fn as_user(viewer: &Value) -> String {
    text(viewer).replace("viewer_", "user_")
}

async fn id_of(api: &Api<'_>, viewer: &Viewer) -> Value {
    let mut data = api.data(viewer, "{ viewer { id } }", json!({})).await;
    data["viewer"]["id"].take()
}

/// The actions of the viewer's own events, newest first.
async fn own(api: &Api<'_>, viewer: &Viewer) -> Vec<Value> {
    let document = format!("{{ viewer {{ auditEvents(first: 100) {{ nodes {{ {EVENT} }} }} }} }}");
    let mut data = api.data(viewer, &document, json!({})).await;
    nodes(data["viewer"]["auditEvents"].take())
}

/// Events of everybody, or about one user, newest first.
async fn everybodys(api: &Api<'_>, root: &Viewer, about: Option<&str>) -> Vec<Value> {
    let document = format!(
        "query($about: ID) {{ admin {{ auditEvents(first: 100, userId: $about) {{ nodes {{ {EVENT} }} }} }} }}"
    );
    let mut data = api.data(root, &document, json!({ "about": about })).await;
    nodes(data["admin"]["auditEvents"].take())
}

fn nodes(mut connection: Value) -> Vec<Value> {
    match connection["nodes"].take() {
        Value::Array(nodes) => nodes,
        other => panic!("no list: {other}"),
    }
}

fn words(events: &[Value]) -> Vec<String> {
    events
        .iter()
        .map(|event| format!("{} {}", text(&event["action"]), text(&event["outcome"])))
        .collect()
}

async fn make_key(api: &Api<'_>, viewer: &Viewer) -> String {
    let made = api
        .data(
            viewer,
            "mutation { createApiKey(input: { name: \"a\", scopes: [READ] }) { apiKey { id } } }",
            json!({}),
        )
        .await;
    text(&made["createApiKey"]["apiKey"]["id"])
}

#[tokio::test]
async fn users_read_what_they_did_and_nobody_else_but_admins_does() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let api = Api::of(&replica);
    let (ann, bob) = (replica.viewer("ann").await, replica.viewer("bob").await);
    let root = replica.admin("root").await;
    let key = make_key(&api, &ann).await;

    let events = own(&api, &ann).await;
    assert_eq!(
        words(&events),
        ["api_key.created SUCCEEDED", "user.created SUCCEEDED"]
    );
    assert_eq!(events[0]["targetId"], key);
    assert_eq!(events[1]["targetId"], Value::Null);
    for event in &events {
        assert_eq!(event["user"], Value::Null, "who else could it be");
        assert_eq!(event["credential"], "token:test");
        assert!(text(&event["id"]).starts_with("audit_"));
    }
    assert_eq!(words(&own(&api, &bob).await), ["user.created SUCCEEDED"]);

    let document = "query($ids: [ID!]!) { nodes(ids: $ids) { ... on AuditEvent { action user { externalId } } } }";
    let ids = json!({ "ids": [events[0]["id"], events[1]["id"]] });
    let hers = api.data(&ann, document, ids.clone()).await;
    assert_eq!(
        hers["nodes"][0],
        json!({ "action": "api_key.created", "user": null })
    );
    let his = api.data(&bob, document, ids.clone()).await;
    assert_eq!(his["nodes"], json!([null, null]));
    let roots = api.data(&root, document, ids).await;
    assert_eq!(
        roots["nodes"][1],
        json!({ "action": "user.created", "user": { "externalId": "ann" } })
    );
}

#[tokio::test]
async fn a_list_is_paged_by_cursors_that_are_its_own() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let api = Api::of(&replica);
    let (ann, root) = (replica.viewer("ann").await, replica.admin("root").await);
    for _ in 0..4 {
        make_key(&api, &ann).await;
    }
    let document = "query($after: String) { viewer { auditEvents(first: 2, after: $after) { \
        edges { cursor node { id } } nodes { id } \
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } } }";
    let (mut seen, mut after) = (Vec::new(), Value::Null);
    loop {
        let data = api.data(&ann, document, json!({ "after": after })).await;
        let page = &data["viewer"]["auditEvents"];
        let edges = page["edges"].as_array().expect("edges");
        assert_eq!(page["pageInfo"]["hasPreviousPage"], !after.is_null());
        for (edge, node) in edges.iter().zip(page["nodes"].as_array().expect("nodes")) {
            assert_eq!(edge["node"], *node);
            seen.push(text(&node["id"]));
        }
        after = page["pageInfo"]["endCursor"].clone();
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
        assert_eq!(edges.len(), 2);
    }
    let all: Vec<String> = own(&api, &ann)
        .await
        .iter()
        .map(|it| text(&it["id"]))
        .collect();
    assert_eq!((seen.len(), &seen), (5, &all));

    // A cursor is of one list.
    let refused = api
        .refusal(
            &root,
            "query($after: String) { admin { auditEvents(after: $after) { nodes { id } } } }",
            json!({ "after": after }),
        )
        .await;
    assert_eq!(refused["argument"], "after");
}

#[tokio::test]
async fn admins_read_what_a_user_did_and_what_was_done_to_them() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let api = Api::of(&replica);
    let (ann, bob) = (replica.viewer("ann").await, replica.viewer("bob").await);
    let root = replica.admin("root").await;
    let ann_id = as_user(&id_of(&api, &ann).await);
    let bob_id = as_user(&id_of(&api, &bob).await);
    for mutation in ["suspendUser", "restoreUser"] {
        let document = format!(
            "mutation($id: ID!) {{ {mutation}(input: {{ userId: $id }}) {{ user {{ id }} }} }}"
        );
        api.data(&root, &document, json!({ "id": ann_id })).await;
    }

    let about_ann = everybodys(&api, &root, Some(&ann_id)).await;
    assert_eq!(
        words(&about_ann),
        [
            "user.restored SUCCEEDED",
            "user.suspended SUCCEEDED",
            "user.created SUCCEEDED"
        ]
    );
    for event in &about_ann[..2] {
        assert_eq!(event["targetId"], *ann_id);
        assert_eq!(event["user"]["externalId"], "root");
    }
    assert_eq!(about_ann[2]["user"]["externalId"], "ann");
    let about_bob = everybodys(&api, &root, Some(&bob_id)).await;
    assert_eq!(words(&about_bob), ["user.created SUCCEEDED"]);
    let all = everybodys(&api, &root, None).await;
    assert_eq!(all.len(), 5);
    // A page of both parts is cut where it ends, and goes on there.
    let document = "query($id: ID!, $after: String) { admin { auditEvents(first: 1, after: $after, userId: $id) { \
        nodes { action } pageInfo { endCursor hasNextPage } } } }";
    let (mut actions, mut after) = (Vec::new(), Value::Null);
    for _ in 0..3 {
        let data = api
            .data(&root, document, json!({ "id": ann_id, "after": after }))
            .await;
        let page = &data["admin"]["auditEvents"];
        actions.push(text(&page["nodes"][0]["action"]));
        after = page["pageInfo"]["endCursor"].clone();
        assert_eq!(page["pageInfo"]["hasNextPage"], actions.len() < 3);
    }
    assert_eq!(actions, ["user.restored", "user.suspended", "user.created"]);
}

#[tokio::test]
async fn whoever_tries_what_is_for_admins_is_noted_and_so_is_what_did_not_work() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let api = Api::of(&replica);
    let (eve, root) = (replica.viewer("eve").await, replica.admin("root").await);
    let root_id = as_user(&id_of(&api, &root).await);
    for document in [
        "{ admin { id } }",
        "mutation($id: ID!) { suspendUser(input: { userId: $id }) { user { id } } }",
        "mutation($id: ID!) { restoreUser(input: { userId: $id }) { user { id } } }",
        "mutation($id: ID!) { deleteUser(input: { userId: $id }) { deletedUserId } }",
    ] {
        let refused = api.refusal(&eve, document, json!({ "id": root_id })).await;
        assert_eq!(refused["code"], "FORBIDDEN", "{document}");
    }
    let denied = eventually("all four are noted", || async {
        let mut words = words(&own(&api, &eve).await);
        words.retain(|word| word.ends_with("DENIED"));
        words.sort();
        (words.len() == 4).then_some(words)
    })
    .await;
    assert_eq!(
        denied,
        [
            "admin.accessed DENIED",
            "user.deleted DENIED",
            "user.restored DENIED",
            "user.suspended DENIED"
        ]
    );

    let nobody = "user_AZ3r7gAAcACAAAAAAAAAAA";
    let refused = api
        .refusal(
            &root,
            "mutation($id: ID!) { deleteUser(input: { userId: $id }) { deletedUserId } }",
            json!({ "id": nobody }),
        )
        .await;
    assert_eq!(refused["code"], "NOT_FOUND");
    let failed = eventually("the failure is noted", || async {
        own(&api, &root)
            .await
            .into_iter()
            .find(|event| event["outcome"] == "FAILED")
    })
    .await;
    assert_eq!(failed["action"], "user.deleted");
    assert_eq!(failed["targetId"], nobody);
    assert_eq!(failed["user"]["externalId"], "root");
}

#[tokio::test]
async fn a_deleted_user_s_events_stay_under_a_name_that_says_nothing() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let api = Api::of(&replica);
    let (ann, bob) = (replica.viewer("ann").await, replica.viewer("bob").await);
    let root = replica.admin("root").await;
    let ann_id = as_user(&id_of(&api, &ann).await);
    let bob_id = as_user(&id_of(&api, &bob).await);
    make_key(&api, &ann).await;
    api.data(
        &ann,
        "mutation { deleteViewer(input: { confirmExternalId: \"ann\" }) { deletedViewerId } }",
        json!({}),
    )
    .await;
    api.data(
        &root,
        "mutation($id: ID!) { deleteUser(input: { userId: $id }) { deletedUserId } }",
        json!({ "id": bob_id }),
    )
    .await;

    for id in [&ann_id, &bob_id] {
        assert_eq!(everybodys(&api, &root, Some(id)).await, [Value::Null; 0]);
    }
    let all = everybodys(&api, &root, None).await;
    let deletions: Vec<&Value> = all
        .iter()
        .filter(|event| event["action"] == "user.deleted")
        .collect();
    let [by_root, by_ann] = deletions[..] else {
        panic!("{all:?}");
    };
    assert_eq!(by_root["user"]["externalId"], "root");
    assert_eq!(by_ann["user"], Value::Null);
    // By the pseudonym, what belongs together stays together.
    let about = everybodys(&api, &root, by_ann["targetId"].as_str()).await;
    assert_eq!(
        words(&about),
        [
            "user.deleted SUCCEEDED",
            "api_key.created SUCCEEDED",
            "user.created SUCCEEDED"
        ]
    );
    assert!(about.iter().all(|event| event["ipAddress"].is_null()));
}
