//! The first output: what is running, where to open it, what is embedded, and the setting that
//! replaces each embedded part.

use std::{fmt::Write, net::SocketAddr};

use crate::config::{Environment, LogFormat, Settings};

use super::DatabaseHost;

/// A part that the server brings along, for want of a setting.
struct Embedded {
    part: &'static str,
    what: String,
    replaced_by: &'static str,
}

pub(super) fn say(settings: &Settings, address: SocketAddr, host: &DatabaseHost) {
    let embedded = embedded(settings, host);
    match settings.log.format {
        LogFormat::Text => print(&text(settings.environment, address, &embedded)),
        LogFormat::Json => {
            let parts: Vec<_> = embedded
                .iter()
                .map(|embedded| {
                    format!(
                        "{}: {} (replaced by {})",
                        embedded.part, embedded.what, embedded.replaced_by
                    )
                })
                .collect();
            tracing::info!(
                version = env!("CARGO_PKG_VERSION"),
                environment = word(settings.environment),
                bind = %address,
                embedded = parts.join("; "),
                "loquat is running"
            );
        }
    }
}

#[expect(
    clippy::print_stdout,
    reason = "this is what a person who starts the server reads"
)]
fn print(text: &str) {
    println!("{text}");
}

fn embedded(settings: &Settings, host: &DatabaseHost) -> Vec<Embedded> {
    let mut embedded = Vec::new();
    if let Some(description) = host.private() {
        embedded.push(Embedded {
            part: "database",
            what: description,
            replaced_by: "DATABASE_URL",
        });
    }
    if settings.provider.openai.is_none() {
        embedded.push(Embedded {
            part: "assistant",
            what: "a demo with prepared answers, not a model".to_owned(),
            replaced_by: "OPENAI_API_KEY or OPENAI_BASE_URL",
        });
    }
    if settings.has_development_sign_in() {
        embedded.push(Embedded {
            part: "sign-in",
            what: "any user name, from this machine only".to_owned(),
            replaced_by: "SUPABASE_PROJECT_URL, BETTER_AUTH_URL, JWT_JWKS_URL or JWT_SECRET_KEY",
        });
    }
    embedded
}

fn text(environment: Environment, address: SocketAddr, embedded: &[Embedded]) -> String {
    let base = format!("http://{}", reachable(address));
    let mut text = format!(
        "Loquat {} is running on {base} in {}. Ctrl-C stops it.\n\n\
         \x20 {base}/          the chat\n\
         \x20 {base}/graphiql  GraphiQL: try the API here\n\
         \x20 {base}/graphql   the API, over HTTP and WebSocket\n",
        env!("CARGO_PKG_VERSION"),
        word(environment),
    );
    if !embedded.is_empty() {
        text.push_str("\nEmbedded, until a setting replaces it:\n\n");
    }
    for Embedded {
        part,
        what,
        replaced_by,
    } in embedded
    {
        writeln!(text, "  {part:<10} {what}\n  {:<10} -> {replaced_by}", "")
            .expect("a string takes every text");
    }
    text
}

/// An address that a browser can open: the unspecified one means every interface.
fn reachable(address: SocketAddr) -> SocketAddr {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

fn word(environment: Environment) -> &'static str {
    match environment {
        Environment::Development => "development",
        Environment::Production => "production",
    }
}

#[cfg(test)]
mod tests {
    use super::{Embedded, text};
    use crate::config::Environment;

    #[test]
    fn the_first_output_says_where_to_go_and_what_to_replace() {
        let embedded = [Embedded {
            part: "database",
            what: "PostgreSQL 18 in /srv/data".to_owned(),
            replaced_by: "DATABASE_URL",
        }];
        let address = "0.0.0.0:8000".parse().expect("an address");
        let text = text(Environment::Development, address, &embedded);

        for part in [
            "running on http://127.0.0.1:8000 in development",
            "http://127.0.0.1:8000/graphiql",
            "http://127.0.0.1:8000/graphql",
            "database   PostgreSQL 18 in /srv/data",
            "-> DATABASE_URL",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
