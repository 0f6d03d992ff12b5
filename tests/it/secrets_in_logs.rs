//! What no log, no error and no row of the audit log may ever hold, however talkative the server.
//!
//! A whole life is lived in which everything that is secret or somebody's own is marked, and the
//! marks are then looked for in whatever the server has said of it.

mod secrets;

use std::fs;

use nix::sys::signal::Signal;
use reqwest::RequestBuilder;
use secrecy::ExposeSecret;
use serde_json::json;
use sqlx::AssertSqlSafe;
use tokio::net::TcpStream;
use uuid::Uuid;

use self::secrets::Secrets;
use crate::{
    mini::Socket,
    provider::{FakeProvider, Script},
    support::{
        TestDatabase, eventually,
        process::{Device, program},
        program::{Server, client},
        text,
    },
};

/// A server in production, and its user.
struct Stage {
    secrets: Secrets,
    test: TestDatabase,
    model: FakeProvider,
    server: Server,
    role: String,
    signing: String,
    gateway: String,
    /// What clients were told that was not the answer they had asked for.
    errors: Vec<String>,
}

impl Stage {
    async fn set(filter: &str, security_log: Option<&str>) -> Self {
        let mut secrets = Secrets::default();
        let test = TestDatabase::create().await;
        let role = format!("app_{}", Uuid::new_v4().simple());
        let password = secrets.plant("the database's password");
        sqlx::raw_sql(AssertSqlSafe(format!(
            "create role {role} superuser login password '{password}'"
        )))
        .execute(&mut test.superuser().await)
        .await
        .expect("a role");
        let model = FakeProvider::start().await;
        let signing = secrets.plant("the secret that signs tokens");
        let gateway = secrets.plant("the gateway's secret");
        let mut program = program(&test, &model)
            .variable("ENVIRONMENT", "production")
            .variable("LOQUAT_LOG", filter)
            .variable("LOQUAT_PROVIDER_RETRIES", "0")
            .variable(
                "DATABASE_URL",
                test.url_as(&role, &password).expose_secret(),
            )
            .variable("OPENAI_API_KEY", &secrets.plant("the provider's key"))
            .variable("JWT_SECRET_KEY", &signing)
            .variable("LOQUAT_GATEWAY_SECRET", &gateway)
            .variable("LOQUAT_GREETING", &secrets.plant("the greeting"))
            .variable(
                "LOQUAT_SYSTEM_PROMPT",
                &secrets.plant("the standing instructions"),
            );
        if let Some(path) = security_log {
            program = program.variable("LOQUAT_SECURITY_LOG", path);
        }
        Self {
            server: program.serve().await,
            secrets,
            test,
            model,
            role,
            signing,
            gateway,
            errors: Vec::new(),
        }
    }

    fn post(&self) -> RequestBuilder {
        client().post(self.server.url("/graphql"))
    }

    /// Sends it, and keeps what it was refused with.
    async fn refused(&mut self, what: &str, request: RequestBuilder) {
        let response = request.send().await.expect("an answer");
        let head = format!("{:?}", response.headers());
        let body = response.text().await.expect("text");
        assert!(body.contains("\"errors\""), "{what}: {body}");
        self.errors.push(format!("{what}: {head} {body}"));
    }

    /// Everything that goes well, and every way in which a reply does not.
    async fn converse(&mut self, device: &Device) -> String {
        let reply = self.secrets.plant("a reply");
        self.model
            .when_asked("good", Script::reply(["it begins ", reply.as_str()]));
        let broken = Script::stream().text(&self.secrets.plant("a broken reply"));
        let chunk = self.secrets.plant("a broken chunk");
        let broken = broken.data(&format!("{{\"choices\": \"{chunk}\""));
        self.model.when_asked("broken", broken.done());
        let cut = Script::stream().text(&self.secrets.plant("a reply that is cut"));
        self.model.when_asked("cut", cut.cut());
        let code = self.secrets.plant("a provider's error code");
        let message = self.secrets.plant("a provider's error message");
        let refused = Script::error(400, "invalid_request_error", &code, &message);
        self.model.when_asked("refused", refused);

        let conversation = device.start_chat().await;
        for prompt in ["good", "broken", "cut", "refused"] {
            let prompt = format!(
                "{prompt} {}",
                self.secrets.plant(&format!("a {prompt} prompt"))
            );
            let reply = device.send(&conversation, &prompt).await;
            let ended = device.follow(&reply).await.finished().await;
            assert!(ended["status"].is_string(), "{ended}");
        }
        device
            .data(
                "mutation($id: ID!, $title: String, $prompt: String) { updateConversation(input: { \
                   conversationId: $id, title: $title, systemPrompt: $prompt }) \
                   { conversation { title } } }",
                json!({
                    "id": conversation, "title": self.secrets.plant("a title"),
                    "prompt": self.secrets.plant("a system prompt"),
                }),
            )
            .await;
        conversation
    }

