//! What the fake answers, step by step.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use axum::body::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use tokio::sync::{Mutex, Semaphore, mpsc, watch};

use super::reached;

/// How one request is answered: a head, then steps, then the end of the stream.
#[derive(Clone, Debug)]
pub struct Script {
    /// Passed before anything at all is answered.
    pub(super) before: Option<Gate>,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) steps: VecDeque<Step>,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Send(Bytes),
    Wait(Gate),
    Pause(Duration),
    Repeat(Bytes),
    Live(Live),
    Cut,
}

/// What somebody says while it is being sent. Taken by the one answer that it is for.
pub(super) type Live = Arc<Mutex<mpsc::UnboundedReceiver<Bytes>>>;

impl Script {
    /// A stream of events, still empty.
    pub fn stream() -> Self {
        Self::status(200).header(header::CONTENT_TYPE.as_str(), "text/event-stream")
    }

    /// A whole reply: its texts, `stop`, a usage of 3 and 5 tokens, `[DONE]`.
    pub fn reply<'t>(texts: impl IntoIterator<Item = &'t str>) -> Self {
        Self::stream().texts(texts).complete()
    }

    /// An answer that is no stream; add [`Self::header`] and [`Self::body`] as needed.
    pub fn status(status: u16) -> Self {
        Self {
            before: None,
            status: StatusCode::from_u16(status).expect("a status"),
            headers: HeaderMap::new(),
            steps: VecDeque::new(),
        }
    }

    /// A refusal in the shape that OpenAI gives it.
    pub fn error(status: u16, error_type: &str, code: &str, message: &str) -> Self {
        let error = json!({
            "error": {"message": message, "type": error_type, "param": null, "code": code}
        });
        Self::status(status)
            .header(header::CONTENT_TYPE.as_str(), "application/json")
            .body(error.to_string())
    }

    /// The request waits here before even the head of an answer is sent.
    pub fn held_at(mut self, gate: &Gate) -> Self {
        self.before = Some(gate.clone());
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(
            HeaderName::try_from(name).expect("a header's name"),
            HeaderValue::try_from(value).expect("a header's value"),
        );
        self
    }

    /// Bytes as they are.
    pub fn body(mut self, bytes: impl Into<Bytes>) -> Self {
        self.steps.push_back(Step::Send(bytes.into()));
        self
    }

    /// One event with this data.
    pub fn data(self, data: &str) -> Self {
        self.body(format!("data: {data}\n\n"))
    }

    /// One chunk of text.
    pub fn text(self, text: &str) -> Self {
        let choice = json!({"index": 0, "delta": {"content": text}, "finish_reason": null});
        self.chunk(json!([choice]))
    }

    pub fn texts<'t>(self, texts: impl IntoIterator<Item = &'t str>) -> Self {
        texts.into_iter().fold(self, Script::text)
    }

    /// The chunk that ends the text, with `stop`, `length`, `content_filter`…
    pub fn finish(self, reason: &str) -> Self {
        self.chunk(json!([{"index": 0, "delta": {}, "finish_reason": reason}]))
    }

    /// The chunk that follows the last one when usage was asked for.
    pub fn usage(self, prompt_tokens: u32, completion_tokens: u32) -> Self {
        let data = json!({
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1_700_000_000,
            "model": "fake",
            "choices": [],
            "usage": {
                "prompt_tokens": prompt_tokens,
                "completion_tokens": completion_tokens,
                "total_tokens": prompt_tokens + completion_tokens,
            },
        });
        self.data(&data.to_string())
    }

    pub fn done(self) -> Self {
        self.data("[DONE]")
    }

    /// `stop`, a usage of 3 and 5 tokens, and `[DONE]`.
    pub fn complete(self) -> Self {
        self.finish("stop").usage(3, 5).done()
    }

    /// Nothing more until the gate lets it pass.
    pub fn wait(mut self, gate: &Gate) -> Self {
        self.steps.push_back(Step::Wait(gate.clone()));
        self
    }

    /// Nothing more for so long: the pace of a model.
    pub fn pause(mut self, time: Duration) -> Self {
        self.steps.push_back(Step::Pause(time));
        self
    }

    /// Nothing more, ever, on a connection that stays open.
    pub fn stall(self) -> Self {
        self.wait(&Gate::default())
    }

    /// These bytes again and again, as fast as they are taken.
    pub fn endlessly(mut self, bytes: impl Into<Bytes>) -> Self {
        self.steps.push_back(Step::Repeat(bytes.into()));
        self
    }

    /// What comes by this channel, as it comes, until its sender is gone.
    pub fn live(mut self, stream: mpsc::UnboundedReceiver<Bytes>) -> Self {
        self.steps
            .push_back(Step::Live(Arc::new(Mutex::new(stream))));
        self
    }

    /// All that it sends.
    pub fn bytes(self) -> Bytes {
        let sent = self.steps.into_iter().filter_map(|step| match step {
            Step::Send(bytes) => Some(bytes),
            _ => None,
        });
        Bytes::from(sent.collect::<Vec<_>>().concat())
    }

    /// The connection breaks. Without it a script's end is an orderly end of the stream.
    pub fn cut(mut self) -> Self {
        self.steps.push_back(Step::Cut);
        self
    }

    fn chunk(self, choices: Value) -> Self {
        let data = json!({
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1_700_000_000,
            "model": "fake",
            "choices": choices,
        });
        self.data(&data.to_string())
    }
}

/// Where a script waits for its test. Closed at first; clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate(Arc<GateState>);

#[derive(Debug)]
struct GateState {
    passes: Semaphore,
    arrivals: watch::Sender<usize>,
}

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(GateState {
            passes: Semaphore::new(0),
            arrivals: watch::Sender::new(0),
        }))
    }
}

impl Gate {
    /// Lets one script pass that waits here or will.
    pub fn pass(&self) {
        self.0.passes.add_permits(1);
    }

    /// Lets everything pass from now on.
    pub fn open(&self) {
        self.0.passes.close();
    }

    /// Waits until scripts have come here `count` times.
    pub async fn arrived(&self, count: usize) {
        reached(&self.0.arrivals, count, "arrivals at a gate").await;
    }

    pub(super) async fn wait(&self) {
        self.0.arrivals.send_modify(|arrivals| *arrivals += 1);
        // A closed semaphore is an open gate.
        if let Ok(pass) = self.0.passes.acquire().await {
            pass.forget();
        }
    }
}
