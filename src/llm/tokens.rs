//! How many tokens a text is.
//!
//! A model's maker has its own way of cutting text into tokens. Those of OpenAI's models are known
//! here and counted exactly; for any other model the count is an estimate by the newest of them.
//! Counting takes time in proportion to the text, whatever stands in it, and reads the vocabulary
//! into memory at the first text: 0.1 s and 45 MB, so not on a thread that others wait for.

use bpe_openai::{cl100k_base, o200k_base};

use super::{Turn, known::Known};

/// What the protocol puts around each turn, in tokens.
pub const AROUND_A_TURN: usize = 4;

/// What it puts before the answer.
pub const BEFORE_THE_ANSWER: usize = 3;

/// Which vocabulary a model reads with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vocabulary {
    /// GPT-4o and all newer models of OpenAI's.
    O200k,
    /// GPT-4 and GPT-3.5.
    Cl100k,
}

/// Counts as one model does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tokenizer {
    vocabulary: Vocabulary,
    is_exact: bool,
}

impl Tokenizer {
    pub fn of(model: &str) -> Self {
        match Known::find(model) {
            Some(known) => Self {
                vocabulary: known.vocabulary,
                is_exact: true,
            },
            None => Self {
                vocabulary: Vocabulary::O200k,
                is_exact: false,
            },
        }
    }

    /// Whether the model itself counts so.
    pub const fn is_exact(self) -> bool {
        self.is_exact
    }

    /// At most one for each byte of the text, whatever the model.
    pub fn count(self, text: &str) -> usize {
        self.vocabulary().count(text)
    }

    /// `None`: more than `most`, which is found out in time proportional to `most`.
    pub fn count_up_to(self, text: &str, most: usize) -> Option<usize> {
        let vocabulary = self.vocabulary();
        vocabulary.count_till_limit(&vocabulary.normalize(text), most)
    }

    /// A whole prompt, as far as a model's server counts it.
    pub fn count_prompt(self, turns: &[Turn]) -> usize {
        let turns = turns.iter();
        BEFORE_THE_ANSWER
            + turns
                .map(|turn| AROUND_A_TURN + self.count(&turn.text))
                .sum::<usize>()
    }

    fn vocabulary(self) -> &'static bpe_openai::Tokenizer {
        match self.vocabulary {
            Vocabulary::O200k => o200k_base(),
            Vocabulary::Cl100k => cl100k_base(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn texts_are_counted_as_the_makers_count_them() {
        let (new, old) = (Tokenizer::of("gpt-4.1-mini"), Tokenizer::of("gpt-4"));
        for (text, newer, older) in [
            ("", 0, 0),
            ("Hello, world!", 4, 4),
            ("naïve Größe", 4, 5),
            ("日本語の文章", 4, 6),
            ("👩‍👩‍👧‍👦", 11, 18),
        ] {
            assert_eq!((new.count(text), old.count(text)), (newer, older), "{text}");
            assert!(newer <= text.len() && older <= text.len());
        }
        assert!(new.is_exact() && old.is_exact());
        assert!(!Tokenizer::of("llama3.2").is_exact());
    }

    #[test]
    fn counting_stops_where_it_is_over() {
        let tokenizer = Tokenizer::of("gpt-4o");
        assert_eq!(tokenizer.count_up_to("Hello, world!", 4), Some(4));
        assert_eq!(tokenizer.count_up_to("Hello, world!", 3), None);
        assert_eq!(tokenizer.count_up_to("", 0), Some(0));
    }

    #[test]
    fn no_text_takes_more_than_time_in_proportion_to_it() {
        let tokenizer = Tokenizer::of("gpt-4o");
        tokenizer.count("loaded");
        for unit in [
            "a",
            "A",
            " ",
            "\n",
            "\n ",
            "!",
            "7",
            "aA",
            "\u{301}",
            "日",
            "\t\t\t\ta",
        ] {
            let text = format!("{}x", unit.repeat(200_000 / unit.len()));
            let start = Instant::now();
            tokenizer.count(&text);
            // In the square of its length it would be minutes.
            assert!(start.elapsed().as_secs() < 10, "{unit:?}");
        }
    }
}
