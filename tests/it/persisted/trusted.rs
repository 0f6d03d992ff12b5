//! Trusted documents: the program with manifests, asked by every transport.

use serde_json::{Value, json};

use super::{NOT_FOUND, by_hash, hash, named, refused, with_hash};
use crate::{
    doctor::doctor,
    support::{
        TestDatabase,
        process::{Answer, Device},
        program::{Program, Server, client},
    },
};

const VIEWER: &str = "query Me { viewer { externalId } }";
const EVENTS: &str = "subscription Events { viewerEvents { __typename } }";
const START: &str = "mutation Start { startChat(input: {}) { conversation { id } } }";

/// As the compilers write them: graphql-codegen with sha1, relay-compiler with MD5, Apollo.
fn manifests(program: Program) -> Program {
    let codegen = json!({"4c73ddf3eb7e1b2d4e2d39a1d8b4c0d0a7a1e0f1": VIEWER, hash(EVENTS): EVENTS});
    let relay = json!({"f4c2d9bd1d0bc1a7b5a3f4c8a0a1b2c3": EVENTS});
    let apollo = json!({
        "format": "apollo-persisted-query-manifest",
        "version": 1,
        "operations": [{"id": "start-1", "name": "Start", "type": "mutation", "body": START}],
    });
    program
        .file("codegen.json", &codegen.to_string())
        .file("relay.json", &relay.to_string())
        .file("apollo.json", &apollo.to_string())
        .variable(
            "LOQUAT_TRUSTED_DOCUMENTS",
            "codegen.json, relay.json, apollo.json",
        )
}

async fn server(test: &TestDatabase, only: &str) -> Server {
    manifests(Program::new(&[]))
        .database(test)
        .variable("LOQUAT_TRUSTED_DOCUMENTS_ONLY", only)
        .serve()
        .await
}

async fn ask(device: &Device, body: &Value) -> Value {
    Answer::to(device.post().json(body)).await.body
}

async fn get(server: &Server, query: &[(&str, &str)]) -> Answer {
    let mut address = url::Url::parse(&server.url("/graphql")).expect("a URL");
    address.query_pairs_mut().extend_pairs(query);
    let request = client()
        .get(address)
        .header("X-User-Id", "ann")
        .header("accept", "application/graphql-response+json");
    Answer::to(request).await
}

#[tokio::test]
async fn a_trusted_document_is_named_by_its_id_by_every_transport() {
    let test = TestDatabase::create().await;
    let server = server(&test, "false").await;
    let ann = Device::of(&server, "ann");
    let sha1 = "4c73ddf3eb7e1b2d4e2d39a1d8b4c0d0a7a1e0f1";
    let prefixed = format!("sha256:{}", hash(VIEWER));
    for id in [sha1, &hash(VIEWER), &prefixed] {
        for body in [
            json!({"documentId": id}),
            json!({"doc_id": id, "operationName": "Me"}),
            json!({"extensions": named(id)}),
        ] {
            let answer = ask(&ann, &body).await;
            assert_eq!(
                answer["data"]["viewer"]["externalId"], "ann",
                "{body}: {answer}"
            );
        }
        for name in ["documentId", "doc_id"] {
            let answer = get(&server, &[(name, id)]).await;
            assert_eq!(
                answer.body["data"]["viewer"]["externalId"], "ann",
                "{answer:?}"
            );
        }
    }
    let started = ask(&ann, &json!({"documentId": "start-1"})).await;
    assert!(
        started["data"]["startChat"]["conversation"]["id"].is_string(),
        "{started}"
    );
    assert_eq!(get(&server, &[("documentId", "start-1")]).await.status, 405);

    let mut socket = ann.socket().await;
    let relay = "f4c2d9bd1d0bc1a7b5a3f4c8a0a1b2c3";
    socket
        .send(json!({"type": "subscribe", "id": "1", "payload": {"documentId": relay}}))
        .await;
    let event = socket.next().await;
    assert_eq!(
        event["payload"]["data"]["viewerEvents"]["__typename"],
        "ViewerSnapshot"
    );
    for (accept, expected) in [
        ("text/event-stream", "event: next\ndata: "),
        ("multipart/mixed;subscriptionSpec=1.0", "{\"payload\":"),
    ] {
        let request = ann
            .post()
            .header("accept", accept)
            .json(&json!({"doc_id": relay}));
        let mut answer = request.send().await.expect("an answer");
        let mut said = String::new();
        while !said.contains("ViewerSnapshot") {
            let chunk = answer.chunk().await.expect("a stream").expect("more of it");
            said.push_str(&String::from_utf8_lossy(&chunk));
        }
        assert!(said.contains(expected), "{said}");
    }
}

