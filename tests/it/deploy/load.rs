//! Users at work while something happens to the servers: each sends one message after the other and
//! reads the replies, with nothing but what the documentation asks of a client.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use tokio::{net::TcpStream, sync::watch, task::JoinHandle};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use crate::{
    mini::Socket,
    provider::{FakeProvider, Script},
    support::{TestDatabase, process::Device, text},
};

/// How many pieces an answer has, and how long the model thinks about each.
const PIECES: usize = 16;
const PACE: Duration = Duration::from_millis(30);

/// How long a client stays away after a failure that names no time.
const PAUSE: Duration = Duration::from_millis(200);

/// How often one message is sent before that counts as a failure.
const TRIES: usize = 20;

/// The users, until [`Load::end`].
pub struct Load {
    stop: CancellationToken,
    users: Vec<JoinHandle<Vec<Exchange>>>,
    done: watch::Sender<usize>,
}

/// One message and the reply to it, as its user had them.
pub struct Exchange {
    pub question: String,
    pub reply: String,
    /// How often the message was refused or lost on its way.
    pub retries: usize,
}

/// What the model says to this question, piece by piece.
fn pieces(question: &str) -> impl Iterator<Item = String> {
    (0..PIECES).map(move |n| format!("{question} {n} 🍊é\n"))
}

fn answer(question: &str) -> String {
    pieces(question).collect()
}

impl Load {
    /// `users` of them, all by this one address.
    pub fn start(model: &FakeProvider, address: SocketAddr, users: usize) -> Self {
        model.otherwise(|asked| {
            let pieces = pieces(asked.question());
            let paced = pieces.fold(Script::stream(), |script, piece| {
                script.text(&piece).pause(PACE)
            });
            paced.complete()
        });
        let stop = CancellationToken::new();
        let done = watch::Sender::new(0);
        let users = (0..users)
            .map(|n| {
                let user = User {
                    device: Device::at(address, &format!("user-{n}")),
                    address,
                    name: format!("user-{n}"),
                };
                tokio::spawn(user.work(stop.clone(), done.clone()))
            })
            .collect();
        Self { stop, users, done }
    }

    /// Waits until `more` replies have been read to their end.
    pub async fn goes_on(&self, more: usize) {
        let mut done = self.done.subscribe();
        let goal = *done.borrow() + more;
        let reached = done.wait_for(|done| *done >= goal);
        let reached = tokio::time::timeout(Duration::from_secs(60), reached).await;
        reached.expect("the users get on").expect("users");
    }

    /// Lets each user read what they wait for, and compares what they had with what is stored.
    pub async fn end(self, test: &TestDatabase) -> Vec<Exchange> {
        self.stop.cancel();
        let mut exchanges = Vec::new();
        for user in self.users {
            exchanges.extend(user.await.expect("a user without a complaint"));
        }
        let stored: Vec<(String, String, String, i64)> = sqlx::query_as(
            "select q.content, r.content, r.status, count(*) over (partition by q.content) \
             from chat.messages q join chat.messages r on r.parent_id = q.id and r.user_id = q.user_id \
             where q.role = 'USER' and q.content like 'user-%'",
        )
        .fetch_all(&mut test.superuser().await)
        .await
        .expect("messages");
        assert_eq!(stored.len(), exchanges.len(), "each message once");
        let read: HashMap<_, _> = exchanges
            .iter()
            .map(|exchange| (exchange.question.as_str(), exchange.reply.as_str()))
            .collect();
        for (question, reply, status, count) in &stored {
            assert_eq!((*count, status.as_str()), (1, "COMPLETED"), "{question}");
            assert_eq!(*reply, answer(question));
            assert_eq!(read[question.as_str()], reply);
        }
        let left: (i64, i64) = sqlx::query_as(
            "select (select count(*) from chat.replies), (select count(*) from chat.reply_chunks)",
        )
        .fetch_one(&mut test.superuser().await)
        .await
        .expect("counts");
        assert_eq!(left, (0, 0), "no run and no chunk is left");
        exchanges
    }
}

struct User {
    device: Device,
    address: SocketAddr,
    name: String,
}

