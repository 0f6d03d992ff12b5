//! The processes, the users and their devices, and what becomes of them step by step.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use loquat::broker::Memory;
use serde_json::json;
use tokio::{
    task::{AbortHandle, JoinHandle},
    time::{Instant, timeout},
};
use uuid::Uuid;

use super::{
    act::{self, Acknowledged},
    plan::{CHATS, Fault, PROCESSES, Plan, Step},
    process::{Common, Process, User},
    subscribers::Subscriber,
    witness,
};
use crate::support::{
    TestDatabase, eventually,
    redis::{Make, RedisServer},
    sign_in, text, within,
};

/// How long a device looks at its answer coming before it does something else.
const GLANCE: Duration = Duration::from_millis(300);

pub struct World {
    pub common: Common,
    place: Place,
    seed: u64,
    processes: Mutex<Vec<Arc<Process>>>,
    started: AtomicUsize,
    users: HashMap<&'static str, User>,
    pub chats: Mutex<Vec<Chat>>,
    pub acknowledged: Mutex<Vec<Acknowledged>>,
    acts: Mutex<Vec<JoinHandle<()>>>,
    /// Every task of a device, for the end of a history that failed.
    running: Mutex<Vec<AbortHandle>>,
    subscribers: Mutex<Vec<Subscriber>>,
    told: Mutex<Vec<String>>,
    began: Instant,
    /// When the leases of a paused process are over, on the database's clock.
    paused: Mutex<HashMap<usize, String>>,
}

/// Where the processes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this one: quick, and many histories at a time.
    Threads,
    /// Each is the program itself.
    Programs,
}

/// A conversation, as far as its user's devices know it.
#[derive(Clone, Debug)]
pub struct Chat {
    pub user: &'static str,
    pub id: String,
    pub questions: Vec<String>,
    pub replies: Vec<String>,
    /// Something of it was deleted, so not all that was acknowledged need be there.
    pub is_cut: bool,
}

impl Chat {
    pub fn new(user: &'static str, id: String) -> Self {
        Self {
            user,
            id,
            questions: Vec::new(),
            replies: Vec::new(),
            is_cut: false,
        }
    }
}

impl World {
    pub async fn start(plan: &Plan, place: Place) -> Self {
        let test = TestDatabase::create().await;
        // The schema first, so that processes start at the same time on one that is there.
        let database = test.open_with(2).await;
        let mut users = HashMap::new();
        for user in CHATS {
            let viewer = sign_in(&database, user).await;
            users.insert(user, User { name: user, viewer });
        }
        database.close().await;
        witness::call(&mut test.superuser().await).await;
        let redis = match place {
            Place::Threads => None,
            Place::Programs => RedisServer::start(Make::Redis).await,
        };
        let world = Self {
            common: Common {
                test,
                author: Arc::default(),
                memory: Memory::default(),
                redis: tokio::sync::Mutex::new(redis),
                lost_notices: plan.lost_notices,
                places: plan.places,
                is_faultless: plan.is_faultless(),
            },
            place,
            seed: plan.seed,
            processes: Mutex::default(),
            started: AtomicUsize::new(0),
            users,
            chats: Mutex::default(),
            acknowledged: Mutex::default(),
            acts: Mutex::default(),
            running: Mutex::default(),
            subscribers: Mutex::default(),
            told: Mutex::default(),
            began: Instant::now(),
            paused: Mutex::default(),
        };
        let processes = (0..PROCESSES).map(|_| world.start_process());
        let processes = futures_util::future::join_all(processes).await;
        *world.processes.lock().expect("no panic") = processes;
        for user in CHATS {
            let document = "mutation { startChat(input: {}) { conversation { id } } }";
            let process = world.process(0);
            let answer = process.ask(world.user(user), document, json!({}));
            let answer = answer.await.expect("a process");
            let id = text(&answer["data"]["startChat"]["conversation"]["id"]);
            let mut chats = world.chats.lock().expect("no panic");
            chats.push(Chat::new(user, id));
        }
        let (lost, places) = (plan.lost_notices, plan.places);
        world.tell(format!(
            "{lost} % of the notices are lost, places: {places:?}"
        ));
        world
    }

