//! Where a credential stands: in the headers of a request, or in the payload with which a
//! WebSocket begins. Never in a URL, which logs and histories keep.
//!
//! Invariant: an error names the header or key at fault and never repeats what it held.

use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};
use secrecy::SecretString;
use serde_json::{Map, Value};

/// What a request or a socket offers as proof of who it is.
#[derive(Clone, Debug)]
pub enum Credential {
    /// `Authorization: Bearer …`, or the token in `connection_init`.
    Bearer(SecretString),
    /// The same, of a token that begins with [`API_KEY_PREFIX`]: the accounts know it.
    ApiKey(SecretString),
    /// `X-Gateway-Secret` beside `X-User-Id`, in headers alone: a gateway that the operator trusts
    /// names its user.
    Gateway { secret: SecretString, user: String },
    /// `X-User-Id` in development, on loopback, where any name is believed.
    DevelopmentUser(String),
}

/// What every API key begins with, and no JWT.
pub const API_KEY_PREFIX: &str = "loq_";

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    #[error("{0} is given more than once")]
    Repeated(&'static str),
    #[error("Authorization and X-User-Id are both given: send one of them")]
    Both,
    #[error("Authorization and X-Gateway-Secret are both given: send one of them")]
    GatewayAndToken,
    #[error("X-Gateway-Secret needs X-User-Id beside it")]
    GatewayWithoutUser,
    #[error("X-Gateway-Secret is a header of the handshake: the payload must bring no credential")]
    GatewayAndPayload,
    #[error("X-Gateway-Secret must be a header of the handshake, not part of a payload")]
    GatewayInPayload,
    #[error("{0} stands in the URL, which logs keep: send it in a header")]
    InUrl(&'static str),
    #[error("Authorization must read: Bearer, a space, the token")]
    Scheme,
    #[error("{0} is empty")]
    Empty(&'static str),
    #[error("{0} holds characters that it must not hold")]
    Characters(&'static str),
    #[error("the payload of connection_init must be an object")]
    PayloadType,
    #[error("{0} in the payload of connection_init must be a string")]
    ValueType(&'static str),
    #[error("headers in the payload of connection_init must be an object")]
    HeadersType,
}

const USER_ID: HeaderName = HeaderName::from_static("x-user-id");
const GATEWAY_SECRET: HeaderName = HeaderName::from_static("x-gateway-secret");

const AUTHORIZATION_NAME: &str = "Authorization";
const TOKEN_NAME: &str = "token";
const USER_ID_NAME: &str = "X-User-Id";
const GATEWAY_SECRET_NAME: &str = "X-Gateway-Secret";

/// What people and libraries call a credential that they put into a URL, in any case of letters.
const QUERY_NAMES: [&str; 12] = [
    "access_token",
    "api_key",
    "api-key",
    "apikey",
    "auth_token",
    "authorization",
    "bearer",
    "id_token",
    "jwt",
    "token",
    "x-gateway-secret",
    "x-user-id",
];

/// `None`: the request offers nothing.
pub fn credential_from_headers(headers: &HeaderMap) -> Result<Option<Credential>, CredentialError> {
    let authorization = only(headers, &AUTHORIZATION, AUTHORIZATION_NAME)?;
    let user_id = only(headers, &USER_ID, USER_ID_NAME)?;
    let gateway_secret = only(headers, &GATEWAY_SECRET, GATEWAY_SECRET_NAME)?;
    match (authorization, gateway_secret, user_id) {
        (None, None, None) => Ok(None),
        (Some(_), Some(_), _) => Err(CredentialError::GatewayAndToken),
        (Some(_), None, Some(_)) => Err(CredentialError::Both),
        (Some(value), None, None) => bearer(value).map(Some),
        (None, Some(secret), Some(name)) => gateway(secret, name).map(Some),
        (None, Some(_), None) => Err(CredentialError::GatewayWithoutUser),
        (None, None, Some(name)) => user(name).map(|name| Some(Credential::DevelopmentUser(name))),
    }
}

/// Refuses a request that carries a credential in its query string, whatever stands in its
/// headers.
pub fn no_credential_in_query(query: Option<&str>) -> Result<(), CredentialError> {
    let names = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    for (name, _) in names {
        if let Some(known) = QUERY_NAMES
            .into_iter()
            .find(|known| name.eq_ignore_ascii_case(known))
        {
            return Err(CredentialError::InUrl(known));
        }
    }
    Ok(())
}

/// What a socket begins with: the credential in the payload of `connection_init`, else the one in
/// the headers of the handshake. That of a gateway stands in the headers, alone.
pub fn credential_from_connection_init(
    headers: &HeaderMap,
    payload: &Value,
) -> Result<Option<Credential>, CredentialError> {
    match credential_from_ping(headers, payload)? {
        Some(credential) => Ok(Some(credential)),
        None => credential_from_headers(headers),
    }
}

/// Those headers of a handshake that a credential may stand in, in memory of their own. The others
/// share one large buffer with the request, and each that is kept keeps all of it.
pub fn credential_headers(headers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for name in [&AUTHORIZATION, &USER_ID, &GATEWAY_SECRET] {
        for value in headers.get_all(name) {
            let copy = HeaderValue::from_bytes(value.as_bytes());
            let mut copy = copy.expect("the bytes of a value are those of one");
            copy.set_sensitive(value.is_sensitive());
            kept.append(name, copy);
        }
    }
    kept
}

/// The fresh credential in the payload of a ping, as in that of `connection_init`.
pub fn credential_from_ping(
    headers: &HeaderMap,
    payload: &Value,
) -> Result<Option<Credential>, CredentialError> {
    match credential_from_payload(payload)? {
        Some(_) if headers.contains_key(&GATEWAY_SECRET) => Err(CredentialError::GatewayAndPayload),
        offered => Ok(offered),
    }
}

/// Where clients of sockets put what they cannot put into headers: `authorization`, `token` or
/// `X-User-Id`, in any case of letters, at the top or inside `headers`. A token may stand without
/// its `Bearer`. A null counts as absent; the same value twice counts once.
fn credential_from_payload(payload: &Value) -> Result<Option<Credential>, CredentialError> {
    let fields = match payload {
        Value::Null => return Ok(None),
        Value::Object(fields) => fields,
        _ => return Err(CredentialError::PayloadType),
    };
    let mut offered = Offered::default();
    offered.read(fields)?;
    for (_, headers) in fields.iter().filter(|(key, _)| key.as_str() == "headers") {
        match headers {
            Value::Null => {}
            Value::Object(headers) => offered.read(headers)?,
            _ => return Err(CredentialError::HeadersType),
        }
    }
    match (offered.token, offered.user_id) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(CredentialError::Both),
        (Some((name, value)), None) => match value.trim() {
            bare if !bare.contains([' ', '\t']) && !bare.eq_ignore_ascii_case("bearer") => {
                token(bare, name).map(Some)
            }
            value => bearer(value).map(Some),
        },
        (None, Some(name)) => user(name).map(|name| Some(Credential::DevelopmentUser(name))),
    }
}

#[derive(Default)]
struct Offered<'a> {
    token: Option<(&'static str, &'a str)>,
    user_id: Option<&'a str>,
}

impl<'a> Offered<'a> {
    fn read(&mut self, fields: &'a Map<String, Value>) -> Result<(), CredentialError> {
        for (key, value) in fields {
            if key.eq_ignore_ascii_case(GATEWAY_SECRET_NAME) && !value.is_null() {
                return Err(CredentialError::GatewayInPayload);
            }
            let Some(name) = [AUTHORIZATION_NAME, TOKEN_NAME, USER_ID_NAME]
                .into_iter()
                .find(|name| key.eq_ignore_ascii_case(name))
            else {
                continue;
            };
            let value = match value {
                Value::Null => continue,
                Value::String(value) => value.as_str(),
                _ => return Err(CredentialError::ValueType(name)),
            };
            let before = if name == USER_ID_NAME {
                self.user_id.replace(value)
            } else {
                self.token.replace((name, value)).map(|(_, value)| value)
            };
            if before.is_some_and(|before| before != value) {
                return Err(CredentialError::Repeated(name));
            }
        }
        Ok(())
    }
}

fn only<'a>(
    headers: &'a HeaderMap,
    header: &HeaderName,
    name: &'static str,
) -> Result<Option<&'a str>, CredentialError> {
    let mut values = headers.get_all(header).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(CredentialError::Repeated(name));
    }
    std::str::from_utf8(value.as_bytes())
        .map(Some)
        .map_err(|_| CredentialError::Characters(name))
}