impl User {
    async fn work(self, stop: CancellationToken, done: watch::Sender<usize>) -> Vec<Exchange> {
        let key = format!("{}'s chat", self.name);
        let start = "mutation($input: StartChatInput!) { startChat(input: $input) { conversation { id } } }";
        let (started, _) = self
            .until_done(start, json!({ "idempotencyKey": key }))
            .await;
        let conversation = text(&started["startChat"]["conversation"]["id"]);
        let mut exchanges = Vec::new();
        while !stop.is_cancelled() {
            let question = format!("{} asks {}", self.name, exchanges.len());
            let send = "mutation($input: SendMessageInput!) { sendMessage(input: $input) { reply { id } } }";
            let message = json!({
                "conversationId": conversation, "content": question, "idempotencyKey": question,
            });
            let (sent, retries) = self.until_done(send, message).await;
            let reply = self.read(&text(&sent["sendMessage"]["reply"]["id"])).await;
            assert_eq!(reply, answer(&question));
            exchanges.push(Exchange {
                question,
                reply,
                retries,
            });
            done.send_modify(|done| *done += 1);
        }
        exchanges
    }

    /// Sends a mutation until it is answered, as docs/proxies.md says: anything that may not be sent
    /// again is a failure of the test. What it answered, and how often it had been sent before.
    async fn until_done(&self, mutation: &str, input: Value) -> (Value, usize) {
        let body = json!({ "query": mutation, "variables": { "input": input } });
        for retries in 0..TRIES {
            let pause = match self.device.post().json(&body).send().await {
                Err(error) if error.is_builder() => panic!("{error}"),
                Err(_) => PAUSE,
                Ok(response) if [502, 504].contains(&response.status().as_u16()) => PAUSE,
                Ok(response) => {
                    let status = response.status();
                    let mut answer: Value = match response.json().await {
                        Ok(answer) => answer,
                        // The proxy's own page, or an answer that was cut.
                        Err(_) if status == 503 || status == 200 => {
                            tokio::time::sleep(PAUSE).await;
                            continue;
                        }
                        Err(error) => panic!("{status}: {error}"),
                    };
                    let Some(errors) = answer.get("errors") else {
                        return (answer["data"].take(), retries);
                    };
                    let extensions = &errors[0]["extensions"];
                    assert_eq!(extensions["code"], "UNAVAILABLE", "{answer}");
                    let seconds = extensions["retryAfter"].as_u64().expect("a time");
                    Duration::from_secs(seconds)
                }
            };
            tokio::time::sleep(pause).await;
        }
        panic!("{} was refused {TRIES} times: {input}", self.name);
    }

    /// Reads a reply to its end, subscribing again after each cut, as client libraries do.
    async fn read(&self, reply: &str) -> String {
        for _ in 0..TRIES {
            if let Some(content) = self.try_read(reply).await {
                return content;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("{} was cut off {TRIES} times", self.name);
    }

    /// `None`: the socket was closed, and a new one may be tried.
    async fn try_read(&self, reply: &str) -> Option<String> {
        let stream = TcpStream::connect(self.address).await.ok()?;
        let mut socket = Socket::try_open(stream).await?;
        let init = json!({ "type": "connection_init", "payload": { "X-User-Id": self.name } });
        let subscribe = json!({ "type": "subscribe", "id": "reply", "payload": {
            "query": "subscription($id: ID!) { messageStream(messageId: $id) { \
                ... on MessageDelta { offset text } \
                ... on MessageFinished { message { content status } } } }",
            "variables": { "id": reply },
        } });
        socket.try_say(Message::text(init.to_string())).await;
        let mut content: Vec<u16> = Vec::new();
        loop {
            let message: Value = match socket.frame().await? {
                Message::Text(text) => serde_json::from_str(&text).expect("JSON"),
                Message::Close(close) => {
                    let code = close.map(|close| u16::from(close.code));
                    let again = [None, Some(1001), Some(1006), Some(1012), Some(1013)];
                    assert!(again.contains(&code), "clients give up after {code:?}");
                    return None;
                }
                _ => continue,
            };
            let event = match message["type"].as_str() {
                Some("next") => &message["payload"]["data"]["messageStream"],
                Some("connection_ack") => {
                    socket.try_say(Message::text(subscribe.to_string())).await;
                    continue;
                }
                // A server that is about to stop starts nothing, and closes the socket soon.
                Some("error") if message["payload"][0]["extensions"]["code"] == "UNAVAILABLE" => {
                    return None;
                }
                _ => panic!("{message}"),
            };
            assert_eq!(message["payload"].get("errors"), None, "{message}");
            if let Some(offset) = event["offset"].as_u64() {
                let offset = usize::try_from(offset).expect("an offset");
                assert!(offset <= content.len(), "a delta leaves no gap");
                content.truncate(offset);
                content.extend(text(&event["text"]).encode_utf16());
            }
            if event["message"].is_object() {
                assert_eq!(event["message"]["status"], "COMPLETED", "{event}");
                let content = String::from_utf16(&content).expect("no delta splits a code point");
                assert_eq!(
                    event["message"]["content"], content,
                    "by the contract's rule"
                );
                return Some(content);
            }
        }
    }
}
