//! The schema, read from its own text: what there is to have a case for.

use std::collections::{BTreeMap, BTreeSet};

use async_graphql::{
    Positioned, Value as Given,
    parser::{
        parse_query, parse_schema,
        types::{
            BaseType, Field as Selected, FieldDefinition, OperationType, Selection, SelectionSet,
            Type as Reference, TypeKind, TypeSystemDefinition,
        },
    },
};
use serde_json::Value;

/// How many rows of a list are asked for.
const PAGE: u32 = 5;

pub struct Schema {
    types: BTreeMap<String, Type>,
}

enum Type {
    Leaf,
    Object {
        fields: BTreeMap<String, Field>,
        implements: Vec<String>,
    },
    /// An interface or a union.
    Abstract,
    /// The name of each field's type.
    Input(BTreeMap<String, String>),
}

struct Field {
    /// The name of its type, without lists and non-nulls.
    of: String,
    /// The name of each argument's type, and whether it must be given.
    arguments: BTreeMap<String, (String, bool)>,
}

impl Schema {
    pub fn read() -> Self {
        let document = parse_schema(loquat::graphql::sdl()).expect("the schema's own text");
        let mut types: BTreeMap<String, Type> = ["Int", "Float", "String", "Boolean", "ID"]
            .map(|name| (name.to_owned(), Type::Leaf))
            .into();
        for definition in document.definitions {
            let TypeSystemDefinition::Type(definition) = definition else {
                continue;
            };
            let kind = match definition.node.kind {
                TypeKind::Scalar | TypeKind::Enum(_) => Type::Leaf,
                TypeKind::Interface(_) | TypeKind::Union(_) => Type::Abstract,
                TypeKind::InputObject(input) => Type::Input(
                    input
                        .fields
                        .into_iter()
                        .map(|field| (field.node.name.to_string(), base(&field.node.ty.node)))
                        .collect(),
                ),
                TypeKind::Object(object) => Type::Object {
                    fields: object.fields.into_iter().map(field).collect(),
                    implements: object
                        .implements
                        .iter()
                        .map(|name| name.node.to_string())
                        .collect(),
                },
            };
            types.insert(definition.node.name.to_string(), kind);
        }
        Self { types }
    }

    /// The types that implement `Node`.
    pub fn nodes(&self) -> Vec<String> {
        let is_node = |kind: &Type| match kind {
            Type::Object { implements, .. } => implements.iter().any(|name| name == "Node"),
            _ => false,
        };
        let mut nodes: Vec<String> = self.types.keys().cloned().collect();
        nodes.retain(|name| is_node(&self.types[name]));
        nodes
    }

    /// All that must stand in some case: every field, and every argument and input field by which
    /// a client can name a thing or a place in a list.
    pub fn everything_to_try(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for (name, kind) in &self.types {
            match kind {
                Type::Object { fields, .. } => {
                    for (field, Field { arguments, .. }) in fields {
                        found.insert(format!("{name}.{field}"));
                        for (argument, (of, _)) in arguments {
                            if names_a_thing(argument, of) {
                                found.insert(format!("{name}.{field}({argument})"));
                            }
                        }
                    }
                }
                Type::Input(fields) => {
                    for (field, of) in fields {
                        if names_a_thing(field, of) {
                            found.insert(format!("{name}.{field}"));
                        }
                    }
                }
                Type::Leaf | Type::Abstract => {}
            }
        }
        found
    }

    /// Writes out each `*Type` of a document: all fields of the type, and all that lies below them.
    /// A type that has been written out before has its texts and numbers alone.
    pub fn expand(&self, document: &str) -> String {
        let mut parts = document.split('*');
        let mut expanded = parts.next().unwrap_or_default().to_owned();
        let mut seen = BTreeSet::new();
        for part in parts {
            let end = part
                .find(|c: char| !c.is_ascii_alphanumeric())
                .unwrap_or(part.len());
            let (name, rest) = part.split_at(end);
            expanded.push_str(&self.whole(name, &mut seen));
            expanded.push_str(rest);
        }
        expanded
    }

