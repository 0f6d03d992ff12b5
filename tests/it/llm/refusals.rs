//! What a provider may say instead of a reply, and what its user reads of it.

use loquat::model::ReplyErrorCode;
use serde_json::json;

use super::{KEY, provider, read, read_script, settings};
use crate::provider::{FakeProvider, Script};

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
