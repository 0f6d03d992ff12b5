//! What the model is shown: standing instructions, then as much of the conversation as fits.
//!
//! Invariant: instructions and the message to be answered are never left out. What is left out is
//! the oldest, in whole exchanges, so that no answer stands there without its question.

mod window;

use crate::{
    llm::{AROUND_A_TURN, BEFORE_THE_ANSWER, Prompt, Turn, TurnRole},
    model::{Message, MessageRole},
};

pub use window::Window;

/// What a reply may be shown.
#[derive(Debug)]
pub struct Material {
    pub model: String,
    /// Standing instructions first, then the conversation's own; blank ones count for none.
    pub instructions: Vec<String>,
    /// Oldest first, up to the message to be answered. The oldest may be missing.
    pub path: Vec<Message>,
}

/// Instructions and question alone are more than the model reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl Material {
    /// Whether [`Material::assemble`] has to count, which takes its time.
    pub fn needs_counting(&self, window: Window) -> bool {
        self.at_most() > window.for_turns()
    }

    /// The prompt. A message without text (a reply that failed before its first word) is left out.
    pub fn assemble(&self, window: Window) -> Result<Prompt, TooLong> {
        let system = self.system();
        let exchanges = self.exchanges();
        let mut first = 0;
        let mut size = self.at_most();
        if self.needs_counting(window) {
            (first, size) = fit(&system, &exchanges, window)?;
        }
        let messages = exchanges[first..].concat();
        Ok(Prompt {
            model: self.model.clone(),
            turns: turns(system, &messages).into(),
            max_tokens: window.max_tokens(size),
        })
    }

    fn system(&self) -> String {
        let said: Vec<&str> = self
            .instructions
            .iter()
            .map(String::as_str)
            .filter(|text| !text.trim().is_empty())
            .collect();
        said.join("\n\n")
    }

    /// Each begins with a message of the user's; only the greeting stands alone, as the first.
    fn exchanges(&self) -> Vec<Vec<&Message>> {
        let mut exchanges: Vec<Vec<&Message>> = Vec::new();
        for message in self
            .path
            .iter()
            .filter(|message| !message.content.is_empty())
        {
            match exchanges.last_mut() {
                Some(exchange) if message.role == MessageRole::Assistant => exchange.push(message),
                None if message.role == MessageRole::Assistant && message.parent_id.is_some() => {}
                _ => exchanges.push(vec![message]),
            }
        }
        exchanges
    }

    /// No token is shorter than a byte.
    fn at_most(&self) -> usize {
        let around = AROUND_A_TURN * (self.path.len() + 1) + BEFORE_THE_ANSWER;
        let instructions = self.instructions.iter().map(|text| text.len() + 2);
        let path = self.path.iter().map(|message| message.content.len());
        around + instructions.chain(path).sum::<usize>()
    }
}

