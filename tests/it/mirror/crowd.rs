//! Many subscribers of one reply in one process.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::future::join_all;
use loquat::{
    broker::{Broker, Member, Memory, Notice, Receiver},
    config::ChatSettings,
    model::UserId,
};

use super::replica;
use crate::support::{QUICK, Replica, TestDatabase, eventually, sql};

const CROWD: usize = 1000;

/// Counts the users whose notices are asked for.
struct Counted {
    member: Member,
    followed: Arc<AtomicUsize>,
}

impl Broker for Counted {
    fn deliver_to(&self, receiver: Weak<dyn Receiver>) {
        self.member.deliver_to(receiver);
    }

    fn publish(&self, notice: Notice) {
        self.member.publish(notice);
    }

    fn follow(&self, user_id: UserId) {
        self.followed.fetch_add(1, Ordering::SeqCst);
        self.member.follow(user_id);
    }

    fn unfollow(&self, user_id: UserId) {
        self.followed.fetch_sub(1, Ordering::SeqCst);
        self.member.unfollow(user_id);
    }
}

/// Counts, past any rollback, how often the text of an unfinished or a finished reply is loaded.
const COUNT_LOADS: &str = "create sequence loads; grant usage on sequence loads to public; \
    create policy counted on chat.messages as restrictive for select to loquat_viewer using (case \
      when role = 'ASSISTANT' and current_query() like 'select %' then nextval('loads') > 0 \
      else true end)";

#[tokio::test]
async fn a_crowd_elsewhere_shares_one_log_and_its_loads() {
    let test = TestDatabase::create().await;
    let memory = Memory::default();
    let writer = replica(&test, &memory, QUICK).await;
    let followed = Arc::new(AtomicUsize::new(0));
    let broker = Counted {
        member: memory.join(),
        followed: Arc::clone(&followed),
    };
    let elsewhere = Replica::told_by(&test, Arc::new(broker), QUICK, ChatSettings::default()).await;
    let viewer = writer.viewer("alice").await;
    let conversation = writer.conversation(&viewer).await;
    let sent = writer
        .send(&viewer, conversation, "hi")
        .await
        .expect("sent");
    let writing = writer.desk.next().await;
    writing.say("half");
    writer
        .follow(&viewer, sent.reply.id)
        .await
        .until("half")
        .await;
    sql(&test, COUNT_LOADS).await;

    let mut crowd = join_all((0..CROWD).map(|_| elsewhere.follow(&viewer, sent.reply.id))).await;
    assert_eq!(followed.load(Ordering::SeqCst), 1, "one mirror");
    join_all(crowd.iter_mut().map(|reader| reader.until("half"))).await;
    writing.say(" and whole");
    writing.finish();
    let ended = join_all(crowd.iter_mut().map(|reader| reader.finished())).await;
    assert!(
        ended
            .iter()
            .all(|message| message.content == "half and whole")
    );
    let loads: i64 = sqlx::query_scalar("select last_value from loads")
        .fetch_one(&mut test.superuser().await)
        .await
        .expect("a count");
    assert!(
        (2..50).contains(&loads),
        "{loads} loads for {CROWD} subscribers"
    );
}

#[tokio::test]
async fn a_mirror_goes_with_its_last_reader() {
    let test = TestDatabase::create().await;
    let memory = Memory::default();
    let writer = replica(&test, &memory, QUICK).await;
    let followed = Arc::new(AtomicUsize::new(0));
    let broker = Counted {
        member: memory.join(),
        followed: Arc::clone(&followed),
    };
    let elsewhere = Replica::told_by(&test, Arc::new(broker), QUICK, ChatSettings::default()).await;
    let viewer = writer.viewer("alice").await;
    let conversation = writer.conversation(&viewer).await;
    let sent = writer
        .send(&viewer, conversation, "hi")
        .await
        .expect("sent");
    let writing = writer.desk.next().await;
    writing.say("text");
    let mut first = elsewhere.follow(&viewer, sent.reply.id).await;
    let mut second = elsewhere.follow(&viewer, sent.reply.id).await;
    first.until("text").await;
    second.until("text").await;
    drop(first);
    assert_eq!(followed.load(Ordering::SeqCst), 1);
    drop(second);
    eventually("nobody follows any more", || async {
        (followed.load(Ordering::SeqCst) == 0).then_some(())
    })
    .await;
    // Who comes again begins again.
    let mut third = elsewhere.follow(&viewer, sent.reply.id).await;
    third.until("text").await;
    writing.finish();
    assert_eq!(third.finished().await.content, "text");
    drop(third);
    eventually("nobody follows any more", || async {
        (followed.load(Ordering::SeqCst) == 0).then_some(())
    })
    .await;
}
