//! What Redis gets to see: channels whose names say nothing, and notices that only processes of the
//! same database can read or make.
//!
//! A sealed notice is the version of this form, the process that sealed it, how many it had sealed
//! before, and the JSON of the notice under AES-256-GCM, bound to its channel. Each process has a
//! key of its own, derived from the database's and the process's random id, so that no pair of key
//! and nonce is ever used twice, whatever the number of processes and notices.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
};
use secrecy::{ExposeSecret, SecretBox};
use uuid::Uuid;

use crate::broker::{Notice, Topic};

/// The form of what is sealed here. Another one is of a newer Loquat, and ignored.
const VERSION: u8 = 1;

const PROCESS: usize = 16;
const COUNTER: usize = 8;
const HEADER: usize = 1 + PROCESS + COUNTER;

/// The longest notice that is sent or read, in bytes. What is longer is left to PostgreSQL.
pub(super) const LONGEST: usize = 256 * 1024;

/// The name of a channel, or of a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Channel(Arc<str>);

/// Seals and opens with the key of one database.
pub(super) struct Seal {
    root: hmac::Key,
    process: [u8; PROCESS],
    own: LessSafeKey,
    sealed: AtomicU64,
}

/// Why a message of Redis is no notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OpenError {
    #[error("of another version")]
    Version,
    #[error("longer than any notice")]
    TooLong,
    #[error("not sealed by a process of this database")]
    Forged,
    #[error("of a kind that this version does not know")]
    Unknown,
}

impl Channel {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Its place in a Redis Cluster: the CRC-16 (XMODEM) of its name, which has no braces, modulo
    /// the number of slots.
    pub(super) fn slot(&self) -> u16 {
        let crc = self.0.bytes().fold(0_u16, |crc, byte| {
            (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
                (crc << 1) ^ (0x1021 * (crc >> 15))
            })
        });
        crc % super::topology::SLOTS
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Seal {
    pub(super) fn new(database_key: &SecretBox<[u8; 32]>) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, database_key.expose_secret());
        let process = Uuid::new_v4().into_bytes();
        Self {
            own: key_of(&root, &process),
            root,
            process,
            sealed: AtomicU64::new(0),
        }
    }

    /// The same in every process of this database, and in those of no other.
    pub(super) fn channel(&self, topic: Topic) -> Channel {
        let mut context = hmac::Context::with_key(&self.root);
        context.update(b"the channel of ");
        match topic {
            Topic::Runs => context.update(b"runs"),
            Topic::User(user_id) => context.update(user_id.uuid().as_bytes()),
        }
        named(context)
    }

    /// Where the processes of this database keep something of this name.
    pub(super) fn key(&self, name: &[u8]) -> Channel {
        let mut context = hmac::Context::with_key(&self.root);
        context.update(b"the key of ");
        context.update(name);
        named(context)
    }

    /// `None` if it is too long to be sent.
    pub(super) fn seal(&self, channel: &Channel, notice: &Notice) -> Option<Vec<u8>> {
        let text = serde_json::to_vec(notice).expect("a notice is plain data");
        (text.len() <= LONGEST).then(|| self.seal_text(channel, text))
    }

    /// So that it can be opened under this name alone.
    pub(super) fn seal_text(&self, name: &Channel, mut text: Vec<u8>) -> Vec<u8> {
        let counter = self.sealed.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        self.own
            .seal_in_place_append_tag(
                nonce(counter),
                bound_to(name.as_str().as_bytes()),
                &mut text,
            )
            .expect("what is sealed is far shorter than the cipher's limit");
        let mut sealed = Vec::with_capacity(HEADER + text.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&self.process);
        sealed.extend_from_slice(&counter);
        sealed.append(&mut text);
        sealed
    }

    /// `None` if this process sealed it itself.
    pub(super) fn open(&self, channel: &[u8], sealed: &[u8]) -> Result<Option<Notice>, OpenError> {
        if sealed.get(1..1 + PROCESS) == Some(&self.process[..]) {
            return Ok(None);
        }
        let text = self.open_text(channel, sealed)?;
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|_| OpenError::Unknown)
    }

    /// What a process of this database has sealed under this name, this one or another.
    pub(super) fn open_text(&self, name: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let (&version, rest) = sealed.split_first().ok_or(OpenError::Forged)?;
        if version != VERSION {
            return Err(OpenError::Version);
        }
        if sealed.len() > HEADER + LONGEST + AES_256_GCM.tag_len() {
            return Err(OpenError::TooLong);
        }
        let (process, rest) = rest
            .split_first_chunk::<PROCESS>()
            .ok_or(OpenError::Forged)?;
        let (counter, text) = rest
            .split_first_chunk::<COUNTER>()
            .ok_or(OpenError::Forged)?;
        let mut text = text.to_vec();
        let length = key_of(&self.root, process)
            .open_in_place(nonce(*counter), bound_to(name), &mut text)
            .map_err(|_| OpenError::Forged)?
            .len();
        text.truncate(length);
        Ok(text)
    }
}

