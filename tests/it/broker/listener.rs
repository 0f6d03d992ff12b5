use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use loquat::{
    broker::{Broker, Notice, Receiver, ReplyDelta},
    model::{ConversationId, MessageId, UserId},
};
use tokio::sync::Notify;

use crate::support::{eventually, within};

/// Takes down what a process hears.
#[derive(Default)]
pub struct Listener {
    heard: Mutex<Vec<Notice>>,
    looks: AtomicUsize,
    changed: Notify,
}

impl Receiver for Listener {
    fn receive(&self, notice: Notice) {
        self.heard.lock().expect("no panic").push(notice);
        self.changed.notify_waiters();
    }

    fn look_again_at(&self, _: UserId) {}

    fn look_again(&self) {
        self.looks.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_waiters();
    }
}

impl Listener {
    pub fn of(broker: &dyn Broker) -> Arc<Self> {
        let listener = Arc::new(Self::default());
        let receiver: Arc<dyn Receiver> = listener.clone();
        broker.deliver_to(Arc::downgrade(&receiver));
        listener
    }

    /// What has been heard so far, which is forgotten.
    pub fn take(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.heard.lock().expect("no panic"))
    }

    pub fn has_heard(&self, notice: &Notice) -> bool {
        self.heard.lock().expect("no panic").contains(notice)
    }

    /// How often it was told that notices may have been lost.
    pub fn looks(&self) -> usize {
        self.looks.load(Ordering::SeqCst)
    }

    pub async fn until(&self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        within(what, async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if is_so(self) {
                    break;
                }
                changed.await;
            }
        })
        .await;
    }

    /// Waits until what `writer` says of this user arrives, and forgets what has been heard.
    pub async fn in_touch_with(&self, writer: &dyn Broker, user_id: UserId) {
        let probe = changed(user_id);
        eventually("notices arrive", || async {
            writer.publish(probe.clone());
            self.has_heard(&probe).then_some(())
        })
        .await;
        // The last probes are still on their way; they come before this.
        let last = changed(user_id);
        writer.publish(last.clone());
        self.until("the probes are over", |listener| listener.has_heard(&last))
            .await;
        self.take();
    }
}

pub fn changed(user_id: UserId) -> Notice {
    Notice::Changed {
        user_id,
        conversation_id: ConversationId::new(),
    }
}

pub fn delta(user_id: UserId, message_id: MessageId, offset: usize, text: &str) -> Notice {
    Notice::Delta(ReplyDelta {
        user_id,
        message_id,
        attempt: 1,
        offset: u32::try_from(offset).expect("short"),
        text: text.to_owned(),
    })
}

/// The text of a reply in these notices, which leave no gap.
pub fn text_of(notices: &[Notice], of: MessageId) -> String {
    let mut text = String::new();
    for notice in notices {
        if let Notice::Delta(delta) = notice
            && delta.message_id == of
        {
            assert_eq!(delta.offset as usize, text.encode_utf16().count(), "no gap");
            text.push_str(&delta.text);
        }
    }
    text
}
