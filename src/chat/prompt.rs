//! What the model is shown: standing instructions, then the conversation so far.

use crate::{
    llm::{Turn, TurnRole},
    model::{Message, MessageRole},
};

/// The turns of a prompt. `path` ends with the message to be answered. A message without text (a
/// reply that failed before its first word) is left out, and neighbours of one role become one
/// turn, since many models insist that the roles alternate.
pub fn turns(instructions: &[&str], path: &[Message]) -> Vec<Turn> {
    let mut turns: Vec<Turn> = Vec::with_capacity(path.len() + 1);
    let system = instructions.join("\n\n");
    if !system.is_empty() {
        turns.push(Turn {
            role: TurnRole::System,
            text: system,
        });
    }
    for message in path {
        if message.content.is_empty() {
            continue;
        }
        let role = match message.role {
            MessageRole::User => TurnRole::User,
            MessageRole::Assistant => TurnRole::Assistant,
        };
        match turns.last_mut() {
            Some(last) if last.role == role => {
                last.text.push_str("\n\n");
                last.text.push_str(&message.content);
            }
            _ => turns.push(Turn {
                role,
                text: message.content.clone(),
            }),
        }
    }
    turns
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::*;
    use crate::model::{ConversationId, MessageId, MessageStatus};

    fn message(role: MessageRole, content: &str) -> Message {
        Message {
            id: MessageId::new(),
            conversation_id: ConversationId::new(),
            parent_id: None,
            active: true,
            position: 0,
            version_number: 1,
            revision: 1,
            role,
            content: content.to_owned(),
            status: MessageStatus::Completed,
            error: None,
            truncated: false,
            model: None,
            usage: None,
            feedback: None,
            idempotency_key: None,
            created_at: Utc::now(),
            completed_at: None,
        }
    }

    #[test]
    fn instructions_come_first_and_a_reply_without_text_leaves_no_turn() {
        let path = [
            message(MessageRole::User, "one"),
            message(MessageRole::Assistant, ""),
            message(MessageRole::User, "two"),
            message(MessageRole::Assistant, "answer"),
            message(MessageRole::User, "three"),
        ];
        let turns: Vec<_> = turns(&["be kind", "be brief"], &path)
            .into_iter()
            .map(|turn| (turn.role, turn.text))
            .collect();
        assert_eq!(
            turns,
            [
                (TurnRole::System, "be kind\n\nbe brief".to_owned()),
                (TurnRole::User, "one\n\ntwo".to_owned()),
                (TurnRole::Assistant, "answer".to_owned()),
                (TurnRole::User, "three".to_owned()),
            ]
        );
    }
}
