//! What happens, told as it happens: `conversationEvents` and `viewerEvents`.

mod changes;
mod crowd;
mod losses;
mod moments;
mod random;

use futures_util::{StreamExt, stream::BoxStream};
use loquat::{broker::Memory, chat::Timing, config::ChatSettings, db::Viewer};
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::support::{
    Api, CONVERSATION, CONVERSATION_EVENTS, LiveConversation, LiveList, QUICK, Replica,
    TestDatabase, VIEWER, VIEWER_EVENTS, eventually, within,
};

/// Two processes on one database, that hear of each other by a broker or only from PostgreSQL.
async fn pair(test: &TestDatabase, with_broker: bool) -> [Replica; 2] {
    let memory = Memory::default();
    let other = if with_broker {
        memory.clone()
    } else {
        Memory::default()
    };
    [
        replica(test, &memory, QUICK).await,
        replica(test, &other, QUICK).await,
    ]
}

async fn replica(test: &TestDatabase, memory: &Memory, timing: Timing) -> Replica {
    let settings = ChatSettings::default();
    Replica::beside(test, memory, timing, settings).await
}

/// Events on their way to a device, as a socket has them: a task of its own reads them, and waits
/// while the device takes none.
struct Events {
    arrived: mpsc::Receiver<Value>,
    reader: JoinHandle<()>,
}

impl Events {
    fn of(mut events: BoxStream<'static, Value>) -> Self {
        let (arrives, arrived) = mpsc::channel(1);
        let reader = tokio::spawn(async move {
            while let Some(event) = events.next().await {
                if arrives.send(event).await.is_err() {
                    return;
                }
            }
        });
        Self { arrived, reader }
    }

    async fn next(&mut self) -> Option<Value> {
        within("an event", self.arrived.recv()).await
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// One device that shows a conversation.
struct Window<'r> {
    api: Api<'r>,
    viewer: Viewer,
    id: String,
    events: Events,
    live: LiveConversation,
    /// Kinds of the events, in their order.
    told: Vec<String>,
}

impl<'r> Window<'r> {
    fn open(replica: &'r Replica, viewer: &Viewer, id: &str) -> Self {
        let api = Api::of(replica);
        let events = Events::of(api.subscribe(viewer, CONVERSATION_EVENTS, json!({ "id": id })));
        Self {
            api,
            viewer: viewer.clone(),
            id: id.to_owned(),
            events,
            live: LiveConversation::default(),
            told: Vec::new(),
        }
    }

    /// As a client library does after a cut.
    fn open_again(&mut self) {
        let variables = json!({ "id": self.id });
        let events = self
            .api
            .subscribe(&self.viewer, CONVERSATION_EVENTS, variables);
        self.events = Events::of(events);
        self.live.subscribed_again();
        self.told.clear();
    }

    async fn next(&mut self) -> Value {
        let mut event = self.events.next().await.expect("the stream goes on");
        assert_eq!(event.get("errors"), None, "{event}");
        let event = event["data"]["conversationEvents"].take();
        self.live.apply(&event);
        self.told
            .push(event["__typename"].as_str().expect("a type").to_owned());
        event
    }

    async fn until_told(&mut self, kind: &str) {
        while !self.told.iter().any(|told| told == kind) {
            self.next().await;
        }
    }

    async fn until(&mut self, reached: impl Fn(&LiveConversation) -> bool) {
        while self.told.is_empty() || !reached(&self.live) {
            self.next().await;
        }
    }

    /// Until the text of the last message is this.
    async fn until_text(&mut self, text: &str) {
        let is_there = |live: &LiveConversation| {
            let last = live.messages.last();
            let id = last.and_then(|last| last["id"].as_str());
            id.and_then(|id| live.content(id)).as_deref() == Some(text)
        };
        self.until(is_there).await;
    }

    /// Until it shows what the server has stored, which does not change meanwhile.
    async fn until_right(&mut self) {
        let variables = json!({ "id": self.id });
        let stored = self.api.data(&self.viewer, CONVERSATION, variables).await;
        self.until(|live| live.as_queried() == stored).await;
    }
}

/// One device that shows a list.
struct Overview<'r> {
    api: Api<'r>,
    viewer: Viewer,
    events: Events,
    live: LiveList,
    told: Vec<String>,
}

impl<'r> Overview<'r> {
    fn open(replica: &'r Replica, viewer: &Viewer) -> Self {
        let api = Api::of(replica);
        let events = Events::of(api.subscribe(viewer, VIEWER_EVENTS, json!({})));
        Self {
            api,
            viewer: viewer.clone(),
            events,
            live: LiveList::default(),
            told: Vec::new(),
        }
    }

    fn open_again(&mut self) {
        let events = self.api.subscribe(&self.viewer, VIEWER_EVENTS, json!({}));
        self.events = Events::of(events);
        self.live.subscribed_again();
        self.told.clear();
    }

    async fn next(&mut self) -> Value {
        let mut event = self.events.next().await.expect("the stream goes on");
        assert_eq!(event.get("errors"), None, "{event}");
        let event = event["data"]["viewerEvents"].take();
        self.live.apply(&event);
        self.told
            .push(event["__typename"].as_str().expect("a type").to_owned());
        event
    }

    /// Until it shows what the server has stored, which does not change meanwhile.
    async fn until_right(&mut self) {
        let stored = self.api.data(&self.viewer, VIEWER, json!({})).await;
        let stored = LiveList::queried(&stored);
        while self.told.is_empty() || self.live.conversations() != stored {
            self.next().await;
        }
    }
}

/// Waits until nothing is being written in a conversation.
async fn quiet(replica: &Replica, viewer: &Viewer, id: &str) {
    let api = Api::of(replica);
    eventually("no reply is unfinished", || async {
        let variables = json!({ "id": id });
        let stored = api.data(viewer, CONVERSATION, variables).await;
        stored["viewer"]["conversation"]["activeReply"]
            .is_null()
            .then_some(())
    })
    .await;
}
