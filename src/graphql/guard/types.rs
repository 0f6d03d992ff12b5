//! What the guard needs to know of the schema, read once from its text.
//!
//! The library shows its types only to an extension, and a schema that has one pays for it at
//! every field of every answer.

use std::collections::{HashMap, HashSet};

use async_graphql::parser::{
    parse_schema,
    types::{
        BaseType, FieldDefinition, InputValueDefinition, OperationType, SchemaDefinition, Type,
        TypeKind, TypeSystemDefinition,
    },
};
use async_graphql::{Name, Positioned};

#[derive(Debug, Default)]
pub(super) struct Types {
    query: Option<Name>,
    mutation: Option<Name>,
    subscription: Option<Name>,
    named: HashMap<Name, Kind>,
    listed: Listed,
}

/// What introspection lists, and so how large its answers are.
#[derive(Debug, Default)]
struct Listed {
    types: u64,
    fields: u64,
    arguments: u64,
    input_fields: u64,
    enum_values: u64,
}

/// The types of introspection, which a schema's own text leaves out.
const INTROSPECTION: &str = "
type __Schema { description: String types: [__Type!]! queryType: __Type! mutationType: __Type
  subscriptionType: __Type directives: [__Directive!]! }
type __Type { kind: __TypeKind! name: String description: String specifiedByURL: String isOneOf: Boolean
  fields: [__Field!] interfaces: [__Type!] possibleTypes: [__Type!] enumValues: [__EnumValue!]
  inputFields: [__InputValue!] ofType: __Type }
type __Field { name: String! description: String args: [__InputValue!]! type: __Type!
  isDeprecated: Boolean! deprecationReason: String }
type __InputValue { name: String! description: String type: __Type! defaultValue: String
  isDeprecated: Boolean! deprecationReason: String }
type __EnumValue { name: String! description: String isDeprecated: Boolean! deprecationReason: String }
type __Directive { name: String! description: String locations: [__DirectiveLocation!]!
  args: [__InputValue!]! isRepeatable: Boolean! }";

#[derive(Debug)]
pub(super) enum Kind {
    Scalar,
    Enum(HashSet<Name>),
    /// Objects and interfaces. A union has no fields.
    Output(HashMap<Name, Field>),
    Input(Input),
}

#[derive(Debug)]
pub(super) struct Field {
    /// The name of the type, lists and non-nulls unwrapped.
    pub base: Name,
    pub is_list: bool,
    /// Takes `first` or `last`.
    pub is_paged: bool,
    /// Takes a list of `ids`, and has an entry for each.
    pub is_by_ids: bool,
}

#[derive(Debug)]
pub(super) struct Input {
    pub fields: HashMap<Name, InputField>,
    pub one_of: bool,
}

#[derive(Debug)]
pub(super) struct InputField {
    pub ty: Type,
    pub is_required: bool,
}

impl Types {
    /// # Panics
    ///
    /// When the text is not that of a schema.
    pub fn of(sdl: &str) -> Self {
        let document = parse_schema(sdl).expect("the schema's own text is a schema");
        let mut types = Self::default();
        for scalar in ["Int", "Float", "String", "Boolean", "ID"] {
            types.named.insert(Name::new(scalar), Kind::Scalar);
        }
        let introspection = parse_schema(INTROSPECTION).expect("the text above is a schema");
        for definition in introspection.definitions {
            if let TypeSystemDefinition::Type(definition) = definition {
                let name = definition.node.name.node.clone();
                types.named.insert(name, kind(definition.node.kind, false));
            }
        }
        for definition in document.definitions {
            match definition {
                TypeSystemDefinition::Schema(schema) => types.set_roots(schema.node),
                TypeSystemDefinition::Type(definition) => {
                    types.listed.count(&definition.node.kind);
                    let one_of = definition
                        .node
                        .directives
                        .iter()
                        .any(|directive| directive.node.name.node == "oneOf");
                    let kind = kind(definition.node.kind, one_of);
                    types.named.insert(definition.node.name.node, kind);
                }
                TypeSystemDefinition::Directive(_) => {}
            }
        }
        types
    }

