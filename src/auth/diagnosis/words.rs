//! For each check that a token may fail: what is wrong with this one, and the mend.

use std::time::{Duration, SystemTime};

use jsonwebtoken::Algorithm;
use serde_json::Value;
use url::Url;

use super::{
    super::{
        KeySurvey, SurveyError, Unverified,
        claims::{LAST_SECOND, claim, holds},
        error::Check,
        token::MAX_TOKEN_BYTES,
    },
    names::name_of,
    shapes::{self, plain, quoted, shown, text},
};
use crate::config::{
    IssuerSettings, Settings,
    names::{
        self,
        issuer::{self as key, IssuerKey},
    },
};

const CLOCKS: &str =
    "the clocks of the issuer and of this machine differ: set them right, or raise";

/// One token before one issuer that has refused it.
pub(super) struct Case<'a> {
    pub settings: &'a Settings,
    pub issuer: &'a IssuerSettings,
    pub token: &'a str,
    /// `None`: it cannot be read.
    pub unverified: Option<&'a Unverified>,
    /// What the issuer publishes now, where that matters.
    pub survey: Option<(&'a Url, Result<KeySurvey, SurveyError>)>,
    pub now: SystemTime,
}

/// The words where nobody vouches for anybody.
pub(super) fn without_issuer(token: Option<&Unverified>) -> String {
    let only = "there is no issuer, so that only what `loquat token` prints is accepted";
    match token {
        Some(token) => match shapes::of_jwt(token) {
            Some(shape) => format!("{only}; {shape}"),
            None => format!("{only}; {}", shapes::settings_for(token)),
        },
        None => format!("{only}; set SUPABASE_PROJECT_URL, BETTER_AUTH_URL or JWT_SECRET_KEY"),
    }
}

