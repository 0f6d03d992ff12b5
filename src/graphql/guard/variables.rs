//! Variables are checked against their types before the document is validated
//! (<https://spec.graphql.org/October2021/#sec-Coercing-Variable-Values>).
//!
//! The library only looks at them through the arguments that use them, and reports what is wrong
//! as if the document were. Here the error names the variable and the place within it. A message
//! never repeats the value: it may be a secret, and it may be long.

use async_graphql::{
    Pos, Value, Variables,
    parser::types::{BaseType, OperationDefinition, Type},
    registry::{MetaType, MetaTypeName, Registry},
};

use super::Refusal;

pub(super) fn check(
    registry: &Registry,
    operation: &OperationDefinition,
    given: &Variables,
) -> Result<(), Refusal> {
    for definition in &operation.variable_definitions {
        let name = &definition.node.name.node;
        let declared = &definition.node.var_type.node;
        let at = definition.pos;
        if !is_input_type(registry, declared) {
            // A type that does not exist is for validation to report.
            continue;
        }
        let problem = match given.get(name) {
            None if declared.nullable || definition.node.default_value.is_some() => continue,
            None => format!("of required type \"{declared}\" was not provided"),
            Some(Value::Null) if !declared.nullable => {
                format!("of non-null type \"{declared}\" must not be null")
            }
            Some(value) => {
                let mut path = name.to_string();
                let Err(problem) = coerce(registry, &declared.to_string(), value, &mut path) else {
                    continue;
                };
                return Err(invalid(name, path, &problem, at));
            }
        };
        return Err(Refusal::Variable {
            message: format!("Variable \"${name}\" {problem}."),
            argument: name.to_string(),
            at,
        });
    }
    Ok(())
}

fn invalid(name: &str, path: String, problem: &str, at: Pos) -> Refusal {
    let place = if path == name {
        String::new()
    } else {
        format!(" at \"{path}\"")
    };
    Refusal::Variable {
        message: format!("Variable \"${name}\" got an invalid value{place}: {problem}."),
        argument: path,
        at,
    }
}

/// On an error, `path` is left naming the place. The recursion is as deep as the value, which the
/// JSON parser bounds.
fn coerce(
    registry: &Registry,
    type_name: &str,
    value: &Value,
    path: &mut String,
) -> Result<(), String> {
    match (MetaTypeName::create(type_name), value) {
        (MetaTypeName::NonNull(inner), Value::Null) => {
            Err(format!("expected \"{inner}!\" not to be null"))
        }
        (MetaTypeName::NonNull(inner), value) => coerce(registry, inner, value, path),
        (_, Value::Null) => Ok(()),
        (MetaTypeName::List(inner), Value::List(values)) => {
            values.iter().enumerate().try_for_each(|(index, value)| {
                within(path, &format!("[{index}]"), |path| {
                    coerce(registry, inner, value, path)
                })
            })
        }
        // A single value stands for a list of one.
        (MetaTypeName::List(inner), value) => coerce(registry, inner, value, path),
        (MetaTypeName::Named(name), value) => named(registry, name, value, path),
    }
}

fn named(registry: &Registry, name: &str, value: &Value, path: &mut String) -> Result<(), String> {
    match (registry.types.get(name), value) {
        (Some(MetaType::Scalar { is_valid, .. }), value) => {
            if is_valid.as_ref().is_none_or(|is_valid| is_valid(value)) {
                Ok(())
            } else {
                Err(format!("it is not of type \"{name}\""))
            }
        }
        (Some(MetaType::Enum { enum_values, .. }), Value::String(member)) => {
            known_member(name, enum_values.contains_key(member.as_str()))
        }
        (Some(MetaType::Enum { enum_values, .. }), Value::Enum(member)) => {
            known_member(name, enum_values.contains_key(member.as_str()))
        }
        (Some(MetaType::Enum { .. }), _) => known_member(name, false),
        (
            Some(MetaType::InputObject {
                input_fields,
                oneof,
                ..
            }),
            Value::Object(fields),
        ) => {
            for key in fields.keys() {
                if !input_fields.contains_key(key.as_str()) {
                    return Err(format!("a field is not defined by type \"{name}\""));
                }
            }
            if *oneof && (fields.len() != 1 || fields.values().any(|field| *field == Value::Null)) {
                return Err(format!("exactly one field of \"{name}\" must be set"));
            }
            input_fields
                .values()
                .try_for_each(|field| match fields.get(field.name.as_str()) {
                    Some(value) => within(path, &format!(".{}", field.name), |path| {
                        coerce(registry, &field.ty, value, path)
                    }),
                    None if field.default_value.is_none()
                        && MetaTypeName::create(&field.ty).is_non_null() =>
                    {
                        within(path, &format!(".{}", field.name), |_| {
                            Err(format!("required type \"{}\" was not provided", field.ty))
                        })
                    }
                    None => Ok(()),
                })
        }
        (Some(MetaType::InputObject { .. }), _) => {
            Err(format!("expected an object of type \"{name}\""))
        }
        _ => Ok(()),
    }
}

fn known_member(name: &str, known: bool) -> Result<(), String> {
    if known {
        Ok(())
    } else {
        Err(format!("it is not a value of the enum \"{name}\""))
    }
}

fn within(
    path: &mut String,
    step: &str,
    check: impl FnOnce(&mut String) -> Result<(), String>,
) -> Result<(), String> {
    let before = path.len();
    path.push_str(step);
    check(path)?;
    path.truncate(before);
    Ok(())
}

fn is_input_type(registry: &Registry, declared: &Type) -> bool {
    let mut base = &declared.base;
    loop {
        match base {
            BaseType::List(inner) => base = &inner.base,
            BaseType::Named(name) => {
                return registry
                    .types
                    .get(name.as_str())
                    .is_some_and(MetaType::is_input);
            }
        }
    }
}
