//! From what was written to [`Settings`]: every value parsed, every contradiction found.
//!
//! Reads nothing but its argument, so that a test needs no environment of its own.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;
use secrecy::SecretString;
use tracing_subscriber::EnvFilter;
use url::Url;

use super::{
    DatabaseSettings, Environment, LogFormat, LogSettings, Settings, SettingsError, chat,
    documents, issuers, limits, names, provider, redis_url,
    sources::{Found, Sources},
    values::{boolean, cors_origin, invalid, list, number, one_of, seconds},
};

impl Settings {
    /// Checks everything at once; the first thing wrong is the error.
    pub fn resolve(sources: &Sources) -> Result<Self, SettingsError> {
        let environment = one_of(
            sources,
            &names::ENVIRONMENT,
            &[
                ("development", Environment::Development),
                ("production", Environment::Production),
            ],
        )?
        .unwrap_or(Environment::Development);

        let bind = bind(sources, environment)?;
        let database = database(sources)?;
        let issuers = issuers::resolve(sources, environment)?;
        let gateway_secret = issuers::gateway_secret(sources, environment)?;
        if environment == Environment::Production && issuers.is_empty() && gateway_secret.is_none()
        {
            return Err(SettingsError::Incomplete {
                origin: sources.origins().of(&names::ENVIRONMENT),
                needs: "is production and needs an issuer: set SUPABASE_PROJECT_URL, \
                        BETTER_AUTH_URL, JWT_JWKS_URL or JWT_SECRET_KEY, write an [[issuers]] \
                        table into loquat.toml, or set LOQUAT_GATEWAY_SECRET"
                    .to_owned(),
            });
        }

        let max_connections = number(sources, &names::MAX_CONNECTIONS, 10..=1_000_000, 10_000)?;
        Ok(Self {
            environment,
            bind,
            data_dir: path(sources, &names::DATA_DIR).unwrap_or_else(|| PathBuf::from("data")),
            database,
            redis: redis_url::resolve(sources)?,
            issuers,
            gateway_secret,
            jwt_leeway: seconds(sources, &names::JWT_LEEWAY_SECONDS, 0..=600, 60)?,
            jwks_cache: seconds(sources, &names::JWKS_CACHE_SECONDS, 1..=86_400, 300)?,
            provider: provider::resolve(sources)?,
            chat: chat::resolve(sources)?,
            documents: documents::resolve(sources)?,
            limits: limits::resolve(sources, max_connections)?,
            max_connections,
            cors_origins: cors_origins(sources)?,
            trusted_proxies: trusted_proxies(sources)?,
            audit_retention: audit_retention(sources)?,
            log: log(sources, environment)?,
            shutdown_grace: seconds(sources, &names::SHUTDOWN_GRACE_SECONDS, 0..=600, 20)?,
            origins: sources.origins(),
        })
    }
}

fn bind(sources: &Sources, environment: Environment) -> Result<SocketAddr, SettingsError> {
    let Some(found) = sources.find(&names::BIND) else {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, 8000)));
    };
    let written = found.value.trim();
    let numeric = match written.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => written.to_owned(),
    };
    let address: SocketAddr = numeric.parse().map_err(|_| {
        invalid(
            &found,
            format!("`{written}` is not an address and a port, such as 127.0.0.1:8000"),
        )
    })?;
    if environment == Environment::Development && !is_loopback(address.ip()) {
        return Err(invalid(
            &found,
            format!(
                "development listens on loopback only, not on {address}; use 127.0.0.1:{}, or set \
                 ENVIRONMENT=production and an issuer",
                address.port()
            ),
        ));
    }
    Ok(address)
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

fn path(sources: &Sources, setting: &'static names::Setting) -> Option<PathBuf> {
    sources
        .find(setting)
        .map(|found| PathBuf::from(found.value))
}

