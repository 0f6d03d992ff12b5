//! What tools ask of a schema before they do anything else.

use async_graphql::{Request, Variables};

use super::{Guard, Limits};

/// The query of graphql-js's `getIntrospectionQuery`, which GraphiQL, graphql-codegen,
/// relay-compiler and Apollo's tools send, with these of its options.
fn introspection_query(options: Options) -> String {
    let when = |on: bool, text: &'static str| if on { text } else { "" };
    let description = when(options.descriptions, "description");
    let specified_by = when(options.specified_by_url, "specifiedByURL");
    let repeatable = when(options.directive_is_repeatable, "isRepeatable");
    let schema_description = when(options.schema_description, "description");
    let with_deprecated = when(options.input_value_deprecation, "(includeDeprecated: true)");
    let input_deprecation = when(
        options.input_value_deprecation,
        "isDeprecated deprecationReason",
    );
    let one_of = when(options.one_of, "isOneOf");
    let of_type = format!(
        "kind name{}{}",
        " ofType { kind name".repeat(options.type_depth),
        " }".repeat(options.type_depth)
    );
    format!(
        "query IntrospectionQuery {{ __schema {{ {schema_description} \
           queryType {{ name kind }} mutationType {{ name kind }} subscriptionType {{ name kind }} \
           types {{ ...FullType }} \
           directives {{ name {description} {repeatable} locations \
             args{with_deprecated} {{ ...InputValue }} }} }} }} \
         fragment FullType on __Type {{ kind name {description} {specified_by} {one_of} \
           fields(includeDeprecated: true) {{ name {description} \
             args{with_deprecated} {{ ...InputValue }} \
             type {{ ...TypeRef }} isDeprecated deprecationReason }} \
           inputFields{with_deprecated} {{ ...InputValue }} \
           interfaces {{ ...TypeRef }} \
           enumValues(includeDeprecated: true) {{ name {description} isDeprecated deprecationReason }} \
           possibleTypes {{ ...TypeRef }} }} \
         fragment InputValue on __InputValue {{ name {description} type {{ ...TypeRef }} \
           defaultValue {input_deprecation} }} \
         fragment TypeRef on __Type {{ {of_type} }}"
    )
}

#[derive(Clone, Copy, Debug)]
struct Options {
    descriptions: bool,
    specified_by_url: bool,
    directive_is_repeatable: bool,
    schema_description: bool,
    input_value_deprecation: bool,
    one_of: bool,
    /// 9 where nobody says otherwise.
    type_depth: usize,
}

impl Options {
    /// Where nothing is left out, or everything: enough to see that the schema answers.
    fn is_plainest_or_fullest(&self) -> bool {
        let on = [
            self.descriptions,
            self.specified_by_url,
            self.directive_is_repeatable,
            self.schema_description,
            self.input_value_deprecation,
            self.one_of,
        ];
        on.iter().all(|it| *it) || !on.contains(&true)
    }

    fn all() -> impl Iterator<Item = Self> {
        (0..64_u32).flat_map(|bits| {
            [9, 20].map(|type_depth| Self {
                descriptions: bits & 1 > 0,
                specified_by_url: bits & 2 > 0,
                directive_is_repeatable: bits & 4 > 0,
                schema_description: bits & 8 > 0,
                input_value_deprecation: bits & 16 > 0,
                one_of: bits & 32 > 0,
                type_depth,
            })
        })
    }
}

#[tokio::test]
async fn the_defaults_are_never_hit_by_introspection_with_any_of_its_options() {
    let schema = crate::graphql::builder().finish();
    let guard = Guard::new(Limits::default(), &crate::graphql::sdl());
    for options in Options::all() {
        let query = introspection_query(options);
        let read = guard
            .read(&query)
            .unwrap_or_else(|error| panic!("{options:?}: {error:?}"));
        let checked = guard
            .check(
                read.document,
                Some("IntrospectionQuery"),
                &Variables::default(),
            )
            .unwrap_or_else(|error| panic!("{options:?}: {error:?}"));
        if !options.is_plainest_or_fullest() {
            continue;
        }
        let mut request = Request::new(&query);
        request.set_parsed_query(checked.document);
        let response = schema.execute(request).await;
        assert_eq!(response.errors, [], "{options:?}");
    }
}

/// What is asked beside it: GraphiQL's and Apollo's own type names, and a type alone.
#[test]
fn the_defaults_are_never_hit_by_what_tools_ask_beside_it() {
    let guard = Guard::new(Limits::default(), &crate::graphql::sdl());
    for query in [
        "query SubIntrospection { __schema { queryType { name } } }",
        "query Ping { __typename }",
        "{ __type(name: \"Message\") { fields { name args { name type { name } } \
           type { name kind ofType { name kind ofType { name kind } } } } } }",
    ] {
        let document = guard.read(query).expect(query).document;
        guard
            .check(document, None, &Variables::default())
            .expect(query);
    }
}

#[test]
fn whoever_asks_for_the_schema_many_times_over_pays_for_it() {
    let guard = Guard::new(Limits::default(), &crate::graphql::sdl());
    let check = |document: &str| {
        let document = guard.read(document).expect("readable").document;
        guard.check(document, None, &Variables::default())
    };
    let usual = check(&introspection_query(Options {
        descriptions: true,
        specified_by_url: true,
        directive_is_repeatable: true,
        schema_description: true,
        input_value_deprecation: true,
        one_of: true,
        type_depth: 9,
    }));
    let cost = usual.expect("affordable").cost;
    assert!((1_000..5_000).contains(&cost), "{cost}");

    let fields = "fields { name description type { name ofType { fields { name description } } } }";
    let often: String = (0..128).map(|n| format!("a{n}: {fields} ")).collect();
    let error = check(&format!("{{ __schema {{ types {{ {often} }} }} }}"));
    super::refused_by(&error.map(drop).expect_err("too much"), "cost");
}
