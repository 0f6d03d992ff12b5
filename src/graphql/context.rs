//! What every resolver may rely on: a viewer, the chat, and the loaders of this request.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use async_graphql::dataloader::DataLoader;
use async_graphql::{Context, Request};

use super::{
    ApiError,
    loaders::{
        ActiveReplyLoader, ConversationLoader, LastMessageLoader, Loader, MessageLoader,
        OwnUserLoader, PathCountLoader, PathPageLoader, SystemPromptLoader, UserLoader,
        UserUsageLoader, VersionCountLoader, VersionsLoader,
    },
};
use crate::{
    accounts::{Accounts, Session},
    chat::Chat,
    db::{User, Viewer},
    limits::{Charge, TooMuch},
    model::{Limit, Message},
};

/// Made for one request and gone with it: a loader that outlived its request could hand one
/// user's row to another.
pub struct RequestContext {
    pub session: Session,
    pub budget: Arc<TextBudget>,
    chat: Chat,
    accounts: Accounts,
    loaders: Loaders,
}

macro_rules! loaders {
    ($($name:ident: $loader:ident of $source:ident,)*) => {
        /// Each is made when it is first asked: most requests need few, and a subscription that
        /// waits none.
        #[derive(Default)]
        struct Loaders {
            $($name: OnceLock<DataLoader<$loader>>,)*
        }

        impl RequestContext {
            $(
                pub fn $name(&self) -> &DataLoader<$loader> {
                    let start = || Loader::start(&self.$source, &self.session.viewer);
                    self.loaders.$name.get_or_init(start)
                }
            )*
        }
    };
}

loaders! {
    conversations: ConversationLoader of chat,
    system_prompts: SystemPromptLoader of chat,
    messages: MessageLoader of chat,
    last_messages: LastMessageLoader of chat,
    active_replies: ActiveReplyLoader of chat,
    path_pages: PathPageLoader of chat,
    path_counts: PathCountLoader of chat,
    version_counts: VersionCountLoader of chat,
    versions: VersionsLoader of chat,
    own_user: OwnUserLoader of chat,
    users: UserLoader of accounts,
    user_usage: UserUsageLoader of accounts,
}

/// How much long text one answer may hold. The guard bounds how many fields are asked for; this
/// bounds what is in them, since one text may be asked for under many aliases, and what is held
/// for them, since lists inside lists copy their entries, whether their texts are asked for or not.
///
/// All of it counts as the user's, too, beside what else they have under way.
pub struct TextBudget {
    told: AtomicUsize,
    held: AtomicUsize,
    charge: Charge,
    /// What an answer takes up without its texts, in bytes.
    least: usize,
}

/// In bytes.
pub const MOST_TEXT: usize = 16 * 1024 * 1024;

/// In bytes: the lists of one answer, each with its own copies of its entries.
const MOST_HELD: usize = 4 * MOST_TEXT;

pub fn too_much_text() -> ApiError {
    ApiError::limit_exceeded(
        Limit::AnswerBytes,
        MOST_TEXT as u64,
        "The answer would hold more than 16 MiB of text: ask for fewer messages at once.",
    )
}

impl TextBudget {
    /// `charge` is what the first answer takes up so far; `least`: what each takes up without its
    /// texts, in bytes.
    pub fn new(charge: Charge, least: usize) -> Self {
        Self {
            told: AtomicUsize::new(MOST_TEXT),
            held: AtomicUsize::new(MOST_HELD),
            charge,
            least,
        }
    }

