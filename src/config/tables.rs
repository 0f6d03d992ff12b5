//! The `[[issuers]]` tables of the settings file, their keys checked and their values not yet.

use std::{collections::BTreeMap, fmt, sync::Arc};

use super::{
    error::SettingsError,
    names::issuer::{self, IssuerKey},
    sources::Origin,
};

/// The key of the file that holds the tables, and is no setting by itself.
pub(super) const ISSUERS: &str = "issuers";

/// The values of one table, by key.
pub(super) type TableValues = BTreeMap<&'static str, toml::Value>;

/// One `[[issuers]]` table of the settings file, for messages about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerTable {
    file: String,
    /// From 1.
    number: usize,
    name: Option<String>,
}

impl fmt::Display for IssuerTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[[issuers]] {}", self.number)?;
        if let Some(name) = &self.name {
            write!(f, " ({})", name.escape_debug())?;
        }
        write!(f, " of {}", self.file)
    }
}

impl IssuerTable {
    pub(super) fn origin(self: &Arc<Self>) -> Origin {
        Origin::Table {
            table: Arc::clone(self),
            key: None,
        }
    }

    pub(super) fn key(self: &Arc<Self>, key: IssuerKey) -> Origin {
        Origin::Table {
            table: Arc::clone(self),
            key: Some(key),
        }
    }
}

/// The tables of the file under [`ISSUERS`], with no key that is unknown.
pub(super) fn read(
    file: &str,
    value: toml::Value,
) -> Result<Vec<(Arc<IssuerTable>, TableValues)>, SettingsError> {
    let tables = match value {
        toml::Value::Array(items) => items
            .into_iter()
            .map(|item| match item {
                toml::Value::Table(table) => Some(table),
                _ => None,
            })
            .collect::<Option<Vec<_>>>(),
        _ => None,
    };
    let tables = tables.ok_or_else(|| SettingsError::Invalid {
        origin: Origin::File {
            file: file.to_owned(),
            key: ISSUERS,
        },
        problem: "must be tables; begin each with a line [[issuers]]".to_owned(),
    })?;
    let numbered = tables.into_iter().zip(1..);
    numbered
        .map(|(values, number)| {
            let table = Arc::new(IssuerTable {
                file: file.to_owned(),
                number,
                name: values
                    .get(issuer::NAME.key)
                    .and_then(toml::Value::as_str)
                    .map(str::to_owned),
            });
            let values = values
                .into_iter()
                .map(|(key, value)| match IssuerKey::named(&key) {
                    Some(known) => Ok((known.key, value)),
                    None => Err(SettingsError::UnknownIssuerKey {
                        table: table.origin(),
                        meant: IssuerKey::meant(&key).map(|meant| meant.key),
                        key,
                    }),
                })
                .collect::<Result<_, _>>()?;
            Ok((table, values))
        })
        .collect()
}
