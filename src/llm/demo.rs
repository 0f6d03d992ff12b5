//! The built-in demo assistant: something to chat with before a model is configured.
//!
//! It is no model and says so. What it writes depends on the prompt alone, shows that the prompt
//! reached it, and holds one of everything that a front end has to render. Its usage counts
//! words: each run of text up to the end of the white space behind it is one token.

use std::{fmt::Write, time::Duration};

use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use tokio::time::sleep;

use super::{FinishReason, Prompt, Provider, ProviderError, ReplyEvent, TurnRole, Untitled};
use crate::model::TokenUsage;

/// About 40 words a second: faster than one reads, slow enough to watch.
const PACE: Duration = Duration::from_millis(25);

/// How much of the user's message is repeated, in characters.
const QUOTED: usize = 160;

/// How many words of it make a title.
const TITLE: usize = 6;

/// What "long" means where no number is given, in words.
const LONG: usize = 600;

/// The longest answer that can be asked for, in words.
const LONGEST: usize = 20_000;

#[derive(Clone, Debug)]
pub struct Demo {
    pace: Duration,
}

impl Default for Demo {
    fn default() -> Self {
        Self::with_pace(PACE)
    }
}

impl Demo {
    /// With a wait of one's own before each word; zero is no wait at all.
    pub const fn with_pace(pace: Duration) -> Self {
        Self { pace }
    }
}

impl Provider for Demo {
    fn reply(&self, prompt: Prompt) -> BoxStream<'static, Result<ReplyEvent, ProviderError>> {
        let pace = self.pace;
        let text = answer(&prompt);
        let words: Vec<String> = words(&text).map(ToOwned::to_owned).collect();
        let asked = prompt.turns.iter().map(|turn| words_in(&turn.text)).sum();
        let finished = ReplyEvent::Finished {
            reason: FinishReason::Complete,
            usage: Some(TokenUsage::of(asked, words.len())),
        };
        let deltas = stream::iter(words).then(move |word| async move {
            if !pace.is_zero() {
                sleep(pace).await;
            }
            ReplyEvent::Delta(word)
        });
        deltas.chain(stream::iter([finished])).map(Ok).boxed()
    }

    /// What the user's message begins with.
    fn title(&self, untitled: Untitled) -> BoxStream<'static, Result<ReplyEvent, ProviderError>> {
        let question = untitled.question.split_whitespace();
        let title = question.take(TITLE).collect::<Vec<_>>().join(" ");
        let finished = ReplyEvent::Finished {
            reason: FinishReason::Complete,
            usage: Some(TokenUsage::of(
                words_in(&untitled.question),
                words_in(&title),
            )),
        };
        let delta = (!title.is_empty()).then_some(ReplyEvent::Delta(title));
        stream::iter(delta.into_iter().chain([finished]).map(Ok)).boxed()
    }
}

fn answer(prompt: &Prompt) -> String {
    let said = |role| {
        prompt
            .turns
            .iter()
            .filter(move |turn| turn.role == role)
            .map(|turn| turn.text.as_str())
    };
    let questions: Vec<&str> = said(TurnRole::User).collect();
    let question = questions.last().copied().unwrap_or_default();
    let turn = questions.len();
    let answers = said(TurnRole::Assistant).count();
    let instructions = match said(TurnRole::System).count() {
        0 => "none",
        _ => "some",
    };
    let quoted = quote(question);
    let units = question.encode_utf16().count();

    let mut text = format!(
        "## Hello from Loquat's demo assistant 👋\n\n\
         I am **not a language model**: I am a part of the server that writes the same answer to \
         the same conversation, so that there is something to chat with before a model is \
         configured. This is turn {turn}, and you wrote:\n\n\
         > “{quoted}”\n\n"
    );
    if let [.., before, _] = questions.as_slice() {
        let _ = write!(text, "Before that you wrote “{}”. ", quote(before));
    }
    let _ = write!(
        text,
        "This is what reached me:\n\n\
         | Part of the prompt | What it held |\n\
         |:---|---:|\n\
         | Messages of yours | {turn} |\n\
         | Replies of mine | {answers} |\n\
         | Standing instructions | {instructions} |\n\
         | UTF-16 units in your message | {units} |\n\n\
         A few things to try while I write:\n\n\
         - reload the page, or open it in a second window: the text goes on where it was; ✂️\n\
         - ask for a *long* answer, or for `500 words`, and close everything in the middle; ⏳\n\
         - write something that is hard to count: naïve, Größe, 日本語, 👩‍👩‍👧‍👦, 🇪🇺, 𝒳.\n\n\
         To talk to a real model, start the server with one of these:\n\n\
         ```sh\n\
         # OpenAI\n\
         OPENAI_API_KEY=your-key\n\n\
         # or any server that speaks its protocol: Ollama, vLLM, llama.cpp, LiteLLM\n\
         OPENAI_BASE_URL=http://127.0.0.1:11434/v1\n\
         OPENAI_CHAT_MODEL=the-name-of-a-model\n\
         ```\n"
    );
    if let Some(length) = wanted_length(question) {
        lengthen(&mut text, length);
    }
    text
}

