//! Random input over the wire: bodies, query strings, documents, ids and cursors, and the frames of
//! sockets.
//!
//! A few hundred inputs each, or for `LOQUAT_FUZZ_SECONDS`. What fails is printed, with the seed:
//! `LOQUAT_FUZZ_SEED` begins with it.

mod twist;

use std::{
    env,
    time::{Duration, Instant},
};

use proptest::{
    collection::vec,
    prelude::{Strategy, any, prop_oneof},
    sample::select,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use reqwest::{Response, header::CONTENT_TYPE};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{assert_harmless, ends_without_a_fault, still_answers};
use crate::{
    provider::{FakeProvider, Script},
    support::{
        TestDatabase,
        process::{Device, program},
        program::Server,
        text, within,
    },
};
use twist::{bent, bent_text};

/// How many inputs where no time is given.
const USUAL: usize = 200;

const DOCUMENTS: &[&str] = &[
    "{ viewer { id externalId displayName usage { totalTokens } } }",
    "query Page($first: Int = 5, $after: String) { viewer { conversations(first: $first, after: $after, \
       filter: { titleContains: \"a\" }) { totalCount edges { cursor node { id title \
       messages(last: 10) { edges { cursor node { ...Text } } pageInfo { hasPreviousPage startCursor } } } } \
       pageInfo { endCursor hasNextPage } } } } \
     fragment Text on Message { id role content status versions { id } error { code message } }",
    "mutation { startChat(input: { title: \"x\", message: \"hi\", idempotencyKey: \"k\" }) \
       { conversation { id title createdAt } userMessage { id } reply { id status } } }",
    "mutation Send($input: SendMessageInput!) { sendMessage(input: $input) { reply { id content } } }",
    "{ node(id: \"viewer_AaH_pkAHdxqCoCxlHFlzJg\") { id __typename ... on Conversation { title } } }",
    "{ __schema { types { name fields(includeDeprecated: true) { name args { name defaultValue } } } } }",
    "subscription { viewerEvents { __typename } }",
    "query A { __typename } query B @skip(if: true) { a: __typename b: viewer { id } }",
];

const BODIES: &[&str] = &[
    r#"{"query":"{ viewer { id } }"}"#,
    r#"{"query":"query A($id: ID!) { node(id: $id) { id } }","variables":{"id":"x"},"operationName":"A","extensions":{}}"#,
    r#"{"query":"{ viewer { id } }","variables":null,"operationName":null,"extensions":{"persistedQuery":{"version":1,"sha256Hash":"ab"}}}"#,
    r#"{"query":"mutation { startChat(input: {title: \"\\u0041\"}) { conversation { id } } }"}"#,
    r#"[{"query":"{ __typename }"},{"query":"{ __typename }"}]"#,
    r#"{"query":"subscription { viewerEvents { __typename } }"}"#,
];

const QUERY_STRINGS: &[&str] = &[
    "query=%7Bviewer%7Bid%7D%7D",
    "query=query+A%28%24id%3AID%21%29%7Bnode%28id%3A%24id%29%7Bid%7D%7D&variables=%7B%22id%22%3A%22x%22%7D&operationName=A",
    "query={__typename}&extensions=%7B%7D&variables=",
];

const MESSAGES: &[&str] = &[
    r#"{"type":"connection_init","payload":{"X-User-Id":"mallory"}}"#,
    r#"{"type":"ping","payload":{"a":1}}"#,
    r#"{"type":"pong"}"#,
    r#"{"type":"subscribe","id":"1","payload":{"query":"{ viewer { id } }"}}"#,
    r#"{"type":"subscribe","id":"2","payload":{"query":"subscription { viewerEvents { __typename } }","variables":{},"operationName":null}}"#,
    r#"{"type":"complete","id":"2"}"#,
];

/// Inputs of one strategy, until there were enough of them.
struct Inputs<S> {
    strategy: S,
    runner: TestRunner,
    until: Option<Instant>,
    left: usize,
}

impl<S: Strategy> Inputs<S> {
    fn of(strategy: S) -> Self {
        let number = |name| {
            let value = env::var(name).ok()?;
            Some(value.parse::<u64>().expect("a whole number"))
        };
        let seed = number("LOQUAT_FUZZ_SEED").unwrap_or_else(rand::random);
        eprintln!("LOQUAT_FUZZ_SEED={seed}");
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        Self {
            strategy,
            runner: TestRunner::new_with_rng(Config::default(), rng),
            until: number("LOQUAT_FUZZ_SECONDS")
                .map(|seconds| Instant::now() + Duration::from_secs(seconds)),
            left: USUAL,
        }
    }
}

impl<S: Strategy> Iterator for Inputs<S> {
    type Item = S::Value;

    fn next(&mut self) -> Option<S::Value> {
        self.left = self.left.saturating_sub(1);
        let goes_on = match self.until {
            Some(until) => Instant::now() < until,
            None => self.left > 0,
        };
        let tree = goes_on.then(|| self.strategy.new_tree(&mut self.runner))?;
        Some(tree.expect("nothing is filtered out").current())
    }
}

struct Target {
    server: Server,
    device: Device,
    _model: FakeProvider,
    _test: TestDatabase,
}

impl Target {
    async fn start() -> Self {
        let test = TestDatabase::create().await;
        let model = FakeProvider::start().await;
        model.by_default(Script::stream().text("yes").complete());
        let server = program(&test, &model).serve().await;
        Self {
            device: Device::of(&server, "mallory"),
            server,
            _model: model,
            _test: test,
        }
    }

    /// Asks, and looks at the answer: a refusal or a result, never a fault.
    async fn ask(&self, request: reqwest::RequestBuilder, what: &str) {
        let answer = request.send().await;
        let answer = answer.unwrap_or_else(|error| panic!("{what}: {error}"));
        let status = answer.status();
        let body = within(what, whole_or_first_event(answer)).await;
        let body = body.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(!status.is_server_error(), "{what}: {status} {body}");
        let body: Value = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{what}: {body}"));
        let answers = match &body {
            Value::Array(answers) => answers.as_slice(),
            answer => std::slice::from_ref(answer),
        };
        for answer in answers {
            match answer.get("errors") {
                Some(errors) => assert_harmless(what, errors),
                None => assert!(answer["data"].is_object(), "{what}: {body}"),
            }
        }
    }

    async fn end(self) {
        still_answers(&self.device).await;
        ends_without_a_fault(self.server).await;
    }
}

/// What has become a subscription is answered with events, of which there may always be one more.
async fn whole_or_first_event(mut answer: Response) -> reqwest::Result<String> {
    let kind = answer.headers().get(CONTENT_TYPE);
    if kind.is_none_or(|kind| !kind.as_bytes().starts_with(b"text/event-stream")) {
        return answer.text().await;
    }
    let mut read = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        read.extend_from_slice(&chunk);
        let text = String::from_utf8_lossy(&read);
        if let Some((event, _)) = text
            .split_once("\n\nevent: next\ndata: ")
            .and_then(|(_, rest)| rest.split_once("\n\n"))
        {
            return Ok(event.to_owned());
        }
    }
    Ok(String::from_utf8_lossy(&read).into_owned())
}

