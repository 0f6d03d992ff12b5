//! Servers with `REDIS_URL`: what they start with, and what they say of it.

use crate::{
    doctor::doctor,
    provider::{FakeProvider, Script},
    support::{
        TestDatabase, eventually,
        process::{Answer, Device, program},
        program::{Program, Server, client},
        redis::{Make, RedisServer},
    },
};

async fn readiness(server: &Server) -> serde_json::Value {
    let answer = Answer::to(client().get(server.url("/health/ready"))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

async fn redis_is(server: &Server, state: &str) {
    eventually("the server knows of its Redis", || async {
        (readiness(server).await["redis"] == state).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_server_starts_without_its_redis_and_finds_it_later() {
    let Some(mut redis) = RedisServer::start(Make::Redis).await else {
        return;
    };
    redis.kill().await;
    let test = TestDatabase::create().await;
    let server = Program::new(&[])
        .database(&test)
        .variable("REDIS_URL", &redis.url())
        .serve()
        .await;
    redis_is(&server, "not ready").await;
    redis.restart().await;
    redis_is(&server, "ready").await;
    redis.kill().await;
    redis_is(&server, "not ready").await;
    server.signal(nix::sys::signal::Signal::SIGTERM);
    let ended = server.end().await;
    assert_eq!(ended.status.code(), Some(0));
    let said = ended.output;
    for once in ["redis cannot be used now", "redis can be used again"] {
        let count = said.matches(once).count();
        assert_eq!(count, if once.contains("now") { 2 } else { 1 }, "{said}");
    }
    assert!(said.contains("Connection refused"), "{said}");
}

#[tokio::test]
async fn two_servers_stream_to_each_other_over_redis() {
    let Some(redis) = RedisServer::start(Make::Redis).await else {
        return;
    };
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    let member = || program(&test, &model).variable("REDIS_URL", &redis.url());
    let (one, other) = (member().serve().await, member().serve().await);
    for server in [&one, &other] {
        redis_is(server, "ready").await;
    }
    let pieces: Vec<_> = (0..30).map(|number| format!("{number} 🍊 ")).collect();
    model.script(
        pieces
            .iter()
            .fold(Script::stream(), |script, piece| {
                script
                    .text(piece)
                    .pause(std::time::Duration::from_millis(20))
            })
            .complete(),
    );
    let (here, there) = (Device::of(&one, "alice"), Device::of(&other, "alice"));
    let conversation = here.start_chat().await;
    let reply = here.send(&conversation, "hi").await;
    let mut follower = there.follow(&reply).await;
    let message = follower.finished().await;
    assert_eq!(message["content"], pieces.concat());
    assert_eq!(follower.content(), pieces.concat());
}

#[tokio::test]
async fn the_doctor_asks_what_redis_it_is() {
    let test = TestDatabase::create().await;
    let line = async |url: &str| {
        let program = Program::new(&["doctor"])
            .database(&test)
            .variable("REDIS_URL", url);
        let (code, lines) = doctor(program).await;
        let line = lines.into_iter().find(|line| line.contains(" redis: "));
        (code, line.expect("a line on Redis"))
    };
    let (code, said) = line("redis://:hunter2@127.0.0.1:1").await;
    assert_eq!(code, Some(1));
    assert!(
        said.starts_with("problem   redis: REDIS_URL: the Redis cannot be used (")
            && said.contains("refused"),
        "{said}"
    );
    assert!(!said.contains("hunter2"), "{said}");
    for (make, name) in [(Make::Redis, "Redis 7"), (Make::Valkey, "Valkey ")] {
        if let Some(redis) = RedisServer::start(make).await {
            let (code, said) = line(&redis.url()).await;
            assert_eq!(code, Some(0), "{said}");
            assert!(
                said.starts_with(&format!("ok        redis: {name}")),
                "{said}"
            );
        }
    }
    if let Some(redis) = RedisServer::with(Make::Redis, &["--requirepass", "right"]).await {
        let (_, said) = line(&format!("redis://:hunter2@{}", redis.address)).await;
        assert!(
            said.contains("WRONGPASS") && !said.contains("hunter2"),
            "{said}"
        );
    }
}

/// A key that nobody but these tests believes.
fn key(name: &str) -> String {
    format!(
        "{}/tests/it/keys/test_only_tls_{name}.pem",
        env!("CARGO_MANIFEST_DIR")
    )
}

#[tokio::test]
async fn tls_is_spoken_and_verified_and_never_left_out() {
    let (certificate, private, ca) = (key("localhost"), key("localhost_key"), key("ca"));
    let [port] = crate::support::installed::free_ports();
    let tls = [
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &private,
        "--tls-ca-cert-file",
        &ca,
        "--tls-auth-clients",
        "no",
    ];
    let Some(redis) = RedisServer::with(Make::Redis, &tls).await else {
        return;
    };
    let test = TestDatabase::create().await;
    let program = |arguments: &[&str], url: &str, trusted: &str| {
        Program::new(arguments)
            .database(&test)
            .variable("REDIS_URL", url)
            .variable("SSL_CERT_FILE", trusted)
    };
    let encrypted = format!("rediss://localhost:{port}");
    redis_is(&program(&[], &encrypted, &ca).serve().await, "ready").await;
    let plain = redis.address.port();
    for (url, trusted) in [
        // Nobody known vouches for it; it speaks no TLS; it speaks nothing else.
        (encrypted, &certificate),
        (format!("rediss://localhost:{plain}"), &ca),
        (format!("redis://localhost:{port}"), &ca),
    ] {
        let (code, lines) = doctor(program(&["doctor"], &url, trusted)).await;
        assert_eq!(code, Some(1), "{lines:?}");
        let said = "problem   redis: REDIS_URL: the Redis cannot be used (";
        assert!(lines.iter().any(|line| line.starts_with(said)), "{lines:?}");
    }
}
