//! Titles that the model writes: after the first replies, never over a user's own, at nobody's cost.

use loquat::{
    config::{ChatSettings, TitleSettings},
    db::{ConversationChanges, Viewer},
    model::{Conversation, ConversationId, ReplyErrorCode},
};

use crate::support::{QUICK, Replica, TestDatabase, Writing, eventually, sql};

async fn replica(test: &TestDatabase) -> Replica {
    let settings = ChatSettings {
        titles: TitleSettings::TheModel,
        ..ChatSettings::default()
    };
    Replica::with(test, QUICK, settings).await
}

async fn load(replica: &Replica, viewer: &Viewer, id: ConversationId) -> Conversation {
    let found = replica.chat.conversations(viewer, &[id]).await;
    found.expect("conversations load").pop().expect("there")
}

/// Asks, has the model answer, and waits until the answer is stored.
async fn exchange(replica: &Replica, viewer: &Viewer, id: ConversationId, question: &str) {
    let sent = replica.send(viewer, id, question).await.expect("sent");
    let writing = replica.desk.next().await;
    writing.say("They ripen in spring.");
    writing.finish();
    replica.follow(viewer, sent.reply.id).await.finished().await;
}

/// The next thing that the model is asked for, which is a title.
async fn asked_for_title(replica: &Replica) -> Writing {
    let writing = replica.desk.next().await;
    let asked = &writing.prompt.turns[0].text;
    assert!(asked.starts_with("Write a title"), "{asked}");
    writing
}

async fn titled(replica: &Replica, viewer: &Viewer, id: ConversationId) -> Conversation {
    eventually("the conversation is titled", || async {
        let conversation = load(replica, viewer, id).await;
        conversation.title.is_some().then_some(conversation)
    })
    .await
}

#[tokio::test]
async fn the_model_titles_a_conversation_once_after_its_first_exchange() {
    let test = TestDatabase::create().await;
    let replica = replica(&test).await;
    let viewer = replica.viewer("alice").await;
    let id = replica.conversation(&viewer).await;
    exchange(&replica, &viewer, id, "When do loquats ripen?").await;
    let before = load(&replica, &viewer, id).await;

    let writing = asked_for_title(&replica).await;
    let prompt = &writing.prompt;
    assert_eq!(
        (prompt.model.as_str(), prompt.max_tokens),
        ("small", Some(1_000))
    );
    let shown = &prompt.turns[0].text;
    assert!(shown.contains("User: When do loquats ripen?"), "{shown}");
    assert!(
        shown.contains("Assistant: They ripen in spring."),
        "{shown}"
    );
    writing.say("Title: \"Loquats ");
    writing.say("in spring\"\nand more");
    writing.hung_up().await;

    let after = titled(&replica, &viewer, id).await;
    assert_eq!(after.title.as_deref(), Some("Loquats in spring"));
    assert!(after.revision > before.revision && after.list_revision > before.list_revision);
    assert_eq!(
        after.last_active_at, before.last_active_at,
        "it does not move"
    );

    exchange(&replica, &viewer, id, "And pears?").await;
    exchange(&replica, &viewer, id, "And figs?").await;
    assert_eq!(replica.desk.unanswered().await, 0, "nothing else is asked");
}

#[tokio::test]
async fn a_users_own_title_and_their_wish_for_none_stay() {
    let test = TestDatabase::create().await;
    let replica = replica(&test).await;
    let viewer = replica.viewer("alice").await;
    let rename = async |id, title: Option<&str>| {
        let changes = ConversationChanges {
            title: Some(title.map(str::to_owned)),
            ..ConversationChanges::default()
        };
        let changed = replica.chat.update_conversation(&viewer, id, changes).await;
        changed.expect("renamed");
    };

    // Before the first exchange, and while the model thinks.
    for title in [Some("Mine"), None] {
        let id = replica.conversation(&viewer).await;
        rename(id, title).await;
        exchange(&replica, &viewer, id, "When do loquats ripen?").await;

        let late = replica.conversation(&viewer).await;
        exchange(&replica, &viewer, late, "When do loquats ripen?").await;
        let writing = asked_for_title(&replica).await;
        rename(late, title).await;
        let before = load(&replica, &viewer, late).await;
        writing.say("The model's");
        writing.finish();
        counted_titles(&test, 1).await;
        let after = load(&replica, &viewer, late).await;
        assert_eq!(after.title.as_deref(), title);
        assert_eq!(after.revision, before.revision, "nothing has changed");
        assert_eq!(load(&replica, &viewer, id).await.title.as_deref(), title);
        sql(&test, "delete from chat.usage").await;
    }
    assert_eq!(replica.desk.unanswered().await, 0);
}

