//! One server process, as far as a history is concerned: a replica on a thread, or the program
//! itself.

mod program;
mod thread;

use std::sync::Arc;

use loquat::{broker::Memory, db::Viewer};
use serde_json::Value;
use tokio::sync::{Mutex, mpsc};

use self::{program::Running, thread::Thread};
use super::author::Author;
use crate::support::{Cable, TestDatabase, redis::RedisServer};

/// Somebody whose devices ask.
#[derive(Debug)]
pub struct User {
    pub name: &'static str,
    pub viewer: Viewer,
}

/// What every process of a history has in common.
pub struct Common {
    pub test: TestDatabase,
    pub author: Arc<Author>,
    /// What threads tell each other by.
    pub memory: Memory,
    /// What programs do, if it is installed.
    pub redis: Mutex<Option<RedisServer>>,
    pub lost_notices: u8,
    /// How many replies a process may write at once, and a user have written; `None`: as usual.
    pub places: Option<(u32, u32)>,
    pub is_faultless: bool,
}

pub struct Process {
    kind: Kind,
    /// Its way to the database.
    pub cable: Cable,
}

enum Kind {
    Thread(Box<Thread>),
    Program(Box<Running>),
}

impl Process {
    pub async fn on_a_thread(common: &Common, seed: u64) -> Self {
        let cable = Cable::to(&common.test.url).await;
        let test = common.test.through(cable.url.clone());
        Self {
            kind: Kind::Thread(Box::new(Thread::start(common, test, seed).await)),
            cable,
        }
    }

    pub async fn of_its_own(common: &Common) -> Self {
        let cable = Cable::to(&common.test.url).await;
        let test = common.test.through(cable.url.clone());
        Self {
            kind: Kind::Program(Box::new(Running::start(common, &test).await)),
            cable,
        }
    }

    /// The answer to an operation; `None`: the process was gone before it answered.
    pub async fn ask(&self, user: &User, document: &str, variables: Value) -> Option<Value> {
        match &self.kind {
            Kind::Thread(thread) => thread.ask(user, document, variables).await,
            Kind::Program(running) => running.ask(user, document, variables).await,
        }
    }

    /// The events of a subscription, as slowly as they are taken. They end with the process, too.
    pub fn subscribe(
        &self,
        user: &User,
        document: &str,
        variables: Value,
    ) -> mpsc::Receiver<Value> {
        match &self.kind {
            Kind::Thread(thread) => thread.subscribe(user, document, variables),
            Kind::Program(running) => running.subscribe(user, document, variables),
        }
    }

    /// `kill -9`.
    pub fn kill(&self) {
        match &self.kind {
            Kind::Thread(thread) => thread.kill(),
            Kind::Program(running) => running.kill(),
        }
        // As the kernel closes its connections.
        self.cable.cut();
    }

    /// Waits until it writes no reply. Of a program, what it has stored says so.
    pub async fn drained(&self) {
        if let Kind::Thread(thread) = &self.kind {
            thread.drained().await;
        }
    }

    /// Waits until it is gone, after it was killed.
    pub async fn reap(&self) {
        if let Kind::Program(running) = &self.kind {
            running.reap().await;
        }
    }

    /// As on SIGTERM, to the end.
    pub async fn stop(&self) {
        match &self.kind {
            Kind::Thread(thread) => thread.stop().await,
            Kind::Program(running) => running.stop().await,
        }
    }

    /// SIGSTOP: nothing of it runs, whatever it waits for.
    pub fn pause(&self) {
        match &self.kind {
            Kind::Thread(thread) => thread.pause(),
            Kind::Program(running) => running.pause(),
        }
    }

    /// SIGCONT.
    pub fn resume(&self) {
        match &self.kind {
            Kind::Thread(thread) => thread.resume(),
            Kind::Program(running) => running.resume(),
        }
    }
}
