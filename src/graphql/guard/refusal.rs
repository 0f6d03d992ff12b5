//! Why a document is refused, in words for the developer who wrote it.

use async_graphql::{ErrorExtensionValues, Pos, ServerError, Value, parser};

use crate::graphql::ErrorCode;

/// The name of a limit, as `extensions.limit` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    Tokens,
    NameBytes,
    Brackets,
    Definitions,
    Fields,
    RootFields,
    Depth,
    Nesting,
    IntrospectionLists,
    Aliases,
    Directives,
    Cost,
}

impl Limit {
    pub fn name(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::NameBytes => "nameBytes",
            Self::Brackets => "brackets",
            Self::Definitions => "definitions",
            Self::Fields => "fields",
            Self::RootFields => "rootFields",
            Self::Depth => "depth",
            Self::Nesting => "nesting",
            Self::IntrospectionLists => "introspectionLists",
            Self::Aliases => "aliases",
            Self::Directives => "directives",
            Self::Cost => "cost",
        }
    }

    fn describe(self, allowed: u64) -> String {
        match self {
            Self::Tokens => format!("A document may have at most {allowed} tokens."),
            Self::NameBytes => format!("A name may have at most {allowed} bytes."),
            Self::Brackets => format!("Brackets may be nested at most {allowed} deep."),
            Self::Definitions => {
                format!("A document may have at most {allowed} operations and fragments.")
            }
            Self::Fields => {
                format!("A document may select at most {allowed} fields, fragments expanded.")
            }
            Self::RootFields => format!("An operation may have at most {allowed} root fields."),
            Self::Depth => format!("Fields may be nested at most {allowed} deep."),
            Self::Nesting => {
                format!("Selection sets and fragments may be nested at most {allowed} deep.")
            }
            Self::IntrospectionLists => {
                format!("Introspection may nest at most {allowed} lists of types or fields.")
            }
            Self::Aliases => {
                format!("A document may have at most {allowed} aliases, fragments expanded.")
            }
            Self::Directives => {
                format!("A document may have at most {allowed} directives, fragments expanded.")
            }
            Self::Cost => format!(
                "An operation may ask for at most {allowed} fields, pages multiplied out; ask for smaller pages."
            ),
        }
    }
}

/// What is wrong with a document, before the schema is asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// `value`: the limit itself, as `extensions.value` shows it.
    Limit {
        limit: Limit,
        value: u64,
        at: Option<Pos>,
    },
    Syntax {
        message: String,
        at: Option<Pos>,
    },
    Invalid {
        message: String,
        at: Option<Pos>,
    },
    /// `argument`: the path of the variable, from its name on.
    Variable {
        message: String,
        argument: String,
        at: Pos,
    },
}

impl Refusal {
    /// The parser's message quotes the offending line; only what it expected is kept.
    pub(super) fn from_parser(error: &parser::Error) -> Self {
        let at = error.positions().next();
        let message = match error {
            parser::Error::Syntax { message, .. } => {
                let expected = message
                    .lines()
                    .rev()
                    .find_map(|line| line.trim_start().strip_prefix("= "))
                    .unwrap_or("this is not GraphQL")
                    .replace('_', " ");
                format!("Syntax error: {expected}.")
            }
            parser::Error::MissingOperation => {
                "Syntax error: the document holds no operation.".to_owned()
            }
            parser::Error::MultipleOperations { .. } => {
                return Self::Invalid {
                    message: "An anonymous operation must be the only one of its document."
                        .to_owned(),
                    at,
                };
            }
            parser::Error::OperationDuplicated { operation, .. } => {
                return Self::Invalid {
                    message: format!("There can be only one operation named \"{operation}\"."),
                    at,
                };
            }
            parser::Error::FragmentDuplicated { fragment, .. } => {
                return Self::Invalid {
                    message: format!("There can be only one fragment named \"{fragment}\"."),
                    at,
                };
            }
            _ => "Syntax error: this is not an executable document.".to_owned(),
        };
        Self::Syntax { message, at }
    }
}

impl From<Refusal> for ServerError {
    fn from(refusal: Refusal) -> Self {
        let mut extensions = ErrorExtensionValues::default();
        let (message, at, code) = match refusal {
            Refusal::Limit { limit, value, at } => {
                extensions.set("limit", limit.name());
                extensions.set("value", Value::from(value));
                (limit.describe(value), at, ErrorCode::LimitExceeded)
            }
            Refusal::Syntax { message, at } => (message, at, ErrorCode::GraphqlParseFailed),
            Refusal::Invalid { message, at } => (message, at, ErrorCode::GraphqlValidationFailed),
            Refusal::Variable {
                message,
                argument,
                at,
            } => {
                extensions.set("argument", argument);
                (message, Some(at), ErrorCode::BadUserInput)
            }
        };
        extensions.set("code", code.as_str());
        let mut error = ServerError::new(message, at);
        error.extensions = Some(extensions);
        error
    }
}
