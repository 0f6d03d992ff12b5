//! What was written of each issuer, by the keys of its table, whether it has one or not.

use std::{collections::BTreeMap, sync::Arc};

use super::super::{
    ClaimRule, ClaimValue, SettingsError,
    names::{
        self, Setting,
        issuer::{self as key, IssuerKey},
    },
    sources::{Found, Origin, Sources},
    tables::{IssuerTable, TableValues},
    values::{invalid, list},
};

/// One issuer, as far as its user has described it.
pub(super) struct Written {
    plain: BTreeMap<&'static str, Found>,
    pub admin_value: Option<(ClaimValue, Origin)>,
    pub required_claims: Option<(Vec<ClaimRule>, Origin)>,
    /// What names it as a whole.
    pub origin: Origin,
    is_table: bool,
}

impl Written {
    pub fn find(&self, key: IssuerKey) -> Option<&Found> {
        self.plain.get(key.key)
    }

    pub fn text(&self, key: IssuerKey) -> Option<String> {
        self.find(key).map(|found| found.value.trim().to_owned())
    }

    /// Where a key was written, or what names the issuer.
    pub fn origin_of(&self, key: IssuerKey) -> Origin {
        self.find(key)
            .map_or_else(|| self.origin.clone(), |found| found.origin.clone())
    }

    /// By which name a key could be written here.
    pub fn name_of(&self, key: IssuerKey) -> &'static str {
        match key.setting {
            Some(setting) if !self.is_table => setting.variable,
            _ => key.key,
        }
    }
}

/// The issuers that need no table, and then those of the tables.
pub(super) fn all(sources: &Sources) -> Result<Vec<Written>, SettingsError> {
    let supabase = sources
        .find(&names::SUPABASE_PROJECT_URL)
        .or_else(|| sources.find(&names::SUPABASE_JWT_SECRET));
    let better_auth = sources.find(&names::BETTER_AUTH_URL);
    if let (None, Some(previous)) = (
        &supabase,
        sources.find(&names::SUPABASE_PREVIOUS_JWT_SECRET),
    ) {
        return Err(SettingsError::Incomplete {
            origin: previous.origin,
            needs: "needs the secret that replaces it: set SUPABASE_JWT_SECRET".to_owned(),
        });
    }

    let mut written = match (supabase, better_auth) {
        (Some(supabase), Some(better_auth)) => {
            let presets = [&supabase.origin, &better_auth.origin];
            belongs_to_none(sources, presets)?;
            vec![
                supabase_preset(sources, supabase)?,
                better_auth_preset(better_auth),
            ]
        }
        (Some(supabase), None) => {
            let mut written = supabase_preset(sources, supabase)?;
            add_settings(&mut written, sources)?;
            vec![written]
        }
        (None, Some(better_auth)) => {
            let mut written = better_auth_preset(better_auth);
            add_settings(&mut written, sources)?;
            vec![written]
        }
        (None, None) => generic(sources)?.into_iter().collect(),
    };
    for (table, values) in sources.issuers() {
        written.push(of_table(sources, table, values)?);
    }
    Ok(written)
}

fn preset(name: &str, origin: Origin) -> Written {
    let named = |key: IssuerKey| {
        let found = Found {
            value: name.to_owned(),
            origin: origin.clone(),
        };
        (key.key, found)
    };
    Written {
        plain: BTreeMap::from([named(key::NAME), named(key::PRESET)]),
        admin_value: None,
        required_claims: None,
        origin,
        is_table: false,
    }
}

fn supabase_preset(sources: &Sources, found: Found) -> Result<Written, SettingsError> {
    let mut written = preset("supabase", found.origin);
    let own = [
        (key::URL, &names::SUPABASE_PROJECT_URL),
        (key::SECRET, &names::SUPABASE_JWT_SECRET),
        (key::PREVIOUS_SECRET, &names::SUPABASE_PREVIOUS_JWT_SECRET),
    ];
    for (key, setting) in own {
        if let Some(found) = sources.find(setting) {
            written.plain.insert(key.key, found);
        }
    }
    Ok(written)
}

