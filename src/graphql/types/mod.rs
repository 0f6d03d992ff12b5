mod api_key;
mod conversation;
mod message;
mod model;
mod node;
mod viewer;

pub use api_key::{ApiKey, ApiKeyConnection, ApiKeyEdge, ApiKeyScope};
pub use conversation::{Conversation, ConversationConnection, ConversationEdge};
pub use message::{Message, MessageConnection, MessageEdge};
pub use model::Model;
pub use node::{Node, load_nodes};
pub use viewer::Viewer;
