//! What a server notes of its users and of strangers, as its database keeps it.

use jsonwebtoken::{EncodingKey, Header, encode};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sqlx::{Connection, Row};
use tokio::net::TcpStream;

use crate::{
    mini::Socket,
    provider::FakeProvider,
    support::{
        TestDatabase, eventually,
        process::{Answer, Device, program},
        program::{Program, Server, client},
        text, within,
    },
};

pub const SECRET: &str = "a-secret-of-this-test-of-32-bytes-or-more";

/// The nil UUID.
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

pub async fn with_issuer(test: &TestDatabase) -> Program {
    let model = FakeProvider::start().await;
    program(test, &model).variable("JWT_SECRET_KEY", SECRET)
}

pub fn token(user: &str) -> String {
    signed(user, SECRET)
}

pub fn signed(user: &str, secret: &str) -> String {
    let claims = json!({ "sub": user, "exp": 4_000_000_000_u32 });
    let key = EncodingKey::from_secret(secret.as_bytes());
    encode(&Header::default(), &claims, &key).expect("a token")
}

/// Whether the request was refused, as a stranger's is.
async fn is_refused(request: reqwest::RequestBuilder) -> bool {
    let answer = Answer::to(request.json(&json!({ "query": "{ viewer { id } }" }))).await;
    answer.status == 401
}

async fn refuse(server: &Server) {
    let device = Device::with_token(server, &signed("eve", "another secret of 32 bytes or more"));
    assert!(is_refused(device.post()).await);
}

/// Waits for so many events of an action, oldest first.
async fn noted(test: &TestDatabase, action: &str, count: usize) -> Vec<Value> {
    eventually("the events are noted", || async {
        let found: Vec<Value> = sqlx::query(
            "select user_id::text, outcome, credential, host(ip_address) as address, target_type \
             from chat.audit_log where action = $1 order by occurred_at, id",
        )
        .bind(action)
        .fetch_all(&mut test.superuser().await)
        .await
        .expect("the log")
        .iter()
        .map(|row| {
            json!({
                "user": row.get::<String, _>(0), "outcome": row.get::<String, _>(1),
                "credential": row.get::<String, _>(2), "address": row.get::<Option<String>, _>(3),
                "target": row.get::<Option<String>, _>(4),
            })
        })
        .collect();
        (found.len() >= count).then_some(found)
    })
    .await
}

async fn user_id(test: &TestDatabase, external_id: &str) -> String {
    sqlx::query_scalar("select user_id::text from chat.users where external_id = $1")
        .bind(external_id)
        .fetch_one(&mut test.superuser().await)
        .await
        .expect("a user")
}

#[tokio::test]
async fn a_new_user_is_noted_once_and_so_is_each_key() {
    let test = TestDatabase::create().await;
    let server = with_issuer(&test).await.serve().await;
    let ann = Device::with_token(&server, &token("ann"));
    let created = ann
        .data(
            "mutation { createApiKey(input: { name: \"a\", scopes: [WRITE] }) { secret apiKey { id prefix } } }",
            json!({}),
        )
        .await;
    let created = &created["createApiKey"];
    let (id, prefix) = (&created["apiKey"]["id"], text(&created["apiKey"]["prefix"]));
    let program = Device::with_token(&server, &text(&created["secret"]));
    for _ in 0..2 {
        let revoked =
            "mutation($id: ID!) { revokeApiKey(input: { apiKeyId: $id }) { apiKey { id } } }";
        let answer = program.answer(revoked, json!({ "id": id })).await;
        assert!(answer.status == 200 || answer.code() == "UNAUTHENTICATED");
    }
    assert!(is_refused(program.post()).await);

    let id = user_id(&test, "ann").await;
    let by_token = |target: Value| {
        json!({
            "user": id, "outcome": "SUCCEEDED", "credential": "token:jwt",
            "address": "127.0.0.1", "target": target,
        })
    };
    assert_eq!(
        noted(&test, "user.created", 1).await,
        [by_token(Value::Null)]
    );
    assert_eq!(
        noted(&test, "api_key.created", 1).await,
        [by_token(json!("api_key"))]
    );
    let revoked = noted(&test, "api_key.revoked", 1).await;
    assert_eq!(revoked.len(), 1);
    assert_eq!(revoked[0]["credential"], format!("api_key:{prefix}"));
    let refused = &noted(&test, "credential.refused", 1).await[0];
    assert_eq!(refused["user"], NOBODY);
    assert_eq!(refused["credential"], format!("api_key:{prefix}"));
    server.signal(Signal::SIGTERM);
    assert_eq!(server.end().await.status.code(), Some(0));
}

