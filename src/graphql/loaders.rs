//! Batches: what several objects of one answer need, in one query.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use async_graphql::dataloader::{self, DataLoader};
use async_graphql::runtime::{TokioSpawner, TokioTimer};

use super::{ApiError, context::MOST_TEXT};
use crate::{
    accounts::Accounts,
    chat::Chat,
    db::{User, Versions, Viewer},
    model::{
        Conversation, ConversationId, Fork, Message, MessageId, Page, PageRequest, TimeRange,
        Usage, UserId,
    },
};

/// A loader of what one viewer may see.
pub trait Loader: Sized {
    /// Whom it asks: the chat or the accounts.
    type Source: Clone;

    fn new(source: Self::Source, viewer: Viewer) -> Self;

    fn start(source: &Self::Source, viewer: &Viewer) -> DataLoader<Self> {
        DataLoader::new(
            Self::new(source.clone(), viewer.clone()),
            TokioSpawner::current(),
            TokioTimer::default(),
        )
    }
}

macro_rules! loader {
    ($(#[$doc:meta])* $name:ident: $key:ty => $value:ty, |$chat:ident, $viewer:ident, $keys:ident| $load:expr) => {
        loader!($(#[$doc])* $name of Chat: $key => $value, |$chat, $viewer, $keys| $load);
    };
    ($(#[$doc:meta])* $name:ident of $of:ty: $key:ty => $value:ty, |$source:ident, $viewer:ident, $keys:ident| $load:expr) => {
        $(#[$doc])*
        pub struct $name {
            source: $of,
            viewer: Viewer,
        }

        impl Loader for $name {
            type Source = $of;

            fn new(source: $of, viewer: Viewer) -> Self {
                Self { source, viewer }
            }
        }

        impl dataloader::Loader<$key> for $name {
            type Value = $value;
            type Error = ApiError;

            async fn load(&self, $keys: &[$key]) -> Result<HashMap<$key, $value>, ApiError> {
                let ($source, $viewer) = (&self.source, &self.viewer);
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
    /// The viewer's own row. There is one.
    OwnUserLoader: () => User,
    |chat, viewer, _keys| Ok([((), chat.user(viewer).await?)].into())
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

loader!(
    /// How many alternatives there are at each fork.
    VersionCountLoader: Fork => i32,
    |chat, viewer, keys| Ok(chat.version_counts(viewer, keys).await?.into_iter().collect())
);

/// A message's fork, and its number there.
pub type VersionsKey = (Fork, i32);

loader!(
    /// The alternatives to each message, itself included.
    VersionsLoader: VersionsKey => Arc<[Message]>,
    |chat, viewer, keys| {
        let mut stretches: HashMap<Fork, Vec<Arc<[Message]>>> = HashMap::new();
        for Versions { fork, messages } in chat.versions(viewer, keys, MOST_TEXT).await? {
            stretches.entry(fork).or_default().push(messages.into());
        }
        // Of one fork there may be several, for older messages: a message's own is the latest that
        // does not begin after it.
        let begin = |stretch: &Arc<[Message]>| stretch.first().map(|first| first.version_number);
        Ok(keys
            .iter()
            .filter_map(|key| {
                let (fork, number) = key;
                let stretches = stretches.get(fork)?.iter();
                let own = stretches
                    .filter(|stretch| begin(stretch) <= Some(*number))
                    .max_by_key(|stretch| begin(stretch))?;
                Some((*key, Arc::clone(own)))
            })
            .collect())
    }
);

loader!(
    /// Other users, for admins.
    UserLoader of Accounts: UserId => User,
    |accounts, viewer, keys| Ok(by(accounts.users(viewer, keys).await?, |it| it.user_id))
);

loader!(
    /// What other users have used, for admins. Users who stand in one list share a query.
    UserUsageLoader of Accounts: (UserId, TimeRange) => Usage,
    |accounts, viewer, keys| {
        let mut ranges: HashMap<TimeRange, Vec<UserId>> = HashMap::new();
        for (user_id, range) in keys {
            ranges.entry(*range).or_default().push(*user_id);
        }
        let mut usage = HashMap::with_capacity(keys.len());
        for (range, users) in ranges {
            let found = accounts.usage_of(viewer, &users, range).await?;
            usage.extend(found.into_iter().map(|(user_id, it)| ((user_id, range), it)));
        }
        Ok(usage)
    }
);

fn by<K: Eq + Hash, V>(rows: Vec<V>, key: impl Fn(&V) -> K) -> HashMap<K, V> {
    rows.into_iter().map(|row| (key(&row), row)).collect()
}
