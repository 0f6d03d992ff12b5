use std::{
    fs,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    process::Child,
    time::{Instant, sleep, timeout},
};

use super::{
    ClusterError,
    binaries::Binaries,
    guard::Guard,
    home::{Home, failed},
    runtime_folder,
};

/// How long PostgreSQL may take to accept connections: after a crash it first replays its log.
const START_TIMEOUT: Duration = Duration::from_secs(300);

/// How long a fast shutdown may take, and then an immediate one.
const FAST_TIMEOUT: Duration = Duration::from_secs(60);
const IMMEDIATE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a command waits for a server that is starting.
const OWNER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the children of a PostgreSQL that was killed may take to notice.
const REMNANT_TIMEOUT: Duration = Duration::from_secs(15);

const PAUSE: Duration = Duration::from_millis(20);

/// What differs from PostgreSQL's defaults. Given as arguments, so that the settings are those of
/// the program and not of the day on which the cluster was made.
const SETTINGS: [&str; 8] = [
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "port=5432",
    "max_connections=100",
    "timezone=UTC",
    "log_timezone=UTC",
    "log_line_prefix=%m [%p] ",
    "log_checkpoints=off",
];

/// The server process of PostgreSQL, which the others are children of.
#[derive(Debug)]
pub(super) struct Postmaster {
    process: Child,
    pid: i32,
    /// Where in the log this run begins.
    log_start: u64,
}

