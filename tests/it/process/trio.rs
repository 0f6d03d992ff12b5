//! Three processes on one database, of which one after the other goes: whoever follows a reply on
//! another has its exact text at the end.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{
    provider::{FakeProvider, Gate, Script},
    support::{
        TestDatabase,
        process::{Device, Follower, program, written_down},
        program::Server,
        redis::{Make, RedisServer},
    },
};

/// The promise: how long after a crash its replies may look alive.
const RECOVERY: Duration = Duration::from_secs(10);

/// What the model says at the first and at the second time, up to a gate and after it. It never says
/// the same twice, so that no text can be taken for the other.
const FIRST: [&str; 3] = ["Grüße ", "aus 🍊 ", "dem Nichts"];
const SECOND: [&str; 3] = ["Noch ", "einmal e\u{301}👩‍👩‍👧 ", "von vorn, und ganz"];

struct Trio {
    test: TestDatabase,
    model: FakeProvider,
    /// Without one they go on, at another pace.
    redis: Option<RedisServer>,
    servers: Vec<Server>,
    reply: String,
    conversation: String,
    /// Holds the second run before its last words.
    gate: Gate,
}

impl Trio {
    /// A reply that is made on the first, and stands still after its first words.
    async fn in_mid_reply() -> Self {
        let test = TestDatabase::create().await;
        let model = FakeProvider::start().await;
        let gate = Gate::default();
        let [begun @ .., ended] = SECOND;
        model.script(Script::stream().texts(FIRST).stall());
        let second = Script::stream().texts(begun).wait(&gate).text(ended);
        model.script(second.complete());
        let redis = RedisServer::start(Make::Redis).await;
        let servers = start(&test, &model, redis.as_ref()).await;
        let device = Device::of(&servers[0], "ann");
        let conversation = device.start_chat().await;
        let reply = device.send(&conversation, "hi").await;
        Self {
            test,
            model,
            redis,
            servers,
            reply,
            conversation,
            gate,
        }
    }

    fn device(&self, server: usize) -> Device {
        Device::of(&self.servers[server], "ann")
    }

    /// Followers on both others, that have all that was said.
    async fn followed(&self) -> [Follower; 2] {
        let mut followers = [
            self.device(1).follow(&self.reply).await,
            self.device(2).follow(&self.reply).await,
        ];
        for follower in &mut followers {
            follower.until(&FIRST.concat()).await;
        }
        followers
    }

    /// The reply is written anew, to its end, and every device sees the same.
    async fn ends_well(self, followers: impl IntoIterator<Item = Follower>) {
        self.gate.open();
        for mut follower in followers {
            let finished = follower.finished().await;
            assert_eq!(finished["status"], "COMPLETED", "{finished}");
            assert_eq!(finished["content"], SECOND.concat());
        }
        assert_eq!(self.model.requests().len(), 2, "one run for each attempt");
        for server in &self.servers {
            let device = Device::of(server, "ann");
            let seen = history(&device, &self.conversation).await;
            assert_eq!(
                seen,
                json!([
                    { "role": "USER", "status": "COMPLETED", "content": "hi" },
                    { "role": "ASSISTANT", "status": "COMPLETED", "content": SECOND.concat() },
                ])
            );
        }
        let left: (i64, i64) = sqlx::query_as(
            "select (select count(*) from chat.replies), (select count(*) from chat.reply_chunks)",
        )
        .fetch_one(&mut self.test.superuser().await)
        .await
        .expect("counts");
        assert_eq!(left, (0, 0), "no run and no chunk is left");
    }
}

/// All three, at the same time.
async fn start(
    test: &TestDatabase,
    model: &FakeProvider,
    redis: Option<&RedisServer>,
) -> Vec<Server> {
    let member = |_| {
        let program = program(test, model).variable("LOQUAT_SHUTDOWN_GRACE_SECONDS", "1");
        match redis {
            Some(redis) => program.variable("REDIS_URL", &redis.url()).serve(),
            None => program.serve(),
        }
    };
    join_all((0..3).map(member)).await
}

async fn history(device: &Device, conversation: &str) -> Value {
    let mut data = device
        .data(
            "query($id: ID!) { viewer { conversation(id: $id) { \
               messages { nodes { role status content } } } } }",
            json!({ "id": conversation }),
        )
        .await;
    data["viewer"]["conversation"]["messages"]["nodes"].take()
}

#[tokio::test]
async fn a_reply_whose_process_is_killed_is_written_anew_by_another_within_ten_seconds() {
    let mut trio = Trio::in_mid_reply().await;
    let mut followers = trio.followed().await;
    written_down(&trio.test, &FIRST.concat()).await;

    trio.servers.remove(0).crash().await;
    let crashed = Instant::now();
    trio.model.asked(2).await;
    for follower in &mut followers {
        follower.until(&SECOND[..2].concat()).await;
    }

    assert!(crashed.elapsed() < RECOVERY, "{:?}", crashed.elapsed());
    trio.ends_well(followers).await;
}

#[tokio::test]
async fn a_reply_that_outlasts_the_stop_of_its_process_is_handed_over_at_once() {
    let mut trio = Trio::in_mid_reply().await;
    let followers = trio.followed().await;

    let stopped = trio.servers.remove(0);
    stopped.signal(Signal::SIGTERM);
    let ended = stopped.end().await;
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    trio.model.hung_up(1).await;
    trio.model.asked(2).await;

    trio.ends_well(followers).await;
}

#[tokio::test]
async fn a_reply_outlives_all_three_processes() {
    let mut trio = Trio::in_mid_reply().await;
    drop(trio.followed().await);
    let killed = std::mem::take(&mut trio.servers);
    join_all(killed.into_iter().map(Server::crash)).await;
    let crashed = Instant::now();

    trio.servers = start(&trio.test, &trio.model, trio.redis.as_ref()).await;
    // As its subscribers do, who come back by themselves.
    let mut followers = Vec::new();
    for server in 0..3 {
        let mut follower = trio.device(server).follow(&trio.reply).await;
        follower.until(&SECOND[..2].concat()).await;
        followers.push(follower);
    }

    assert!(crashed.elapsed() < RECOVERY, "{:?}", crashed.elapsed());
    trio.ends_well(followers).await;
}
