//! Settings, from what was written to what the server runs with, and every way to be wrong.

mod documents;
mod issuers;
mod limits;
mod wrong_issuers;

use std::time::Duration;

use loquat::config::{
    Environment, LogFormat, OfferedModels, Settings, SettingsError, Sources,
    names::{self, SETTINGS},
};

const GATEWAY_SECRET: &str = "a-gateway-secret-of-more-than-32-bytes";
const SECRET: &str = "an-hs256-secret-of-more-than-32-bytes";

fn variables(pairs: &[(&str, &str)]) -> Sources {
    pairs
        .iter()
        .fold(Sources::default(), |sources, (name, value)| {
            sources.variable(name, value)
        })
}

fn settings(pairs: &[(&str, &str)]) -> Settings {
    Settings::resolve(&variables(pairs)).expect("the settings are right")
}

fn line(sources: Result<Sources, SettingsError>) -> String {
    sources
        .and_then(|sources| Settings::resolve(&sources))
        .expect_err("the settings are wrong")
        .to_string()
}

/// Each is wrong in its own words, on one line, and shows no secret.
fn all_wrong(cases: &[(&[(&str, &str)], &str)]) {
    for (pairs, expected) in cases {
        let line = line(Ok(variables(pairs)));
        assert_eq!(&line, expected);
        assert!(!line.contains('\n') && !line.contains("hunter2"), "{line}");
    }
}

#[test]
fn nothing_written_is_development_with_everything_embedded() {
    let settings = settings(&[]);

    assert_eq!(settings.environment, Environment::Development);
    assert_eq!(settings.bind.to_string(), "127.0.0.1:8000");
    assert_eq!(settings.data_dir.to_str(), Some("data"));
    assert!(settings.database.url.is_none());
    assert!(settings.database.named_statements);
    assert!(settings.issuers.is_empty());
    assert!(settings.has_development_sign_in());
    assert!(settings.provider.openai.is_none());
    assert_eq!(settings.provider.default_model, "demo");
    assert_eq!(
        settings.provider.models,
        OfferedModels::Listed(vec!["demo".to_owned()])
    );
    assert_eq!(settings.jwt_leeway, Duration::from_secs(60));
    assert_eq!(settings.jwks_cache, Duration::from_secs(300));
    assert_eq!(settings.shutdown_grace, Duration::from_secs(20));
    assert_eq!(settings.log.format, LogFormat::Text);
}

#[test]
fn a_flag_beats_the_environment_beats_dotenv_local_beats_dotenv_beats_the_file() {
    let port = |sources: &Sources| Settings::resolve(sources).expect("right").bind.port();

    let sources = Sources::default()
        .file("loquat.toml", "bind = '127.0.0.1:5'")
        .expect("read");
    assert_eq!(port(&sources), 5);
    let only_dotenv = sources
        .clone()
        .dotenv(".env", "LOQUAT_BIND=127.0.0.1:4")
        .expect("read");
    assert_eq!(port(&only_dotenv), 4);
    let sources = sources
        .dotenv(".env.local", "LOQUAT_BIND=127.0.0.1:3")
        .and_then(|sources| sources.dotenv(".env", "LOQUAT_BIND=127.0.0.1:4"))
        .expect("read");
    assert_eq!(port(&sources), 3);
    let sources = sources.variable("LOQUAT_BIND", "127.0.0.1:2");
    assert_eq!(port(&sources), 2);
    let sources = sources.flag(&names::BIND, "127.0.0.1:1");
    assert_eq!(port(&sources), 1);
}

#[test]
fn an_empty_value_counts_as_not_set_at_every_level() {
    let sources = Sources::default()
        .file("loquat.toml", "environment = 'production'\njwt_secret_key = 'an-hs256-secret-of-more-than-32-bytes'\nbind = '0.0.0.0:9000'")
        .and_then(|sources| sources.dotenv(".env", "LOQUAT_BIND=\nENVIRONMENT=''"))
        .expect("read")
        .variable("LOQUAT_BIND", "")
        .variable("ENVIRONMENT", "  ")
        .flag(&names::BIND, "");
    let settings = Settings::resolve(&sources).expect("right");

    assert_eq!(settings.environment, Environment::Production);
    assert_eq!(settings.bind.to_string(), "0.0.0.0:9000");
    assert_eq!(settings.log.format, LogFormat::Json);
}

