//! Clients of a server that runs as a process of its own: over HTTP and over sockets, as any
//! front end is.

use std::net::SocketAddr;

use reqwest::{StatusCode, header};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::{
    TestDatabase, eventually,
    program::{Program, Server, client},
    text,
};
use crate::{mini::Socket, provider::FakeProvider};

/// A server on this database that asks this model.
pub fn program(test: &TestDatabase, model: &FakeProvider) -> Program {
    Program::new(&[])
        .database(test)
        .variable("OPENAI_BASE_URL", &model.base_url())
        .variable("OPENAI_CHAT_MODEL", "fake")
}

/// Everything that a reply's followers keep, of the reply `$id`.
pub const REPLY_EVENTS: &str = "subscription($id: ID!) { messageStream(messageId: $id) { __typename \
    ... on MessageDelta { offset text } \
    ... on MessageFinished { message { content status error { code } } } } }";

/// One device of one user, with connections of its own.
pub struct Device {
    address: SocketAddr,
    http: reqwest::Client,
    /// As `connection_init` carries it.
    credential: Value,
}

/// An answer over HTTP.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: header::HeaderMap,
    pub body: Value,
}

impl Device {
    /// Signs in by the name alone, as development allows.
    pub fn of(server: &Server, user: &str) -> Self {
        Self::at(server.address(), user)
    }

    /// The same of whatever stands before servers.
    pub fn at(address: SocketAddr, user: &str) -> Self {
        Self::with(address, json!({ "X-User-Id": user }))
    }

    pub fn with_token(server: &Server, token: &str) -> Self {
        Self::with(
            server.address(),
            json!({ "Authorization": format!("Bearer {token}") }),
        )
    }

    pub fn anonymous(server: &Server) -> Self {
        Self::with(server.address(), json!({}))
    }

    fn with(address: SocketAddr, credential: Value) -> Self {
        Self {
            address,
            http: client(),
            credential,
        }
    }

    /// A POST to `/graphql` that is signed in and has no body yet.
    pub fn post(&self) -> reqwest::RequestBuilder {
        let url = format!("http://{}/graphql", self.address);
        let credential = self.credential.as_object().expect("headers");
        credential
            .iter()
            .fold(self.http.post(url), |request, (name, value)| {
                request.header(name, text(value))
            })
    }

    pub async fn answer(&self, document: &str, variables: Value) -> Answer {
        let body = json!({ "query": document, "variables": variables });
        Answer::to(self.post().json(&body)).await
    }

    /// The data of an answer without errors.
    pub async fn data(&self, document: &str, variables: Value) -> Value {
        let mut answer = self.answer(document, variables).await;
        assert_eq!(answer.body.get("errors"), None, "{answer:?}");
        answer.body["data"].take()
    }

    pub async fn start_chat(&self) -> String {
        let started = self
            .data(
                "mutation { startChat(input: {}) { conversation { id } } }",
                json!({}),
            )
            .await;
        text(&started["startChat"]["conversation"]["id"])
    }

    pub async fn try_send(&self, conversation: &str, content: &str, key: Option<&str>) -> Answer {
        self.answer(
            "mutation($input: SendMessageInput!) { \
               sendMessage(input: $input) { userMessage { id } reply { id } } }",
            json!({ "input": {
                "conversationId": conversation, "content": content, "idempotencyKey": key,
            } }),
        )
        .await
    }

    /// Sends a message; the id of the reply to it.
    pub async fn send(&self, conversation: &str, content: &str) -> String {
        let answer = self.try_send(conversation, content, None).await;
        assert_eq!(answer.body.get("errors"), None, "{answer:?}");
        text(&answer.body["data"]["sendMessage"]["reply"]["id"])
    }

    /// A message as it is stored, or as it is being written.
    pub async fn message(&self, id: &str) -> Value {
        let mut found = self
            .data(
                "query($id: ID!) { node(id: $id) { ... on Message { \
                   content status completedAt truncated error { code message retryable } \
                   usage { promptTokens completionTokens totalTokens } } } }",
                json!({ "id": id }),
            )
            .await;
        found["node"].take()
    }

