//! What is to happen, made from a seed.

use rand::{Rng, SeedableRng, rngs::StdRng};

/// How many processes there are at a time.
pub const PROCESSES: usize = 3;

/// Whose conversations there are: one user has two.
pub const CHATS: [&str; 3] = ["ann", "ann", "ben"];

const STEPS: usize = 110;

#[derive(Debug)]
pub struct Plan {
    pub seed: u64,
    /// How many of a hundred notices are lost.
    pub lost_notices: u8,
    /// How many replies a process may write at once, and a user have written.
    pub places: Option<(u32, u32)>,
    pub steps: Vec<Step>,
}

/// A number picks one of what there is at that moment.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Somebody does something, and the next step waits for the answer, or does not.
    Act {
        act: Act,
        waits: bool,
    },
    /// The model says the next words of a reply.
    Say {
        pick: usize,
        words: usize,
    },
    /// It ends one.
    Finish {
        pick: usize,
        how: Ending,
    },
    /// A device opens a conversation or follows a reply; a slow one reads only when told to.
    Follow {
        pick: usize,
        process: usize,
        slow: bool,
    },
    /// A slow device reads one event.
    Read {
        pick: usize,
    },
    /// A device's connection is cut.
    Cut {
        pick: usize,
    },
    Fault(Fault),
}

/// What a device does with a conversation. It is asked of the first process, and of the second at
/// the same time if there is one: a click that was repeated, with the same key.
#[derive(Clone, Copy, Debug)]
pub struct Act {
    pub what: What,
    pub chat: usize,
    pub pick: usize,
    pub process: usize,
    pub repeated: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
pub enum What {
    Send(Busy),
    Edit,
    Regenerate,
    Select,
    Rate,
    Rename,
    Stop,
    Reset,
    Delete,
}

#[derive(Clone, Copy, Debug)]
pub enum Busy {
    Reject,
    Enqueue,
    Stop,
}

#[derive(Clone, Copy, Debug)]
pub enum Ending {
    Complete,
    Fail,
}

/// What befalls a process. None is without an end: the plan goes on, and the end mends all.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// `kill -9`, and another in its place.
    Kill {
        process: usize,
    },
    /// As its operator restarts it.
    Restart {
        process: usize,
    },
    /// SIGSTOP until its lease is over, then SIGCONT.
    Pause {
        process: usize,
    },
    Resume {
        process: usize,
    },
    /// Its connections to the database are gone, and no new one is to be had.
    Sever {
        process: usize,
    },
    /// The database says nothing more, on connections that stay open.
    Stall {
        process: usize,
    },
    Mend {
        process: usize,
    },
    /// For everybody, and back at once.
    RestartDatabase,
    /// For everybody who is there.
    StopDatabase,
    StartDatabase,
    /// Where there is one, and back at once.
    RestartRedis,
    StopRedis,
    StartRedis,
}

impl Plan {
    pub fn of(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        // Some histories have no broker to speak of, some a good one.
        let lost_notices = [0, 0, 10, 50, 100][random.random_range(0..5)];
        // Some have hardly a place to write in, so that one which is not given back is missed.
        let places = [None, None, Some((1, 1)), Some((2, 1))][random.random_range(0..4)];
        // And some no faults, so that what is left can be held to more.
        let faults = if random.random_ratio(1, 6) { 0 } else { 10 };
        let steps = (0..STEPS).map(|_| step(&mut random, faults)).collect();
        Self {
            seed,
            lost_notices,
            places,
            steps,
        }
    }

    pub fn is_faultless(&self) -> bool {
        !self.steps.iter().any(|step| matches!(step, Step::Fault(_)))
    }
}

fn step(random: &mut StdRng, faults: u32) -> Step {
    let pick = random.random_range(0..1000);
    let process = random.random_range(0..PROCESSES);
    match random.random_range(0..90 + faults) {
        0..36 => Step::Act {
            act: act(random),
            waits: random.random_ratio(2, 3),
        },
        36..58 => Step::Say {
            pick,
            words: random.random_range(1..6),
        },
        58..70 => Step::Finish {
            pick,
            how: if random.random_ratio(1, 6) {
                Ending::Fail
            } else {
                Ending::Complete
            },
        },
        70..80 => Step::Follow {
            pick,
            process,
            slow: random.random_ratio(1, 3),
        },
        80..86 => Step::Read { pick },
        86..90 => Step::Cut { pick },
        _ => Step::Fault(fault(random, process)),
    }
}

fn act(random: &mut StdRng) -> Act {
    let what = match random.random_range(0..100) {
        0..25 => What::Send(Busy::Reject),
        25..45 => What::Send(Busy::Enqueue),
        45..53 => What::Send(Busy::Stop),
        53..63 => What::Edit,
        63..73 => What::Regenerate,
        73..81 => What::Select,
        81..84 => What::Rate,
        84..87 => What::Rename,
        87..95 => What::Stop,
        95..98 => What::Reset,
        _ => What::Delete,
    };
    Act {
        what,
        chat: random.random_range(0..CHATS.len()),
        pick: random.random_range(0..1000),
        process: random.random_range(0..PROCESSES),
        repeated: random
            .random_ratio(1, 3)
            .then(|| random.random_range(0..PROCESSES)),
    }
}

fn fault(random: &mut StdRng, process: usize) -> Fault {
    match random.random_range(0..22) {
        0..3 => Fault::Kill { process },
        3..5 => Fault::Restart { process },
        5..7 => Fault::Pause { process },
        7..9 => Fault::Resume { process },
        9..11 => Fault::Sever { process },
        11 => Fault::Stall { process },
        12..15 => Fault::Mend { process },
        15 => Fault::RestartDatabase,
        16 => Fault::StopDatabase,
        17..19 => Fault::StartDatabase,
        19 => Fault::RestartRedis,
        20 => Fault::StopRedis,
        _ => Fault::StartRedis,
    }
}
