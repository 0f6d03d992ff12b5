//! What admins see and do: users and sums, and nothing that anybody wrote.

use std::collections::BTreeMap;

use loquat::db::{SignIn, Viewer};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection};

use crate::{
    api_keys::{bearer, key_with},
    support::{
        Api, Replica, SqlGate, TOLERANCE, TestDatabase, by_token, identity, sign_in_as, sql, text,
    },
};

async fn user_id(api: &Api<'_>, root: &Viewer, name: &str) -> String {
    let data = api
        .data(
            root,
            "query($name: String) { admin { users(query: $name) { nodes { id externalId } } } }",
            json!({ "name": name }),
        )
        .await;
    let nodes = data["admin"]["users"]["nodes"].as_array().expect("users");
    let found = nodes.iter().find(|node| node["externalId"] == name);
    text(&found.expect("the user")["id"])
}

/// What each table of the schema lets the admins' role do, by any column.
async fn grants(test: &TestDatabase) -> BTreeMap<String, Vec<String>> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "select c.relname::text, p.privilege from pg_class c \
         cross join unnest(array['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) as p (privilege) \
         where c.relnamespace = 'chat'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f') \
           and has_any_column_privilege('loquat_admin', c.oid, p.privilege) \
         union \
         select c.relname::text, p.privilege from pg_class c \
         cross join unnest(array['DELETE', 'TRUNCATE', 'TRIGGER']) as p (privilege) \
         where c.relnamespace = 'chat'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f') \
           and has_table_privilege('loquat_admin', c.oid, p.privilege) \
         order by 1, 2",
    )
    .fetch_all(&mut test.superuser().await)
    .await
    .expect("the catalogue");
    let mut grants: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (table, privilege) in rows {
        grants.entry(table).or_default().push(privilege);
    }
    grants
}

#[tokio::test]
async fn the_role_of_admins_has_no_grant_on_what_anybody_wrote() {
    let test = TestDatabase::create().await;
    test.open().await;
    let expected: BTreeMap<String, Vec<String>> = [
        ("audit_log", vec!["INSERT", "SELECT"]),
        ("usage", vec!["SELECT"]),
        ("users", vec!["SELECT", "UPDATE"]),
    ]
    .into_iter()
    .map(|(table, privileges)| {
        let privileges = privileges.into_iter().map(str::to_owned).collect();
        (table.to_owned(), privileges)
    })
    .collect();
    assert_eq!(grants(&test).await, expected);

    let mut connection = test.superuser().await;
    let tables: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class where relnamespace = 'chat'::regnamespace and relkind = 'r'",
    )
    .fetch_all(&mut connection)
    .await
    .expect("the catalogue");
    for table in ["conversations", "messages"] {
        assert!(tables.iter().any(|name| name == table), "{tables:?}");
    }
    for table in tables {
        if expected.contains_key(&table) {
            continue;
        }
        for statement in [
            format!("select * from chat.{table}"),
            format!("select count(*) from chat.{table}"),
            format!("select from chat.{table}"),
            format!("delete from chat.{table}"),
            format!("truncate chat.{table}"),
        ] {
            let mut tx = connection.begin().await.expect("a transaction");
            sqlx::raw_sql("set local role loquat_admin")
                .execute(&mut *tx)
                .await
                .expect("the role");
            let refused = sqlx::raw_sql(AssertSqlSafe(statement.clone()))
                .execute(&mut *tx)
                .await
                .expect_err(&statement);
            let code = refused.as_database_error().and_then(|error| error.code());
            assert_eq!(
                code.as_deref(),
                Some("42501"),
                "{statement}: permission denied"
            );
        }
    }
    let updated: Vec<String> = sqlx::query_scalar(
        "select attname::text from pg_attribute where attrelid = 'chat.users'::regclass and attnum > 0 \
         and has_column_privilege('loquat_admin', attrelid, attnum, 'UPDATE')",
    )
    .fetch_all(&mut connection)
    .await
    .expect("the catalogue");
    assert_eq!(updated, ["suspended_at"]);
}

