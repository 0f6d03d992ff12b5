//! The text of one reply as it grows, and where each of its readers stands in it.

use std::sync::Arc;

use tokio::sync::watch;

use super::shared::SharedMessage;

/// Written by one run, or by the mirror of one, and read by any number of subscribers. A reader is
/// a position, so a slow one costs nothing and gets more text at once.
#[derive(Debug)]
pub struct ReplyLog {
    state: watch::Sender<LogState>,
    message: Arc<SharedMessage>,
}

#[derive(Debug, Default)]
struct LogState {
    text: String,
    /// The length of `text` in UTF-16 code units.
    length: u32,
    /// How often the text began anew.
    beginnings: u32,
    phase: LogPhase,
    /// Whether it takes no more text.
    sealed: bool,
    /// Whether `text` is not the reply's yet, because nobody has said where it stands.
    unread: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogPhase {
    #[default]
    Pending,
    Streaming,
    /// Its message is stored whole, or is gone.
    Finished,
    /// The reply is not written here any more: deleted, taken over, or out of its lease.
    Lost,
}

impl LogPhase {
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Finished | Self::Lost)
    }
}

/// A place in a log's text: as bytes for slicing, as UTF-16 code units for the reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    pub byte: usize,
    pub utf16: u32,
}

/// Text and where it goes, in UTF-16 code units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    pub offset: u32,
    pub text: String,
}

impl Default for ReplyLog {
    fn default() -> Self {
        Self::with(LogState::default())
    }
}

impl ReplyLog {
    /// A log whose readers wait until it is known where the reply stands.
    pub fn unread() -> Self {
        Self::with(LogState {
            unread: true,
            ..LogState::default()
        })
    }

    fn with(state: LogState) -> Self {
        Self {
            state: watch::Sender::new(state),
            message: Arc::default(),
        }
    }

    pub fn append(&self, text: &str) {
        self.state.send_if_modified(|state| {
            if state.sealed {
                return false;
            }
            state.append(text);
            true
        });
    }

    /// All the text that there will ever be: what is appended from now on is dropped.
    pub fn seal(&self) -> String {
        let mut text = String::new();
        self.state.send_if_modified(|state| {
            state.sealed = true;
            text.clone_from(&state.text);
            false
        });
        text
    }

    /// Waits until its run has come to an end here.
    pub async fn ended(&self) {
        let mut state = self.state.subscribe();
        // The sender lives as long as the log, so waiting cannot fail.
        let _ = state.wait_for(|state| state.phase.is_end()).await;
    }

    /// All text so far is void: it is this one now.
    pub fn begin_anew(&self, text: &str) {
        self.state.send_modify(|state| {
            state.text.clear();
            state.length = 0;
            state.beginnings = state.beginnings.wrapping_add(1);
            state.append(text);
        });
    }

    /// The text so far is that of the reply.
    pub fn let_read(&self) {
        self.state
            .send_if_modified(|state| std::mem::take(&mut state.unread));
    }

    pub fn enter(&self, phase: LogPhase) {
        self.state.send_if_modified(|state| {
            let changed = state.phase != phase;
            state.phase = phase;
            changed
        });
    }

    pub fn phase(&self) -> LogPhase {
        self.state.borrow().phase
    }

    pub fn text(&self) -> String {
        self.state.borrow().text.clone()
    }

    /// What a reader would have read by now.
    pub fn readable(&self) -> Option<String> {
        let state = self.state.borrow();
        (!state.unread).then(|| state.text.clone())
    }

    /// Bytes of text so far.
    pub fn size(&self) -> usize {
        self.state.borrow().text.len()
    }

    /// UTF-16 code units of text so far.
    pub fn length(&self) -> u32 {
        self.state.borrow().length
    }

    /// What was written since `position`, and the position after it.
    pub fn since(&self, position: Position) -> (Delta, Position) {
        let state = self.state.borrow();
        (
            Delta {
                offset: position.utf16,
                text: state.text[position.byte..].to_owned(),
            },
            state.end(),
        )
    }

    pub fn read(&self) -> LogReader {
        LogReader {
            state: self.state.subscribe(),
            position: Position::default(),
            beginnings: 0,
            phase: LogPhase::Pending,
            message: Arc::clone(&self.message),
        }
    }
}

impl LogState {
    fn is_readable(&self) -> bool {
        !self.unread || self.phase.is_end()
    }

    fn append(&mut self, text: &str) {
        self.text.push_str(text);
        self.length = self.length.saturating_add(utf16_length(text));
    }

    fn end(&self) -> Position {
        Position {
            byte: self.text.len(),
            utf16: self.length,
        }
    }
}

/// One subscriber's place in a log.
#[derive(Debug)]
pub struct LogReader {
    state: watch::Receiver<LogState>,
    position: Position,
    beginnings: u32,
    phase: LogPhase,
    message: Arc<SharedMessage>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogEvent {
    /// At offset 0 where the text begins anew.
    Delta(Delta),
    /// All text before the phase has been read.
    Phase(LogPhase),
}

impl LogReader {
    /// Everything so far, and how far the reply is: `Finished` is told by [`Self::next`] alone.
    /// Waits until that is known.
    pub async fn begin(&mut self) -> (String, LogPhase) {
        let Ok(state) = self.state.wait_for(LogState::is_readable).await else {
            self.phase = LogPhase::Lost;
            return (String::new(), LogPhase::Lost);
        };
        self.position = state.end();
        self.beginnings = state.beginnings;
        self.phase = match state.phase {
            LogPhase::Finished => LogPhase::Streaming,
            phase => phase,
        };
        (state.text.clone(), self.phase)
    }

