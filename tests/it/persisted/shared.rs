//! What users have sent, found by other processes through Redis, and what Redis cannot do.

use std::sync::Arc;

use axum::body::Body;
use http::{Request, header};
use loquat::{
    broker::Redis,
    config::AdmittedDocuments,
    http::graphql::{Persisted, TrustedDocuments},
    lifecycle::Lifecycle,
};
use serde_json::Value;

use super::{NOT_FOUND, by_hash, refused, with_hash};
use crate::{
    mini::{self, Mini},
    support::{
        TestDatabase, eventually,
        redis::{Make, RedisCluster, RedisServer, redis_broker},
    },
};

/// A process that shares what it keeps.
struct Replica {
    mini: Mini,
    redis: Arc<Redis>,
    lifecycle: Lifecycle,
}

impl Replica {
    async fn start(test: &TestDatabase, url: &str) -> Self {
        let (redis, lifecycle) = redis_broker(test, url).await;
        let replica = Self {
            mini: Mini::persisting(Persisted::new(
                AdmittedDocuments::Automatic,
                TrustedDocuments::default(),
                Some((*redis).clone()),
            )),
            redis,
            lifecycle,
        };
        replica.connected(true).await;
        replica
    }

    async fn connected(&self, is: bool) {
        eventually("the replica knows of its Redis", || async {
            (self.redis.is_connected() == is).then_some(())
        })
        .await;
    }

    async fn ask(&self, body: Value) -> Value {
        let request = Request::post("/graphql")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, "Bearer ada")
            .body(Body::from(body.to_string()))
            .expect("a request");
        mini::json(self.mini.send(request).await).await
    }

    async fn has(&self, text: &str) -> bool {
        let answer = self.ask(by_hash(text)).await;
        if answer.get("data").is_some() {
            return true;
        }
        assert_eq!(refused(&answer), NOT_FOUND);
        false
    }

    async fn takes(&self, text: &str) {
        let answer = self.ask(with_hash(text)).await;
        assert!(answer["data"].is_object(), "{answer}");
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.lifecycle.begin_hard_stop();
    }
}

/// Every key, of which each is somebody's document.
async fn keys(redis: &RedisServer) -> Vec<String> {
    let mut keys: Vec<String> = redis.ask("KEYS *").await;
    keys.sort();
    keys
}

#[tokio::test]
async fn replicas_of_one_database_share_documents_and_redis_learns_nothing_of_them() {
    for make in [Make::Redis, Make::Valkey] {
        let Some(redis) = RedisServer::start(make).await else {
            continue;
        };
        let test = TestDatabase::create().await;
        let one = Replica::start(&test, &redis.url()).await;
        let other = Replica::start(&test, &redis.url()).await;
        one.takes("{ hello }").await;
        assert!(other.has("{ hello }").await);
        assert!(!other.has("{ who }").await);

        let [key] = &keys(&redis).await[..] else {
            panic!("one document");
        };
        assert!(key.starts_with("loquat:"), "{key}");
        let value: Vec<u8> = redis.ask(&format!("GET {key}")).await;
        assert!(!String::from_utf8_lossy(&value).contains("hello"));

        // A day, and another from its next use by a process that does not have it itself.
        let lasting: u64 = redis.ask(&format!("TTL {key}")).await;
        assert!((86_000..=86_400).contains(&lasting), "{lasting}");
        let () = redis.ask(&format!("EXPIRE {key} 1000")).await;
        let third = Replica::start(&test, &redis.url()).await;
        assert!(third.has("{ hello }").await);
        let lasting: u64 = redis.ask(&format!("TTL {key}")).await;
        assert!(lasting > 1000, "{lasting}");

        // Those of another database share nothing.
        let elsewhere = TestDatabase::create().await;
        let stranger = Replica::start(&elsewhere, &redis.url()).await;
        assert!(!stranger.has("{ hello }").await);
    }
}

#[tokio::test]
async fn what_somebody_else_puts_into_redis_is_not_believed() {
    let Some(redis) = RedisServer::start(Make::Redis).await else {
        return;
    };
    let test = TestDatabase::create().await;
    let writer = Replica::start(&test, &redis.url()).await;
    writer.takes("{ hello }").await;
    let hello = keys(&redis).await;
    writer.takes("{ who }").await;
    let [hello, who] = {
        let mut all = keys(&redis).await;
        all.retain(|key| *key != hello[0]);
        [hello[0].clone(), all[0].clone()]
    };
    let () = redis.ask("LPUSH list x").await;
    for poison in [
        format!("SET {hello} garbage"),
        format!("SET {hello} {{hello}}"),
        // Rightly sealed, for another name.
        format!("COPY {who} {hello} REPLACE"),
        format!("DEL {hello}"),
        format!("COPY list {hello} REPLACE"),
    ] {
        let () = redis.ask(&poison).await;
        let reader = Replica::start(&test, &redis.url()).await;
        assert!(!reader.has("{ hello }").await, "{poison}");
        // It is mended by whoever sends the text.
        reader.takes("{ hello }").await;
        assert!(reader.has("{ hello }").await, "{poison}");
        let other = Replica::start(&test, &redis.url()).await;
        let is_mended = other.has("{ hello }").await;
        // After a refusal Redis is left alone for a moment.
        assert!(is_mended || poison.starts_with("COPY list"), "{poison}");
    }
}

#[tokio::test]
async fn a_cluster_keeps_each_document_where_it_belongs() {
    let Some(cluster) = RedisCluster::start(Make::Redis).await else {
        return;
    };
    let test = TestDatabase::create().await;
    let one = Replica::start(&test, &cluster.url()).await;
    let other = Replica::start(&test, &cluster.url()).await;
    for n in 0..20 {
        let text = format!("{{ a{n}: hello }}");
        one.takes(&text).await;
        assert!(other.has(&text).await, "{text}");
    }
}

#[tokio::test]
async fn without_its_redis_a_process_has_its_own_and_nobody_waits_for_long() {
    let Some(mut redis) = RedisServer::start(Make::Redis).await else {
        return;
    };
    let test = TestDatabase::create().await;
    let one = Replica::start(&test, &redis.url()).await;
    let other = Replica::start(&test, &redis.url()).await;

    // It hangs, and nobody knows yet. What it was asked shows when it goes on: not what each of these
    // requests would have liked to know, each of them waiting for the answer.
    redis.pause();
    one.takes("{ hello }").await;
    for n in 0..100 {
        assert!(!one.has(&format!("{{ b{n}: hello }}")).await);
    }
    assert!(one.has("{ hello }").await);
    redis.resume();
    let asked: String = redis.ask("INFO commandstats").await;
    let calls = asked
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_getex:calls="))
        .map_or(0, |line| {
            let (calls, _) = line.split_once(',').expect("more of it");
            calls.parse::<u32>().expect("a number")
        });
    assert!(calls < 20, "{asked}");

    redis.kill().await;
    one.connected(false).await;
    one.takes("{ who }").await;
    assert!(one.has("{ who }").await && one.has("{ hello }").await);

    // What was kept meanwhile is shared when it is next asked for.
    redis.restart().await;
    one.connected(true).await;
    other.connected(true).await;
    eventually("the others find it", || async {
        assert!(one.has("{ who }").await);
        other.has("{ who }").await.then_some(())
    })
    .await;
}