#[tokio::test]
async fn whoever_is_no_admin_is_told_so_and_the_rest_of_the_answer_stands() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let api = Api::of(&replica);
    let (alice, root) = (replica.viewer("alice").await, replica.admin("root").await);
    let own = user_id(&api, &root, "alice").await;
    let answer = api
        .ask(
            &alice,
            "query($id: ID!) { viewer { externalId } admin { users { nodes { email } } } \
               node(id: $id) { id } nodes(ids: [$id]) { id } }",
            json!({ "id": own }),
        )
        .await;
    assert_eq!(
        answer["data"],
        json!({ "viewer": { "externalId": "alice" }, "admin": null, "node": null, "nodes": [null] })
    );
    assert_eq!(answer["errors"].as_array().map(Vec::len), Some(1));
    assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN");
    let theirs = user_id(&api, &root, "root").await;
    for mutation in [
        "suspendUser(input: { userId: $id }) { user { id } }",
        "restoreUser(input: { userId: $id }) { user { id } }",
        "deleteUser(input: { userId: $id }) { deletedUserId }",
    ] {
        let document = format!("mutation($id: ID!) {{ {mutation} }}");
        let refused = api
            .refusal(&alice, &document, json!({ "id": theirs }))
            .await;
        assert_eq!(refused["code"], "FORBIDDEN", "{mutation}");
    }
    let node = api
        .data(
            &root,
            "query($id: ID!) { node(id: $id) { id __typename ... on User { externalId } } }",
            json!({ "id": own }),
        )
        .await;
    assert_eq!(
        node["node"],
        json!({ "id": own, "__typename": "User", "externalId": "alice" })
    );
}

#[tokio::test]
async fn a_key_of_an_admin_needs_the_scope() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let api = Api::of(&replica);
    let root = replica.admin("root").await;
    replica.viewer("alice").await;
    let id = user_id(&api, &root, "alice").await;
    let suspend = "mutation($id: ID!) { suspendUser(input: { userId: $id }) { user { id } } }";
    let node = "query($id: ID!) { node(id: $id) { id } }";
    let key = key_with(&api, &root, json!(["ADMIN", "READ"])).await;
    let program = bearer(&replica, &key).await;
    api.data(&program, suspend, json!({ "id": id })).await;
    let found = api.data(&program, node, json!({ "id": id })).await;
    assert_eq!(found["node"]["id"], id.as_str());

    let key = key_with(&api, &root, json!(["READ", "WRITE"])).await;
    let program = bearer(&replica, &key).await;
    for document in [suspend, "query { admin { id } }"] {
        let refused = api.refusal(&program, document, json!({ "id": id })).await;
        assert_eq!(refused["code"], "FORBIDDEN", "{document}");
    }
    let found = api.data(&program, node, json!({ "id": id })).await;
    assert_eq!(found["node"], Value::Null);
}

/// A session that was signed in before, such as that of a socket.
#[tokio::test]
async fn an_admin_s_rights_end_while_the_session_goes_on() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let api = Api::of(&replica);
    let (root, other) = (replica.admin("root").await, replica.admin("other").await);
    replica.viewer("alice").await;
    let alice = user_id(&api, &root, "alice").await;
    let itself = user_id(&api, &other, "root").await;
    let key = key_with(&api, &root, json!(["ADMIN"])).await;
    let program = bearer(&replica, &key).await;
    let documents = [
        "query { admin { users { nodes { id } } } }",
        "mutation($id: ID!) { suspendUser(input: { userId: $id }) { user { id } } }",
        "mutation($id: ID!) { deleteUser(input: { userId: $id }) { deletedUserId } }",
    ];
    let refuses = async |viewer: &Viewer| {
        for document in documents {
            let refused = api.refusal(viewer, document, json!({ "id": alice })).await;
            assert_eq!(refused["code"], "FORBIDDEN", "{document}");
        }
    };

    api.data(&program, documents[0], json!({})).await;
    // What the issuer's tokens say is what the key may do; a token speaks for itself.
    sign_in_as(&replica.database, &identity("root")).await;
    refuses(&program).await;
    api.data(&root, documents[0], json!({})).await;

    replica.admin("root").await;
    api.data(&program, documents[0], json!({})).await;
    api.data(&other, documents[1], json!({ "id": itself }))
        .await;
    refuses(&program).await;
    refuses(&root).await;
}

