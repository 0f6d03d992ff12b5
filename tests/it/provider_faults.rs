//! Whatever a provider does, seen by the user of a real server: each fault ends in one status, one
//! code and the text that there was.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    provider::{FakeProvider, Script},
    support::{
        TestDatabase,
        process::{Device, program},
        program::Server,
    },
};

/// One fault. A reply that fails has a code; one that does not is complete.
struct Fault {
    name: &'static str,
    /// What the provider answers, one request after the other.
    scripts: Vec<Script>,
    code: Option<&'static str>,
    text: String,
    /// How often it is asked.
    asked: usize,
    truncated: bool,
}

fn fault(name: &'static str, script: Script) -> Fault {
    Fault {
        name,
        scripts: vec![script],
        code: None,
        text: String::new(),
        asked: 1,
        truncated: false,
    }
}

impl Fault {
    fn then(mut self, script: Script) -> Self {
        self.scripts.push(script);
        self
    }

    fn completes(mut self, text: &str) -> Self {
        text.clone_into(&mut self.text);
        self
    }

    fn fails(mut self, code: &'static str, text: &str) -> Self {
        self.code = Some(code);
        self.completes(text)
    }

    fn asked(mut self, times: usize) -> Self {
        self.asked = times;
        self
    }

    fn truncated(mut self) -> Self {
        self.truncated = true;
        self
    }

    /// No name is part of another's.
    fn question(&self) -> String {
        format!("<{}>", self.name)
    }
}

/// An event with this content, escaped by the one who writes it.
fn content(escaped: &str) -> String {
    format!("{{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{escaped}\"}}}}]}}")
}

fn role() -> String {
    json!({"choices": [{"index": 0, "delta": {"role": "assistant"}}]}).to_string()
}

fn error(code: &str) -> String {
    json!({"error": {"message": "x", "type": "server_error", "code": code}}).to_string()
}

fn ok() -> Script {
    Script::reply(["fine"])
}

fn before_the_first_token() -> Vec<Fault> {
    const UNAVAILABLE: &str = "PROVIDER_UNAVAILABLE";

    let busy = || Script::error(429, "requests", "rate_limit_exceeded", "slow down");
    let broken = |status| Script::error(status, "server_error", "", "oops");
    let refused = |status, code| Script::error(status, "invalid_request_error", code, "no");
    vec![
        fault("429 once", busy())
            .then(ok())
            .completes("fine")
            .asked(2),
        fault("429 with a wait", busy().header("retry-after", "1"))
            .then(ok())
            .completes("fine")
            .asked(2),
        fault("429 with a long wait", busy().header("retry-after", "3600"))
            .fails("PROVIDER_RATE_LIMITED", ""),
        fault("429 for ever", busy())
            .fails("PROVIDER_RATE_LIMITED", "")
            .asked(3),
        fault("429 for want of money", refused(429, "insufficient_quota"))
            .fails("PROVIDER_REJECTED", ""),
        fault("500, 503, then fine", broken(500))
            .then(broken(503))
            .then(ok())
            .completes("fine")
            .asked(3),
        fault(
            "502 for ever",
            Script::status(502).body("<html>nginx</html>"),
        )
        .fails(UNAVAILABLE, "")
        .asked(3),
        fault("a cut head", Script::stream().cut())
            .then(ok())
            .completes("fine")
            .asked(2),
        fault("an end at once", Script::stream())
            .fails(UNAVAILABLE, "")
            .asked(3),
        fault("a stall", Script::stream().stall()).fails("PROVIDER_TIMEOUT", ""),
        fault(
            "roles and a stall",
            Script::stream().data(&role()).data(&role()).stall(),
        )
        .fails("PROVIDER_TIMEOUT", ""),
        fault(
            "roles and an end",
            Script::stream().data(&role()).finish("stop").done(),
        )
        .fails(UNAVAILABLE, ""),
        fault(
            "an empty text",
            Script::stream().text("").finish("stop").done(),
        )
        .fails(UNAVAILABLE, ""),
        fault("an error first", Script::stream().data(&error("")))
            .then(ok())
            .completes("fine")
            .asked(2),
        fault("filtered question", refused(400, "content_filter")).fails("CONTENT_FILTERED", ""),
        fault(
            "filtered at once",
            Script::stream().finish("content_filter").done(),
        )
        .fails("CONTENT_FILTERED", ""),
        fault("a wrong key", refused(401, "invalid_api_key")).fails("PROVIDER_REJECTED", ""),
        fault("no such model", refused(404, "model_not_found")).fails("PROVIDER_REJECTED", ""),
        fault(
            "a redirect",
            Script::status(307).header("location", "http://127.0.0.1:1/"),
        )
        .fails("PROVIDER_REJECTED", ""),
        fault(
            "a web page",
            Script::status(200)
                .header("content-type", "text/html")
                .body("<html>Welcome</html>"),
        )
        .fails(UNAVAILABLE, ""),
        fault(
            "gzip",
            Script::stream()
                .header("content-encoding", "gzip")
                .body(vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]),
        )
        .fails(UNAVAILABLE, ""),
        fault("no JSON", Script::stream().data("garbage")).fails(UNAVAILABLE, ""),
        fault(
            "an error in a 200",
            Script::status(200)
                .header("content-type", "application/json")
                .body(error("rate_limit_exceeded")),
        )
        .then(ok())
        .completes("fine")
        .asked(2),
        fault("too long", refused(400, "context_length_exceeded")).fails("CONTEXT_TOO_LONG", ""),
    ]
}