#[tokio::test]
async fn bodies() {
    let target = Target::start().await;
    let request = || {
        let request = target.device.post();
        request.header(CONTENT_TYPE, "application/json")
    };
    for body in Inputs::of(bent(BODIES)) {
        let what = String::from_utf8_lossy(&body).into_owned();
        target.ask(request().body(body), &what).await;
    }
    target.end().await;
}

#[tokio::test]
async fn query_strings() {
    let target = Target::start().await;
    for query in Inputs::of(bent_text(QUERY_STRINGS)) {
        // As far as a request's line can hold it at all: what is longer is refused by HTTP itself.
        let query: String = query
            .chars()
            .filter(|c| c.is_ascii_graphic() && *c != '#')
            .take(8_000)
            .collect();
        if let Ok(url) = reqwest::Url::parse(&target.server.url(&format!("/graphql?{query}"))) {
            let request = crate::support::program::client().get(url);
            target
                .ask(request.header("x-user-id", "mallory"), &query)
                .await;
        }
    }
    target.end().await;
}

#[tokio::test]
async fn documents() {
    let target = Target::start().await;
    let accept = select(&["application/json", "application/graphql-response+json"][..]);
    for (document, accept) in Inputs::of((bent_text(DOCUMENTS), accept)) {
        let request = target.device.post().header("accept", accept);
        let body = json!({ "query": document, "variables": { "input": {
            "conversationId": "conversation_AaH_pkAHdxqCoCxlHFlzJg", "content": document,
        } } });
        // A stream that never ends is not what is tried here.
        target.ask(request.json(&body), &document).await;
    }
    target.end().await;
}

