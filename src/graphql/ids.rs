//! Opaque, typed ids: a short word for the type, then the UUID in base64url.

use async_graphql::ID;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use uuid::Uuid;

use super::ApiError;
use crate::model::{ApiKeyId, AuditEventId, ConversationId, MessageId, UserId};

/// The types of nodes, as ids name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeType {
    Viewer,
    Conversation,
    Message,
    ApiKey,
    User,
    AuditEvent,
}

impl NodeType {
    const ALL: [Self; 6] = [
        Self::Viewer,
        Self::Conversation,
        Self::Message,
        Self::ApiKey,
        Self::User,
        Self::AuditEvent,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "Viewer",
            Self::Conversation => "Conversation",
            Self::Message => "Message",
            Self::ApiKey => "ApiKey",
            Self::User => "User",
            Self::AuditEvent => "AuditEvent",
        }
    }

    const fn prefix(self) -> &'static str {
        match self {
            Self::Viewer => "viewer_",
            Self::Conversation => "conv_",
            Self::Message => "msg_",
            Self::ApiKey => "key_",
            Self::User => "user_",
            Self::AuditEvent => "audit_",
        }
    }
}

/// An id of ours, and the type of node that it stands for.
pub trait NodeId: Sized {
    const TYPE: NodeType;
    fn from_uuid(uuid: Uuid) -> Self;
    fn uuid(self) -> Uuid;
}

macro_rules! node_id {
    ($id:ident, $node:ident) => {
        impl NodeId for $id {
            const TYPE: NodeType = NodeType::$node;

            fn from_uuid(uuid: Uuid) -> Self {
                Self::from_uuid(uuid)
            }

            fn uuid(self) -> Uuid {
                self.uuid()
            }
        }
    };
}

node_id!(UserId, Viewer);
node_id!(ConversationId, Conversation);
node_id!(MessageId, Message);
node_id!(ApiKeyId, ApiKey);
node_id!(AuditEventId, AuditEvent);
node_id!(AdminUserId, User);

/// A user as admins see them: a node of its own beside the viewer that the user is to themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminUserId(UserId);

impl AdminUserId {
    fn from_uuid(uuid: Uuid) -> Self {
        Self(UserId::from_uuid(uuid))
    }

    fn uuid(self) -> Uuid {
        self.0.uuid()
    }
}

impl From<UserId> for AdminUserId {
    fn from(id: UserId) -> Self {
        Self(id)
    }
}

impl From<AdminUserId> for UserId {
    fn from(AdminUserId(id): AdminUserId) -> Self {
        id
    }
}

pub fn encode<I: NodeId>(id: I) -> ID {
    let digits = BASE64_URL_SAFE_NO_PAD.encode(id.uuid().as_bytes());
    ID(format!("{}{digits}", I::TYPE.prefix()))
}

/// An id of any type, as `node` and `nodes` take them.
pub fn decode_any(argument: &'static str, id: &ID) -> Result<(NodeType, Uuid), ApiError> {
    parse(id).ok_or_else(|| ApiError::bad_input(argument, "is not an id of this server"))
}

/// The user whom a text names, if it is the id of a User or of a Viewer.
pub fn decode_user(text: &str) -> Option<UserId> {
    let (node_type, uuid) = parse(&ID(text.to_owned()))?;
    matches!(node_type, NodeType::User | NodeType::Viewer).then(|| UserId::from_uuid(uuid))
}

/// An id where only one type fits.
pub fn decode<I: NodeId>(argument: &'static str, id: &ID) -> Result<I, ApiError> {
    let (found, uuid) = decode_any(argument, id)?;
    if found == I::TYPE {
        return Ok(I::from_uuid(uuid));
    }
    Err(ApiError::bad_input(
        argument,
        &format!(
            "is the id of a {}, where the id of a {} is needed",
            found.name(),
            I::TYPE.name()
        ),
    ))
}

fn parse(id: &ID) -> Option<(NodeType, Uuid)> {
    NodeType::ALL.into_iter().find_map(|node_type| {
        let digits = id.as_str().strip_prefix(node_type.prefix())?;
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(digits).ok()?;
        Some((node_type, Uuid::from_slice(&bytes).ok()?))
    })
}

#[cfg(test)]
mod tests {
    use async_graphql::Error;
    use proptest::prelude::{any, proptest};

    use super::*;

    fn refusal(result: Result<ConversationId, ApiError>) -> String {
        Error::from(result.expect_err("is refused")).message
    }

    #[test]
    fn an_id_of_the_wrong_type_names_both_types() {
        let id = encode(MessageId::new());
        assert_eq!(
            refusal(decode("conversationId", &id)),
            "conversationId: is the id of a Message, where the id of a Conversation is needed"
        );
    }

    #[test]
    fn an_id_has_one_spelling() {
        let id = ConversationId::new();
        let encoded = encode(id);
        assert!(decode::<ConversationId>("id", &encoded).is_ok_and(|decoded| decoded == id));
        for twisted in [
            format!("{}=", encoded.as_str()),
            format!(" {}", encoded.as_str()),
            encoded.as_str().to_uppercase(),
            id.to_string(),
        ] {
            assert!(decode::<ConversationId>("id", &ID(twisted)).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_an_id(text in any::<String>()) {
            if let Ok((_, uuid)) = decode_any("id", &ID(text.clone())) {
                assert!(text.ends_with(&BASE64_URL_SAFE_NO_PAD.encode(uuid.as_bytes())));
            }
        }
    }
}
