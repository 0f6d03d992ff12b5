//! What becomes of a reply when the provider behaves, and when it does not.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use http::header;
use loquat::{
    config::OpenAiSettings,
    llm::{
        FinishReason, Prompt, Provider, ProviderError, ReplyEvent, Turn, TurnRole,
        openai::{Backoff, OpenAi},
    },
    model::{ReplyErrorCode, TokenUsage},
};
use serde_json::json;

use crate::provider::{FakeProvider, Gate, Script};

const KEY: &str = "key-of-this-test";
/// Longer than anything takes that is not meant to time out.
const AMPLE: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(100);

fn settings(fake: &FakeProvider) -> OpenAiSettings {
    OpenAiSettings {
        api_key: Some(KEY.to_owned().into()),
        base_url: fake.base_url().parse().expect("a URL"),
        connect_timeout: AMPLE,
        first_token_timeout: AMPLE,
        idle_timeout: AMPLE,
        retries: 2,
    }
}

fn provider(settings: &OpenAiSettings) -> OpenAi {
    let soon = Backoff {
        first: Duration::from_millis(1),
        longest: Duration::from_millis(1),
    };
    OpenAi::with_backoff(settings, soon).expect("a provider")
}

fn prompt(question: &str) -> Prompt {
    Prompt {
        model: "small".to_owned(),
        turns: vec![Turn {
            role: TurnRole::User,
            text: question.to_owned(),
        }],
    }
}

/// A reply read to its end.
#[derive(Debug)]
struct Read {
    deltas: Vec<String>,
    end: Result<(FinishReason, Option<TokenUsage>), ProviderError>,
}

impl Read {
    fn text(&self) -> String {
        self.deltas.concat()
    }

    #[track_caller]
    fn completed(&self) -> String {
        assert!(
            matches!(self.end, Ok((FinishReason::Complete, _))),
            "{:?}",
            self.end
        );
        self.text()
    }

    #[track_caller]
    fn failed(&self) -> ReplyErrorCode {
        let error = self.end.as_ref().expect_err("a failure");
        assert!(error.message.ends_with('.'), "{error}");
        let all = format!("{error:?} {error} {:?}", error.source);
        assert!(!all.contains(KEY), "{all}");
        error.code
    }
}

/// Reads a reply, and holds on the way what every reply promises.
async fn read(provider: &OpenAi) -> Read {
    let mut events = provider.reply(prompt("Hi"));
    let mut deltas = Vec::new();
    let end = loop {
        match events.next().await.expect("an end before the stream's") {
            Ok(ReplyEvent::Delta(text)) => {
                assert!(!text.is_empty() && !text.contains('\0'));
                deltas.push(text);
            }
            Ok(ReplyEvent::Finished { reason, usage }) => break Ok((reason, usage)),
            Err(error) => break Err(error),
        }
    };
    assert!(events.next().await.is_none());
    Read { deltas, end }
}

/// What becomes of this script when it is the answer to every request.
async fn read_script(script: Script) -> Read {
    let fake = FakeProvider::start().await;
    fake.by_default(script);
    read(&provider(&settings(&fake))).await
}

fn usage(prompt_tokens: i32, completion_tokens: i32) -> Option<TokenUsage> {
    Some(TokenUsage {
        prompt_tokens,
        completion_tokens,
        total_tokens: prompt_tokens + completion_tokens,
    })
}

