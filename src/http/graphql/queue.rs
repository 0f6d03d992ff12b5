//! What waits for a client: so many messages, and so many bytes of them.
//!
//! Whoever has the next one waits, in order, until there is room. A message that is larger than all
//! the room there is waits for an empty queue and is alone in it. So a client that reads slowly
//! costs so many bytes, and one message for each operation that waits; these count as the user's,
//! too.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::limits::{Charge, Presence};

/// How many messages may wait.
pub(super) const MESSAGES: usize = 32;

/// How many bytes of messages may wait.
const BYTES: u32 = 1 << 20;

pub(super) fn queue<T>() -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = mpsc::channel(MESSAGES);
    let room = Arc::new(Semaphore::new(BYTES as usize));
    let sender = Sender {
        sender,
        room: room.clone(),
        presence: None,
    };
    (sender, Receiver { receiver, room })
}

/// What can wait here.
pub(super) trait Measured {
    /// What the client has to take.
    fn bytes(&self) -> usize;
}

pub(super) struct Sender<T> {
    sender: mpsc::Sender<(T, Room)>,
    room: Arc<Semaphore>,
    /// Whose the messages are, once they are somebody's.
    presence: Option<Arc<Presence>>,
}

pub(super) struct Receiver<T> {
    receiver: mpsc::Receiver<(T, Room)>,
    room: Arc<Semaphore>,
}

/// What a message takes up, until this is dropped.
pub(super) struct Room {
    _permit: OwnedSemaphorePermit,
    _charge: Option<Charge>,
}

/// Nobody receives any more.
#[derive(Debug)]
pub(super) struct Gone;

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            room: self.room.clone(),
            presence: self.presence.clone(),
        }
    }
}

impl<T: Measured> Sender<T> {
    /// What is sent counts as this user's until it has been taken.
    pub fn for_user(self, presence: Arc<Presence>) -> Self {
        Self {
            presence: Some(presence),
            ..self
        }
    }

    pub async fn send(&self, message: T) -> Result<(), Gone> {
        let presence = self.presence.as_ref();
        let charge = presence.map(|presence| presence.hold(message.bytes()));
        let bytes = u32::try_from(message.bytes()).unwrap_or(BYTES).min(BYTES);
        let permit = self.room.clone().acquire_many_owned(bytes).await;
        let room = Room {
            _permit: permit.map_err(|_| Gone)?,
            _charge: charge,
        };
        self.sender.send((message, room)).await.map_err(|_| Gone)
    }

    /// Waits until nobody receives any more.
    pub async fn closed(&self) {
        self.sender.closed().await;
    }
}

impl<T> Receiver<T> {
    /// `None`: nobody sends any more.
    pub async fn receive(&mut self) -> Option<(T, Room)> {
        self.receiver.recv().await
    }

    /// `None`: nothing waits.
    pub fn try_receive(&mut self) -> Option<(T, Room)> {
        self.receiver.try_recv().ok()
    }
}

impl<T> Drop for Receiver<T> {
    /// Whoever waits for room is told that there will be none.
    fn drop(&mut self) {
        self.room.close();
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, task::Poll};

    use futures_util::poll;

    use super::{BYTES, MESSAGES, Measured, queue};
    use crate::{
        limits::{PresenceLimits, Presences},
        model::UserId,
    };

    const ALL: usize = BYTES as usize;

    /// A message, and how many bytes it has.
    impl<T> Measured for (T, usize) {
        fn bytes(&self) -> usize {
            self.1
        }
    }

    #[tokio::test]
    async fn a_message_waits_until_those_before_it_have_made_room() {
        let (sender, mut receiver) = queue();
        sender.send((1, ALL - 1)).await.expect("room");
        let mut second = pin!(sender.send((2, 2)));
        assert!(poll!(&mut second).is_pending());
        let ((message, _), room) = receiver.receive().await.expect("a message");
        assert_eq!(message, 1);
        // Received is not yet sent on.
        assert!(poll!(&mut second).is_pending());
        drop(room);
        assert!(poll!(&mut second).is_ready());
        assert_eq!(receiver.try_receive().expect("a message").0.0, 2);
    }

    #[tokio::test]
    async fn one_that_is_larger_than_all_the_room_goes_alone() {
        let (sender, mut receiver) = queue();
        sender.send(("small", 1)).await.expect("room");
        let mut large = pin!(sender.send(("large", 10 * ALL)));
        assert!(poll!(&mut large).is_pending());
        drop(receiver.receive().await);
        assert!(poll!(&mut large).is_ready());
        assert!(poll!(pin!(sender.send(("small", 1)))).is_pending());
    }

    #[tokio::test]
    async fn small_messages_are_bounded_by_their_number() {
        let (sender, _receiver) = queue();
        for number in 0..MESSAGES {
            sender.send((number, 0)).await.expect("room");
        }
        assert!(poll!(pin!(sender.send((MESSAGES, 0)))).is_pending());
    }

    #[tokio::test]
    async fn whoever_waits_for_room_hears_that_the_receiver_is_gone() {
        let (sender, receiver) = queue();
        sender.send(((), ALL)).await.expect("room");
        let mut waiting = pin!(sender.send(((), 1)));
        assert!(poll!(&mut waiting).is_pending());
        drop(receiver);
        assert!(matches!(poll!(&mut waiting), Poll::Ready(Err(_))));
        sender.closed().await;
    }

    #[tokio::test]
    async fn what_waits_is_its_user_s_until_it_has_been_taken() {
        let presences = Presences::new(PresenceLimits {
            connections: 0,
            bytes: 10,
        });
        let ada = presences.of(UserId::new());
        let (sender, mut receiver) = queue();
        sender.send(("nobody's", 10)).await.expect("room");
        let sender = sender.for_user(ada.clone());
        sender.send(("ada's", 4)).await.expect("room");
        // Those for which there is no room yet count, too.
        let mut waiting = Box::pin(sender.send(("large", ALL)));
        assert!(poll!(&mut waiting).is_pending());
        ada.charge(1).expect_err("too much");
        drop(waiting);
        drop(ada.charge(6).expect("room"));
        ada.charge(7).expect_err("too much");
        receiver.receive().await.expect("nobody's");
        let (_, room) = receiver.receive().await.expect("ada's");
        ada.charge(7).expect_err("received is not yet sent on");
        drop(room);
        ada.charge(10).expect("room");
    }
}
