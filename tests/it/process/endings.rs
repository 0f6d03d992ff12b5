//! Credentials that end before their time, and sockets that live by more than one.

use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::{
    mini::Socket,
    provider::{FakeProvider, Script},
    support::{
        TestDatabase,
        process::{Device, program},
        program::Server,
        sql, text,
    },
};

/// How soon every socket of a credential that has ended must be closed, on every replica.
const PROMISE: Duration = Duration::from_secs(5);

struct Key {
    id: String,
    secret: String,
}

async fn make_key(device: &Device, scopes: Value, expires_at: Option<SystemTime>) -> Key {
    let expires_at =
        expires_at.map(|at| DateTime::<Utc>::from(at).to_rfc3339_opts(SecondsFormat::Millis, true));
    let made = device
        .data(
            "mutation($input: CreateApiKeyInput!) { createApiKey(input: $input) { apiKey { id } secret } }",
            json!({ "input": { "name": "a program", "scopes": scopes, "expiresAt": expires_at } }),
        )
        .await;
    let made = &made["createApiKey"];
    Key {
        id: text(&made["apiKey"]["id"]),
        secret: text(&made["secret"]),
    }
}

async fn revoke(device: &Device, key: &Key) {
    let document =
        "mutation($id: ID!) { revokeApiKey(input: { apiKeyId: $id }) { apiKey { revokedAt } } }";
    let revoked = device.data(document, json!({ "id": key.id })).await;
    assert!(revoked["revokeApiKey"]["apiKey"]["revokedAt"].is_string());
}

async fn pair(test: &TestDatabase, model: &FakeProvider) -> [Server; 2] {
    tokio::join!(program(test, model).serve(), program(test, model).serve()).into()
}

/// A reply that is being written, as far as `before `.
async fn stalled_reply(model: &FakeProvider, device: &Device) -> String {
    model.script(Script::stream().text("before ").stall());
    let conversation = device.start_chat().await;
    device.send(&conversation, "hi").await
}

/// Pings with a credential, and waits until it is accepted.
async fn ping(socket: &mut Socket, payload: Value) {
    let ping = json!({ "type": "ping", "payload": payload });
    socket.send(ping).await;
    let pong = json!({ "type": "pong", "payload": payload });
    assert_eq!(socket.next().await, pong);
}

/// The answer to an operation that has one.
async fn ask(socket: &mut Socket, document: &str) -> Value {
    socket.subscribe("ask", document).await;
    let mut answer = socket.next().await;
    assert_eq!(socket.next().await["type"], "complete", "{answer}");
    answer["payload"].take()
}

const WRITE: &str = "mutation { startChat(input: {}) { conversation { id } } }";

async fn may_write(socket: &mut Socket) -> bool {
    let answer = ask(socket, WRITE).await;
    let refused = answer["errors"][0]["extensions"]["code"] == "FORBIDDEN";
    assert!(refused || answer.get("errors").is_none(), "{answer}");
    !refused
}

#[tokio::test]
async fn a_revoked_key_closes_its_sockets_on_every_replica_and_no_others() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    let [here, elsewhere] = pair(&test, &model).await;
    let ann = Device::of(&here, "ann");
    let reply = stalled_reply(&model, &ann).await;
    let doomed = make_key(&ann, json!(["WRITE"]), None).await;
    let spared = make_key(&ann, json!(["READ"]), None).await;
    let bob = Device::of(&elsewhere, "bob");

    let mut closing = Vec::new();
    let mut staying = vec![ann.socket().await, bob.socket().await];
    for server in [&here, &elsewhere] {
        let program = Device::with_token(server, &doomed.secret);
        let mut follower = program.follow(&reply).await;
        follower.until("before ").await;
        closing.push(follower.socket);
        closing.push(program.socket().await);
        staying.push(Device::with_token(server, &spared.secret).socket().await);
    }

    let begun = Instant::now();
    revoke(&ann, &doomed).await;
    for socket in &mut closing {
        let expected = (4403, "The credential was revoked".to_owned());
        assert_eq!(socket.closed().await, expected);
        assert!(begun.elapsed() < PROMISE, "{:?}", begun.elapsed());
    }
    for socket in &mut staying {
        assert!(socket.is_alive().await);
    }
    for server in [&here, &elsewhere] {
        let program = Device::with_token(server, &doomed.secret);
        let answer = program.answer("{ viewer { id } }", json!({})).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (401, "UNAUTHENTICATED")
        );
        assert_eq!(program.judged_socket().await.closed().await.0, 4403);
    }
}

