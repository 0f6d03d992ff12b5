//! A cluster that loses a master while replies are written, and one whose slots move.

use std::sync::Arc;

use loquat::{
    broker::{Broker, Notice},
    chat::Timing,
    config::ChatSettings,
    model::{MessageStatus, UserId},
};

use super::listener::Listener;
use crate::support::{
    QUICK, Replica, TestDatabase, eventually,
    redis::{Make, RedisCluster, redis_broker},
};

/// As many replies are written at once, each of a user of its own: their channels are on every
/// master.
const REPLIES: usize = 12;

/// How many words each has.
const WORDS: usize = 300;

#[tokio::test]
async fn a_redis_cluster_loses_a_master_under_load_and_no_text_is_wrong() {
    if let Some(cluster) = RedisCluster::start(Make::Redis).await {
        a_master_is_lost(cluster).await;
    }
}

#[tokio::test]
async fn a_valkey_cluster_loses_a_master_under_load_and_no_text_is_wrong() {
    if let Some(cluster) = RedisCluster::start(Make::Valkey).await {
        a_master_is_lost(cluster).await;
    }
}

#[tokio::test]
async fn a_channel_is_followed_to_where_its_slot_moves() {
    for make in [Make::Redis, Make::Valkey] {
        if let Some(cluster) = RedisCluster::start(make).await {
            a_slot_moves(cluster).await;
        }
    }
}

async fn a_slot_moves(cluster: RedisCluster) {
    let test = TestDatabase::create().await;
    let (writer, _first) = redis_broker(&test, &cluster.url()).await;
    let (reader, _second) = redis_broker(&test, &cluster.url()).await;
    let listener = Listener::of(&*reader);
    let user = UserId::new();
    reader.follow(user);
    listener.in_touch_with(&*writer, user).await;
    eventually("both are connected", || async {
        (writer.is_connected() && reader.is_connected()).then_some(())
    })
    .await;

    let looks = listener.looks();
    let masters = &cluster.nodes[..3];
    let mut moved = 0;
    for (place, master) in masters.iter().enumerate() {
        let channels: Vec<String> = master.ask("PUBSUB SHARDCHANNELS").await;
        for channel in channels {
            let slot: u16 = master.ask(&format!("CLUSTER KEYSLOT {channel}")).await;
            let heir = &masters[(place + 1) % masters.len()];
            let id: String = heir.ask("CLUSTER MYID").await;
            // Who gets it is told first, who had it next.
            for node in [heir, master, &masters[(place + 2) % masters.len()]] {
                let () = node.ask(&format!("CLUSTER SETSLOT {slot} NODE {id}")).await;
            }
            moved += 1;
        }
        if moved > 0 {
            break;
        }
    }
    assert!(moved > 0, "something was subscribed somewhere");
    listener
        .until("it is told to look again", |listener| {
            listener.looks() > looks
        })
        .await;
    listener.in_touch_with(&*writer, user).await;
    eventually("runs are heard of", || async {
        writer.publish(Notice::Waiting);
        listener.has_heard(&Notice::Waiting).then_some(())
    })
    .await;
}

fn word(reply: usize, number: usize) -> String {
    format!("{reply}:{number} 🍊 ")
}

async fn a_master_is_lost(mut cluster: RedisCluster) {
    let test = TestDatabase::create().await;
    let timing = Timing {
        // The pace of production: what comes sooner came by Redis.
        progress: Timing::default().progress,
        ..QUICK
    };
    let (one, first) = redis_broker(&test, &cluster.url()).await;
    // The other one knows them all, the first of which is about to go.
    let (other, second) = redis_broker(&test, &cluster.urls()).await;
    eventually("both are connected", || async {
        (one.is_connected() && other.is_connected()).then_some(())
    })
    .await;
    let writer = replica(&test, one.clone(), timing).await;
    let elsewhere = replica(&test, other.clone(), timing).await;

    let mut replies = Vec::new();
    for number in 0..REPLIES {
        let viewer = writer.viewer(&format!("user {number}")).await;
        let conversation = writer.conversation(&viewer).await;
        let sent = writer
            .send(&viewer, conversation, "hi")
            .await
            .expect("sent");
        let writing = writer.desk.next().await;
        let reader = elsewhere.follow(&viewer, sent.reply.id).await;
        replies.push((writing, reader));
    }
    let mut readers = Vec::new();
    let mut writings = Vec::new();
    for (number, (writing, mut reader)) in replies.into_iter().enumerate() {
        let text: String = (0..WORDS).map(|place| word(number, place)).collect();
        readers.push(tokio::spawn(async move {
            let finished = reader.finished().await;
            assert_eq!(finished.status, MessageStatus::Completed);
            assert_eq!(finished.content, text);
        }));
        writings.push(writing);
    }
    let mut pace = tokio::time::interval(std::time::Duration::from_millis(20));
    for place in 0..WORDS {
        pace.tick().await;
        for (number, writing) in writings.iter().enumerate() {
            writing.say(&word(number, place));
        }
        if place == WORDS / 3 {
            cluster.nodes[0].kill().await;
        }
    }
    for writing in writings {
        writing.finish();
    }
    for reader in readers {
        crate::support::within("a reader has all", reader)
            .await
            .expect("the right text");
    }

    // Its replica has taken over, and everything is as fast as before.
    eventually("both use the new master", || async {
        (one.is_connected() && other.is_connected()).then_some(())
    })
    .await;
    for lifecycle in [first, second] {
        lifecycle.begin_hard_stop();
        crate::support::within("its tasks end", lifecycle.finished()).await;
    }
}

async fn replica(test: &TestDatabase, broker: Arc<dyn Broker>, timing: Timing) -> Replica {
    Replica::told_by(test, broker, timing, ChatSettings::default()).await
}