/// Waits until so many titles have been paid for.
async fn counted_titles(test: &TestDatabase, count: i64) {
    eventually("the titles are counted", || async {
        let counted: i64 =
            sqlx::query_scalar("select count(*) from chat.usage where kind = 'TITLE'")
                .fetch_one(&mut test.superuser().await)
                .await
                .expect("a count");
        (counted == count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_title_that_does_not_come_is_asked_for_again_a_few_times() {
    let test = TestDatabase::create().await;
    let replica = replica(&test).await;
    let viewer = replica.viewer("alice").await;
    let id = replica.conversation(&viewer).await;
    // A reply that failed brings no title.
    let sent = replica.send(&viewer, id, "one").await.expect("sent");
    let writing = replica.desk.next().await;
    writing.fail(ReplyErrorCode::ProviderUnavailable, "not now");
    replica
        .follow(&viewer, sent.reply.id)
        .await
        .finished()
        .await;
    assert_eq!(replica.desk.unanswered().await, 0);

    exchange(&replica, &viewer, id, "two").await;
    let writing = asked_for_title(&replica).await;
    writing.fail(ReplyErrorCode::ProviderUnavailable, "not now");
    exchange(&replica, &viewer, id, "three").await;
    let writing = asked_for_title(&replica).await;
    writing.say("**");
    writing.finish();
    counted_titles(&test, 1).await;
    for question in ["four", "five"] {
        exchange(&replica, &viewer, id, question).await;
    }
    assert_eq!(replica.desk.unanswered().await, 0, "that is enough");
    assert_eq!(load(&replica, &viewer, id).await.title, None);

    // Another conversation, whose first title was lost with its process, gets one with its second
    // reply.
    let id = replica.conversation(&viewer).await;
    exchange(&replica, &viewer, id, "one").await;
    drop(asked_for_title(&replica).await);
    exchange(&replica, &viewer, id, "two").await;
    let writing = asked_for_title(&replica).await;
    writing.say("Loquats");
    writing.finish();
    let conversation = titled(&replica, &viewer, id).await;
    assert_eq!(conversation.title.as_deref(), Some("Loquats"));
}

#[tokio::test]
async fn a_title_keeps_no_process_from_stopping_and_takes_no_replys_room() {
    let test = TestDatabase::create().await;
    let mut settings = ChatSettings {
        titles: TitleSettings::Model("tiny".to_owned()),
        ..ChatSettings::default()
    };
    settings.runs.most = 1;
    let replica = Replica::with(&test, QUICK, settings).await;
    let viewer = replica.viewer("alice").await;
    let id = replica.conversation(&viewer).await;
    exchange(&replica, &viewer, id, "one").await;
    let title = asked_for_title(&replica).await;
    assert_eq!(title.prompt.model, "tiny");
    // The one place is free for the next reply.
    let other = replica.conversation(&viewer).await;
    exchange(&replica, &viewer, other, "two").await;
    let _other_title = asked_for_title(&replica).await;

    replica.lifecycle.begin_soft_stop();
    replica.chat.drained().await;
    replica.lifecycle.begin_hard_stop();
    title.hung_up().await;
    replica.lifecycle.finished().await;
}

#[tokio::test]
async fn a_title_costs_tokens_and_is_no_reply() {
    let test = TestDatabase::create().await;
    let replica = replica(&test).await;
    let viewer = replica.viewer("alice").await;
    let id = replica.conversation(&viewer).await;
    exchange(&replica, &viewer, id, "When do loquats ripen?").await;
    let writing = asked_for_title(&replica).await;
    writing.say("Loquats");
    writing.finish();
    counted_titles(&test, 1).await;
    let sums: (i64, i64) = sqlx::query_as(
        "select count(*) filter (where kind = 'REPLY'), sum(total_tokens)::bigint from chat.usage",
    )
    .fetch_one(&mut test.superuser().await)
    .await
    .expect("sums");
    assert_eq!(sums, (1, 14));
}
