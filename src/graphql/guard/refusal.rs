//! Why a document is refused, in words for the developer who wrote it.

use async_graphql::{ErrorExtensionValues, Pos, ServerError, Value, parser};

use crate::{
    graphql::{ErrorCode, limit_details},
    model::Limit,
};

/// What is wrong, and what to do about it.
fn describe(limit: Limit, allowed: u64) -> String {
    match limit {
        Limit::Tokens => format!(
            "A document may have at most {allowed} tokens: put values into variables, or split it."
        ),
        Limit::NameBytes => format!("A name may have at most {allowed} bytes: shorten it."),
        Limit::Brackets => format!(
            "Brackets may be nested at most {allowed} deep: put values into variables, or ask for what is deeper by its id."
        ),
        Limit::Definitions => format!(
            "A document may have at most {allowed} operations and fragments: send only those that the operation needs."
        ),
        Limit::Fields => format!(
            "A document may select at most {allowed} fields, fragments expanded: select fewer, or split it."
        ),
        Limit::RootFields => {
            format!("An operation may have at most {allowed} root fields: split it.")
        }
        Limit::Depth => format!(
            "Fields may be nested at most {allowed} deep: ask for what is deeper by its id."
        ),
        Limit::Nesting => format!(
            "Selection sets and fragments may be nested at most {allowed} deep: write fragments out, or ask for what is deeper by its id."
        ),
        Limit::IntrospectionLists => format!(
            "Introspection may nest at most {allowed} lists of types or fields: ask for types by __type."
        ),
        Limit::Aliases => format!(
            "A document may have at most {allowed} aliases, fragments expanded: use fewer, or split it."
        ),
        Limit::Directives => format!(
            "A document may have at most {allowed} directives, fragments expanded: use fewer, or split it."
        ),
        Limit::Cost => format!(
            "An operation, or a batch, may ask for at most {allowed} fields, pages multiplied out: ask for smaller pages, or split it."
        ),
        other => format!("{} may be {allowed} at most.", other.name()),
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
    /// As a limit's, with the cost that the operations have together.
    Cost {
        cost: u64,
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

fn extend(extensions: &mut ErrorExtensionValues, limit: Limit, value: u64) {
    for (name, value) in limit_details(limit, value) {
        extensions.set(name, value);
    }
}

impl From<Refusal> for ServerError {
    fn from(refusal: Refusal) -> Self {
        let mut extensions = ErrorExtensionValues::default();
        let (message, at, code) = match refusal {
            Refusal::Limit { limit, value, at } => {
                extend(&mut extensions, limit, value);
                (describe(limit, value), at, ErrorCode::LimitExceeded)
            }
            Refusal::Cost { cost, value, at } => {
                extend(&mut extensions, Limit::Cost, value);
                extensions.set("cost", Value::from(cost));
                (describe(Limit::Cost, value), at, ErrorCode::LimitExceeded)
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