fn in_the_middle() -> Vec<Fault> {
    const UNAVAILABLE: &str = "PROVIDER_UNAVAILABLE";

    let half = || Script::stream().text("half");
    vec![
        fault("a stall between tokens", half().stall()).fails("PROVIDER_TIMEOUT", "half"),
        fault("a broken connection", half().cut()).fails(UNAVAILABLE, "half"),
        fault("an end without a reason", half()).fails(UNAVAILABLE, "half"),
        fault("only [DONE]", half().done()).fails(UNAVAILABLE, "half"),
        fault(
            "an error inside",
            half().data(&error("")).text("more").complete(),
        )
        .fails(UNAVAILABLE, "half"),
        fault("a limit inside", half().data(&error("rate_limit_exceeded")))
            .fails("PROVIDER_RATE_LIMITED", "half"),
        fault("no JSON inside", half().data("{").text("more").complete())
            .fails(UNAVAILABLE, "half"),
        fault("a filter inside", half().finish("content_filter").done())
            .fails("CONTENT_FILTERED", "half"),
        fault(
            "more than is kept",
            half().text(&"é".repeat(600_000)).complete(),
        )
        .fails("PROVIDER_REJECTED", &format!("half{}", "é".repeat(524_286))),
    ]
}

fn odd_and_complete() -> Vec<Fault> {
    let megabyte = "x".repeat(1_000_000);
    let bytes = [
        b"data: {\"choices\":[{\"delta\":{\"content\":\"".as_slice(),
        b"a\xFF\xC3b\"}}]}\n\n",
    ];
    let smile = "😀".as_bytes();
    let split_bytes = |at| {
        let (head, tail) = smile.split_at(at);
        let event = b"data: {\"choices\":[{\"delta\":{\"content\":\"".as_slice();
        (
            [event, head].concat(),
            [tail, b"\"}}]}\n\n".as_slice()].concat(),
        )
    };
    let (head, tail) = split_bytes(2);
    let whole = json!({"choices": [{
        "message": {"role": "assistant", "content": "in one piece"}, "finish_reason": "stop",
    }]});
    vec![
        fault(
            "cut at its limit",
            Script::stream().text("half").finish("length").done(),
        )
        .completes("half")
        .truncated(),
        fault("a megabyte", Script::reply([megabyte.as_str(), "!"]))
            .completes(&format!("{megabyte}!")),
        fault(
            "invalid UTF-8",
            Script::stream().body(bytes.concat()).complete(),
        )
        .completes("a\u{FFFD}\u{FFFD}b"),
        fault(
            "U+0000",
            Script::stream().data(&content(r"a\u0000b")).complete(),
        )
        .completes("a\u{FFFD}b"),
        fault(
            "split bytes",
            Script::stream().body(head).body(tail).complete(),
        )
        .completes("😀"),
        fault(
            "split surrogates",
            Script::stream()
                .data(&content(r"a\ud83d"))
                .data(&content(r"\ude00b"))
                .data(&content(r"\ud83d"))
                .data(&content("c"))
                .complete(),
        )
        .completes("a😀b\u{FFFD}c"),
        fault(
            "half a pair at the end",
            Script::stream().data(&content(r"a\ud83d")).complete(),
        )
        .completes("a\u{FFFD}"),
        fault("text after [DONE]", Script::reply(["all"]).text("more")).completes("all"),
        fault(
            "never closed",
            Script::stream().text("all").finish("stop").stall(),
        )
        .completes("all"),
        fault("done, never closed", Script::reply(["all"]).stall()).completes("all"),
        fault(
            "broken after its end",
            Script::stream().text("all").finish("stop").cut(),
        )
        .completes("all"),
        fault(
            "JSON instead of a stream",
            Script::status(200)
                .header("content-type", "application/json")
                .body(whole.to_string()),
        )
        .completes("in one piece"),
    ]
}

