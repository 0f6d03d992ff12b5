//! API keys: made once, found by their beginning, and good for what their scopes say.

mod scopes;

use std::time::SystemTime;

use futures_util::future::join_all;
use loquat::{
    accounts::{Session, SignInError},
    auth::Credential,
    db::{KeyRefusal, Viewer},
    model::ApiKeyId,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Api, Replica, TestDatabase, session_of, sql, text};

const CREATE: &str = "mutation($input: CreateApiKeyInput!) { createApiKey(input: $input) { \
    apiKey { id name prefix scopes lastUsedAt expiresAt revokedAt } apiKeyEdge { cursor node { id } } secret } }";

async fn create(api: &Api<'_>, viewer: &Viewer, input: Value) -> Value {
    let mut made = api.data(viewer, CREATE, json!({ "input": input })).await;
    made["createApiKey"].take()
}

/// A key of the viewer with these scopes, in GraphQL's words.
pub async fn key_with(api: &Api<'_>, viewer: &Viewer, scopes: Value) -> SecretString {
    let made = create(api, viewer, json!({ "name": "a key", "scopes": scopes })).await;
    SecretString::from(text(&made["secret"]))
}

async fn sign_in_by(replica: &Replica, secret: &SecretString) -> Result<Session, SignInError> {
    let credential = Credential::ApiKey(secret.clone());
    replica.accounts.sign_in(&credential, None).await
}

/// The viewer whom the key stands for.
pub async fn bearer(replica: &Replica, secret: &SecretString) -> Viewer {
    let session = sign_in_by(replica, secret).await;
    session.expect("the key signs in").viewer
}

async fn refusal(replica: &Replica, secret: &SecretString) -> KeyRefusal {
    match sign_in_by(replica, secret).await {
        Err(SignInError::KeyRefused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_key_is_shown_once_and_signs_its_user_in() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let api = Api::of(&replica);
    let alice = replica.viewer("alice").await;
    let input = json!({ "name": "nightly export", "scopes": ["WRITE", "READ", "WRITE"], "expiresAt": "2999-01-31T12:00:00.000Z" });
    let made = create(&api, &alice, input).await;

    let secret = text(&made["secret"]);
    let prefix = text(&made["apiKey"]["prefix"]);
    assert_eq!((secret.len(), prefix.len()), (60, 16));
    assert!(secret.starts_with(&format!("{prefix}_")));
    assert_eq!(made["apiKey"]["name"], "nightly export");
    assert_eq!(made["apiKey"]["scopes"], json!(["READ", "WRITE"]));
    assert_eq!(made["apiKey"]["expiresAt"], "2999-01-31T12:00:00.000Z");
    assert_eq!(made["apiKey"]["lastUsedAt"], Value::Null);
    assert_eq!(made["apiKeyEdge"]["node"]["id"], made["apiKey"]["id"]);

    let session = sign_in_by(&replica, &SecretString::from(secret.clone()))
        .await
        .expect("the key signs in");
    assert_eq!(session.viewer.user_id(), alice.user_id());
    assert_eq!(&*session.credential, format!("api_key:{prefix}"));
    assert!(session.expires_at.expect("an expiry") > SystemTime::now());
    let access = session.viewer.access();
    assert!(access.read && access.write && !access.admin && !access.in_person);

    // Its policies are those of the token that made it.
    let mut connection = test.superuser().await;
    let (row, sub): (String, String) =
        sqlx::query_as("select api_keys::text, claims->>'sub' from chat.api_keys")
            .fetch_one(&mut connection)
            .await
            .expect("one key");
    assert_eq!(sub, "alice");
    assert!(
        !row.contains(&secret) && !row.contains(&secret[17..]),
        "{row}"
    );
}

#[tokio::test]
async fn the_last_use_is_noted_once_a_minute() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let api = Api::of(&replica);
    let alice = replica.viewer("alice").await;
    let secret = key_with(&api, &alice, json!(["READ"])).await;
    let used = async || {
        bearer(&replica, &secret).await;
        let seen: String = sqlx::query_scalar(
            "select last_used_at::text || ' ' || last_active_at from chat.api_keys join chat.users using (user_id)",
        )
        .fetch_one(&mut test.superuser().await)
        .await
        .expect("a use");
        seen
    };
    let first = used().await;
    assert_eq!(used().await, first);
    let listed = "{ viewer { apiKeys { nodes { lastUsedAt } } } }";
    let listed = api.data(&alice, listed, json!({})).await;
    assert!(listed["viewer"]["apiKeys"]["nodes"][0]["lastUsedAt"].is_string());
    sql(
        &test,
        "update chat.api_keys set last_used_at = now() - interval '61 s'",
    )
    .await;
    assert_ne!(used().await, first);
}

#[tokio::test]
async fn a_key_that_is_unknown_revoked_expired_or_whose_user_is_gone_is_refused() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let api = Api::of(&replica);
    let alice = replica.viewer("alice").await;
    let secret = key_with(&api, &alice, json!(["READ"])).await;
    let good = secret.expose_secret().to_owned();
    bearer(&replica, &secret).await;

    let other = key_with(&api, &alice, json!(["READ"])).await;
    let other = other.expose_secret();
    let last = if good.ends_with('A') { "B" } else { "A" };
    for (what, twisted) in [
        (
            "another's secret part",
            format!("{}{}", &good[..16], &other[16..]),
        ),
        (
            "another's prefix",
            format!("{}{}", &other[..16], &good[16..]),
        ),
        ("one character off", format!("{}{last}", &good[..59])),
        (
            "a prefix that is none",
            format!("loq_aaaaaaaaaaaa{}", &good[16..]),
        ),
        ("the prefix alone", good[..16].to_owned()),
        ("no key at all", "loq_".to_owned()),
    ] {
        let refused = refusal(&replica, &SecretString::from(twisted)).await;
        assert_eq!(refused, KeyRefusal::Unknown, "{what}");
    }
    for (change, back, expected) in [
        (
            "api_keys set revoked_at = now()",
            "api_keys set revoked_at = null",
            KeyRefusal::Revoked,
        ),
        (
            "api_keys set expires_at = now()",
            "api_keys set expires_at = null",
            KeyRefusal::Expired,
        ),
        (
            "users set deleted_at = now(), issuer = null, external_id = null, email = null",
            "users set deleted_at = null, issuer = 'test', external_id = 'alice'",
            KeyRefusal::Deleted,
        ),
    ] {
        sql(&test, &format!("update chat.{change}")).await;
        assert_eq!(refusal(&replica, &secret).await, expected);
        sql(&test, &format!("update chat.{back}")).await;
        bearer(&replica, &secret).await;
    }
    sql(&test, "update chat.users set suspended_at = now()").await;
    let suspended = sign_in_by(&replica, &secret).await;
    assert!(matches!(suspended, Err(SignInError::Suspended(id)) if id == alice.user_id()));
    sql(&test, "delete from chat.users").await;
    assert_eq!(refusal(&replica, &secret).await, KeyRefusal::Unknown);
}

