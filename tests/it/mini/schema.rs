//! A schema whose fields do what a test asks of them.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use async_graphql::{
    Context, Error, ErrorExtensions, InputObject, Object, Result, Schema, Subscription,
};
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::{Semaphore, broadcast, watch};
use tokio_stream::wrappers::BroadcastStream;

use super::User;

pub type MiniSchema = Schema<Query, Mutation, Events>;

pub fn schema(controls: &Controls) -> MiniSchema {
    Schema::build(Query, Mutation, Events)
        .disable_suggestions()
        .data(controls.clone())
        .finish()
}

/// What a test holds in its hand.
#[derive(Clone)]
pub struct Controls(Arc<Inner>);

struct Inner {
    gates: Mutex<HashMap<String, Arc<Semaphore>>>,
    ticks: broadcast::Sender<i32>,
    running: watch::Sender<usize>,
    produced: AtomicU64,
    resolved: AtomicU64,
    mutations: watch::Sender<usize>,
}

impl Default for Controls {
    fn default() -> Self {
        Self(Arc::new(Inner {
            gates: Mutex::default(),
            ticks: broadcast::Sender::new(1_000),
            running: watch::Sender::new(0),
            produced: AtomicU64::new(0),
            resolved: AtomicU64::new(0),
            mutations: watch::Sender::new(0),
        }))
    }
}

impl Controls {
    /// The gate itself: whoever acquires it has passed.
    pub fn semaphore(&self, name: &str) -> Arc<Semaphore> {
        let mut gates = self.0.gates.lock().expect("not poisoned");
        gates
            .entry(name.to_owned())
            .or_insert_with(|| Arc::new(Semaphore::new(0)))
            .clone()
    }

    /// Waits until the test opens the gate.
    pub async fn gate(&self, name: &str) {
        let semaphore = self.semaphore(name);
        drop(semaphore.acquire().await.expect("never closed"));
    }

    pub fn open(&self, name: &str) {
        self.semaphore(name).add_permits(1);
    }

    pub fn tick(&self, number: i32) {
        self.0.ticks.send(number).expect("somebody listens");
    }

    /// Waits until exactly so many subscriptions run.
    pub async fn running(&self, number: usize) {
        let mut running = self.0.running.subscribe();
        crate::support::within(
            "subscriptions run or end",
            running.wait_for(|now| *now == number),
        )
        .await
        .expect("the sender lives");
    }

    /// Waits until so many mutations have been carried out to their end.
    pub async fn mutations(&self, number: usize) {
        let mut mutations = self.0.mutations.subscribe();
        crate::support::within("mutations end", mutations.wait_for(|now| *now == number))
            .await
            .expect("the sender lives");
    }

    /// How many events floods have made.
    pub fn produced(&self) -> u64 {
        self.0.produced.load(Ordering::SeqCst)
    }

    /// How many resolvers of the root have run.
    pub fn resolved(&self) -> u64 {
        self.0.resolved.load(Ordering::SeqCst)
    }

    fn count(&self) {
        self.0.resolved.fetch_add(1, Ordering::SeqCst);
    }

    fn run(&self) -> Running {
        self.0.running.send_modify(|running| *running += 1);
        Running(self.clone())
    }
}

/// Counts a subscription for as long as it lives.
struct Running(Controls);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.running.send_modify(|running| *running -= 1);
    }
}

fn failure() -> Error {
    Error::new("There is no such thing.").extend_with(|_, extensions| {
        extensions.set("code", "NOT_FOUND");
    })
}

fn controls<'a>(context: &Context<'a>) -> &'a Controls {
    context.data_unchecked::<Controls>()
}

#[derive(InputObject)]
pub struct Filter {
    title: String,
    limit: Option<i32>,
}

pub struct Query;

#[Object]
impl Query {
    async fn hello(&self, context: &Context<'_>) -> &str {
        controls(context).count();
        "world"
    }

    async fn who(&self, context: &Context<'_>) -> Result<String> {
        controls(context).count();
        Ok(context.data::<User>()?.name.clone())
    }

    async fn echo(&self, text: String) -> String {
        text
    }

    async fn find(&self, filter: Filter) -> String {
        format!("{}:{}", filter.title, filter.limit.unwrap_or(0))
    }

    async fn large(&self, bytes: usize) -> String {
        "x".repeat(bytes)
    }

    async fn gate(&self, context: &Context<'_>, name: String) -> String {
        controls(context).gate(&name).await;
        name
    }

    async fn fails(&self) -> Option<Result<i32>> {
        Some(Err(failure()))
    }

    async fn fails_hard(&self) -> Result<i32> {
        Err(failure())
    }

    async fn leaks(&self) -> Option<Result<i32>> {
        Some(Err(Error::new("relation \"users\" does not exist")))
    }

    async fn internal(&self) -> Option<Result<i32>> {
        Some(Err(Error::new("Something went wrong on the server.")
            .extend_with(|_, extensions| {
                extensions.set("code", "INTERNAL_SERVER_ERROR")
            })))
    }

    async fn panics(&self, #[graphql(default)] unless: bool) -> bool {
        assert!(unless, "on purpose");
        unless
    }
}

pub struct Mutation;

#[Object]
impl Mutation {
    /// Waits for the gate `mutation` and is counted at its end.
    async fn increment(&self, context: &Context<'_>) -> usize {
        let controls = controls(context);
        controls.count();
        controls.gate("mutation").await;
        let mut now = 0;
        controls.0.mutations.send_modify(|number| {
            *number += 1;
            now = *number;
        });
        now
    }

    async fn set(&self, context: &Context<'_>) -> bool {
        controls(context).count();
        true
    }
}

pub struct Events;

#[Subscription(name = "Subscription")]
impl Events {
    /// What the test ticks, from now on.
    async fn ticks(&self, context: &Context<'_>) -> impl Stream<Item = i32> + use<> {
        let controls = controls(context);
        let ticks = BroadcastStream::new(controls.0.ticks.subscribe());
        let running = controls.run();
        ticks.filter_map(move |tick| {
            let _ = &running;
            async move { tick.ok() }
        })
    }

    async fn count_to(&self, context: &Context<'_>, last: i32) -> impl Stream<Item = i32> + use<> {
        controls(context).count();
        stream::iter(1..=last)
    }

    async fn never(&self, context: &Context<'_>) -> impl Stream<Item = i32> + use<> {
        let running = controls(context).run();
        stream::pending().map(move |number: i32| {
            let _ = &running;
            number
        })
    }

    /// Always has one more.
    async fn flood(
        &self,
        context: &Context<'_>,
        bytes: usize,
    ) -> impl Stream<Item = String> + use<> {
        let controls = controls(context).clone();
        let running = controls.run();
        stream::repeat_with(move || {
            let _ = &running;
            controls.0.produced.fetch_add(1, Ordering::SeqCst);
            "x".repeat(bytes)
        })
    }

    async fn stumbles(&self) -> impl Stream<Item = Stumble> + use<> {
        stream::iter([1, 2].map(|number| Stumble { number }))
    }

    async fn refuses(&self) -> Result<stream::Empty<i32>> {
        Err(failure())
    }

    async fn panics(&self) -> impl Stream<Item = i32> + use<> {
        stream::iter([1, 2]).map(|number| {
            assert!(number < 2, "on purpose");
            number
        })
    }
}

struct Stumble {
    number: i32,
}

#[Object]
impl Stumble {
    async fn number(&self) -> i32 {
        self.number
    }

    async fn odd(&self) -> Option<Result<i32>> {
        (self.number % 2 == 1).then(|| Err(failure()))
    }
}
