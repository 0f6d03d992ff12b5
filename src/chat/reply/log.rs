//! The text of one reply as it grows, and where each of its readers stands in it.

use tokio::sync::watch;

/// Written by one run, read by any number of subscribers. A reader is a position, so a slow one
/// costs nothing and gets more text at once.
#[derive(Debug)]
pub struct ReplyLog {
    state: watch::Sender<LogState>,
}

#[derive(Debug, Default)]
struct LogState {
    text: String,
    /// The length of `text` in UTF-16 code units.
    length: u32,
    phase: LogPhase,
    /// Whether it takes no more text.
    sealed: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogPhase {
    #[default]
    Pending,
    Streaming,
    /// Its message is stored whole.
    Finished,
    /// This process writes it no longer: deleted, taken over, or out of its lease.
    Lost,
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
        Self {
            state: watch::Sender::new(LogState::default()),
        }
    }
}

impl ReplyLog {
    pub fn append(&self, text: &str) {
        self.state.send_if_modified(|state| {
            if state.sealed {
                return false;
            }
            state.text.push_str(text);
            state.length = state.length.saturating_add(utf16_length(text));
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
        let _ = state
            .wait_for(|state| matches!(state.phase, LogPhase::Finished | LogPhase::Lost))
            .await;
    }

    pub fn enter(&self, phase: LogPhase) {
        self.state.send_modify(|state| state.phase = phase);
    }

    pub fn text(&self) -> String {
        self.state.borrow().text.clone()
    }

    /// Bytes of text so far.
    pub fn size(&self) -> usize {
        self.state.borrow().text.len()
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
            phase: LogPhase::Pending,
        }
    }
}

impl LogState {
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
    phase: LogPhase,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogEvent {
    Delta(Delta),
    /// All text before the phase has been read.
    Phase(LogPhase),
}

impl LogReader {
    /// Everything so far, as one delta at offset 0, and the phase that it belongs to.
    pub fn catch_up(&mut self) -> (Delta, LogPhase) {
        let state = self.state.borrow_and_update();
        self.position = state.end();
        self.phase = state.phase;
        (
            Delta {
                offset: 0,
                text: state.text.clone(),
            },
            state.phase,
        )
    }

    /// Waits for the next change that this reader has not seen. After `Finished` and `Lost`
    /// nothing follows.
    pub async fn next(&mut self) -> LogEvent {
        loop {
            {
                let state = self.state.borrow_and_update();
                // Streaming is told before its first delta, an end after the last one.
                if state.phase != self.phase
                    && (self.position.byte == state.text.len()
                        || self.phase == LogPhase::Pending && state.phase == LogPhase::Streaming)
                {
                    self.phase = state.phase;
                    return LogEvent::Phase(state.phase);
                }
                if self.position.byte < state.text.len() {
                    let delta = Delta {
                        offset: self.position.utf16,
                        text: state.text[self.position.byte..].to_owned(),
                    };
                    self.position = state.end();
                    return LogEvent::Delta(delta);
                }
            }
            if self.state.changed().await.is_err() {
                // The run is gone without a word: what became of it stands in the database.
                self.phase = LogPhase::Lost;
                return LogEvent::Phase(LogPhase::Lost);
            }
        }
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
        assert_eq!(reader.catch_up().1, LogPhase::Pending);
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
        let (delta, phase) = late.catch_up();
        assert_eq!((delta.text.as_str(), phase), ("a😀b", LogPhase::Finished));
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
                let mut content = Vec::new();
                apply(&mut content, &reader.catch_up().0);
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
