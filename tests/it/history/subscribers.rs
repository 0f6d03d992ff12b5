//! Devices that follow what happens, through cuts and processes that go, and keep the contract's
//! rules and nothing else.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    sync::{Notify, Semaphore},
    task::{AbortHandle, JoinHandle},
    time::{Instant, timeout},
};

use super::{
    act::code,
    plan::PROCESSES,
    seen::{Seen, Subject},
    world::World,
};

/// How long a client library waits before it connects again.
const PAUSE: Duration = Duration::from_millis(20);

/// How long the end may take, once nothing is in its way.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Subscriber {
    follower: Arc<Follower>,
    task: JoinHandle<()>,
}

struct Follower {
    world: Arc<World>,
    number: usize,
    user: &'static str,
    subject: Subject,
    /// How many events may be read; closed: all.
    reads: Semaphore,
    cut: Notify,
    seen: Mutex<Seen>,
    /// The latest, for who wonders why it does not end.
    last: Mutex<String>,
}

impl Subscriber {
    /// `None`: there is nothing to follow yet.
    pub fn start(
        world: &Arc<World>,
        number: usize,
        pick: usize,
        process: usize,
        slow: bool,
    ) -> Option<Self> {
        let (user, subject) = Subject::pick(&world.chats.lock().expect("no panic"), pick)?;
        world.tell(format!("[{number}] follows {subject:?} of {user}"));
        let follower = Arc::new(Follower {
            world: Arc::clone(world),
            number,
            user,
            reads: Semaphore::new(0),
            cut: Notify::new(),
            seen: Mutex::new(subject.unseen()),
            subject,
            last: Mutex::default(),
        });
        if !slow {
            follower.reads.close();
        }
        let task = tokio::spawn(Arc::clone(&follower).follow(process));
        Some(Self { follower, task })
    }

    pub fn abort_handle(&self) -> AbortHandle {
        self.task.abort_handle()
    }

    pub fn read_one(&self) {
        if !self.follower.reads.is_closed() {
            self.follower.reads.add_permits(1);
        }
    }

    pub fn cut(&self) {
        self.follower.cut.notify_one();
    }

    /// Reads until it has what is stored, which must come.
    pub async fn end(mut self) {
        let follower = &self.follower;
        follower.reads.close();
        let is_reply = matches!(follower.subject, Subject::Reply(_));
        if is_reply {
            let Ok(ended) = timeout(PATIENCE, &mut self.task).await else {
                panic!("no end: {}", follower.told());
            };
            ended.expect("a subscriber without a complaint");
        }
        let began = Instant::now();
        loop {
            let stored = follower.stored().await;
            // A reply that is gone was there when it was read.
            if follower.seen().as_queried() == stored || is_reply && stored.is_null() {
                break;
            }
            let is_late = began.elapsed() > PATIENCE;
            assert!(!is_late, "stored is {stored}: {}", follower.told());
            if !is_reply && self.task.is_finished() {
                (&mut self.task)
                    .await
                    .expect("a subscriber without a complaint");
                panic!("it ended: stored is {stored}: {}", follower.told());
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.task.abort();
    }
}

impl Follower {
    async fn follow(self: Arc<Self>, mut process: usize) {
        while !self.connect(process).await {
            tokio::time::sleep(PAUSE).await;
            process = (process + 1) % PROCESSES;
        }
    }

    /// Whether there is nothing more to come. Otherwise the connection was cut, and client libraries
    /// make another.
    async fn connect(&self, process: usize) -> bool {
        let there = self.world.process(process);
        let user = self.world.user(self.user);
        let mut events =
            there.subscribe(user, self.subject.subscription(), self.subject.variables());
        self.note(format!("subscribed at {process}"));
        self.seen().subscribed_again();
        loop {
            // Closed, it lets everybody pass.
            if let Ok(permit) = self.reads.acquire().await {
                permit.forget();
            }
            let event = tokio::select! {
                event = events.recv() => event,
                () = self.cut.notified() => return false,
            };
            let Some(event) = event else { return false };
            self.note(event.to_string());
            match code(&event) {
                None => {}
                Some("NOT_FOUND") => {
                    *self.seen() = Seen::Gone;
                    return true;
                }
                Some("UNAVAILABLE") => return false,
                Some(_) => panic!("[{}] {event}", self.number),
            }
            assert_eq!(event.get("errors"), None, "[{}] {event}", self.number);
            let is_last = self.seen().apply(self.subject.event(&event));
            if is_last {
                let more = tokio::select! {
                    more = events.recv() => more,
                    () = self.cut.notified() => None,
                };
                assert_eq!(more, None, "nothing follows the end");
                return true;
            }
        }
    }

    /// As a query has it.
    async fn stored(&self) -> Value {
        let user = self.world.user(self.user);
        loop {
            let process = self.world.process(0);
            let query = self.subject.query();
            let found = process.ask(user, query, self.subject.variables()).await;
            if let Some(found) = found.filter(|found| code(found).is_none()) {
                return self.subject.queried(&found);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Of one that has complained, which is told in its turn.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, what: String) {
        *self.last.lock().expect("no panic") = what;
    }

    fn told(&self) -> String {
        let (seen, last) = (self.seen(), self.last.lock().expect("no panic"));
        let Self {
            number, subject, ..
        } = self;
        format!("[{number}] follows {subject:?}, has {seen:?}, and heard last {last}")
    }
}
