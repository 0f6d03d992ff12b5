//! Clients that mean harm. Each function is one connection, from its beginning to when the server has
//! cut it off.

use std::{
    future::pending,
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures_util::future::join_all;
use serde_json::json;
use tokio::{
    io::{AsyncWriteExt, copy, sink},
    net::{TcpSocket, TcpStream},
    time::sleep,
};

use super::{
    crowd::Attendance,
    socket::{Socket, connect},
    users::Person,
};

/// How often a slow client says one more byte.
const PACE: Duration = Duration::from_secs(1);

/// How many users those that never read are.
const DEAF: usize = 10;

/// How many chats each of them has.
const CHATS: usize = 100;

/// How long the instructions of each chat are: as long as they may be.
const TEXT: usize = 32_000;

/// Three megabytes, from the database.
const ALL_TEXT: &str = "{ viewer { conversations(first: 100) { nodes { id systemPrompt } } } }";

/// Little to ask, and much to answer, from memory.
const INTROSPECTION: &str = "{ __schema { types { name description fields { name description \
    args { name description } } } } }";

/// How many of them a client asks for at once over a socket: more than the kernel takes in its stead.
const ANSWERS: usize = 6;

/// Gives those that never read much to ask for.
pub async fn prepare(address: SocketAddr) {
    let start = async |n: usize| {
        let person = Person::new(address, deaf(n));
        let query = "mutation($text: String!) { startChat(input: { systemPrompt: $text }) \
            { conversation { id } } }";
        for _ in 0..CHATS {
            let text = "x".repeat(TEXT);
            person.ask(query, json!({ "text": text })).await;
        }
    };
    join_all((0..DEAF).map(start)).await;
}

fn deaf(n: usize) -> String {
    format!("deaf {}", n % DEAF)
}

pub async fn slow_request(address: SocketAddr, n: usize, attendance: &Attendance) {
    let Ok(mut stream) = connect(address, n).await else {
        return;
    };
    let head = "POST /graphql HTTP/1.1\r\nHost: localhost\r\nX-User-Id: slow\r\n";
    let (more, slow): (_, &[u8]) = if n.is_multiple_of(2) {
        ("", b"X-A: b\r\n")
    } else {
        let headers = "Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n{";
        (headers, b" ")
    };
    if stream
        .write_all(format!("{head}{more}").as_bytes())
        .await
        .is_ok()
    {
        slowly(stream, slow, attendance).await;
    }
}

/// Half of them sign in before they become slow, and follow something.
pub async fn slow_socket(address: SocketAddr, n: usize, attendance: &Attendance) {
    let Ok(stream) = connect(address, n).await else {
        return;
    };
    let Ok(mut socket) = Socket::open(stream).await else {
        return;
    };
    if n.is_multiple_of(2) {
        if socket.init(&format!("slow {}", n / 100)).await.is_err() {
            return;
        }
        let query = "subscription { viewerEvents { __typename } }";
        if socket.subscribe("1", query, json!({})).await.is_err() {
            return;
        }
    }
    // A frame of text of a thousand bytes, masked with zeros, that is never whole.
    let mut stream = socket.into_stream();
    let head = [0x81, 0xFE, 0x03, 0xE8, 0, 0, 0, 0];
    if stream.write_all(&head).await.is_ok() {
        slowly(stream, b" ", attendance).await;
    }
}

/// Reads whatever comes, and says a byte now and then.
async fn slowly(mut stream: TcpStream, text: &[u8], attendance: &Attendance) {
    let _here = attendance.here();
    let (mut reads, mut writes) = stream.split();
    let mut nothing = sink();
    let write = async {
        for byte in text.iter().cycle() {
            sleep(PACE).await;
            if writes.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = write => {}
        _ = copy(&mut reads, &mut nothing) => {}
    }
}

pub async fn half_open(address: SocketAddr, n: usize, attendance: &Attendance) {
    let Ok(mut stream) = connect(address, n).await else {
        return;
    };
    let half = "GET /graphql HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgr";
    if stream.write_all(half.as_bytes()).await.is_ok() {
        let _here = attendance.here();
        drop(copy(&mut stream, &mut sink()).await);
    }
}

/// Half of them over HTTP, half over sockets.
pub async fn never_read(address: SocketAddr, n: usize, attendance: &Attendance) {
    let socket = TcpSocket::new_v4().expect("a descriptor");
    // A large one would take megabytes before the server notices anything.
    socket.set_recv_buffer_size(4096).expect("a size");
    let Ok(stream) = socket.connect(address).await else {
        return;
    };
    if n.is_multiple_of(2) {
        never_read_answers(stream, &deaf(n), attendance).await;
    } else {
        never_read_messages(stream, &deaf(n), attendance).await;
    }
}

/// One request behind the other. It is there once the server takes no more of them.
async fn never_read_answers(mut stream: TcpStream, user: &str, attendance: &Attendance) {
    let requests = [INTROSPECTION, ALL_TEXT].map(|query| {
        let body = json!({ "query": query }).to_string();
        format!(
            "POST /graphql HTTP/1.1\r\nHost: localhost\r\nX-User-Id: {user}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    });
    let written = AtomicUsize::new(0);
    let write = async {
        for request in requests.iter().cycle() {
            if stream.write_all(request.as_bytes()).await.is_err() {
                return;
            }
            written.fetch_add(1, Ordering::Relaxed);
        }
    };
    let stuck = async {
        let mut before = 0;
        loop {
            sleep(PACE).await;
            let now = written.load(Ordering::Relaxed);
            if now == before {
                break;
            }
            before = now;
        }
        let _here = attendance.here();
        pending().await
    };
    tokio::select! {
        () = write => {}
        () = stuck => {}
    }
}

/// Much at once, and a subscription. It gives signs of life.
async fn never_read_messages(stream: TcpStream, user: &str, attendance: &Attendance) {
    let Ok(mut socket) = Socket::open(stream).await else {
        return;
    };
    if socket.init(user).await.is_err() {
        return;
    }
    let followed = ["subscription { viewerEvents { __typename } }"];
    let asked = [ALL_TEXT, INTROSPECTION].into_iter().cycle().take(ANSWERS);
    for (n, query) in followed.into_iter().chain(asked).enumerate() {
        if socket
            .subscribe(&n.to_string(), query, json!({}))
            .await
            .is_err()
        {
            return;
        }
    }
    let _here = attendance.here();
    let mut stream = socket.into_stream();
    // An empty ping, masked.
    while stream.write_all(&[0x89, 0x80, 0, 0, 0, 0]).await.is_ok() {
        sleep(PACE).await;
    }
}
