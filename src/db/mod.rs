//! PostgreSQL, and who may ask it what.
//!
//! Invariant: no query runs outside a transaction that was opened for a [`Viewer`], for an
//! [`Admin`] or, with a stated reason, for the system; the pool is private to this folder, and so are the constructors
//! of [`Viewer`]. Each transaction takes on its own database role before its first query, so the
//! rows of other users are out of reach even where an SQL text forgets its owner. Only migrations
//! run as the login role, and the questions whether it may do what they need and become the three.
//!
//! This folder knows rows and keys. It must not know GraphQL, providers or what a rule of the
//! chat is.

mod abandoned;
mod admin;
mod api_keys;
mod audit_log;
mod changes;
mod claims;
pub mod cluster;
mod connect;
mod conversations;
mod deletion;
mod error;
mod examine;
mod idempotency_keys;
mod messages;
pub mod migrate;
mod news;
mod progress;
mod replies;
mod revisions;
mod runs;
mod server_keys;
mod statements;
mod stops;
mod titles;
mod tombstones;
mod transaction;
mod turns;
mod usage;
mod users;
mod versions;
mod viewer;

pub use abandoned::AbandonedRun;
pub use admin::{Admin, UserKey, UserSearch};
pub use api_keys::{Endings, KeyHolder, KeyRefusal, KeySignIn, NewApiKey};
pub use audit_log::AuditEventKey;
pub use claims::{ClaimedRun, Claims, Fate};
pub use connect::{Database, DatabaseSetupError};
pub use conversations::{ConversationChanges, ConversationKey, NewConversation, PathChange};
pub use deletion::{DeletedUser, OwnDeletion};
pub use error::DbError;
pub use examine::{DatabaseReport, examine};
pub use idempotency_keys::{ClaimedKey, KeyResult, Operation};
pub use messages::{NewMessage, PathPage};
pub use news::{ConversationNews, ListNews, Unfinished};
pub use progress::{ReplyProgress, WrittenReply};
pub use replies::{NewRun, Outcome, StoredRun};
pub use revisions::Subject;
pub use runs::{Chunk, RunKey, RunState};
pub use stops::UnfinishedReply;
pub use titles::Beginning;
pub use transaction::{AdminTx, SystemReason, SystemTx, ViewerTx};
pub use users::{SignIn, User};
pub use versions::{MOST_VERSIONS, Versions};
pub use viewer::Viewer;