#[tokio::test]
async fn a_suspended_and_a_deleted_user_lose_every_socket_on_every_replica() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    let [here, elsewhere] = pair(&test, &model).await;
    let mut staying = Device::of(&elsewhere, "eve").socket().await;
    for (user, end) in [
        (
            "ann",
            "update chat.users set suspended_at = clock_timestamp() where external_id = 'ann'",
        ),
        // As a deletion ends: nothing of the user is left but the tombstone.
        (
            "bob",
            "with gone as (delete from chat.users where external_id = 'bob' returning user_id) \
             insert into chat.tombstones (user_id, subject_hash, deleted_at) \
             select user_id, sha256('bob'), clock_timestamp() from gone",
        ),
    ] {
        let key = make_key(&Device::of(&here, user), json!(["READ"]), None).await;
        let mut closing = Vec::new();
        for server in [&here, &elsewhere] {
            closing.push(Device::of(server, user).socket().await);
            closing.push(Device::with_token(server, &key.secret).socket().await);
        }
        let begun = Instant::now();
        sql(&test, end).await;
        for socket in &mut closing {
            assert_eq!(
                socket.closed().await,
                (4403, "Forbidden".to_owned()),
                "{user}"
            );
            assert!(begun.elapsed() < PROMISE, "{:?}", begun.elapsed());
        }
        let program = Device::with_token(&here, &key.secret);
        assert_eq!(program.judged_socket().await.closed().await.0, 4403);
    }
    assert!(staying.is_alive().await);
}

#[tokio::test]
async fn a_key_s_socket_ends_when_the_key_expires() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    let server = program(&test, &model).serve().await;
    let ann = Device::of(&server, "ann");
    let expires_at = SystemTime::now() + Duration::from_millis(2_500);
    let key = make_key(&ann, json!(["READ"]), Some(expires_at)).await;
    let program = Device::with_token(&server, &key.secret);
    let mut ending = program.socket().await;
    let mut extended = program.socket().await;
    ping(&mut extended, json!({ "X-User-Id": "ann" })).await;
    assert!(
        SystemTime::now() < expires_at,
        "this machine is too slow for this test"
    );

    let (code, reason) = ending.closed().await;
    assert_eq!(
        (code, reason.as_str()),
        (4403, "The credential has expired")
    );
    // The server's calendar and this one are the same, to the millisecond that was written.
    let late = SystemTime::now()
        .duration_since(expires_at - Duration::from_millis(1))
        .expect("not before");
    assert!(late < PROMISE, "{late:?}");
    assert!(extended.is_alive().await);
    let answer = program.answer("{ viewer { id } }", json!({})).await;
    assert_eq!(
        (answer.status.as_u16(), answer.code()),
        (401, "UNAUTHENTICATED")
    );
}

#[tokio::test]
async fn a_socket_has_the_rights_of_the_credential_that_it_was_given_last() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    let server = program(&test, &model).serve().await;
    let ann = Device::of(&server, "ann");
    let reply = stalled_reply(&model, &ann).await;
    let reads = make_key(&ann, json!(["READ"]), None).await;
    let writes = make_key(&ann, json!(["WRITE"]), None).await;
    let in_person = json!({ "X-User-Id": "ann" });

    let mut follower = Device::with_token(&server, &reads.secret)
        .follow(&reply)
        .await;
    follower.until("before ").await;
    let mut socket = follower.socket;
    assert!(!may_write(&mut socket).await);
    // Not by a word more than that credential is good for.
    ping(&mut socket, json!({ "token": writes.secret })).await;
    assert!(may_write(&mut socket).await);
    let create =
        "mutation { createApiKey(input: { name: \"a\", scopes: [READ] }) { apiKey { id } } }";
    let refused = ask(&mut socket, create).await;
    assert_eq!(refused["errors"][0]["extensions"]["code"], "FORBIDDEN");
    ping(&mut socket, in_person.clone()).await;
    assert_eq!(ask(&mut socket, create).await.get("errors"), None);
    // Nor does it keep what the last one does not give.
    ping(
        &mut socket,
        json!({ "authorization": format!("Bearer {}", reads.secret) }),
    )
    .await;
    assert!(!may_write(&mut socket).await);

    // The credentials of before have no say in it any more.
    revoke(&ann, &writes).await;
    let mut lost = Device::with_token(&server, &reads.secret).socket().await;
    ping(&mut socket, in_person).await;
    revoke(&ann, &reads).await;
    assert_eq!(lost.closed().await.0, 4403);
    assert!(may_write(&mut socket).await);

    // A revoked one and another user's end it.
    let bobs = make_key(&Device::of(&server, "bob"), json!(["READ"]), None).await;
    for secret in [&reads.secret, &bobs.secret] {
        let mut socket = ann.socket().await;
        let ping = json!({ "type": "ping", "payload": { "token": secret } });
        socket.send(ping).await;
        assert_eq!(socket.closed().await.0, 4403);
    }
}