/// A message on one line, shortened, with nothing in it that Markdown or HTML would act upon.
fn quote(message: &str) -> String {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut quoted = String::new();
    for (at, c) in line.chars().enumerate() {
        if at == QUOTED {
            quoted.push('…');
            break;
        }
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '&' | '~' | '|' | '$' => {
                quoted.push('\\');
                quoted.push(c);
            }
            c if c.is_control() => quoted.push('\u{FFFD}'),
            c => quoted.push(c),
        }
    }
    quoted
}

/// How many words the user asked for: "500 words", "a 500-word essay", or just "long".
fn wanted_length(message: &str) -> Option<usize> {
    let message = message.to_lowercase();
    let mut before = "";
    let mut long = false;
    for word in message
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
    {
        if matches!(word, "word" | "words")
            && let Ok(length) = before.parse::<usize>()
        {
            return Some(length.min(LONGEST));
        }
        long |= matches!(word, "long" | "longer");
        before = word;
    }
    long.then_some(LONG)
}

/// Adds numbered lines until the text has so many words, so that a gap or a repetition is seen.
fn lengthen(text: &mut String, length: usize) {
    const SENTENCES: [&str; 6] = [
        "The server writes on, whether or not anybody is watching.",
        "Every piece of this text says at which offset it belongs.",
        "A second window that opens now begins with all that was said so far. 🪟",
        "Stop me at any time: what has been written is kept.",
        "Loquats ripen in spring, when little else does. 🍊",
        "The numbers at the front are there so that a gap would be seen.",
    ];
    text.push_str("\nYou asked for a longer answer, so here is more:\n\n");
    let mut count = words_in(text);
    for (number, sentence) in (1..).zip(SENTENCES.iter().cycle()) {
        if count >= length {
            break;
        }
        let line = format!("{number}. {sentence}\n");
        count += words_in(&line);
        text.push_str(&line);
    }
}

/// The text in pieces of one word each and the white space behind it.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let word = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let space = rest[word..]
            .find(|c: char| !c.is_whitespace())
            .unwrap_or(rest.len() - word);
        let (piece, after) = rest.split_at(word + space);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

fn words_in(text: &str) -> usize {
    words(text).count()
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;

    use super::*;
    use crate::llm::Turn;

    fn prompt(turns: &[(TurnRole, &str)]) -> Prompt {
        Prompt {
            model: "demo".to_owned(),
            turns: turns
                .iter()
                .map(|(role, text)| Turn {
                    role: *role,
                    text: (*text).to_owned(),
                })
                .collect(),
            max_tokens: None,
        }
    }

    async fn events(prompt: Prompt) -> Vec<ReplyEvent> {
        let demo = Demo::with_pace(Duration::ZERO);
        demo.reply(prompt).try_collect().await.unwrap()
    }

    #[tokio::test]
    async fn it_streams_word_by_word_and_counts_its_words() {
        let asked = prompt(&[(TurnRole::User, "Hi there")]);
        let text = answer(&asked);
        let events = events(asked).await;

        let (finished, deltas) = events.split_last().unwrap();
        let deltas: Vec<_> = deltas
            .iter()
            .map(|event| match event {
                ReplyEvent::Delta(word) if !word.is_empty() => word.as_str(),
                other => panic!("not a piece of text: {other:?}"),
            })
            .collect();
        assert_eq!(deltas.concat(), text);
        assert_eq!(
            *finished,
            ReplyEvent::Finished {
                reason: FinishReason::Complete,
                usage: Some(TokenUsage::of(2, deltas.len())),
            }
        );
    }

    #[test]
    fn it_says_what_it_is_and_shows_the_history_that_it_was_given() {
        let text = answer(&prompt(&[
            (TurnRole::System, "be kind"),
            (TurnRole::User, "first"),
            (TurnRole::Assistant, "yes"),
            (TurnRole::User, "second"),
        ]));
        for part in [
            "not a language model",
            "OPENAI_API_KEY",
            "OPENAI_BASE_URL",
            "This is turn 2",
            "> “second”",
            "Before that you wrote “first”",
            "| Replies of mine | 1 |",
            "| Standing instructions | some |",
            "\n- ",
            "```sh\n",
        ] {
            assert!(text.contains(part), "{part:?} is missing in {text}");
        }
    }

    #[test]
    fn what_the_user_wrote_cannot_act_as_markdown_or_html() {
        assert_eq!(
            quote("a\n\n```<img src=x>\0 | [b](c) &amp;"),
            "a \\`\\`\\`\\<img src=x\\>\u{FFFD} \\| \\[b\\](c) \\&amp;"
        );
        assert_eq!(quote(&"😀".repeat(1000)).chars().count(), QUOTED + 1);
    }

    #[test]
    fn a_long_answer_is_as_long_as_it_was_asked_for() {
        for (question, words) in [
            ("a LONG story, please", LONG),
            ("write 800 words", 800),
            ("a 2000-word essay", 2000),
            ("99999999 words", LONGEST),
        ] {
            let count = words_in(&answer(&prompt(&[(TurnRole::User, question)])));
            assert!((words..words + 20).contains(&count), "{question}: {count}");
        }
        assert_eq!(wanted_length("along with words"), None);
        assert_eq!(wanted_length("99999999999999999999999 words"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn it_keeps_a_readers_pace() {
        let start = tokio::time::Instant::now();
        let mut reply = Demo::default().reply(prompt(&[(TurnRole::User, "Hi")]));
        for _ in 0..40 {
            reply.next().await.unwrap().unwrap();
        }
        assert_eq!(start.elapsed(), PACE * 40);
    }
}
