//! Batches: what several objects of one answer need, in one query.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use async_graphql::dataloader::{self, DataLoader};
use async_graphql::runtime::{TokioSpawner, TokioTimer};

use super::{ApiError, context::MOST_TEXT};
use crate::{
    chat::Chat,
    db::Viewer,
    model::{Conversation, ConversationId, Message, MessageId, Page, PageRequest},
};

/// A loader of one viewer's rows.
pub trait Loader: Sized {
    fn new(chat: Chat, viewer: Viewer) -> Self;

    fn start(chat: &Chat, viewer: &Viewer) -> DataLoader<Self> {
        DataLoader::new(
            Self::new(chat.clone(), viewer.clone()),
            TokioSpawner::current(),
            TokioTimer::default(),
        )
    }
}

macro_rules! loader {
    ($(#[$doc:meta])* $name:ident: $key:ty => $value:ty, |$chat:ident, $viewer:ident, $keys:ident| $load:expr) => {
        $(#[$doc])*
        pub struct $name {
            chat: Chat,
            viewer: Viewer,
        }

        impl Loader for $name {
            fn new(chat: Chat, viewer: Viewer) -> Self {
                Self { chat, viewer }
            }
        }

        impl dataloader::Loader<$key> for $name {
            type Value = $value;
            type Error = ApiError;

            async fn load(&self, $keys: &[$key]) -> Result<HashMap<$key, $value>, ApiError> {
                let ($chat, $viewer) = (&self.chat, &self.viewer);
                $load
            }
        }
    };
}

loader!(
    ConversationLoader: ConversationId => Conversation,
    |chat, viewer, keys| Ok(by(chat.conversations(viewer, keys).await?, |it| it.id))
);

loader!(
    /// Conversations without a system prompt are left out.
    SystemPromptLoader: ConversationId => Arc<str>,
    |chat, viewer, keys| Ok(chat
        .system_prompts(viewer, keys)
        .await?
        .into_iter()
        .map(|(id, prompt)| (id, prompt.into()))
        .collect())
);

loader!(
    MessageLoader: MessageId => Message,
    |chat, viewer, keys| Ok(by(chat.messages(viewer, keys).await?, |it| it.id))
);

loader!(
    /// The end of each conversation's active path.
    LastMessageLoader: ConversationId => Message,
    |chat, viewer, keys| Ok(by(chat.last_messages(viewer, keys).await?, |it| it.conversation_id))
);

loader!(
    /// The oldest unfinished reply of each conversation.
    ActiveReplyLoader: ConversationId => Message,
    |chat, viewer, keys| Ok(by(chat.active_replies(viewer, keys).await?, |it| it.conversation_id))
);

loader!(
    /// The length of each conversation's active path.
    PathCountLoader: ConversationId => i64,
    |chat, viewer, keys| Ok(chat.count_paths(viewer, keys).await?.into_iter().collect())
);

/// One page of one conversation's active path.
pub type PathPageKey = (ConversationId, PageRequest<i32>);

loader!(
    /// Pages of active paths. Conversations that ask for the same page share a query, as all do
    /// that stand in one list.
    PathPageLoader: PathPageKey => Page<Message>,
    |chat, viewer, keys| {
        let mut requests: HashMap<PageRequest<i32>, Vec<ConversationId>> = HashMap::new();
        for (conversation, request) in keys {
            requests.entry(*request).or_default().push(*conversation);
        }
        let mut pages = HashMap::with_capacity(keys.len());
        let mut left = MOST_TEXT;
        for (request, conversations) in requests {
            for path in chat.path_pages(viewer, &conversations, request, left).await? {
                let size = |message: &Message| message.content.len();
                left = left.saturating_sub(path.page.items.iter().map(size).sum());
                pages.insert((path.conversation_id, request), path.page);
            }
        }
        Ok(pages)
    }
);

fn by<K: Eq + Hash, V>(rows: Vec<V>, key: impl Fn(&V) -> K) -> HashMap<K, V> {
    rows.into_iter().map(|row| (key(&row), row)).collect()
}