fn better_auth_preset(found: Found) -> Written {
    let mut written = preset("better-auth", found.origin.clone());
    written.plain.insert(key::URL.key, found);
    written
}

/// Every setting that speaks of one issuer and does not say of which.
fn settings() -> impl Iterator<Item = (IssuerKey, &'static Setting)> {
    key::KEYS
        .iter()
        .filter_map(|key| Some((*key, key.setting?)))
}

fn belongs_to_none(sources: &Sources, presets: [&Origin; 2]) -> Result<(), SettingsError> {
    match settings().find_map(|(_, setting)| sources.find(setting)) {
        Some(found) => Err(invalid(
            &found,
            format!(
                "does not say which of {} and {} it is about; write each issuer as an [[issuers]] \
                 table of loquat.toml",
                presets[0], presets[1]
            ),
        )),
        None => Ok(()),
    }
}

/// The issuer that nothing but `JWT_` settings describe.
fn generic(sources: &Sources) -> Result<Option<Written>, SettingsError> {
    let Some((_, first)) =
        settings().find_map(|(key, setting)| Some((key, sources.find(setting)?)))
    else {
        return Ok(None);
    };
    let mut written = Written {
        plain: BTreeMap::new(),
        admin_value: None,
        required_claims: None,
        origin: first.origin.clone(),
        is_table: false,
    };
    add_settings(&mut written, sources)?;
    let name = Found {
        value: "jwt".to_owned(),
        origin: written
            .find(key::SECRET)
            .or_else(|| written.find(key::JWKS_URL))
            .unwrap_or(&first)
            .origin
            .clone(),
    };
    written.origin = name.origin.clone();
    written.plain.insert(key::NAME.key, name);
    Ok(Some(written))
}

/// Adds the `JWT_` settings to those of a preset, of which some may say the same.
fn add_settings(written: &mut Written, sources: &Sources) -> Result<(), SettingsError> {
    for (key, setting) in settings() {
        let Some(found) = sources.find(setting) else {
            continue;
        };
        if key == key::ADMIN_VALUE {
            let value = ClaimValue::Written(found.value.trim().to_owned());
            written.admin_value = Some((value, found.origin));
        } else if key == key::REQUIRED_CLAIMS {
            written.required_claims = Some((rules(&found)?, found.origin));
        } else {
            match written.find(key) {
                Some(own) if own.value.trim() != found.value.trim() => {
                    return Err(SettingsError::Contradiction {
                        first: own.origin.clone(),
                        second: found.origin,
                        mend: "they are different secrets; keep the one that signs the tokens"
                            .to_owned(),
                    });
                }
                Some(_) => {}
                None if is_secret(key) && written.find(key::PRESET).is_some() => {
                    return Err(preset_says(written, found.origin));
                }
                None => {
                    written.plain.insert(key.key, found);
                }
            }
        }
    }
    Ok(())
}

fn is_secret(key: IssuerKey) -> bool {
    key == key::SECRET || key == key::PREVIOUS_SECRET
}

/// A preset and what contradicts it.
pub(super) fn preset_says(written: &Written, second: Origin) -> SettingsError {
    SettingsError::Contradiction {
        first: written.origin_of(key::PRESET),
        second,
        mend: "remove one of them; the first names an issuer and sets this itself".to_owned(),
    }
}

/// `claim=value, …`
fn rules(found: &Found) -> Result<Vec<ClaimRule>, SettingsError> {
    let mut rules: Vec<ClaimRule> = Vec::new();
    for item in list(&found.value) {
        let pair = item.split_once('=').map(|(claim, value)| {
            let (claim, value) = (claim.trim(), value.trim());
            (claim, value)
        });
        let Some((claim, value)) =
            pair.filter(|(claim, value)| !claim.is_empty() && !value.is_empty())
        else {
            return Err(invalid(
                found,
                format!("`{item}` is not claim=value, such as email_verified=true"),
            ));
        };
        if rules.iter().any(|rule| rule.claim == claim) {
            return Err(invalid(found, format!("names `{claim}` twice; keep one")));
        }
        rules.push(ClaimRule {
            claim: claim.to_owned(),
            value: ClaimValue::Written(value.to_owned()),
        });
    }
    Ok(rules)
}

