//! A Redis that goes, hangs, hangs up, is full or is lied to. Nothing of it is ever an error.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use loquat::{
    broker::{Broker, Redis},
    config::ChatSettings,
    lifecycle::Lifecycle,
    model::{MessageId, MessageStatus, UserId},
};

use super::listener::{Listener, changed, delta};
use crate::{
    docs::pages::Page,
    support::{
        QUICK, Replica, TestDatabase, eventually,
        redis::{Make, RedisCluster, RedisServer, redis_broker},
        soon,
    },
};

/// Two processes of one database on one Redis.
struct Pair {
    test: TestDatabase,
    server: RedisServer,
    writer: Arc<Redis>,
    reader: Arc<Redis>,
    listener: Arc<Listener>,
    user: UserId,
    _lifecycles: [Lifecycle; 2],
}

impl Pair {
    /// `None`: there is no Redis here.
    async fn start() -> Option<Self> {
        Self::on(RedisServer::start(Make::Redis).await?)
            .await
            .into()
    }

    /// The reader hears of the user.
    async fn on(server: RedisServer) -> Self {
        let test = TestDatabase::create().await;
        let (writer, first) = redis_broker(&test, &server.url()).await;
        let (reader, second) = redis_broker(&test, &server.url()).await;
        let listener = Listener::of(&*reader);
        let user = UserId::new();
        reader.follow(user);
        listener.in_touch_with(&*writer, user).await;
        Self {
            test,
            server,
            writer,
            reader,
            listener,
            user,
            _lifecycles: [first, second],
        }
    }

    async fn are_apart(&self) {
        eventually("both know that Redis is gone", || async {
            let gone = !self.writer.is_connected() && !self.reader.is_connected();
            gone.then_some(())
        })
        .await;
    }

    async fn are_together_again(&self, looks: usize) {
        self.listener
            .until("it is told to look again", |listener| {
                listener.looks() > looks
            })
            .await;
        self.listener.in_touch_with(&*self.writer, self.user).await;
        eventually("both know that Redis is back", || async {
            let back = self.writer.is_connected() && self.reader.is_connected();
            back.then_some(())
        })
        .await;
    }

    async fn replica(&self, broker: &Arc<Redis>) -> Replica {
        let broker: Arc<dyn Broker> = broker.clone();
        Replica::told_by(&self.test, broker, QUICK, ChatSettings::default()).await
    }
}

#[tokio::test]
async fn a_redis_that_is_killed_and_comes_back_is_used_again() {
    let Some(mut pair) = Pair::start().await else {
        return;
    };
    assert!(pair.writer.is_connected() && pair.reader.is_connected());
    for _ in 0..3 {
        let looks = pair.listener.looks();
        pair.server.kill().await;
        pair.are_apart().await;
        // Nobody hears it, and nobody waits.
        pair.writer.publish(changed(pair.user));
        let later = UserId::new();
        pair.reader.follow(later);
        pair.server.restart().await;
        pair.are_together_again(looks).await;
        pair.listener.in_touch_with(&*pair.writer, later).await;
    }
}

#[tokio::test]
async fn without_redis_replies_go_on_and_are_read_elsewhere_by_the_quiet_check() {
    let Some(mut pair) = Pair::start().await else {
        return;
    };
    let (one, other) = (
        pair.replica(&pair.writer).await,
        pair.replica(&pair.reader).await,
    );
    let viewer = one.viewer("alice").await;
    let conversation = one.conversation(&viewer).await;
    let sent = one.send(&viewer, conversation, "hi").await.expect("sent");
    let writing = one.desk.next().await;
    let mut reader = other.follow(&viewer, sent.reply.id).await;
    writing.say("with ");
    reader.until("with ").await;
    pair.server.kill().await;
    writing.say("without ");
    reader.until("with without ").await;
    // A new reply as well, from the question to its end.
    let second = other.conversation(&viewer).await;
    let asked = other.send(&viewer, second, "hi").await.expect("sent");
    let answering = other.desk.next().await;
    let mut across = one.follow(&viewer, asked.reply.id).await;
    answering.say("all the same");
    across.until("all the same").await;
    answering.finish();
    assert_eq!(across.finished().await.content, "all the same");
    pair.server.restart().await;
    writing.say("and with again");
    writing.finish();
    let finished = reader.finished().await;
    assert_eq!(finished.status, MessageStatus::Completed);
    assert_eq!(finished.content, "with without and with again");
}

