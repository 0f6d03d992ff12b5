use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use secrecy::{ExposeSecret, SecretString};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy, split},
    net::{TcpListener, TcpStream},
};

use super::wire::{Wire, detour, dial};

/// The same PostgreSQL, reached through somebody who can take the owner out of the SQL: every
/// statement of a viewer's transaction arrives with its `user_id = $1` replaced by a condition that
/// is always true. What stands in the sources is run, down to the last join; only the floor that
/// it should be is gone. Statements of other roles, and rows to be inserted, pass as they are.
pub struct Blindfold {
    pub url: SecretString,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    is_on: AtomicBool,
    /// What viewers have run since, and what it became.
    statements: Mutex<Vec<Statement>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    pub sent: String,
    pub run: String,
}

impl Blindfold {
    pub async fn before(url: &SecretString) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let server = url::Url::parse(url.expose_secret()).expect("a URL");
        let through = detour(&server, port);
        let state = Arc::new(State::default());
        tokio::spawn(accept(listener, server, Arc::clone(&state)));
        Self {
            url: through,
            state,
        }
    }

    pub fn put_on(&self) {
        self.state.is_on.store(true, Ordering::SeqCst);
    }

    pub fn statements(&self) -> Vec<Statement> {
        self.state.statements.lock().expect("no panic").clone()
    }
}

async fn accept(listener: TcpListener, server: url::Url, state: Arc<State>) {
    while let Ok((client, _)) = listener.accept().await {
        let (server, state) = (server.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            let server = dial(&server).await.expect("the server");
            pass(client, server, &state).await;
        });
    }
}

/// One connection, to its end.
async fn pass(client: TcpStream, server: Wire, state: &State) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = split(server);
    let forth = async {
        // The first message has no type.
        let mut first = vec![0; 4];
        from_client.read_exact(&mut first).await?;
        first.resize(length(&first), 0);
        from_client.read_exact(&mut first[4..]).await?;
        to_server.write_all(&first).await?;
        let mut is_viewer = false;
        loop {
            let mut message = vec![0; 5];
            from_client.read_exact(&mut message).await?;
            message.resize(1 + length(&message[1..]), 0);
            from_client.read_exact(&mut message[5..]).await?;
            match message[0] {
                b'Q' => {
                    let text = String::from_utf8_lossy(&message[5..]);
                    if text.contains("set local role") {
                        is_viewer = text.contains("set local role loquat_viewer");
                    }
                }
                b'P' if is_viewer && state.is_on.load(Ordering::SeqCst) => {
                    message = blind(&message, state);
                }
                _ => {}
            }
            to_server.write_all(&message).await?;
        }
    };
    let forth = async {
        let _: std::io::Result<()> = forth.await;
    };
    tokio::select! {
        () = forth => {}
        _ = copy(&mut from_server, &mut to_client) => {}
    }
}

fn length(bytes: &[u8]) -> usize {
    let bytes = bytes[..4].try_into().expect("four bytes");
    usize::try_from(u32::from_be_bytes(bytes)).expect("a length")
}

/// A `Parse`: its statement's name, its text, and the types of its parameters.
fn blind(message: &[u8], state: &State) -> Vec<u8> {
    let body = &message[5..];
    let zero = |from: usize| from + body[from..].iter().position(|b| *b == 0).expect("an end");
    let name = zero(0);
    let end = zero(name + 1);
    let sent = std::str::from_utf8(&body[name + 1..end]).expect("UTF-8");
    let run = without_owner(sent);
    let mut blinded = body[..=name].to_vec();
    blinded.extend(run.as_bytes());
    blinded.extend(&body[end..]);
    let length = u32::try_from(blinded.len() + 4).expect("a length");
    let statement = Statement {
        sent: sent.to_owned(),
        run,
    };
    state.statements.lock().expect("no panic").push(statement);
    [&[b'P'][..], &length.to_be_bytes(), &blinded].concat()
}

/// `m.user_id = $1` becomes `$1::uuid is not null`: the parameter keeps its place and its type.
fn without_owner(statement: &str) -> String {
    const CONDITION: &str = "user_id = $";
    let mut text = String::with_capacity(statement.len());
    let mut rest = statement;
    while let Some(at) = rest.find(CONDITION) {
        let (before, condition) = rest.split_at(at);
        // An alias of the table, and its point.
        text.push_str(match before.strip_suffix('.') {
            Some(before) => before.trim_end_matches(|c: char| c.is_alphanumeric() || c == '_'),
            None => before,
        });
        let number = &condition[CONDITION.len()..];
        let digits = number
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(number.len());
        text.push_str(&format!("${}::uuid is not null", &number[..digits]));
        rest = &number[digits..];
    }
    text + rest
}

#[test]
fn the_owner_is_taken_out_of_every_form_that_a_condition_has() {
    for (sent, run) in [
        (
            "select 1 from t where user_id = $1 and id = $2",
            "select 1 from t where $1::uuid is not null and id = $2",
        ),
        (
            "select 1 from t m where (m.user_id = $12)",
            "select 1 from t m where ($12::uuid is not null)",
        ),
        (
            "select 1 from a join b on b.user_id = a.user_id where a.user_id = $1",
            "select 1 from a join b on b.user_id = a.user_id where $1::uuid is not null",
        ),
    ] {
        assert_eq!(without_owner(sent), run);
    }
}