    async fn start_process(&self) -> Arc<Process> {
        let number = self.started.fetch_add(1, Ordering::SeqCst);
        let seed = self.seed * 1000 + number as u64;
        Arc::new(match self.place {
            Place::Threads => Process::on_a_thread(&self.common, seed).await,
            Place::Programs => Process::of_its_own(&self.common).await,
        })
    }

    pub fn process(&self, index: usize) -> Arc<Process> {
        Arc::clone(&self.processes.lock().expect("no panic")[index % PROCESSES])
    }

    pub fn user(&self, name: &str) -> &User {
        &self.users[name]
    }

    pub fn tell(&self, what: String) {
        let at = self.began.elapsed().as_millis();
        let mut told = self.told.lock().expect("no panic");
        told.push(format!("{at:>6} {what}"));
    }

    /// What has happened.
    pub fn told(&self) -> String {
        self.told.lock().expect("no panic").join("\n")
    }

    pub async fn live(self: &Arc<Self>, plan: &Plan) {
        for (number, step) in plan.steps.iter().enumerate() {
            self.tell(format!("[{number}] {step:?}"));
            match *step {
                Step::Act { act, waits } => {
                    let world = Arc::clone(self);
                    let mut acting = tokio::spawn(act::perform(world, number, act));
                    self.running
                        .lock()
                        .expect("no panic")
                        .push(acting.abort_handle());
                    if waits && let Ok(done) = timeout(GLANCE, &mut acting).await {
                        done.expect("an operation that is answered as it may be");
                        continue;
                    }
                    self.acts.lock().expect("no panic").push(acting);
                }
                Step::Say { pick, words } => self.common.author.say(pick, words),
                Step::Finish { pick, how } => self.common.author.finish(pick, how),
                Step::Follow {
                    pick,
                    process,
                    slow,
                } => {
                    if let Some(new) = Subscriber::start(self, number, pick, process, slow) {
                        self.running
                            .lock()
                            .expect("no panic")
                            .push(new.abort_handle());
                        self.subscribers.lock().expect("no panic").push(new);
                    }
                }
                Step::Read { pick } => self.with_subscriber(pick, Subscriber::read_one),
                Step::Cut { pick } => self.with_subscriber(pick, Subscriber::cut),
                Step::Fault(fault) => self.suffer(fault).await,
            }
            // Whoever was woken by this has its turn.
            tokio::task::yield_now().await;
        }
    }

    fn with_subscriber(&self, pick: usize, what: impl Fn(&Subscriber)) {
        let subscribers = self.subscribers.lock().expect("no panic");
        if !subscribers.is_empty() {
            what(&subscribers[pick % subscribers.len()]);
        }
    }

    async fn suffer(&self, fault: Fault) {
        match fault {
            Fault::Kill { process } => {
                self.process(process).kill();
                self.replace(process).await;
            }
            Fault::Restart { process } => {
                self.process(process).stop().await;
                self.replace(process).await;
            }
            Fault::Pause { process } => {
                self.process(process).pause();
                let over: String = sqlx::query_scalar(
                    "select coalesce(max(lease_expires_at), clock_timestamp())::text from chat.replies",
                )
                .fetch_one(&mut self.common.test.superuser().await)
                .await
                .expect("a time");
                self.paused.lock().expect("no panic").insert(process, over);
            }
            Fault::Resume { process } => {
                self.leases_over(process).await;
                self.process(process).resume();
            }
            Fault::Sever { process } => self.process(process).cable.cut(),
            Fault::Stall { process } => self.process(process).cable.stall(),
            Fault::Mend { process } => self.process(process).cable.mend(),
            Fault::RestartDatabase => self.hang_up_on_all().await,
            Fault::StopDatabase => {
                for index in 0..PROCESSES {
                    self.process(index).cable.cut();
                }
                self.hang_up_on_all().await;
            }
            Fault::StartDatabase => self.mend_all(),
            Fault::RestartRedis => {
                self.stop_redis().await;
                self.start_redis().await;
            }
            Fault::StopRedis => self.stop_redis().await,
            Fault::StartRedis => self.start_redis().await,
        }
    }

    /// The database ends every connection to a process.
    async fn hang_up_on_all(&self) {
        sqlx::query(
            "select pg_terminate_backend(pid) from pg_stat_activity \
             where datname = current_database() and application_name = 'loquat'",
        )
        .execute(&mut self.common.test.superuser().await)
        .await
        .expect("terminated");
    }

