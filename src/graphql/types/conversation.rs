use async_graphql::{Context, ID, Object, SimpleObject};

use super::{Message, MessageConnection};
use crate::{
    graphql::{
        ApiError, List,
        context::{chat, request_context},
        cursor::{self, ConversationList, MessageList, PageArguments, PageInfo},
        ids,
        scalars::DateTime,
    },
    model::{self, ConversationOrderField, Page},
};

pub struct Conversation(pub model::Conversation);

/// A chat of one user with the assistant.
#[Object]
impl Conversation {
    /// Opaque and globally unique.
    pub async fn id(&self) -> ID {
        ids::encode(self.0.id)
    }

    /// At most 255 characters. Null until the user gives it one or, where the server lets it, the model
    /// does: once, soon after its first reply. What the user says, no title included, stays.
    async fn title(&self) -> Option<&str> {
        self.0.title.as_deref()
    }

    /// Instructions to the assistant for this conversation alone, after the server's own. At most
    /// 32,000 characters.
    async fn system_prompt(&self, context: &Context<'_>) -> Option<Result<String, ApiError>> {
        self.load_system_prompt(context).await.transpose()
    }

    /// The model that writes its replies, at most 255 characters: the one chosen for it, or the
    /// default.
    async fn model(&self, context: &Context<'_>) -> String {
        chat(context).models().of(&self.0).to_owned()
    }

    /// Put away by its user.
    async fn archived(&self) -> bool {
        self.0.archived
    }

    /// Marked by its user.
    async fn pinned(&self) -> bool {
        self.0.pinned
    }

    /// When it was started.
    async fn created_at(&self) -> DateTime {
        DateTime(self.0.created_at)
    }

    /// When anything about it last changed, a reply's end included.
    async fn updated_at(&self) -> DateTime {
        DateTime(self.0.updated_at)
    }

    /// When its last message was stored, else when it was started. A rename or a pin does not
    /// move a conversation in the list.
    async fn last_active_at(&self) -> DateTime {
        DateTime(self.0.last_active_at)
    }

    /// The end of the active path.
    async fn last_message(&self, context: &Context<'_>) -> Option<Result<Message, ApiError>> {
        let request = match request_context(context) {
            Ok(request) => request,
            Err(error) => return Some(Err(error)),
        };
        let found = request.last_messages().load_one(self.0.id).await;
        found.map(|found| found.map(Message)).transpose()
    }

    /// The oldest reply that is PENDING or STREAMING: subscribe to its `messageStream`.
    async fn active_reply(&self, context: &Context<'_>) -> Option<Result<Message, ApiError>> {
        let request = match request_context(context) {
            Ok(request) => request,
            Err(error) => return Some(Err(error)),
        };
        let found = request.active_replies().load_one(self.0.id).await;
        found.map(|found| found.map(Message)).transpose()
    }

    /// The active path, oldest first: of the alternatives at each place the one that was last chosen
    /// or written. Without `first` and `last` the first 20; at most 100. A
    /// chat window usually wants `last: 20`, then pages backwards with `before`.
    async fn messages(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "How many rows from the start, 0 to 100. Not together with `last`.")]
        first: Option<i32>,
        #[graphql(desc = "Only rows after this cursor.")] after: Option<String>,
        #[graphql(desc = "How many rows from the end, 0 to 100. Not together with `first`.")]
        last: Option<i32>,
        #[graphql(desc = "Only rows before this cursor.")] before: Option<String>,
    ) -> Result<MessageConnection, ApiError> {
        let list = MessageList {
            conversation_id: self.0.id,
        };
        let request = PageArguments {
            first,
            after,
            last,
            before,
        }
        .request(&list)?;
        let answer = request_context(context)?;
        let page = answer
            .path_pages()
            .load_one((self.0.id, request))
            .await?
            .unwrap_or_default();
        answer.budget.hold(&page.items)?;
        Ok(MessageConnection { list, page })
    }
}

pub struct ConversationConnection {
    pub list: ConversationList,
    pub page: Page<model::Conversation>,
}

impl Conversation {
    async fn load_system_prompt(&self, context: &Context<'_>) -> Result<Option<String>, ApiError> {
        let request = request_context(context)?;
        match request.system_prompts().load_one(self.0.id).await? {
            Some(prompt) => request
                .budget
                .spend(&prompt)
                .map(|text| Some(text.to_owned())),
            None => Ok(None),
        }
    }
}

/// A page of conversations.
#[Object]
impl ConversationConnection {
    async fn edges(&self) -> List<ConversationEdge> {
        self.page
            .items
            .iter()
            .map(|conversation| ConversationEdge::new(&self.list, conversation.clone()))
            .collect()
    }

    async fn nodes(&self) -> List<Conversation> {
        self.page.items.iter().cloned().map(Conversation).collect()
    }

    async fn page_info(&self) -> PageInfo {
        PageInfo::of(&self.page, |conversation| {
            cursor_of(&self.list, conversation)
        })
    }

    /// How many rows the filter admits, on all pages together. Counted only when asked for.
    async fn total_count(&self, context: &Context<'_>) -> Result<i32, ApiError> {
        let viewer = request_context(context)?.viewer();
        let count = chat(context)
            .count_conversations(viewer, &self.list.filter)
            .await?;
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }
}

/// A conversation in a list.
#[derive(SimpleObject)]
pub struct ConversationEdge {
    /// Good for `after` and `before` under the same filter and order.
    cursor: String,
    node: Conversation,
}

impl ConversationEdge {
    pub fn new(list: &ConversationList, conversation: model::Conversation) -> Self {
        Self {
            cursor: cursor_of(list, &conversation),
            node: Conversation(conversation),
        }
    }
}

fn cursor_of(list: &ConversationList, conversation: &model::Conversation) -> String {
    let time = match list.order.field {
        ConversationOrderField::LastActiveAt => conversation.last_active_at,
        ConversationOrderField::CreatedAt => conversation.created_at,
    };
    cursor::encode(list, (time, conversation.id))
}