#[test]
fn the_file_takes_numbers_switches_and_lists() {
    let sources = Sources::default()
        .file(
            "loquat.toml",
            "jwt_leeway_seconds = 5\ndatabase_statement_cache = false\nmodels = ['demo', 'other']\n\
             cors_origins = ['http://localhost:5173', 'https://app.example.com']",
        )
        .expect("read");
    let settings = Settings::resolve(&sources).expect("right");

    assert_eq!(settings.jwt_leeway, Duration::from_secs(5));
    assert!(!settings.database.named_statements);
    assert_eq!(
        settings.provider.models,
        OfferedModels::Listed(vec!["demo".to_owned(), "other".to_owned()])
    );
    assert_eq!(
        settings.cors_origins,
        ["http://localhost:5173", "https://app.example.com"]
    );
}

#[test]
fn proxies_are_addresses_and_ranges_and_the_audit_log_is_kept_for_ever_unless_told() {
    let quiet = settings(&[]);
    assert!(quiet.trusted_proxies.is_empty());
    assert_eq!(quiet.audit_retention, None);
    assert_eq!(quiet.log.security, None);

    let told = settings(&[
        (
            "LOQUAT_TRUSTED_PROXIES",
            "10.0.0.1, fd00::/8,::ffff:192.0.2.1",
        ),
        ("LOQUAT_AUDIT_RETENTION_DAYS", "30"),
        ("LOQUAT_SECURITY_LOG", "security.log"),
    ]);
    let proxies: Vec<_> = told
        .trusted_proxies
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(proxies, ["10.0.0.1/32", "fd00::/8", "192.0.2.1/32"]);
    assert_eq!(
        told.audit_retention,
        Some(Duration::from_secs(30 * 24 * 3600))
    );
    assert_eq!(told.log.security, Some("security.log".into()));
}

#[test]
fn a_key_alone_is_openai_and_a_local_server_names_its_model() {
    let openai = settings(&[("OPENAI_API_KEY", "sk-test")]).provider;
    assert_eq!(openai.default_model, "gpt-4.1-mini");
    assert_eq!(
        openai.openai.expect("a server").base_url.as_str(),
        "https://api.openai.com/v1"
    );

    let local = settings(&[
        ("OPENAI_BASE_URL", "http://127.0.0.1:11434/v1/"),
        ("OPENAI_CHAT_MODEL", "smollm2"),
        ("LOQUAT_MODELS", "*"),
    ])
    .provider;
    let server = local.openai.expect("a server");
    assert_eq!(server.base_url.as_str(), "http://127.0.0.1:11434/v1");
    assert!(server.api_key.is_none());
    assert_eq!(local.default_model, "smollm2");
    assert_eq!(local.models, OfferedModels::Any);
}

#[test]
fn origins_of_pages_and_of_packaged_apps_are_taken_as_browsers_send_them() {
    let settings = settings(&[(
        "CORS_ORIGINS",
        "https://app.example.com, http://localhost:5173,capacitor://localhost",
    )]);

    assert_eq!(
        settings.cors_origins,
        [
            "https://app.example.com",
            "http://localhost:5173",
            "capacitor://localhost"
        ]
    );
}

