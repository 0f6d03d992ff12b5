//! What is tried. A case is data: an operation on the owner's things, and what comes of it for
//! whoever is not the owner. `$…` stands for a thing of hers (`things.rs`), `*Type` for all fields
//! of a type and what lies below them (`schema.rs`).

use async_graphql::parser::types::OperationType;
use serde_json::{Value, json};

use super::schema::Schema;

pub struct Case {
    /// As the matrix calls it: the root field first.
    pub name: String,
    pub document: String,
    pub variables: Value,
    pub kind: OperationType,
    /// For another user with every right over their own things, admins among them.
    pub stranger: Outcome,
    /// For an admin, where that is something else.
    pub admin: Option<Outcome>,
    /// Whether it is nobody else's.
    pub admins_alone: bool,
}

impl Case {
    fn for_admins(mut self, outcome: Outcome) -> Self {
        self.admins_alone = true;
        self.for_admins_too(outcome)
    }

    fn for_admins_too(mut self, outcome: Outcome) -> Self {
        self.admin = Some(outcome);
        self
    }
}

#[derive(Clone, Debug)]
pub enum Outcome {
    /// Not yours is not found: to the byte what a thing that never was answers.
    NotFound,
    /// Exactly this, of their own.
    Own(Value),
    /// Of their own, exactly what it was before the owner had anything.
    AsBefore,
    /// An error of this code, and to the byte the same for a thing that never was.
    Refused(&'static str),
    /// Done, with nothing of the owner's in the answer.
    Allowed(&'static str),
    /// Done, with who the owner is in the answer, and nothing that she wrote.
    SeesWho,
    /// Done, to whomever it is: to a bystander here, for the owner is still needed.
    Governs,
    /// The owner herself is answered.
    Hers,
}

pub fn cases(schema: &Schema) -> Vec<Case> {
    let mut cases = queries();
    cases.extend(nodes(schema));
    cases.extend(subscriptions());
    cases.extend(mutations());
    for case in &mut cases {
        case.document = schema.expand(&case.document);
    }
    cases
}

fn case(name: &str, document: &str, variables: Value, stranger: Outcome) -> Case {
    Case {
        name: name.to_owned(),
        document: document.to_owned(),
        variables,
        kind: match document.split(|c: char| !c.is_alphabetic()).next() {
            Some("mutation") => OperationType::Mutation,
            Some("subscription") => OperationType::Subscription,
            _ => OperationType::Query,
        },
        stranger,
        admin: None,
        admins_alone: false,
    }
}

/// Every type that implements `Node`, through both fields that take an id of any type.
fn nodes(schema: &Schema) -> Vec<Case> {
    let by_type = |of: String| {
        let thing = format!("${of}");
        [
            case(
                &format!("node: {of}"),
                &format!("query($id: ID!) {{ node(id: $id) {{ id ... on {of} {{ *{of} }} }} }}"),
                json!({ "id": thing }),
                Outcome::NotFound,
            ),
            case(
                &format!("nodes: {of}"),
                &format!(
                    "query($ids: [ID!]!) {{ nodes(ids: $ids) {{ id ... on {of} {{ *{of} }} }} }}"
                ),
                json!({ "ids": [thing, thing] }),
                Outcome::NotFound,
            ),
        ]
    };
    let cases = schema.nodes().into_iter().flat_map(by_type);
    cases
        .map(|case| match case.name.rsplit(' ').next() {
            Some("User") => case.for_admins(Outcome::SeesWho),
            Some("AuditEvent") => case.for_admins_too(Outcome::SeesWho),
            _ => case,
        })
        .collect()
}

fn queries() -> Vec<Case> {
    use Outcome::{AsBefore, NotFound, Own, Refused, SeesWho};
    let own = |titles: &[&str], total: usize| {
        let nodes: Vec<Value> = titles
            .iter()
            .map(|title| json!({ "title": title }))
            .collect();
        Own(json!({ "viewer": { "conversations": { "totalCount": total, "nodes": nodes } } }))
    };
    vec![
        // These two first: what else strangers try shows among their own audit events.
        case("viewer", "{ viewer { *Viewer } }", json!({}), AsBefore),
        case(
            "viewerEvents",
            "subscription { viewerEvents { __typename \
               ... on ViewerSnapshot { *ViewerSnapshot } ... on ConversationAdded { *ConversationAdded } \
               ... on ConversationChanged { *ConversationChanged } \
               ... on ConversationDeleted { *ConversationDeleted } } }",
            json!({}),
            AsBefore,
        ),
        case(
            "viewer.conversation",
            "query($id: ID!) { viewer { conversation(id: $id) { *Conversation } } }",
            json!({ "id": "$Conversation" }),
            NotFound,
        ),
        // Her cursor is a place in time, between their own two.
        case(
            "viewer.conversations(after)",
            "query($after: String) { viewer { conversations(after: $after, first: 100) { totalCount nodes { title } } } }",
            json!({ "after": "$Conversation cursor" }),
            own(&["own older"], 2),
        ),
        case(
            "viewer.conversations(before)",
            "query($before: String) { viewer { conversations(before: $before, last: 100) { totalCount nodes { title } } } }",
            json!({ "before": "$Conversation cursor" }),
            own(&["own newer"], 2),
        ),
        case(
            "viewer.conversations(after, orderBy)",
            "query($after: String) { viewer { conversations(after: $after, orderBy: { field: CREATED_AT, direction: ASC }) \
               { totalCount nodes { title } } } }",
            json!({ "after": "$Conversation cursor by creation" }),
            own(&["own newer"], 2),
        ),
        case(
            "viewer.conversations(filter)",
            "{ viewer { conversations(filter: { titleContains: \"secret\" }) { totalCount nodes { title } } } }",
            json!({}),
            own(&[], 0),
        ),
        // A history's cursor carries a mark of its conversation.
        case(
            "viewer.conversations.messages(after)",
            "query($after: String) { viewer { conversations { nodes { messages(after: $after) { nodes { content } } } } } }",
            json!({ "after": "$Message cursor" }),
            Refused("BAD_USER_INPUT"),
        ),
        case(
            "viewer.conversations.messages(before)",
            "query($before: String) { viewer { conversations { nodes { messages(before: $before) { nodes { content } } } } } }",
            json!({ "before": "$Message cursor" }),
            Refused("BAD_USER_INPUT"),
        ),
        // Her key is younger than theirs.
        case(
            "viewer.apiKeys(after)",
            "query($after: String) { viewer { apiKeys(after: $after) { totalCount nodes { name } } } }",
            json!({ "after": "$ApiKey cursor" }),
            Own(
                json!({ "viewer": { "apiKeys": { "totalCount": 1, "nodes": [{ "name": "own" }] } } }),
            ),
        ),
        // What she did last is later than all of theirs.
        case(
            "viewer.auditEvents(after)",
            "query($after: String) { viewer { auditEvents(after: $after) { nodes { action } } } }",
            json!({ "after": "$AuditEvent cursor" }),
            Own(json!({ "viewer": { "auditEvents": { "nodes": [
                { "action": "api_key.created" }, { "action": "user.created" },
            ] } } })),
        ),
        case("models", "{ models { *Model } }", json!({}), AsBefore),
        case(
            "admin",
            "{ admin { *Admin } }",
            json!({}),
            Refused("FORBIDDEN"),
        )
        .for_admins(SeesWho),
        case(
            "admin.user",
            "query($id: ID!) { admin { user(id: $id) { *User } } }",
            json!({ "id": "$User" }),
            Refused("FORBIDDEN"),
        )
        .for_admins(SeesWho),
        case(
            "admin.users(after)",
            "query($after: String) { admin { users(after: $after) { *UserConnection } } }",
            json!({ "after": "$User cursor" }),
            Refused("FORBIDDEN"),
        )
        .for_admins(SeesWho),
        case(
            "admin.auditEvents",
            "query($id: ID, $after: String) { admin { auditEvents(userId: $id) { *AuditEventConnection } \
               older: auditEvents(after: $after) { nodes { action } } } }",
            json!({ "id": "$User" , "after": "$anybody's AuditEvent cursor" }),
            Refused("FORBIDDEN"),
        )
        .for_admins(SeesWho),
    ]
}

fn subscriptions() -> Vec<Case> {
    let stream = "subscription($id: ID!) { messageStream(messageId: $id) { __typename \
        ... on MessageChanged { *MessageChanged } ... on MessageDelta { *MessageDelta } \
        ... on MessageFinished { *MessageFinished } } }";
    let conversation = "subscription($id: ID!) { conversationEvents(conversationId: $id) { __typename \
        ... on ConversationSnapshot { *ConversationSnapshot } ... on MessageAdded { *MessageAdded } \
        ... on MessageChanged { *MessageChanged } ... on MessageDelta { *MessageDelta } \
        ... on MessageFinished { *MessageFinished } \
        ... on ConversationChanged { *ConversationChanged } \
        ... on ConversationDeleted { *ConversationDeleted } } }";
    let mut cases: Vec<Case> = ["$Message", "$running"]
        .map(|message| {
            case(
                &format!("messageStream: {message}"),
                stream,
                json!({ "id": message }),
                Outcome::NotFound,
            )
        })
        .into();
    cases.push(case(
        "conversationEvents",
        conversation,
        json!({ "id": "$Conversation" }),
        Outcome::NotFound,
    ));
    cases
}

/// Those that destroy last: the owner, too, runs each once.
fn mutations() -> Vec<Case> {
    use Outcome::{Allowed, Governs, NotFound, Own, Refused};
    let start = "mutation($key: String) { startChat(input: { title: \"mine\", idempotencyKey: $key }) \
        { conversation { title } } }";
    let started = Own(json!({ "startChat": { "conversation": { "title": "mine" } } }));
    let conversation = json!({ "id": "$Conversation" });
    vec![
        // Twice: the key is their own when they use it again, too.
        case(
            "startChat",
            start,
            json!({ "key": "$key" }),
            started.clone(),
        ),
        case("startChat again", start, json!({ "key": "$key" }), started),
        case(
            "startChat: all of it",
            "mutation { startChat(input: { title: \"mine\", message: \"hello\" }) { *StartChatPayload } }",
            json!({}),
            Allowed("own"),
        ),
        case(
            "editMessage",
            "mutation($id: ID!) { editMessage(input: { messageId: $id, content: \"mine\" }) { *EditMessagePayload } }",
            json!({ "id": "$edited" }),
            NotFound,
        ),
        case(
            "regenerateReply",
            "mutation($id: ID!) { regenerateReply(input: { messageId: $id }) { *RegenerateReplyPayload } }",
            json!({ "id": "$regenerated" }),
            NotFound,
        ),
        case(
            "selectVersion",
            "mutation($id: ID!) { selectVersion(input: { messageId: $id }) { *SelectVersionPayload } }",
            json!({ "id": "$question" }),
            NotFound,
        ),
        case(
            "rateMessage",
            "mutation($id: ID!) { rateMessage(input: { messageId: $id, rating: UP, comment: \"mine\" }) { *RateMessagePayload } }",
            json!({ "id": "$Message" }),
            NotFound,
        ),
        case(
            "sendMessage",
            "mutation($id: ID!) { sendMessage(input: { conversationId: $id, content: \"mine\" }) { *SendMessagePayload } }",
            conversation.clone(),
            NotFound,
        ),
        case(
            "sendMessage, stopping hers",
            "mutation($id: ID!) { sendMessage(input: { conversationId: $id, content: \"mine\", whenBusy: STOP }) { conversation { id } } }",
            json!({ "id": "$running conversation" }),
            NotFound,
        ),
        case(
            "stopReply",
            "mutation($id: ID!) { stopReply(input: { messageId: $id }) { *StopReplyPayload } }",
            json!({ "id": "$running" }),
            NotFound,
        ),
        case(
            "updateConversation",
            "mutation($id: ID!) { updateConversation(input: { conversationId: $id, title: \"taken\" }) { *UpdateConversationPayload } }",
            conversation.clone(),
            NotFound,
        ),
        case(
            "resetConversation",
            "mutation($id: ID!) { resetConversation(input: { conversationId: $id }) { *ResetConversationPayload } }",
            conversation.clone(),
            NotFound,
        ),
        case(
            "deleteConversation",
            "mutation($id: ID!) { deleteConversation(input: { conversationId: $id }) { *DeleteConversationPayload } }",
            conversation,
            NotFound,
        ),
        case(
            "revokeApiKey",
            "mutation($id: ID!) { revokeApiKey(input: { apiKeyId: $id }) { *RevokeApiKeyPayload } }",
            json!({ "id": "$ApiKey" }),
            NotFound,
        ),
        case(
            "createApiKey",
            "mutation { createApiKey(input: { name: \"mine\", scopes: [READ] }) { *CreateApiKeyPayload } }",
            json!({}),
            Allowed("own"),
        ),
        case(
            "suspendUser",
            "mutation($id: ID!) { suspendUser(input: { userId: $id }) { *SuspendUserPayload } }",
            json!({ "id": "$User" }),
            Refused("FORBIDDEN"),
        )
        .for_admins(Governs),
        case(
            "restoreUser",
            "mutation($id: ID!) { restoreUser(input: { userId: $id }) { *RestoreUserPayload } }",
            json!({ "id": "$User" }),
            Refused("FORBIDDEN"),
        )
        .for_admins(Governs),
        case(
            "deleteUser",
            "mutation($id: ID!) { deleteUser(input: { userId: $id }) { *DeleteUserPayload } }",
            json!({ "id": "$User" }),
            Refused("FORBIDDEN"),
        )
        .for_admins(Governs),
        case(
            "deleteViewer",
            "mutation($name: String!) { deleteViewer(input: { confirmExternalId: $name }) { *DeleteViewerPayload } }",
            json!({ "name": "$name" }),
            Refused("BAD_USER_INPUT"),
        ),
    ]
}
