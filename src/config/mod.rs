//! Every setting, loaded and checked once, at the start.
//!
//! `names` lists them, `sources` reads what was written, and [`Settings::resolve`] parses and
//! checks it. Invariant: nobody else reads the environment. A setting that is unknown, wrong or
//! contradicts another stops the start with one line that names it and the mend.

mod chat;
mod documents;
mod error;
mod issuers;
mod limits;
pub mod names;
mod provider;
mod redis_url;
mod resolve;
mod sources;
mod tables;
mod values;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;
use secrecy::SecretString;
use url::Url;

pub use error::SettingsError;
pub use limits::{DocumentLimits, LimitSettings, RequestLimits};
pub use names::Setting;
pub use sources::{Origin, Origins, Sources};
pub use tables::IssuerTable;

/// What the server runs with. Whoever holds one may believe it: it has been checked.
#[derive(Clone, Debug)]
pub struct Settings {
    pub environment: Environment,
    pub bind: SocketAddr,
    /// `LOQUAT_DATA_DIR`: the private cluster, and the development signing key.
    pub data_dir: PathBuf,
    pub database: DatabaseSettings,
    /// `REDIS_URL`. `None`: processes hear of each other through the database alone.
    pub redis: Option<RedisSettings>,
    /// Whose tokens are believed. None, in development: any name signs in.
    pub issuers: Vec<IssuerSettings>,
    /// `LOQUAT_GATEWAY_SECRET`: whoever bears it may name a user. Only ever set in production.
    pub gateway_secret: Option<SecretString>,
    /// `JWT_LEEWAY_SECONDS`.
    pub jwt_leeway: Duration,
    /// `LOQUAT_JWKS_CACHE_SECONDS`.
    pub jwks_cache: Duration,
    pub provider: ProviderSettings,
    pub chat: ChatSettings,
    pub documents: DocumentSettings,
    pub limits: LimitSettings,
    /// `LOQUAT_MAX_CONNECTIONS`.
    pub max_connections: usize,
    /// `CORS_ORIGINS`: exact origins, as browsers send them.
    pub cors_origins: Vec<String>,
    /// `LOQUAT_TRUSTED_PROXIES`: who may say in `X-Forwarded-For` where a request came from.
    pub trusted_proxies: Vec<IpNet>,
    /// `LOQUAT_AUDIT_RETENTION_DAYS`. `None`: for ever.
    pub audit_retention: Option<Duration>,
    pub log: LogSettings,
    /// `LOQUAT_SHUTDOWN_GRACE_SECONDS`: how long running replies may take to finish at a stop.
    pub shutdown_grace: Duration,
    /// Where each setting was written, for messages about it.
    pub origins: Origins,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    Development,
    Production,
}

#[derive(Clone, Debug)]
pub struct LogSettings {
    /// `LOQUAT_LOG`, or `RUST_LOG`: what is logged, in the syntax of tracing's `EnvFilter`.
    pub filter: String,
    /// `LOQUAT_LOG_FORMAT`.
    pub format: LogFormat,
    /// `LOQUAT_SECURITY_LOG`: a file of its own for what matters to security.
    pub security: Option<PathBuf>,
}

impl LogSettings {
    pub const DEFAULT_FILTER: &str = "info,sqlx=warn";
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: the default in development.
    Text,
    /// One JSON object a line: the default in production.
    Json,
}

#[derive(Clone, Debug)]
pub struct DatabaseSettings {
    /// `DATABASE_URL` or `SUPABASE_DB_URL`. `None`: the private cluster in the data folder.
    pub url: Option<SecretString>,
    /// `LOQUAT_POSTGRES_BIN`: the folder that holds `postgres` and `initdb`.
    pub postgres_bin: Option<PathBuf>,
    /// `LOQUAT_DATABASE_CONNECTIONS`: how many connections the pool may open.
    pub max_connections: u32,
    /// `LOQUAT_DATABASE_STATEMENT_CACHE`: off for poolers that cannot carry named statements.
    pub named_statements: bool,
}

#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// Who is asked first: a server, or nodes of a cluster. Never empty.
    pub nodes: Vec<RedisNode>,
    pub tls: bool,
    pub user: Option<String>,
    pub password: Option<SecretString>,
}

/// Where a Redis listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RedisNode {
    Tcp {
        host: String,
        port: u16,
    },
    /// The path of a Unix socket.
    Socket(String),
}

impl Settings {
    /// Whether any name is believed: in development, where nobody vouches for anybody.
    pub fn has_development_sign_in(&self) -> bool {
        self.environment == Environment::Development && self.issuers.is_empty()
    }
}

