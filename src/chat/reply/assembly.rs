//! A reply's text, put together from pieces that arrive in any order, twice, or not at all.

use super::{
    ask::MAX_REPLY_BYTES,
    log::{Delta, ReplyLog, utf16_length},
};

/// Puts the pieces into a log. Invariant: the log holds the beginning of one attempt's text, and
/// each attempt's text is written by one process, so that all pieces of it agree.
#[derive(Debug, Default)]
pub struct Assembly {
    /// The newest attempt that was heard of; 0 before the first.
    attempt: i32,
    /// Text beyond a gap, itself without one. Empty if there is no gap.
    tail: Piece,
}

#[derive(Debug, Default)]
struct Piece {
    offset: u32,
    length: u32,
    text: String,
}

impl Assembly {
    pub fn attempt(&self) -> i32 {
        self.attempt
    }

    /// Whether text is missing before text that has arrived.
    pub fn has_gap(&self) -> bool {
        !self.tail.text.is_empty()
    }

    /// Adds text of an attempt. That of an earlier one is ignored, a later one begins anew.
    pub fn add(&mut self, log: &ReplyLog, attempt: i32, delta: &Delta) {
        if attempt < self.attempt {
            return;
        }
        if attempt > self.attempt {
            self.attempt = attempt;
            self.tail = Piece::default();
            log.begin_anew("");
        }
        if delta.offset <= log.length() {
            append(log, delta.offset, &delta.text);
            self.close_gap(log);
        } else {
            self.tail.put(delta);
        }
    }

    /// The reply has ended with this text.
    pub fn end(&mut self, log: &ReplyLog, text: &str) {
        self.tail = Piece::default();
        match text.strip_prefix(log.text().as_str()) {
            Some("") => {}
            Some(rest) => log.append(rest),
            None => log.begin_anew(text),
        }
    }

    fn close_gap(&mut self, log: &ReplyLog) {
        if self.has_gap() && self.tail.offset <= log.length() {
            append(log, self.tail.offset, &self.tail.text);
            self.tail = Piece::default();
        }
    }
}

impl Piece {
    fn end(&self) -> u32 {
        self.offset.saturating_add(self.length)
    }

    /// Takes what touches this piece into it. Of two pieces with a gap between them the later one is
    /// kept: whoever fills the gap before it fills the other too.
    fn put(&mut self, delta: &Delta) {
        let other = Self {
            offset: delta.offset,
            length: utf16_length(&delta.text),
            text: delta.text.clone(),
        };
        let (mut first, second) = if other.offset < self.offset {
            (other, std::mem::take(self))
        } else {
            (std::mem::take(self), other)
        };
        *self = if second.offset > first.end() {
            second
        } else {
            if let Some(rest) = after(&second.text, first.end() - second.offset) {
                first.text.push_str(rest);
                first.length += utf16_length(rest);
            }
            first
        };
        // No reply has so much text: what comes is then found in PostgreSQL.
        if self.text.len() > MAX_REPLY_BYTES {
            *self = Self::default();
        }
    }
}

/// Appends what the log does not hold yet. The text begins within it, or right at its end.
fn append(log: &ReplyLog, offset: u32, text: &str) {
    if let Some(rest) = after(text, log.length() - offset)
        && !rest.is_empty()
    {
        log.append(rest);
    }
}

