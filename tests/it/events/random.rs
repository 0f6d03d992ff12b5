//! Any history of changes: the views that were told of it are what is stored.

use loquat::db::Viewer;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use super::{Overview, Window, pair};
use crate::support::{Api, CONVERSATION, Replica, TestDatabase, Writing, eventually, text};

const STEPS: usize = 40;

/// The replies that are being written, on whichever replica.
#[derive(Default)]
struct Writings(Vec<Writing>);

impl Writings {
    async fn take(&mut self, replicas: &[Replica; 2]) {
        for replica in replicas {
            while replica.desk.unanswered().await > 0 {
                self.0.push(replica.desk.next().await);
            }
        }
    }

    fn go_on(&mut self, random: &mut StdRng) {
        if self.0.is_empty() {
            return;
        }
        let which = random.random_range(0..self.0.len());
        for _ in 0..random.random_range(0..4) {
            self.0[which].say(["a", "ß ", "€", "😀\n"][random.random_range(0..4)]);
        }
        if random.random_range(0..3) == 0 {
            self.0.swap_remove(which).finish();
        }
    }
}

/// One change, as a client may make it; many are refused, for something is being written.
async fn step(api: &Api<'_>, viewer: &Viewer, id: &str, random: &mut StdRng) {
    let stored = api.data(viewer, CONVERSATION, json!({ "id": id })).await;
    let messages = stored["viewer"]["conversation"]["messages"]["nodes"]
        .as_array()
        .expect("messages")
        .clone();
    let one = |role: &str, random: &mut StdRng| {
        let of_role = messages.iter().filter(|message| message["role"] == role);
        let ids: Vec<String> = of_role.map(|message| text(&message["id"])).collect();
        (!ids.is_empty()).then(|| ids[random.random_range(0..ids.len())].clone())
    };
    let (answer, question) = (one("ASSISTANT", random), one("USER", random));
    let answer = answer.unwrap_or_else(|| id.to_owned());
    let question = question.unwrap_or_else(|| id.to_owned());
    let send = |policy: &str| {
        format!(
            "sendMessage(input: {{ conversationId: \"{id}\", content: \"hi\", whenBusy: {policy} }}) {{ reply {{ id }} }}"
        )
    };
    let change = match random.random_range(0..14) {
        0 | 1 => send("REJECT"),
        2 | 3 => send("ENQUEUE"),
        4 => send("STOP"),
        5 => format!("stopReply(input: {{ messageId: \"{answer}\" }}) {{ reply {{ id }} }}"),
        6 => format!("regenerateReply(input: {{ messageId: \"{answer}\" }}) {{ reply {{ id }} }}"),
        7 => format!(
            "editMessage(input: {{ messageId: \"{question}\", content: \"other\" }}) {{ reply {{ id }} }}"
        ),
        8 => {
            let versions =
                "query($id: ID!) { node(id: $id) { ... on Message { versions { id } } } }";
            let found = api.ask(viewer, versions, json!({ "id": answer })).await;
            let versions = found["data"]["node"]["versions"].as_array().cloned();
            let versions = versions.filter(|versions| !versions.is_empty());
            let version =
                versions.map(|versions| versions[random.random_range(0..versions.len())].clone());
            let version = version.map_or(answer, |version| text(&version["id"]));
            format!(
                "selectVersion(input: {{ messageId: \"{version}\" }}) {{ conversation {{ id }} }}"
            )
        }
        9 => format!(
            "rateMessage(input: {{ messageId: \"{answer}\", rating: DOWN }}) {{ message {{ id }} }}"
        ),
        10 => format!(
            "updateConversation(input: {{ conversationId: \"{id}\", title: \"title {}\" }}) {{ conversation {{ id }} }}",
            random.random_range(0..100)
        ),
        11 if random.random_range(0..4) == 0 => {
            format!(
                "resetConversation(input: {{ conversationId: \"{id}\" }}) {{ conversation {{ id }} }}"
            )
        }
        12 => {
            let other = api.start_chat(viewer, "another").await;
            format!(
                "deleteConversation(input: {{ conversationId: \"{other}\" }}) {{ deletedConversationId }}"
            )
        }
        _ => "startChat(input: { title: \"more\" }) { conversation { id } }".to_owned(),
    };
    let answer = api
        .ask(viewer, &format!("mutation {{ {change} }}"), json!({}))
        .await;
    for error in answer["errors"].as_array().into_iter().flatten() {
        let code = error["extensions"]["code"].as_str();
        let expected = [Some("CONFLICT"), Some("BAD_USER_INPUT"), Some("NOT_FOUND")];
        assert!(expected.contains(&code), "{change}: {answer}");
    }
}

async fn any_history(seed: u64, with_broker: bool) {
    let test = TestDatabase::create().await;
    let replicas = pair(&test, with_broker).await;
    let viewer = replicas[0].viewer("alice").await;
    let id = Api::of(&replicas[0]).start_chat(&viewer, "a title").await;
    let mut random = StdRng::seed_from_u64(seed);
    let mut windows = [
        Window::open(&replicas[0], &viewer, &id),
        Window::open(&replicas[1], &viewer, &id),
    ];
    let mut lists = [
        Overview::open(&replicas[0], &viewer),
        Overview::open(&replicas[1], &viewer),
    ];
    let mut writings = Writings::default();
    for _ in 0..STEPS {
        let api = Api::of(&replicas[random.random_range(0..2)]);
        step(&api, &viewer, &id, &mut random).await;
        writings.take(&replicas).await;
        writings.go_on(&mut random);
        // Some read on, others fall behind, and one is cut.
        for window in &mut windows {
            match random.random_range(0..12) {
                0 => window.open_again(),
                1..6 => while futures_util::FutureExt::now_or_never(window.next()).is_some() {},
                _ => {}
            }
        }
        for list in &mut lists {
            if random.random_range(0..12) == 0 {
                list.open_again();
            } else if random.random() {
                while futures_util::FutureExt::now_or_never(list.next()).is_some() {}
            }
        }
    }
    let api = Api::of(&replicas[0]);
    let writings = tokio::sync::Mutex::new(writings);
    eventually("everything has been written", || async {
        let mut writings = writings.lock().await;
        writings.take(&replicas).await;
        for writing in writings.0.drain(..) {
            writing.say("the end");
            writing.finish();
        }
        let stored: Value = api.data(&viewer, CONVERSATION, json!({ "id": id })).await;
        stored["viewer"]["conversation"]["activeReply"]
            .is_null()
            .then_some(())
    })
    .await;
    for window in &mut windows {
        window.until_right().await;
    }
    for list in &mut lists {
        list.until_right().await;
    }
}

#[tokio::test]
async fn any_history_of_changes_is_told_right_where_a_broker_tells() {
    for seed in 0..3 {
        any_history(seed, true).await;
    }
}

#[tokio::test]
async fn any_history_of_changes_is_told_right_without_a_broker() {
    for seed in 10..13 {
        any_history(seed, false).await;
    }
}
