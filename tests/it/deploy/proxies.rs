//! docs/proxies.md: what it promises, and the two proxies as it sets them up.

use std::net::{IpAddr, SocketAddr};

use loquat::http::graphql::Timing;
use nix::sys::signal::Signal;
use serde_json::json;

use super::{
    load::Load,
    proxy::{Kind, PAGE},
};
use crate::{
    docs::pages::{Page, assignments},
    provider::{FakeProvider, Gate, Script},
    support::{
        TestDatabase,
        installed::{Listening, free_ports, installed},
        process::{Device, REPLY_EVENTS, Written, program},
        program::{Program, Server},
        stream::{Form, Said, Stream},
        text,
    },
};

/// How many users there are while servers are restarted.
const USERS: usize = 8;

struct Replicas {
    test: TestDatabase,
    model: FakeProvider,
    ports: [u16; 3],
    servers: Vec<Server>,
}

impl Replicas {
    async fn start() -> Self {
        let test = TestDatabase::create().await;
        let model = FakeProvider::start().await;
        let ports = free_ports();
        let start = ports.map(|port| member(&test, &model).serve_at(port));
        let servers = futures_util::future::join_all(start).await;
        Self {
            test,
            model,
            ports,
            servers,
        }
    }

    fn addresses(&self) -> [SocketAddr; 3] {
        self.ports
            .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// One of them, as its operator does it.
    async fn restart(&mut self, index: usize) {
        let old = self.servers.remove(index);
        old.signal(Signal::SIGTERM);
        let ended = old.end().await;
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        let again = member(&self.test, &self.model);
        let again = again.serve_at(self.ports[index]).await;
        self.servers.insert(index, again);
    }
}

/// With the recipe's own setting, for a proxy on this machine.
fn member(test: &TestDatabase, model: &FakeProvider) -> Program {
    let settings = Page::read(PAGE).blocks("env").concat();
    let settings = assignments(&settings.replace("10.0.0.5", "127.0.0.1"));
    settings
        .iter()
        .fold(program(test, model), |program, (name, value)| {
            program.variable(name, value)
        })
}

async fn a_rolling_restart_fails_nobody(kind: Kind) {
    let Some(mut replicas) = replicas_for(kind).await else {
        return;
    };
    let proxy = before(kind, &replicas).await;
    let load = Load::start(&replicas.model, proxy.address, USERS);
    load.goes_on(USERS).await;
    for index in 0..3 {
        replicas.restart(index).await;
        load.goes_on(USERS).await;
    }
    let exchanges = load.end(&replicas.test).await;
    let retries: usize = exchanges.iter().map(|exchange| exchange.retries).sum();
    println_summary(kind, exchanges.len(), retries);
    let asked = replicas.model.requests();
    for exchange in &exchanges {
        let runs = asked
            .iter()
            .filter(|asked| asked.question() == exchange.question);
        assert_eq!(runs.count(), 1, "{}", exchange.question);
    }
}

async fn a_reply_comes_through_as_it_is_written(kind: Kind) {
    let Some(replicas) = replicas_for(kind).await else {
        return;
    };
    let proxy = before(kind, &replicas).await;
    let (device, model) = (&Device::at(proxy.address, "ann"), &replicas.model);
    let by_socket = async {
        let (reply, [first, second]) = paused_reply(model, device, "by a socket").await;
        let mut follower = device.follow(&reply).await;
        follower.until("at once, ").await;
        first.open();
        follower.until("at once, more, ").await;
        second.open();
        assert_eq!(follower.finished().await["content"], WHOLE);
    };
    let by_stream = async |form: Form| {
        let (reply, [first, second]) = paused_reply(model, device, &format!("by {form:?}")).await;
        let body = json!({ "query": REPLY_EVENTS, "variables": { "id": reply } });
        let mut stream = Stream::open(device.post().json(&body), form).await;
        let mut written = Written::default();
        let mut event = async || {
            let event = stream.data().await["messageStream"].take();
            written.apply(&event);
            (written.content(), event)
        };
        while event().await.0 != "at once, " {}
        first.open();
        while event().await.0 != "at once, more, " {}
        second.open();
        let (content, finished) = loop {
            let (content, event) = event().await;
            if event["__typename"] == "MessageFinished" {
                break (content, event);
            }
        };
        assert_eq!(content, WHOLE);
        assert_eq!(finished["message"]["content"], WHOLE);
        assert_eq!(stream.next().await, Some(Said::Complete));
    };
    tokio::join!(by_socket, by_stream(Form::Events), by_stream(Form::Parts));
}

const WHOLE: &str = "at once, more, and the rest";

/// The reply to this question. Its model waits twice before it goes on.
async fn paused_reply(
    model: &FakeProvider,
    device: &Device,
    question: &str,
) -> (String, [Gate; 2]) {
    let gates = [Gate::default(), Gate::default()];
    let script = Script::stream()
        .text("at once, ")
        .wait(&gates[0])
        .text("more, ")
        .wait(&gates[1])
        .text("and the rest");
    model.when_asked(question, script.complete());
    let conversation = device.start_chat().await;
    let reply = device.send(&conversation, question).await;
    (reply, gates)
}

async fn the_client_is_known_by_its_address(kind: Kind) {
    let Some(replicas) = replicas_for(kind).await else {
        return;
    };
    let proxy = before(kind, &replicas).await;
    let client = reqwest::Client::builder()
        .no_proxy()
        .local_address(IpAddr::from([127, 0, 0, 7]))
        .build()
        .expect("a client");
    let ask = async |document: &str| {
        let body = json!({ "query": document });
        let request = client
            .post(format!("http://{}/graphql", proxy.address))
            .header("x-user-id", "ann")
            // By development's rule it must be this machine, and it is a lie.
            .header("x-forwarded-for", "127.0.0.99")
            .json(&body);
        let answer: serde_json::Value = request
            .send()
            .await
            .expect("an answer")
            .json()
            .await
            .expect("JSON");
        assert_eq!(answer.get("errors"), None, "{answer}");
        answer
    };
    ask("mutation { createApiKey(input: { name: \"export\", scopes: [READ] }) { secret } }").await;
    let events = ask("{ viewer { auditEvents(first: 1) { edges { node { ipAddress } } } } }").await;
    let node = &events["data"]["viewer"]["auditEvents"]["edges"][0]["node"];
    assert_eq!(text(&node["ipAddress"]), "127.0.0.7");
}

/// `None`: the proxy is not installed.
async fn replicas_for(kind: Kind) -> Option<Replicas> {
    installed(kind.name())?;
    Some(Replicas::start().await)
}

async fn before(kind: Kind, replicas: &Replicas) -> Listening {
    let proxy = kind.before(replicas.addresses()).await;
    proxy.expect("it is installed")
}

#[expect(
    clippy::print_stdout,
    reason = "the figures are for who reads the test's output"
)]
fn println_summary(kind: Kind, messages: usize, retries: usize) {
    println!("{kind:?}: {messages} messages, {retries} of them sent again");
}