    /// A socket that has been acknowledged.
    pub async fn socket(&self) -> Socket {
        let mut socket = self.silent_socket().await;
        socket.init_with(self.credential.clone()).await;
        socket
    }

    /// A socket that has offered its credential and waits for the verdict.
    pub async fn judged_socket(&self) -> Socket {
        let mut socket = self.silent_socket().await;
        socket
            .send(json!({ "type": "connection_init", "payload": self.credential }))
            .await;
        socket
    }

    /// A socket on which nothing has been said.
    pub async fn silent_socket(&self) -> Socket {
        let stream = TcpStream::connect(self.address).await;
        Socket::open(stream.expect("a connection")).await
    }

    /// Subscribes to a reply, on a socket of its own.
    pub async fn follow(&self, reply: &str) -> Follower {
        let mut socket = self.socket().await;
        socket
            .send(json!({ "type": "subscribe", "id": "reply", "payload": {
                "query": REPLY_EVENTS,
                "variables": { "id": reply },
            } }))
            .await;
        Follower {
            socket,
            written: Written::default(),
        }
    }
}

impl Answer {
    pub async fn to(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.expect("an answer");
        Self {
            status: response.status(),
            headers: response.headers().clone(),
            body: response.json().await.expect("JSON"),
        }
    }

    /// The one error.
    pub fn error(&self) -> &Value {
        let errors = self.body["errors"].as_array();
        let errors = errors.unwrap_or_else(|| panic!("no errors in {self:?}"));
        assert_eq!(errors.len(), 1, "{self:?}");
        &errors[0]
    }

    /// The code of the one error.
    pub fn code(&self) -> &str {
        let code = self.error()["extensions"]["code"].as_str();
        code.unwrap_or_else(|| panic!("no code in {self:?}"))
    }
}

/// The text of a reply by the contract's rule and nothing else, as JavaScript has it.
#[derive(Default)]
pub struct Written(Vec<u16>);

impl Written {
    pub fn apply(&mut self, event: &Value) {
        if event["__typename"] == "MessageDelta" {
            let offset = event["offset"].as_u64().expect("an offset");
            let offset = usize::try_from(offset).expect("an offset");
            assert!(offset <= self.0.len(), "a delta leaves no gap");
            self.0.truncate(offset);
            self.0.extend(text(&event["text"]).encode_utf16());
        }
    }

    pub fn content(&self) -> String {
        String::from_utf16(&self.0).expect("no delta splits a code point")
    }
}

/// A subscriber of one reply that does nothing else.
pub struct Follower {
    pub socket: Socket,
    written: Written,
}

impl Follower {
    async fn event(&mut self) -> Value {
        let mut message = self.socket.next().await;
        assert_eq!(message["type"], "next", "{message}");
        assert_eq!(message["payload"].get("errors"), None, "{message}");
        let event = message["payload"]["data"]["messageStream"].take();
        self.written.apply(&event);
        event
    }

    pub fn content(&self) -> String {
        self.written.content()
    }

    /// Reads until the text is this.
    pub async fn until(&mut self, content: &str) {
        while self.content() != content {
            let event = self.event().await;
            assert_ne!(event["__typename"], "MessageFinished", "{event}");
        }
    }

    /// Reads to the end of the subscription; the message as `MessageFinished` brought it.
    pub async fn finished(&mut self) -> Value {
        loop {
            let mut event = self.event().await;
            if event["__typename"] == "MessageFinished" {
                let complete = self.socket.next().await;
                assert_eq!(complete["type"], "complete", "{complete}");
                let message = event["message"].take();
                assert_eq!(message["content"], self.content(), "by the contract's rule");
                return message;
            }
        }
    }
}

/// Waits until exactly this much of the one running reply is written down.
pub async fn written_down(test: &TestDatabase, content: &str) {
    eventually("the text is written down", || async {
        let mut connection = test.superuser().await;
        let written: Option<String> = sqlx::query_scalar(
            "select string_agg(text, '' order by \"offset\") from chat.reply_chunks",
        )
        .fetch_one(&mut connection)
        .await
        .expect("chunks");
        (written.as_deref() == Some(content)).then_some(())
    })
    .await;
}
