//! docs/pgbouncer.md: servers that reach their database through PgBouncer in transaction mode, as
//! the page sets it up.

use std::os::unix::fs::PermissionsExt;

use nix::unistd::geteuid;
use secrecy::ExposeSecret;
use sqlx::PgConnection;
use tokio::process::Command;
use uuid::Uuid;

use super::{load::Load, proxy::replaced};
use crate::{
    docs::pages::{Page, assignments},
    provider::{FakeProvider, Gate, Script},
    support::{
        TestDatabase,
        installed::{Listening, free_ports, installed},
        process::Device,
        program::{Program, Server},
        sql,
    },
};

const PAGE: &str = "pgbouncer.md";

/// How many users talk at once, through fewer connections than they would have without.
const USERS: usize = 8;

/// A database with a role of its own, and PgBouncer before it.
struct Pooled {
    test: TestDatabase,
    role: String,
    pooler: Listening,
}

impl Pooled {
    /// `None`: it is not installed.
    async fn start() -> Option<Self> {
        let program = installed("pgbouncer")?;
        // Another database of the same server has brought the roles, which belong to all of them.
        TestDatabase::create().await.open().await;
        let test = TestDatabase::create().await;
        let role = format!("app_{}", Uuid::new_v4().simple());
        let database = database_name(&mut test.superuser().await).await;
        sql(
            &test,
            &format!(
                "create role {role} login password 'the-password'; \
                 grant create on database {database} to {role}; \
                 grant loquat_viewer, loquat_system, loquat_admin to {role}"
            ),
        )
        .await;

        let [port] = free_ports();
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        let users = path.join("userlist.txt");
        std::fs::write(&users, format!("\"{role}\" \"the-password\"\n")).expect("a file");
        let recipe = Page::read(PAGE).blocks("ini").concat();
        let recipe = replaced(&recipe, "host=10.0.0.20 port=5432", &server_of(&test));
        let recipe = replaced(&recipe, "dbname=loquat", &format!("dbname={database}"));
        let recipe = replaced(
            &recipe,
            "listen_addr = 10.0.0.21",
            "listen_addr = 127.0.0.1",
        );
        let recipe = replaced(
            &recipe,
            "listen_port = 6432",
            &format!("listen_port = {port}"),
        );
        let recipe = replaced(
            &recipe,
            "/etc/pgbouncer/userlist.txt",
            &users.display().to_string(),
        );
        // Nothing else of the machine is touched.
        let recipe = format!("{recipe}unix_socket_dir =\n");
        let file = path.join("pgbouncer.ini");
        std::fs::write(&file, recipe).expect("a file");
        let mut command = Command::new(program);
        if geteuid().is_root() {
            // It refuses to run as root, and reads these files as somebody else.
            command.args(["-u", "nobody"]);
            let readable = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(path, readable).expect("permissions");
        }
        command.arg(&file);
        let pooler = Listening::start(&mut command, port, folder).await;
        Some(Self { test, role, pooler })
    }

    /// With the page's own settings.
    fn program(&self, model: &FakeProvider) -> Program {
        let settings = Page::read(PAGE).blocks("env").concat();
        let settings = replaced(
            &settings,
            "loquat:the-password",
            &format!("{}:the-password", self.role),
        );
        let settings = replaced(
            &settings,
            "10.0.0.21:6432",
            &self.pooler.address.to_string(),
        );
        let program = Program::new(&[])
            .variable("OPENAI_BASE_URL", &model.base_url())
            .variable("OPENAI_CHAT_MODEL", "fake");
        assignments(&settings)
            .iter()
            .fold(program, |program, (name, value)| {
                program.variable(name, value)
            })
    }

    async fn end(self, servers: Vec<Server>) {
        for server in servers {
            server.signal(nix::sys::signal::Signal::SIGTERM);
            assert_eq!(server.end().await.status.code(), Some(0));
        }
        drop(self.pooler);
    }
}

fn server_of(test: &TestDatabase) -> String {
    let url = url::Url::parse(test.url.expose_secret()).expect("a URL");
    let folder = url.query_pairs().find(|(name, _)| name == "host");
    let host = folder.map_or_else(
        || url.host_str().expect("a host").to_owned(),
        |(_, folder)| folder.into_owned(),
    );
    format!("host={host} port={}", url.port().unwrap_or(5432))
}

async fn database_name(connection: &mut PgConnection) -> String {
    sqlx::query_scalar("select current_database()::text")
        .fetch_one(connection)
        .await
        .expect("a name")
}

#[tokio::test]
async fn a_conversation_goes_through_pgbouncer() {
    let Some(pooled) = Pooled::start().await else {
        return;
    };
    let model = FakeProvider::start().await;
    // Together, on a database that has nothing yet: each must come up.
    let (here, elsewhere) = tokio::join!(
        pooled.program(&model).serve(),
        pooled.program(&model).serve()
    );
    let gate = Gate::default();
    let script = Script::stream()
        .text("at once, ")
        .wait(&gate)
        .text("and the rest");
    model.script(script.complete());
    let device = Device::of(&here, "ann");
    let conversation = device.start_chat().await;
    let reply = device.send(&conversation, "hi").await;
    let mut follower = Device::of(&elsewhere, "ann").follow(&reply).await;
    follower.until("at once, ").await;
    gate.open();
    let finished = follower.finished().await;
    assert_eq!(finished["content"], "at once, and the rest");

    // Many at once, so that each transaction meets connections that others have used.
    let load = Load::start(&model, here.address(), USERS);
    load.goes_on(4 * USERS).await;
    let seen = Device::of(&elsewhere, "user-0")
        .data(
            "{ viewer { conversations { totalCount } } }",
            serde_json::json!({}),
        )
        .await;
    assert_eq!(seen["viewer"]["conversations"]["totalCount"], 1);
    drop(follower);
    load.end(&pooled.test).await;
    pooled.end(vec![here, elsewhere]).await;
}
