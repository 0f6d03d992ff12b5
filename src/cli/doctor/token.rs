use super::{Failure, Finding, Report};
use crate::{
    app::StartError,
    auth::{Authenticator, Identity, diagnose},
    config::Settings,
    lifecycle::Lifecycle,
};

/// What each issuer says of the token. It needs one that accepts it.
pub(super) async fn explain(settings: &Settings, token: &str) -> Result<Report, Failure> {
    if token.is_empty() {
        return Ok(Report::of(vec![Finding::problem(
            "the token",
            "there is none; give it as the argument, or on standard input with --token -",
        )]));
    }
    let lifecycle = Lifecycle::new();
    let authenticator = Authenticator::new(settings, &lifecycle).map_err(StartError::from)?;
    let diagnoses = diagnose(&authenticator, settings, token).await;
    lifecycle.begin_hard_stop();
    Ok(Report {
        is_healthy: diagnoses.iter().any(|diagnosis| diagnosis.verdict.is_ok()),
        findings: diagnoses
            .into_iter()
            .map(|diagnosis| match diagnosis.verdict {
                Ok(identity) => Finding::new("accepted", diagnosis.issuer, user_of(&identity)),
                Err(words) => Finding::new("refused", diagnosis.issuer, words),
            })
            .collect(),
    })
}

/// Some issuers name their users by their addresses.
fn user_of(identity: &Identity) -> String {
    let user = match identity.external_id.contains('@') {
        true => "an e-mail address".to_owned(),
        false => format!("\"{}\"", identity.external_id.escape_debug()),
    };
    let role = match identity.is_admin {
        true => ", an admin",
        false => "",
    };
    match identity.expires_at {
        Some(end) => format!(
            "its user is {user}{role}, until {}",
            humantime::format_rfc3339_seconds(end)
        ),
        None => format!("its user is {user}{role}"),
    }
}
