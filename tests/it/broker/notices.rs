//! What every broker promises, with nothing but notices.

use loquat::{
    broker::{Broker, Notice},
    model::{MessageId, UserId},
};

use super::{
    kinds::{Place, for_every_kind},
    listener::{Listener, changed, delta, text_of},
};

for_every_kind!(
    a_text_arrives_whole_and_in_order,
    nobody_hears_of_users_whom_they_do_not_follow,
    what_is_said_of_runs_reaches_every_other_process,
    another_database_hears_nothing,
    many_users_are_followed_at_once,
    a_channel_that_nobody_follows_is_left_in_peace,
);

async fn a_text_arrives_whole_and_in_order(mut place: Place) {
    let (writer, reader) = (place.join().await, place.join().await);
    let (own, listener) = (Listener::of(&*writer), Listener::of(&*reader));
    let (user, reply) = (UserId::new(), MessageId::new());
    writer.follow(user);
    reader.follow(user);
    listener.in_touch_with(&*writer, user).await;
    let mut text = String::new();
    for number in 0..2000 {
        let word = format!("{number} 🍊 ");
        writer.publish(delta(user, reply, text.encode_utf16().count(), &word));
        text.push_str(&word);
    }
    let mut heard = Vec::new();
    listener
        .until("the text is here", |listener| {
            heard.extend(listener.take());
            text_of(&heard, reply) == text
        })
        .await;
    assert_eq!(own.take(), [], "nobody hears themselves");
    place.stop().await;
}

async fn nobody_hears_of_users_whom_they_do_not_follow(mut place: Place) {
    let (writer, reader) = (place.join().await, place.join().await);
    let listener = Listener::of(&*reader);
    let (followed, left, never) = (UserId::new(), UserId::new(), UserId::new());
    for user in [followed, followed, left] {
        reader.follow(user);
    }
    listener.in_touch_with(&*writer, followed).await;
    listener.in_touch_with(&*writer, left).await;
    // The first of its two followers goes, which changes nothing.
    reader.unfollow(followed);
    reader.unfollow(left);
    for _ in 0..20 {
        writer.publish(changed(left));
        writer.publish(changed(never));
    }
    let last = changed(followed);
    writer.publish(last.clone());
    listener
        .until("the last notice arrives", |listener| {
            listener.has_heard(&last)
        })
        .await;
    assert_eq!(listener.take(), [last]);
    // Whoever comes back soon finds everything as it was.
    reader.follow(left);
    listener.in_touch_with(&*writer, left).await;
    place.stop().await;
}

async fn what_is_said_of_runs_reaches_every_other_process(mut place: Place) {
    let (writer, one, other) = (place.join().await, place.join().await, place.join().await);
    let own = Listener::of(&*writer);
    let listeners = [Listener::of(&*one), Listener::of(&*other)];
    let user = UserId::new();
    for (broker, listener) in [&one, &other].into_iter().zip(&listeners) {
        broker.follow(user);
        listener.in_touch_with(&*writer, user).await;
    }
    let stop = Notice::Stop {
        user_id: user,
        message_id: MessageId::new(),
    };
    for listener in &listeners {
        // The channel of runs may be on another node of a cluster, that is a moment later.
        crate::support::eventually("it is heard", || async {
            writer.publish(stop.clone());
            listener.has_heard(&stop).then_some(())
        })
        .await;
    }
    assert_eq!(own.take(), []);
    place.stop().await;
}

async fn another_database_hears_nothing(mut place: Place) {
    let (writer, reader) = (place.join().await, place.join().await);
    let Some(stranger) = place.other_database().await else {
        return;
    };
    let (listener, strange) = (Listener::of(&*reader), Listener::of(&*stranger));
    let user = UserId::new();
    reader.follow(user);
    stranger.follow(user);
    listener.in_touch_with(&*writer, user).await;
    writer.publish(Notice::Waiting);
    for _ in 0..20 {
        listener.in_touch_with(&*writer, user).await;
        stranger.publish(changed(user));
    }
    assert_eq!(strange.take(), []);
    let heard = listener.take();
    assert!(
        heard.iter().all(|notice| *notice == Notice::Waiting),
        "{heard:?}"
    );
    place.stop().await;
}

async fn many_users_are_followed_at_once(mut place: Place) {
    const USERS: usize = 3000;

    let (writer, reader) = (place.join().await, place.join().await);
    let listener = Listener::of(&*reader);
    let users: Vec<_> = (0..USERS).map(|_| UserId::new()).collect();
    for user in &users {
        reader.follow(*user);
    }
    all_are_heard(&listener, &*writer, &users).await;

    let looks = listener.looks();
    let servers = place.servers();
    let has_servers = !servers.is_empty();
    for server in servers {
        let _: usize = server.ask("CLIENT KILL TYPE pubsub SKIPME yes").await;
    }
    if has_servers {
        listener
            .until("it is told to look again", |listener| {
                listener.looks() > looks
            })
            .await;
        all_are_heard(&listener, &*writer, &users).await;
    }
    place.stop().await;
}

async fn a_channel_that_nobody_follows_is_left_in_peace(mut place: Place) {
    let (writer, reader) = (place.join().await, place.join().await);
    let listener = Listener::of(&*reader);
    let (left, stays) = (UserId::new(), UserId::new());
    reader.follow(left);
    reader.follow(stays);
    listener.in_touch_with(&*writer, left).await;
    listener.in_touch_with(&*writer, stays).await;
    let looks = listener.looks();
    reader.unfollow(left);
    // It lingers for a while; then there is one for runs and one for who stays.
    place.subscribed(2).await;
    listener.in_touch_with(&*writer, stays).await;
    reader.follow(left);
    listener.in_touch_with(&*writer, left).await;
    assert_eq!(listener.looks(), looks, "no connection was lost over it");
    place.stop().await;
}

/// Says something of each user until it has been heard of each.
async fn all_are_heard(listener: &Listener, writer: &dyn Broker, users: &[UserId]) {
    let notices: Vec<_> = users.iter().map(|user| changed(*user)).collect();
    let mut missing: Vec<_> = notices.iter().collect();
    let missing = std::cell::RefCell::new(&mut missing);
    crate::support::eventually("all are heard", || async {
        for notice in missing.borrow().iter() {
            writer.publish((*notice).clone());
        }
        // Gives those on their way a moment.
        tokio::task::yield_now().await;
        let heard = listener.take();
        missing
            .borrow_mut()
            .retain(|notice| !heard.contains(notice));
        missing.borrow().is_empty().then_some(())
    })
    .await;
}
