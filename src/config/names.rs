//! The one list of settings: what each is called as a flag, as a variable and in the file.

/// One setting's names. The flag is the file's key with dashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Setting {
    /// The key in `loquat.toml`.
    pub key: &'static str,
    pub variable: &'static str,
    /// A name that other programs use for the same thing; it counts after `variable`.
    pub other_variable: Option<&'static str>,
    /// One line for `--help`.
    pub help: &'static str,
}

impl Setting {
    pub fn flag(&self) -> String {
        self.key.replace('_', "-")
    }

    pub fn by_key(key: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }

    /// The setting that somebody meant who wrote its variable, or its flag, into the file.
    pub fn by_any_name(name: &str) -> Option<&'static Self> {
        let key = name.trim_start_matches('-').replace('-', "_");
        SETTINGS.iter().find(|setting| {
            setting.key.eq_ignore_ascii_case(&key) || setting.variable.eq_ignore_ascii_case(&key)
        })
    }
}

macro_rules! settings {
    ($($name:ident: $key:literal, $variable:literal $(or $other:literal)?, $help:literal;)*) => {
        $(pub const $name: Setting = Setting {
            key: $key,
            variable: $variable,
            other_variable: settings!(@other $($other)?),
            help: $help,
        };)*

        /// Every setting, in the order in which the help and the example file show them.
        pub const SETTINGS: &[Setting] = &[$($name),*];
    };
    (@other) => { None };
    (@other $other:literal) => { Some($other) };
}

