//! Those whose waiting is measured: some read their chats and rename one now and then, some send a
//! message and wait for the first words of the reply.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::socket::Socket;

const READERS: usize = 8;

const SENDERS: usize = 4;

/// Between two requests of one reader: nobody here tries to fill the server.
const READERS_PAUSE: Duration = Duration::from_millis(30);

const SENDERS_PAUSE: Duration = Duration::from_millis(100);

/// How many chats a reader has from the start, each with a reply in it.
const CHATS: usize = 5;

const READS_OF_A_LIST: &str = "{ viewer { conversations(first: 20) { nodes { id title lastActiveAt \
    lastMessage { id content } } } } }";

const READS_OF_A_CHAT: &str = "query($id: ID!) { node(id: $id) { ... on Conversation { \
    id title messages(last: 20) { nodes { id role content status createdAt } } } } }";

const RENAME: &str = "mutation($id: ID!) { updateConversation(input: { conversationId: $id, title: \
    \"a title\" }) { conversation { id } } }";

/// One user over HTTP.
pub struct Person {
    name: String,
    url: String,
    client: reqwest::Client,
}

impl Person {
    pub fn new(address: SocketAddr, name: String) -> Self {
        Self {
            name,
            url: format!("http://{address}/graphql"),
            client: reqwest::Client::new(),
        }
    }

    /// The data of an answer without errors: with one, what is measured would not be what it says.
    pub async fn ask(&self, query: &str, variables: Value) -> Value {
        let request = self.client.post(&self.url).header("x-user-id", &self.name);
        let request = request.json(&json!({ "query": query, "variables": variables }));
        let answer = request.send().await.expect("an answer");
        let mut answer: Value = answer.json().await.expect("JSON");
        assert_eq!(answer.get("errors"), None, "of {}", self.name);
        answer["data"].take()
    }
}

/// How long each took, in seconds.
#[derive(Default)]
pub struct Latencies {
    pub reads: Vec<f64>,
    pub writes: Vec<f64>,
    /// From sending a message to the first words of the reply.
    pub words: Vec<f64>,
}

impl Extend<Self> for Latencies {
    fn extend<I: IntoIterator<Item = Self>>(&mut self, others: I) {
        for other in others {
            self.reads.extend(other.reads);
            self.writes.extend(other.writes);
            self.words.extend(other.words);
        }
    }
}

pub struct Users {
    readers: Vec<Reader>,
    senders: Vec<Sender>,
}

impl Users {
    /// With chats that have replies.
    pub async fn prepare(address: SocketAddr) -> Self {
        let readers = (0..READERS).map(|n| Reader::prepare(address, format!("reader {n}")));
        let senders = (0..SENDERS).map(|n| Sender::prepare(address, format!("sender {n}")));
        Self {
            readers: join_all(readers).await,
            senders: join_all(senders).await,
        }
    }

    /// They go about their business until that is done.
    pub async fn work<T>(&mut self, until: impl Future<Output = T>) -> (Latencies, T) {
        let over = CancellationToken::new();
        let readers = join_all(self.readers.iter().map(|reader| reader.work(&over)));
        let senders = join_all(self.senders.iter_mut().map(|sender| sender.work(&over)));
        let until = async {
            let done = until.await;
            over.cancel();
            done
        };
        let (readers, senders, done) = tokio::join!(readers, senders, until);
        let mut all = Latencies::default();
        all.extend(readers.into_iter().chain(senders));
        (all, done)
    }
}

struct Reader {
    person: Person,
    chats: Vec<Value>,
}

impl Reader {
    async fn prepare(address: SocketAddr, name: String) -> Self {
        let person = Person::new(address, name);
        let mut chats = Vec::new();
        for _ in 0..CHATS {
            let query = "mutation { startChat(input: { message: \"What is a loquat?\" }) \
                { conversation { id } } }";
            let started = person.ask(query, json!({})).await;
            chats.push(started["startChat"]["conversation"]["id"].clone());
        }
        // Measured is what reads and writes cost that nothing else goes on beside.
        for id in &chats {
            let query =
                "query($id: ID!) { node(id: $id) { ... on Conversation { activeReply { id } } } }";
            while !person.ask(query, json!({ "id": id })).await["node"]["activeReply"].is_null() {
                sleep(Duration::from_millis(100)).await;
            }
        }
        Self { person, chats }
    }

    async fn work(&self, over: &CancellationToken) -> Latencies {
        let mut latencies = Latencies::default();
        for chat in self.chats.iter().cycle() {
            let chat = json!({ "id": chat });
            for query in [READS_OF_A_LIST, READS_OF_A_CHAT] {
                latencies.reads.push(self.timed(query, &chat).await);
            }
            latencies.writes.push(self.timed(RENAME, &chat).await);
            if over.is_cancelled() {
                break;
            }
        }
        latencies
    }

    async fn timed(&self, query: &str, variables: &Value) -> f64 {
        let begun = Instant::now();
        self.person.ask(query, variables.clone()).await;
        let took = begun.elapsed().as_secs_f64();
        sleep(READERS_PAUSE).await;
        took
    }
}

struct Sender {
    person: Person,
    socket: Socket,
}

impl Sender {
    async fn prepare(address: SocketAddr, name: String) -> Self {
        let socket = Socket::of(address, 0, &name).await.expect("a socket");
        let person = Person::new(address, name);
        Self { person, socket }
    }

    async fn work(&mut self, over: &CancellationToken) -> Latencies {
        let mut latencies = Latencies::default();
        while !over.is_cancelled() {
            let begun = Instant::now();
            let query =
                "mutation { startChat(input: { message: \"Say something\" }) { reply { id } } }";
            let started = self.person.ask(query, json!({})).await;
            let reply = json!({ "id": started["startChat"]["reply"]["id"] });
            let query = "subscription($id: ID!) { messageStream(messageId: $id) { \
                ... on MessageDelta { text } } }";
            let asked = self.socket.subscribe("reply", query, reply.clone()).await;
            asked.expect("an open socket");
            self.hear(|message| {
                let event = &message["payload"]["data"]["messageStream"];
                event["text"].as_str().is_some_and(|text| !text.is_empty())
            })
            .await;
            latencies.words.push(begun.elapsed().as_secs_f64());
            let query =
                "mutation($id: ID!) { stopReply(input: { messageId: $id }) { reply { id } } }";
            self.person.ask(query, reply).await;
            self.hear(|message| message["type"] == "complete").await;
            sleep(SENDERS_PAUSE).await;
        }
        latencies
    }

    async fn hear(&mut self, what: impl Fn(&Value) -> bool) {
        loop {
            let message = self.socket.next().await.expect("an open socket");
            assert_ne!(message["type"], "error", "{message}");
            if what(&message) {
                return;
            }
        }
    }
}