/// RFC 6750: the scheme in any case of letters, spaces, the token.
fn bearer(value: &str) -> Result<Credential, CredentialError> {
    let value = value.trim_matches([' ', '\t']);
    if value.is_empty() {
        return Err(CredentialError::Empty(AUTHORIZATION_NAME));
    }
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(CredentialError::Scheme);
    }
    token(rest.trim_start_matches(' '), AUTHORIZATION_NAME)
}

fn token(token: &str, name: &'static str) -> Result<Credential, CredentialError> {
    if token.is_empty() {
        return Err(CredentialError::Empty(name));
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(CredentialError::Characters(name));
    }
    let secret = SecretString::from(token);
    Ok(match token.starts_with(API_KEY_PREFIX) {
        true => Credential::ApiKey(secret),
        false => Credential::Bearer(secret),
    })
}

fn gateway(secret: &str, name: &str) -> Result<Credential, CredentialError> {
    let secret = secret.trim_matches([' ', '\t']);
    if secret.is_empty() {
        return Err(CredentialError::Empty(GATEWAY_SECRET_NAME));
    }
    Ok(Credential::Gateway {
        secret: SecretString::from(secret),
        user: user(name)?,
    })
}

/// As it stands, but for the blanks that a header may have around it: an id that was changed could
/// be another user's.
fn user(name: &str) -> Result<String, CredentialError> {
    let name = name.trim_matches([' ', '\t']);
    if name.is_empty() {
        return Err(CredentialError::Empty(USER_ID_NAME));
    }
    if name.chars().any(char::is_control) {
        return Err(CredentialError::Characters(USER_ID_NAME));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderName, HeaderValue, header};

    use super::credential_headers;

    #[test]
    fn what_a_socket_keeps_of_its_handshake_does_not_hold_the_whole_request() {
        let request = Bytes::from_static(b"Bearer a, Bearer b, ann, secret, other").to_vec();
        let request = Bytes::from(request);
        let value = |range| HeaderValue::from_maybe_shared(request.slice(range)).unwrap();
        let mut headers = HeaderMap::new();
        headers.append(header::AUTHORIZATION, value(0..8));
        headers.append(header::AUTHORIZATION, value(10..18));
        headers.append(HeaderName::from_static("x-user-id"), value(20..23));
        headers.append(HeaderName::from_static("x-gateway-secret"), value(25..31));
        headers.append(header::COOKIE, value(33..38));

        let kept = credential_headers(&headers);

        let cookie = headers.remove(header::COOKIE);
        assert_eq!(cookie.as_ref(), Some(&value(33..38)));
        assert_eq!(kept, headers);
        drop((headers, cookie));
        assert!(request.is_unique());
    }
}