#[tokio::test]
async fn ids_and_cursors() {
    const IDS: &[&str] = &[
        "viewer_AaH_pkAHdxqCoCxlHFlzJg",
        "conversation_AaH_pkAHdxqCoCxlHFlzJg",
        "message_AaH_pkAHdxqCoCxlHFlzJg",
        "apikey_AaH_pkAHdxqCoCxlHFlzJg",
    ];
    let target = Target::start().await;
    let chat = target.device.start_chat().await;
    target.device.start_chat().await;
    let page = target
        .device
        .data(
            "{ viewer { id conversations(first: 1) { pageInfo { endCursor } } } }",
            json!({}),
        )
        .await;
    // They live as long as the test.
    let leak = |value: &Value| &*text(value).leak();
    let (viewer, cursor) = (
        leak(&page["viewer"]["id"]),
        leak(&page["viewer"]["conversations"]["pageInfo"]["endCursor"]),
    );
    let known: &'static [&'static str] = vec![viewer, cursor, chat.leak()].leak();
    let value = prop_oneof![bent_text(known), bent_text(IDS), any::<String>()];
    let size = prop_oneof![any::<i32>(), 0..101];
    for (value, size, is_after) in Inputs::of((value, size, any::<bool>())) {
        let (count, cursor) = match is_after {
            true => ("first", "after"),
            false => ("last", "before"),
        };
        let document = format!(
            "query($it: String, $id: ID!, $ids: [ID!]!, $size: Int) {{ node(id: $id) {{ id }} nodes(ids: $ids) {{ id }} \
             viewer {{ conversation(id: $id) {{ messages({count}: $size, {cursor}: $it) {{ totalCount }} }} \
             conversations({count}: $size, {cursor}: $it) {{ totalCount edges {{ cursor }} }} }} }}"
        );
        let variables = json!({ "it": value, "id": value, "ids": [value, value], "size": size });
        let body = json!({ "query": document, "variables": variables });
        target.ask(target.device.post().json(&body), &value).await;
    }
    target.end().await;
}

#[tokio::test]
async fn frames_of_sockets() {
    let target = Target::start().await;
    let frame = prop_oneof![
        8 => bent_text(MESSAGES).prop_map(Message::text),
        2 => bent(MESSAGES).prop_map(Message::binary),
        1 => vec(any::<u8>(), 0..126).prop_map(|payload| Message::Ping(payload.into())),
        1 => vec(any::<u8>(), 0..126).prop_map(|payload| Message::Pong(payload.into())),
    ];
    let frames = (any::<bool>(), vec(frame, 1..8));
    for (signs_in, frames) in Inputs::of(frames) {
        let what = format!("{frames:?}");
        let mut socket = match signs_in {
            true => target.device.socket().await,
            false => target.device.silent_socket().await,
        };
        for frame in frames {
            socket.try_say(frame).await;
        }
        // Whatever came before it, this is answered or the socket is closed.
        socket
            .try_say(Message::text(r#"{"type":"ping","payload":{"last":true}}"#))
            .await;
        loop {
            match socket.frame().await {
                Some(Message::Text(said)) => {
                    let said: Value = serde_json::from_str(&said).expect("JSON");
                    match said["type"].as_str() {
                        Some("pong") if said["payload"]["last"] == true => break,
                        Some("error") => assert_harmless(&what, &said["payload"]),
                        Some("next" | "complete" | "connection_ack" | "ping" | "pong") => {}
                        _ => panic!("{what}: {said}"),
                    }
                }
                Some(Message::Close(close)) => {
                    let close = close.unwrap_or_else(|| panic!("{what}: closed without a code"));
                    let code = u16::from(close.code);
                    assert!(
                        matches!(code, 1002 | 1003 | 1007 | 1009 | 4400..=4499),
                        "{what}: {close:?}"
                    );
                    break;
                }
                Some(_) => {}
                None => panic!("{what}: cut without a close"),
            }
        }
    }
    target.end().await;
}