settings! {
    CONFIG: "config", "LOQUAT_CONFIG",
        "The settings file; without it ./loquat.toml, if there is one";
    ENVIRONMENT: "environment", "ENVIRONMENT",
        "development (the default) or production";
    BIND: "bind", "LOQUAT_BIND",
        "Address and port to listen on; 127.0.0.1:8000 by default";
    DATA_DIR: "data_dir", "LOQUAT_DATA_DIR",
        "Folder of the private database; ./data by default";

    DATABASE_URL: "database_url", "DATABASE_URL",
        "A PostgreSQL 15 or newer; without it, a private one in the data folder";
    SUPABASE_DB_URL: "supabase_db_url", "SUPABASE_DB_URL",
        "The same as the database URL, under Supabase's name";
    POSTGRES_BIN: "postgres_bin", "LOQUAT_POSTGRES_BIN",
        "Folder of the PostgreSQL programs that the private database is to use";
    DATABASE_CONNECTIONS: "database_connections", "LOQUAT_DATABASE_CONNECTIONS",
        "How many connections to the database may be open; 10 by default";
    DATABASE_STATEMENT_CACHE: "database_statement_cache", "LOQUAT_DATABASE_STATEMENT_CACHE",
        "false for a pooler that cannot carry named statements; true by default";
    REDIS_URL: "redis_url", "REDIS_URL",
        "A Redis 7, Redis Cluster or Valkey that carries news between replicas; none by default";

    SUPABASE_PROJECT_URL: "supabase_project_url", "SUPABASE_PROJECT_URL",
        "Believe this Supabase project's tokens";
    SUPABASE_JWT_SECRET: "supabase_jwt_secret", "SUPABASE_JWT_SECRET",
        "The Supabase project's legacy HS256 secret";
    SUPABASE_PREVIOUS_JWT_SECRET: "supabase_previous_jwt_secret", "SUPABASE_PREVIOUS_JWT_SECRET",
        "The secret before that, accepted as long as a rotation lasts";
    BETTER_AUTH_URL: "better_auth_url", "BETTER_AUTH_URL",
        "Believe the tokens of the Better Auth server with this base URL";
    JWT_SECRET_KEY: "jwt_secret_key", "JWT_SECRET_KEY",
        "Any other issuer's HS256 secret";
    JWT_PREVIOUS_SECRET_KEY: "jwt_previous_secret_key", "JWT_PREVIOUS_SECRET_KEY",
        "The secret before that, accepted as long as a rotation lasts";
    JWT_JWKS_URL: "jwt_jwks_url", "JWT_JWKS_URL",
        "Any other issuer's key set";
    JWT_ALGORITHM: "jwt_algorithm", "JWT_ALGORITHM",
        "Accept only these algorithms, comma-separated, such as HS256,RS256";
    JWT_ISSUER: "jwt_issuer", "JWT_ISSUER",
        "The iss that tokens must have; not looked at by default";
    JWT_AUDIENCE: "jwt_audience", "JWT_AUDIENCE",
        "The aud that tokens must have; not looked at by default";
    JWT_USER_CLAIM: "jwt_user_claim", "JWT_USER_CLAIM",
        "The claim that names the user; sub by default";
    JWT_EMAIL_CLAIM: "jwt_email_claim", "JWT_EMAIL_CLAIM",
        "The claim that holds the user's e-mail address; email by default";
    JWT_NAME_CLAIM: "jwt_name_claim", "JWT_NAME_CLAIM",
        "The claim that holds the user's name; by default the usual ones, name first";
    JWT_ADMIN_CLAIM: "jwt_admin_claim", "JWT_ADMIN_CLAIM",
        "The claim that makes an admin, when it is true or the admin value; none by default";
    JWT_ADMIN_VALUE: "jwt_admin_value", "JWT_ADMIN_VALUE",
        "What the admin claim must be or, as a list, contain; true by default";
    JWT_REQUIRED_CLAIMS: "jwt_required_claims", "JWT_REQUIRED_CLAIMS",
        "What every token must say, comma-separated, such as org=acme,email_verified=true";
    JWT_LEEWAY_SECONDS: "jwt_leeway_seconds", "JWT_LEEWAY_SECONDS",
        "How far clocks may differ; 60 by default";
    JWKS_CACHE_SECONDS: "jwks_cache_seconds", "LOQUAT_JWKS_CACHE_SECONDS",
        "How long a key set is kept before it is fetched again; 300 by default";
    GATEWAY_SECRET: "gateway_secret", "LOQUAT_GATEWAY_SECRET",
        "In production: whoever bears it in X-Gateway-Secret may name the user in X-User-Id";

    OPENAI_API_KEY: "openai_api_key", "OPENAI_API_KEY",
        "The key for the model's server; local servers need none";
    OPENAI_BASE_URL: "openai_base_url", "OPENAI_BASE_URL",
        "Any OpenAI-compatible server; with a key alone, https://api.openai.com/v1";
    OPENAI_CHAT_MODEL: "openai_chat_model", "OPENAI_CHAT_MODEL",
        "The model of conversations that name none; gpt-4.1-mini on api.openai.com";
    MODELS: "models", "LOQUAT_MODELS",
        "The models a user may choose, comma-separated, or *; by default the chat model alone";
    PROVIDER_CONNECT_SECONDS: "provider_connect_seconds", "LOQUAT_PROVIDER_CONNECT_SECONDS",
        "How long connecting to the model's server may take; 10 by default";
    PROVIDER_FIRST_TOKEN_SECONDS: "provider_first_token_seconds", "LOQUAT_PROVIDER_FIRST_TOKEN_SECONDS",
        "How long a reply's first token may take; 120 by default";
    PROVIDER_IDLE_SECONDS: "provider_idle_seconds", "LOQUAT_PROVIDER_IDLE_SECONDS",
        "How long each further token may take; 60 by default";
    PROVIDER_RETRIES: "provider_retries", "LOQUAT_PROVIDER_RETRIES",
        "How often a request is tried again that failed before its first token; 2 by default";

    GREETING: "greeting", "LOQUAT_GREETING",
        "The first assistant message of every chat; none by default";
    SYSTEM_PROMPT: "system_prompt", "LOQUAT_SYSTEM_PROMPT",
        "Standing instructions to the model; none by default";
    CONTEXT_TOKENS: "context_tokens", "LOQUAT_CONTEXT_TOKENS",
        "How much the models read, in tokens: a number, or model=tokens pairs, comma-separated";
    MAX_REPLY_TOKENS: "max_reply_tokens", "LOQUAT_MAX_REPLY_TOKENS",
        "The longest reply, in tokens; by default what the model's server allows";
    REPLY_SECONDS: "reply_seconds", "LOQUAT_REPLY_SECONDS",
        "How long a whole reply may take; 900 by default";
    TITLES: "titles", "LOQUAT_TITLES",
        "on (the default): the model titles conversations; off: users alone do";
    TITLE_MODEL: "title_model", "LOQUAT_TITLE_MODEL",
        "The model that writes titles; by default that of the conversation's reply";
    MAX_RUNS: "max_runs", "LOQUAT_MAX_RUNS",
        "How many replies the server writes at once, more of them wait; 200 by default";
    MAX_RUNS_PER_USER: "max_runs_per_user", "LOQUAT_MAX_RUNS_PER_USER",
        "How many replies of one user are written at once, on all servers; 5 by default";

    MAX_BODY_BYTES: "max_body_bytes", "LOQUAT_MAX_BODY_BYTES",
        "The largest body of a request, and message of a socket; 1048576 by default";
    MAX_BATCH: "max_batch", "LOQUAT_MAX_BATCH",
        "How many operations a body may list; 1, the default, refuses lists";
    REQUEST_SECONDS: "request_seconds", "LOQUAT_REQUEST_SECONDS",
        "How long a query or a mutation may take; 30 by default";
    MAX_DOCUMENT_TOKENS: "max_document_tokens", "LOQUAT_MAX_DOCUMENT_TOKENS",
        "How many lexical tokens a document may have; 10000 by default";
    MAX_DEFINITIONS: "max_definitions", "LOQUAT_MAX_DEFINITIONS",
        "How many operations and fragments a document may have; 200 by default";
    MAX_FIELDS: "max_fields", "LOQUAT_MAX_FIELDS",
        "How many fields a document may select, fragments expanded; 2000 by default";
    MAX_DEPTH: "max_depth", "LOQUAT_MAX_DEPTH",
        "How deep fields may be nested; 20 by default";
    MAX_ALIASES: "max_aliases", "LOQUAT_MAX_ALIASES",
        "How many aliases a document may have, fragments expanded; 200 by default";
    MAX_DIRECTIVES: "max_directives", "LOQUAT_MAX_DIRECTIVES",
        "How many directives a document may have, fragments expanded; 200 by default";
    MAX_COST: "max_cost", "LOQUAT_MAX_COST",
        "How many fields an answer may hold, pages multiplied out; 25000 by default";
    MAX_SOCKET_OPERATIONS: "max_socket_operations", "LOQUAT_MAX_SOCKET_OPERATIONS",
        "How many operations a socket may run at once; 100 by default";
    MAX_CONNECTIONS_PER_USER: "max_connections_per_user", "LOQUAT_MAX_CONNECTIONS_PER_USER",
        "How many sockets and streams a user may have open on this server; 100 by default";
    MAX_IN_FLIGHT_BYTES: "max_in_flight_bytes", "LOQUAT_MAX_IN_FLIGHT_BYTES",
        "How many bytes of requests and answers a user may have under way on this server; 134217728 by default";
    MAX_CONNECTIONS: "max_connections", "LOQUAT_MAX_CONNECTIONS",
        "How many connections the server takes, sockets and streams included; 10000 by default";

    TRUSTED_DOCUMENTS: "trusted_documents", "LOQUAT_TRUSTED_DOCUMENTS",
        "Manifests of the documents that clients name by their ids, comma-separated; none by default";
    TRUSTED_DOCUMENTS_ONLY: "trusted_documents_only", "LOQUAT_TRUSTED_DOCUMENTS_ONLY",
        "true to run the documents of the manifests and no others; false by default";
    AUTOMATIC_PERSISTED_QUERIES: "automatic_persisted_queries", "LOQUAT_AUTOMATIC_PERSISTED_QUERIES",
        "false to keep no document that clients send with its hash; true by default";

    CORS_ORIGINS: "cors_origins", "CORS_ORIGINS",
        "Exact origins, comma-separated, whose pages may call the API; none by default";
    TRUSTED_PROXIES: "trusted_proxies", "LOQUAT_TRUSTED_PROXIES",
        "Addresses and ranges of proxies whose X-Forwarded-For is believed; none by default";
    AUDIT_RETENTION_DAYS: "audit_retention_days", "LOQUAT_AUDIT_RETENTION_DAYS",
        "How long the audit log is kept; for ever by default";
    SECURITY_LOG: "security_log", "LOQUAT_SECURITY_LOG",
        "A file for the security log; by default it is part of the other";
    LOG: "log", "LOQUAT_LOG" or "RUST_LOG",
        "What is logged, such as debug or info,loquat=debug; info by default";
    LOG_FORMAT: "log_format", "LOQUAT_LOG_FORMAT",
        "text or json; text in development and json in production by default";
    SHUTDOWN_GRACE_SECONDS: "shutdown_grace_seconds", "LOQUAT_SHUTDOWN_GRACE_SECONDS",
        "How long running replies may take to finish at a stop; 20 by default";
}