#[tokio::test]
async fn a_key_is_asked_for_properly_and_in_person() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let api = Api::of(&replica);
    let alice = replica.viewer("alice").await;
    let long = "é".repeat(256);
    for (input, argument) in [
        (json!({ "name": "", "scopes": ["READ"] }), "name"),
        (json!({ "name": " \n", "scopes": ["READ"] }), "name"),
        (json!({ "name": "a\u{0}b", "scopes": ["READ"] }), "name"),
        (json!({ "name": long, "scopes": ["READ"] }), "name"),
        (json!({ "name": "a", "scopes": [] }), "scopes"),
        (
            json!({ "name": "a", "scopes": ["READ"], "expiresAt": "2020-01-01T00:00:00Z" }),
            "expiresAt",
        ),
    ] {
        let refused = api.refusal(&alice, CREATE, json!({ "input": input })).await;
        assert_eq!(
            refused,
            json!({ "code": "BAD_USER_INPUT", "argument": argument })
        );
    }
    create(
        &api,
        &alice,
        json!({ "name": "é".repeat(255), "scopes": ["READ"] }),
    )
    .await;

    let ask = async |viewer: &Viewer, scopes: Value| {
        let input = json!({ "name": "a", "scopes": scopes });
        let answer = api.refusal(viewer, CREATE, json!({ "input": input })).await;
        text(&answer["code"])
    };
    assert_eq!(ask(&alice, json!(["ADMIN"])).await, "FORBIDDEN");
    let boss = replica.admin("boss").await;
    let key = key_with(&api, &boss, json!(["ADMIN", "WRITE"])).await;
    let program = bearer(&replica, &key).await;
    assert!(program.access().admin);
    assert_eq!(ask(&program, json!(["READ"])).await, "FORBIDDEN");

    // Its admin scope works only while its user is an admin.
    replica.viewer("boss").await;
    let program = bearer(&replica, &key).await;
    assert!(!program.access().admin && program.access().write);
    replica.admin("boss").await;
    assert!(bearer(&replica, &key).await.access().admin);
}

