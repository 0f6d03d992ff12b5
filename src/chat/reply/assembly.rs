//! A reply's text, put together from pieces that arrive in any order, twice, or not at all.

use super::{
    log::{Delta, ReplyLog, utf16_length},
    run::MAX_REPLY_BYTES,
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
                first.length = utf16_length(&first.text);
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
