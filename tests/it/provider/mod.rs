//! A fake OpenAI-compatible server, scripted request by request.
//!
//! A test queues [`Script`]s, lets something ask for replies, and looks at what was asked. What a
//! test wants to happen in a certain order waits at a [`Gate`] that the test opens: only the pace of
//! a load needs a clock.

mod script;

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    response::{IntoResponse, Response},
    routing::post,
};
use futures_util::stream;
use http::HeaderMap;
use serde_json::Value;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use self::script::Step;

pub use self::script::{Gate, Script};

/// How long a test waits for what must happen before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// One server on a port of its own, for as long as the value lives.
pub struct FakeProvider {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

impl FakeProvider {
    /// Answers every request with `ok` until told otherwise.
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let shared = Arc::new(Shared {
            scripts: Mutex::new(Scripts {
                matched: Vec::new(),
                queued: VecDeque::new(),
                default: Box::new(|_| Script::reply(["ok"])),
            }),
            requests: Mutex::default(),
            asked: watch::Sender::new(0),
            hung_up: watch::Sender::new(0),
        });
        let app = Router::new()
            .route("/v1/chat/completions", post(answer))
            .with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move {
            axum::serve(listener, app).await.expect("the fake serves");
        });
        Self {
            address,
            shared,
            server,
        }
    }

    /// What `OPENAI_BASE_URL` would be.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The next request that no other script takes gets this text, complete and with its usage.
    pub fn reply_with<'t>(&self, texts: impl IntoIterator<Item = &'t str>) {
        self.script(Script::reply(texts));
    }

    /// The next request that no other script takes gets this.
    pub fn script(&self, script: Script) {
        self.shared.scripts().queued.push_back(script);
    }

    /// Every request whose last message contains `needle` gets this, before any queued script.
    pub fn when_asked(&self, needle: &str, script: Script) {
        self.when_asked_in_turn(needle, [script]);
    }

    /// The same with one script after the other, and the last one for every further request.
    pub fn when_asked_in_turn(&self, needle: &str, scripts: impl IntoIterator<Item = Script>) {
        let matched = (needle.to_owned(), scripts.into_iter().collect());
        self.shared.scripts().matched.push(matched);
    }

    /// Every request that no script is left for gets this.
    pub fn by_default(&self, script: Script) {
        self.otherwise(move |_| script.clone());
    }

    /// Every request that no script is left for is answered by what it asks.
    pub fn otherwise(&self, script: impl Fn(&Asked) -> Script + Send + 'static) {
        self.shared.scripts().default = Box::new(script);
    }

    /// What was asked so far, in order.
    pub fn requests(&self) -> Vec<Asked> {
        lock(&self.shared.requests).clone()
    }

    /// Waits until `count` requests have come, and tells them.
    pub async fn asked(&self, count: usize) -> Vec<Asked> {
        reached(&self.shared.asked, count, "requests").await;
        self.requests()
    }

    /// Waits until `count` answers have been dropped by the client before their scripts ended.
    pub async fn hung_up(&self, count: usize) {
        reached(&self.shared.hung_up, count, "hang-ups").await;
    }
}

impl Drop for FakeProvider {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// One request, as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub body: Value,
    pub headers: HeaderMap,
}

impl Asked {
    /// Role and text of each message.
    pub fn messages(&self) -> Vec<(&str, &str)> {
        let messages = self.body["messages"].as_array().map(Vec::as_slice);
        messages
            .unwrap_or_default()
            .iter()
            .map(|message| (text(&message["role"]), text(&message["content"])))
            .collect()
    }