#[tokio::test]
async fn a_user_has_a_hundred_keys_and_not_one_more_however_they_are_asked_for() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let api = Api::of(&replica);
    let alice = replica.viewer("alice").await;
    let secret = key_with(&api, &alice, json!(["READ"])).await;
    sql(
        &test,
        "insert into chat.api_keys (user_id, id, name, prefix, secret_hash, scopes, claims) \
         select user_id, gen_random_uuid(), 'more', 'loq_' || n, secret_hash, scopes, claims \
         from chat.api_keys, generate_series(1, 96) as n",
    )
    .await;
    let input = json!({ "input": { "name": "more", "scopes": ["READ"] } });
    let asked = (0..6).map(|_| api.ask(&alice, CREATE, input.clone()));
    let answers = join_all(asked).await;
    let refused: Vec<&Value> = answers
        .iter()
        .filter_map(|answer| answer.get("errors"))
        .collect();
    assert_eq!(refused.len(), 3, "{answers:?}");
    let expected = json!({ "code": "LIMIT_EXCEEDED", "limit": "apiKeys", "value": 100,
        "documentation": "docs/limits.md#apikeys" });
    assert!(refused.iter().all(|it| it[0]["extensions"] == expected));

    // Revoked ones do not count; another user has their own hundred.
    let session = session_of(&alice);
    let id = key_id(&test, &secret).await;
    let revoked = replica.accounts.revoke_api_key(&session, id).await;
    assert!(revoked.expect("revoked").revoked_at.is_some());
    key_with(&api, &alice, json!(["READ"])).await;
    assert_eq!(
        api.refusal(&alice, CREATE, input).await["code"],
        "LIMIT_EXCEEDED"
    );
    let bob = replica.viewer("bob").await;
    key_with(&api, &bob, json!(["READ"])).await;
}

async fn key_id(test: &TestDatabase, secret: &SecretString) -> ApiKeyId {
    let id: Uuid = sqlx::query_scalar("select id from chat.api_keys where prefix = $1")
        .bind(&secret.expose_secret()[..16])
        .fetch_one(&mut test.superuser().await)
        .await
        .expect("the key");
    id.into()
}

#[tokio::test]
async fn keys_are_listed_the_newest_first_and_a_second_revocation_changes_nothing() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let api = Api::of(&replica);
    let alice = replica.viewer("alice").await;
    let mut made = Vec::new();
    for name in ["one", "two", "three"] {
        made.push(create(&api, &alice, json!({ "name": name, "scopes": ["READ"] })).await);
    }
    let list = "query($first: Int, $after: String) { viewer { apiKeys(first: $first, after: $after) { \
        totalCount nodes { name } edges { cursor node { id } } \
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } } }";
    let page = async |variables: Value| {
        let mut found = api.data(&alice, list, variables).await;
        found["viewer"]["apiKeys"].take()
    };
    let first = page(json!({ "first": 2 })).await;
    assert_eq!(
        first["nodes"],
        json!([{ "name": "three" }, { "name": "two" }])
    );
    assert_eq!(first["totalCount"], 3);
    assert_eq!(first["pageInfo"]["hasNextPage"], true);
    // The edge that the mutation gave is the one of the list.
    assert_eq!(first["edges"][0], made[2]["apiKeyEdge"]);
    let rest = page(json!({ "first": 2, "after": first["pageInfo"]["endCursor"] })).await;
    assert_eq!(rest["nodes"], json!([{ "name": "one" }]));
    assert_eq!(rest["pageInfo"]["hasNextPage"], false);
    let all = page(json!({})).await;
    assert_eq!(all["nodes"].as_array().map(Vec::len), Some(3));
    let refused = api.refusal(&alice, list, json!({ "first": 101 })).await;
    assert_eq!(
        refused,
        json!({ "code": "BAD_USER_INPUT", "argument": "first" })
    );

    let id = &made[1]["apiKey"]["id"];
    let revoke = "mutation($id: ID!) { revokeApiKey(input: { apiKeyId: $id }) { apiKey { id name revokedAt } } }";
    let once = api.data(&alice, revoke, json!({ "id": id })).await;
    let twice = api.data(&alice, revoke, json!({ "id": id })).await;
    assert!(once["revokeApiKey"]["apiKey"]["revokedAt"].is_string());
    assert_eq!(once, twice);
    let nodes = api
        .data(
            &alice,
            "query($id: ID!, $ids: [ID!]!) { node(id: $id) { __typename id ... on ApiKey { name revokedAt } } \
               nodes(ids: $ids) { id } }",
            json!({ "id": id, "ids": [made[0]["apiKey"]["id"], id] }),
        )
        .await;
    assert_eq!(nodes["node"]["__typename"], "ApiKey");
    assert_eq!(
        nodes["node"]["revokedAt"],
        once["revokeApiKey"]["apiKey"]["revokedAt"]
    );
    assert_eq!(
        nodes["nodes"],
        json!([{ "id": made[0]["apiKey"]["id"] }, { "id": id }])
    );
    let conversation = api.start_chat(&alice, "no key").await;
    let refused = api
        .refusal(&alice, revoke, json!({ "id": conversation }))
        .await;
    assert_eq!(refused["code"], "BAD_USER_INPUT");
}
