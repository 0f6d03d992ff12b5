//! The model: it says what the plan tells it to, and remembers what it was asked and said.

use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use loquat::{llm::TurnRole, model::ReplyErrorCode};
use tokio::sync::{OnceCell, mpsc};

use super::plan::Ending;
use crate::{
    provider::{Asked, FakeProvider, Script},
    support::{Desk, Writing},
};

/// Of one to four bytes in UTF-8, and of one and two units in UTF-16.
const WORDS: [&str; 7] = [
    "word ",
    "Grüße ",
    "漢字",
    "🍊",
    "e\u{301}",
    "\n\n",
    "a\u{200d}👩‍👩‍👧 ",
];

#[derive(Default)]
pub struct Author {
    /// What is being written.
    open: Mutex<Vec<Open>>,
    /// All that was ever asked, in order.
    calls: Mutex<Vec<Call>>,
    /// Where it is asked over HTTP.
    provider: OnceCell<FakeProvider>,
    /// From now on it finishes whatever it is asked, at once.
    hurries: AtomicBool,
}

struct Open {
    pen: Pen,
    call: usize,
}

/// How it says its words.
enum Pen {
    InProcess(Writing),
    OverHttp(mpsc::UnboundedSender<Bytes>),
}

impl Pen {
    fn say(&self, text: &str) {
        match self {
            Self::InProcess(writing) => writing.say(text),
            Self::OverHttp(stream) => drop(stream.send(Script::stream().text(text).bytes())),
        }
    }

    fn finish(self) {
        match self {
            Self::InProcess(writing) => writing.finish(),
            Self::OverHttp(stream) => drop(stream.send(Script::stream().complete().bytes())),
        }
    }

    fn fail(self) {
        const MESSAGE: &str = "No more of this.";
        match self {
            Self::InProcess(writing) => writing.fail(ReplyErrorCode::ProviderRejected, MESSAGE),
            Self::OverHttp(stream) => {
                let error =
                    serde_json::json!({ "error": { "message": MESSAGE, "type": "server_error" } });
                drop(stream.send(Script::stream().data(&error.to_string()).bytes()));
            }
        }
    }

    fn is_hung_up(&self) -> bool {
        match self {
            Self::InProcess(writing) => writing.is_hung_up(),
            Self::OverHttp(stream) => stream.is_closed(),
        }
    }
}

/// One run at the provider.
#[derive(Clone, Debug)]
pub struct Call {
    pub question: String,
    pub said: String,
    pub is_complete: bool,
}

impl Call {
    /// What was not answered before is asked again, in front of it.
    pub fn asks(&self, question: &str) -> bool {
        self.question.ends_with(question)
    }
}

impl Author {
    /// Takes up what a process asks for, to its end.
    pub async fn write_for(&self, desk: &Desk) {
        while let Some(writing) = desk.asked().await {
            let mut turns = writing.prompt.turns.iter().rev();
            let question = turns.find(|turn| turn.role == TurnRole::User);
            let question = question.map(|turn| turn.text.clone()).unwrap_or_default();
            self.take_up(question, Pen::InProcess(writing));
        }
    }

    /// Where programs ask it.
    pub async fn provider(self: &Arc<Self>) -> &FakeProvider {
        let author = Arc::downgrade(self);
        let start = async move {
            let provider = FakeProvider::start().await;
            provider.otherwise(move |asked| {
                let (words, stream) = mpsc::unbounded_channel();
                if let Some(author) = author.upgrade() {
                    author.take_up(Asked::question(asked).to_owned(), Pen::OverHttp(words));
                }
                Script::stream().live(stream)
            });
            provider
        };
        self.provider.get_or_init(|| start).await
    }

    fn take_up(&self, question: String, pen: Pen) {
        let call = {
            let mut calls = self.calls.lock().expect("no panic");
            calls.push(Call {
                question,
                said: String::new(),
                is_complete: false,
            });
            calls.len() - 1
        };
        let open = Open { pen, call };
        // No two runs say the same, so that no text can be taken for another's.
        self.say_in(&open, &format!("«{call}» "));
        self.open.lock().expect("no panic").push(open);
        if self.hurries.load(Ordering::SeqCst) {
            self.finish_all();
        }
    }

    pub fn say(&self, pick: usize, words: usize) {
        let open = self.open();
        if open.is_empty() {
            return;
        }
        let open = &open[pick % open.len()];
        for word in 0..words {
            self.say_in(open, WORDS[(pick + word) % WORDS.len()]);
        }
    }

    pub fn finish(&self, pick: usize, how: Ending) {
        let mut open = self.open();
        if open.is_empty() {
            return;
        }
        let index = pick % open.len();
        let ended = open.remove(index);
        self.end(ended, how);
    }

    /// Whoever still waits for a reply gets it, and whoever asks later too.
    pub fn hurry(&self) {
        self.hurries.store(true, Ordering::SeqCst);
        self.finish_all();
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("no panic").clone()
    }

    fn finish_all(&self) {
        let all: Vec<Open> = self.open().drain(..).collect();
        for open in all {
            self.say_in(&open, "the end.");
            self.end(open, Ending::Complete);
        }
    }

    fn end(&self, open: Open, how: Ending) {
        match how {
            Ending::Complete => {
                self.calls.lock().expect("no panic")[open.call].is_complete = true;
                open.pen.finish();
            }
            Ending::Fail => open.pen.fail(),
        }
    }

    /// Without those that nobody listens to any more.
    fn open(&self) -> MutexGuard<'_, Vec<Open>> {
        let mut open = self.open.lock().expect("no panic");
        open.retain(|open| !open.pen.is_hung_up());
        open
    }

    fn say_in(&self, open: &Open, text: &str) {
        // First noted: what is stored must have been said.
        let mut calls = self.calls.lock().expect("no panic");
        calls[open.call].said.push_str(text);
        drop(calls);
        open.pen.say(text);
    }
}