#[tokio::test]
async fn whatever_is_refused_is_noted_as_nobody_s_and_never_what_stood_in_it() {
    let test = TestDatabase::create().await;
    let server = with_issuer(&test).await.serve().await;
    let post = || client().post(server.url("/graphql"));
    let good = token("ann");
    let unknown_key = format!("loq_{}_{}", "a".repeat(12), "b".repeat(43));
    for (request, credential) in [
        (post().bearer_auth("nonsense"), "token"),
        (
            post().bearer_auth(signed("ann", "another secret of 32 bytes or more")),
            "token",
        ),
        (post().bearer_auth("loq_nonsense"), "api_key"),
        (post().bearer_auth(unknown_key), "api_key"),
        (post().header("X-User-Id", "ann"), "development"),
        (post().bearer_auth(&good).bearer_auth(&good), "none"),
        (post().header("Authorization", "Basic YTpi"), "none"),
        (post().bearer_auth(&good).header("X-User-Id", "ann"), "none"),
        (post().query(&[("access_token", &good)]), "none"),
    ] {
        let before = noted(&test, "credential.refused", 0).await.len();
        assert!(is_refused(request).await, "{credential}");
        let refused = noted(&test, "credential.refused", before + 1).await;
        assert_eq!(refused.len(), before + 1);
        let expected = json!({
            "user": NOBODY, "outcome": "DENIED", "credential": credential,
            "address": "127.0.0.1", "target": null,
        });
        assert_eq!(refused[before], expected);
    }
    // No credential at all is none that was refused.
    let before = noted(&test, "credential.refused", 0).await.len();
    assert!(is_refused(post()).await);
    let mut socket = Device::with_token(&server, "nonsense")
        .judged_socket()
        .await;
    assert_eq!(socket.closed().await.0, 4403);
    let after = noted(&test, "credential.refused", before + 1).await;
    assert_eq!(after.len(), before + 1);
}

#[tokio::test]
async fn where_a_request_comes_from_is_what_the_trusted_proxy_says() {
    let test = TestDatabase::create().await;
    let server = with_issuer(&test)
        .await
        .variable("ENVIRONMENT", "production")
        .variable("LOQUAT_TRUSTED_PROXIES", "127.0.0.0/8, 10.0.0.0/8")
        .serve()
        .await;
    for (user, forwarded, expected) in [
        (
            "one",
            &["6.6.6.6, 203.0.113.7, 10.1.1.1"][..],
            "203.0.113.7",
        ),
        ("two", &["6.6.6.6", "2001:db8::7"], "2001:db8::7"),
        ("three", &["203.0.113.7, nonsense"], "127.0.0.1"),
    ] {
        let mut request = Device::with_token(&server, &token(user)).post();
        for value in forwarded {
            request = request.header("X-Forwarded-For", *value);
        }
        assert!(!is_refused(request.header("Forwarded", "for=6.6.6.6")).await);
        let newest = noted(&test, "user.created", 1).await.pop().expect("one");
        assert_eq!(newest["address"], expected, "{user}");
    }
    let stream = TcpStream::connect(server.address()).await;
    let headers = [("x-forwarded-for", "6.6.6.6, 198.51.100.4")];
    let mut socket = Socket::open_with(stream.expect("a connection"), &headers).await;
    socket.init(&token("four")).await;
    let newest = noted(&test, "user.created", 4).await.pop().expect("one");
    assert_eq!(newest["address"], "198.51.100.4");
}