    fn whole(&self, name: &str, seen: &mut BTreeSet<String>) -> String {
        let first_time = seen.insert(name.to_owned());
        let mut text = "__typename".to_owned();
        for (field, Field { of, arguments }) in self.fields(name) {
            if arguments.values().any(|(_, required)| *required) {
                continue;
            }
            let below = match &self.types[of] {
                Type::Leaf | Type::Input(_) => String::new(),
                _ if !first_time => continue,
                Type::Abstract => " { __typename }".to_owned(),
                Type::Object { .. } => format!(" {{ {} }}", self.whole(of, seen)),
            };
            let page = if arguments.contains_key("first") {
                format!("(first: {PAGE})")
            } else {
                String::new()
            };
            text.push_str(&format!(" {field}{page}{below}"));
        }
        text
    }

    fn fields(&self, name: &str) -> &BTreeMap<String, Field> {
        match self.types.get(name) {
            Some(Type::Object { fields, .. }) => fields,
            _ => panic!("{name} is no object type of the schema"),
        }
    }

    /// What a document tries of [`Self::everything_to_try`]. An argument counts only where it is
    /// given a thing of the owner's.
    pub fn tried_by(&self, document: &str, variables: &Value) -> BTreeSet<String> {
        let document = parse_query(document).unwrap_or_else(|error| panic!("{document}: {error}"));
        let (_, operation) = document.operations.iter().next().expect("an operation");
        let root = match operation.node.ty {
            OperationType::Query => "Query",
            OperationType::Mutation => "Mutation",
            OperationType::Subscription => "Subscription",
        };
        let mut walk = Walk {
            schema: self,
            variables,
            tried: BTreeSet::new(),
        };
        walk.selections(root, &operation.node.selection_set.node);
        walk.tried
    }
}

/// Ids are typed; a cursor is the only other name of a row, and is called one of these two.
fn names_a_thing(argument: &str, of: &str) -> bool {
    of == "ID" || (of == "String" && matches!(argument, "after" | "before"))
}

fn field(definition: Positioned<FieldDefinition>) -> (String, Field) {
    let definition = definition.node;
    let arguments = definition.arguments.into_iter().map(|argument| {
        let argument = argument.node;
        let required = !argument.ty.node.nullable && argument.default_value.is_none();
        (
            argument.name.to_string(),
            (base(&argument.ty.node), required),
        )
    });
    let field = Field {
        of: base(&definition.ty.node),
        arguments: arguments.collect(),
    };
    (definition.name.to_string(), field)
}

fn base(reference: &Reference) -> String {
    match &reference.base {
        BaseType::Named(name) => name.to_string(),
        BaseType::List(inner) => base(inner),
    }
}

struct Walk<'s> {
    schema: &'s Schema,
    variables: &'s Value,
    tried: BTreeSet<String>,
}

impl Walk<'_> {
    fn selections(&mut self, on: &str, set: &SelectionSet) {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => self.field(on, &field.node),
                Selection::InlineFragment(fragment) => {
                    let condition = fragment.node.type_condition.as_ref();
                    let on = condition.map_or(on, |condition| &condition.node.on.node);
                    self.selections(on, &fragment.node.selection_set.node);
                }
                Selection::FragmentSpread(_) => panic!("cases are written without fragments"),
            }
        }
    }

    fn field(&mut self, on: &str, selected: &Selected) {
        let name = selected.name.node.as_str();
        let Some(Type::Object { fields, .. }) = self.schema.types.get(on) else {
            return;
        };
        let Some(field) = fields.get(name) else {
            return;
        };
        self.tried.insert(format!("{on}.{name}"));
        for (argument, literal) in &selected.arguments {
            let argument = argument.node.as_str();
            let Some((of, _)) = field.arguments.get(argument) else {
                continue;
            };
            let given = literal
                .node
                .clone()
                .into_const_with(|variable| {
                    Given::from_json(self.variables[variable.as_str()].clone())
                })
                .expect("a value");
            self.given(&format!("{on}.{name}({argument})"), of, &given);
        }
        self.selections(&field.of, &selected.selection_set.node);
    }

    fn given(&mut self, place: &str, of: &str, given: &Given) {
        match (given, self.schema.types.get(of)) {
            (Given::Object(members), Some(Type::Input(fields))) => {
                for (member, value) in members {
                    if let Some(inner) = fields.get(member.as_str()) {
                        self.given(&format!("{of}.{member}"), inner, value);
                    }
                }
            }
            (Given::List(items), _) => {
                for item in items {
                    self.given(place, of, item);
                }
            }
            // Stands for a thing of the owner's: see `things.rs`.
            (Given::String(text), _) if text.starts_with('$') => {
                self.tried.insert(place.to_owned());
            }
            _ => {}
        }
    }
}