fn named(context: hmac::Context) -> Channel {
    let name = hex::encode(&context.sign().as_ref()[..16]);
    Channel(format!("loquat:{name}").into())
}

fn key_of(root: &hmac::Key, process: &[u8; PROCESS]) -> LessSafeKey {
    let mut context = hmac::Context::with_key(root);
    context.update(b"the notices of ");
    context.update(process);
    let key = UnboundKey::new(&AES_256_GCM, context.sign().as_ref());
    LessSafeKey::new(key.expect("32 bytes are a key"))
}

fn nonce(counter: [u8; COUNTER]) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[NONCE_LEN - COUNTER..].copy_from_slice(&counter);
    Nonce::assume_unique_for_key(nonce)
}

fn bound_to(channel: &[u8]) -> Aad<Vec<u8>> {
    Aad::from([&[VERSION], channel].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        broker::ReplyDelta,
        model::{ConversationId, MessageId, UserId},
    };

    fn seal(key: u8) -> Seal {
        Seal::new(&SecretBox::new(Box::new([key; 32])))
    }

    fn notice(user_id: UserId) -> Notice {
        Notice::Changed {
            user_id,
            conversation_id: ConversationId::new(),
        }
    }

    #[test]
    fn a_notice_is_opened_by_the_other_processes_of_its_database_alone() {
        let (writer, reader) = (seal(1), seal(1));
        let topic = Topic::User(UserId::new());
        let channel = writer.channel(topic);
        assert_eq!(channel, reader.channel(topic));
        assert_ne!(channel, seal(2).channel(topic));
        let notice = notice(UserId::new());
        let sealed = writer.seal(&channel, &notice).expect("short");
        let name = channel.as_str().as_bytes();
        assert_eq!(reader.open(name, &sealed), Ok(Some(notice)));
        assert_eq!(writer.open(name, &sealed), Ok(None));
        assert_eq!(seal(2).open(name, &sealed), Err(OpenError::Forged));
    }

    #[test]
    fn nothing_can_be_changed_or_moved_to_another_channel() {
        let (writer, reader) = (seal(1), seal(1));
        let channel = writer.channel(Topic::User(UserId::new()));
        let name = channel.as_str().as_bytes();
        let sealed = writer.seal(&channel, &Notice::Waiting).expect("short");
        for place in 1..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert_eq!(reader.open(name, &changed), Err(OpenError::Forged));
        }
        let other = reader.channel(Topic::Runs);
        let moved = reader.open(other.as_str().as_bytes(), &sealed);
        assert_eq!(moved, Err(OpenError::Forged));
    }

    #[test]
    fn garbage_is_refused() {
        let reader = seal(1);
        let mut huge = vec![0; 2 * LONGEST];
        huge[0] = VERSION;
        for (garbage, problem) in [
            (&b""[..], OpenError::Forged),
            (b"{}", OpenError::Version),
            (&[VERSION], OpenError::Forged),
            (&[VERSION; 30], OpenError::Forged),
            (&[2; 300], OpenError::Version),
            (&huge, OpenError::TooLong),
        ] {
            assert_eq!(reader.open(b"loquat:x", garbage), Err(problem));
        }
    }

    #[test]
    fn what_is_too_long_is_not_sealed() {
        let seal = seal(1);
        let user_id = UserId::new();
        let delta = |length| {
            Notice::Delta(ReplyDelta {
                user_id,
                message_id: MessageId::new(),
                attempt: 1,
                offset: 0,
                text: "x".repeat(length),
            })
        };
        let channel = seal.channel(Topic::User(user_id));
        assert!(seal.seal(&channel, &delta(LONGEST)).is_none());
        assert!(seal.seal(&channel, &delta(LONGEST / 2)).is_some());
    }

    #[test]
    fn a_channel_has_the_slot_that_redis_gives_it() {
        // As `CLUSTER KEYSLOT` answers.
        for (name, slot) in [("123456789", 12739), ("foo", 12182), ("bar", 5061), ("", 0)] {
            assert_eq!(Channel(name.into()).slot(), slot, "{name}");
        }
    }
}
