//! Notices that are lost, connections that are cut, and a database that is not there.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use loquat::{
    broker::{Broker, Member, Memory, Notice, Receiver},
    chat::Timing,
    config::ChatSettings,
    model::UserId,
};
use serde_json::json;

use super::{Overview, Window, pair, quiet, replica};
use crate::support::{Api, Replica, SqlGate, TestDatabase, eventually, soon, sql};

const GATE: i64 = 42;

/// How soon whatever a broker loses is found.
const HEALED: Duration = Duration::from_secs(2);

/// Tells nobody anything any more, from some moment on.
struct Muted {
    member: Member,
    is_mute: Arc<AtomicBool>,
}

impl Broker for Muted {
    fn deliver_to(&self, receiver: Weak<dyn Receiver>) {
        self.member.deliver_to(receiver);
    }

    fn publish(&self, notice: Notice) {
        if !self.is_mute.load(Ordering::SeqCst) {
            self.member.publish(notice);
        }
    }

    fn follow(&self, user_id: UserId) {
        self.member.follow(user_id);
    }

    fn unfollow(&self, user_id: UserId) {
        self.member.unfollow(user_id);
    }
}

#[tokio::test]
async fn the_last_notice_is_lost_and_healed_within_two_seconds() {
    let test = TestDatabase::create().await;
    let memory = Memory::default();
    let is_mute = Arc::new(AtomicBool::new(false));
    let broker = Muted {
        member: memory.join(),
        is_mute: Arc::clone(&is_mute),
    };
    let timing = Timing::default();
    let here = Replica::told_by(&test, Arc::new(broker), timing, ChatSettings::default()).await;
    let there = replica(&test, &memory, timing).await;
    let viewer = here.viewer("alice").await;
    let api = Api::of(&here);
    let id = api.start_chat(&viewer, "a title").await;
    let mut window = Window::open(&there, &viewer, &id);
    let mut list = Overview::open(&there, &viewer);
    window.until_right().await;
    list.until_right().await;
    let send = "mutation($id: ID!) { sendMessage(input: { conversationId: $id, content: \"hi\" }) { reply { id } } }";
    soon("the end of a reply is found", HEALED, async || {
        is_mute.store(false, Ordering::SeqCst);
        api.data(&viewer, send, json!({ "id": id })).await;
        let writing = here.desk.next().await;
        writing.say("before");
        window.until_text("before").await;
        is_mute.store(true, Ordering::SeqCst);
        writing.say(" and after");
        writing.finish();
        quiet(&here, &viewer, &id).await;
        let ended = Instant::now();
        window.until_right().await;
        list.until_right().await;
        ended.elapsed()
    })
    .await;

    let rename = "mutation($id: ID!, $title: String!) { updateConversation(input: { \
        conversationId: $id, title: $title }) { conversation { id } } }";
    let mut titles = 0;
    soon("a title is found", HEALED, async || {
        titles += 1;
        let variables = json!({ "id": id, "title": format!("title {titles}") });
        api.data(&viewer, rename, variables).await;
        let renamed = Instant::now();
        window.until_right().await;
        list.until_right().await;
        renamed.elapsed()
    })
    .await;
}

#[tokio::test]
async fn after_a_cut_the_view_is_right_again() {
    let test = TestDatabase::create().await;
    let [here, there] = pair(&test, true).await;
    let viewer = here.viewer("alice").await;
    let id = Api::of(&here).start_chat(&viewer, "a title").await;
    let mut window = Window::open(&there, &viewer, &id);
    window.until_right().await;
    let send = "mutation($id: ID!) { sendMessage(input: { conversationId: $id, content: \"hi\" }) { reply { id } } }";
    Api::of(&here)
        .data(&viewer, send, json!({ "id": id }))
        .await;
    let writing = here.desk.next().await;
    writing.say("half");
    window.until_text("half").await;
    window.open_again();
    writing.say(" and whole");
    window.until_text("half and whole").await;
    assert_eq!(window.told[0], "ConversationSnapshot");
    window.open_again();
    writing.finish();
    quiet(&here, &viewer, &id).await;
    window.until_right().await;
}

#[tokio::test]
async fn a_database_that_hangs_is_waited_out_and_the_text_goes_on_meanwhile() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let api = Api::of(&replica);
    let id = api.start_chat(&viewer, "a title").await;
    let mut window = Window::open(&replica, &viewer, &id);
    let mut list = Overview::open(&replica, &viewer);
    window.until_right().await;
    list.until_right().await;
    let send = "mutation($id: ID!) { sendMessage(input: { conversationId: $id, content: \"hi\" }) { reply { id } } }";
    api.data(&viewer, send, json!({ "id": id })).await;
    let writing = replica.desk.next().await;
    writing.say("half");
    window.until_text("half").await;
    window.until_told("MessageDelta").await;

    // A database that does not answer whoever asks for news.
    let mut gate = SqlGate::closed(&test, GATE).await;
    let policy = format!(
        "create policy gate on chat.conversations as restrictive for select to loquat_viewer using (case \
           when current_setting('transaction_isolation') = 'repeatable read' then {} else true end)",
        SqlGate::passed(GATE)
    );
    sql(&test, &policy).await;
    let rename = "mutation($id: ID!) { updateConversation(input: { conversationId: $id, title: \"new\" }) { conversation { id } } }";
    api.data(&viewer, rename, json!({ "id": id })).await;
    gate.waiting(1).await;
    writing.say(" and more");
    window.until_text("half and more").await;
    writing.finish();
    gate.open().await;
    quiet(&replica, &viewer, &id).await;
    window.until_right().await;
    list.until_right().await;
}

#[tokio::test]
async fn an_outage_while_a_snapshot_is_put_together_is_waited_out() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let api = Api::of(&replica);
    let id = api.start_chat(&viewer, "a title").await;
    let [_, reply] = api.exchange(&viewer, &id, "hi").await;
    // What a server answers that is shutting down, counted past any rollback: to whoever reads the
    // page of messages, or a last message beside it.
    sql(
        &test,
        "create sequence outages; grant usage on sequence outages to public; \
         create function outage() returns bool language plpgsql as $$ begin \
           perform nextval('outages'); raise exception 'shutting down' using errcode = '57P01'; end $$; \
         create policy outage on chat.messages as restrictive for select to loquat_viewer using (outage())",
    )
    .await;
    let mut window = Window::open(&replica, &viewer, &id);
    let mut list = Overview::open(&replica, &viewer);
    let outage = async {
        eventually("the outage was met, and met again", || async {
            let met: i64 = sqlx::query_scalar("select last_value from outages")
                .fetch_one(&mut test.superuser().await)
                .await
                .expect("a count");
            (met >= 6).then_some(())
        })
        .await;
        sql(&test, "drop policy outage on chat.messages").await;
    };
    futures_util::join!(window.next(), list.next(), outage);
    assert!(window.live.content(&reply).is_some());
    window.until_right().await;
    list.until_right().await;
}
