use std::collections::HashMap;

use async_graphql::{Context, ID, Interface};

use super::{ApiKey, AuditEvent, Conversation, Message, User, Viewer};
use crate::{
    graphql::{
        ApiError,
        context::{accounts, request_context},
        ids::{NodeType, decode_any},
    },
    model::{self, ApiKeyId, AuditEventId, ConversationId, MessageId, Right, UserId},
};

/// Anything with an id of its own.
#[derive(Interface)]
#[graphql(field(
    name = "id",
    ty = "ID",
    desc = "Opaque and globally unique. Ids are typed: each fits only where its type does."
))]
pub enum Node {
    Viewer(Viewer),
    Conversation(Conversation),
    Message(Message),
    ApiKey(ApiKey),
    User(User),
    AuditEvent(AuditEvent),
}

/// The nodes of these ids in their order, each alone in its failure. `None`: there is no such
/// node for this viewer.
pub async fn load_nodes(
    context: &Context<'_>,
    argument: &'static str,
    ids: &[ID],
) -> Result<Vec<Result<Option<Node>, ApiError>>, ApiError> {
    let request = request_context(context)?;
    let decoded: Vec<_> = ids.iter().map(|id| decode_any(argument, id)).collect();
    let of_type = |wanted: NodeType| {
        decoded
            .iter()
            .filter_map(move |id| id.as_ref().ok().filter(|(found, _)| *found == wanted))
            .map(|(_, uuid)| *uuid)
    };
    let conversations = of_type(NodeType::Conversation).map(ConversationId::from_uuid);
    let messages = of_type(NodeType::Message).map(MessageId::from_uuid);
    let keys: Vec<_> = of_type(NodeType::ApiKey).map(ApiKeyId::from_uuid).collect();
    // To everybody else no user is there.
    let users = of_type(NodeType::User)
        .map(UserId::from_uuid)
        .filter(|_| request.viewer().access().allows(Right::Admin));
    let events: Vec<_> = of_type(NodeType::AuditEvent)
        .map(AuditEventId::from_uuid)
        .collect();
    let (conversations, messages, keys, users, events) = futures_util::try_join!(
        request.conversations().load_many(conversations),
        request.messages().load_many(messages),
        load_keys(context, &keys),
        request.users().load_many(users),
        load_events(context, &events),
    )?;
    let (mut conversations, mut messages) = (take(conversations), take(messages));
    let (mut keys, mut users, mut events) = (take(keys), take(users), take(events));
    Ok(decoded
        .into_iter()
        .map(|id| {
            let (node_type, uuid) = id?;
            Ok(match node_type {
                NodeType::Viewer => (UserId::from_uuid(uuid) == request.viewer().user_id())
                    .then_some(Node::Viewer(Viewer)),
                NodeType::Conversation => conversations(ConversationId::from_uuid(uuid))
                    .map(|it| Node::Conversation(Conversation(it))),
                NodeType::Message => {
                    messages(MessageId::from_uuid(uuid)).map(|it| Node::Message(Message(it)))
                }
                NodeType::ApiKey => {
                    keys(ApiKeyId::from_uuid(uuid)).map(|it| Node::ApiKey(ApiKey(it)))
                }
                NodeType::AuditEvent => {
                    events(AuditEventId::from_uuid(uuid)).map(|it| Node::AuditEvent(AuditEvent(it)))
                }
                NodeType::User => users(UserId::from_uuid(uuid)).map(|it| Node::User(User(it))),
            })
        })
        .collect())
}

async fn load_keys(
    context: &Context<'_>,
    ids: &[ApiKeyId],
) -> Result<HashMap<ApiKeyId, model::ApiKey>, ApiError> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let viewer = request_context(context)?.viewer();
    let keys = accounts(context).api_keys(viewer, ids).await?;
    Ok(keys.into_iter().map(|key| (key.id, key)).collect())
}

async fn load_events(
    context: &Context<'_>,
    ids: &[AuditEventId],
) -> Result<HashMap<AuditEventId, model::AuditEvent>, ApiError> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let viewer = request_context(context)?.viewer();
    let events = accounts(context).audit().events(viewer, ids).await?;
    Ok(events.into_iter().map(|event| (event.id, event)).collect())
}

fn take<K: Eq + std::hash::Hash, V: Clone>(rows: HashMap<K, V>) -> impl FnMut(K) -> Option<V> {
    move |key| rows.get(&key).cloned()
}
