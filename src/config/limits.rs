//! How much one request, one document and one user may ask for. The ranges keep a slip from
//! turning the server off, or its protection.

use std::time::Duration;

use super::{
    SettingsError, names,
    sources::Sources,
    values::{number, seconds},
};

/// The limits that an operator may choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitSettings {
    pub document: DocumentLimits,
    pub request: RequestLimits,
}

/// Of one document, fragments expanded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DocumentLimits {
    /// `LOQUAT_MAX_DOCUMENT_TOKENS`: lexical tokens, comments and commas not counted.
    pub tokens: u64,
    /// `LOQUAT_MAX_DEFINITIONS`: operations and fragments.
    pub definitions: u64,
    /// `LOQUAT_MAX_FIELDS`: selected fields.
    pub fields: u64,
    /// `LOQUAT_MAX_DEPTH`: fields inside each other.
    pub depth: u64,
    /// `LOQUAT_MAX_ALIASES`.
    pub aliases: u64,
    /// `LOQUAT_MAX_DIRECTIVES`.
    pub directives: u64,
    /// `LOQUAT_MAX_COST`: fields that the answer may hold, pages multiplied out.
    pub cost: u64,
}

/// Of what carries operations, and of one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// `LOQUAT_MAX_BODY_BYTES`: of a body, and of one message of a socket.
    pub body_bytes: usize,
    /// `LOQUAT_MAX_BATCH`: operations in one body. 1: lists of them are refused.
    pub batch: usize,
    /// `LOQUAT_REQUEST_SECONDS`: how long queries and mutations may take.
    pub time: Duration,
    /// `LOQUAT_MAX_SOCKET_OPERATIONS`: operations that a socket may run at once.
    pub socket_operations: usize,
    /// `LOQUAT_MAX_CONNECTIONS_PER_USER`: sockets and streams together, in one process.
    pub connections_per_user: usize,
    /// `LOQUAT_MAX_IN_FLIGHT_BYTES`: what one user may have under way, in one process.
    pub in_flight_bytes: usize,
}

impl Default for DocumentLimits {
    fn default() -> Self {
        Self {
            tokens: 10_000,
            definitions: 200,
            fields: 2_000,
            depth: 20,
            aliases: 200,
            directives: 200,
            cost: 25_000,
        }
    }
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            body_bytes: 1 << 20,
            batch: 1,
            time: Duration::from_secs(30),
            socket_operations: 100,
            connections_per_user: 100,
            in_flight_bytes: 128 << 20,
        }
    }
}

/// A body takes up twice its size while it is read, and should not be the only thing under way.
const BODIES_IN_FLIGHT: usize = 4;

/// `max_connections`: those of all users together.
pub(super) fn resolve(
    sources: &Sources,
    max_connections: usize,
) -> Result<LimitSettings, SettingsError> {
    let limits = LimitSettings {
        document: document(sources)?,
        request: request(sources)?,
    };
    let LimitSettings { document, request } = limits;
    at_most(
        sources,
        (&names::MAX_DOCUMENT_TOKENS, document.tokens),
        (&names::MAX_BODY_BYTES, request.body_bytes as u64),
        "each token takes a byte of the body at least",
    )?;
    for (setting, value, why) in [
        (
            &names::MAX_ALIASES,
            document.aliases,
            "an alias stands before a field",
        ),
        (
            &names::MAX_DEPTH,
            document.depth,
            "each level is a field at least",
        ),
    ] {
        at_most(
            sources,
            (setting, value),
            (&names::MAX_FIELDS, document.fields),
            why,
        )?;
    }
    at_most(
        sources,
        (
            &names::MAX_CONNECTIONS_PER_USER,
            request.connections_per_user as u64,
        ),
        (&names::MAX_CONNECTIONS, max_connections as u64),
        "one user has no more than all of them",
    )?;
    at_most(
        sources,
        (&names::MAX_BODY_BYTES, request.body_bytes as u64),
        (
            &names::MAX_IN_FLIGHT_BYTES,
            (request.in_flight_bytes / BODIES_IN_FLIGHT) as u64,
        ),
        "a body takes up more than its size while it is read, and others are under way",
    )?;
    Ok(limits)
}

fn document(sources: &Sources) -> Result<DocumentLimits, SettingsError> {
    let defaults = DocumentLimits::default();
    Ok(DocumentLimits {
        tokens: number(
            sources,
            &names::MAX_DOCUMENT_TOKENS,
            100..=1_000_000,
            defaults.tokens,
        )?,
        definitions: number(
            sources,
            &names::MAX_DEFINITIONS,
            1..=10_000,
            defaults.definitions,
        )?,
        fields: number(sources, &names::MAX_FIELDS, 10..=100_000, defaults.fields)?,
        // More than 32 the library does not allow, and says so without a code.
        depth: number(sources, &names::MAX_DEPTH, 2..=32, defaults.depth)?,
        aliases: number(sources, &names::MAX_ALIASES, 0..=100_000, defaults.aliases)?,
        directives: number(
            sources,
            &names::MAX_DIRECTIVES,
            0..=100_000,
            defaults.directives,
        )?,
        cost: number(sources, &names::MAX_COST, 10..=1_000_000_000, defaults.cost)?,
    })
}

fn request(sources: &Sources) -> Result<RequestLimits, SettingsError> {
    let defaults = RequestLimits::default();
    let body_bytes = number(
        sources,
        &names::MAX_BODY_BYTES,
        1024..=64 << 20,
        defaults.body_bytes,
    )?;
    Ok(RequestLimits {
        body_bytes,
        batch: number(sources, &names::MAX_BATCH, 1..=100, defaults.batch)?,
        time: seconds(
            sources,
            &names::REQUEST_SECONDS,
            1..=3600,
            u32::try_from(defaults.time.as_secs()).unwrap_or(u32::MAX),
        )?,
        socket_operations: number(
            sources,
            &names::MAX_SOCKET_OPERATIONS,
            1..=10_000,
            defaults.socket_operations,
        )?,
        connections_per_user: number(
            sources,
            &names::MAX_CONNECTIONS_PER_USER,
            1..=100_000,
            defaults.connections_per_user,
        )?,
        in_flight_bytes: number(
            sources,
            &names::MAX_IN_FLIGHT_BYTES,
            8 << 20..=64 << 30,
            defaults.in_flight_bytes.max(BODIES_IN_FLIGHT * body_bytes),
        )?,
    })
}

type Chosen = (&'static names::Setting, u64);

/// A limit that another one keeps from ever being reached is a slip, if both were written.
fn at_most(
    sources: &Sources,
    (setting, value): Chosen,
    (bound, most): Chosen,
    why: &str,
) -> Result<(), SettingsError> {
    match (sources.find(setting), sources.find(bound)) {
        (Some(first), Some(second)) if value > most => Err(SettingsError::Contradiction {
            first: first.origin,
            second: second.origin,
            mend: format!("{why}, so the first may be {most} at most"),
        }),
        _ => Ok(()),
    }
}
