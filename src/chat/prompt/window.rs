//! How much a model reads at once, and how much of that a prompt may have.

use crate::{
    config::ChatSettings,
    llm::{Known, Tokenizer},
};

/// The context of a model that nobody has said anything of. Taken for smaller than it is, a large
/// model would forget what was said an hour ago, and nobody would know why; taken for larger, a
/// small one refuses, says its size, and is asked again with less.
const UNKNOWN_CONTEXT: u32 = 128_000;

/// The most room that is kept for an answer by itself.
const LONGEST_REPLY: u32 = 16_384;

/// How much of a conversation is read for a prompt, in bytes, however much the model reads.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Tokens that are known to be counted as the model counts them are worth one each, others so many
/// hundredths: the vocabularies of other makers cut most texts into up to a quarter more.
const ESTIMATED_WORTH: usize = 80;

/// What a prompt may take up. All in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub tokenizer: Tokenizer,
    context: usize,
    /// Whether somebody has said what the context is: the settings, the model's maker or its server.
    is_known: bool,
    /// The longest reply, where the settings limit it.
    max_reply: Option<u32>,
}

impl Window {
    pub fn of(model: &str, settings: &ChatSettings) -> Self {
        let context = &settings.context;
        let said = context.models.get(model).copied().or(context.every);
        let known = said.or_else(|| Known::find(model).map(|known| known.context));
        Self {
            tokenizer: Tokenizer::of(model),
            context: tokens(known.unwrap_or(UNKNOWN_CONTEXT)),
            is_known: known.is_some(),
            max_reply: settings.max_reply_tokens,
        }
    }

    /// The window of a model that refused a prompt of so many tokens, and may have said why. If it
    /// has not, half of that is a guess.
    pub fn after_refusal(self, sent: usize, said: Option<u32>) -> Self {
        let said = said.map(tokens).filter(|context| *context < sent);
        Self {
            context: said.unwrap_or(sent / 2),
            is_known: said.is_some(),
            ..self
        }
    }

    /// What a prompt may have by which turns are left out: the rest is the answer's.
    pub fn for_turns(self) -> usize {
        let room = self.context - self.for_reply();
        if self.tokenizer.is_exact() {
            room
        } else {
            room * ESTIMATED_WORTH / 100
        }
    }

    /// What a prompt may have of which nothing can be left out. It is not turned away on a guess.
    pub fn at_most(self) -> usize {
        if self.is_known {
            self.context - self.for_reply().min(self.context / 16)
        } else {
            usize::MAX
        }
    }

    /// The limit of the answer to a prompt of so many tokens, where it has one.
    pub fn max_tokens(self, prompt: usize) -> Option<u32> {
        let limit = self.max_reply?;
        if !self.is_known {
            return Some(limit);
        }
        let left = u32::try_from(self.context.saturating_sub(prompt)).unwrap_or(u32::MAX);
        let most = u32::try_from(self.for_reply()).unwrap_or(u32::MAX);
        Some(most.min(left.max(1)))
    }

    /// How much text is worth reading for a prompt, in bytes: more than so many a token is rare.
    pub fn bytes(self) -> i64 {
        let bytes = self.context.saturating_mul(8).min(MAX_BYTES);
        i64::try_from(bytes).unwrap_or(i64::MAX)
    }

    fn for_reply(self) -> usize {
        match self.max_reply {
            Some(most) => tokens(most).min(self.context / 2),
            None => tokens(LONGEST_REPLY).min(self.context / 4),
        }
    }
}

fn tokens(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ContextSettings;

    fn settings(every: Option<u32>, max_reply_tokens: Option<u32>) -> ChatSettings {
        ChatSettings {
            context: ContextSettings {
                every,
                models: [("own".to_owned(), 4_000)].into(),
            },
            max_reply_tokens,
            ..ChatSettings::default()
        }
    }

    #[test]
    fn the_settings_know_better_than_the_table_and_the_table_better_than_a_guess() {
        let none = settings(None, None);
        for (model, context, is_known) in [
            ("own", 4_000, true),
            ("gpt-4", 8_192, true),
            ("llama3.2", 128_000, false),
        ] {
            let window = Window::of(model, &none);
            assert_eq!(
                (window.context, window.is_known),
                (context, is_known),
                "{model}"
            );
        }
        let one = settings(Some(32_000), None);
        assert_eq!(Window::of("gpt-4", &one).context, 32_000);
        assert_eq!(Window::of("own", &one).context, 4_000);
    }

    #[test]
    fn room_is_kept_for_the_answer_and_for_what_an_estimate_misses() {
        let none = settings(None, None);
        assert_eq!(Window::of("gpt-4", &none).for_turns(), 6_144);
        assert_eq!(Window::of("gpt-4", &none).at_most(), 7_680);
        assert_eq!(Window::of("gpt-4o", &none).for_turns(), 128_000 - 16_384);
        assert_eq!(Window::of("own", &none).for_turns(), 2_400);
        assert_eq!(Window::of("llama3.2", &none).at_most(), usize::MAX);
        assert_eq!(Window::of("own", &none).max_tokens(10), None);

        let limited = settings(None, Some(1_000));
        assert_eq!(Window::of("gpt-4", &limited).for_turns(), 7_192);
        assert_eq!(Window::of("gpt-4", &limited).max_tokens(7_192), Some(1_000));
        assert_eq!(Window::of("gpt-4", &limited).max_tokens(7_600), Some(592));
        // A limit that leaves no room for a question is not kept.
        let huge = settings(None, Some(1_000_000));
        assert_eq!(Window::of("gpt-4", &huge).for_turns(), 4_096);
    }

    #[test]
    fn a_refusal_makes_the_room_smaller_by_what_it_says_or_by_half() {
        let window = Window::of("llama3.2", &settings(None, None));
        for (said, context, is_known) in [
            (None, 5_000, false),
            (Some(8_192), 8_192, true),
            (Some(10_000), 5_000, false),
            (Some(0), 0, true),
        ] {
            let smaller = window.after_refusal(10_000, said);
            assert_eq!((smaller.context, smaller.is_known), (context, is_known));
            assert!(smaller.for_turns() <= context);
            assert_eq!(smaller.at_most() <= context, is_known);
        }
    }

    #[test]
    fn a_guess_takes_nothing_from_the_answer() {
        let limited = settings(None, Some(1_000));
        let guessed = Window::of("llama3.2", &limited).after_refusal(10, None);
        assert_eq!(guessed.max_tokens(5_000), Some(1_000));
    }
}
