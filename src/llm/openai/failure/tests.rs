use super::*;

fn code_of(status: u16, body: &str) -> (ReplyErrorCode, Retry) {
    let failure = Failure::refused(&Refusal {
        status: StatusCode::from_u16(status).unwrap(),
        retry_after: None,
        body: body.to_owned(),
    });
    (failure.code, failure.retry)
}

#[test]
fn a_context_that_is_too_long_is_known_by_what_each_server_says() {
    for (status, body) in [
        (
            400,
            r#"{"error":{"message":"x","code":"context_length_exceeded"}}"#,
        ),
        (
            400,
            r#"{"error":{"code":400,"message":"the request exceeds the available context size, try increasing it","type":"exceed_context_size_error","n_ctx":512}}"#,
        ),
        (
            400,
            r#"{"object":"error","message":"This model's maximum context length is 4096 tokens. However, you requested 5000","type":"BadRequestError","code":400}"#,
        ),
        (
            400,
            r#"{"error":{"message":"The decoder prompt (length 5000) is longer than the maximum model length of 4096."}}"#,
        ),
        (
            500,
            r#"{"error":{"message":"Requested tokens (2313) exceed context window of 2048","type":"internal_server_error","code":null}}"#,
        ),
        (400, r#"{"error":"prompt is too long: 5 > 4"}"#),
        (413, "<html>Request Entity Too Large</html>"),
    ] {
        assert_eq!(
            code_of(status, body),
            (ReplyErrorCode::ContextTooLong, Retry::Never),
            "{body}"
        );
    }
}

#[test]
fn the_size_of_a_context_is_read_from_what_each_server_says() {
    for (message, context) in [
        (
            "This model's maximum context length is 4096 tokens. However, you requested 5000",
            Some(4096),
        ),
        (
            "Requested tokens (2313) exceed context window of 2048",
            Some(2048),
        ),
        (
            "the request exceeds the available context size (512 tokens), try increasing it",
            Some(512),
        ),
        (
            "the request exceeds the available context size, try increasing it to 4000",
            None,
        ),
        (
            "The decoder prompt (length 5000) is longer than the maximum model length of 4,096.",
            Some(4096),
        ),
        ("longer than the model's context length (8192)", Some(8192)),
        (
            "The input token count (9) exceeds the maximum number of tokens allowed (7).",
            Some(7),
        ),
        (
            "prompt is too long: 205000 tokens > 200000 maximum",
            Some(205_000),
        ),
        ("maximum context length is 99999999999999999999", None),
    ] {
        let report = ErrorReport {
            message: message.to_owned(),
            ..ErrorReport::default()
        };
        assert!(is_context_too_long(StatusCode::BAD_REQUEST, &report));
        assert_eq!(said_context(&report), context, "{message}");
    }
}

#[test]
fn statuses_become_codes() {
    use ReplyErrorCode::{
        ContentFiltered, ProviderRateLimited, ProviderRejected, ProviderUnavailable,
    };
    let later = Retry::After(None);
    for (status, body, expected) in [
        (400, "{}", (ProviderRejected, Retry::Never)),
        (
            400,
            r#"{"error":{"message":"m","code":"content_filter"}}"#,
            (ContentFiltered, Retry::Never),
        ),
        (401, "no", (ProviderRejected, Retry::Never)),
        (307, "", (ProviderRejected, Retry::Never)),
        (408, "", (ProviderUnavailable, later)),
        (429, "slow down", (ProviderRateLimited, later)),
        (
            429,
            r#"{"error":{"code":"insufficient_quota"}}"#,
            (ProviderRejected, Retry::Never),
        ),
        (503, "<html>", (ProviderUnavailable, later)),
        (
            400,
            r#"{"error":{"message":"Unrecognized request argument supplied: stream_options"}}"#,
            (ProviderRejected, Retry::WithoutUsage),
        ),
    ] {
        assert_eq!(code_of(status, body), expected, "{status} {body}");
    }
}

#[test]
fn the_log_gets_one_short_line_without_keys() {
    let secret = SecretString::from("local-secret");
    let failure = Failure::refused(&Refusal {
        status: StatusCode::UNAUTHORIZED,
        retry_after: None,
        body: r#"{"error":{"message":"Incorrect API key provided: sk-abc***xyz. Not local-secret either\nsecond line","code":"invalid_api_key"}}"#.to_owned(),
    });
    let prompt = Prompt {
        model: "small".to_owned(),
        turns: [].into(),
        max_tokens: None,
    };
    let error = failure.into_error(Some(&secret), &prompt);
    let logged = error.source.unwrap().to_string();
    assert_eq!(
        logged,
        "status 401, type \"\", code \"invalid_api_key\": \
         Incorrect API key provided: [key] Not [key] either"
    );
}