fn of_table(
    sources: &Sources,
    table: &Arc<IssuerTable>,
    values: &TableValues,
) -> Result<Written, SettingsError> {
    let mut written = Written {
        plain: BTreeMap::new(),
        admin_value: None,
        required_claims: None,
        origin: table.origin(),
        is_table: true,
    };
    for key in key::KEYS {
        let Some(value) = values.get(key.key) else {
            continue;
        };
        let origin = table.key(*key);
        let wrong = |problem: &str| SettingsError::Invalid {
            origin: origin.clone(),
            problem: problem.to_owned(),
        };
        if *key == key::ADMIN_VALUE {
            let value = claim_value(value)
                .ok_or_else(|| wrong("must be a string, a number, true or false"))?;
            written.admin_value = Some((value, origin));
        } else if *key == key::REQUIRED_CLAIMS {
            let rules = value.as_table().and_then(|table| {
                table
                    .iter()
                    .map(|(claim, value)| {
                        Some(ClaimRule {
                            claim: claim.clone(),
                            value: claim_value(value)?,
                        })
                    })
                    .collect::<Option<Vec<_>>>()
            });
            let rules = rules.ok_or_else(|| {
                wrong(
                    "must be a table of claims, each a string, a number, true or false, such as \
                     { email_verified = true }",
                )
            })?;
            written.required_claims = Some((rules, origin));
        } else {
            let text = match (value, *key == key::ALGORITHMS) {
                (toml::Value::String(text), _) => text.clone(),
                (toml::Value::Array(items), true) => items
                    .iter()
                    .map(toml::Value::as_str)
                    .collect::<Option<Vec<_>>>()
                    .ok_or_else(|| wrong("must be a list of strings"))?
                    .join(","),
                (_, true) => return Err(wrong("must be a list of strings")),
                (_, false) => return Err(wrong("must be a string")),
            };
            // An empty value counts as not set, as everywhere.
            if !text.trim().is_empty() {
                let found = Found {
                    value: text,
                    origin,
                };
                written.plain.insert(key.key, found);
            }
        }
    }
    for (secret, variable) in [
        (key::SECRET, key::SECRET_VARIABLE),
        (key::PREVIOUS_SECRET, key::PREVIOUS_SECRET_VARIABLE),
    ] {
        let Some(name) = written.plain.remove(variable.key) else {
            continue;
        };
        if let Some(own) = written.find(secret) {
            return Err(SettingsError::Contradiction {
                first: own.origin.clone(),
                second: name.origin,
                mend: "both hold the same secret; keep one of them".to_owned(),
            });
        }
        // The name is not repeated: somebody may have written the secret in its place.
        let Some(value) = sources.value_of(name.value.trim()) else {
            return Err(SettingsError::Incomplete {
                origin: name.origin,
                needs: "names a variable that is not set, neither in the environment nor in \
                        .env.local or .env: set it"
                    .to_owned(),
            });
        };
        let found = Found {
            value: value.to_owned(),
            origin: name.origin,
        };
        written.plain.insert(secret.key, found);
    }
    Ok(written)
}

fn claim_value(value: &toml::Value) -> Option<ClaimValue> {
    use serde_json::Value;

    let value = match value {
        toml::Value::String(text) => Value::from(text.as_str()),
        toml::Value::Integer(number) => Value::from(*number),
        toml::Value::Float(number) => Value::Number(serde_json::Number::from_f64(*number)?),
        toml::Value::Boolean(switch) => Value::from(*switch),
        _ => return None,
    };
    Some(ClaimValue::Exactly(value))
}
