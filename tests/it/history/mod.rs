//! Random histories: devices of users at work on several replicas, while processes are killed,
//! paused and stopped, the database goes away and notices are lost. Whatever happened, the promises
//! hold at the end.
//!
//! A history is made from a seed, and a seed makes the same plan each time; what runs at the same
//! time is up to the machine. `LOQUAT_HISTORY_SEED=7` runs one, `LOQUAT_HISTORY_SEEDS=1000` as many
//! from 0 on, `LOQUAT_HISTORY_SEEDS=300..400` those. A failure prints its seed, its plan, and what
//! came of it.

mod act;
mod author;
mod broker;
mod check;
mod plan;
mod process;
mod seen;
mod subscribers;
mod witness;
mod world;

use std::{env, ops::Range, sync::Arc};

use futures_util::{StreamExt, stream};

use self::{
    plan::Plan,
    world::{Place, World},
};

/// How many histories a run of all tests tries.
const SEEDS: u64 = 30;

/// And how many with real processes, whose clocks are those of production.
const PROGRAM_SEEDS: u64 = 3;

/// How many are under way at once: most of their time they wait for leases to run out.
const AT_ONCE: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_the_promises_hold() {
    hold(Place::Threads, SEEDS, AT_ONCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_to_real_processes_the_promises_hold() {
    hold(Place::Programs, PROGRAM_SEEDS, PROGRAM_SEEDS as usize).await;
}

async fn hold(place: Place, usual: u64, at_once: usize) {
    // What the processes complain of, for who reads why a history failed.
    let log = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN);
    let _ = log.with_test_writer().with_ansi(false).try_init();
    let failed: Vec<u64> = stream::iter(seeds(usual))
        .map(|seed| async move { (!holds(place, seed).await).then_some(seed) })
        .buffer_unordered(at_once)
        .filter_map(|failed| async move { failed })
        .collect()
        .await;
    assert!(failed.is_empty(), "LOQUAT_HISTORY_SEED: {failed:?}");
}

fn seeds(usual: u64) -> Range<u64> {
    let number = |value: &str| value.parse::<u64>().expect("a number");
    if let Ok(one) = env::var("LOQUAT_HISTORY_SEED") {
        let seed = number(&one);
        return seed..seed + 1;
    }
    match env::var("LOQUAT_HISTORY_SEEDS") {
        Ok(many) => match many.split_once("..") {
            Some((first, end)) => number(first)..number(end),
            None => 0..number(&many),
        },
        Err(_) => 0..usual,
    }
}

/// Whether the promises held. Otherwise it has told what happened.
async fn holds(place: Place, seed: u64) -> bool {
    let plan = Plan::of(seed);
    let world = Arc::new(World::start(&plan, place).await);
    let run = Arc::clone(&world);
    let history = tokio::spawn(async move {
        run.live(&plan).await;
        run.settle().await;
        check::promises(&run).await
    });
    let outcome = history.await;
    match &outcome {
        Ok(figures) => eprintln!("history {seed} held: {figures}"),
        Err(error) => eprintln!("history {seed} failed: {error}\n{}", world.told()),
    }
    world.end().await;
    outcome.is_ok()
}