fn database(sources: &Sources) -> Result<DatabaseSettings, SettingsError> {
    let url = match (
        sources.find(&names::DATABASE_URL),
        sources.find(&names::SUPABASE_DB_URL),
    ) {
        (Some(first), Some(second)) if first.value.trim() != second.value.trim() => {
            return Err(SettingsError::Contradiction {
                first: first.origin,
                second: second.origin,
                mend: "they name different databases; keep one of them".to_owned(),
            });
        }
        (Some(found), _) | (None, Some(found)) => Some(database_url(&found)?),
        (None, None) => None,
    };
    Ok(DatabaseSettings {
        url,
        postgres_bin: path(sources, &names::POSTGRES_BIN),
        max_connections: number(sources, &names::DATABASE_CONNECTIONS, 2..=1000, 10)?,
        named_statements: boolean(sources, &names::DATABASE_STATEMENT_CACHE)?.unwrap_or(true),
    })
}

/// The URL's text never goes into an error: it holds a password.
fn database_url(found: &Found) -> Result<SecretString, SettingsError> {
    const EXAMPLE: &str = "write it as postgresql://user:password@host:5432/database";

    let written = found.value.trim();
    let url = Url::parse(written)
        .map_err(|problem| invalid(found, format!("is not a URL ({problem}); {EXAMPLE}")))?;
    match url.scheme() {
        "postgres" | "postgresql" => Ok(SecretString::from(written)),
        scheme if scheme.starts_with("postgres") => Err(invalid(
            found,
            format!("`{scheme}:` names another program's driver; {EXAMPLE}"),
        )),
        scheme => Err(invalid(
            found,
            format!("`{scheme}:` is not PostgreSQL; {EXAMPLE}"),
        )),
    }
}

fn trusted_proxies(sources: &Sources) -> Result<Vec<IpNet>, SettingsError> {
    let Some(found) = sources.find(&names::TRUSTED_PROXIES) else {
        return Ok(Vec::new());
    };
    list(&found.value)
        .map(|item| {
            network(item).ok_or_else(|| {
                invalid(
                    &found,
                    format!(
                        "`{item}` is not an address or a range of them, such as 10.0.0.1 or 10.0.0.0/8"
                    ),
                )
            })
        })
        .collect()
}

fn network(written: &str) -> Option<IpNet> {
    match written.parse::<IpAddr>() {
        Ok(address) => Some(address.to_canonical().into()),
        Err(_) => written.parse().ok(),
    }
}

fn audit_retention(sources: &Sources) -> Result<Option<Duration>, SettingsError> {
    if sources.find(&names::AUDIT_RETENTION_DAYS).is_none() {
        return Ok(None);
    }
    let days: u64 = number(sources, &names::AUDIT_RETENTION_DAYS, 1..=36_500, 1)?;
    Ok(Some(Duration::from_secs(days * 24 * 60 * 60)))
}

fn cors_origins(sources: &Sources) -> Result<Vec<String>, SettingsError> {
    let Some(found) = sources.find(&names::CORS_ORIGINS) else {
        return Ok(Vec::new());
    };
    let mut origins = Vec::new();
    for item in list(&found.value) {
        let origin = cors_origin(item).map_err(|problem| invalid(&found, problem))?;
        if !origins.contains(&origin) {
            origins.push(origin);
        }
    }
    Ok(origins)
}

fn log(sources: &Sources, environment: Environment) -> Result<LogSettings, SettingsError> {
    let filter = match sources.find(&names::LOG) {
        Some(found) => {
            EnvFilter::builder().parse(&found.value).map_err(|_| {
                invalid(
                    &found,
                    format!(
                        "`{}` is not a log filter, such as debug or info,loquat=debug",
                        found.value
                    ),
                )
            })?;
            found.value
        }
        None => LogSettings::DEFAULT_FILTER.to_owned(),
    };
    let format = one_of(
        sources,
        &names::LOG_FORMAT,
        &[("text", LogFormat::Text), ("json", LogFormat::Json)],
    )?
    .unwrap_or(match environment {
        Environment::Development => LogFormat::Text,
        Environment::Production => LogFormat::Json,
    });
    Ok(LogSettings {
        filter,
        format,
        security: path(sources, &names::SECURITY_LOG),
    })
}