#[tokio::test]
async fn a_reply_comes_piece_by_piece_with_its_usage() {
    let fake = FakeProvider::start().await;
    let gate = Gate::default();
    let script = Script::stream().text("Hello").wait(&gate);
    fake.script(script.text(" world").complete());
    let provider = provider(&settings(&fake));
    let mut asked = prompt("Hi 😀");
    asked.turns.insert(
        0,
        Turn {
            role: TurnRole::System,
            text: "be kind".to_owned(),
        },
    );

    let mut events = provider.reply(asked);
    assert!(fake.requests().is_empty(), "asked before it was polled");
    let first = events.next().await.expect("an event").expect("text");
    assert_eq!(first, ReplyEvent::Delta("Hello".to_owned()));
    gate.open();
    let rest: Vec<_> = events.map(|event| event.expect("an event")).collect().await;
    assert_eq!(
        rest,
        [
            ReplyEvent::Delta(" world".to_owned()),
            ReplyEvent::Finished {
                reason: FinishReason::Complete,
                usage: usage(3, 5),
            }
        ]
    );

    let asked = &fake.asked(1).await[0];
    assert_eq!(
        asked.body,
        json!({
            "model": "small",
            "messages": [
                {"role": "system", "content": "be kind"},
                {"role": "user", "content": "Hi 😀"},
            ],
            "stream": true,
            "stream_options": {"include_usage": true},
        })
    );
    assert_eq!(
        asked.headers[header::AUTHORIZATION],
        format!("Bearer {KEY}")
    );
}

#[tokio::test]
async fn a_server_that_needs_no_key_gets_none() {
    let fake = FakeProvider::start().await;
    let mut settings = settings(&fake);
    settings.api_key = None;
    assert_eq!(read(&provider(&settings)).await.completed(), "ok");
    assert!(
        !fake.requests()[0]
            .headers
            .contains_key(header::AUTHORIZATION)
    );
}

#[tokio::test]
async fn passing_troubles_before_the_first_token_are_tried_again() {
    let fake = FakeProvider::start().await;
    let gone = r#"{"error":{"message":"overloaded","type":"server_error","code":503}}"#;
    for (at, trouble) in [
        Script::error(429, "requests", "rate_limit_exceeded", "slow down"),
        Script::status(429).body("not JSON"),
        Script::status(503).body("<html>Service Unavailable</html>"),
        Script::status(408),
        Script::stream().cut(),
        Script::stream(),
        Script::stream().data(gone),
        Script::status(429).header("retry-after", "0"),
    ]
    .into_iter()
    .enumerate()
    {
        fake.script(trouble);
        let reply = read(&provider(&settings(&fake))).await;
        assert_eq!(reply.completed(), "ok");
        assert_eq!(fake.requests().len(), 2 * (at + 1));
    }
}

#[tokio::test]
async fn troubles_that_do_not_pass_end_the_reply_after_the_last_retry() {
    for (script, code) in [
        (
            Script::status(429).body("busy"),
            ReplyErrorCode::ProviderRateLimited,
        ),
        (
            Script::status(500).body("oh"),
            ReplyErrorCode::ProviderUnavailable,
        ),
        (Script::stream(), ReplyErrorCode::ProviderUnavailable),
    ] {
        let fake = FakeProvider::start().await;
        fake.by_default(script);
        assert_eq!(read(&provider(&settings(&fake))).await.failed(), code);
        assert_eq!(fake.requests().len(), 3);
    }
}

#[tokio::test]
async fn a_wait_that_the_provider_asks_for_is_kept_unless_it_is_too_long() {
    let fake = FakeProvider::start().await;
    let provider = provider(&settings(&fake));

    let start = Instant::now();
    fake.script(Script::status(429).header("retry-after-ms", "60"));
    assert_eq!(read(&provider).await.completed(), "ok");
    assert!(start.elapsed() >= Duration::from_millis(60));

    fake.script(Script::status(429).header("retry-after", "3600"));
    let reply = read(&provider).await;
    assert_eq!(reply.failed(), ReplyErrorCode::ProviderRateLimited);
    assert_eq!(fake.requests().len(), 3, "it was asked again");
}

#[tokio::test]
async fn a_provider_that_is_not_there_is_unavailable() {
    let fake = FakeProvider::start().await;
    let mut settings = settings(&fake);
    // Bound and dropped: nothing listens there.
    let address = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port");
    settings.base_url = format!("http://{address}/v1").parse().expect("a URL");
    let reply = read(&provider(&settings)).await;
    assert_eq!(reply.failed(), ReplyErrorCode::ProviderUnavailable);
}

