//! Subscribers at the moments when something else happens: an end, an outage, a crowd.

use futures_util::future::join_all;
use loquat::{
    chat::FollowEvent,
    db::ConversationKey,
    model::{ConversationFilter, ConversationOrder, MessageStatus, PageRequest, Slice},
};

use crate::support::{Replica, SqlGate, TestDatabase, eventually, sql, within};

const GATE: i64 = 42;
const OTHER_GATE: i64 = 43;

/// Gives every run to a process that there is not, for longer than a test takes.
const ORPHAN: &str = "update chat.replies set fence = fence + 1, process_id = gen_random_uuid(), \
    lease_expires_at = now() + interval '1 hour'";

/// What the final transaction of that process would write.
const END: &str = "with gone as (delete from chat.replies) \
    update chat.messages set status = 'COMPLETED', content = 'half and whole', completed_at = now() \
    where status = 'STREAMING'";

#[tokio::test]
async fn a_subscriber_that_comes_as_the_reply_ends_elsewhere_hears_of_its_end() {
    let test = TestDatabase::create().await;
    let (writer, elsewhere) = (Replica::start(&test).await, Replica::start(&test).await);
    let viewer = writer.viewer("alice").await;
    let conversation = writer.conversation(&viewer).await;
    let sent = writer
        .send(&viewer, conversation, "hi")
        .await
        .expect("sent");
    let writing = writer.desk.next().await;
    writing.say("half");
    let mut first = elsewhere.follow(&viewer, sent.reply.id).await;
    first.until("half").await;
    sql(&test, ORPHAN).await;
    writing.hung_up().await;

    let mut gate = SqlGate::closed(&test, GATE).await;
    let policy = format!(
        "create policy gate on chat.messages as restrictive for select to loquat_viewer using ({})",
        SqlGate::passed(GATE)
    );
    sql(&test, &policy).await;
    // The second loads the message as it was; the first has seen that it ended.
    let second = elsewhere.follow(&viewer, sent.reply.id);
    let end = async {
        gate.waiting(1).await;
        sql(&test, END).await;
        gate.waiting(2).await;
        gate.open().await;
    };
    let (first, mut second, ()) = futures_util::join!(first.finished(), second, end);
    assert_eq!(first.content, "half and whole");
    assert_eq!(second.finished().await.content, "half and whole");
}

#[tokio::test]
async fn an_outage_at_the_decisive_moment_is_waited_out() {
    let test = TestDatabase::create().await;
    let (writer, elsewhere) = (Replica::start(&test).await, Replica::start(&test).await);
    let viewer = writer.viewer("alice").await;
    let conversation = writer.conversation(&viewer).await;
    let sent = writer
        .send(&viewer, conversation, "hi")
        .await
        .expect("sent");
    let writing = writer.desk.next().await;
    writing.say("half");
    let mut near = writer.follow(&viewer, sent.reply.id).await;
    let mut far = elsewhere.follow(&viewer, sent.reply.id).await;
    near.until("half").await;
    far.until("half").await;

    // What a server answers that is shutting down, counted past any rollback.
    sql(
        &test,
        "create sequence outages; grant usage on sequence outages to public; \
         create function outage() returns bool language plpgsql as $$ begin \
           perform nextval('outages'); raise exception 'shutting down' using errcode = '57P01'; end $$; \
         create policy outage on chat.messages as restrictive for select to loquat_viewer \
           using (case when current_query() like 'select m.id%' then outage() else true end)",
    )
    .await;
    writing.say(" and whole");
    writing.finish();
    let outage = async {
        eventually("the outage was met, and met again", || async {
            let met: i64 = sqlx::query_scalar("select last_value from outages")
                .fetch_one(&mut test.superuser().await)
                .await
                .expect("a count");
            (met >= 4).then_some(())
        })
        .await;
        sql(&test, "drop policy outage on chat.messages").await;
    };
    let (near, far, ()) = futures_util::join!(near.finished(), far.finished(), outage);
    assert_eq!(near.content, "half and whole");
    assert_eq!(far.content, "half and whole");
}

#[tokio::test]
async fn a_subscriber_that_comes_as_the_reply_begins_is_told_that_it_streams() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let viewer = replica.viewer("alice").await;
    let conversation = replica.conversation(&viewer).await;
    let mut loading = SqlGate::closed(&test, GATE).await;
    let mut beginning = SqlGate::closed(&test, OTHER_GATE).await;
    let policy = format!(
        "create policy gate on chat.messages as restrictive for select to loquat_viewer using (case \
           when status = 'PENDING' and current_query() like 'select m.id%' then {} \
           when status = 'PENDING' and current_query() like 'update%' then {} else true end)",
        SqlGate::passed(GATE),
        SqlGate::passed(OTHER_GATE),
    );
    sql(&test, &policy).await;
    let sent = replica
        .send(&viewer, conversation, "hi")
        .await
        .expect("sent");
    beginning.waiting(1).await;
    let follow = replica.chat.follow(&viewer, sent.reply.id);
    let begin = async {
        loading.waiting(1).await;
        beginning.open().await;
        let writing = replica.desk.next().await;
        loading.open().await;
        writing
    };
    let (events, writing) = futures_util::join!(follow, begin);
    let mut events = events.expect("a stream");
    writing.finish();
    let mut told = false;
    while let Some(event) = within("an event", futures_util::StreamExt::next(&mut events)).await {
        if let FollowEvent::Changed(message) = event.expect("no error") {
            told |= message.status == MessageStatus::Streaming;
        }
    }
    assert!(told);
}

#[tokio::test]
async fn one_users_crowd_of_requests_keeps_nobody_elses_reply_waiting() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let (alice, bob) = (replica.viewer("alice").await, replica.viewer("bob").await);
    let conversation = replica.conversation(&alice).await;
    replica.conversation(&bob).await;
    let mut gate = SqlGate::closed(&test, GATE).await;
    let policy = format!(
        "create policy gate on chat.conversations as restrictive for select to loquat_viewer \
         using (case when user_id = '{}' then {} else true end)",
        bob.user_id(),
        SqlGate::passed(GATE)
    );
    sql(&test, &policy).await;
    let filter = ConversationFilter::default();
    let crowd = join_all((0..50).map(|_| {
        let request: PageRequest<ConversationKey> = PageRequest {
            slice: Slice::First(1),
            after: None,
            before: None,
        };
        replica
            .chat
            .conversation_page(&bob, &filter, ConversationOrder::default(), request)
    }));
    let meanwhile = async {
        gate.waiting(2).await;
        let (_, mut reader, writing) = replica.begin(&alice, conversation).await;
        writing.say("at once");
        writing.finish();
        assert_eq!(reader.finished().await.content, "at once");
        gate.open().await;
    };
    let (pages, ()) = futures_util::join!(crowd, meanwhile);
    assert!(pages.iter().filter(|page| page.is_ok()).count() >= 2);
}
