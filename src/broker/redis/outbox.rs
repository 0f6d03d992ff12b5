//! What waits to be sent to one node.

use std::collections::{HashMap, VecDeque};

use super::seal::Channel;
use crate::{
    broker::{Notice, ReplyDelta},
    model::{ConversationId, MessageId},
};

/// How many notices may wait, and how many bytes of text. Beyond either the oldest goes: newer
/// ones say more, and whatever was lost is found in PostgreSQL.
const MOST: usize = 4096;
const MOST_TEXT: usize = 8 * 1024 * 1024;

/// The longest text that deltas are merged into, in bytes.
const LONGEST_MERGED: usize = 32 * 1024;

/// Notices in the order in which they were published. A notice that says what one in here says
/// already is left out, and a delta that continues one in here is appended to it: a node that is
/// slow gets fewer and longer ones.
#[derive(Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Entry>,
    /// The bytes of their texts.
    text: usize,
    /// How many have gone from the front.
    gone: usize,
    /// The newest on each subject, by how many had been published before it.
    newest: HashMap<Subject, usize>,
}

struct Entry {
    channel: Channel,
    notice: Notice,
    /// Where the text of a delta ends, in UTF-16 code units.
    end: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Subject {
    Waiting,
    Stop(MessageId),
    Changed(ConversationId),
    Delta(MessageId),
}

impl Subject {
    fn of(notice: &Notice) -> Self {
        match notice {
            Notice::Waiting => Self::Waiting,
            Notice::Stop { message_id, .. } => Self::Stop(*message_id),
            Notice::Changed {
                conversation_id, ..
            } => Self::Changed(*conversation_id),
            Notice::Delta(delta) => Self::Delta(delta.message_id),
        }
    }
}

impl Outbox {
    /// Whether another had to go for it.
    pub(super) fn push(&mut self, channel: Channel, notice: Notice) -> bool {
        let subject = Subject::of(&notice);
        let newest = self
            .newest
            .get(&subject)
            .and_then(|&place| self.waiting.get_mut(place.checked_sub(self.gone)?));
        let (end, added) = match &notice {
            Notice::Delta(delta) => {
                let units = delta.text.encode_utf16().count();
                (delta.offset as usize + units, delta.text.len())
            }
            _ => (0, 0),
        };
        if let Some(newest) = newest {
            match (&mut newest.notice, &notice) {
                (Notice::Delta(waiting), Notice::Delta(next)) => {
                    if continues(waiting, newest.end, next) {
                        waiting.text.push_str(&next.text);
                        newest.end = end;
                        self.text += added;
                        return self.shorten();
                    }
                }
                _ => return false,
            }
        }
        self.text += added;
        self.newest.insert(subject, self.gone + self.waiting.len());
        self.waiting.push_back(Entry {
            channel,
            notice,
            end,
        });
        self.shorten()
    }

    /// All that waits.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (Channel, Notice)> + use<> {
        self.gone += self.waiting.len();
        self.text = 0;
        self.newest.clear();
        std::mem::take(&mut self.waiting)
            .into_iter()
            .map(|entry| (entry.channel, entry.notice))
    }

    /// Lets the oldest go while there is too much; whether any went.
    fn shorten(&mut self) -> bool {
        let gone = self.gone;
        while self.waiting.len() > MOST || self.text > MOST_TEXT {
            let Some(oldest) = self.waiting.pop_front() else {
                break;
            };
            if let Notice::Delta(delta) = &oldest.notice {
                self.text -= delta.text.len();
            }
            let subject = Subject::of(&oldest.notice);
            if self.newest.get(&subject) == Some(&self.gone) {
                self.newest.remove(&subject);
            }
            self.gone += 1;
        }
        self.gone > gone
    }
}

/// Whether `next` begins where `waiting` ends.
fn continues(waiting: &ReplyDelta, end: usize, next: &ReplyDelta) -> bool {
    next.attempt == waiting.attempt
        && next.offset as usize == end
        && waiting.text.len() + next.text.len() <= LONGEST_MERGED
}

#[cfg(test)]
mod tests {
    use secrecy::SecretBox;