#[tokio::test]
async fn a_stall_before_the_first_token_times_out_and_hangs_up() {
    let thought = json!({"choices": [{"delta": {"role": "assistant", "content": ""}}]});
    for script in [
        Script::stream().held_at(&Gate::default()),
        Script::stream().stall(),
        Script::stream().data(&thought.to_string()).stall(),
        Script::stream().body(": still loading\n\n").stall(),
    ] {
        let fake = FakeProvider::start().await;
        fake.by_default(script);
        let mut settings = settings(&fake);
        settings.first_token_timeout = SHORT;
        let reply = read(&provider(&settings)).await;
        assert_eq!(reply.failed(), ReplyErrorCode::ProviderTimeout);
        assert_eq!(reply.text(), "");
        fake.hung_up(1).await;
        assert_eq!(fake.requests().len(), 1);
    }
}

#[tokio::test]
async fn the_first_token_limit_counts_over_all_tries() {
    let fake = FakeProvider::start().await;
    fake.by_default(Script::status(503).header("retry-after", "20"));
    let mut settings = settings(&fake);
    settings.first_token_timeout = Duration::from_secs(5);
    // The wait would outlast the limit, so the reply ends now, with what is known.
    let reply = read(&provider(&settings)).await;
    assert_eq!(reply.failed(), ReplyErrorCode::ProviderUnavailable);
    assert_eq!(fake.requests().len(), 1);
}