#[tokio::test]
async fn a_rolling_restart_behind_nginx_fails_nobody() {
    a_rolling_restart_fails_nobody(Kind::Nginx).await;
}

#[tokio::test]
async fn a_rolling_restart_behind_haproxy_fails_nobody() {
    a_rolling_restart_fails_nobody(Kind::HaProxy).await;
}

#[tokio::test]
async fn nginx_passes_a_reply_on_as_it_is_written() {
    a_reply_comes_through_as_it_is_written(Kind::Nginx).await;
}

#[tokio::test]
async fn haproxy_passes_a_reply_on_as_it_is_written() {
    a_reply_comes_through_as_it_is_written(Kind::HaProxy).await;
}

#[tokio::test]
async fn nginx_says_whose_request_it_is() {
    the_client_is_known_by_its_address(Kind::Nginx).await;
}

#[tokio::test]
async fn haproxy_says_whose_request_it_is() {
    the_client_is_known_by_its_address(Kind::HaProxy).await;
}

#[test]
fn the_proxies_wait_longer_than_the_server_is_silent() {
    let ping = Timing::default().ping.as_secs();
    let text = Page::read(PAGE).text;
    assert!(text.contains(&format!("Loquat pings every {ping} s")));
    for setting in [
        "proxy_read_timeout",
        "proxy_send_timeout",
        "timeout client",
        "timeout server",
        "timeout tunnel",
    ] {
        let value = text
            .lines()
            .find_map(|line| line.trim().strip_prefix(setting))
            .unwrap_or_else(|| panic!("{setting}"));
        let seconds = value.trim().trim_end_matches(';').trim_end_matches('s');
        let seconds: u64 = seconds.parse().expect("seconds");
        assert!(seconds > 2 * ping, "{setting}");
    }
}