/// Asks as a user of its own, follows the reply to its end, and loads what is stored.
async fn lives_through(fault: &Fault, server: &Server, model: &FakeProvider) {
    let Fault { name, text, .. } = fault;
    let question = fault.question();
    model.when_asked_in_turn(&question, fault.scripts.clone());
    let device = Device::of(server, name);
    let conversation = device.start_chat().await;
    let reply = device.send(&conversation, &question).await;

    let told = device.follow(&reply).await.finished().await;
    let message = device.message(&reply).await;
    assert_eq!(
        message["error"]["code"],
        json!(fault.code),
        "{name}: {message}"
    );
    let status = if fault.code.is_some() {
        "FAILED"
    } else {
        "COMPLETED"
    };
    assert_eq!(
        (&told["status"], &message["status"]),
        (&json!(status), &json!(status)),
        "{name}"
    );
    assert!(
        told["content"] == **text && message["content"] == **text,
        "{name}: another text"
    );
    assert_eq!(message["truncated"], fault.truncated, "{name}");

    if let Some(code) = fault.code {
        let passes = matches!(
            code,
            "PROVIDER_UNAVAILABLE" | "PROVIDER_RATE_LIMITED" | "PROVIDER_TIMEOUT"
        );
        assert_eq!(message["error"]["retryable"], passes, "{name}");
        let said = message["error"]["message"].as_str().expect("words");
        assert!(
            said.ends_with('.') && !said.contains("127.0.0.1"),
            "{name}: {said}"
        );
    }
    // What was written has a price, whoever counted it.
    let counted = match &message["usage"] {
        Value::Null => 0,
        usage => usage["completionTokens"].as_u64().expect("a count"),
    };
    assert_eq!(counted > 0, !text.is_empty(), "{name}: {counted}");

    let requests = model.requests();
    let asked = requests.iter().filter(|asked| asked.question() == question);
    assert_eq!(asked.count(), fault.asked, "{name}");
}

#[tokio::test]
async fn each_fault_ends_in_its_status_its_code_and_the_text_so_far() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    let server = program(&test, &model)
        .variable("LOQUAT_PROVIDER_FIRST_TOKEN_SECONDS", "6")
        .variable("LOQUAT_PROVIDER_IDLE_SECONDS", "4")
        .serve()
        .await;
    let faults = [
        before_the_first_token(),
        in_the_middle(),
        odd_and_complete(),
    ];
    let faults: Vec<Fault> = faults.into_iter().flatten().collect();
    let lives = faults
        .iter()
        .map(|fault| lives_through(fault, &server, &model));
    join_all(lives).await;
}