#[tokio::test]
async fn a_stall_between_tokens_times_out_hangs_up_and_keeps_the_text() {
    let thought = json!({"choices": [{"delta": {"reasoning_content": "hm"}}]});
    for (script, text) in [
        (Script::stream().text("so far").stall(), "so far"),
        (Script::stream().data(&thought.to_string()).stall(), ""),
    ] {
        let fake = FakeProvider::start().await;
        fake.by_default(script);
        let mut settings = settings(&fake);
        settings.idle_timeout = SHORT;
        let reply = read(&provider(&settings)).await;
        assert_eq!(reply.failed(), ReplyErrorCode::ProviderTimeout);
        assert_eq!(reply.text(), text);
        fake.hung_up(1).await;
        assert_eq!(fake.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_stream_that_ends_without_a_finish_reason_is_a_failure_that_keeps_the_text() {
    for end in [
        Script::stream().text("so far"),
        Script::stream().text("so far").done(),
        Script::stream().text("so far").cut(),
        Script::stream().text("so far").body("data: {\"choi").cut(),
        Script::stream().text("so far").data("{\"choices\": ["),
        Script::stream().text("so far").data("Bad Gateway"),
        Script::stream().text("so far").finish("abort"),
    ] {
        let fake = FakeProvider::start().await;
        fake.by_default(end.clone());
        let reply = read(&provider(&settings(&fake))).await;
        assert_eq!(
            reply.failed(),
            ReplyErrorCode::ProviderUnavailable,
            "{end:?}"
        );
        assert_eq!(reply.text(), "so far");
        assert_eq!(fake.requests().len(), 1, "it was asked again: {end:?}");
    }
}

#[tokio::test]
async fn a_finish_reason_is_an_end_whatever_follows_it() {
    for end in [
        Script::stream().text("all").finish("stop"),
        Script::stream().text("all").finish("stop").cut(),
        Script::stream().text("all").finish("stop").data("garbage"),
        Script::stream().text("all").finish("tool_calls").done(),
        Script::stream().text("all").finish("eos").done(),
    ] {
        let reply = read_script(end).await;
        assert_eq!(reply.completed(), "all");
        assert_eq!(reply.end.expect("an end").1, None);
    }
    let long = read_script(Script::stream().text("cut").finish("length").done()).await;
    assert_eq!(long.end.expect("an end"), (FinishReason::Length, None));
}

#[tokio::test]
async fn usage_that_never_comes_holds_nothing_up() {
    let fake = FakeProvider::start().await;
    fake.by_default(Script::stream().text("all").finish("stop").stall());
    let mut settings = settings(&fake);
    settings.idle_timeout = SHORT;
    let reply = read(&provider(&settings)).await;
    assert_eq!(reply.completed(), "all");
    fake.hung_up(1).await;
}

#[tokio::test]
async fn usage_is_taken_from_wherever_it_stands() {
    let counts = json!({"prompt_tokens": 7, "completion_tokens": 2});
    let finish = json!([{"delta": {}, "finish_reason": "stop"}]);
    let early = json!({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 0}});
    let reply = read_script(
        Script::stream()
            .data(&early.to_string())
            .text("all")
            .data(&json!({"choices": finish, "usage": counts}).to_string())
            .stall(),
    )
    .await;
    assert_eq!(reply.end.expect("an end").1, usage(7, 2));

    let odd = json!({"choices": finish, "usage": {"prompt_tokens": "many"}});
    let reply = read_script(Script::stream().text("all").data(&odd.to_string())).await;
    assert_eq!(reply.end.expect("an end").1, None);
}

#[tokio::test]
async fn a_server_that_cannot_tell_its_usage_is_not_asked_for_it_again() {
    let fake = FakeProvider::start().await;
    let message = "Unrecognized request argument supplied: stream_options";
    fake.script(Script::error(400, "invalid_request_error", "", message));
    let provider = provider(&settings(&fake));
    assert_eq!(read(&provider).await.completed(), "ok");
    assert_eq!(read(&provider).await.completed(), "ok");
    let asked: Vec<_> = fake
        .requests()
        .iter()
        .map(|asked| asked.body.get("stream_options").is_some())
        .collect();
    assert_eq!(asked, [true, false, false]);
}

#[tokio::test]
async fn errors_inside_the_stream_end_it_by_their_kind() {
    for (error, code) in [
        (
            json!({"message": "x", "type": "server_error", "code": null}),
            ReplyErrorCode::ProviderUnavailable,
        ),
        (
            json!({"message": "x", "code": "rate_limit_exceeded"}),
            ReplyErrorCode::ProviderRateLimited,
        ),
        (
            json!({"message": "x", "code": 429}),
            ReplyErrorCode::ProviderRateLimited,
        ),
        (
            json!({"message": "x", "code": "context_length_exceeded"}),
            ReplyErrorCode::ContextTooLong,
        ),
        (
            json!({"message": "x", "type": "invalid_request_error"}),
            ReplyErrorCode::ProviderRejected,
        ),
        (json!("it broke"), ReplyErrorCode::ProviderUnavailable),
    ] {
        let event = json!({ "error": error }).to_string();
        let reply = read_script(
            Script::stream()
                .text("so far")
                .data(&event)
                .text("more")
                .complete(),
        )
        .await;
        assert_eq!(reply.failed(), code, "{event}");
        assert_eq!(reply.text(), "so far");
    }
}

#[tokio::test]
async fn chunks_are_read_as_leniently_as_servers_write_them() {
    let odd = [
        json!({"choices": [{"index": 0, "delta": {"role": "assistant", "content": null}}]}),
        json!({"choices": [{"delta": {"content": "no index"}}]}),
        json!({"choices": [{"index": 0, "delta": {"content": ", null", "tool_calls": null},
            "logprobs": null, "finish_reason": null}], "usage": null, "error": null}),
        json!({"id": 5, "created": "now", "model": null, "system_fingerprint": {},
            "choices": [{"index": 0, "delta": {"content": ", more fields", "x": [1]},
            "finish_reason": "", "y": {}}], "timings": {"ms": 1.5}}),
        json!({"choices": [{"index": 0, "delta": {"content": [
            {"type": "thinking", "thinking": [{"type": "text", "text": "hidden"}]},
            {"type": "text", "text": ", parts"}]}}]}),
        json!({"choices": [{"index": 1, "delta": {"content": "another choice"}}]}),
        json!({"choices": [{"index": 0, "delta": {"content": "", "refusal": ", a refusal"}}]}),
        json!({"choices": [{"index": 0, "delta": {"content": 5}}]}),
        json!({"choices": null}),
        json!({"object": "prompt.progress"}),
    ];
    let script = odd
        .iter()
        .fold(Script::stream(), |script, chunk| {
            script.data(&chunk.to_string())
        })
        .body(": a comment\r\n\r\nevent: message\r\nid: 1\r\n")
        .body("data:{\"choices\":[{\"delta\":{\"content\":\", CRLF\"}}]}\r\n\r\n");
    let reply = read_script(script.complete()).await;
    assert_eq!(
        reply.completed(),
        "no index, null, more fields, parts, a refusal, CRLF"
    );
}

/// As llama-cpp-python 0.3 writes it: a chunk with the role alone, escaped text, no usage.
#[tokio::test]
async fn the_chunks_of_llama_cpp_are_read() {
    let chunk = |choice: &str| {
        format!(
            "data: {{\"id\": \"chatcmpl-9ef2d04c-692d-4c91-baaa-26f55e9fb3b9\", \
             \"model\": \"smollm2\", \"created\": 1795238964, \
             \"object\": \"chat.completion.chunk\", \"choices\": [{{\"index\": 0, {choice}}}]}}\n\n"
        )
    };
    let script = Script::stream()
        .header("content-type", "text/event-stream; charset=utf-8")
        .body(chunk(
            r#""delta": {"role": "assistant"}, "logprobs": null, "finish_reason": null"#,
        ))
        .body(chunk(
            r#""delta": {"content": "\ud83c\udf1f"}, "logprobs": null, "finish_reason": null"#,
        ))
        .body(chunk(
            r#""delta": {"content": " Hey"}, "logprobs": null, "finish_reason": null"#,
        ))
        .body(chunk(
            r#""delta": {}, "logprobs": null, "finish_reason": "length""#,
        ))
        .done();
    let reply = read_script(script).await;
    assert_eq!(reply.deltas, ["🌟", " Hey"]);
    assert_eq!(reply.end.expect("an end"), (FinishReason::Length, None));
}

#[tokio::test]
async fn an_answer_in_one_piece_is_a_reply_too() {
    let whole = json!({
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "a\nb"},
            "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    });
    let pretty = serde_json::to_string_pretty(&whole).expect("JSON");
    let script = Script::status(200).header("content-type", "application/json");
    let reply = read_script(script.body(pretty)).await;
    assert_eq!(reply.completed(), "a\nb");
    assert_eq!(reply.end.expect("an end").1, usage(1, 2));
}

#[tokio::test]
async fn the_content_filter_is_told_apart() {
    let cut = Script::stream()
        .text("so far")
        .finish("content_filter")
        .done();
    let reply = read_script(cut).await;
    assert_eq!(reply.failed(), ReplyErrorCode::ContentFiltered);
    assert_eq!(reply.text(), "so far");

    let refused = Script::error(400, "invalid_request_error", "content_filter", "no");
    let reply = read_script(refused).await;
    assert_eq!(reply.failed(), ReplyErrorCode::ContentFiltered);
}

#[tokio::test]
async fn an_empty_reply_is_a_failure_that_says_so() {
    for reason in ["stop", "length"] {
        let reply = read_script(Script::stream().text("").finish(reason).done()).await;
        assert_eq!(reply.failed(), ReplyErrorCode::ProviderUnavailable);
        assert!(
            reply
                .end
                .expect_err("a failure")
                .message
                .contains("was empty")
        );
    }
}

#[tokio::test]
async fn refusals_are_not_tried_again_and_leak_nothing() {
    let echo = format!("Incorrect API key provided: {KEY}");
    for script in [
        Script::error(401, "invalid_request_error", "invalid_api_key", &echo),
        Script::status(403).body(echo.clone()),
        Script::status(404).body(r#"{"detail":"Not Found"}"#),
        Script::status(400).body("<html>nginx</html>"),
        Script::status(422).body(r#"{"detail":[{"msg":"Field required","input":"secret"}]}"#),
        Script::error(429, "insufficient_quota", "insufficient_quota", "pay"),
    ] {
        let fake = FakeProvider::start().await;
        fake.by_default(script);
        let reply = read(&provider(&settings(&fake))).await;
        assert_eq!(reply.failed(), ReplyErrorCode::ProviderRejected);
        assert_eq!(fake.requests().len(), 1);
        let error = reply.end.expect_err("a failure");
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        assert!(!error.message.contains("127.0.0.1"), "{error}");
    }
    let fake = FakeProvider::start().await;
    assert!(!format!("{:?}", provider(&settings(&fake))).contains(KEY));
}

#[tokio::test]
async fn a_conversation_that_is_too_long_is_told_apart() {
    let message = "This model's maximum context length is 512 tokens, however you requested 600";
    let refused = Script::error(400, "invalid_request_error", "", message);
    let reply = read_script(refused).await;
    assert_eq!(reply.failed(), ReplyErrorCode::ContextTooLong);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let other = FakeProvider::start().await;
    let there = format!("{}/chat/completions", other.base_url());
    for status in [301, 307, 308] {
        let redirect = Script::status(status).header("location", &there);
        let reply = read_script(redirect).await;
        assert_eq!(reply.failed(), ReplyErrorCode::ProviderRejected);
    }
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn a_web_page_is_no_reply() {
    let page = Script::status(200).header("content-type", "text/html; charset=utf-8");
    let reply = read_script(page.body("<html>Welcome</html>")).await;
    assert_eq!(reply.failed(), ReplyErrorCode::ProviderUnavailable);
}

#[tokio::test]
async fn a_token_may_be_a_megabyte() {
    let token = "é".repeat(512 * 1024);
    let reply = read_script(Script::reply([token.as_str(), "!"])).await;
    assert_eq!(reply.completed(), format!("{token}!"));
}

#[tokio::test]
async fn a_line_without_end_is_cut_off() {
    let fake = FakeProvider::start().await;
    let piece = bytes::Bytes::from(vec![b'x'; 1024 * 1024]);
    let script = (0..10).fold(Script::stream().text("so far").body("data: "), |s, _| {
        s.body(piece.clone())
    });
    fake.by_default(script.stall());
    let reply = read(&provider(&settings(&fake))).await;
    assert_eq!(reply.failed(), ReplyErrorCode::ProviderUnavailable);
    assert_eq!(reply.text(), "so far");
    let error = reply.end.expect_err("a failure");
    let logged = format!("{:?}", error.source);
    assert!(logged.contains("a line of more than"), "{logged}");
    fake.hung_up(1).await;
}

#[tokio::test]
async fn broken_text_is_mended() {
    let content = |escaped: &str| {
        format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{escaped}\"}}}}]}}\n\n"
        )
    };
    let broken = [
        b"data: {\"choices\":[{\"delta\":{\"content\":\"".as_slice(),
        b"a\xFF\xC3b",
    ];
    let script = Script::stream()
        .body(content(r"\ud83d"))
        .body(content(r"\ude00 joined, "))
        .body(content(r"\ud83d"))
        .body(content(r"lone, "))
        .body(content(r"\u0000 nul, "))
        .body(broken.concat())
        .body(" utf-8\"}}]}\n\n")
        .body(content(r"\ud83d"));
    let reply = read_script(script.complete()).await;
    assert_eq!(
        reply.completed(),
        "😀 joined, \u{FFFD}lone, \u{FFFD} nul, a\u{FFFD}\u{FFFD}b utf-8\u{FFFD}"
    );
}

#[tokio::test]
async fn characters_survive_wherever_the_bytes_are_cut() {
    let text = "Größe, 日本語, 👩‍👩‍👧‍👦";
    let event = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n");
    let gate = Gate::default();
    gate.open();
    let script = event
        .as_bytes()
        .iter()
        .fold(Script::stream(), |script, byte| {
            script.body(vec![*byte]).wait(&gate)
        });
    assert_eq!(read_script(script.complete()).await.completed(), text);
}

#[tokio::test]
async fn dropping_the_stream_hangs_up_at_once() {
    let fake = FakeProvider::start().await;
    let gate = Gate::default();
    fake.script(Script::stream().text("Hello").wait(&gate));
    fake.script(Script::stream().held_at(&gate));
    let provider = provider(&settings(&fake));

    let mut events = provider.reply(prompt("Hi"));
    events.next().await.expect("an event").expect("text");
    gate.arrived(1).await;
    drop(events);
    fake.hung_up(1).await;

    let mut events = provider.reply(prompt("Hi"));
    tokio::select! {
        event = events.next() => panic!("nothing was answered: {event:?}"),
        () = gate.arrived(2) => {}
    }
    drop(events);
    fake.hung_up(2).await;
}