#[tokio::test]
async fn without_a_trusted_proxy_nobody_s_word_for_it_counts() {
    let test = TestDatabase::create().await;
    let server = with_issuer(&test)
        .await
        .variable("ENVIRONMENT", "production")
        .serve()
        .await;
    let request = Device::with_token(&server, &token("ann")).post();
    assert!(!is_refused(request.header("X-Forwarded-For", "203.0.113.7")).await);
    let created = &noted(&test, "user.created", 1).await[0];
    assert_eq!(created["address"], "127.0.0.1");
}

#[tokio::test]
async fn what_is_older_than_the_setting_says_goes_and_the_rest_stays() {
    let test = TestDatabase::create().await;
    with_issuer(&test).await.serve().await.crash().await;
    sqlx::query(
        "insert into chat.audit_log (user_id, id, action, outcome, credential, occurred_at) \
         select gen_random_uuid(), gen_random_uuid(), \
           case when n <= 1200 then 'old' else 'young' end, 'SUCCEEDED', 'none', \
           now() - case when n <= 1200 then interval '31 days' else interval '29 days' end \
         from generate_series(1, 1210) n",
    )
    .execute(&mut test.superuser().await)
    .await
    .expect("events");
    // Without the setting they are kept for ever.
    for (retention, left) in [(None, 1200), (Some("30"), 0)] {
        let mut program = with_issuer(&test).await;
        if let Some(days) = retention {
            program = program.variable("LOQUAT_AUDIT_RETENTION_DAYS", days);
        }
        let server = program.serve().await;
        eventually("the old ones are as they should be", || async {
            (noted(&test, "old", 0).await.len() == left).then_some(())
        })
        .await;
        server.signal(Signal::SIGTERM);
        assert_eq!(server.end().await.status.code(), Some(0));
        assert_eq!(noted(&test, "old", 0).await.len(), left);
    }
    assert_eq!(noted(&test, "young", 10).await.len(), 10);
}

#[tokio::test]
async fn a_refusal_waits_for_no_database() {
    let test = TestDatabase::create().await;
    let server = with_issuer(&test).await.serve().await;
    let mut holder = test.superuser().await;
    let mut lock = holder.begin().await.expect("a transaction");
    sqlx::query("lock table chat.audit_log in access exclusive mode")
        .execute(&mut *lock)
        .await
        .expect("a lock");
    within("refusals are answered", async {
        for _ in 0..3 {
            refuse(&server).await;
        }
    })
    .await;
    lock.rollback().await.expect("unlocked");
    noted(&test, "credential.refused", 2).await;
}

#[tokio::test]
async fn a_flood_of_refusals_does_not_fill_the_database_and_the_log_tells_of_each() {
    const FLOOD: usize = 200;
    let test = TestDatabase::create().await;
    let server = with_issuer(&test).await.serve().await;
    let begun = std::time::Instant::now();
    let device = Device::with_token(&server, "nonsense");
    for _ in 0..FLOOD {
        assert!(is_refused(device.post()).await);
    }
    let seconds = usize::try_from(begun.elapsed().as_secs()).expect("few");
    // Somebody who did prove who they are is noted all the same.
    let ann = Device::with_token(&server, &token("ann"));
    assert!(!is_refused(ann.post()).await);
    server.signal(Signal::SIGTERM);
    let ended = server.end().await;

    let written = noted(&test, "credential.refused", 0).await.len();
    assert!((30..=31 + seconds).contains(&written), "{written}");
    assert_eq!(noted(&test, "user.created", 1).await.len(), 1);
    let lines = |what: &str| {
        ended
            .output
            .lines()
            .filter(|line| line.contains(what))
            .count()
    };
    assert_eq!(lines("credential.refused"), FLOOD, "each is in the log");
    let left_out: usize = ended
        .output
        .lines()
        .filter_map(|line| {
            line.split_once("security.left_out=")?
                .1
                .parse::<usize>()
                .ok()
        })
        .sum();
    assert_eq!(written + left_out, FLOOD);
}
