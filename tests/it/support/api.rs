use async_graphql::{Request, Variables};
use futures_util::{StreamExt, stream::BoxStream};
use loquat::{
    accounts::{Ended, Session},
    db::Viewer,
    graphql::{Schema, TextBudget, schema, session_data},
    limits::{PresenceLimits, Presences},
    model::UserId,
};
use serde_json::{Value, json};

use super::{Replica, within};

/// The schema as a signed-in request meets it, past the transports.
pub struct Api<'r> {
    replica: &'r Replica,
    schema: Schema,
}

impl<'r> Api<'r> {
    pub fn of(replica: &'r Replica) -> Self {
        Self {
            schema: schema(replica.chat.clone(), replica.accounts.clone()),
            replica,
        }
    }

    /// The answer: `data`, and `errors` where there are any.
    pub async fn ask(&self, viewer: &Viewer, document: &str, variables: Value) -> Value {
        let request = self.request(viewer, document, variables);
        let response = self.schema.execute(request).await;
        serde_json::to_value(response).expect("an answer is JSON")
    }

    /// The data of an answer without errors.
    pub async fn data(&self, viewer: &Viewer, document: &str, variables: Value) -> Value {
        let mut answer = self.ask(viewer, document, variables).await;
        assert_eq!(answer.get("errors"), None, "{answer}");
        answer["data"].take()
    }

    /// The extensions of the one error of an answer.
    pub async fn refusal(&self, viewer: &Viewer, document: &str, variables: Value) -> Value {
        let mut answer = self.ask(viewer, document, variables).await;
        let errors = answer["errors"].as_array().expect("errors");
        assert_eq!(errors.len(), 1, "{answer}");
        answer["errors"][0]["extensions"].take()
    }

    pub fn subscribe(
        &self,
        viewer: &Viewer,
        document: &str,
        variables: Value,
    ) -> BoxStream<'static, Value> {
        let request = self.request(viewer, document, variables);
        self.schema
            .execute_stream(request)
            .map(|response| serde_json::to_value(response).expect("an answer is JSON"))
            .boxed()
    }

    pub async fn start_chat(&self, viewer: &Viewer, title: &str) -> String {
        let started = self
            .data(
                viewer,
                "mutation($title: String) { startChat(input: { title: $title }) { conversation { id } } }",
                json!({ "title": title }),
            )
            .await;
        text(&started["startChat"]["conversation"]["id"])
    }

    /// Sends a message and has it answered; the ids of both.
    pub async fn exchange(
        &self,
        viewer: &Viewer,
        conversation: &str,
        content: &str,
    ) -> [String; 2] {
        let sent = self
            .data(
                viewer,
                "mutation($id: ID!, $content: String!) { \
                   sendMessage(input: { conversationId: $id, content: $content }) \
                   { userMessage { id } reply { id } } }",
                json!({ "id": conversation, "content": content }),
            )
            .await;
        let writing = self.replica.desk.next().await;
        writing.say("answer to ");
        writing.say(content);
        writing.finish();
        let reply = text(&sent["sendMessage"]["reply"]["id"]);
        let mut events = self.subscribe(
            viewer,
            "subscription($id: ID!) { messageStream(messageId: $id) { __typename } }",
            json!({ "id": reply }),
        );
        while let Some(event) = within("the reply ends", events.next()).await {
            assert_eq!(event.get("errors"), None, "{event}");
        }
        [text(&sent["sendMessage"]["userMessage"]["id"]), reply]
    }

    fn request(&self, viewer: &Viewer, document: &str, variables: Value) -> Request {
        let request = Request::new(document).variables(Variables::from_json(variables));
        session_data(
            request,
            &self.replica.chat,
            &self.replica.accounts,
            session_of(viewer),
            ample_budget(),
        )
    }
}

/// For a user who has nothing else under way, and may have anything.
pub fn ample_budget() -> TextBudget {
    let presences = Presences::new(PresenceLimits {
        connections: 0,
        bytes: usize::MAX,
    });
    TextBudget::new(presences.of(UserId::new()).hold(0), 0)
}

/// As if the viewer had just signed in.
pub fn session_of(viewer: &Viewer) -> Session {
    Session {
        viewer: viewer.clone(),
        expires_at: None,
        credential: "token:test".into(),
        address: None,
        ended: Ended::never(),
    }
}

pub fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
