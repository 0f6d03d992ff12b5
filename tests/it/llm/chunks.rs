//! What the chunks of a stream may look like.

use loquat::{llm::FinishReason, model::ReplyErrorCode};
use serde_json::json;

use super::{provider, read, read_script, settings, usage};
use crate::provider::{FakeProvider, Gate, Script};

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
async fn a_token_may_be_a_megabyte() {
    let token = "é".repeat(512 * 1024);
    let reply = read_script(Script::reply([token.as_str(), "!"])).await;
    assert_eq!(reply.completed(), format!("{token}!"));
}

#[tokio::test]
async fn an_event_without_end_is_cut_off() {
    let piece = "x".repeat(1024 * 1024);
    let so_far = Script::stream().text("so far");
    for script in [
        so_far.clone().body("data: ").endlessly(piece.clone()),
        so_far.clone().endlessly(format!("data: {piece}\n")),
        so_far.clone().endlessly(format!("data: {piece}\r\n")),
        so_far.endlessly(format!("data: {}\n", "x".repeat(1024)).repeat(64)),
    ] {
        let fake = FakeProvider::start().await;
        fake.by_default(script);
        let reply = read(&provider(&settings(&fake))).await;
        assert_eq!(reply.failed(), ReplyErrorCode::ProviderUnavailable);
        assert_eq!(reply.text(), "so far");
        let error = reply.end.expect_err("a failure");
        let logged = format!("{:?}", error.source);
        assert!(logged.contains("an event of more than"), "{logged}");
        fake.hung_up(1).await;
    }
}

#[tokio::test]
async fn only_the_length_of_each_event_counts() {
    let comment = format!(": {}\n", "x".repeat(1024 * 1024));
    for blank in ["\n", "\r\n"] {
        let script = (0..10).fold(Script::stream(), |script, _| {
            script.body(comment.clone()).body(blank)
        });
        let reply = read_script(script.text("all").complete()).await;
        assert_eq!(reply.completed(), "all");
    }
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
