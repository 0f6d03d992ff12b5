//! What other users notice of a crowd, and of clients that mean harm.
//!
//! `cargo bench --bench load` starts a server on a database of its own and measures what some users
//! wait for: alone, while each crowd arrives, and while it is there; then the same of all crowds at
//! once, twice. Beside the p99 stands how many times the one of just before it is. Memory that the
//! second round adds to the first is a leak.
//!
//! The users, the crowd, the server and the database share one machine, so the times say little by
//! themselves: the ratios count. Alone, the users leave at least half of the machine idle, and the
//! crowd has a thread of its own, but one that takes a processor's time takes it from the others too:
//! so each line says who took how much.
//!
//! No ratio is asserted: a busy machine must not make it red. What is asserted is that each crowd is
//! there while it is measured. `LOQUAT_LOAD_SECONDS` is how long each measurement takes, 15 by
//! default; `cargo bench --bench load -- subscriptions` has those rounds alone whose name says that.

#![expect(
    clippy::print_stdout,
    reason = "what it measures is for people to read"
)]

mod crowd;
mod hostile;
mod machine;
mod report;
mod server;
mod socket;
mod users;

use std::{env, slice, time::Duration};

use crowd::{Crowd, Kind};
use machine::Ticks;
use report::Report;
use server::Server;
use tokio::{
    runtime::{Builder, Handle},
    time::sleep,
};
use users::Users;

const CROWDS: [Kind; 5] = [
    Kind::SlowRequests(1_000),
    Kind::SlowSockets(1_000),
    Kind::HalfOpen(5_000),
    Kind::Subscribers(10_000),
    Kind::NeverReading(10),
];

/// What the server is set to: room for all of them, and for the users.
const MOST_CONNECTIONS: usize = 18_000;

/// Descriptors of each process for what is not the crowd's.
const RESERVE: usize = 700;

fn main() {
    let connections = CROWDS.iter().map(|kind| kind.many()).sum::<usize>();
    let descriptors = machine::raise_descriptors();
    let needed = connections + RESERVE;
    assert!(
        descriptors >= needed as u64,
        "{needed} file descriptors are needed, and the limit is {descriptors}: ulimit -Hn {needed}"
    );
    let seconds = env::var("LOQUAT_LOAD_SECONDS").map_or(15, |seconds| {
        seconds.parse().expect("LOQUAT_LOAD_SECONDS: a number")
    });
    // The users must not wait for the crowd's client to have time for them.
    let of_crowd = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let of_crowd = of_crowd.expect("a runtime");
    let of_users = Builder::new_current_thread().enable_all().build();
    let measuring = measure(of_crowd.handle(), Duration::from_secs(seconds));
    of_users.expect("a runtime").block_on(measuring);
}

async fn measure(of_crowd: &Handle, length: Duration) {
    let server = Server::start(MOST_CONNECTIONS).await;
    let mut users = Users::prepare(server.address).await;
    hostile::prepare(server.address).await;
    // Caches, pools and the allocator's first pages.
    users.work(sleep(length)).await;
    let mut bench = Bench {
        of_crowd: of_crowd.clone(),
        server,
        users,
        length,
        report: Report::default(),
    };
    let chosen = env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    let rounds = CROWDS
        .iter()
        .map(|kind| (kind.to_string(), slice::from_ref(kind)));
    let together = ["all of them", "all of them, again"].map(|name| (name.to_owned(), &CROWDS[..]));
    for (name, kinds) in rounds.chain(together) {
        if chosen.as_ref().is_none_or(|chosen| name.contains(chosen)) {
            bench.beside(&name, kinds).await;
        }
    }
    bench.alone().await;
    bench.report.end();
    bench.server.stop().await;
}

struct Bench {
    of_crowd: Handle,
    server: Server,
    users: Users,
    length: Duration,
    report: Report,
}

impl Bench {
    async fn alone(&mut self) {
        self.line("alone", async |length| sleep(length).await).await;
    }

    async fn beside(&mut self, name: &str, kinds: &[Kind]) {
        self.alone().await;
        let before = self.server.descriptors();
        let (handle, address) = (self.of_crowd.clone(), self.server.address);
        let crowd = self
            .line(&format!("{name}: arriving"), async |_| {
                Crowd::gather(&handle, address, kinds).await
            })
            .await;
        crowd.counts();
        self.line(&format!("{name}: there"), async |length| {
            sleep(length).await
        })
        .await;
        println!(
            "    {}; the server has {} descriptors more",
            crowd.counts(),
            self.server.descriptors().saturating_sub(before)
        );
        crowd.judge();
        crowd.leave().await;
        match self.server.forgets_the_crowd(before).await {
            Some(took) => println!("    gone after {:.1} s", took.as_secs_f64()),
            None => println!("    the server still has connections of it"),
        }
    }

    /// Measures what the users wait for meanwhile.
    async fn line<T>(&mut self, name: &str, meanwhile: impl AsyncFnOnce(Duration) -> T) -> T {
        let before = Ticks::now(self.server.id);
        let (latencies, done) = self.users.work(meanwhile(self.length)).await;
        let shares = Ticks::now(self.server.id).shares_since(&before);
        let memory = machine::memory(self.server.id);
        self.report.line(name, &latencies, &shares, memory);
        done
    }
}
