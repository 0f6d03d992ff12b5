//! The security log: what somebody must be able to find who asks what happened to whom. Its lines
//! have a target of their own, and are written whatever `LOQUAT_LOG` says.
//!
//! Invariant: no token, secret, claim or e-mail address; a user is an id.

use crate::model::{NewAuditEvent, UserId};

/// The target of every line of it.
pub const TARGET: &str = "security";

/// Writes what the audit log was told, or would have been; `user_id`: who did it. `reason` tells
/// one refusal from another, in words of this program.
pub fn log(user_id: Option<UserId>, event: &NewAuditEvent, reason: Option<&str>) {
    let (target_type, target_id) = event.target.map(|target| target.parts()).unzip();
    tracing::info!(
        target: TARGET,
        {
        security.event = event.action.as_str(),
        security.outcome = event.outcome.as_str(),
        security.reason = reason,
        security.credential = &*event.provenance.credential,
        security.target.type = target_type,
        security.target.id = target_id.map(display),
        client.address = event.provenance.address.map(display),
        user.id = user_id.map(display),
        },
        "a security event"
    );
}

/// Says that the audit log, for all its bounds, holds less than this log.
pub fn log_left_out(count: u64) {
    tracing::info!(
        target: TARGET,
        { security.event = "audit.incomplete", security.left_out = count },
        "some security events are in this log alone"
    );
}
