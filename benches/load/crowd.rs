//! Many clients that are there while others are measured, and the count of them.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use serde_json::json;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{hostile, socket::Socket};

/// How many of a crowd arrive in a second. Those that are cut off come again at once, and so at the
/// same pace. As many as this machine could send in a moment would measure the machine.
const ARRIVE: u32 = 500;

/// How many subscribers are on their way at once.
const AT_ONCE: usize = 100;

/// How many subscribers are one user's: as many as a user may be by default.
const EACH_USER: usize = 100;

/// How long a crowd may take to gather.
const PATIENCE: Duration = Duration::from_secs(180);

/// How long one that was cut off, or not let in, waits before it comes again.
const PAUSE: Duration = Duration::from_millis(100);

/// Those that one measurement is about, and how many.
#[derive(Clone, Copy)]
pub enum Kind {
    /// Headers and bodies that come byte by byte.
    SlowRequests(usize),
    /// Frames that come byte by byte, before sign-in and after it.
    SlowSockets(usize),
    /// Half of a handshake, and nothing more.
    HalfOpen(usize),
    /// Sockets with a subscription each.
    Subscribers(usize),
    /// Ask for much, over and over, and read none of it.
    NeverReading(usize),
}

impl Kind {
    pub const fn many(self) -> usize {
        match self {
            Self::SlowRequests(many)
            | Self::SlowSockets(many)
            | Self::HalfOpen(many)
            | Self::Subscribers(many)
            | Self::NeverReading(many) => many,
        }
    }

    /// How many of them must be there at once. Those that the server cuts off are on their way back
    /// for a moment.
    const fn quorum(self) -> usize {
        match self {
            Self::Subscribers(many) => many,
            _ => self.many() * 9 / 10,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::SlowRequests(_) => "slow requests",
            Self::SlowSockets(_) => "slow sockets",
            Self::HalfOpen(_) => "half-open handshakes",
            Self::Subscribers(_) => "subscriptions",
            Self::NeverReading(_) => "that never read",
        })
    }
}

/// How many of a kind are there. Clones count the same.
#[derive(Clone, Default)]
pub struct Attendance(Arc<watch::Sender<Count>>);

#[derive(Default)]
struct Count {
    here: usize,
    /// How often one that was there was cut off.
    cut: usize,
    /// What must not happen, and makes the measurement worth nothing.
    fault: Option<String>,
}

/// One that is there, until this is dropped.
pub struct Here(Attendance);

impl Attendance {
    pub fn here(&self) -> Here {
        self.0.send_modify(|count| count.here += 1);
        Here(self.clone())
    }

    fn fault(&self, fault: String) {
        self.0.send_modify(|count| count.fault = Some(fault));
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| {
            count.here -= 1;
            count.cut += 1;
        });
    }
}

pub struct Crowd {
    clients: JoinSet<()>,
    attendance: Vec<(Kind, Attendance)>,
}

impl Crowd {
    /// Comes back when all are there, however long that takes.
    pub async fn gather(runtime: &Handle, address: SocketAddr, kinds: &[Kind]) -> Self {
        let mut crowd = Self {
            clients: JoinSet::new(),
            attendance: Vec::new(),
        };
        let mut pause = Duration::ZERO;
        for kind in kinds {
            let (attendance, gate) = (Attendance::default(), Arc::new(Semaphore::new(AT_ONCE)));
            for n in 0..kind.many() {
                let client = client(*kind, address, n, gate.clone(), attendance.clone());
                let arriving = async move {
                    sleep(pause).await;
                    client.await;
                };
                crowd.clients.spawn_on(arriving, runtime);
                pause += Duration::from_secs(1) / ARRIVE;
            }
            crowd.attendance.push((*kind, attendance));
        }
        for (kind, attendance) in &crowd.attendance {
            let mut count = attendance.0.subscribe();
            let gathered =
                count.wait_for(|count| count.here >= kind.quorum() || count.fault.is_some());
            if timeout(PATIENCE, gathered).await.is_err() {
                panic!("only {} {kind}", attendance.0.borrow().here);
            }
        }
        crowd.judge();
        crowd
    }

    /// Panics if what is measured is not what it says.
    pub fn judge(&self) {
        for (kind, attendance) in &self.attendance {
            let attendance = attendance.0.borrow();
            assert_eq!(attendance.fault, None, "{kind}");
            let (here, quorum) = (attendance.here, kind.quorum());
            assert!(here >= quorum, "only {here} {kind} are left of {quorum}");
        }
    }

    /// How many are there, and how often one was cut off since it was last asked.
    pub fn counts(&self) -> String {
        let kinds = self.attendance.iter().map(|(kind, attendance)| {
            let (mut here, mut cut) = (0, 0);
            attendance.0.send_modify(|count| {
                here = count.here;
                cut = std::mem::take(&mut count.cut);
            });
            format!("{here} {kind} ({cut} cut off)")
        });
        kinds.collect::<Vec<_>>().join(", ")
    }

    pub async fn leave(mut self) {
        self.clients.shutdown().await;
    }
}

async fn client(
    kind: Kind,
    address: SocketAddr,
    n: usize,
    gate: Arc<Semaphore>,
    attendance: Attendance,
) {
    if let Kind::Subscribers(_) = kind {
        let ended = subscriber(address, n, &gate, &attendance).await;
        return attendance.fault(format!("subscriber {n}: {ended}"));
    }
    loop {
        match kind {
            Kind::SlowRequests(_) => hostile::slow_request(address, n, &attendance).await,
            Kind::SlowSockets(_) => hostile::slow_socket(address, n, &attendance).await,
            Kind::HalfOpen(_) => hostile::half_open(address, n, &attendance).await,
            Kind::NeverReading(_) => hostile::never_read(address, n, &attendance).await,
            Kind::Subscribers(_) => return,
        }
        sleep(PAUSE).await;
    }
}

/// Is there once it was sent the first event. Why it is no more.
async fn subscriber(
    address: SocketAddr,
    n: usize,
    gate: &Semaphore,
    attendance: &Attendance,
) -> String {
    let open = async {
        let _turn = gate.acquire().await;
        let mut socket = Socket::of(address, n, &format!("subscriber {}", n / EACH_USER)).await?;
        let query = "subscription { viewerEvents { __typename } }";
        socket.subscribe("1", query, json!({})).await?;
        let first = socket.next().await?;
        match first["payload"]["data"]["viewerEvents"]["__typename"].as_str() {
            Some("ViewerSnapshot") => Ok(socket),
            _ => Err(first.to_string()),
        }
    };
    let mut socket = match open.await {
        Ok(socket) => socket,
        Err(why) => return why,
    };
    let _here = attendance.here();
    loop {
        match socket.next().await {
            Ok(event) if event["type"] == "next" => {}
            Ok(end) => return end.to_string(),
            Err(why) => return why,
        }
    }
}
