use std::{sync::Arc, time::Duration};

use chrono::Utc;
use futures_util::{StreamExt, stream::BoxStream};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use loquat::{
    accounts::{Accounts, DeletionTiming},
    audit::Audit,
    auth::{Authenticator, Identity},
    broker::{Broker, Memory},
    chat::{BusyPolicy, Chat, ChatError, FollowEvent, SendMessage, Sent, StartChat, Timing},
    config::{ChatSettings, OfferedModels, ProviderSettings, Settings, Sources},
    db::{Database, Viewer},
    lifecycle::Lifecycle,
    model::{ConversationId, Message, MessageId},
};
use serde_json::{Value, json};

use super::{
    TestDatabase, identity,
    model::{Desk, Writing, model},
    sign_in, sign_in_as, within,
};

/// Clocks that keep their order and are quick.
pub const QUICK: Timing = Timing {
    tick: Duration::from_millis(20),
    lease: Duration::from_millis(1500),
    renewal: Duration::from_millis(200),
    recovery: Duration::from_millis(50),
    publication: Duration::from_millis(5),
    progress: Duration::from_millis(50),
    patience: Duration::from_millis(500),
};

/// One server process's chat, without its transports.
pub struct Replica {
    pub chat: Chat,
    pub accounts: Accounts,
    pub database: Database,
    pub lifecycle: Lifecycle,
    pub desk: Desk,
}

impl Replica {
    pub async fn start(test: &TestDatabase) -> Self {
        Self::with(test, QUICK, ChatSettings::default()).await
    }

    pub async fn with(test: &TestDatabase, timing: Timing, settings: ChatSettings) -> Self {
        Self::beside(test, &Memory::default(), timing, settings).await
    }

    /// One that tells the others of this broker what it does, and hears of them.
    pub async fn beside(
        test: &TestDatabase,
        memory: &Memory,
        timing: Timing,
        settings: ChatSettings,
    ) -> Self {
        Self::told_by(test, Arc::new(memory.join()), timing, settings).await
    }

    /// One that hears of the others, and they of it, by any broker.
    pub async fn told_by(
        test: &TestDatabase,
        broker: Arc<dyn Broker>,
        timing: Timing,
        settings: ChatSettings,
    ) -> Self {
        let database = test.open_with(10).await;
        let lifecycle = Lifecycle::new();
        let (model, desk) = model();
        let provider_settings = ProviderSettings {
            openai: None,
            default_model: "small".to_owned(),
            models: OfferedModels::Listed(vec!["small".to_owned(), "large".to_owned()]),
        };
        let chat = Chat::start(
            database.clone(),
            Arc::new(model),
            broker,
            &provider_settings,
            settings,
            timing,
            lifecycle.clone(),
        );
        Self {
            chat,
            accounts: accounts(&database, &lifecycle),
            database,
            lifecycle,
            desk,
        }
    }

    pub async fn viewer(&self, name: &str) -> Viewer {
        sign_in(&self.database, name).await
    }

    pub async fn admin(&self, name: &str) -> Viewer {
        let identity = Identity {
            is_admin: true,
            ..identity(name)
        };
        sign_in_as(&self.database, &identity).await
    }

    pub async fn conversation(&self, viewer: &Viewer) -> ConversationId {
        let started = self.chat.start_chat(viewer, StartChat::default()).await;
        started.expect("a chat starts").conversation.id
    }

    pub async fn send(
        &self,
        viewer: &Viewer,
        conversation_id: ConversationId,
        content: &str,
    ) -> Result<Sent, ChatError> {
        self.send_with_key(viewer, conversation_id, content, None)
            .await
    }

    /// Sends a message: the reply to it as it is followed from its beginning, and as it is written.
    pub async fn begin(
        &self,
        viewer: &Viewer,
        conversation_id: ConversationId,
    ) -> (Sent, Reader, Writing) {
        let sent = self.send(viewer, conversation_id, "hi").await;
        let sent = sent.expect("sent");
        let reader = self.follow(viewer, sent.reply.id).await;
        (sent, reader, self.desk.next().await)
    }

