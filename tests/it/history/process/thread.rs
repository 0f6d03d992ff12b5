//! A replica on a thread of its own, which can be ended in the middle of anything, or held still.

use std::{
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use async_graphql::{Request, Variables};
use futures_util::StreamExt;
use loquat::{
    accounts::Accounts,
    chat::{Chat, Timing},
    config::{ChatSettings, RunSettings, TitleSettings},
    graphql::{Schema, schema, session_data},
    lifecycle::Lifecycle,
};
use serde_json::Value;
use tokio::{runtime, sync::oneshot};

use super::{super::broker::Lossy, Common, User};
use crate::support::{QUICK, Replica, TestDatabase, ample_budget, session_of};

/// Quicker than any user, and slower than a machine with much to do.
const TIMING: Timing = Timing {
    tick: Duration::from_millis(50),
    lease: Duration::from_secs(2),
    renewal: Duration::from_millis(300),
    recovery: Duration::from_millis(200),
    progress: Duration::from_millis(100),
    ..QUICK
};

/// For histories without faults: nobody is taken for dead because the machine has much to do.
const PATIENT: Timing = Timing {
    lease: Duration::from_secs(60),
    ..TIMING
};

/// How long a process that is stopped softly lets its replies run on.
const GRACE: Duration = Duration::from_millis(200);

pub struct Thread {
    runtime: runtime::Handle,
    lifecycle: Lifecycle,
    chat: Chat,
    schema: Schema,
    accounts: Accounts,
    broker: Arc<Lossy>,
    /// Dropped, the thread ends with all that runs on it.
    alive: Mutex<Option<oneshot::Sender<()>>>,
    /// While there is one, the thread stands still.
    held: Mutex<Option<mpsc::Sender<()>>>,
}

impl Thread {
    pub async fn start(common: &Common, test: TestDatabase, seed: u64) -> Self {
        let member = common.memory.join();
        let broker = Arc::new(Lossy::new(member, common.lost_notices, seed));
        let timing = if common.is_faultless { PATIENT } else { TIMING };
        let runs = common.places.map(|(most, most_per_user)| RunSettings {
            most,
            most_per_user,
        });
        let runs = runs.unwrap_or_default();
        let author = Arc::clone(&common.author);
        let (alive, end) = oneshot::channel::<()>();
        let (started, start) = oneshot::channel();
        let own_broker = Arc::clone(&broker);
        thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async move {
                let settings = ChatSettings {
                    titles: TitleSettings::TheModel,
                    runs,
                    ..ChatSettings::default()
                };
                let replica = Replica::told_by(&test, own_broker, timing, settings).await;
                let Replica {
                    chat,
                    accounts,
                    lifecycle,
                    desk,
                    ..
                } = replica;
                drop(started.send((runtime::Handle::current(), chat, accounts, lifecycle)));
                tokio::select! {
                    biased;
                    // Its sender is dropped.
                    _ = end => {}
                    () = author.write_for(&desk) => {}
                }
            });
            runtime.shutdown_background();
        });
        let (runtime, chat, accounts, lifecycle) = start.await.expect("a replica");
        Self {
            runtime,
            lifecycle,
            schema: schema(chat.clone(), accounts.clone()),
            chat,
            accounts,
            broker,
            alive: Mutex::new(Some(alive)),
            held: Mutex::new(None),
        }
    }

    /// The answer to an operation; `None`: the process was gone before it answered.
    pub async fn ask(&self, user: &User, document: &str, variables: Value) -> Option<Value> {
        let request = self.request(user, document, variables);
        let schema = self.schema.clone();
        let answer = self
            .runtime
            .spawn(async move { schema.execute(request).await });
        let answer = answer.await.ok()?;
        Some(serde_json::to_value(answer).expect("an answer is JSON"))
    }

    /// The events of a subscription, as slowly as they are taken. They end with the process, too.
    pub fn subscribe(
        &self,
        user: &User,
        document: &str,
        variables: Value,
    ) -> tokio::sync::mpsc::Receiver<Value> {
        let request = self.request(user, document, variables);
        let mut events = self.schema.execute_stream(request);
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        self.runtime.spawn(async move {
            loop {
                let event = tokio::select! {
                    event = events.next() => event,
                    () = sender.closed() => return,
                };
                let Some(event) = event else { return };
                let event = serde_json::to_value(event).expect("an event is JSON");
                if sender.send(event).await.is_err() {
                    return;
                }
            }
        });
        receiver
    }

    fn request(&self, user: &User, document: &str, variables: Value) -> Request {
        let request = Request::new(document).variables(Variables::from_json(variables));
        session_data(
            request,
            &self.chat,
            &self.accounts,
            session_of(&user.viewer),
            ample_budget(),
        )
    }

    /// `kill -9`.
    pub fn kill(&self) {
        self.broker.fall_silent();
        drop(self.alive.lock().expect("no panic").take());
        self.resume();
    }

    /// As on SIGTERM.
    pub async fn stop(&self) {
        self.resume();
        self.lifecycle.begin_soft_stop();
        drop(tokio::time::timeout(GRACE, self.chat.drained()).await);
        self.lifecycle.begin_hard_stop();
        drop(tokio::time::timeout(5 * GRACE, self.lifecycle.finished()).await);
        self.kill();
    }

    /// Waits until it writes no reply.
    pub async fn drained(&self) {
        self.chat.drained().await;
    }

    /// SIGSTOP: nothing of it runs, whatever it waits for.
    pub fn pause(&self) {
        let mut held = self.held.lock().expect("no panic");
        if held.is_none() {
            let (release, hold) = mpsc::channel::<()>();
            self.runtime.spawn(async move {
                let _ = hold.recv();
            });
            *held = Some(release);
        }
    }

    /// SIGCONT.
    pub fn resume(&self) {
        drop(self.held.lock().expect("no panic").take());
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.kill();
    }
}
