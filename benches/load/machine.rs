//! What processes take of this machine, as the kernel says.

use std::fs;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Time on the processors, in the kernel's ticks.
#[derive(Clone, Copy)]
pub struct Ticks {
    idle: u64,
    all: u64,
    server: u64,
    load: u64,
}

/// Shares of all processors together.
pub struct Shares {
    pub busy: f64,
    pub server: f64,
    /// This process: the users and the crowd. What is left is the database's, and others'.
    pub load: f64,
}

impl Ticks {
    pub fn now(server: u32) -> Self {
        let stat = fs::read_to_string("/proc/stat").expect("Linux");
        let total = stat.lines().next().expect("the line of all processors");
        // user, nice, system, idle, iowait, irq, softirq, steal; what follows is in user already.
        let ticks = numbers(total.strip_prefix("cpu").expect("its name"));
        Self {
            idle: ticks[3] + ticks[4],
            all: ticks.iter().take(8).sum(),
            server: of_process(server),
            load: of_process(std::process::id()),
        }
    }

    pub fn shares_since(&self, before: &Self) -> Shares {
        let all = (self.all - before.all).max(1) as f64;
        Shares {
            busy: 1.0 - self.idle.saturating_sub(before.idle) as f64 / all,
            server: (self.server - before.server) as f64 / all,
            load: (self.load - before.load) as f64 / all,
        }
    }
}

fn of_process(id: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).expect("it runs");
    // The name may hold spaces; utime and stime are the 12th and 13th field behind it.
    let (_, fields) = stat.rsplit_once(") ").expect("a name");
    let mut fields = fields.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    next().zip(next()).map_or(0, |(user, system)| user + system)
}

fn numbers(text: &str) -> Vec<u64> {
    text.split_whitespace()
        .filter_map(|number| number.parse().ok())
        .collect()
}

/// What of a process is in memory, in bytes.
pub fn memory(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.map_or(0, |line| numbers(line)[0] * 1024)
}

/// How many files, connections among them, a process has open.
pub fn descriptors(id: u32) -> usize {
    let open = fs::read_dir(format!("/proc/{id}/fd")).expect("it runs");
    open.count()
}

/// Raises this process's limit of descriptors as far as it goes. The server is its child and has the
/// same.
pub fn raise_descriptors() -> u64 {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("it may be raised so far");
    hard
}