    /// Lets a text into the answer, or refuses it.
    pub fn spend<'t>(&self, text: &'t str) -> Result<&'t str, ApiError> {
        self.take(&self.told, json_bytes(text)).map(|()| text)
    }

    /// Lets a list be held until the answer is written, or refuses it.
    pub fn hold(&self, messages: &[Message]) -> Result<(), ApiError> {
        let bytes = messages.iter().map(|message| message.content.len()).sum();
        self.take(&self.held, bytes)
    }

    /// Begins the next answer of a subscription.
    pub fn renew(&self) {
        self.told.store(MOST_TEXT, Ordering::Relaxed);
        self.held.store(MOST_HELD, Ordering::Relaxed);
        self.charge.set(self.least);
    }

    /// The answer has been put together; from here on whoever sends it counts it.
    pub fn settle(&self) {
        self.charge.set(0);
    }

    fn take(&self, budget: &AtomicUsize, bytes: usize) -> Result<(), ApiError> {
        budget
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(bytes)
            })
            .map_err(|_| too_much_text())?;
        self.charge.grow(bytes).map_err(too_much_in_flight)
    }
}

/// What a text comes to in an answer.
fn json_bytes(text: &str) -> usize {
    let escaped = |byte| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0C => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(escaped).sum()
}

pub fn too_much_in_flight(error: TooMuch) -> ApiError {
    let most = error.most as u64;
    let refusal = ApiError::limit_exceeded(Limit::InFlightBytes, most, &error.to_string());
    match in_flight_retry_after(error) {
        Some(seconds) => refusal.with("retryAfter", seconds),
        None => refusal,
    }
}

/// When to ask again for what would be too much with what else is under way, in seconds.
pub fn in_flight_retry_after(error: TooMuch) -> Option<u64> {
    (!error.always).then_some(1)
}

/// Signs a request: attaches its session and fresh loaders.
pub fn session_data(
    request: Request,
    chat: &Chat,
    accounts: &Accounts,
    session: Session,
    budget: TextBudget,
) -> Request {
    request.data(RequestContext {
        session,
        budget: Arc::new(budget),
        chat: chat.clone(),
        accounts: accounts.clone(),
        loaders: Loaders::default(),
    })
}

impl RequestContext {
    pub fn viewer(&self) -> &Viewer {
        &self.session.viewer
    }

    /// The viewer's own row, as it is now.
    pub async fn user(&self) -> Result<User, ApiError> {
        let found = self.own_user().load_one(()).await?;
        found.ok_or_else(|| ApiError::not_found("viewer"))
    }
}

/// The context of a signed-in request. Transports refuse all others before any resolver runs;
/// this is the second lock on the same door.
pub fn request_context<'a>(context: &Context<'a>) -> Result<&'a RequestContext, ApiError> {
    context
        .data_opt::<RequestContext>()
        .ok_or_else(ApiError::unauthenticated)
}

pub fn accounts<'a>(context: &Context<'a>) -> &'a Accounts {
    context.data_unchecked::<Accounts>()
}

pub fn chat<'a>(context: &Context<'a>) -> &'a Chat {
    context.data_unchecked::<Chat>()
}

#[cfg(test)]
mod tests {
    use super::{TextBudget, json_bytes};
    use crate::{
        limits::{PresenceLimits, Presences},
        model::UserId,
    };

    #[test]
    fn a_text_is_as_long_as_it_is_written() {
        let text: String = (0..300_u32).filter_map(char::from_u32).collect();
        let written = serde_json::to_string(&text).expect("text");
        assert_eq!(json_bytes(&text) + "\"\"".len(), written.len());
    }

    #[test]
    fn texts_count_as_the_user_s_while_their_answer_is_put_together() {
        let presences = Presences::new(PresenceLimits {
            connections: 0,
            bytes: 100,
        });
        let ada = presences.of(UserId::new());
        let budget = TextBudget::new(ada.charge(10).expect("room"), 10);
        budget.spend(&"x".repeat(80)).expect("room");
        assert!(budget.spend(&"x".repeat(11)).is_err());
        ada.charge(11).expect_err("the user has no more");
        budget.settle();
        let other = ada.charge(50).expect("room again");
        budget.renew();
        assert!(budget.spend(&"x".repeat(41)).is_err());
        budget.spend(&"x".repeat(40)).expect("room");
        drop((budget, other));
        ada.charge(100).expect("nothing is left behind");
    }
}
