//! Replies between two processes, by every kind of broker. The quiet check never comes, so whatever
//! is seen elsewhere was carried by the broker.

use std::time::Duration;

use loquat::{chat::Timing, config::ChatSettings, model::MessageStatus};

use super::kinds::{Place, for_every_kind};
use crate::support::{QUICK, Replica};

const NEVER: Duration = Duration::from_secs(60 * 60);

for_every_kind!(
    text_streams_to_a_subscriber_elsewhere,
    a_stop_elsewhere_ends_a_reply
);

async fn replica(place: &mut Place, timing: Timing) -> Replica {
    let broker = place.join().await;
    Replica::told_by(&place.test, broker, timing, ChatSettings::default()).await
}

async fn text_streams_to_a_subscriber_elsewhere(mut place: Place) {
    let quiet = Timing {
        progress: NEVER,
        ..QUICK
    };
    let writer = replica(&mut place, quiet).await;
    let elsewhere = replica(&mut place, quiet).await;
    let viewer = writer.viewer("alice").await;
    let conversation = writer.conversation(&viewer).await;
    let sent = writer
        .send(&viewer, conversation, "hi")
        .await
        .expect("sent");
    let writing = writer.desk.next().await;
    let mut reader = elsewhere.follow(&viewer, sent.reply.id).await;
    place.subscribed(2).await;
    let mut text = String::new();
    for number in 0..50 {
        let word = format!("{number} 🍊 ");
        writing.say(&word);
        text.push_str(&word);
        if number % 10 == 0 {
            reader.until(&text).await;
        }
    }
    writing.finish();
    let finished = reader.finished().await;
    assert_eq!(finished.status, MessageStatus::Completed);
    assert_eq!(finished.content, text);
    place.stop().await;
}

async fn a_stop_elsewhere_ends_a_reply(mut place: Place) {
    let writer = replica(&mut place, QUICK).await;
    let elsewhere = replica(&mut place, QUICK).await;
    let viewer = writer.viewer("alice").await;
    let conversation = writer.conversation(&viewer).await;
    let sent = writer
        .send(&viewer, conversation, "hi")
        .await
        .expect("sent");
    let writing = writer.desk.next().await;
    let mut reader = elsewhere.follow(&viewer, sent.reply.id).await;
    writing.say("not for long");
    reader.until("not for long").await;
    let stopped = elsewhere.chat.stop_reply(&viewer, sent.reply.id).await;
    assert_eq!(stopped.expect("stopped").status, MessageStatus::Stopped);
    writing.hung_up().await;
    assert_eq!(reader.finished().await.content, "not for long");
    place.stop().await;
}
