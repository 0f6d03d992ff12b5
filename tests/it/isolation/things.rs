//! The owner's things and the strangers', and how a case names them: a text that begins with `$`
//! stands for the id or the cursor of a thing of hers.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

use super::{
    callers::{Caller, ReadKey, strangers},
    stage::{Credential, Stage},
};
use crate::support::{Writing, sql, text};

/// In everything that she wrote. No answer but hers may hold it.
pub const SECRET: &str = "the secret of the loquat";

/// Her name, in her e-mail address too: for an admin's eyes and hers.
pub const OWNER: &str = "alice";

/// Her idempotency key.
pub const KEY: &str = "her key";

pub struct Things {
    /// An API key that may only read.
    pub key: Credential,
    names: BTreeMap<&'static str, String>,
    /// The reply that is being written; it would end with this.
    _running: Writing,
}

impl Things {
    /// Of everybody else: two conversations, with room for hers between them, and an API key.
    /// What each of them shows.
    pub async fn of_strangers(stage: &Stage) -> BTreeMap<Caller, Credential> {
        let mut credentials = BTreeMap::new();
        for (stranger, [in_person, by_key]) in strangers() {
            for title in ["own older", "own newer"] {
                let document = "mutation($title: String) { startChat(input: { title: $title }) { conversation { id } } }";
                stage
                    .data(&stranger, document, json!({ "title": title }))
                    .await;
            }
            let key = ReadKey::of(&stranger, "own", stage).await;
            credentials.insert(in_person, stranger);
            credentials.insert(by_key, key.credential);
        }
        sql(
            &stage.test,
            "update chat.conversations set created_at = created_at + interval '1 hour', \
             last_active_at = last_active_at + interval '1 hour' where title = 'own newer'",
        )
        .await;
        credentials
    }

    /// A user's: conversations with a reply in each, one whose reply is being written, and an API
    /// key.
    pub async fn of(stage: &Stage, user: &str) -> Self {
        let owner = Credential::token(user);
        let mut names = BTreeMap::new();
        let mut running = None;
        for [conversation, question, message] in [
            ["$Conversation", "$question", "$Message"],
            ["$edited conversation", "$edited", "$answer to edited"],
            [
                "$regenerated conversation",
                "$regenerated question",
                "$regenerated",
            ],
            ["$running conversation", "$running question", "$running"],
        ] {
            let document = "mutation($input: StartChatInput!) { startChat(input: $input) \
                { conversation { id } userMessage { id } reply { id } } }";
            let key = (message == "$Message").then_some(KEY);
            let input = json!({
                "title": SECRET, "systemPrompt": SECRET, "message": SECRET, "idempotencyKey": key,
            });
            let started = stage
                .data(&owner, document, json!({ "input": input }))
                .await;
            let started = &started["startChat"];
            names.insert(conversation, text(&started["conversation"]["id"]));
            let reply = text(&started["reply"]["id"]);
            let writing = stage.replica.desk.next().await;
            writing.say(SECRET);
            if message == "$running" {
                running = Some(writing);
            } else {
                writing.finish();
                stage.finished(&owner, &reply).await;
            }
            names.insert(question, text(&started["userMessage"]["id"]));
            names.insert(message, reply);
        }
        let key = ReadKey::of(&owner, SECRET, stage).await;
        names.insert("$ApiKey", key.id);
        names.insert("$ApiKey cursor", key.cursor);
        let document = "query($id: ID!) { viewer { id \
            newest: conversations { edges { cursor } } \
            oldest: conversations(orderBy: { field: CREATED_AT, direction: ASC }) { edges { cursor } } \
            conversation(id: $id) { messages { edges { cursor } } } } }";
        let found = stage
            .data(&owner, document, json!({ "id": names["$Conversation"] }))
            .await;
        let viewer = &found["viewer"];
        names.insert("$Viewer", text(&viewer["id"]));
        names.insert("$User", as_user(&viewer["id"]));
        names.insert("$name", user.to_owned());
        let bystander = Credential::token("carol");
        let found = stage.data(&bystander, "{ viewer { id } }", json!({})).await;
        names.insert("$bystander", as_user(&found["viewer"]["id"]));
        let events = "{ viewer { auditEvents(first: 1) { edges { cursor node { id } } } } }";
        let found = stage.data(&owner, events, json!({})).await;
        let event = &found["viewer"]["auditEvents"]["edges"][0];
        names.insert("$AuditEvent", text(&event["node"]["id"]));
        names.insert("$AuditEvent cursor", text(&event["cursor"]));
        let newest = "{ admin { users(first: 1) { edges { cursor } } } }";
        let found = stage
            .data(&Credential::admin("root"), newest, json!({}))
            .await;
        let cursor = text(&found["admin"]["users"]["edges"][0]["cursor"]);
        names.insert("$User cursor", cursor);
        let newest = "{ admin { auditEvents(first: 1) { edges { cursor } } } }";
        let found = stage
            .data(&Credential::admin("root"), newest, json!({}))
            .await;
        let cursor = text(&found["admin"]["auditEvents"]["edges"][0]["cursor"]);
        names.insert("$anybody's AuditEvent cursor", cursor);
        names.insert("$key", KEY.to_owned());
        for (name, list) in [
            ("$Conversation cursor", &viewer["newest"]),
            ("$Conversation cursor by creation", &viewer["oldest"]),
            ("$Message cursor", &viewer["conversation"]["messages"]),
        ] {
            names.insert(name, text(&list["edges"][0]["cursor"]));
        }
        Self {
            key: key.credential,
            names,
            _running: running.expect("the last"),
        }
    }

