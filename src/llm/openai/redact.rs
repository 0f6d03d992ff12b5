//! What of a provider's own words may go to the log.
//!
//! They tell whoever runs the server what is wrong, but they are not ours: providers repeat wrong
//! keys, and some repeat what they were sent. Invariant: what passes is short, and holds neither a
//! key nor a piece of the prompt.

use crate::llm::Prompt;

/// The most of a provider's words that goes to the log, in characters.
const LOGGED: usize = 200;

/// So many characters in a row that also stand in the prompt are no coincidence. Every other half
/// of it is looked for, so that a run of one and a half is never missed.
const PIECE: usize = 12;

/// A whole turn that is shorter than what pieces find is looked for too, from this on.
const SHORTEST_TURN: usize = 3;

/// The words, or what stands for them.
pub(super) fn loggable(words: &str, key: Option<&str>, prompt: &Prompt) -> String {
    let words = without_keys(words, key);
    if repeats(&words, prompt) {
        "in words that repeat the prompt".to_owned()
    } else {
        words
    }
}

/// The beginning of a text, without keys: neither this server's, nor what looks like one, since
/// providers repeat wrong keys, some with a few characters blotted out.
pub(super) fn without_keys(text: &str, key: Option<&str>) -> String {
    let text = match key {
        Some(key) if !key.is_empty() => text.replace(key, "[key]"),
        _ => text.to_owned(),
    };
    let mut redacted = String::new();
    for word in text.split_inclusive(char::is_whitespace) {
        let start = word
            .match_indices("sk-")
            .map(|(start, _)| start)
            .find(|start| !word[..*start].ends_with(char::is_alphanumeric));
        match start {
            Some(start) => {
                redacted.push_str(&word[..start]);
                redacted.push_str("[key] ");
            }
            None => redacted.push_str(word),
        }
    }
    redacted.trim_end().chars().take(LOGGED).collect()
}

fn repeats(words: &str, prompt: &Prompt) -> bool {
    let characters: Vec<char> = words.chars().collect();
    let pieces: Vec<String> = characters
        .windows(PIECE)
        .step_by(PIECE / 2)
        .map(|piece| piece.iter().collect())
        .collect();
    prompt.turns.iter().any(|turn| {
        let text = turn.text.trim();
        (text.chars().nth(SHORTEST_TURN - 1).is_some() && words.contains(text))
            || pieces.iter().any(|piece| text.contains(piece))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::{Turn, TurnRole};

    fn prompt(text: &str) -> Prompt {
        Prompt {
            model: "small".to_owned(),
            turns: [Turn {
                role: TurnRole::User,
                text: text.to_owned(),
            }]
            .into(),
            max_tokens: None,
        }
    }

    #[test]
    fn keys_do_not_pass_and_long_words_are_cut() {
        let none = prompt("");
        assert_eq!(
            loggable("(sk-1) on the disk-full task", None, &none),
            "([key] on the disk-full task"
        );
        assert_eq!(
            loggable("not local-key", Some("local-key"), &none),
            "not [key]"
        );
        let long = loggable(&"é".repeat(1000), None, &none);
        assert_eq!(long.chars().count(), LOGGED);
    }

    #[test]
    fn words_that_repeat_a_piece_of_the_prompt_or_a_short_one_do_not_pass() {
        let long = prompt("Dear doctor, since Monday there is a rash on my left arm.");
        for words in [
            "invalid input: 'Dear doctor, since Monday there…'",
            "cannot parse: a rash on my left arm.",
        ] {
            assert!(loggable(words, None, &long).contains("repeat"), "{words}");
        }
        assert!(loggable("invalid input: 'why?'", None, &prompt(" why?\n")).contains("repeat"));
        let words = "The model `large` does not exist.";
        assert_eq!(loggable(words, None, &long), words);
        assert_eq!(loggable(words, None, &prompt("a")), words);
    }
}