#[tokio::test]
async fn users_are_listed_newest_first_and_cursors_stay_good() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let api = Api::of(&replica);
    let root = replica.admin("root").await;
    for number in 0..7 {
        replica.viewer(&format!("user {number}")).await;
    }
    // As if several had come at the same moment.
    sql(
        &test,
        "update chat.users set created_at = '2026-01-01T00:00:00Z' where external_id like 'user%'",
    )
    .await;
    let page = "query($after: String) { admin { users(first: 3, after: $after) { \
        nodes { externalId } edges { cursor node { externalId } } \
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } } }";
    let mut seen = Vec::new();
    let mut after = Value::Null;
    loop {
        let data = api.data(&root, page, json!({ "after": after })).await;
        let users = &data["admin"]["users"];
        let edges = users["edges"].as_array().expect("edges");
        for edge in edges {
            seen.push(text(&edge["node"]["externalId"]));
        }
        assert_eq!(
            users["pageInfo"]["endCursor"],
            edges[edges.len() - 1]["cursor"]
        );
        // Somebody comes in between, who stands before everything that was seen.
        replica.viewer(&format!("late {}", seen.len())).await;
        if users["pageInfo"]["hasNextPage"] == false {
            break;
        }
        after = users["pageInfo"]["endCursor"].clone();
    }
    assert_eq!(
        seen,
        [
            "root", "user 6", "user 5", "user 4", "user 3", "user 2", "user 1", "user 0"
        ]
    );
    let refused = api
        .refusal(
            &root,
            "query($after: String) { admin { users(after: $after, query: \"user\") { nodes { id } } } }",
            json!({ "after": after }),
        )
        .await;
    assert_eq!(
        refused,
        json!({ "code": "BAD_USER_INPUT", "argument": "after" }),
        "a cursor of another list"
    );
}

#[tokio::test]
async fn users_are_found_by_a_part_of_what_names_them_or_by_their_whole_id() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let api = Api::of(&replica);
    let root = replica.admin("root").await;
    for (name, email, shown) in [
        ("ann-1", Some("ann@example.org"), Some("Ann Ω. Other")),
        ("100%_\\", None, None),
        ("bob", Some("BOB@example.org"), None),
    ] {
        let mut identity = identity(name);
        identity.email = email.map(str::to_owned);
        identity.display_name = shown.map(str::to_owned);
        sign_in_as(&replica.database, &identity).await;
    }
    let bob = replica.viewer("bob").await;
    let as_viewer = api.data(&bob, "{ viewer { id } }", json!({})).await;
    let as_viewer = text(&as_viewer["viewer"]["id"]);
    let as_user = user_id(&api, &root, "bob").await;
    assert_ne!(as_viewer, as_user);
    for (query, expected) in [
        ("ANN", vec!["ann-1"]),
        ("ω. o", vec!["ann-1"]),
        ("%", vec!["100%_\\"]),
        ("_", vec!["100%_\\"]),
        ("\\", vec!["100%_\\"]),
        ("bob@", vec!["bob"]),
        ("EXAMPLE.org", vec!["ann-1"]),
        (as_viewer.as_str(), vec!["bob"]),
        (as_user.as_str(), vec!["bob"]),
        ("nobody", vec![]),
        ("", vec!["bob", "100%_\\", "ann-1", "root"]),
    ] {
        let data = api
            .data(
                &root,
                "query($query: String) { admin { users(query: $query) { nodes { externalId } } } }",
                json!({ "query": query }),
            )
            .await;
        let found: Vec<_> = data["admin"]["users"]["nodes"]
            .as_array()
            .expect("users")
            .iter()
            .map(|user| text(&user["externalId"]))
            .collect();
        assert_eq!(found, expected, "{query}");
    }
    for query in ["a".repeat(256), "a\0".to_owned()] {
        let refused = api
            .refusal(
                &root,
                "query($query: String) { admin { users(query: $query) { nodes { id } } } }",
                json!({ "query": query }),
            )
            .await;
        assert_eq!(
            refused,
            json!({ "code": "BAD_USER_INPUT", "argument": "query" })
        );
    }
}