    /// The variables of a case about a user, with somebody else in them.
    pub fn bystanders(&self, variables: &Value) -> Value {
        replaced(variables, &|name| match name {
            "$User" => self.named("$bystander").to_owned(),
            _ => panic!("{name} is not for a bystander"),
        })
    }

    /// The variables of a case, with her things in them.
    pub fn hers(&self, variables: &Value) -> Value {
        replaced(variables, &|name| self.named(name).to_owned())
    }

    /// The same, about things that never were.
    pub fn nobodys(&self, variables: &Value) -> Value {
        const NOBODYS: &str = "AZ3r7gAAcACAAAAAAAAAAA";
        replaced(variables, &|name| match self.id(name) {
            Some((prefix, _)) => format!("{prefix}_{NOBODYS}"),
            None => NOBODYS.to_owned(),
        })
    }

    fn named(&self, name: &str) -> &str {
        let found = self.names.get(name);
        found.unwrap_or_else(|| panic!("the owner has nothing that is called {name}"))
    }

    /// The type and the value of an id. A cursor is none, though one may look like it.
    fn id(&self, name: &str) -> Option<(&str, Uuid)> {
        let (prefix, digits) = self.named(name).split_once('_')?;
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(digits).ok()?;
        let id = Uuid::from_slice(&bytes).ok()?;
        (!name.contains("cursor")).then_some((prefix, id))
    }

    /// All that the database holds of her, and whatever else there refers to it.
    pub async fn dump(&self, stage: &Stage) -> Vec<String> {
        // What changes while nobody does anything to her things.
        const RESTLESS: &str = "array['lease_expires_at', 'last_active_at', 'last_used_at']";
        let (_, viewer) = self.id("$Viewer").expect("an id");
        let hers = self.names.keys().filter(|name| **name != "$bystander");
        let ids: BTreeSet<Uuid> = hers.filter_map(|name| Some(self.id(name)?.1)).collect();
        let mut connection = stage.test.superuser().await;
        let tables: Vec<String> = sqlx::query_scalar(
            "select distinct table_name::text from information_schema.columns \
             where table_schema = 'chat' and column_name = 'user_id' order by 1",
        )
        .fetch_all(&mut connection)
        .await
        .expect("the catalogue");
        let mut dump = Vec::new();
        for table in tables {
            let statement = format!(
                "select user_id, (to_jsonb(t) - {RESTLESS})::text as row from chat.{table} t order by row"
            );
            let rows = sqlx::query(AssertSqlSafe(statement)).fetch_all(&mut connection);
            for row in rows.await.expect("rows") {
                let (user, row): (Uuid, String) = (row.get("user_id"), row.get("row"));
                // That her key tried what it may not is noted a moment later.
                if table == "audit_log" && row.contains("DENIED") {
                    continue;
                }
                if user == viewer || ids.iter().any(|id| row.contains(&id.to_string())) {
                    dump.push(format!("{table}: {row}"));
                }
            }
        }
        dump
    }
}

/// The same digits, as admins know the user.
fn as_user(viewer: &Value) -> String {
    text(viewer).replace("viewer_", "user_")
}

fn replaced(value: &Value, of: &impl Fn(&str) -> String) -> Value {
    match value {
        Value::String(name) if name.starts_with('$') => Value::String(of(name)),
        Value::Array(items) => items.iter().map(|item| replaced(item, of)).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), replaced(value, of)))
            .collect(),
        other => other.clone(),
    }
}