    /// Waits for the next change that this reader has not seen. After `Finished` and `Lost`
    /// nothing follows.
    pub async fn next(&mut self) -> LogEvent {
        loop {
            if let Some(event) = self.seen() {
                return event;
            }
            if self.state.changed().await.is_err() {
                // The run is gone without a word: what became of it stands in the database.
                self.phase = LogPhase::Lost;
                return LogEvent::Phase(LogPhase::Lost);
            }
        }
    }

    /// Whether the log holds this text and no other.
    pub fn holds(&self, text: &str) -> bool {
        self.state.borrow().text == text
    }

    /// What all readers of this log load together.
    pub fn message(&self) -> Arc<SharedMessage> {
        Arc::clone(&self.message)
    }

    fn seen(&mut self) -> Option<LogEvent> {
        let state = self.state.borrow_and_update();
        if !state.is_readable() {
            return None;
        }
        let is_new = state.beginnings != self.beginnings;
        // Streaming is told before its first delta, an end after the last one.
        if state.phase != self.phase
            && (!is_new && self.position.byte == state.text.len()
                || self.phase == LogPhase::Pending && state.phase == LogPhase::Streaming)
        {
            self.phase = state.phase;
            return Some(LogEvent::Phase(state.phase));
        }
        if is_new {
            self.position = Position::default();
            self.beginnings = state.beginnings;
        } else if self.position.byte == state.text.len() {
            return None;
        }
        let delta = Delta {
            offset: self.position.utf16,
            text: state.text[self.position.byte..].to_owned(),
        };
        self.position = state.end();
        Some(LogEvent::Delta(delta))
    }
}

pub fn utf16_length(text: &str) -> u32 {
    let units: usize = text.chars().map(char::len_utf16).sum();
    u32::try_from(units).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, prop, proptest};

    use super::*;

    /// The contract's rule for clients, on UTF-16 code units as JavaScript has them.
    fn apply(content: &mut Vec<u16>, delta: &Delta) {
        content.truncate(delta.offset as usize);
        content.extend(delta.text.encode_utf16());
    }

    #[tokio::test]
    async fn a_reader_sees_streaming_then_text_then_the_end() {
        let log = ReplyLog::default();
        let mut reader = log.read();
        assert_eq!(reader.begin().await.1, LogPhase::Pending);
        log.enter(LogPhase::Streaming);
        log.append("a😀");
        log.append("b");
        log.enter(LogPhase::Finished);
        // Streaming was over before this reader looked: what it missed is nothing to it.
        assert_eq!(
            reader.next().await,
            LogEvent::Delta(Delta {
                offset: 0,
                text: "a😀b".to_owned()
            })
        );
        assert_eq!(reader.next().await, LogEvent::Phase(LogPhase::Finished));

        let mut late = log.read();
        let (text, phase) = late.begin().await;
        assert_eq!((text.as_str(), phase), ("a😀b", LogPhase::Streaming));
        assert_eq!(late.next().await, LogEvent::Phase(LogPhase::Finished));
    }

    #[test]
    fn a_sealed_log_takes_no_more_text() {
        let log = ReplyLog::default();
        log.append("all ");
        log.append("of it");
        assert_eq!(log.seal(), "all of it");
        log.append(", too late");
        assert_eq!(log.text(), "all of it");
    }

    #[tokio::test]
    async fn a_log_that_is_dropped_is_lost() {
        let log = ReplyLog::default();
        let mut reader = log.read();
        drop(log);
        assert_eq!(reader.next().await, LogEvent::Phase(LogPhase::Lost));
    }

    fn appends_and_reads() -> impl Strategy<Value = Vec<(String, bool)>> {
        prop::collection::vec((any::<String>(), any::<bool>()), 0..30)
    }

    proptest! {
        #[test]
        fn any_reading_pace_gives_the_exact_text(steps in appends_and_reads()) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .expect("a runtime starts");
            runtime.block_on(async {
                let log = ReplyLog::default();
                log.enter(LogPhase::Streaming);
                let mut reader = log.read();
                let mut content: Vec<u16> = reader.begin().await.0.encode_utf16().collect();
                let mut whole = String::new();
                for (text, read) in steps {
                    log.append(&text);
                    whole.push_str(&text);
                    if read && !text.is_empty() {
                        match reader.next().await {
                            LogEvent::Delta(delta) => apply(&mut content, &delta),
                            LogEvent::Phase(phase) => panic!("{phase:?} before the text was read"),
                        }
                    }
                }
                log.enter(LogPhase::Finished);
                while let LogEvent::Delta(delta) = reader.next().await {
                    apply(&mut content, &delta);
                }
                assert_eq!(String::from_utf16(&content).expect("whole code points"), whole);
            });
        }
    }
}