    use super::*;
    use crate::{
        broker::{Topic, redis::seal::Seal},
        model::UserId,
    };

    fn channel() -> Channel {
        Seal::new(&SecretBox::new(Box::new([1; 32]))).channel(Topic::Runs)
    }

    fn delta(message_id: MessageId, attempt: i32, offset: u32, text: &str) -> Notice {
        Notice::Delta(ReplyDelta {
            user_id: UserId::from_uuid(uuid::Uuid::nil()),
            message_id,
            attempt,
            offset,
            text: text.to_owned(),
        })
    }

    fn taken(outbox: &mut Outbox) -> Vec<Notice> {
        outbox.take().map(|(_, notice)| notice).collect()
    }

    #[test]
    fn deltas_that_continue_each_other_become_one() {
        let (one, other) = (MessageId::new(), MessageId::new());
        let mut outbox = Outbox::default();
        for notice in [
            delta(one, 1, 0, "🍊 "),
            delta(other, 1, 7, "elsewhere"),
            delta(one, 1, 3, "and "),
            delta(one, 1, 7, "more"),
            // A gap, and another attempt.
            delta(one, 1, 12, "later"),
            delta(one, 2, 0, "again"),
            delta(one, 2, 5, "!"),
        ] {
            assert!(!outbox.push(channel(), notice));
        }
        assert_eq!(
            taken(&mut outbox),
            [
                delta(one, 1, 0, "🍊 and more"),
                delta(other, 1, 7, "elsewhere"),
                delta(one, 1, 12, "later"),
                delta(one, 2, 0, "again!"),
            ]
        );
        outbox.push(channel(), delta(one, 2, 6, "?"));
        assert_eq!(taken(&mut outbox), [delta(one, 2, 6, "?")]);
    }

    #[test]
    fn what_was_said_and_waits_is_not_said_twice() {
        let mut outbox = Outbox::default();
        outbox.push(channel(), Notice::Waiting);
        outbox.push(channel(), Notice::Waiting);
        assert_eq!(taken(&mut outbox), [Notice::Waiting]);
        outbox.push(channel(), Notice::Waiting);
        assert_eq!(taken(&mut outbox), [Notice::Waiting]);
    }

    #[test]
    fn a_full_outbox_lets_the_oldest_go() {
        let mut outbox = Outbox::default();
        let messages: Vec<_> = (0..MOST + 2).map(|_| MessageId::new()).collect();
        for (place, message) in messages.iter().enumerate() {
            let lost = outbox.push(channel(), delta(*message, 1, 0, "a"));
            assert_eq!(lost, place >= MOST);
        }
        // The first went, so this continues nothing that waits; the last is still here.
        outbox.push(channel(), delta(messages[0], 1, 1, "b"));
        assert!(!outbox.push(channel(), delta(messages[MOST + 1], 1, 1, "b")));
        let left = taken(&mut outbox);
        assert_eq!(left.len(), MOST);
        assert_eq!(left[0], delta(messages[3], 1, 0, "a"));
        assert_eq!(left[MOST - 2], delta(messages[MOST + 1], 1, 0, "ab"));
        assert_eq!(left[MOST - 1], delta(messages[0], 1, 1, "b"));
    }

    #[test]
    fn texts_have_a_bound_together() {
        let mut outbox = Outbox::default();
        let text = "x".repeat(LONGEST_MERGED);
        let fitting = MOST_TEXT / LONGEST_MERGED;
        for place in 0..fitting + 3 {
            let lost = outbox.push(channel(), delta(MessageId::new(), 1, 0, &text));
            assert_eq!(lost, place >= fitting);
        }
        assert_eq!(taken(&mut outbox).len(), fitting);
    }

    #[test]
    fn a_merged_text_has_an_end() {
        let mut outbox = Outbox::default();
        let (message, text) = (MessageId::new(), "x".repeat(LONGEST_MERGED / 2));
        for place in 0..4 {
            let offset = place * u32::try_from(text.len()).expect("small");
            outbox.push(channel(), delta(message, 1, offset, &text));
        }
        assert_eq!(taken(&mut outbox).len(), 2);
    }
}