    fn mend_all(&self) {
        for index in 0..PROCESSES {
            self.process(index).cable.mend();
        }
    }

    async fn stop_redis(&self) {
        if let Some(redis) = &mut *self.common.redis.lock().await {
            redis.kill().await;
        }
    }

    async fn start_redis(&self) {
        if let Some(redis) = &mut *self.common.redis.lock().await {
            redis.restart().await;
        }
    }

    async fn replace(&self, index: usize) {
        let new = self.start_process().await;
        self.paused.lock().expect("no panic").remove(&index);
        self.processes.lock().expect("no panic")[index] = new;
    }

    /// Waits until another process has had the time to take what this one held when it was paused.
    async fn leases_over(&self, process: usize) {
        let over = self.paused.lock().expect("no panic").remove(&process);
        let Some(over) = over else { return };
        eventually("the leases are over", || async {
            let is_over: bool =
                sqlx::query_scalar("select clock_timestamp() > $1::timestamptz + interval '1 s'")
                    .bind(&over)
                    .fetch_one(&mut self.common.test.superuser().await)
                    .await
                    .expect("the time");
            is_over.then_some(())
        })
        .await;
    }

    /// Everything is as it should be again, and everybody waits for what is still to come.
    pub async fn settle(self: &Arc<Self>) {
        for index in 0..PROCESSES {
            self.leases_over(index).await;
            self.process(index).resume();
        }
        self.mend_all();
        self.start_redis().await;
        self.common.author.hurry();
        self.tell("all is mended".to_owned());
        let acts = std::mem::take(&mut *self.acts.lock().expect("no panic"));
        for act in acts {
            let act = within("an operation is answered", act).await;
            act.expect("an operation that is answered as it may be");
        }
        self.tell("all is answered".to_owned());
        self.every_reply_ends().await;
        self.tell("every reply is terminal".to_owned());
        for index in 0..PROCESSES {
            let process = self.process(index);
            within("a process writes nothing more", process.drained()).await;
        }
        self.no_lock_is_left().await;
        let subscribers = std::mem::take(&mut *self.subscribers.lock().expect("no panic"));
        for subscriber in subscribers {
            subscriber.end().await;
        }
    }

    /// Each in its turn: with few places many may wait for one.
    async fn every_reply_ends(&self) {
        let mut left = self.unfinished().await;
        while !left.is_empty() {
            self.tell(format!("unfinished, by attempts: {left:?}"));
            left = eventually("a reply that is unfinished goes on", || async {
                let now = self.unfinished().await;
                (now != left).then_some(now)
            })
            .await;
        }
    }

    /// Replies that are not terminal, and runs that are left, with how often they were begun.
    async fn unfinished(&self) -> Vec<(Uuid, i32)> {
        sqlx::query_as(
            "select coalesce(r.message_id, m.id), coalesce(r.attempt, 0) from chat.replies r \
             full join (select user_id, id from chat.messages \
               where completed_at is null or status in ('PENDING', 'STREAMING')) m \
             on (m.user_id, m.id) = (r.user_id, r.message_id) order by 1",
        )
        .fetch_all(&mut self.common.test.superuser().await)
        .await
        .expect("replies")
    }

    /// No process keeps a transaction, with whatever it has locked or reserved, longer than it takes.
    async fn no_lock_is_left(&self) {
        eventually("no transaction is left open", || async {
            let left: i64 = sqlx::query_scalar(
                "select (select count(*) from pg_stat_activity where pid <> pg_backend_pid() \
                   and datname = current_database() and state like 'idle in transaction%' \
                   and state_change < clock_timestamp() - interval '0.1 s') \
                 + (select count(*) from pg_locks l join pg_database d on d.oid = l.database \
                   where l.locktype = 'advisory' and d.datname = current_database())",
            )
            .fetch_one(&mut self.common.test.superuser().await)
            .await
            .expect("a count");
            (left == 0).then_some(())
        })
        .await;
    }

    /// Nothing of it runs any more.
    pub async fn end(&self) {
        for task in self.running.lock().expect("no panic").iter() {
            task.abort();
        }
        for process in self.processes.lock().expect("no panic").iter() {
            process.kill();
        }
        if self.place == Place::Programs {
            let processes = std::mem::take(&mut *self.processes.lock().expect("no panic"));
            for process in processes {
                process.reap().await;
            }
        }
    }
}
