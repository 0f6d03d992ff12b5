//! `REDIS_URL`: one server, or nodes of a cluster, and how to sign in there.

use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use url::Url;

use super::{
    RedisNode, RedisSettings, SettingsError, names,
    sources::{Found, Sources},
    values::{invalid, list},
};

const EXAMPLE: &str = "write it as redis://user:password@host:6379, with rediss: for TLS and \
                       further nodes behind commas";

const DEFAULT_PORT: u16 = 6379;

pub(super) fn resolve(sources: &Sources) -> Result<Option<RedisSettings>, SettingsError> {
    let Some(found) = sources.find(&names::REDIS_URL) else {
        return Ok(None);
    };
    let mut urls = list(&found.value);
    let first = urls.next().unwrap_or_default();
    let mut settings = one(&found, first)?;
    let prefix = prefix_of(first);
    for written in urls {
        let further = match written.contains("://") {
            true => one(&found, written)?,
            false => one(&found, &format!("{prefix}{written}"))?,
        };
        if !further.signs_in_like(&settings) {
            return Err(wrong(&found, "signs in to its nodes in different ways"));
        }
        settings.nodes.extend(further.nodes);
    }
    Ok(Some(settings))
}

impl RedisSettings {
    fn signs_in_like(&self, other: &Self) -> bool {
        use secrecy::ExposeSecret;

        let password = |settings: &Self| {
            settings
                .password
                .as_ref()
                .map(|password| password.expose_secret().to_owned())
        };
        self.tls == other.tls && self.user == other.user && password(self) == password(other)
    }
}

/// Everything before the host.
fn prefix_of(url: &str) -> &str {
    let authority = url.find("://").map_or(0, |place| place + 3);
    let end = url.rfind('@').map_or(authority, |place| place + 1);
    &url[..end]
}

/// The URL's text never goes into an error: it may hold a password.
fn wrong(found: &Found, problem: &str) -> SettingsError {
    invalid(found, format!("{problem}; {EXAMPLE}"))
}

fn one(found: &Found, written: &str) -> Result<RedisSettings, SettingsError> {
    let url = Url::parse(written)
        .map_err(|problem| wrong(found, &format!("is not a URL ({problem})")))?;
    let (tls, is_socket) = match url.scheme() {
        "redis" | "valkey" => (false, false),
        "rediss" | "valkeys" => (true, false),
        "unix" | "redis+unix" | "valkey+unix" => (false, true),
        scheme => {
            let problem = format!("`{scheme}:` is not Redis");
            return Err(wrong(found, &problem));
        }
    };
    if let Some((name, _)) = url.query_pairs().next() {
        let problem = format!(
            "has the parameter `{}`, which means nothing here",
            name.escape_debug()
        );
        return Err(wrong(found, &problem));
    }
    if url.fragment().is_some() {
        return Err(wrong(found, "holds a `#`, which a password writes as %23"));
    }
    let text = |encoded: &str| {
        percent_decode_str(encoded)
            .decode_utf8()
            .map(|text| text.into_owned())
            .map_err(|_| wrong(found, "is not UTF-8"))
    };
    let node = if is_socket {
        RedisNode::Socket(text(url.path())?)
    } else {
        let database = url.path().trim_start_matches('/');
        if !database.is_empty() && database.parse::<u32>().is_err() {
            return Err(wrong(found, "has a path that is not a database's number"));
        }
        RedisNode::Tcp {
            host: host_of(&url).ok_or_else(|| wrong(found, "names no host"))?,
            port: url.port().unwrap_or(DEFAULT_PORT),
        }
    };
    let user = Some(url.username()).filter(|user| !user.is_empty());
    Ok(RedisSettings {
        nodes: vec![node],
        tls,
        user: user.map(text).transpose()?,
        password: url
            .password()
            .map(text)
            .transpose()?
            .map(SecretString::from),
    })
}

/// Without the brackets of an IPv6 address.
fn host_of(url: &Url) -> Option<String> {
    let host = url.host_str().filter(|host| !host.is_empty())?;
    Some(host.trim_matches(['[', ']']).to_owned())
}
