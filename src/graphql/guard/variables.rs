//! Variables are checked against their types before the document is validated
//! (<https://spec.graphql.org/October2021/#sec-Coercing-Variable-Values>).
//!
//! The library only looks at them through the arguments that use them, and reports what is wrong
//! as if the document were. Here the error names the variable and the place within it. A message
//! never repeats the value: it may be a secret, and it may be long.

use async_graphql::{
    Name, Pos, Value, Variables,
    parser::types::{BaseType, OperationDefinition, Type},
};

use super::{
    Refusal,
    types::{Input, Kind, Types, base_name},
};

pub(super) fn check(
    types: &Types,
    operation: &OperationDefinition,
    given: &Variables,
) -> Result<(), Refusal> {
    for definition in &operation.variable_definitions {
        let name = &definition.node.name.node;
        let declared = &definition.node.var_type.node;
        let at = definition.pos;
        if !matches!(
            types.get(base_name(declared)),
            Some(Kind::Scalar | Kind::Enum(_) | Kind::Input(_))
        ) {
            // That the type does not exist, or is no input type, is for validation to report.
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
                let Err(problem) = coerce(types, declared, value, &mut path) else {
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
fn coerce(types: &Types, ty: &Type, value: &Value, path: &mut String) -> Result<(), String> {
    match (&ty.base, value) {
        (_, Value::Null) if ty.nullable => Ok(()),
        (_, Value::Null) => Err(format!("expected type \"{ty}\" not to be null")),
        (BaseType::List(inner), Value::List(values)) => {
            values.iter().enumerate().try_for_each(|(index, value)| {
                within(path, &format!("[{index}]"), |path| {
                    coerce(types, inner, value, path)
                })
            })
        }
        // A single value stands for a list of one.
        (BaseType::List(inner), value) => coerce(types, inner, value, path),
        (BaseType::Named(name), value) => named(types, name, value, path),
    }
}

fn named(types: &Types, name: &Name, value: &Value, path: &mut String) -> Result<(), String> {
    match (types.get(name), value) {
        (Some(Kind::Scalar), value) if is_scalar(name, value) => Ok(()),
        (Some(Kind::Scalar), _) => Err(format!("it is not of type \"{name}\"")),
        (Some(Kind::Enum(members)), Value::String(member)) if members.contains(&**member) => Ok(()),
        (Some(Kind::Enum(_)), _) => Err(format!("it is not a value of the enum \"{name}\"")),
        (Some(Kind::Input(input)), Value::Object(_)) => object(types, name, input, value, path),
        (Some(Kind::Input(_)), _) => Err(format!("expected an object of type \"{name}\"")),
        (Some(Kind::Output(_)) | None, _) => Ok(()),
    }
}

fn object(
    types: &Types,
    name: &Name,
    input: &Input,
    value: &Value,
    path: &mut String,
) -> Result<(), String> {
    let Value::Object(fields) = value else {
        return Ok(());
    };
    if fields.keys().any(|key| !input.fields.contains_key(key)) {
        return Err(format!("a field of it is not defined by type \"{name}\""));
    }
    if input.one_of && (fields.len() != 1 || fields.values().any(|field| *field == Value::Null)) {
        return Err(format!("exactly one field of \"{name}\" must be set"));
    }
    input.fields.iter().try_for_each(|(field, declared)| {
        within(path, &format!(".{field}"), |path| match fields.get(field) {
            Some(value) => coerce(types, &declared.ty, value, path),
            None if declared.is_required => Err(format!(
                "required type \"{}\" was not provided",
                declared.ty
            )),
            None => Ok(()),
        })
    })
}

/// The scalars of the specification; others are for their resolvers to judge.
fn is_scalar(name: &str, value: &Value) -> bool {
    match (name, value) {
        ("Int", Value::Number(number)) => number
            .as_i64()
            .is_some_and(|number| i32::try_from(number).is_ok()),
        ("Float", Value::Number(_))
        | ("String" | "ID", Value::String(_))
        | ("Boolean", Value::Boolean(_)) => true,
        ("ID", Value::Number(number)) => number.is_i64() || number.is_u64(),
        ("Int" | "Float" | "String" | "Boolean" | "ID", _) => false,
        _ => true,
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