    pub fn root(&self, kind: OperationType) -> Option<&Name> {
        match kind {
            OperationType::Query => self.query.as_ref(),
            OperationType::Mutation => self.mutation.as_ref(),
            OperationType::Subscription => self.subscription.as_ref(),
        }
    }

    /// How many entries a list of introspection has: those of one type on average, rounded up.
    pub fn listed(&self, list: &str) -> u64 {
        let Listed {
            types,
            fields,
            arguments,
            input_fields,
            enum_values,
        } = self.listed;
        match list {
            "types" => types,
            "fields" => fields.div_ceil(types.max(1)),
            "args" => arguments.div_ceil(fields.max(1)),
            "inputFields" => input_fields.div_ceil(types.max(1)),
            "enumValues" => enum_values.div_ceil(types.max(1)),
            // Of few types, and few of each.
            _ => 1,
        }
    }

    pub fn get(&self, name: &str) -> Option<&Kind> {
        self.named.get(name)
    }

    pub fn field(&self, parent: &str, name: &str) -> Option<&Field> {
        match self.get(parent)? {
            Kind::Output(fields) => fields.get(name),
            _ => None,
        }
    }

    fn set_roots(&mut self, schema: SchemaDefinition) {
        let name = |root: Option<Positioned<Name>>| root.map(|name| name.node);
        self.query = name(schema.query);
        self.mutation = name(schema.mutation);
        self.subscription = name(schema.subscription);
    }
}

impl Listed {
    fn count(&mut self, kind: &TypeKind) {
        self.types += 1;
        let fields = match kind {
            TypeKind::Object(object) => &object.fields,
            TypeKind::Interface(interface) => &interface.fields,
            TypeKind::InputObject(input) => {
                self.input_fields += input.fields.len() as u64;
                return;
            }
            TypeKind::Enum(definition) => {
                self.enum_values += definition.values.len() as u64;
                return;
            }
            TypeKind::Scalar | TypeKind::Union(_) => return,
        };
        self.fields += fields.len() as u64;
        let arguments = fields.iter().map(|field| field.node.arguments.len() as u64);
        self.arguments += arguments.sum::<u64>();
    }
}

/// The name inside lists and non-nulls.
pub(super) fn base_name(ty: &Type) -> &Name {
    let mut base = &ty.base;
    loop {
        match base {
            BaseType::Named(name) => return name,
            BaseType::List(inner) => base = &inner.base,
        }
    }
}

fn kind(kind: TypeKind, one_of: bool) -> Kind {
    match kind {
        TypeKind::Scalar => Kind::Scalar,
        TypeKind::Enum(definition) => {
            let values = definition.values.into_iter();
            Kind::Enum(values.map(|value| value.node.value.node).collect())
        }
        TypeKind::Object(object) => Kind::Output(fields(object.fields)),
        TypeKind::Interface(interface) => Kind::Output(fields(interface.fields)),
        TypeKind::Union(_) => Kind::Output(HashMap::new()),
        TypeKind::InputObject(input) => Kind::Input(Input {
            fields: input.fields.into_iter().map(input_field).collect(),
            one_of,
        }),
    }
}

fn fields(definitions: Vec<Positioned<FieldDefinition>>) -> HashMap<Name, Field> {
    let field = |definition: Positioned<FieldDefinition>| {
        let definition = definition.node;
        let takes = |name: &str| {
            let mut arguments = definition.arguments.iter();
            arguments.any(|argument| argument.node.name.node == name)
        };
        let ty = &definition.ty.node;
        let field = Field {
            base: base_name(ty).clone(),
            is_list: matches!(ty.base, BaseType::List(_)),
            is_paged: takes("first") || takes("last"),
            is_by_ids: takes("ids"),
        };
        (definition.name.node, field)
    };
    definitions.into_iter().map(field).collect()
}

fn input_field(definition: Positioned<InputValueDefinition>) -> (Name, InputField) {
    let definition = definition.node;
    let field = InputField {
        is_required: !definition.ty.node.nullable && definition.default_value.is_none(),
        ty: definition.ty.node,
    };
    (definition.name.node, field)
}
