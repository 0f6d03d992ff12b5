//! The title of a conversation: what a model is asked for, and what is made of its answer.

use super::{Prompt, Turn, TurnRole};

/// The longest title that is made of an answer, in characters.
const LONGEST: usize = 80;

/// The most that an answer may cost. A title has ten tokens; a model that reasons first has hundreds.
const MAX_TOKENS: u32 = 1_000;

/// How much is read of a model that says no title, in bytes.
const MAX_BYTES: usize = 16 * 1024;

/// How a conversation begins that has no title yet.
#[derive(Clone, Debug)]
pub struct Untitled {
    pub model: String,
    pub question: String,
    pub answer: String,
}

impl Untitled {
    /// One turn that holds all: small models take an answer in a turn of its own for theirs, and go
    /// on with the conversation.
    pub fn into_prompt(self) -> Prompt {
        let text = format!(
            "Write a title of three to six words for the conversation below, in the language of \
             its user. Answer with the title alone, on one line, without quotation marks.\n\n\
             <conversation>\nUser: {}\n\nAssistant: {}\n</conversation>\n\nTitle:",
            self.question.trim(),
            self.answer.trim()
        );
        Prompt {
            model: self.model,
            turns: [Turn {
                role: TurnRole::User,
                text,
            }]
            .into(),
            max_tokens: Some(MAX_TOKENS),
        }
    }
}

/// Whether the rest of an answer can be spared.
pub fn is_enough(answer: &str) -> bool {
    let said = thoughtless(answer).trim_start();
    let line_ends = said
        .split_once('\n')
        .is_some_and(|(line, _)| !announces(line));
    line_ends || said.chars().count() > 4 * LONGEST || answer.len() > MAX_BYTES
}

/// The title that an answer holds, without what models put around it.
pub fn tidy(answer: &str) -> Option<String> {
    let mut lines = thoughtless(answer)
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let first = lines.next()?;
    let line = match lines.next() {
        Some(second) if announces(first) => second,
        _ => first,
    };
    let words: Vec<&str> = line
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    let line = words.join(" ").replace(is_directing, "");
    let mut title = line.as_str();
    loop {
        let bare = unlabelled(title.trim_matches(is_wrapping));
        let bare = bare.strip_suffix(['.', '。']).unwrap_or(bare);
        if bare == title {
            break;
        }
        title = bare;
    }
    (!title.is_empty()).then(|| shorten(title))
}

/// Some servers leave a model's thoughts in its answer.
fn thoughtless(answer: &str) -> &str {
    match answer.trim_start().strip_prefix("<think>") {
        Some(thoughts) => thoughts
            .split_once("</think>")
            .map_or("", |(_, said)| said.trim_start()),
        None => answer.trim_start(),
    }
}

/// "Here is a title for it:"
fn announces(line: &str) -> bool {
    line.trim_end_matches(['*', ' ']).ends_with(':')
}

const fn is_wrapping(c: char) -> bool {
    matches!(
        c,
        ' ' | '"'
            | '\''
            | '`'
            | '*'
            | '_'
            | '#'
            | '“'
            | '”'
            | '„'
            | '‟'
            | '‘'
            | '’'
            | '«'
            | '»'
            | '「'
            | '」'
            | '<'
            | '>'
    )
}

/// What turns the direction of the text behind it, also of that which is no part of the title.
const fn is_directing(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Without "Title:" in front.
fn unlabelled(title: &str) -> &str {
    const LABELS: [&str; 5] = ["title", "titel", "titre", "título", "titolo"];

    match title.split_once([':', '：']) {
        Some((label, rest))
            if LABELS.contains(&label.trim_end_matches(['*', ' ']).to_lowercase().as_str()) =>
        {
            rest.trim_start()
        }
        _ => title,
    }
}

/// At the end of a word where there is one.
fn shorten(title: &str) -> String {
    let Some((most, _)) = title.char_indices().nth(LONGEST) else {
        return title.to_owned();
    };
    let cut = &title[..most];
    let cut = match cut.rsplit_once(' ') {
        Some((words, _)) if words.chars().count() > LONGEST / 2 => words,
        _ => cut,
    };
    format!("{}…", cut.trim_end_matches([' ', ',', ';', ':', '-']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_one_line_without_what_models_put_around_it() {
        for (answer, title) in [
            ("Loquats in spring", "Loquats in spring"),
            (
                "\n  Title: \"Loquats in Spring.\"\n\nI hope",
                "Loquats in Spring",
            ),
            ("**Title:** Loquats", "Loquats"),
            ("# **“Loquats”**", "Loquats"),
            ("Titel : „Wollmispeln“", "Wollmispeln"),
            ("Sure! Here is a title:\n\n\"Loquats\"", "Loquats"),
            ("<think>\nHm.\n\nWhat?\n</think>\n\nLoquats", "Loquats"),
            ("Loquats:\t what\0 are they?", "Loquats: what are they?"),
            ("「ビワの季節」。", "ビワの季節"),
            ("Rust: an introduction", "Rust: an introduction"),
            ("\u{2067}\"\u{202E}Loquats\"", "Loquats"),
        ] {
            assert_eq!(tidy(answer).as_deref(), Some(title), "{answer:?}");
        }
        for nothing in ["", " \n ", "\"\"", "Title:", "<think>still", "**", "."] {
            assert_eq!(tidy(nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn a_long_title_is_cut_at_a_word_and_one_without_words_anywhere() {
        let long = tidy(&"many words ".repeat(20)).unwrap();
        assert!(
            long.ends_with("words…") || long.ends_with("many…"),
            "{long}"
        );
        assert!(long.chars().count() <= LONGEST + 1);
        assert_eq!(
            tidy(&"界".repeat(500)).unwrap().chars().count(),
            LONGEST + 1
        );
    }

    #[test]
    fn no_more_is_read_than_a_title_needs() {
        for (answer, enough) in [
            ("Loquats", false),
            ("Loquats\n", true),
            ("\n\nLoquats", false),
            ("Here it is:\n", false),
            ("<think>\na\n", false),
            ("<think>\na\n</think>\nLoquats\n", true),
        ] {
            assert_eq!(is_enough(answer), enough, "{answer:?}");
        }
        assert!(is_enough(&"word ".repeat(100)));
        assert!(is_enough(&format!("<think>{}", "word ".repeat(4_000))));
    }
}