#[tokio::test]
async fn a_redis_that_hangs_delays_nobody() {
    let Some(pair) = Pair::start().await else {
        return;
    };
    let one = pair.replica(&pair.writer).await;
    let viewer = one.viewer("alice").await;
    let conversation = one.conversation(&viewer).await;
    let looks = pair.listener.looks();
    pair.server.pause();

    // Far more than any queue holds, on the way and in here.
    let text = "x".repeat(4096);
    let begun = Instant::now();
    for _ in 0..20_000 {
        pair.writer
            .publish(delta(pair.user, MessageId::new(), 0, &text));
    }
    let each = begun.elapsed() / 20_000;
    assert!(each < Duration::from_millis(1), "{each:?} a notice");

    // Shorter than any time limit that Redis is given.
    soon(
        "a reply is written",
        Duration::from_millis(1500),
        async || {
            let begun = Instant::now();
            let sent = one.send(&viewer, conversation, "hi").await.expect("sent");
            let writing = one.desk.next().await;
            writing.say("at once");
            eventually("the tick has written it down", || async {
                let stored = one.message(&viewer, sent.reply.id).await?;
                (stored.content == "at once").then_some(())
            })
            .await;
            writing.finish();
            let mut reader = one.follow(&viewer, sent.reply.id).await;
            assert_eq!(reader.finished().await.content, "at once");
            begun.elapsed()
        },
    )
    .await;

    pair.are_apart().await;
    pair.server.resume();
    let reader: Arc<dyn Broker> = pair.reader.clone();
    let listener = Listener::of(&*reader);
    listener.in_touch_with(&*pair.writer, pair.user).await;
    drop((pair, looks));
}

#[tokio::test]
async fn connections_that_are_cut_come_back_by_themselves() {
    let Some(pair) = Pair::start().await else {
        return;
    };
    for kind in ["normal", "pubsub"] {
        for _ in 0..3 {
            let looks = pair.listener.looks();
            let cut: usize = pair
                .server
                .ask(&format!("CLIENT KILL TYPE {kind} SKIPME yes"))
                .await;
            // Those that listen are of the second kind, and all listen for runs.
            if kind == "pubsub" {
                assert!(cut >= 2, "{cut}");
                pair.are_together_again(looks).await;
            }
        }
    }
    pair.listener.in_touch_with(&*pair.writer, pair.user).await;
}

#[tokio::test]
async fn a_redis_without_memory_still_carries_notices() {
    let arguments = ["--maxmemory", "1mb", "--maxmemory-policy", "noeviction"];
    let Some(server) = RedisServer::with(Make::Redis, &arguments).await else {
        return;
    };
    let mut connection = server.connect().await;
    let full = async {
        for number in 0.. {
            let stored: redis::RedisResult<()> = redis::cmd("SET")
                .arg(number)
                .arg("x".repeat(64 * 1024))
                .query_async(&mut connection)
                .await;
            if let Err(error) = stored {
                return error;
            }
        }
        unreachable!("it has an end")
    };
    assert_eq!(full.await.code(), Some("OOM"));
    Pair::on(server).await;
}

#[tokio::test]
async fn what_others_write_into_the_channels_is_ignored() {
    let Some(pair) = Pair::start().await else {
        return;
    };
    let channels: Vec<String> = pair.server.ask("PUBSUB CHANNELS").await;
    assert_eq!(channels.len(), 2);
    let mut connection = pair.server.connect().await;
    let huge = vec![1_u8; 1024 * 1024];
    for channel in &channels {
        // Not a word of it says whose it is.
        let (prefix, name) = channel.split_once(':').expect("a prefix");
        assert_eq!((prefix, name.len()), ("loquat", 32), "{channel}");
        for garbage in [
            &b""[..],
            b"{\"Waiting\":null}",
            &[0; 100],
            &[1; 100],
            &[9; 100],
            &huge,
        ] {
            let heard: usize = redis::cmd("PUBLISH")
                .arg(channel)
                .arg(garbage)
                .query_async(&mut connection)
                .await
                .expect("published");
            assert!(heard > 0);
        }
    }
    let last = changed(pair.user);
    pair.writer.publish(last.clone());
    pair.listener
        .until("the notice arrives", |listener| listener.has_heard(&last))
        .await;
    assert_eq!(pair.listener.take(), [last]);
    assert!(pair.reader.is_connected());
}