#[tokio::test]
async fn an_unknown_id_is_not_found_and_two_ways_of_naming_exclude_each_other() {
    let test = TestDatabase::create().await;
    let server = server(&test, "false").await;
    let ann = Device::of(&server, "ann");
    for id in ["nothing", "", "sha256:", "x-mine:a", &hash("{ nothing }")] {
        let answer = ask(&ann, &json!({"documentId": id})).await;
        assert_eq!(refused(&answer), NOT_FOUND, "{id}");
        assert_eq!(get(&server, &[("documentId", id)]).await.status, 400);
    }
    let both = ask(&ann, &json!({"documentId": "start-1", "query": START})).await;
    let (message, code) = refused(&both);
    assert_eq!(code, "BAD_USER_INPUT");
    assert!(message.contains("exclude each other"), "{message}");
    let two = ask(&ann, &json!({"documentId": "start-1", "doc_id": "start-2"})).await;
    assert_eq!(refused(&two).1, "BAD_USER_INPUT");
    // Sockets of Apollo Client always send the text, and not as the manifest has it.
    let written = json!({"query": format!("{START}\n"), "extensions": named("start-1")});
    assert!(ask(&ann, &written).await["data"]["startChat"].is_object());
    // What is no trusted document's id has to be a hash.
    let written = json!({"query": START, "extensions": named("start-2")});
    assert_eq!(refused(&ask(&ann, &written).await).1, "BAD_USER_INPUT");
    // Whoever has not signed in learns nothing of ids, and may do nothing more by them.
    let nobody = Device::anonymous(&server);
    for id in ["nothing", "start-1"] {
        for asked in [
            json!({"documentId": id}),
            json!({"documentId": id, "operationName": "nothing"}),
            json!({"extensions": named(id)}),
        ] {
            let answer = Answer::to(nobody.post().json(&asked)).await;
            let refused = (answer.status.as_u16(), answer.code());
            assert_eq!(refused, (401, "UNAUTHENTICATED"), "{asked}");
        }
        // Nor by what is said of a text beside it.
        let beside = json!({"query": "{ __typename }", "extensions": named(id)});
        assert_eq!(
            Answer::to(nobody.post().json(&beside)).await.code(),
            "BAD_USER_INPUT"
        );
        let address = server.url(&format!("/graphql?documentId={id}"));
        assert_eq!(Answer::to(client().get(address)).await.status, 401);
    }
    // Others run, and are kept.
    assert_eq!(
        ask(&ann, &with_hash("{ __typename }")).await["data"]["__typename"],
        "Query"
    );
    assert_eq!(
        ask(&ann, &by_hash("{ __typename }")).await["data"]["__typename"],
        "Query"
    );
}

#[tokio::test]
async fn where_only_trusted_documents_run_no_other_text_does() {
    let test = TestDatabase::create().await;
    let server = server(&test, "true").await;
    let ann = Device::of(&server, "ann");
    for body in [
        json!({"query": "query Me { viewer { externalId }}"}),
        json!({"query": "{ __schema { queryType { name } } }"}),
        json!({"query": "{ nothing"}),
        with_hash("{ __typename }"),
    ] {
        let answer = Answer::to(
            ann.post()
                .header("accept", "application/graphql-response+json")
                .json(&body),
        )
        .await;
        assert_eq!(answer.status, 400, "{body}");
        let (message, code) = refused(&answer.body);
        assert_eq!(code, "FORBIDDEN");
        assert!(message.contains("trusted documents alone"), "{message}");
    }
    let mut socket = ann.socket().await;
    socket
        .subscribe("1", "subscription { viewerEvents { __typename } }")
        .await;
    let error = socket.next().await;
    assert_eq!(refused(&json!({"errors": error["payload"]})).1, "FORBIDDEN");
    // A client of Apollo's protocol goes on by itself only where the text is one of them.
    assert_eq!(
        refused(&ask(&ann, &by_hash("{ __typename }")).await),
        NOT_FOUND
    );
    for body in [
        json!({"query": VIEWER}),
        with_hash(VIEWER),
        by_hash(VIEWER),
        json!({"documentId": hash(VIEWER)}),
    ] {
        assert_eq!(
            ask(&ann, &body).await["data"]["viewer"]["externalId"],
            "ann",
            "{body}"
        );
    }
    let nobody = Device::anonymous(&server);
    let answer = Answer::to(nobody.post().json(&json!({"query": "{ __typename }"}))).await;
    assert_eq!(
        (answer.status.as_u16(), answer.code()),
        (401, "UNAUTHENTICATED")
    );
}

#[tokio::test]
async fn a_start_with_a_bad_manifest_says_the_file_the_id_and_what_is_wrong() {
    for (manifest, expected) in [
        (
            None,
            "LOQUAT_TRUSTED_DOCUMENTS: the manifest documents.json cannot be read (No such file or \
             directory (os error 2)); check the path",
        ),
        (
            Some("{"),
            "LOQUAT_TRUSTED_DOCUMENTS: the manifest documents.json is not one (EOF while parsing \
             an object at line 1 column 1); it is an object of ids and documents, or what Apollo's \
             generate-persisted-query-manifest writes",
        ),
        (
            Some(r#"{"a": "{ viewer { id } }", "b": "{\n  nothing\n}"}"#),
            "LOQUAT_TRUSTED_DOCUMENTS: the manifest documents.json: document \"b\" cannot run (line 2, \
             column 3): Unknown field \"nothing\" on type \"Query\".",
        ),
    ] {
        let program = |arguments: &[&str]| {
            let program = Program::new(arguments)
                .variable("LOQUAT_TRUSTED_DOCUMENTS", "documents.json")
                .variable("LOQUAT_BIND", "127.0.0.1:0");
            match manifest {
                Some(text) => program.file("documents.json", text),
                None => program,
            }
        };
        assert_eq!(program(&[]).refusal().await, expected);
        let (code, lines) = doctor(program(&["doctor"])).await;
        assert_eq!(code, Some(1));
        let line = format!("problem   trusted documents: {expected}");
        assert!(lines.contains(&line), "{lines:#?}");
    }
    let (code, lines) = doctor(manifests(Program::new(&["doctor"]))).await;
    assert_eq!(code, Some(0));
    let line = "ok        trusted documents: 3 that could run, and any other may run";
    assert!(lines.iter().any(|said| said == line), "{lines:#?}");
}