impl Case<'_> {
    pub fn words(&self, check: Check) -> String {
        let Some(token) = self.unverified else {
            return match check {
                Check::TooLong => self.too_long(),
                _ => shapes::of_text(self.token).to_owned(),
            };
        };
        match check {
            Check::TooLong => self.too_long(),
            Check::Malformed => self.malformed(token),
            Check::CriticalHeader => {
                "its header names extensions that must be known (crit), and are not".to_owned()
            }
            Check::Encrypted => {
                "its header says that it is encrypted or compressed; ask the issuer for one that \
                 is only signed"
                    .to_owned()
            }
            Check::Issuer => self.another_issuer(token),
            Check::AnotherIssuers => format!(
                "its iss is {}, which another configured issuer has: that one alone is asked",
                self.said("iss")
            ),
            Check::Algorithm => self.algorithm(token),
            Check::KeysUnavailable => self.keys_unavailable(),
            Check::UnknownKey => self.unknown_key(token),
            Check::Signature => self.signature(token),
            Check::MissingClaim => self.missing_claim(token),
            Check::Expired => self.expired(token),
            Check::NotYetValid => self.not_yet_valid(token),
            Check::Audience => self.audience(token),
            Check::RefreshToken => "it is a refresh token; send the access token".to_owned(),
            Check::ClaimValue => self.claim_value(token),
            Check::User => self.user(token),
            other => other.as_str().to_owned(),
        }
    }

    fn too_long(&self) -> String {
        format!(
            "it has {} bytes, and no more than {MAX_TOKEN_BYTES} are read; let the issuer put less \
             into it",
            self.token.len()
        )
    }

    fn malformed(&self, token: &Unverified) -> String {
        match text(&token.header, "alg") {
            Some(none) if none.eq_ignore_ascii_case("none") => {
                return "it is not signed (its alg is none)".to_owned();
            }
            Some(name) if name.parse::<Algorithm>().is_err() => {
                return format!("its algorithm \"{}\" is not known here", plain(name));
            }
            _ => {}
        }
        for name in ["exp", "iat", "nbf"] {
            match token.claims.get(name).map(Value::as_f64) {
                None => {}
                Some(Some(seconds)) if (0.0..=LAST_SECOND as f64).contains(&seconds) => {}
                Some(Some(_)) => {
                    return format!("its {name} is no time in seconds; is it in milliseconds?");
                }
                Some(None) => return format!("its {name} is not a number of seconds"),
            }
        }
        if let Some(Value::Object(_) | Value::Array(_)) = token.claims.get("sub") {
            return "its sub is neither text nor a number; let the issuer put the user's id there"
                .to_owned();
        }
        "its header or one of its claims has a form that the standard does not know".to_owned()
    }

    fn another_issuer(&self, token: &Unverified) -> String {
        let setting = self.name_of(key::ISSUER);
        let expected = self.issuer.issuer.as_deref().unwrap_or_default();
        let problem = format!("its iss is {}, not \"{expected}\"", self.said("iss"));
        if let Some(shape) = shapes::of_jwt(token) {
            return format!("{problem}; {shape}");
        }
        match token.claims.get("iss") {
            None => format!(
                "it has no iss, and \"{expected}\" is expected; send a token of that issuer, or \
                 change {setting}"
            ),
            Some(Value::String(said)) if same_but_for_slash(said, expected) => format!(
                "{problem}: they differ in the slash at the end; write {setting} as the tokens do"
            ),
            Some(_) => {
                format!("{problem}; send a token of that issuer, or change {setting}")
            }
        }
    }

    fn algorithm(&self, token: &Unverified) -> String {
        if let Some(shape) = shapes::of_jwt(token) {
            return shape.to_owned();
        }
        let name = text(&token.header, "alg").map(plain).unwrap_or_default();
        match name.starts_with("HS") {
            true if self.issuer.secret.is_none() => format!(
                "it is signed by a secret ({name}), and only a key set is known; set {} to that \
                 secret, or let the issuer sign with a published key",
                self.name_of(key::SECRET)
            ),
            false if self.issuer.jwks_url.is_none() => format!(
                "it is signed by a key pair ({name}), and only a secret is known; set {}",
                self.name_of(key::JWKS_URL)
            ),
            _ => format!(
                "it is signed with {name}, and only {} is accepted; change {}",
                listed(&self.issuer.algorithms),
                self.name_of(key::ALGORITHMS)
            ),
        }
    }

    fn keys_unavailable(&self) -> String {
        match &self.survey {
            Some((url, Err(error))) => format!(
                "the key set {url} cannot be fetched ({error}); check {}, and that this machine \
                 may reach it",
                self.name_of(key::JWKS_URL)
            ),
            _ => "the key set could not be fetched a moment ago, and now can be; try again"
                .to_owned(),
        }
    }

    fn unknown_key(&self, token: &Unverified) -> String {
        let Some((url, Ok(survey))) = &self.survey else {
            return self.keys_unavailable();
        };
        let setting = self.name_of(key::JWKS_URL);
        if survey.usable.is_empty() {
            return format!(
                "the key set {url} holds no key that can be used ({} skipped); check {setting}",
                survey.skipped
            );
        }
        let Some(kid) = text(&token.header, "kid") else {
            return format!(
                "it does not say which key signed it, and the key set {url} holds none for its \
                 algorithm; check {setting}"
            );
        };
        let of_kid = |key: &&super::super::SurveyedKey| key.kid.as_deref() == Some(kid);
        match survey.usable.iter().find(of_kid) {
            Some(key) => format!(
                "the key {} of {url} is for {}, and it says that it is signed otherwise",
                quoted(kid),
                listed(&key.algorithms)
            ),
            None => {
                let kids: Vec<_> = survey
                    .usable
                    .iter()
                    .filter_map(|key| key.kid.as_deref())
                    .map(quoted)
                    .collect();
                format!(
                    "the key set {url} does not hold the key {} that signed it, but {}; send a \
                     token of that issuer, or change {setting}",
                    quoted(kid),
                    kids.join(", ")
                )
            }
        }
    }

    fn signature(&self, token: &Unverified) -> String {
        let by_secret = text(&token.header, "alg").is_some_and(|name| name.starts_with("HS"));
        if by_secret {
            let and_the_one_before = match self.issuer.previous_secret {
                Some(_) => ", nor with the one before",
                None => "",
            };
            return format!(
                "it was not signed with the secret of {}{and_the_one_before}; set that to the \
                 secret which signs the tokens, letter by letter",
                self.name_of(key::SECRET)
            );
        }
        "the key that it names did not sign it: it was changed on its way, or another issuer calls \
         its key so"
            .to_owned()
    }

    fn missing_claim(&self, token: &Unverified) -> String {
        if !token.claims.contains_key("exp") {
            return "it has no exp, and a token that never ends is not accepted; let the issuer \
                    give it an end"
                .to_owned();
        }
        format!(
            "it has no aud, and \"{}\" is expected; let the issuer say it, or unset {}",
            self.issuer.audience.as_deref().unwrap_or_default(),
            self.name_of(key::AUDIENCE)
        )
    }

    fn expired(&self, token: &Unverified) -> String {
        let since = time(token, "exp").and_then(|end| self.now.duration_since(end).ok());
        format!(
            "it expired {} ago; send a fresh one. If it is, {CLOCKS} {}",
            since.map(rough).unwrap_or_default(),
            self.settings.origins.of(&names::JWT_LEEWAY_SECONDS)
        )
    }

    fn not_yet_valid(&self, token: &Unverified) -> String {
        let (name, ahead) = ["nbf", "iat"]
            .into_iter()
            .filter_map(|name| {
                let ahead = time(token, name)?.duration_since(self.now).ok()?;
                Some((name, ahead))
            })
            .max_by_key(|(_, ahead)| *ahead)
            .unwrap_or_default();
        format!(
            "its {name} lies {} in the future; {CLOCKS} {}",
            rough(ahead),
            self.settings.origins.of(&names::JWT_LEEWAY_SECONDS)
        )
    }

    fn audience(&self, token: &Unverified) -> String {
        let expected = self.issuer.audience.as_deref().unwrap_or_default();
        let problem = format!("its aud is {}, not \"{expected}\"", self.said("aud"));
        match shapes::of_jwt(token) {
            Some(shape) => format!("{problem}; {shape}"),
            None => format!(
                "{problem}; ask the issuer for a token for this audience, or change {}",
                self.name_of(key::AUDIENCE)
            ),
        }
    }

    fn claim_value(&self, token: &Unverified) -> String {
        let rule = self
            .issuer
            .required_claims
            .iter()
            .find(|rule| !holds(rule, &token.claims));
        let name = rule.map(|rule| plain(&rule.claim)).unwrap_or_default();
        let problem = format!(
            "its claim {name} is not what {} asks for",
            self.name_of(key::REQUIRED_CLAIMS)
        );
        match shapes::of_jwt(token) {
            Some(shape) => format!("{problem}; {shape}"),
            None => problem,
        }
    }

    fn user(&self, token: &Unverified) -> String {
        let wanted = &self.issuer.user_claim;
        let setting = self.name_of(key::USER_CLAIM);
        if claim(&token.claims, wanted).is_some() {
            return format!(
                "its claim {wanted} cannot name a user: that takes 1 to 255 characters, not all \
                 blank, or a whole number"
            );
        }
        let problem = format!("it has no claim {wanted}, which is to name the user");
        if let Some(shape) = shapes::of_jwt(token) {
            return format!("{problem}; {shape}");
        }
        let other = ["user_id", "sub"]
            .into_iter()
            .find(|name| token.claims.contains_key(*name));
        match other {
            Some(other) => format!("{problem}, but {other}; set {setting} to {other}"),
            None => format!("{problem}; set {setting} to the claim that does"),
        }
    }

    fn name_of(&self, key: IssuerKey) -> String {
        name_of(self.settings, self.issuer, key)
    }

    fn said(&self, claim: &str) -> String {
        let said = self.unverified.and_then(|token| token.claims.get(claim));
        said.map_or_else(|| "missing".to_owned(), shown)
    }
}

fn same_but_for_slash(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}

fn listed(algorithms: &[Algorithm]) -> String {
    let names: Vec<_> = algorithms
        .iter()
        .map(|algorithm| format!("{algorithm:?}"))
        .collect();
    names.join(", ")
}

fn time(token: &Unverified, claim: &str) -> Option<SystemTime> {
    let seconds = token.claims.get(claim)?.as_f64()?;
    let since_1970 = Duration::try_from_secs_f64(seconds).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(since_1970)
}

/// As a person would say it.
fn rough(time: Duration) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    match time.as_secs() {
        seconds if seconds < 2 * MINUTE => format!("{seconds} s"),
        seconds if seconds < 2 * HOUR => format!("{} min", seconds / MINUTE),
        seconds if seconds < 2 * DAY => format!("{} h", seconds / HOUR),
        seconds => format!("{} days", seconds / DAY),
    }
}
