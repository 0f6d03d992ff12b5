//! A server of key sets that turns rogue after it was believed once: the keys that are known go on,
//! nobody waits for it longer than a fetch may take, and little is taken of what it sends.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use loquat::{auth::Authenticator, lifecycle::Lifecycle};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{
    issuer::{TestKey, offer, reason},
    jwks_server::{JwksServer, Rogue, Victim},
};

/// One fetch, from the connection to the last byte.
const FETCH_TIME_LIMIT: Duration = Duration::from_secs(5);
/// What the kernel's buffers may have swallowed, beside what was read.
const MOST_BYTES: usize = 16 << 20;

type Misdeed = Arc<dyn Fn(Victim) -> BoxFuture<'static, ()> + Send + Sync>;

struct Case {
    name: String,
    misdeed: Misdeed,
    /// Whether it takes as long as it may.
    takes_its_time: bool,
}

fn case<Fut>(
    name: impl Into<String>,
    misdeed: impl Fn(Victim) -> Fut + Send + Sync + 'static,
) -> Case
where
    Fut: Future<Output = ()> + Send + 'static,
{
    Case {
        name: name.into(),
        misdeed: Arc::new(move |victim| misdeed(victim).boxed()),
        takes_its_time: false,
    }
}

fn slow<Fut>(name: &str, misdeed: impl Fn(Victim) -> Fut + Send + Sync + 'static) -> Case
where
    Fut: Future<Output = ()> + Send + 'static,
{
    Case {
        takes_its_time: true,
        ..case(name, misdeed)
    }
}

/// One answer, always the same.
fn answer(name: impl Into<String>, status: &str, headers: &str, body: impl Into<Vec<u8>>) -> Case {
    let (status, headers) = (status.to_owned(), headers.to_owned());
    let body = Arc::<[u8]>::from(body.into());
    case(name, move |mut victim| {
        let (status, headers, body) = (status.clone(), headers.clone(), Arc::clone(&body));
        async move { victim.answer(&status, &headers, &body).await }
    })
}

/// The attacker's own key, under a name that nobody knows yet.
fn own() -> TestKey {
    TestKey::ed25519_b()
}

fn own_set() -> String {
    json!({ "keys": [own().published("own", json!({}))] }).to_string()
}

/// Hangs on for as long as anybody can wait.
async fn hang(_victim: Victim) {
    sleep(FETCH_TIME_LIMIT * 100).await;
}

/// A byte a second, for ever.
async fn drip(mut victim: Victim, head: &'static str, drop: &'static str) {
    victim.send(head.as_bytes()).await;
    while victim.send(drop.as_bytes()).await {
        sleep(Duration::from_secs(1)).await;
    }
}

/// 100 MB, as fast as they are taken.
async fn flood(mut victim: Victim, head: &'static str, piece: &'static str) {
    victim.send(head.as_bytes()).await;
    let pieces = piece.repeat((64 << 10) / piece.len());
    for _ in 0..(100 << 20) / pieces.len() {
        if !victim.send(pieces.as_bytes()).await {
            return;
        }
    }
}

fn silences() -> Vec<Case> {
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    vec![
        slow("never answers", hang),
        slow("drips its headers", |victim| {
            drip(victim, "HTTP/1.1 200 OK\r\nX: ", "a")
        }),
        slow("drips its body", |victim| {
            drip(
                victim,
                "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
                " ",
            )
        }),
        slow("drips chunks", |victim| drip(victim, CHUNKED, "1\r\n \r\n")),
        slow("never ends its body", |mut victim| async move {
            victim
                .send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
                .await;
            hang(victim).await;
        }),
        case("hangs up", |victim| async move { drop(victim) }),
        case("breaks off in the middle", |mut victim| async move {
            victim
                .send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"keys\"")
                .await;
        }),
    ]
}

