//! A broker that loses some of its notices.

use std::sync::{
    Arc, Mutex, Weak,
    atomic::{AtomicBool, Ordering},
};

use loquat::{
    broker::{Broker, Member, Notice, Receiver},
    model::UserId,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::runtime::Handle;

pub struct Lossy {
    member: Member,
    /// How many of a hundred are lost.
    lost: u8,
    random: Mutex<StdRng>,
    /// Its process is no more: it says nothing, whatever its last tasks still try.
    silent: AtomicBool,
    own: Mutex<Option<Arc<Own>>>,
}

/// Takes notices where its process runs, as from a wire: not where they were published.
struct Own {
    runtime: Handle,
    receiver: Weak<dyn Receiver>,
}

impl Own {
    fn with(&self, take: impl FnOnce(&dyn Receiver) + Send + 'static) {
        let receiver = Weak::clone(&self.receiver);
        self.runtime.spawn(async move {
            if let Some(receiver) = receiver.upgrade() {
                take(&*receiver);
            }
        });
    }
}

impl Receiver for Own {
    fn receive(&self, notice: Notice) {
        self.with(|receiver| receiver.receive(notice));
    }

    fn look_again(&self) {
        self.with(|receiver| receiver.look_again());
    }

    fn look_again_at(&self, user_id: UserId) {
        self.with(move |receiver| receiver.look_again_at(user_id));
    }
}

impl Lossy {
    pub fn new(member: Member, lost: u8, seed: u64) -> Self {
        Self {
            member,
            lost,
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            silent: AtomicBool::new(false),
            own: Mutex::default(),
        }
    }

    pub fn fall_silent(&self) {
        self.silent.store(true, Ordering::SeqCst);
    }
}

impl Broker for Lossy {
    fn deliver_to(&self, receiver: Weak<dyn Receiver>) {
        let own = Arc::new(Own {
            runtime: Handle::current(),
            receiver,
        });
        let receiver: Arc<dyn Receiver> = own.clone();
        self.member.deliver_to(Arc::downgrade(&receiver));
        *self.own.lock().expect("no panic") = Some(own);
    }

    fn publish(&self, notice: Notice) {
        let is_lost = self.random.lock().expect("no panic").random_range(0..100) < self.lost;
        if !is_lost && !self.silent.load(Ordering::SeqCst) {
            self.member.publish(notice);
        }
    }

    fn follow(&self, user_id: UserId) {
        self.member.follow(user_id);
    }

    fn unfollow(&self, user_id: UserId) {
        self.member.unfollow(user_id);
    }
}