#[tokio::test]
async fn an_admin_suspends_restores_and_deletes_others_and_not_themselves() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let api = Api::of(&replica);
    let (alice, root) = (replica.viewer("alice").await, replica.admin("root").await);
    api.start_chat(&alice, "hers").await;
    let id = user_id(&api, &root, "alice").await;
    let suspend =
        "mutation($id: ID!) { suspendUser(input: { userId: $id }) { user { id suspendedAt } } }";
    let restore =
        "mutation($id: ID!) { restoreUser(input: { userId: $id }) { user { id suspendedAt } } }";
    let delete = "mutation($id: ID!) { deleteUser(input: { userId: $id }) { deletedUserId } }";

    let first = api.data(&root, suspend, json!({ "id": id })).await;
    assert!(first["suspendUser"]["user"]["suspendedAt"].is_string());
    assert_eq!(api.data(&root, suspend, json!({ "id": id })).await, first);
    let refused = replica
        .database
        .sign_in(&identity("alice"), TOLERANCE, &by_token())
        .await;
    assert!(matches!(refused, Ok(SignIn::Suspended(_))), "{refused:?}");
    for _ in 0..2 {
        let restored = api.data(&root, restore, json!({ "id": id })).await;
        assert_eq!(
            restored["restoreUser"]["user"],
            json!({ "id": id, "suspendedAt": null })
        );
    }
    assert_eq!(replica.viewer("alice").await.user_id(), alice.user_id());

    let own = user_id(&api, &root, "root").await;
    let viewer = api.data(&alice, "{ viewer { id } }", json!({})).await;
    for document in [suspend, restore, delete] {
        for (id, expected) in [
            (
                own.as_str(),
                json!({ "code": "BAD_USER_INPUT", "argument": "userId" }),
            ),
            (
                viewer["viewer"]["id"].as_str().expect("an id"),
                json!({ "code": "BAD_USER_INPUT", "argument": "userId" }),
            ),
            (
                "user_AZ3r7gAAcACAAAAAAAAAAA",
                json!({ "code": "NOT_FOUND" }),
            ),
        ] {
            let refused = api.refusal(&root, document, json!({ "id": id })).await;
            assert_eq!(refused, expected, "{document} {id}");
        }
    }

    // From the acknowledgement on, whatever is still there of them, no admin sees them.
    let gate = SqlGate::closed(&test, 4711).await;
    let policy = format!(
        "create policy gate on chat.conversations as restrictive for delete to loquat_viewer using ({})",
        SqlGate::passed(4711)
    );
    sql(&test, &policy).await;
    let deleted = api.data(&root, delete, json!({ "id": id })).await;
    assert_eq!(deleted["deleteUser"]["deletedUserId"], id.as_str());
    let there: i64 =
        sqlx::query_scalar("select count(*) from chat.users where deleted_at is not null")
            .fetch_one(&mut test.superuser().await)
            .await
            .expect("a count");
    assert_eq!(there, 1);
    let found = api
        .data(
            &root,
            "query($id: ID!) { node(id: $id) { id } admin { user(id: $id) { id } users { nodes { externalId } } } }",
            json!({ "id": id }),
        )
        .await;
    assert_eq!(
        found,
        json!({ "node": null, "admin": { "user": null, "users": { "nodes": [{ "externalId": "root" }] } } })
    );
    for document in [suspend, restore, delete] {
        let refused = api.refusal(&root, document, json!({ "id": id })).await;
        assert_eq!(refused["code"], "NOT_FOUND", "{document}");
    }
    gate.open().await;
}

#[tokio::test]
async fn an_admin_transaction_cannot_suspend_its_own_admin_even_where_the_sql_would() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let root = replica.admin("root").await;
    replica.viewer("alice").await;
    let mut connection = test.superuser().await;
    let mut tx = connection.begin().await.expect("a transaction");
    sqlx::raw_sql(AssertSqlSafe(format!(
        "set local role loquat_admin; select set_config('loquat.user_id', '{}', true)",
        root.user_id()
    )))
    .execute(&mut *tx)
    .await
    .expect("the role");
    let suspended: Vec<String> =
        sqlx::query_scalar("update chat.users set suspended_at = now() returning external_id")
            .fetch_all(&mut *tx)
            .await
            .expect("an update");
    assert_eq!(suspended, ["alice"]);
}
