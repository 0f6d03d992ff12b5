//! A page of history is the same work however long the conversation is and however often it was
//! edited: one range of one index, nothing sorted.
//!
//! What is explained is the very text that the server sends, as the role that it takes on, both
//! planned for its values and planned once for all. What the figures rely on:
//!
//! - The rows lie as on a server that many people write to by turns: no two messages of one
//!   conversation on one page of the table. That is the most that a page of history can cost. Where
//!   messages lie beside each other it costs less, as it does here after a choice has moved a path.
//! - A range has two ends, so what an index still holds of a longer path is never passed.
//! - Within the range lie entries of versions that left it, and of what a reply was before it was
//!   finished. They go without a vacuum, which does not run here: whoever stores a message at their
//!   position finds them dead, as does whoever reads the page first, and a full page of the index is
//!   cleared of them before it is split. So a page is the same work from the second reading on; the
//!   first one after an edit passes a few.

use std::sync::{Arc, Mutex};

use loquat::{
    config::ChatSettings,
    db::Viewer,
    model::{ConversationId, MessageId, PageRequest, Slice, UserId},
};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tracing::field::{Field, Visit};
use tracing_subscriber::{Layer, layer::Context, prelude::*};

use super::{answer, edit};
use crate::support::{QUICK, Replica, TestDatabase, sql};

/// As long as makes four rows fill a page of the table.
const TEXT: usize = 1840;

/// How many messages the long conversations have.
const LONG: i32 = 10_000;

const EDITS: usize = 500;

/// How far along the path that many edits are spread.
const PLACES: usize = 100;

/// The statements that the server sends for pages of history.
#[derive(Clone, Default)]
struct Statements(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> Layer<S> for Statements {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        struct Text<'t>(&'t mut Vec<String>);
        impl Visit for Text<'_> {
            fn record_str(&mut self, field: &Field, value: &str) {
                if field.name() == "db.statement" && value.trim().starts_with("with page as") {
                    self.0.push(value.trim().to_owned());
                }
            }

            fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
        }
        if event.metadata().target() == "sqlx::query" {
            event.record(&mut Text(&mut self.0.lock().expect("a lock")));
        }
    }
}

/// One page, as the server asks for it.
#[derive(Clone, Copy, Debug)]
struct Asked {
    slice: Slice,
    after: i32,
    before: i32,
}

impl Asked {
    fn rows(self) -> u32 {
        let (Slice::First(limit) | Slice::Last(limit)) = self.slice;
        limit + 1
    }
}

/// The first and the last messages, and those after and before a place.
fn pages(size: u32, after: i32, before: i32) -> [Asked; 4] {
    let whole = |slice| Asked {
        slice,
        after: -1,
        before: i32::MAX,
    };
    let (first, last) = (Slice::First(size), Slice::Last(size));
    [
        whole(first),
        whole(last),
        Asked {
            after,
            ..whole(first)
        },
        Asked {
            before,
            ..whole(last)
        },
    ]
}

struct Explainer {
    connection: PgConnection,
    first: String,
    last: String,
}

impl Explainer {
    async fn of(test: &TestDatabase, replica: &Replica, viewer: &Viewer) -> Self {
        let statements = Statements::default();
        tracing_subscriber::registry()
            .with(statements.clone())
            .init();
        let conversation = replica.conversation(viewer).await;
        for slice in [Slice::First(7), Slice::Last(7)] {
            let request = PageRequest {
                slice,
                after: None,
                before: None,
            };
            let chat = &replica.chat;
            chat.path_pages(viewer, &[conversation], request, 1000)
                .await
                .expect("a page");
        }
        let mut statements = statements.0.lock().expect("a lock").clone();
        let (last, first) = (statements.pop(), statements.pop());
        Self {
            connection: test.superuser().await,
            first: first.expect("a statement"),
            last: last.expect("another"),
        }
    }

