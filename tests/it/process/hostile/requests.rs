//! Requests that are not well-formed, too long, or not meant by whoever seems to send them.

use bytes::Bytes;
use futures_util::stream;
use reqwest::{Body, RequestBuilder, header};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{INTERNAL, assert_harmless, ends_without_a_fault, still_answers};
use crate::{
    provider::FakeProvider,
    support::{
        TestDatabase,
        process::{Answer, Device, program},
        program::client,
        within,
    },
};

/// What became of a hostile request: its status and the code of its first error.
async fn refused(what: &str, request: RequestBuilder) -> (u16, String) {
    let answer = Answer::to(request).await;
    assert_harmless(what, &answer.body["errors"]);
    let code = answer.body["errors"][0]["extensions"]["code"].as_str();
    (answer.status.as_u16(), code.expect("checked").to_owned())
}

#[tokio::test]
async fn requests_that_are_not_well_formed_or_not_meant_are_refused() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    let server = program(&test, &model).serve().await;
    let device = Device::of(&server, "mallory");
    let mutation = json!({ "query": "mutation { startChat(input: {}) { conversation { id } } }" });
    let query = json!({ "query": "{ viewer { id } }" });
    let json_type = (header::CONTENT_TYPE, "application/json");
    let raw = |body: Vec<u8>| {
        device
            .post()
            .header(json_type.0.clone(), json_type.1)
            .body(body)
    };
    let plain = |media: &'static str| {
        let request = device.post().header(header::CONTENT_TYPE, media);
        request.body(mutation.to_string())
    };
    let get = |query: &[(&str, &str)]| {
        let url = reqwest::Url::parse_with_params(&server.url("/graphql"), query).expect("a URL");
        client().get(url).header("x-user-id", "mallory")
    };
    let ten_megabytes = vec![b' '; 10 << 20];
    let pieces: Vec<Result<Bytes, std::io::Error>> = ten_megabytes
        .chunks(64 << 10)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect();
    let chunked = Body::wrap_stream(stream::iter(pieces));
    let bad = "BAD_USER_INPUT";
    for (what, request, expected) in [
        ("10 MB", raw(ten_megabytes.clone()), (413, "LIMIT_EXCEEDED")),
        (
            "10 MB in chunks",
            device
                .post()
                .header(json_type.0.clone(), json_type.1)
                .body(chunked),
            (413, "LIMIT_EXCEEDED"),
        ),
        ("text/plain", plain("text/plain"), (415, bad)),
        (
            "a form",
            plain("application/x-www-form-urlencoded"),
            (415, bad),
        ),
        (
            "multipart",
            plain("multipart/form-data; boundary=x"),
            (415, bad),
        ),
        (
            "a mutation by GET",
            get(&[("query", mutation["query"].as_str().expect("text"))]),
            (405, bad),
        ),
        ("no query by GET", get(&[]), (400, bad)),
        (
            "variables by GET",
            get(&[("query", "{ __typename }"), ("variables", "{")]),
            (400, bad),
        ),
        ("no JSON", raw(b"{\"query\": ".to_vec()), (400, bad)),
        (
            "no UTF-8",
            raw(b"{\"query\": \"{ viewer { id } } #\xff\"}".to_vec()),
            (400, bad),
        ),
        (
            "half a surrogate",
            raw(br#"{"query": "\ud800"}"#.to_vec()),
            (400, bad),
        ),
        ("no object", raw(b"12".to_vec()), (400, bad)),
        ("no batch", raw(b"[]".to_vec()), (400, bad)),
        (
            "a batch",
            raw(format!("[{query},{query}]").into_bytes()),
            (400, "LIMIT_EXCEEDED"),
        ),
        (
            "deep JSON",
            raw([b"[".repeat(500_000), b"]".repeat(500_000)].concat()),
            (413, "LIMIT_EXCEEDED"),
        ),
        (
            "deep variables",
            raw(format!(
                "{{\"query\": \"{{ __typename }}\", \"variables\": {{\"a\": {}1{}}}}}",
                "[".repeat(100_000),
                "]".repeat(100_000)
            )
            .into_bytes()),
            (400, bad),
        ),
        (
            "a foreign origin",
            device
                .post()
                .header("origin", "https://evil.example.com")
                .json(&query),
            (403, "FORBIDDEN"),
        ),
        (
            "a foreign host",
            device
                .post()
                .header("host", "rebound.example.com")
                .json(&query),
            (403, "FORBIDDEN"),
        ),
        (
            "two users",
            device.post().header("x-user-id", "bob").json(&query),
            (401, "UNAUTHENTICATED"),
        ),
    ] {
        let (status, code) = refused(what, request).await;
        assert_eq!((status, &*code), expected, "{what}");
        still_answers(&device).await;
    }
    let data = device
        .data("{ viewer { conversations { totalCount } } }", json!({}))
        .await;
    assert_eq!(data["viewer"]["conversations"]["totalCount"], 0);
    ends_without_a_fault(server).await;
}

/// Most clients read nothing before they have sent everything.
#[tokio::test]
async fn whoever_sends_too_much_can_send_it_all_and_is_told_so() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    let server = program(&test, &model).serve().await;
    let length = 10 << 20;
    let whole = vec![b' '; length];
    let chunked = [
        format!("{length:x}\r\n").as_bytes(),
        &whole[..],
        b"\r\n0\r\n\r\n",
    ]
    .concat();
    for (form, body, status) in [
        (
            format!("Content-Type: application/json\r\nContent-Length: {length}"),
            &whole,
            413,
        ),
        (
            "Content-Type: application/json\r\nTransfer-Encoding: chunked".to_owned(),
            &chunked,
            413,
        ),
        (
            format!("Content-Type: text/plain\r\nContent-Length: {length}"),
            &whole,
            415,
        ),
    ] {
        let mut stream = TcpStream::connect(server.address())
            .await
            .expect("a connection");
        let head = format!(
            "POST /graphql HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{form}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("sent");
        within("all is sent", stream.write_all(body))
            .await
            .expect(&form);
        let mut answer = String::new();
        within("an answer", stream.read_to_string(&mut answer))
            .await
            .expect("text");
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{form}: {answer}"
        );
    }
    // This one asks first, and sends nothing when it is refused.
    let mut stream = TcpStream::connect(server.address())
        .await
        .expect("a connection");
    let head = format!(
        "POST /graphql HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: 100-continue\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    within("an answer", stream.read_to_string(&mut answer))
        .await
        .expect("text");
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    ends_without_a_fault(server).await;
}

#[tokio::test]
async fn what_is_no_protocol_at_all_does_the_server_no_harm() {
    let test = TestDatabase::create().await;
    let model = FakeProvider::start().await;
    let server = program(&test, &model).serve().await;
    let device = Device::of(&server, "mallory");
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /graphql HTTP/1.1\r\nHost: localhost\r\nX-User-Id: a\0b\r\n\r\n",
        b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /%00%ff%2e%2e/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET /graphiql/../../../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
        b"GET /graphql HTTP/1.1\r\nConnection: close\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(server.address()).await.expect("a connection");
        stream.write_all(bytes).await.expect("sent");
        stream.shutdown().await.expect("no more");
        let mut answer = Vec::new();
        within("an end", stream.read_to_end(&mut answer)).await.ok();
        let answer = String::from_utf8_lossy(&answer).to_lowercase();
        let status = answer.split(' ').nth(1).unwrap_or("none");
        assert!(!status.starts_with(['2', '5']), "{answer}");
        for word in INTERNAL {
            assert!(!answer.contains(word), "{word} in {answer}");
        }
    }
    still_answers(&device).await;
    ends_without_a_fault(server).await;
}