    pub async fn send_with_key(
        &self,
        viewer: &Viewer,
        conversation_id: ConversationId,
        content: &str,
        key: Option<&str>,
    ) -> Result<Sent, ChatError> {
        self.send_when_busy(viewer, conversation_id, content, BusyPolicy::Reject, key)
            .await
    }

    /// Whatever is unfinished in the conversation.
    pub async fn send_when_busy(
        &self,
        viewer: &Viewer,
        conversation_id: ConversationId,
        content: &str,
        when_busy: BusyPolicy,
        key: Option<&str>,
    ) -> Result<Sent, ChatError> {
        let message = SendMessage {
            conversation_id,
            content: content.to_owned(),
            model: None,
            idempotency_key: key.map(str::to_owned),
            when_busy,
        };
        self.chat.send_message(viewer, message).await
    }

    pub async fn message(&self, viewer: &Viewer, id: MessageId) -> Option<Message> {
        let found = self.chat.messages(viewer, &[id]).await;
        found.expect("messages load").pop()
    }

    pub async fn follow(&self, viewer: &Viewer, id: MessageId) -> Reader {
        let events = self.chat.follow(viewer, id).await.expect("a stream");
        Reader {
            events,
            content: Vec::new(),
            deltas: 0,
        }
    }
}

const SECRET: &str = "a secret that signs the tokens of tests, and no others";

/// A token that every replica believes, with these claims beside the usual ones. `admin` makes an
/// admin.
pub fn token(user: &str, claims: Value) -> String {
    let now = Utc::now().timestamp();
    let mut token = json!({
        "sub": user,
        "email": format!("{user}@example.com"),
        "iat": now,
        "exp": now + 3600,
    });
    let own = token.as_object_mut().expect("an object");
    own.extend(claims.as_object().expect("an object").clone());
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    encode(&Header::new(Algorithm::HS256), &token, &key).expect("a token")
}

/// Those of a server that believes whoever knows its secret.
fn accounts(database: &Database, lifecycle: &Lifecycle) -> Accounts {
    let timing = DeletionTiming {
        patience: Duration::from_secs(1),
        pace: Duration::from_millis(50),
    };
    let sources = Sources::default()
        .variable("JWT_SECRET_KEY", SECRET)
        .variable("JWT_ADMIN_CLAIM", "admin");
    let settings = Settings::resolve(&sources).expect("usable settings");
    let authenticator = Authenticator::new(&settings, lifecycle).expect("an issuer");
    Accounts::start(
        authenticator,
        database.clone(),
        Audit::start(database.clone(), None, lifecycle),
        settings.jwt_leeway,
        timing,
        lifecycle,
    )
}

/// A client that keeps the contract's rule.
pub struct Reader {
    events: BoxStream<'static, Result<FollowEvent, ChatError>>,
    content: Vec<u16>,
    pub deltas: usize,
}

impl Reader {
    pub async fn next(&mut self) -> Option<Result<FollowEvent, ChatError>> {
        let event = within("an event arrives", self.events.next()).await;
        if let Some(Ok(FollowEvent::Delta { offset, text })) = &event {
            let offset = usize::try_from(*offset).expect("an offset");
            assert!(offset <= self.content.len(), "a delta leaves no gap");
            self.content.truncate(offset);
            self.content.extend(text.encode_utf16());
            self.deltas += 1;
        }
        event
    }

    pub fn content(&self) -> String {
        String::from_utf16(&self.content).expect("no delta splits a code point")
    }

    /// Reads until the text is this.
    pub async fn until(&mut self, content: &str) {
        while self.content() != content {
            self.next()
                .await
                .expect("the stream goes on")
                .expect("no error");
        }
    }

    /// Reads to the end, which is one `Finished` after all deltas.
    pub async fn finished(&mut self) -> Message {
        loop {
            let event = self.next().await.expect("the stream goes on");
            if let FollowEvent::Finished(message) = event.expect("no error") {
                assert!(self.next().await.is_none(), "nothing follows the end");
                assert_eq!(message.content, self.content(), "by the contract's rule");
                return message;
            }
        }
    }
}
