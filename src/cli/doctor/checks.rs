//! What the server needs: settings that agree, keys to check tokens with, a database, a model.

use jsonwebtoken::{Algorithm, AlgorithmFamily};

use crate::{
    app::{DatabaseHost, StartError, examine_documents},
    auth::{self, KeySurvey},
    broker,
    config::{
        AdmittedDocuments, Environment, IssuerSettings, OfferedModels, OpenAiSettings,
        RedisSettings, Settings, names,
    },
    db,
    llm::openai::{ModelsError, OpenAi},
};

use super::{Finding, Report};

pub(super) async fn all(settings: &Settings) -> Report {
    let mut findings = vec![sign_in(settings)];
    for issuer in &settings.issuers {
        findings.push(keys(settings, issuer).await);
    }
    if !settings.documents.trusted.is_empty() {
        findings.push(documents(settings).await);
    }
    findings.push(database(settings).await);
    if let Some(redis) = &settings.redis {
        findings.push(replicas(settings, redis).await);
    }
    findings.push(model(settings).await);
    Report::of(findings)
}

fn sign_in(settings: &Settings) -> Finding {
    let environment = match settings.environment {
        Environment::Development => "development",
        Environment::Production => "production",
    };
    let tokens_of: Vec<_> = settings
        .issuers
        .iter()
        .map(|issuer| issuer.name.as_str())
        .collect();
    let believed = match (settings.has_development_sign_in(), &settings.gateway_secret) {
        (true, _) => "any user name is believed, because no issuer is set".to_owned(),
        (false, None) => format!("tokens of {} are believed", tokens_of.join(", ")),
        (false, Some(_)) if tokens_of.is_empty() => "a gateway is believed".to_owned(),
        (false, Some(_)) => format!(
            "tokens of {} and a gateway are believed",
            tokens_of.join(", ")
        ),
    };
    Finding::ok("sign-in", format!("{environment}: {believed}"))
}

async fn keys(settings: &Settings, issuer: &IssuerSettings) -> Finding {
    let subject = format!("issuer {}", issuer.name);
    let Some(url) = &issuer.jwks_url else {
        return Finding::ok(
            subject,
            format!("{} by its secret", listed(&issuer.algorithms)),
        );
    };
    let setting = auth::name_of_key_set(settings, issuer);
    let survey = match auth::survey(url).await {
        Ok(survey) => survey,
        Err(error) => {
            return Finding::problem(
                subject,
                format!(
                    "the key set {url} cannot be fetched ({error}); check {setting}, and that this \
                     machine may reach it"
                ),
            );
        }
    };
    let held = held(&survey);
    let accepted = |algorithm| issuer.algorithms.contains(algorithm);
    let is_useful = survey
        .usable
        .iter()
        .any(|key| key.algorithms.iter().any(accepted));
    let by_secret: Vec<_> = issuer
        .algorithms
        .iter()
        .copied()
        .filter(|algorithm| algorithm.family() == AlgorithmFamily::Hmac)
        .collect();
    let signed = listed(&by_secret);
    match (is_useful, !by_secret.is_empty()) {
        (true, false) => Finding::ok(subject, format!("the key set {url} holds {held}")),
        (true, true) => Finding::ok(
            subject,
            format!("{signed} by its secret; the key set {url} holds {held}"),
        ),
        (false, true) => Finding::ok(
            subject,
            format!("{signed} by its secret alone; the key set {url} holds {held}"),
        ),
        (false, false) => Finding::problem(
            subject,
            format!(
                "the key set {url} holds {held}, and tokens are accepted with {}; check {setting}, \
                 or set the secret if the issuer signs with one",
                listed(&issuer.algorithms)
            ),
        ),
    }
}

/// The most keys that are named.
const NAMED: usize = 8;

fn held(survey: &KeySurvey) -> String {
    let count = survey.usable.len();
    let mut names: Vec<_> = survey
        .usable
        .iter()
        .take(NAMED)
        .map(|key| {
            let algorithms = listed(&key.algorithms);
            match &key.kid {
                Some(kid) => format!("{algorithms} \"{}\"", kid.escape_debug()),
                None => algorithms,
            }
        })
        .collect();
    if count > NAMED {
        names.push("…".to_owned());
    }
    let usable = match count {
        0 => "no usable key".to_owned(),
        1 => format!("1 usable key ({})", names.join("; ")),
        count => format!("{count} usable keys ({})", names.join("; ")),
    };
    match survey.skipped {
        0 => usable,
        skipped => format!("{usable} and {skipped} of no use here"),
    }
}