/// The keys of an `[[issuers]]` table, in the order in which the example file shows them.
pub mod issuer {
    use super::Setting;

    /// One key, and the setting that says the same of the one issuer that needs no table.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct IssuerKey {
        pub key: &'static str,
        pub setting: Option<&'static Setting>,
    }

    macro_rules! keys {
        ($($name:ident: $key:literal $(like $setting:ident)?;)*) => {
            $(pub const $name: IssuerKey = IssuerKey {
                key: $key,
                setting: keys!(@like $($setting)?),
            };)*

            pub const KEYS: &[IssuerKey] = &[$($name),*];
        };
        (@like) => { None };
        (@like $setting:ident) => { Some(&super::$setting) };
    }

    keys! {
        NAME: "name";
        PRESET: "preset";
        URL: "url";
        ISSUER: "issuer" like JWT_ISSUER;
        AUDIENCE: "audience" like JWT_AUDIENCE;
        JWKS_URL: "jwks_url" like JWT_JWKS_URL;
        SECRET: "secret" like JWT_SECRET_KEY;
        SECRET_VARIABLE: "secret_variable";
        PREVIOUS_SECRET: "previous_secret" like JWT_PREVIOUS_SECRET_KEY;
        PREVIOUS_SECRET_VARIABLE: "previous_secret_variable";
        ALGORITHMS: "algorithms" like JWT_ALGORITHM;
        USER_CLAIM: "user_claim" like JWT_USER_CLAIM;
        EMAIL_CLAIM: "email_claim" like JWT_EMAIL_CLAIM;
        NAME_CLAIM: "name_claim" like JWT_NAME_CLAIM;
        ADMIN_CLAIM: "admin_claim" like JWT_ADMIN_CLAIM;
        ADMIN_VALUE: "admin_value" like JWT_ADMIN_VALUE;
        REQUIRED_CLAIMS: "required_claims" like JWT_REQUIRED_CLAIMS;
    }

    impl IssuerKey {
        pub fn named(key: &str) -> Option<Self> {
            KEYS.iter().copied().find(|known| known.key == key)
        }

        /// The key that somebody meant who wrote the setting, or dashes.
        pub fn meant(name: &str) -> Option<Self> {
            let name = name.replace('-', "_");
            KEYS.iter().copied().find(|known| {
                known.key.eq_ignore_ascii_case(&name)
                    || known
                        .setting
                        .is_some_and(|setting| setting.key.eq_ignore_ascii_case(&name))
            })
        }
    }
}