fn floods() -> Vec<Case> {
    vec![
        case("announces 100 MB and sends them", |victim| {
            flood(
                victim,
                "HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n",
                " ",
            )
        }),
        case(
            "announces more than there is, and is silent",
            |mut victim| async move {
                victim
                    .send(b"HTTP/1.1 200 OK\r\nContent-Length: 9007199254740993\r\n\r\n")
                    .await;
                hang(victim).await;
            },
        ),
        case("sends 100 MB unannounced", |victim| {
            flood(victim, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", " ")
        }),
        case("sends 100 MB in chunks", |victim| {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            flood(victim, head, "8\r\n        \r\n")
        }),
        case("sends 100 MB of headers", |victim| {
            flood(victim, "HTTP/1.1 200 OK\r\n", "X: yyyy\r\n")
        }),
        case("sends 100 MB in one header", |victim| {
            flood(victim, "HTTP/1.1 200 OK\r\nX: ", "y")
        }),
        answer("publishes 10,000 keys", "200 OK", "", {
            let key = own().published("own", json!({}));
            json!({ "keys": vec![key; 10_000] }).to_string()
        }),
    ]
}

fn contents() -> Vec<Case> {
    let deep = format!(
        "{{\"keys\":[{}{}]}}",
        "[".repeat(50_000),
        "]".repeat(50_000)
    );
    let padded = format!(
        "{{\"padding\":\"{}\",{}",
        "x".repeat(300_000),
        &own_set()[1..]
    );
    let text = |name: &str, body: &str| answer(name, "200 OK", "", body);
    vec![
        case("is no HTTP server", |mut victim| async move {
            victim.send(b"SSH-2.0-OpenSSH_9.6\r\n").await;
        }),
        case("speaks another version", |mut victim| async move {
            victim.send(b"HTTP/3.0 200 OK\r\n\r\n").await;
        }),
        text("says nothing", ""),
        text("shows a page", "<html>maintenance</html>"),
        text("is no object", "[]"),
        text("is null", "null"),
        text("has no list of keys", r#"{"keys":{}}"#),
        text(
            "has one key for a set",
            &own().published("own", json!({})).to_string(),
        ),
        text("cuts its JSON short", &own_set()[..own_set().len() - 1]),
        text("adds to its JSON", &format!("{}{}", own_set(), own_set())),
        text("nests beyond reason", &deep),
        text("is a little too long", &padded),
        answer(
            "is no UTF-8",
            "200 OK",
            "",
            b"{\"keys\":[\"\xff\"]}".as_slice(),
        ),
        answer(
            "compresses unasked",
            "200 OK",
            "Content-Encoding: gzip\r\n",
            gzip(own_set().as_bytes()),
        ),
    ]
}

/// Each with the attacker's key as its body.
fn statuses() -> Vec<Case> {
    [
        "201 Created",
        "203 Non-Authoritative Information",
        "206 Partial Content",
        "300 Multiple Choices",
        "401 Unauthorized",
        "403 Forbidden",
        "404 Not Found",
        "429 Too Many Requests",
        "500 Internal Server Error",
        "502 Bad Gateway",
        "503 Service Unavailable",
    ]
    .into_iter()
    .map(|status| answer(format!("says {status}"), status, "", own_set()))
    .collect()
}

fn redirects(elsewhere: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for status in [
        "301 Moved Permanently",
        "302 Found",
        "303 See Other",
        "307 Temporary Redirect",
        "308 Permanent Redirect",
    ] {
        for (name, location) in [
            ("elsewhere", elsewhere),
            ("to itself", "/jwks.json"),
            ("to a file", "file:///etc/passwd"),
            (
                "to the cloud's metadata",
                "http://169.254.169.254/latest/meta-data/",
            ),
        ] {
            let headers = format!("Location: {location}\r\n");
            cases.push(answer(
                format!("sends on by {status}, {name}"),
                status,
                &headers,
                own_set(),
            ));
        }
    }
    cases
}

/// Time stands still but for timers, once the keys are known.
#[tokio::test]
async fn known_keys_go_on_whatever_becomes_of_their_server_and_nobody_waits_long() {
    let elsewhere = JwksServer::start(&[own().published("own", json!({}))]).await;
    let cases = [
        silences(),
        floods(),
        contents(),
        statuses(),
        redirects(&elsewhere.url),
    ];
    let key = TestKey::rsa_a();
    for Case {
        name,
        misdeed,
        takes_its_time,
    } in cases.into_iter().flatten()
    {
        let server = Rogue::start(&[key.published("a", json!({}))], move |victim| {
            misdeed(victim)
        })
        .await;
        let authenticator = server.authenticator();
        let known = || key.token(json!({ "kid": "a" }), json!({}));
        let served = known();
        assert_eq!(
            reason(&offer(&authenticator, served.as_str()).await),
            "accepted",
            "{name}"
        );

        tokio::time::pause();
        let begin = Instant::now();
        let forged = own().token(json!({ "kid": "own" }), json!({}));
        let outcome = offer(&authenticator, forged.as_str()).await;
        assert_eq!(reason(&outcome), "unavailable", "{name}");
        let waited = begin.elapsed();
        assert!(
            waited <= FETCH_TIME_LIMIT + Duration::from_millis(10),
            "{name}: {waited:?}"
        );
        assert_eq!(
            waited >= FETCH_TIME_LIMIT,
            takes_its_time,
            "{name}: {waited:?}"
        );

        for token in [served, known()] {
            assert_eq!(
                reason(&offer(&authenticator, token).await),
                "accepted",
                "{name}"
            );
        }
        assert_eq!(
            reason(&offer(&authenticator, forged).await),
            "unavailable",
            "{name}"
        );
        assert_eq!(server.connections(), 2, "{name}");
        assert!(
            server.sent() < MOST_BYTES,
            "{name}: {} bytes",
            server.sent()
        );
        tokio::time::resume();
    }
    assert_eq!(elsewhere.requests(), 0);
}

/// Waiting for a slow server is for those who need it; the others do not even notice.
#[tokio::test]
async fn a_slow_server_is_waited_for_and_any_type_of_content_will_do() {
    let (old, new) = (TestKey::rsa_a(), TestKey::ed25519_a());
    let keys = json!({ "keys": [
        old.published("old", json!({})),
        new.published("new", json!({})),
    ] });
    let server = Rogue::start(&[old.published("old", json!({}))], move |mut victim| {
        let body = keys.to_string();
        async move {
            sleep(FETCH_TIME_LIMIT - Duration::from_secs(1)).await;
            let headers = "Content-Type: text/html\r\n";
            victim.answer("200 OK", headers, body.as_bytes()).await;
        }
    })
    .await;
    let authenticator = server.authenticator();
    let token = |key: &TestKey, kid: &str| key.token(json!({ "kid": kid }), json!({}));
    assert!(offer(&authenticator, token(&old, "old")).await.is_ok());

    tokio::time::pause();
    let begin = Instant::now();
    let (outcome, others) = tokio::join!(offer(&authenticator, token(&new, "new")), async {
        let outcome = offer(&authenticator, token(&old, "old")).await;
        (outcome, begin.elapsed())
    });
    assert_eq!(reason(&outcome), "accepted");
    assert_eq!(reason(&others.0), "accepted");
    assert!(others.1 < Duration::from_secs(1), "{:?}", others.1);
}

/// Whoever has never had the keys is not refused but told to come back, however the server behaves.
#[tokio::test]
async fn without_any_keys_a_good_token_is_not_refused() {
    let key = TestKey::ed25519_a();
    let server = JwksServer::start(&[]).await;
    server.answer(|| "<html>maintenance</html>");
    let authenticator = server.authenticator();
    for _ in 0..100 {
        let outcome = offer(&authenticator, key.token(json!({ "kid": "a" }), json!({}))).await;
        assert_eq!(reason(&outcome), "unavailable");
    }
    assert!(server.requests() <= 3, "{} fetches", server.requests());

    let mut settings = server.settings();
    settings.issuers[0].jwks_url = Some("http://127.0.0.1:1/jwks.json".parse().expect("a URL"));
    let authenticator =
        Authenticator::new(&settings, &Lifecycle::new()).expect("a usable configuration");
    let outcome = offer(&authenticator, key.token(json!({ "kid": "a" }), json!({}))).await;
    assert_eq!(reason(&outcome), "unavailable");
}

/// One stored block (RFC 1951, 3.2.4), so that inflating it would give the very bytes.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a short text");
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    packed.extend(length.to_le_bytes());
    packed.extend((!length).to_le_bytes());
    packed.extend(bytes);
    packed.extend(crc32(bytes).to_le_bytes());
    packed.extend(u32::from(length).to_le_bytes());
    packed
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}