    /// The last message's text.
    pub fn question(&self) -> &str {
        self.messages().last().map_or("", |(_, text)| text)
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

struct Shared {
    scripts: Mutex<Scripts>,
    requests: Mutex<Vec<Asked>>,
    asked: watch::Sender<usize>,
    hung_up: watch::Sender<usize>,
}

struct Scripts {
    matched: Vec<(String, VecDeque<Script>)>,
    queued: VecDeque<Script>,
    default: Box<dyn Fn(&Asked) -> Script + Send>,
}

impl Shared {
    fn scripts(&self) -> MutexGuard<'_, Scripts> {
        lock(&self.scripts)
    }

    fn script_for(&self, asked: &Asked) -> Script {
        let mut scripts = self.scripts();
        let question = asked.question();
        let matched = scripts
            .matched
            .iter_mut()
            .find(|(needle, _)| question.contains(needle.as_str()))
            .and_then(|(_, scripts)| match scripts.len() {
                0 | 1 => scripts.front().cloned(),
                _ => scripts.pop_front(),
            });
        matched
            .or_else(|| scripts.queued.pop_front())
            .unwrap_or_else(|| (scripts.default)(asked))
    }
}

async fn answer(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let asked = Asked {
        body: serde_json::from_slice(&body).expect("a request is JSON"),
        headers,
    };
    let script = shared.script_for(&asked);
    lock(&shared.requests).push(asked);
    shared.asked.send_modify(|asked| *asked += 1);

    let mut answer = Answer {
        steps: script.steps,
        ended: false,
        shared,
    };
    if let Some(gate) = script.before {
        gate.wait().await;
    }
    if answer.steps.is_empty() {
        answer.ended = true;
    }
    let body = Body::from_stream(stream::unfold(answer, |mut answer| async {
        let item = answer.next().await?;
        Some((item, answer))
    }));
    (script.status, script.headers, body).into_response()
}

/// An answer on its way. Dropped before its end, it counts as hung up on.
struct Answer {
    steps: VecDeque<Step>,
    ended: bool,
    shared: Arc<Shared>,
}

impl Answer {
    async fn next(&mut self) -> Option<Result<Bytes, io::Error>> {
        loop {
            let step = self.steps.front().cloned();
            if let Some(Step::Wait(gate)) = &step {
                gate.wait().await;
            }
            if let Some(Step::Pause(time)) = step {
                tokio::time::sleep(time).await;
            }
            if let Some(Step::Live(stream)) = &step
                && let Some(bytes) = stream.lock().await.recv().await
            {
                return Some(Ok(bytes));
            }
            if let Some(Step::Repeat(bytes)) = step {
                // Whoever takes them may live on the same thread.
                tokio::task::yield_now().await;
                return Some(Ok(bytes));
            }
            self.steps.pop_front();
            self.ended = self.steps.is_empty();
            match step? {
                Step::Send(bytes) => return Some(Ok(bytes)),
                Step::Wait(_) | Step::Pause(_) | Step::Repeat(_) | Step::Live(_) => {}
                Step::Cut => {
                    self.ended = true;
                    // Lets what was sent before reach the wire: a broken body discards it.
                    tokio::task::yield_now().await;
                    return Some(Err(io::Error::other("cut by the script")));
                }
            }
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if !self.ended {
            self.shared.hung_up.send_modify(|count| *count += 1);
        }
    }
}

async fn reached(counter: &watch::Sender<usize>, count: usize, what: &str) {
    let mut counter = counter.subscribe();
    let wait = counter.wait_for(|reached| *reached >= count);
    if tokio::time::timeout(PATIENCE, wait).await.is_err() {
        panic!("waited for {count} {what} in vain");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use http::header;
    use serde_json::json;

    use super::*;

    async fn ask(fake: &FakeProvider, question: &str) -> reqwest::Response {
        reqwest::Client::builder()
            .no_proxy()
            .build()
            .expect("a client")
            .post(format!("{}/chat/completions", fake.base_url()))
            .body(json!({"messages": [{"role": "user", "content": question}]}).to_string())
            .send()
            .await
            .expect("an answer")
    }

    #[tokio::test]
    async fn matched_scripts_come_before_queued_ones_and_the_default_last() {
        let fake = FakeProvider::start().await;
        fake.by_default(Script::status(404).body("nothing left"));
        fake.reply_with(["queued"]);
        fake.when_asked(
            "weather",
            Script::error(429, "requests", "slow_down", "wait"),
        );

        assert_eq!(ask(&fake, "the weather?").await.status(), 429);
        let queued = ask(&fake, "anything").await.text().await.expect("a body");
        assert!(queued.contains("queued") && queued.ends_with("[DONE]\n\n"));
        let last = ask(&fake, "anything").await.text().await.expect("a body");
        assert_eq!(last, "nothing left");

        let questions: Vec<_> = fake
            .asked(3)
            .await
            .iter()
            .map(|asked| asked.question().to_owned())
            .collect();
        assert_eq!(questions, ["the weather?", "anything", "anything"]);
    }

    #[tokio::test]
    async fn a_gate_holds_a_script_and_a_client_that_leaves_is_noticed() {
        let fake = FakeProvider::start().await;
        let gate = Gate::default();
        fake.by_default(Script::stream().text("a").wait(&gate).text("b"));

        let mut held = ask(&fake, "one").await;
        gate.arrived(1).await;
        gate.pass();
        let mut text = String::new();
        while let Some(bytes) = held.chunk().await.expect("more") {
            text.push_str(std::str::from_utf8(&bytes).expect("text"));
        }
        assert_eq!(text.matches("data: ").count(), 2);

        let left = ask(&fake, "two").await;
        gate.arrived(2).await;
        drop(left);
        fake.hung_up(1).await;
        gate.open();
    }

    #[tokio::test]
    async fn a_head_can_be_held_and_a_stream_cut_after_what_it_sent() {
        let fake = FakeProvider::start().await;
        let gate = Gate::default();
        fake.script(Script::stream().held_at(&gate).text("kept").cut());
        gate.pass();

        let mut cut = ask(&fake, "one").await;
        let kept = cut.chunk().await.expect("a chunk").expect("text");
        assert!(String::from_utf8_lossy(&kept).contains("kept"));
        assert!(cut.chunk().await.is_err());

        fake.script(Script::stream().stall());
        drop(ask(&fake, "two").await);
        fake.hung_up(1).await;
        assert!(fake.requests()[0].headers.contains_key(header::HOST));
    }
}
