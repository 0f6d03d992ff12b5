mod admin;
mod api_key;
mod conversation;
mod message;
mod model;
mod node;
mod usage;
mod user;
mod viewer;

pub use admin::Admin;
pub use api_key::{ApiKey, ApiKeyConnection, ApiKeyEdge, ApiKeyScope};
pub use conversation::{Conversation, ConversationConnection, ConversationEdge};
pub use message::{Message, MessageConnection, MessageEdge};
pub use model::Model;
pub use node::{Node, load_nodes};
pub use user::{User, UserConnection};
pub use viewer::Viewer;