fn listed(algorithms: &[Algorithm]) -> String {
    let names: Vec<_> = algorithms
        .iter()
        .map(|algorithm| format!("{algorithm:?}"))
        .collect();
    names.join(", ")
}

async fn documents(settings: &Settings) -> Finding {
    const SUBJECT: &str = "trusted documents";

    let others = match settings.documents.admitted {
        AdmittedDocuments::Trusted => "and no others run",
        AdmittedDocuments::Written | AdmittedDocuments::Automatic => "and any other may run",
    };
    match examine_documents(settings).await {
        Ok(count) => Finding::ok(SUBJECT, format!("{count} that could run, {others}")),
        Err(error) => Finding::problem(SUBJECT, error.to_string()),
    }
}

async fn database(settings: &Settings) -> Finding {
    let host = match DatabaseHost::visit(settings).await {
        Ok(Some(host)) => host,
        Ok(None) => {
            return Finding::ok(
                "database",
                format!(
                    "none yet: the first start makes a private one in {}",
                    settings.data_dir.display()
                ),
            );
        }
        Err(error) => return Finding::problem("database", error.to_string()),
    };
    let examined = db::examine(host.url()).await;
    host.stop().await;
    let report = match examined {
        Ok(report) => report,
        Err(error) => {
            return Finding::problem(
                "database",
                StartError::database(settings, error).to_string(),
            );
        }
    };
    let applied = report
        .migrations
        .iter()
        .filter(|migration| migration.applied);
    let (applied, all) = (applied.count(), report.migrations.len());
    let rest = match all - applied {
        0 => "",
        _ => "; the next start, or `loquat migrate up`, applies the rest",
    };
    Finding::ok(
        "database",
        format!(
            "PostgreSQL {}, signed in as \"{}\", with {applied} of {all} migrations{rest}",
            report.version,
            report.login.escape_debug()
        ),
    )
}

async fn replicas(settings: &Settings, redis: &RedisSettings) -> Finding {
    const SUBJECT: &str = "redis";

    match broker::examine(redis).await {
        Ok(what) => Finding::ok(SUBJECT, what),
        Err(error) => Finding::problem(
            SUBJECT,
            format!(
                "{}: the Redis cannot be used ({error}); the server works without it, and replicas \
                 hear of each other a second later",
                settings.origins.of(&names::REDIS_URL)
            ),
        ),
    }
}

async fn model(settings: &Settings) -> Finding {
    const SUBJECT: &str = "model";

    let Some(openai) = &settings.provider.openai else {
        return Finding::ok(
            SUBJECT,
            "the built-in demo assistant, because neither OPENAI_API_KEY nor OPENAI_BASE_URL is set",
        );
    };
    let provider = match OpenAi::new(openai) {
        Ok(provider) => provider,
        Err(error) => return Finding::problem(SUBJECT, error.to_string()),
    };
    let origins = &settings.origins;
    let host = host_of(openai);
    match provider.models().await {
        Ok(listed) => {
            let wanted = match &settings.provider.models {
                OfferedModels::Listed(models) => models.clone(),
                OfferedModels::Any => vec![settings.provider.default_model.clone()],
            };
            let unlisted: Vec<_> = wanted
                .iter()
                .filter(|model| !listed.contains(model))
                .map(String::as_str)
                .collect();
            match unlisted.is_empty() {
                true => Finding::ok(SUBJECT, format!("{host} lists {}", wanted.join(", "))),
                false => Finding::problem(
                    SUBJECT,
                    format!(
                        "{host} does not list {}; check {} and {}",
                        unlisted.join(", "),
                        origins.of(&names::OPENAI_CHAT_MODEL),
                        origins.of(&names::MODELS)
                    ),
                ),
            }
        }
        Err(error @ ModelsError::NotListed(_)) => Finding::ok(
            SUBJECT,
            format!(
                "{host} answers; {error}, so that only a reply will show whether it knows them"
            ),
        ),
        Err(error @ ModelsError::KeyRefused(_)) => Finding::problem(
            SUBJECT,
            format!(
                "{host}: {error}; check {}",
                origins.of(&names::OPENAI_API_KEY)
            ),
        ),
        Err(error @ ModelsError::Unreachable(_)) => Finding::problem(
            SUBJECT,
            format!(
                "{host}: {error}; check {}",
                origins.of(&names::OPENAI_BASE_URL)
            ),
        ),
    }
}

/// The server without its path, in which some put a key.
fn host_of(openai: &OpenAiSettings) -> String {
    openai.base_url.origin().ascii_serialization()
}
