use std::{
    net::SocketAddr,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{ExitStatus, Output, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use secrecy::ExposeSecret;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, Command},
    task::JoinHandle,
    time::timeout,
};

use super::{TestDatabase, eventually};

/// Nothing here takes long; this only keeps a broken test from hanging.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The program in a folder of its own, with no environment but what a test gives it.
pub struct Program {
    folder: TempDir,
    command: Command,
    input: Vec<u8>,
}

impl Program {
    pub fn new(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_loquat"));
        command
            .args(arguments)
            .env_clear()
            // A model is asked for what a test asks for.
            .env("LOQUAT_TITLES", "off")
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Self {
            folder,
            command,
            input: Vec::new(),
        }
    }

    /// What it reads on standard input; nothing otherwise.
    pub fn input(mut self, text: &str) -> Self {
        self.command.stdin(Stdio::piped());
        self.input = text.as_bytes().to_vec();
        self
    }

    /// Where it runs. It goes with this, or with the server.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn database(self, test: &TestDatabase) -> Self {
        let url = test.url.expose_secret().to_owned();
        self.variable("DATABASE_URL", &url)
    }

    pub fn file(self, name: &str, text: &str) -> Self {
        std::fs::write(self.folder.path().join(name), text).expect("a file");
        self
    }

    pub async fn output(mut self) -> Output {
        let mut child = self.command.spawn().expect("the program runs");
        if let Some(mut input) = child.stdin.take() {
            // One that ends before it has read all is judged by what it says.
            let _ = input.write_all(&self.input).await;
        }
        timeout(PATIENCE, child.wait_with_output())
            .await
            .expect("the program ends by itself")
            .expect("its output is read")
    }

    /// The one line of a start that was refused.
    pub async fn refusal(self) -> String {
        let output = self.output().await;
        let errors = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{errors}");
        errors
            .trim_end()
            .strip_prefix("loquat: ")
            .unwrap_or_else(|| panic!("{errors}"))
            .to_owned()
    }

    /// A server that is up, on a port that the system chose.
    pub async fn serve(self) -> Server {
        self.serve_at(0).await
    }

    /// A server that is up where others expect it.
    pub async fn serve_at(self, port: u16) -> Server {
        let mut program = self.variable("LOQUAT_BIND", &format!("127.0.0.1:{port}"));
        let mut child = program.command.spawn().expect("the program runs");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let errors = child.stderr.take().expect("piped");
        // Read all the time, both: a full pipe would hold the server up.
        let mut errors = tokio::spawn(to_the_end(String::new(), errors));
        let mut line = String::new();
        let mut begun = String::new();
        timeout(PATIENCE, async {
            // Before it there may be a word on a private database that is being made.
            while !line.contains("is running") {
                begun.push_str(&line);
                line.clear();
                if output.read_line(&mut line).await.expect("text") == 0 {
                    panic!("not up: {begun}{}", (&mut errors).await.expect("read"));
                }
            }
        })
        .await
        .expect("a server in time");
        begun.push_str(&line);
        Server {
            running: line,
            child,
            output: tokio::spawn(to_the_end(begun, output)),
            errors,
            folder: program.folder,
        }
    }
}

async fn to_the_end(mut text: String, mut output: impl AsyncRead + Unpin) -> String {
    output.read_to_string(&mut text).await.expect("text");
    text
}

pub struct Server {
    pub running: String,
    child: Child,
    output: JoinHandle<String>,
    errors: JoinHandle<String>,
    folder: TempDir,
}

/// How a server ended, and all that it said.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub output: String,
    pub errors: String,
}

impl Server {
    /// As its first words name it.
    pub fn address(&self) -> SocketAddr {
        let (_, rest) = self
            .running
            .split_once("127.0.0.1:")
            .unwrap_or_else(|| panic!("{}", self.running));
        let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
        SocketAddr::from(([127, 0, 0, 1], port.parse().expect("a port")))
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    pub fn signal(&self, signal: Signal) {
        let id = self.child.id().expect("still running");
        let id = i32::try_from(id).expect("a process id");
        kill(Pid::from_raw(id), signal).expect("a signal is sent");
    }

    /// Returns when nothing of the process runs any more: a signal reaches one thread first, and the
    /// others go on until that one is scheduled.
    pub async fn pause(&self) {
        self.signal(Signal::SIGSTOP);
        let threads = format!("/proc/{}/task", self.child.id().expect("still running"));
        eventually("every thread stands still", || async {
            let threads = std::fs::read_dir(&threads).expect("a process");
            let stands_still = |thread: std::io::Result<std::fs::DirEntry>| {
                let stat = thread.expect("a thread").path().join("stat");
                // The name of a thread may hold whatever it likes, but it ends with the last bracket.
                std::fs::read_to_string(stat).is_ok_and(|stat| {
                    stat.rsplit(") ")
                        .next()
                        .is_some_and(|rest| rest.starts_with('T'))
                })
            };
            threads.into_iter().all(stands_still).then_some(())
        })
        .await;
    }

    /// The program again, in the same folder.
    pub fn beside(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loquat"));
        command
            .args(arguments)
            .env_clear()
            .current_dir(self.folder.path())
            .kill_on_drop(true);
        command
    }

    /// Waits until it ends by itself.
    pub async fn end(mut self) -> Ended {
        let end = async {
            Ended {
                status: self.child.wait().await.expect("an end"),
                output: self.output.await.expect("read"),
                errors: self.errors.await.expect("read"),
            }
        };
        let ended = timeout(PATIENCE, end).await.expect("the program ends");
        drop(self.folder);
        ended
    }

    /// The exit code, and what it said on standard output.
    pub async fn ended(self) -> (Option<i32>, String) {
        let ended = self.end().await;
        (ended.status.code(), ended.output)
    }

    /// `kill -9`: the process has no say in it.
    pub async fn crash(self) {
        self.signal(Signal::SIGKILL);
        assert_eq!(self.end().await.status.signal(), Some(9));
    }
}

pub fn client() -> reqwest::Client {
    // The process that runs the tests has no provider of its own yet.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client")
}