    /// An API key that is made, used and revoked.
    async fn make_key(&mut self, device: &Device) -> String {
        let name = self.secrets.plant("a key's name");
        let made = device
            .data(
                "mutation($name: String!) { createApiKey(input: { name: $name, scopes: [READ] }) \
                   { secret apiKey { id } } }",
                json!({ "name": name }),
            )
            .await;
        let key = text(&made["createApiKey"]["secret"]);
        self.secrets.keep("an API key", &key);
        // Its beginning is shown and noted.
        self.secrets.keep("an API key's secret", &key[17..]);
        let program = Device::with_token(&self.server, &key);
        program.data("{ viewer { id } }", json!({})).await;
        let write = program.answer(
            "mutation { startChat(input: {}) { conversation { id } } }",
            json!({}),
        );
        let write = write.await.body.to_string();
        self.errors.push(write);
        device
            .data(
                "mutation($id: ID!) { revokeApiKey(input: { apiKeyId: $id }) { apiKey { id } } }",
                json!({ "id": made["createApiKey"]["apiKey"]["id"] }),
            )
            .await;
        key
    }

    /// Credentials wherever they do not belong, and those that are none.
    async fn intrude(&mut self, good: &str, revoked: &str) {
        let elsewhere = self.secrets.plant("the secret of somebody else's tokens");
        let forged = self.secrets.token("a forged token", &elsewhere, &json!({}));
        let signing = self.signing.clone();
        let expired = json!({ "exp": 1 });
        let expired = self.secrets.token("an expired token", &signing, &expired);
        let refresh = json!({ "token_type": "refresh" });
        let refresh = self.secrets.token("a refresh token", &signing, &refresh);
        let nonsense = self.secrets.plant("no token at all");
        let unknown = format!(
            "loq_{}_{}",
            "a".repeat(12),
            &Uuid::new_v4().simple().to_string().repeat(2)[..43]
        );
        self.secrets.keep("an unknown API key", &unknown);
        let wrong_gateway = self.secrets.plant("a wrong gateway secret");
        let gateway = self.gateway.clone();
        let query = json!({ "query": "{ viewer { id } }" });

        for token in [
            &*forged, &*expired, &*refresh, &*nonsense, &*unknown, revoked,
        ] {
            let request = self.post().bearer_auth(token);
            self.refused("a bearer", request.json(&query)).await;
            for payload in [
                json!({ "Authorization": format!("Bearer {token}") }),
                json!({ "headers": { "authorization": token } }),
                json!({ "token": token }),
                json!({ "token": { "is": token } }),
                json!({ "authorization": token, "X-User-Id": token }),
                json!(token),
            ] {
                let mut socket = self.silent_socket().await;
                socket
                    .send(json!({ "type": "connection_init", "payload": payload }))
                    .await;
                let (code, reason) = socket.closed().await;
                assert!(matches!(code, 4400 | 4403), "{code} {reason}");
                self.errors.push(reason);
            }
        }
        for token in [good, revoked, &*forged, &*nonsense] {
            for (name, value) in [
                ("authorization", token.to_owned()),
                ("authorization", format!("Basic {token}")),
                ("authorization", format!("Bearer {token} {token}")),
                ("x-user-id", token.to_owned()),
                ("x-gateway-secret", token.to_owned()),
                ("proxy-authorization", token.to_owned()),
                ("x-api-key", token.to_owned()),
                ("cookie", format!("token={token}")),
                ("user-agent", token.to_owned()),
                ("referer", format!("https://app.example.com/?token={token}")),
                ("origin", format!("https://{token}.example.com")),
                ("x-forwarded-for", token.to_owned()),
                ("forwarded", format!("for={token}")),
                ("accept-language", token.to_owned()),
                ("x-request-id", format!("{token} {token}")),
            ] {
                let request = self.post().header(name, value);
                self.refused(name, request.json(&query)).await;
            }
            for name in ["access_token", "token", "authorization", "api_key", "jwt"] {
                let request = self.post().query(&[(name, token)]);
                self.refused(name, request.json(&query)).await;
                let request = client().get(self.server.url("/graphql"));
                let request = request.query(&[("query", "{ viewer { id } }"), (name, token)]);
                self.refused(name, request).await;
            }
            let path = client().get(self.server.url(&format!("/graphql/{token}")));
            self.refused("a path", path).await;
            let body = self.post().header("content-type", "application/json");
            self.refused("a body", body.body(format!("{{\"token\": {token}")))
                .await;
            let body = self
                .post()
                .header("content-type", format!("text/{}", &token[..20]));
            self.refused("a content type", body.body("{}")).await;
        }
        let both = self.post().bearer_auth(good).header("X-User-Id", &nonsense);
        self.refused("two credentials", both.json(&query)).await;
        let twice = self.post().bearer_auth(good).bearer_auth(&forged);
        self.refused("two tokens", twice.json(&query)).await;
        for secret in [&wrong_gateway, &gateway] {
            let request = self.post().header("X-Gateway-Secret", secret);
            self.refused("a gateway without a user", request.json(&query))
                .await;
        }
        let user = self.secrets.plant("a user whom no gateway named");
        let request = self.post().header("X-Gateway-Secret", &wrong_gateway);
        let request = request.header("X-User-Id", &user);
        self.refused("a stranger as a gateway", request.json(&query))
            .await;
        let user = self.secrets.plant("a user whom the gateway named");
        let request = self.post().header("X-Gateway-Secret", &gateway);
        let answer = request.header("X-User-Id", &user).json(&query).send().await;
        let answer = answer.expect("an answer").text().await.expect("text");
        assert!(answer.contains("viewer_"), "{answer}");
    }