impl Postmaster {
    /// Starts PostgreSQL under a guard and waits until it accepts connections.
    pub(super) async fn start(
        home: &Home,
        binaries: &Binaries,
        socket_folder: &Path,
        guard: &mut Guard,
    ) -> Result<Self, ClusterError> {
        let deadline = Instant::now() + REMNANT_TIMEOUT;
        loop {
            let mut postmaster = Self::spawn(home, binaries, socket_folder)?;
            guard.watch(postmaster.pid).await?;
            match postmaster.accepts_connections(home).await {
                Ok(()) => return Ok(postmaster),
                // Where an earlier one was killed, its children are still on their way out.
                Err(ClusterError::Start { reason, .. })
                    if reason.contains("shared memory block") && Instant::now() < deadline =>
                {
                    sleep(10 * PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn spawn(home: &Home, binaries: &Binaries, socket_folder: &Path) -> Result<Self, ClusterError> {
        let (log, log_start) = home.open_log()?;
        let output = log.try_clone().map_err(failed("opening", &home.log()))?;
        let program = binaries.program("postgres");
        let process = home
            .account()
            .command(&program)
            .arg("-D")
            .arg(home.cluster())
            .args(SETTINGS.iter().flat_map(|setting| ["-c", setting]))
            .arg("-c")
            .arg(format!(
                "unix_socket_directories={}",
                socket_folder.display()
            ))
            .stdout(Stdio::from(output))
            .stderr(Stdio::from(log))
            .spawn()
            .map_err(|cause| ClusterError::Run { program, cause })?;
        let pid = process
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .expect("a process that was not waited for has an id");
        Ok(Self {
            process,
            pid,
            log_start,
        })
    }

    /// Waits until connections are accepted, or says what PostgreSQL said instead.
    async fn accepts_connections(&mut self, home: &Home) -> Result<(), ClusterError> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let exited = matches!(self.process.try_wait(), Ok(Some(_)));
            if exited || Instant::now() > deadline {
                return Err(ClusterError::Start {
                    reason: last_words(&home.log(), self.log_start),
                    log: home.log(),
                });
            }
            if PidFile::read(home).is_some_and(|file| file.pid == self.pid && file.ready) {
                return Ok(());
            }
            sleep(PAUSE).await;
        }
    }

    /// Cuts every connection, writes what was committed, and ends.
    pub(super) async fn stop(mut self, home: &Home) -> Result<(), ClusterError> {
        for (signal, patience) in [
            (Signal::SIGINT, FAST_TIMEOUT),
            (Signal::SIGQUIT, IMMEDIATE_TIMEOUT),
        ] {
            if matches!(self.process.try_wait(), Ok(Some(_))) {
                return Ok(());
            }
            // It is not reaped yet, so the id is still its own.
            let _ = kill(Pid::from_raw(self.pid), signal);
            if timeout(patience, self.process.wait()).await.is_ok() {
                return Ok(());
            }
        }
        Err(ClusterError::Stop {
            pid: self.pid,
            log: home.log(),
        })
    }
}

/// Ends what an earlier server has left behind: a PostgreSQL without its server.
///
/// Only the holder of the lock may ask. It is ended and not adopted, because the new one is this
/// process's child, guarded, and has this program's settings.
pub(super) async fn end_leftover(home: &Home) -> Result<(), ClusterError> {
    let Some(file) = PidFile::read(home) else {
        return Ok(());
    };
    match file.process() {
        Process::Gone => {}
        // The id went to somebody else, and PostgreSQL would refuse to start over it.
        Process::Unrelated => {
            let path = PidFile::path(home);
            fs::remove_file(&path).map_err(failed("removing", &path))?;
        }
        Process::OtherPostgres => {
            return Err(ClusterError::ForeignPostmaster {
                pid: file.pid,
                folder: home.cluster(),
            });
        }
        Process::Ours => {
            tracing::warn!(
                process.pid = file.pid,
                "ending the database that an earlier server has left behind"
            );
            end(home, &file).await?;
        }
    }
    if let Some(folder) = &file.socket_folder {
        runtime_folder::remove(folder);
    }
    Ok(())
}

async fn end(home: &Home, file: &PidFile) -> Result<(), ClusterError> {
    for (signal, patience) in [
        (Signal::SIGINT, FAST_TIMEOUT),
        (Signal::SIGQUIT, IMMEDIATE_TIMEOUT),
    ] {
        // One that ends by itself in this moment is as good.
        let _ = kill(Pid::from_raw(file.pid), signal);
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            // Its file goes last. Where nobody reaps orphans, the process stays as a zombie.
            let here = PidFile::read(home).is_some_and(|now| now.pid == file.pid);
            if !here || file.process() == Process::Gone {
                return Ok(());
            }
            sleep(PAUSE).await;
        }
    }
    Err(ClusterError::Stop {
        pid: file.pid,
        log: home.log(),
    })
}

/// The folder of the socket of the server that has the lock; `None`: nobody has it.
pub(super) async fn wait_for_owner(home: &Home) -> Result<Option<PathBuf>, ClusterError> {
    let deadline = Instant::now() + OWNER_TIMEOUT;
    while home.is_locked()? {
        if let Some(PidFile {
            ready: true,
            socket_folder: Some(folder),
            ..
        }) = PidFile::read(home).filter(|file| file.process() == Process::Ours)
        {
            return Ok(Some(folder));
        }
        if Instant::now() > deadline {
            return Err(ClusterError::Start {
                reason: "the server that runs on this folder does not get it ready".to_owned(),
                log: home.log(),
            });
        }
        sleep(PAUSE).await;
    }
    Ok(None)
}

/// What PostgreSQL writes about itself into its data folder: the process, the folder, the start,
/// the port, the socket's folder, the address, the shared memory and the state, a line each.
#[derive(Debug)]
struct PidFile {
    pid: i32,
    socket_folder: Option<PathBuf>,
    ready: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Process {
    Gone,
    /// Alive, and it was started with this socket's folder, whose name nobody else has.
    Ours,
    OtherPostgres,
    Unrelated,
}

impl PidFile {
    fn path(home: &Home) -> PathBuf {
        home.cluster().join("postmaster.pid")
    }

    fn read(home: &Home) -> Option<Self> {
        Self::parse(&fs::read_to_string(Self::path(home)).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        Some(Self {
            pid: lines.first()?.parse().ok().filter(|pid| *pid > 0)?,
            socket_folder: lines
                .get(4)
                .filter(|line| !line.is_empty())
                .map(PathBuf::from),
            ready: lines.get(7) == Some(&"ready"),
        })
    }

    fn process(&self) -> Process {
        if kill(Pid::from_raw(self.pid), None) == Err(Errno::ESRCH) {
            return Process::Gone;
        }
        let command_line = command_line(self.pid);
        if !command_line.contains("postgres") {
            return Process::Unrelated;
        }
        let ours = self
            .socket_folder
            .as_ref()
            .is_some_and(|folder| command_line.contains(&*folder.to_string_lossy()));
        if ours {
            Process::Ours
        } else {
            Process::OtherPostgres
        }
    }
}

/// A process's program and arguments; empty when it is gone, or nothing but a zombie.
fn command_line(pid: i32) -> String {
    let bytes = if Path::new("/proc/self/cmdline").exists() {
        fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()
    } else {
        std::process::Command::new("ps")
            .args(["-o", "command=", "-p", &pid.to_string()])
            .output()
            .map(|output| output.stdout)
            .unwrap_or_default()
    };
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What PostgreSQL said last about why it does not run.
fn last_words(log: &Path, from: u64) -> String {
    let mut text = Vec::new();
    if let Ok(mut file) = fs::File::open(log)
        && file.seek(SeekFrom::Start(from)).is_ok()
    {
        // What cannot be read cannot be told.
        let _ = file.read_to_end(&mut text);
    }
    let text = String::from_utf8_lossy(&text);
    text.lines()
        .rev()
        .find_map(|line| line.split_once("FATAL:").or(line.split_once("PANIC:")))
        .map(|(_, words)| words.trim())
        .or_else(|| text.lines().rfind(|line| !line.trim().is_empty()))
        .unwrap_or("it says nothing")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::{PidFile, Process};

    #[test]
    fn the_pid_file_is_read_also_while_it_is_being_written() {
        let whole = "77\n/data\n1700000000\n5432\n/tmp/loquat-1\n\n 123 456\nready   \n";
        let file = PidFile::parse(whole).unwrap();
        assert_eq!((file.pid, file.ready), (77, true));
        assert_eq!(file.socket_folder.unwrap().to_str(), Some("/tmp/loquat-1"));

        let begun = PidFile::parse("77\n/data\n1700000000\n5432\n").unwrap();
        assert_eq!((begun.pid, begun.ready), (77, false));
        assert!(begun.socket_folder.is_none());
        assert!(PidFile::parse("").is_none());
        assert!(PidFile::parse("-1\n").is_none());
    }

    #[test]
    fn a_process_that_got_the_id_of_a_dead_postgres_is_not_taken_for_it() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let file = PidFile {
            pid: child.id().try_into().unwrap(),
            socket_folder: Some("/tmp/loquat-1".into()),
            ready: true,
        };
        assert_eq!(file.process(), Process::Unrelated);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(file.process(), Process::Gone);
    }
}