/// The first exchange of as many of the last ones as fit, and how many tokens that makes.
fn fit<'m>(
    system: &str,
    exchanges: &[Vec<&'m Message>],
    window: Window,
) -> Result<(usize, usize), TooLong> {
    let count = |texts: &[&str], most: usize| {
        texts.iter().try_fold(0, |sum, text| {
            let around = sum + AROUND_A_TURN;
            let counted = window
                .tokenizer
                .count_up_to(text, most.checked_sub(around)?)?;
            Some(around + counted)
        })
    };
    let texts = |exchange: &[&'m Message]| -> Vec<&'m str> {
        exchange.iter().map(|message| &*message.content).collect()
    };
    let Some((last, earlier)) = exchanges.split_last() else {
        return Ok((0, 0));
    };
    let needed = [&[system], &*texts(last)].concat();
    let most = window.at_most().saturating_sub(BEFORE_THE_ANSWER);
    let mut size = BEFORE_THE_ANSWER + count(&needed, most).ok_or(TooLong)?;
    let mut first = earlier.len();
    for exchange in earlier.iter().rev() {
        let left = window.for_turns().saturating_sub(size);
        match count(&texts(exchange), left) {
            Some(counted) => size += counted,
            None => break,
        }
        first -= 1;
    }
    Ok((first, size))
}

/// Neighbours of one role become one turn, since many models insist that the roles alternate.
fn turns(system: String, messages: &[&Message]) -> Vec<Turn> {
    let mut turns: Vec<Turn> = Vec::with_capacity(messages.len() + 1);
    if !system.is_empty() {
        turns.push(Turn {
            role: TurnRole::System,
            text: system,
        });
    }
    for message in messages {
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
    use crate::{
        config::{ChatSettings, ContextSettings},
        model::{ConversationId, MessageId, MessageStatus},
    };

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

    /// Questions and answers in turn, the last a question.
    fn material(system: &str, texts: &[&str]) -> Material {
        let roles = [MessageRole::User, MessageRole::Assistant];
        let texts = texts.iter().zip(roles.iter().cycle());
        Material {
            model: "gpt-4".to_owned(),
            instructions: vec![system.to_owned()],
            path: texts.map(|(text, role)| message(*role, text)).collect(),
        }
    }

    fn window(context: u32) -> Window {
        let settings = ChatSettings {
            context: ContextSettings {
                every: Some(context),
                ..ContextSettings::default()
            },
            ..ChatSettings::default()
        };
        Window::of("gpt-4", &settings)
    }

    fn shown(prompt: &Prompt) -> Vec<(TurnRole, &str)> {
        let turns = prompt.turns.iter();
        turns.map(|turn| (turn.role, turn.text.as_str())).collect()
    }

    #[test]
    fn instructions_come_first_and_a_reply_without_text_leaves_no_turn() {
        let mut material = material("be kind", &["one", "", "two", "answer", "three"]);
        material
            .instructions
            .extend(["  ".to_owned(), "be brief".to_owned()]);
        let prompt = material.assemble(window(8_000)).unwrap();
        assert_eq!(
            shown(&prompt),
            [
                (TurnRole::System, "be kind\n\nbe brief"),
                (TurnRole::User, "one\n\ntwo"),
                (TurnRole::Assistant, "answer"),
                (TurnRole::User, "three"),
            ]
        );
    }

    #[test]
    fn the_oldest_exchanges_are_left_out_whole_and_never_instructions_or_the_question() {
        let word = "word ".repeat(100);
        let texts = ["first", &word, "second", &word, "third", &word, "last"];
        let material = material("be kind", &texts);
        // Of each context a quarter is the answer's; an exchange has about 110 tokens.
        for (context, first) in [
            (600, "first"),
            (400, "second"),
            (300, "third"),
            (150, "last"),
        ] {
            let prompt = material.assemble(window(context)).unwrap();
            let shown = shown(&prompt);
            assert_eq!(shown[0], (TurnRole::System, "be kind"));
            assert_eq!(shown[1], (TurnRole::User, first), "{context}");
            assert_eq!(shown.last(), Some(&(TurnRole::User, "last")));
            let size = window(context).tokenizer.count_prompt(&prompt.turns);
            assert!(size <= window(context).for_turns(), "{size} of {context}");
        }
        assert!(material.assemble(window(20)).is_ok());
        assert_eq!(material.assemble(window(10)).unwrap_err(), TooLong);
    }

    #[test]
    fn the_greeting_goes_first_and_no_other_answer_begins_a_prompt() {
        let word = "word ".repeat(100);
        let mut greeted = material("", &["hi", &word, "second", &word, "last"]);
        greeted
            .path
            .insert(0, message(MessageRole::Assistant, "Hello!"));
        let roles = |material: &Material, context| {
            let prompt = material.assemble(window(context)).unwrap();
            shown(&prompt)[0].1.to_owned()
        };
        assert_eq!(roles(&greeted, 8_000), "Hello!");
        assert_eq!(roles(&greeted, 312), "hi");
        assert_eq!(roles(&greeted, 200), "second");

        // The path was cut where it was read.
        let mut cut = material("", &["hi", "answer", "last"]);
        cut.path[1].parent_id = Some(cut.path[0].id);
        cut.path.remove(0);
        assert_eq!(roles(&cut, 8_000), "last");
    }

    #[test]
    fn what_a_failed_question_holds_is_left_out_before_the_last_one() {
        let long = "word ".repeat(1_000);
        let material = material("", &[&long, "", "last"]);
        let prompt = material.assemble(window(1_000)).unwrap();
        assert_eq!(shown(&prompt), [(TurnRole::User, "last")]);
    }

    #[test]
    fn a_short_conversation_is_not_counted() {
        let material = material("be kind", &["hi"]);
        assert!(!material.needs_counting(window(8_000)));
        assert!(material.needs_counting(window(20)));
    }
}