    /// Input that is wrong; what it is wrong about may be said, not what stood in it.
    async fn blunder(&mut self, device: &Device, conversation: &str) {
        let mark = self.secrets.plant("a wrong input");
        for (document, variables) in [
            (
                "query($id: ID!) { node(id: $id) { id } }",
                json!({ "id": mark }),
            ),
            (
                "query($after: String) { viewer { conversations(after: $after) { nodes { id } } } }",
                json!({ "after": mark }),
            ),
            (
                "mutation($input: SendMessageInput!) { sendMessage(input: $input) { reply { id } } }",
                json!({ "input": { "conversationId": conversation, "content": mark, "model": mark } }),
            ),
            (
                "mutation($input: SendMessageInput!) { sendMessage(input: $input) { reply { id } } }",
                json!({ "input": { "conversationId": conversation, "content": format!("{mark}\u{0}") } }),
            ),
            (
                "mutation($id: String!) { deleteViewer(input: { confirmExternalId: $id }) { deletedViewerId } }",
                json!({ "id": mark }),
            ),
            (
                "query($id: ID!) { admin { user(id: $id) { id } } }",
                json!({ "id": mark }),
            ),
        ] {
            let answer = device.answer(document, variables).await;
            assert!(answer.body["errors"].is_array(), "{answer:?}");
            self.errors.push(answer.body.to_string());
        }
        // Over a socket: what cannot be read closes it.
        let mut socket = device.socket().await;
        socket
            .say(tokio_tungstenite::tungstenite::Message::text(format!(
                "{{\"type\": \"{mark}\", {mark}"
            )))
            .await;
        let (_, reason) = socket.closed().await;
        self.errors.push(reason);
    }

