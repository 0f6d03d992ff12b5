//! Why a token, or an API key, is refused: by its issuer, or here.

use secrecy::SecretString;

use super::{Failure, Finding, Report};
use crate::{
    accounts,
    app::{DatabaseHost, StartError},
    auth::{API_KEY_PREFIX, Identity, diagnose},
    config::Settings,
    db::{self, Database, KeyRefusal, KeySignIn, SignIn},
    model::Provenance,
};

const ACCEPTED: &str = "accepted";
const REFUSED: &str = "refused";
const SUSPENDED: &str = "its user is suspended; an admin may restore them with restoreUser";

/// What each issuer says of the token. It needs one that accepts it.
pub(super) async fn explain(settings: &Settings, token: &str) -> Result<Report, Failure> {
    if token.is_empty() {
        return Ok(Report::of(vec![Finding::problem(
            "the token",
            "there is none; give it as the argument, or on standard input with --token -",
        )]));
    }
    if token.starts_with(API_KEY_PREFIX) {
        return Ok(Report::of_verdicts(vec![api_key(settings, token).await]));
    }
    let diagnoses = diagnose(settings, token).await.map_err(StartError::from)?;
    let mut findings = Vec::new();
    for diagnosis in diagnoses {
        findings.push(match diagnosis.verdict {
            Err(words) => Finding::new(REFUSED, diagnosis.issuer, words),
            Ok(identity) => match kept_out(settings, &identity).await {
                Some(words) => Finding::new(REFUSED, diagnosis.issuer, words),
                None => Finding::new(ACCEPTED, diagnosis.issuer, user_of(&identity)),
            },
        });
    }
    Ok(Report::of_verdicts(findings))
}

impl Report {
    fn of_verdicts(findings: Vec<Finding>) -> Self {
        Self {
            is_healthy: findings.iter().any(|finding| finding.verdict == ACCEPTED),
            findings,
        }
    }
}

/// Why this server does not let in somebody whom their issuer vouches for. Without a database that
/// runs, nobody is kept out.
async fn kept_out(settings: &Settings, identity: &Identity) -> Option<String> {
    let database = open(settings).await.ok()?;
    let provenance = Provenance {
        credential: format!("token:{}", identity.issuer).into(),
        address: None,
    };
    let rehearsed = database
        .rehearse_sign_in(identity, settings.jwt_leeway, &provenance)
        .await;
    database.close().await;
    match rehearsed.ok()? {
        SignIn::Viewer { .. } => None,
        SignIn::Suspended(_) => Some(SUSPENDED.to_owned()),
        SignIn::Deleted => Some(
            "its user was deleted here, and it is from before that, or has no iat to say from \
             when it is; sign in anew for a fresh one"
                .to_owned(),
        ),
    }
}

async fn api_key(settings: &Settings, key: &str) -> Finding {
    const SUBJECT: &str = "API key";

    let refused = |words: &str| Finding::new(REFUSED, SUBJECT, words);
    let database = match open(settings).await {
        Ok(database) => database,
        Err(words) => return Finding::problem(SUBJECT, words),
    };
    let rehearsed =
        accounts::rehearse_sign_in_by_key(&database, &SecretString::from(key.to_owned())).await;
    database.close().await;
    match rehearsed {
        Err(error) => Finding::problem(SUBJECT, format!("it cannot be looked up ({error})")),
        Ok(KeySignIn::Refused(KeyRefusal::Unknown)) => refused(
            "this database knows none that reads so; was it cut, or made for another server?",
        ),
        Ok(KeySignIn::Refused(KeyRefusal::Revoked)) => {
            refused("it was revoked; make another with createApiKey")
        }
        Ok(KeySignIn::Refused(KeyRefusal::Expired)) => {
            refused("it has expired; make another with createApiKey")
        }
        Ok(KeySignIn::Refused(KeyRefusal::Deleted)) => refused("its user is deleted"),
        Ok(KeySignIn::Suspended(_)) => refused(SUSPENDED),
        Ok(KeySignIn::Accepted(holder)) => {
            let access = holder.viewer.access();
            let rights: Vec<_> = [
                (access.read, "read"),
                (access.write, "write"),
                (access.admin, "administer"),
            ]
            .into_iter()
            .filter_map(|(may, what)| may.then_some(what))
            .collect();
            let until = match holder.expires_at {
                Some(end) => format!(", until {}", end.format("%Y-%m-%dT%H:%M:%SZ")),
                None => String::new(),
            };
            Finding::new(
                ACCEPTED,
                SUBJECT,
                format!("it may {}{until}", rights.join(", ")),
            )
        }
    }
}

/// The database that runs, if it has every migration; else why not.
async fn open(settings: &Settings) -> Result<Database, String> {
    let failed = |error| StartError::database(settings, error).to_string();
    let url = DatabaseHost::running(settings)
        .await
        .map_err(|error| error.to_string())?
        .ok_or("the private database does not run; start the server first")?;
    let report = db::examine(&url).await.map_err(failed)?;
    if !report.migrations.iter().all(|migration| migration.applied) {
        return Err("the database lacks migrations; run `loquat migrate up` first".to_owned());
    }
    Database::connect(&url, CONNECTIONS, settings.database.named_statements)
        .await
        .map_err(failed)
}

/// The fewest that there may be.
const CONNECTIONS: u32 = 2;

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
