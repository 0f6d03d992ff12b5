//! The promises, at the end of a history.

use std::collections::HashMap;

use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use super::{act::until_answered, witness, world::World};

#[derive(Debug, FromRow)]
struct Stored {
    id: Uuid,
    conversation_id: Uuid,
    parent_id: Option<Uuid>,
    active: bool,
    preferred: bool,
    position: i32,
    version_number: i32,
    role: String,
    status: String,
    content: String,
    error_code: Option<String>,
    idempotency_key: Option<String>,
    revision: i64,
    path_revision: i64,
    conversation_revision: i64,
    usages: i64,
}

/// Holds them, and tells what there was to be held to them.
pub async fn promises(world: &World) -> String {
    let mut connection = world.common.test.superuser().await;
    let stored: Vec<Stored> = sqlx::query_as(
        "select m.*, c.revision as conversation_revision, c.path_revision, \
         (select count(*) from chat.usage u where u.id = m.id and u.user_id = m.user_id) as usages \
         from chat.messages m join chat.conversations c on c.id = m.conversation_id \
         order by m.conversation_id, m.position, m.version_number",
    )
    .fetch_all(&mut connection)
    .await
    .expect("messages");
    nothing_is_left(&mut connection).await;
    let late = witness::testimony(&mut connection).await;
    assert_eq!(late, Vec::<String>::new());
    trees_are_whole(&stored);
    replies_are_what_was_said(world, &stored);
    what_was_acknowledged_is_there_once(world, &stored).await;
    let count = |status| {
        let replies = stored.iter().filter(|message| message.role == "ASSISTANT");
        replies.filter(|reply| reply.status == status).count()
    };
    let interrupted = stored.iter().filter(|message| message.is_interrupted());
    format!(
        "{} acknowledged, {} runs, {} completed, {} stopped, {} failed, {} of them interrupted",
        world.acknowledged.lock().expect("no panic").len(),
        world.common.author.calls().len(),
        count("COMPLETED"),
        count("STOPPED"),
        count("FAILED"),
        interrupted.count(),
    )
}

impl Stored {
    fn is_interrupted(&self) -> bool {
        self.error_code.as_deref() == Some("INTERRUPTED")
    }
}

async fn nothing_is_left(connection: &mut PgConnection) {
    for table in ["replies", "reply_chunks"] {
        let statement = format!("select count(*) from chat.{table}");
        let left: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
            .fetch_one(&mut *connection)
            .await
            .expect("a count");
        assert_eq!(left, 0, "{table}");
    }
}

/// One active path without gaps, one preferred version at each place, numbers without holes.
fn trees_are_whole(stored: &[Stored]) {
    let mut places: HashMap<(Uuid, Option<Uuid>), Vec<&Stored>> = HashMap::new();
    let mut paths: HashMap<Uuid, Vec<&Stored>> = HashMap::new();
    for message in stored {
        let place = (message.conversation_id, message.parent_id);
        places.entry(place).or_default().push(message);
        if message.active {
            assert!(message.preferred, "{message:?}");
            paths
                .entry(message.conversation_id)
                .or_default()
                .push(message);
        }
        assert!(
            message.revision <= message.conversation_revision,
            "{message:?}"
        );
        assert!(
            message.path_revision <= message.conversation_revision,
            "{message:?}"
        );
    }
    for (place, versions) in &places {
        let preferred = versions.iter().filter(|version| version.preferred);
        assert_eq!(preferred.count(), 1, "{place:?}: {versions:?}");
        let mut numbers: Vec<i32> = versions
            .iter()
            .map(|version| version.version_number)
            .collect();
        numbers.sort_unstable();
        let counted: Vec<i32> = (1..).take(numbers.len()).collect();
        assert_eq!(numbers, counted, "{place:?}: {versions:?}");
    }
    for (conversation, path) in &paths {
        let mut parent = None;
        for (position, message) in (0..).zip(path) {
            assert_eq!(message.position, position, "{conversation}: {path:?}");
            assert_eq!(message.parent_id, parent, "{conversation}: {path:?}");
            parent = Some(message.id);
        }
        // It goes on as far as there is anything.
        assert!(
            !places.contains_key(&(*conversation, parent)),
            "{conversation}: {path:?}"
        );
    }
    for conversation in places.keys().map(|(conversation, _)| conversation) {
        assert!(
            paths.contains_key(conversation),
            "{conversation} has no path"
        );
    }
}