    /// What a page costs, by a plan that is as it should be.
    async fn work(
        &mut self,
        viewer: UserId,
        conversation: ConversationId,
        asked: Asked,
        mode: &str,
    ) -> Work {
        let text = match asked.slice {
            Slice::First(_) => &self.first,
            Slice::Last(_) => &self.last,
        };
        let setup = format!(
            "set local role loquat_viewer; set local plan_cache_mode = {mode}; \
             select set_config('loquat.user_id', '{viewer}', true); \
             prepare page (uuid, uuid[], int, int, bigint, bigint) as {text}",
        );
        let explain = format!(
            "explain (analyze, buffers, format json) execute page \
             ('{viewer}', array['{conversation}'::uuid], {}, {}, {}, 16777216)",
            asked.after,
            asked.before,
            asked.rows(),
        );
        let mut tx = self.connection.begin().await.expect("a transaction");
        sqlx::raw_sql(AssertSqlSafe(setup))
            .execute(&mut *tx)
            .await
            .expect("a prepared statement");
        let plan: Value = sqlx::query_scalar::<_, sqlx::types::Json<Value>>(AssertSqlSafe(explain))
            .fetch_one(&mut *tx)
            .await
            .expect("a plan")
            .0;
        sqlx::raw_sql("deallocate page")
            .execute(&mut *tx)
            .await
            .expect("forgotten");
        tx.commit().await.expect("a commit");
        let root = &plan[0]["Plan"];
        let about = format!("{asked:?} {mode}: {plan:#}");
        assert_eq!(
            root["Actual Rows"].as_f64(),
            Some(f64::from(asked.rows())),
            "{about}"
        );
        let mut nodes = vec![root];
        let mut ranges = 0;
        while let Some(node) = nodes.pop() {
            // The chunks of an unfinished reply, which a finished one has not.
            if node["Actual Loops"].as_f64() == Some(0.0) {
                continue;
            }
            nodes.extend(node["Plans"].as_array().into_iter().flatten());
            let kind = node["Node Type"].as_str().expect("a kind");
            assert!(!kind.contains("Sort"), "{about}");
            assert_eq!(
                node["Rows Removed by Filter"].as_f64().unwrap_or(0.0),
                0.0,
                "{about}"
            );
            if node["Relation Name"] == "messages" {
                assert_eq!(kind, "Index Scan", "{about}");
                assert_eq!(node["Index Name"], "messages_on_active_path", "{about}");
                assert!(
                    node["Index Cond"]
                        .as_str()
                        .is_some_and(|range| range.contains(r#""position" <"#)
                            && range.contains(r#""position" >"#)),
                    "{about}"
                );
                ranges += 1;
            }
        }
        assert_eq!(ranges, 1, "{about}");
        let all = root["Shared Hit Blocks"].as_i64().expect("hits")
            + root["Shared Read Blocks"].as_i64().expect("reads");
        Work {
            all,
            beside_rows: all - self.pages_of_rows(viewer, conversation, asked).await,
        }
    }

    /// How often the next row lies on another page of the table than the one before.
    async fn pages_of_rows(
        &mut self,
        viewer: UserId,
        conversation: ConversationId,
        asked: Asked,
    ) -> i64 {
        let direction = match asked.slice {
            Slice::First(_) => "asc",
            Slice::Last(_) => "desc",
        };
        let pages: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(format!(
            "select ((ctid::text::point)[0])::bigint from chat.messages \
             where user_id = $5 and conversation_id = $1 and active \
               and position > $2 and position < $3 \
             order by position {direction} limit $4"
        )))
        .bind(conversation.uuid())
        .bind(asked.after)
        .bind(asked.before)
        .bind(i64::from(asked.rows()))
        .bind(viewer.uuid())
        .fetch_all(&mut self.connection)
        .await
        .expect("rows");
        let others = pages.windows(2).filter(|pair| pair[0] != pair[1]).count();
        i64::try_from(others + 1).expect("a few")
    }
}

/// Pages of table and indexes that were looked at.
#[derive(Clone, Copy, Debug)]
struct Work {
    all: i64,
    /// Without those on which the rows themselves lie.
    beside_rows: i64,
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "the figures are for people to read")]
async fn a_page_of_history_is_the_same_work_at_any_length_and_after_any_number_of_edits() {
    let test = TestDatabase::create().await;
    // So small a context that a thousand replies are shown next to nothing, which would take its time.
    let mut settings = ChatSettings::default();
    settings.context.every = Some(1_000);
    let replica = Replica::with(&test, QUICK, settings).await;
    let viewer = replica.viewer("alice").await;
    let mut explainer = Explainer::of(&test, &replica, &viewer).await;
    let mut conversations = Vec::new();
    let reply = "x".repeat(TEXT);
    for _ in 0..8 {
        conversations.push(replica.conversation(&viewer).await);
    }
    // By turns, so that no two messages of one conversation share a page.
    fill(&test, &viewer, &conversations[..4], 10).await;
    fill(&test, &viewer, &conversations[4..], LONG).await;
    let (short, long, spread, one) = (
        conversations[0],
        conversations[4],
        conversations[5],
        conversations[6],
    );

    let (spread_over, one_place) = (
        messages_of(&test, spread).await,
        messages_of(&test, one).await,
    );
    let (replica, viewer) = (&replica, &viewer);
    let edits_of = async |asked: Vec<MessageId>| {
        for message in asked {
            let made = edit(replica, viewer, message, &reply).await;
            let made = made.expect("edited").reply;
            answer(replica, viewer, made.id, &reply, "").await;
        }
    };
    // Each of a message that the edit before has left behind, and brings back.
    let spread_edits = (0..EDITS).map(|edit| spread_over[2 * (edit % PLACES)]);
    tokio::join!(
        edits_of(spread_edits.collect()),
        edits_of(vec![one_place[PLACES]; EDITS])
    );
    // The others end with what the server itself has stored, too.
    for conversation in [short, long] {
        let sent = replica.send(viewer, conversation, &reply).await;
        let sent = sent.expect("sent").reply;
        answer(replica, viewer, sent.id, &reply, "").await;
    }

    let place = i32::try_from(PLACES).expect("a few");
    let mut expected = Vec::new();
    let states = [
        ("10 messages", short, 1, 9),
        ("10,000 messages", long, LONG / 2, LONG / 2),
        ("500 edits of many places", spread, place, place),
        ("500 edits of one place", one, place - 8, place + 2),
        ("500 edits and all the way back", one, place - 4, place + 4),
    ];
    for (state, conversation, after, before) in states {
        if state.ends_with("back") {
            let end = *one_place.last().expect("messages");
            let selected = replica.chat.select_version(viewer, end).await;
            assert_eq!(selected.expect("selected").path_length, LONG);
        }
        for (index, asked) in pages(7, after, before).into_iter().enumerate() {
            for mode in ["force_custom_plan", "force_generic_plan"] {
                let user = viewer.user_id();
                let first = explainer.work(user, conversation, asked, mode).await;
                let work = explainer.work(user, conversation, asked, mode).await;
                println!("{state}: {asked:?} {mode}: {first:?}, then {work:?}");
                if expected.len() == index {
                    expected.push(work);
                }
                let expected: Work = expected[index];
                let tolerance = expected.all / 10;
                let about = format!("{state}, {asked:?}, {mode}: {work:?}, not {expected:?}");
                assert!(work.all <= expected.all + tolerance, "{about}");
                let beside = work.beside_rows - expected.beside_rows;
                assert!(beside.abs() <= tolerance, "{about}");
            }
        }
    }
}

/// Stores so many messages in each of the conversations, as if each had been sent and answered.
async fn fill(test: &TestDatabase, viewer: &Viewer, conversations: &[ConversationId], length: i32) {
    let ids: Vec<String> = conversations.iter().map(|id| format!("'{id}'")).collect();
    let ids = ids.join(", ");
    let user = viewer.user_id();
    sql(
        test,
        &format!(
            "alter table chat.messages set (autovacuum_enabled = off); \
             set session_replication_role = replica; \
             insert into chat.conversations (user_id, id, created_at, updated_at, last_active_at) \
               select '{user}', gen_random_uuid(), now(), now(), now() from generate_series(1, 1000); \
             create temp table told as select c.id as conversation_id, n as position, gen_random_uuid() as id \
               from unnest(array[{ids}]::uuid[]) as c (id), generate_series(0, {length} - 1) as n; \
             create index on told (conversation_id, position); \
             analyze told; \
             insert into chat.messages (user_id, id, conversation_id, parent_id, active, position, role, \
               content, status, created_at, completed_at) \
             select '{user}', t.id, t.conversation_id, p.id, true, t.position, \
               case when t.position % 2 = 0 then 'USER' else 'ASSISTANT' end, repeat('x', {TEXT}), \
               'COMPLETED', now(), now() \
             from told t left join told p \
               on p.conversation_id = t.conversation_id and p.position = t.position - 1 \
             order by t.position, t.conversation_id; \
             update chat.conversations set path_length = {length} where id in ({ids}); \
             analyze chat.messages; analyze chat.conversations",
        ),
    )
    .await;
}

/// By their positions.
async fn messages_of(test: &TestDatabase, conversation: ConversationId) -> Vec<MessageId> {
    let ids: Vec<uuid::Uuid> = sqlx::query_scalar(
        "select id from chat.messages where conversation_id = $1 order by position",
    )
    .bind(conversation.uuid())
    .fetch_all(&mut test.superuser().await)
    .await
    .expect("messages");
    ids.into_iter().map(MessageId::from).collect()
}