/// One issuer of JWTs, whether a preset, the `JWT_` settings or a table named it.
///
/// A claim is named literally, or by the path to it: `app_metadata.role`. The literal one counts.
#[derive(Clone, Debug)]
pub struct IssuerSettings {
    /// The name that `Viewer.issuer` shows: `supabase`, `better-auth`, `jwt`, or what the table
    /// says. No two issuers share one.
    pub name: String,
    /// `iss`, exactly; `None`: not looked at.
    pub issuer: Option<String>,
    /// `aud`; `None`: not looked at.
    pub audience: Option<String>,
    /// The claim that names the user.
    pub user_claim: String,
    /// `None`: `email`.
    pub email_claim: Option<String>,
    /// `None`: the usual ones, `name` first.
    pub name_claim: Option<String>,
    /// `None`: nobody whom this issuer vouches for is an admin.
    pub admin: Option<ClaimRule>,
    /// What every token must say.
    pub required_claims: Vec<ClaimRule>,
    /// The HMAC secret.
    pub secret: Option<SecretString>,
    /// The one before it, accepted as long as a rotation lasts.
    pub previous_secret: Option<SecretString>,
    pub jwks_url: Option<Url>,
    /// The algorithms that are accepted; never empty, and only those that the secret or the
    /// JWKS can verify.
    pub algorithms: Vec<jsonwebtoken::Algorithm>,
}

/// What a claim must be: this value, or a list that contains it.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimRule {
    pub claim: String,
    pub value: ClaimValue,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ClaimValue {
    /// A string, a number or a boolean, of that type.
    Exactly(serde_json::Value),
    /// From a variable, where values have no types: whatever would be written so.
    Written(String),
    /// `true` itself, not a list that contains it.
    True,
}

#[derive(Clone, Debug)]
pub struct ProviderSettings {
    /// `None`: the demo assistant.
    pub openai: Option<OpenAiSettings>,
    /// `OPENAI_CHAT_MODEL`: what a conversation uses that names no model.
    pub default_model: String,
    /// `LOQUAT_MODELS`.
    pub models: OfferedModels,
}

#[derive(Clone, Debug)]
pub struct OpenAiSettings {
    /// `OPENAI_API_KEY`; local servers need none.
    pub api_key: Option<SecretString>,
    /// `OPENAI_BASE_URL`, without a slash at the end.
    pub base_url: Url,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long the first token may take.
    pub first_token_timeout: Duration,
    /// How long each further token may take.
    pub idle_timeout: Duration,
    /// How often a request is tried again that failed before its first token.
    pub retries: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OfferedModels {
    /// These, the default among them.
    Listed(Vec<String>),
    /// Any that the provider takes.
    Any,
}

/// Which GraphQL documents may run, and how they may be named.
#[derive(Clone, Debug)]
pub struct DocumentSettings {
    /// `LOQUAT_TRUSTED_DOCUMENTS`: manifests of ids and documents.
    pub trusted: Vec<PathBuf>,
    pub admitted: AdmittedDocuments,
}

/// What may run beside trusted documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdmittedDocuments {
    /// Any within the limits; who has sent one once may name it by its hash. The default.
    Automatic,
    /// `LOQUAT_AUTOMATIC_PERSISTED_QUERIES=false`: any within the limits, written out each time.
    Written,
    /// `LOQUAT_TRUSTED_DOCUMENTS_ONLY`: nothing.
    Trusted,
}

/// By default nothing is set, and users alone title their conversations.
#[derive(Clone, Debug)]
pub struct ChatSettings {
    /// `LOQUAT_GREETING`: the first assistant message of a chat.
    pub greeting: Option<String>,
    /// `LOQUAT_SYSTEM_PROMPT`: standing instructions.
    pub system_prompt: Option<String>,
    pub context: ContextSettings,
    /// `LOQUAT_MAX_REPLY_TOKENS`. `None`: what the provider allows.
    pub max_reply_tokens: Option<u32>,
    /// `LOQUAT_REPLY_SECONDS`: how long a whole reply may take.
    pub reply_timeout: Duration,
    pub titles: TitleSettings,
    pub runs: RunSettings,
}

/// `LOQUAT_CONTEXT_TOKENS`: how many tokens prompt and answer may have together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContextSettings {
    /// Of every model that is not named. `None`: what is known of it.
    pub every: Option<u32>,
    pub models: BTreeMap<String, u32>,
}

/// Who titles conversations that their users have not titled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TitleSettings {
    Nobody,
    /// That of the reply.
    TheModel,
    /// `LOQUAT_TITLE_MODEL`.
    Model(String),
}

/// How many replies may be written at once. More than that wait, in order.
#[derive(Clone, Copy, Debug)]
pub struct RunSettings {
    /// `LOQUAT_MAX_RUNS`: by one process.
    pub most: u32,
    /// `LOQUAT_MAX_RUNS_PER_USER`: for one user, over all processes.
    pub most_per_user: u32,
}

impl Default for RunSettings {
    fn default() -> Self {
        Self {
            most: 200,
            most_per_user: 5,
        }
    }
}

impl Default for ChatSettings {
    fn default() -> Self {
        Self {
            greeting: None,
            system_prompt: None,
            context: ContextSettings::default(),
            max_reply_tokens: None,
            reply_timeout: Duration::from_secs(15 * 60),
            titles: TitleSettings::Nobody,
            runs: RunSettings::default(),
        }
    }
}
