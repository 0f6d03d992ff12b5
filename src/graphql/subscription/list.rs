use async_graphql::{SimpleObject, Union};

use super::conversation::{ConversationChanged, ConversationDeleted};
use crate::{
    chat::ListEvent,
    graphql::{
        cursor::ConversationList,
        types::{ConversationEdge, Viewer},
    },
};

/// What happens to the viewer's list of conversations. More members may come: ignore those that
/// you do not know.
#[derive(Union)]
pub enum ViewerEvent {
    Snapshot(ViewerSnapshot),
    Added(ConversationAdded),
    Changed(ConversationChanged),
    Deleted(ConversationDeleted),
}

/// The viewer as they are: replace the conversations that you hold with those that you select here.
/// Comes first, and whenever the server cannot be sure that no event was lost.
#[derive(SimpleObject)]
pub struct ViewerSnapshot {
    viewer: Viewer,
}

/// A conversation was started.
#[derive(SimpleObject)]
pub struct ConversationAdded {
    /// For lists in the default order, without a filter.
    conversation_edge: ConversationEdge,
}

impl From<ListEvent> for ViewerEvent {
    fn from(event: ListEvent) -> Self {
        match event {
            ListEvent::Snapshot => Self::Snapshot(ViewerSnapshot { viewer: Viewer }),
            ListEvent::Added(conversation) => Self::Added(ConversationAdded {
                conversation_edge: ConversationEdge::new(
                    &ConversationList::default(),
                    conversation,
                ),
            }),
            ListEvent::Changed(conversation) => {
                Self::Changed(ConversationChanged::new(conversation))
            }
            ListEvent::Deleted(id) => Self::Deleted(ConversationDeleted::new(id)),
        }
    }
}