#[test]
fn each_wrong_variable_is_one_line_that_names_it_and_the_mend() {
    let cases: &[(&[(&str, &str)], &str)] = &[
        (
            &[("ENVIRONMENT", "staging")],
            "ENVIRONMENT: `staging` is not one of development, production",
        ),
        (
            &[("ENVIRONMENT", "production")],
            "ENVIRONMENT is production and needs an issuer: set SUPABASE_PROJECT_URL, BETTER_AUTH_URL, JWT_JWKS_URL or JWT_SECRET_KEY, write an [[issuers]] table into loquat.toml, or set LOQUAT_GATEWAY_SECRET",
        ),
        (
            &[("LOQUAT_BIND", "8000")],
            "LOQUAT_BIND: `8000` is not an address and a port, such as 127.0.0.1:8000",
        ),
        (
            &[("LOQUAT_BIND", "0.0.0.0:8000")],
            "LOQUAT_BIND: development listens on loopback only, not on 0.0.0.0:8000; use 127.0.0.1:8000, or set ENVIRONMENT=production and an issuer",
        ),
        (
            &[("DATABASE_URL", "localhost/chat")],
            "DATABASE_URL: is not a URL (relative URL without a base); write it as postgresql://user:password@host:5432/database",
        ),
        (
            &[("DATABASE_URL", "mysql://u:hunter2@db/chat")],
            "DATABASE_URL: `mysql:` is not PostgreSQL; write it as postgresql://user:password@host:5432/database",
        ),
        (
            &[("SUPABASE_DB_URL", "postgresql+asyncpg://u:hunter2@db/chat")],
            "SUPABASE_DB_URL: `postgresql+asyncpg:` names another program's driver; write it as postgresql://user:password@host:5432/database",
        ),
        (
            &[
                ("DATABASE_URL", "postgres://u:hunter2@one/chat"),
                ("SUPABASE_DB_URL", "postgres://u:hunter2@two/chat"),
            ],
            "DATABASE_URL and SUPABASE_DB_URL contradict each other: they name different databases; keep one of them",
        ),
        (
            &[("LOQUAT_DATABASE_CONNECTIONS", "1")],
            "LOQUAT_DATABASE_CONNECTIONS: `1` is not a whole number from 2 to 1000",
        ),
        (
            &[("LOQUAT_DATABASE_STATEMENT_CACHE", "no")],
            "LOQUAT_DATABASE_STATEMENT_CACHE: `no` is not one of true, false",
        ),
        (
            &[("REDIS_URL", "redis-1.internal:6379")],
            "REDIS_URL: `redis-1.internal:` is not Redis; write it as redis://user:password@host:6379, with rediss: for TLS and further nodes behind commas",
        ),
        (
            &[("REDIS_URL", "https://u:hunter2@redis")],
            "REDIS_URL: `https:` is not Redis; write it as redis://user:password@host:6379, with rediss: for TLS and further nodes behind commas",
        ),
        (
            &[("REDIS_URL", "redis://")],
            "REDIS_URL: names no host; write it as redis://user:password@host:6379, with rediss: for TLS and further nodes behind commas",
        ),
        (
            &[("REDIS_URL", "redis://:hunter2@redis:port")],
            "REDIS_URL: is not a URL (invalid port number); write it as redis://user:password@host:6379, with rediss: for TLS and further nodes behind commas",
        ),
        (
            &[("REDIS_URL", "redis://:hunter2@redis/cache")],
            "REDIS_URL: has a path that is not a database's number; write it as redis://user:password@host:6379, with rediss: for TLS and further nodes behind commas",
        ),
        (
            &[("REDIS_URL", "rediss://redis?ssl_cert_reqs=none")],
            "REDIS_URL: has the parameter `ssl_cert_reqs`, which means nothing here; write it as redis://user:password@host:6379, with rediss: for TLS and further nodes behind commas",
        ),
        (
            &[("REDIS_URL", "redis://:hunter2#3@redis")],
            "REDIS_URL: is not a URL (empty host); write it as redis://user:password@host:6379, with rediss: for TLS and further nodes behind commas",
        ),
        (
            &[("REDIS_URL", "redis://:hunter2@one,rediss://:hunter2@two")],
            "REDIS_URL: signs in to its nodes in different ways; write it as redis://user:password@host:6379, with rediss: for TLS and further nodes behind commas",
        ),
        (
            &[("JWT_LEEWAY_SECONDS", "a minute")],
            "JWT_LEEWAY_SECONDS: `a minute` is not a whole number from 0 to 600",
        ),
        (
            &[("LOQUAT_JWKS_CACHE_SECONDS", "0")],
            "LOQUAT_JWKS_CACHE_SECONDS: `0` is not a whole number from 1 to 86400",
        ),
        (
            &[("OPENAI_BASE_URL", "http://127.0.0.1:11434/v1")],
            "OPENAI_BASE_URL needs OPENAI_CHAT_MODEL: the name of a model that this server has",
        ),
        (
            &[("OPENAI_CHAT_MODEL", "gpt-4.1")],
            "OPENAI_CHAT_MODEL needs the server that has this model: set OPENAI_API_KEY or OPENAI_BASE_URL",
        ),
        (
            &[("OPENAI_API_KEY", "sk-hunter2 and a comment")],
            "OPENAI_API_KEY: holds characters that no key has; copy it again, without spaces",
        ),
        (
            &[("OPENAI_BASE_URL", "ftp://models.example.com")],
            "OPENAI_BASE_URL: is not an http or https URL; write it as https://host or https://host/path",
        ),
        (
            &[
                ("OPENAI_API_KEY", "sk-test"),
                ("LOQUAT_MODELS", "gpt-4.1, o4-mini"),
            ],
            "LOQUAT_MODELS: does not hold the default model `gpt-4.1-mini`; add it",
        ),
        (
            &[("LOQUAT_MODELS", "demo,*")],
            "LOQUAT_MODELS: holds names and `*`; write either",
        ),
        (
            &[("LOQUAT_TITLES", "sometimes")],
            "LOQUAT_TITLES: `sometimes` is not one of on, off, true, false",
        ),
        (
            &[("LOQUAT_TITLE_MODEL", "small, large")],
            "LOQUAT_TITLE_MODEL: names one model; LOQUAT_MODELS lists those that a user may choose",
        ),
        (
            &[("LOQUAT_PROVIDER_RETRIES", "-1")],
            "LOQUAT_PROVIDER_RETRIES: `-1` is not a whole number from 0 to 10",
        ),
        (
            &[("CORS_ORIGINS", "*")],
            "CORS_ORIGINS: `*` is not an origin; name each, such as https://app.example.com",
        ),
        (
            &[("CORS_ORIGINS", "https://app.example.com/")],
            "CORS_ORIGINS: `https://app.example.com/` is not an exact origin; write `https://app.example.com`",
        ),
        (
            &[("CORS_ORIGINS", "https://App.example.com:443")],
            "CORS_ORIGINS: `https://App.example.com:443` is not an exact origin; write `https://app.example.com`",
        ),
        (
            &[("CORS_ORIGINS", "app.example.com")],
            "CORS_ORIGINS: `app.example.com` is not an exact origin, such as https://app.example.com",
        ),
        (
            &[("LOQUAT_TRUSTED_PROXIES", "10.0.0.1, proxy.internal")],
            "LOQUAT_TRUSTED_PROXIES: `proxy.internal` is not an address or a range of them, such as 10.0.0.1 or 10.0.0.0/8",
        ),
        (
            &[("LOQUAT_TRUSTED_PROXIES", "10.0.0.0/33")],
            "LOQUAT_TRUSTED_PROXIES: `10.0.0.0/33` is not an address or a range of them, such as 10.0.0.1 or 10.0.0.0/8",
        ),
        (
            &[("LOQUAT_AUDIT_RETENTION_DAYS", "0")],
            "LOQUAT_AUDIT_RETENTION_DAYS: `0` is not a whole number from 1 to 36500",
        ),
        (
            &[("RUST_LOG", "loquat=loud")],
            "RUST_LOG: `loquat=loud` is not a log filter, such as debug or info,loquat=debug",
        ),
        (
            &[("LOQUAT_LOG_FORMAT", "yaml")],
            "LOQUAT_LOG_FORMAT: `yaml` is not one of text, json",
        ),
        (
            &[("LOQUAT_SHUTDOWN_GRACE_SECONDS", "20s")],
            "LOQUAT_SHUTDOWN_GRACE_SECONDS: `20s` is not a whole number from 0 to 600",
        ),
    ];
    all_wrong(cases);
}

