//! The tree of versions: edits, replies written anew, and the way back.

mod answers;
mod busy;
mod pages;

mod random;
mod tree;

use loquat::{
    chat::{ChatError, EditMessage, RegenerateReply, Regenerated, Sent},
    db::Viewer,
    model::{ConversationId, Message, MessageId, PageRequest, Slice},
};

use crate::support::Replica;

/// Sends a message and has it answered.
async fn exchange(
    replica: &Replica,
    viewer: &Viewer,
    conversation: ConversationId,
    content: &str,
) -> Sent {
    let sent = replica.send(viewer, conversation, content).await;
    let sent = sent.expect("sent");
    answer(replica, viewer, sent.reply.id, "answer to ", content).await;
    sent
}

async fn edit(
    replica: &Replica,
    viewer: &Viewer,
    message_id: MessageId,
    content: &str,
) -> Result<Sent, ChatError> {
    edit_with_key(replica, viewer, message_id, content, None).await
}

async fn edit_with_key(
    replica: &Replica,
    viewer: &Viewer,
    message_id: MessageId,
    content: &str,
    key: Option<&str>,
) -> Result<Sent, ChatError> {
    let input = EditMessage {
        message_id,
        content: content.to_owned(),
        idempotency_key: key.map(str::to_owned),
    };
    replica.chat.edit_message(viewer, input).await
}

/// Edits a message and has it answered.
async fn edited(replica: &Replica, viewer: &Viewer, message_id: MessageId, content: &str) -> Sent {
    let sent = edit(replica, viewer, message_id, content).await;
    let sent = sent.expect("edited");
    answer(replica, viewer, sent.reply.id, "answer to ", content).await;
    sent
}

async fn regenerate(
    replica: &Replica,
    viewer: &Viewer,
    message_id: MessageId,
    key: Option<&str>,
) -> Result<Regenerated, ChatError> {
    let input = RegenerateReply {
        message_id,
        model: None,
        idempotency_key: key.map(str::to_owned),
    };
    replica.chat.regenerate_reply(viewer, input).await
}

/// Has a reply written anew.
async fn regenerated(
    replica: &Replica,
    viewer: &Viewer,
    message_id: MessageId,
    content: &str,
) -> Regenerated {
    let made = regenerate(replica, viewer, message_id, None).await;
    let made = made.expect("written anew");
    answer(replica, viewer, made.reply.id, "", content).await;
    made
}

async fn answer(replica: &Replica, viewer: &Viewer, reply: MessageId, said: &str, more: &str) {
    let writing = replica.desk.next().await;
    writing.say(said);
    writing.say(more);
    writing.finish();
    replica.follow(viewer, reply).await.finished().await;
}

/// The active path, as a page of history shows it.
async fn path(replica: &Replica, viewer: &Viewer, conversation: ConversationId) -> Vec<Message> {
    let whole = PageRequest {
        slice: Slice::First(100),
        after: None,
        before: None,
    };
    let pages = replica
        .chat
        .path_pages(viewer, &[conversation], whole, usize::MAX)
        .await;
    pages.expect("a page").remove(0).page.items
}

fn texts(path: &[Message]) -> Vec<&str> {
    path.iter()
        .map(|message| message.content.as_str())
        .collect()
}