    /// Faults of the database's in the middle of a request, with the user's text in its hands.
    async fn break_the_database(&mut self, device: &Device, conversation: &str) {
        let mut superuser = self.test.superuser().await;
        let mark = self.secrets.plant("a text that breaks a rule");
        sqlx::raw_sql(AssertSqlSafe(format!(
            "alter table chat.messages add constraint tactful check (content <> '{mark}')"
        )))
        .execute(&mut superuser)
        .await
        .expect("a constraint");
        let answer = device.try_send(conversation, &mark, None).await;
        assert_eq!(answer.code(), "INTERNAL_SERVER_ERROR", "{answer:?}");
        self.errors.push(answer.body.to_string());
        sqlx::raw_sql("alter table chat.messages drop constraint tactful")
            .execute(&mut superuser)
            .await
            .expect("dropped");

        let mark = self.secrets.plant("a text that is sent to no database");
        sqlx::raw_sql(AssertSqlSafe(format!(
            "alter role {} nologin; select pg_terminate_backend(pid) from pg_stat_activity \
             where usename = '{}'",
            self.role, self.role
        )))
        .execute(&mut superuser)
        .await
        .expect("shut out");
        let answer = eventually("the database is gone", || async {
            let answer = device.try_send(conversation, &mark, None).await;
            answer.body["errors"].is_array().then_some(answer)
        })
        .await;
        self.errors.push(answer.body.to_string());
        sqlx::raw_sql(AssertSqlSafe(format!("alter role {} login", self.role)))
            .execute(&mut superuser)
            .await
            .expect("let in again");
        eventually("the database is back", || async {
            let answer = device.answer("{ viewer { id } }", json!({})).await;
            answer.body.get("errors").is_none().then_some(())
        })
        .await;
    }

    /// The user goes, with all that they had.
    async fn leave(&mut self, device: &Device) {
        let viewer = device.data("{ viewer { externalId } }", json!({})).await;
        device
            .data(
                "mutation($id: String!) { deleteViewer(input: { confirmExternalId: $id }) { deletedViewerId } }",
                json!({ "id": viewer["viewer"]["externalId"] }),
            )
            .await;
        let answer = device.answer("{ viewer { id } }", json!({})).await;
        assert_eq!(answer.status, 401, "{answer:?}");
        self.errors.push(answer.body.to_string());
    }

    async fn silent_socket(&self) -> Socket {
        let stream = TcpStream::connect(self.server.address()).await;
        Socket::open(stream.expect("a connection")).await
    }

    /// Looks for everything, everywhere.
    async fn end(self) {
        let Self {
            secrets,
            test,
            server,
            role,
            errors,
            ..
        } = self;
        server.signal(Signal::SIGTERM);
        let ended = server.end().await;
        let mut superuser = test.superuser().await;
        sqlx::raw_sql(AssertSqlSafe(format!(
            "reassign owned by {role} to current_user; drop owned by {role}; drop role {role}"
        )))
        .execute(&mut superuser)
        .await
        .expect("dropped");
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        assert_eq!(ended.errors, "");
        assert!(ended.output.contains("is running"), "{}", ended.output);
        secrets.assert_none_in("the log", &ended.output);
        for error in &errors {
            secrets.assert_none_in("an error", error);
        }
        let rows: Vec<String> =
            sqlx::query_scalar("select to_jsonb(l)::text from chat.audit_log l")
                .fetch_all(&mut superuser)
                .await
                .expect("the audit log");
        let actions = [
            "user.created",
            "user.deleted",
            "api_key.revoked",
            "credential.refused",
        ];
        for action in actions {
            assert!(rows.iter().any(|row| row.contains(action)), "{action}");
        }
        secrets.assert_none_in("the audit log", &rows.join("\n"));
    }
}

/// A life with everything in it that must not be repeated.
async fn a_life_with_secrets(filter: &str, security_log: Option<&str>) {
    let mut stage = Stage::set(filter, security_log).await;
    let signing = stage.signing.clone();
    let good = stage.secrets.token("a good token", &signing, &json!({}));
    let device = Device::with_token(&stage.server, &good);
    let conversation = stage.converse(&device).await;
    let key = stage.make_key(&device).await;
    stage.intrude(&good, &key).await;
    stage.blunder(&device, &conversation).await;
    stage.break_the_database(&device, &conversation).await;
    stage.leave(&device).await;
    if let Some(path) = security_log {
        let log = fs::read_to_string(path).expect("the security log");
        assert!(log.contains("credential.refused"), "{log}");
        stage.secrets.assert_none_in("the security log", &log);
    }
    stage.end().await;
}

#[tokio::test]
async fn no_secret_is_repeated_at_info() {
    a_life_with_secrets("info", None).await;
}

#[tokio::test]
async fn no_secret_is_repeated_at_debug() {
    a_life_with_secrets("debug", None).await;
}

#[tokio::test]
async fn no_secret_is_repeated_at_trace() {
    a_life_with_secrets("trace", None).await;
}

#[tokio::test]
async fn no_secret_is_repeated_at_trace_nor_in_a_security_log_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("security.log");
    a_life_with_secrets("trace", path.to_str()).await;
}