#[test]
fn each_wrong_file_is_one_line_that_names_the_file_and_the_key() {
    let file = |text: &str| line(Sources::default().file("loquat.toml", text));

    assert_eq!(
        file("databse_url = 'x'"),
        "loquat.toml: unknown key `databse_url`; loquat.example.toml lists the keys"
    );
    assert_eq!(
        file("LOQUAT_BIND = '127.0.0.1:1'"),
        "loquat.toml: unknown key `LOQUAT_BIND`; the key is `bind`"
    );
    assert_eq!(
        file("database-url = 'x'"),
        "loquat.toml: unknown key `database-url`; the key is `database_url`"
    );
    assert_eq!(
        file("config = 'other.toml'"),
        "loquat.toml: unknown key `config`; loquat.example.toml lists the keys"
    );
    assert_eq!(
        file("[bind]\nport = 1"),
        "bind in loquat.toml: must be a string, a number, true or false, or a list of strings"
    );
    let malformed = file("environment = 'development'\nopenai_api_key = hunter2");
    assert!(
        malformed.starts_with("loquat.toml: line 2 cannot be read as TOML: ")
            && !malformed.contains('\n')
            && !malformed.contains("hunter2"),
        "{malformed}"
    );
    assert_eq!(
        file("environment = 'production'"),
        "environment in loquat.toml is production and needs an issuer: set SUPABASE_PROJECT_URL, BETTER_AUTH_URL, JWT_JWKS_URL or JWT_SECRET_KEY, write an [[issuers]] table into loquat.toml, or set LOQUAT_GATEWAY_SECRET"
    );
}