/// Every reply is terminal, and its text is what the model said in one run, as far as it goes.
fn replies_are_what_was_said(world: &World, stored: &[Stored]) {
    let calls = world.common.author.calls();
    let questions: HashMap<Uuid, &str> = stored
        .iter()
        .map(|message| (message.id, message.content.as_str()))
        .collect();
    // How many replies there are to each.
    let mut replies: HashMap<&str, usize> = HashMap::new();
    for reply in stored.iter().filter(|message| message.role == "ASSISTANT") {
        let question = questions[&reply.parent_id.expect("a question")];
        *replies.entry(question).or_default() += 1;
    }
    for reply in stored.iter().filter(|message| message.role == "ASSISTANT") {
        let question = questions[&reply.parent_id.expect("a question")];
        let mut said = calls.iter().filter(|call| call.asks(question));
        match reply.status.as_str() {
            "COMPLETED" => {
                let call = said.find(|call| call.said == reply.content);
                let call = call.unwrap_or_else(|| panic!("never said: {reply:?}"));
                assert!(call.is_complete, "{reply:?}");
                let mut newest = calls.iter().rev().filter(|call| call.asks(question));
                let newest = newest.find(|call| call.is_complete);
                // Whoever lost a reply to a successor stores nothing of it.
                assert!(
                    replies[question] > 1 || newest.is_some_and(|it| it.said == reply.content),
                    "{newest:?} was said later: {reply:?}"
                );
                assert_eq!(reply.usages, 1, "{reply:?}");
            }
            "STOPPED" | "FAILED" => {
                let prefix = reply.content.is_empty()
                    || said.any(|call| call.said.starts_with(&reply.content));
                assert!(prefix, "never said: {reply:?}");
                assert!(reply.usages <= 1, "{reply:?}");
                assert!(
                    !(reply.is_interrupted() && world.common.is_faultless),
                    "{reply:?}"
                );
            }
            _ => panic!("not terminal: {reply:?}"),
        }
    }
    if world.common.is_faultless {
        // One run an attempt, and nobody was lost: no reply can have had more than one.
        for (question, count) in replies {
            let runs = calls.iter().filter(|call| call.asks(question)).count();
            assert!(
                runs <= count,
                "{runs} runs for {count} replies to {question:?}"
            );
        }
    }
}

async fn what_was_acknowledged_is_there_once(world: &World, stored: &[Stored]) {
    let mut by_key: HashMap<&str, Vec<&Stored>> = HashMap::new();
    for message in stored {
        if let Some(key) = &message.idempotency_key {
            by_key.entry(key).or_default().push(message);
        }
    }
    for (key, messages) in &by_key {
        let questions = messages
            .iter()
            .filter(|message| message.role == "USER")
            .count();
        assert!(questions <= 1, "{key}: {messages:?}");
    }
    let chats = world.chats.lock().expect("no panic").clone();
    let acknowledged = world.acknowledged.lock().expect("no panic").clone();
    for done in acknowledged {
        let there = chats.iter().find(|chat| chat.id == done.chat);
        if there.is_none_or(|chat| chat.is_cut) {
            continue;
        }
        if let Some((_, content)) = &done.said {
            let same = stored.iter().filter(|message| message.content == *content);
            assert_eq!(same.count(), 1, "{done:?}");
            assert!(by_key.contains_key(done.key.as_str()), "{done:?}");
        }
        // At any time, on any process.
        let again = until_answered(world, done.key.len(), done.user, done.document, &done.input);
        let again = again.await;
        assert_eq!(again["data"]["done"], done.data, "{done:?}: {again}");
    }
}
