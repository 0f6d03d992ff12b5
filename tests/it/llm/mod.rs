//! What becomes of a reply when the provider behaves, and when it does not.

mod chunks;
mod refusals;

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
        turns: [Turn {
            role: TurnRole::User,
            text: question.to_owned(),
        }]
        .into(),
        max_tokens: None,
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
    let instructions = Turn {
        role: TurnRole::System,
        text: "be kind".to_owned(),
    };
    asked.turns = [&[instructions], &asked.turns[..]].concat().into();

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
async fn events_that_say_nothing_do_not_keep_a_reply_alive() {
    let event = |choice: serde_json::Value| format!("data: {}\n\n", json!({"choices": [choice]}));
    let role = event(json!({"delta": {"role": "assistant", "content": ""}}));
    let thought = event(json!({"delta": {"reasoning_content": "hm"}}));
    let usage = "data: {\"choices\": [], \"usage\": {\"prompt_tokens\": 1}}\n\n";
    let so_far = Script::stream().text("so far");
    for (script, text) in [
        (Script::stream().endlessly(role.clone()), ""),
        (so_far.clone().endlessly(role.clone()), "so far"),
        (so_far.clone().endlessly(event(json!({}))), "so far"),
        (so_far.clone().endlessly(usage), "so far"),
        (so_far.endlessly(": keep-alive\n\n"), "so far"),
        (Script::stream().body(thought).endlessly(role), ""),
    ] {
        let fake = FakeProvider::start().await;
        fake.by_default(script.clone());
        let mut settings = settings(&fake);
        settings.first_token_timeout = SHORT;
        settings.idle_timeout = SHORT;
        let reply = read(&provider(&settings)).await;
        assert_eq!(
            reply.failed(),
            ReplyErrorCode::ProviderTimeout,
            "{script:?}"
        );
        assert_eq!(reply.text(), text);
        fake.hung_up(1).await;
        assert_eq!(fake.requests().len(), 1);
    }
}

#[tokio::test]
async fn tokens_keep_a_reply_alive_past_any_number_of_limits() {
    let fake = FakeProvider::start().await;
    let gate = Gate::default();
    let thought = json!({"choices": [{"delta": {"reasoning_content": "hm"}}]}).to_string();
    let pieces = 10_u32;
    let script = (0..pieces).fold(Script::stream().text("so"), |script, _| {
        script.wait(&gate).data(&thought)
    });
    fake.script(script.wait(&gate).text(" far").complete());
    let mut settings = settings(&fake);
    settings.idle_timeout = Duration::from_secs(1);
    let provider = provider(&settings);
    let paced = async {
        // A fifth of the limit apart, and twice the limit in all.
        let mut pace = tokio::time::interval(settings.idle_timeout / 5);
        for _ in 0..=pieces {
            pace.tick().await;
            gate.pass();
        }
    };
    let (reply, ()) = tokio::join!(read(&provider), paced);
    assert_eq!(reply.completed(), "so far");
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
async fn usage_that_never_comes_holds_nothing_up() {
    let fake = FakeProvider::start().await;
    fake.by_default(Script::stream().text("all").finish("stop").stall());
    let mut settings = settings(&fake);
    settings.idle_timeout = SHORT;
    let reply = read(&provider(&settings)).await;
    assert_eq!(reply.completed(), "all");
    fake.hung_up(1).await;

    let again = r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#;
    let script = Script::stream().text("all").finish("stop");
    fake.by_default(script.endlessly(format!("data: {again}\n\n")));
    let reply = read(&provider(&settings)).await;
    assert_eq!(reply.completed(), "all");
    fake.hung_up(2).await;
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