#[test]
fn a_wrong_value_is_named_where_it_was_written() {
    assert_eq!(
        line(Ok(Sources::default().flag(&names::BIND, "nowhere"))),
        "--bind: `nowhere` is not an address and a port, such as 127.0.0.1:8000"
    );
    assert_eq!(
        line(Sources::default().dotenv(".env.local", "LOQUAT_BIND=nowhere")),
        "LOQUAT_BIND in .env.local: `nowhere` is not an address and a port, such as 127.0.0.1:8000"
    );
    assert_eq!(
        line(
            Sources::default()
                .file("loquat.toml", "database_url = 'postgres://one/chat'")
                .map(|sources| sources.variable("SUPABASE_DB_URL", "postgres://two/chat"))
        ),
        "database_url in loquat.toml and SUPABASE_DB_URL contradict each other: they name different databases; keep one of them"
    );
    assert_eq!(
        line(Sources::default().dotenv(".env", "OPENAI_API_KEY=sk hunter2")),
        ".env: cannot be read: a line is not NAME=value; put quotes around a value that holds spaces"
    );
}

#[test]
fn the_example_file_shows_every_key_and_is_a_right_file_once_uncommented() {
    let example = include_str!("../../loquat.example.toml");
    Sources::default()
        .file("loquat.example.toml", example)
        .map(|sources| Settings::resolve(&sources))
        .expect("the example can be read")
        .expect("the example, as it stands, changes nothing");

    let (settings, _) = example.split_once("# [[issuers]]").expect("a table");
    let shown: Vec<_> = settings
        .lines()
        .filter_map(|line| line.strip_prefix("# ")?.split_once(" = "))
        .filter(|(key, _)| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        .collect();
    let keys: Vec<_> = shown.iter().map(|(key, _)| *key).collect();
    let expected: Vec<_> = SETTINGS.iter().skip(1).map(|setting| setting.key).collect();
    assert_eq!(keys, expected);
    for (key, value) in shown {
        Sources::default()
            .file("loquat.example.toml", &format!("{key} = {value}"))
            .unwrap_or_else(|error| panic!("{key}: {error}"));
    }
}

#[test]
fn nothing_that_holds_settings_prints_a_secret() {
    let settings = settings(&[
        ("DATABASE_URL", "postgres://u:hunter2@db/chat"),
        ("JWT_SECRET_KEY", "hunter2-and-more-than-32-bytes-of-it"),
        ("OPENAI_API_KEY", "hunter2"),
    ]);

    assert!(!format!("{settings:?}").contains("hunter2"));
}