/// The text from so many UTF-16 code units on; `None` if it is shorter, or has no code point that
/// begins there.
fn after(text: &str, units: u32) -> Option<&str> {
    let mut before = 0;
    for (index, character) in text.char_indices() {
        if before >= units as usize {
            return (before == units as usize).then(|| &text[index..]);
        }
        before += character.len_utf16();
    }
    (before == units as usize).then_some("")
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use proptest::prelude::{
        Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest,
    };

    use super::*;
    use crate::chat::reply::log::{LogEvent, LogPhase, LogReader};

    #[test]
    fn text_beyond_a_gap_waits_until_the_gap_is_filled() {
        let (log, mut assembly) = (ReplyLog::default(), Assembly::default());
        for (offset, text, expected) in [
            (0, "a", "a"),
            (7, "fg", "a"),
            (5, "def", "a"),
            (1, "b😀", "ab😀"),
            (2, "😀c", "ab😀cdefg"),
        ] {
            let delta = Delta {
                offset,
                text: text.to_owned(),
            };
            assembly.add(&log, 1, &delta);
            assert_eq!(log.text(), expected, "after {text}");
        }
    }

    #[test]
    fn what_has_gathered_beyond_a_gap_is_bounded() {
        let (log, mut assembly) = (ReplyLog::default(), Assembly::default());
        let text = "x".repeat(MAX_REPLY_BYTES);
        assembly.add(&log, 1, &Delta { offset: 1, text });
        assert!(assembly.has_gap());
        let text = "x".to_owned();
        assembly.add(
            &log,
            1,
            &Delta {
                offset: 1 + stored(MAX_REPLY_BYTES),
                text,
            },
        );
        assert!(!assembly.has_gap());
    }

    fn stored(bytes: usize) -> u32 {
        u32::try_from(bytes).expect("a small number")
    }

    /// What can happen between a writer, PostgreSQL, and a mirror with one reader.
    #[derive(Clone, Debug)]
    enum Step {
        Write(String),
        /// The writer is lost, and another begins anew.
        Restart,
        /// PostgreSQL learns what the writer has written.
        Tick,
        /// The mirror asks PostgreSQL, and hears the answer some time later.
        Ask,
        Answer(prop::sample::Index),
        /// A notice arrives: any one that was ever published, so that some come twice, late or never.
        Arrive(prop::sample::Index),
        Read,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => "[ab😀é]{0,4}".prop_map(Step::Write),
            1 => Just(Step::Restart),
            3 => Just(Step::Tick),
            3 => Just(Step::Ask),
            3 => any::<prop::sample::Index>().prop_map(Step::Answer),
            8 => any::<prop::sample::Index>().prop_map(Step::Arrive),
            5 => Just(Step::Read),
        ];
        prop::collection::vec(step, 0..120)
    }

    /// A client that keeps the contract's rule.
    struct Client {
        reader: LogReader,
        content: Vec<u16>,
    }

    impl Client {
        fn read(&mut self) {
            while let Some(LogEvent::Delta(delta)) = self.reader.next().now_or_never() {
                assert!(
                    delta.offset as usize <= self.content.len(),
                    "a delta leaves no gap"
                );
                self.content.truncate(delta.offset as usize);
                self.content.extend(delta.text.encode_utf16());
            }
        }

        fn content(&self) -> String {
            String::from_utf16(&self.content).expect("whole code points")
        }
    }

    proptest! {
        #[test]
        fn any_losses_repeats_and_restarts_end_in_the_exact_text(
            steps in steps(),
            kept in any::<prop::sample::Index>(),
        ) {
            let (log, mut assembly) = (ReplyLog::default(), Assembly::default());
            let mut client = Client { reader: log.read(), content: Vec::new() };
            let mut texts = vec![String::new()];
            let mut written = (1, String::new());
            let (mut published, mut answers) = (vec![(1, Delta { offset: 0, text: String::new() })], vec![]);
            for step in steps {
                let attempt = i32::try_from(texts.len()).expect("few attempts");
                let text = texts.last_mut().expect("one at least");
                match step {
                    Step::Write(more) => {
                        let offset = utf16_length(text);
                        text.push_str(&more);
                        published.push((attempt, Delta { offset, text: more }));
                    }
                    Step::Restart => {
                        texts.push(String::new());
                        published.push((attempt + 1, Delta { offset: 0, text: String::new() }));
                        written = (attempt + 1, String::new());
                    }
                    Step::Tick => written = (attempt, text.clone()),
                    Step::Ask => {
                        let known = assembly.attempt() == written.0;
                        // Chunks begin anywhere at or before where the mirror ends.
                        let offset = if known { log.length() / 2 } else { 0 };
                        if let Some(text) = after(&written.1, offset) {
                            answers.push((written.0, Delta { offset, text: text.to_owned() }));
                        }
                    }
                    Step::Answer(which) => {
                        if !answers.is_empty() {
                            let (attempt, delta) = which.get(&answers);
                            assembly.add(&log, *attempt, delta);
                        }
                    }
                    Step::Arrive(which) => {
                        let (attempt, delta) = which.get(&published);
                        assembly.add(&log, *attempt, delta);
                    }
                    Step::Read => client.read(),
                }
                let heard = usize::try_from(assembly.attempt()).expect("not negative");
                let held = log.text();
                prop_assert!(heard == 0 && held.is_empty() || texts[heard - 1].starts_with(&held));
            }
            // PostgreSQL's word is the last: all of the newest attempt, or what was kept of one.
            assembly.add(&log, i32::try_from(texts.len()).expect("few"), &Delta {
                offset: 0,
                text: texts.last().expect("one at least").clone(),
            });
            client.read();
            prop_assert_eq!(&client.content(), texts.last().expect("one at least"));
            prop_assert!(!assembly.has_gap());
            let kept = kept.get(&texts);
            assembly.end(&log, kept);
            log.enter(LogPhase::Finished);
            client.read();
            prop_assert_eq!(&client.content(), kept);
        }
    }
}