#[tokio::test]
async fn redis_sees_no_text_and_no_id() {
    let Some(pair) = Pair::start().await else {
        return;
    };
    let channels: Vec<String> = pair.server.ask("PUBSUB CHANNELS").await;
    let client = redis::Client::open(pair.server.url()).expect("a URL");
    let mut spy = client.get_async_pubsub().await.expect("a connection");
    spy.subscribe(&channels).await.expect("subscribed");
    let text = "nobody else's business";
    let reply = MessageId::new();
    pair.writer.publish(delta(pair.user, reply, 0, text));
    let seen = crate::support::within("the spy sees it", async {
        futures_util::StreamExt::next(&mut spy.on_message()).await
    })
    .await
    .expect("a message");
    let seen = seen.get_payload_bytes();
    assert!(seen.len() > text.len());
    let (user, reply) = (pair.user.to_string(), reply.to_string());
    for secret in [
        text.as_bytes(),
        user.as_bytes(),
        reply.as_bytes(),
        pair.user.uuid().as_bytes(),
    ] {
        assert!(!seen.windows(secret.len()).any(|window| window == secret));
    }
}

#[tokio::test]
async fn a_password_is_used_and_a_wrong_one_is_no_end() {
    let arguments = ["--requirepass", "s3cret, and % more"];
    let Some(server) = RedisServer::with(Make::Redis, &arguments).await else {
        return;
    };
    let test = TestDatabase::create().await;
    let right = format!("redis://:s3cret%2C%20and%20%25%20more@{}", server.address);
    let (writer, _first) = redis_broker(&test, &right).await;
    let (reader, _second) = redis_broker(&test, &right).await;
    let listener = Listener::of(&*reader);
    let user = UserId::new();
    reader.follow(user);
    listener.in_touch_with(&*writer, user).await;

    for wrong in [server.url(), format!("redis://:other@{}", server.address)] {
        let (stranger, lifecycle) = redis_broker(&test, &wrong).await;
        stranger.follow(user);
        stranger.publish(changed(user));
        tokio::task::yield_now().await;
        assert!(!stranger.is_connected());
        lifecycle.begin_hard_stop();
        crate::support::within("its tasks end", lifecycle.finished()).await;
    }
}

#[tokio::test]
async fn a_user_of_redis_with_the_rights_of_the_recipe_has_enough() {
    let recipe = Page::read("redis.md").text;
    let rights = recipe
        .lines()
        .find_map(|line| line.strip_prefix("ACL SETUSER "))
        .expect("rights");
    if let Some(server) = RedisServer::start(Make::Redis).await {
        let () = server.ask(&format!("ACL SETUSER {rights}")).await;
        let url = format!("redis://loquat:the-password@{}", server.address);
        a_notice_arrives(&url).await;
    }
    if let Some(cluster) = RedisCluster::start(Make::Redis).await {
        for node in &cluster.nodes {
            let () = node.ask(&format!("ACL SETUSER {rights}")).await;
        }
        let url = format!("redis://loquat:the-password@{}", cluster.nodes[0].address);
        a_notice_arrives(&url).await;
    }
}

async fn a_notice_arrives(url: &str) {
    let test = TestDatabase::create().await;
    let (writer, _first) = redis_broker(&test, url).await;
    let (reader, _second) = redis_broker(&test, url).await;
    let listener = Listener::of(&*reader);
    let user = UserId::new();
    reader.follow(user);
    listener.in_touch_with(&*writer, user).await;
    assert!(writer.keep(b"a name", b"a text").await);
    assert_eq!(
        reader.recall(b"a name").await.as_deref(),
        Some(&b"a text"[..])
    );
}
