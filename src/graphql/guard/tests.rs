mod introspection;
mod price;

use async_graphql::{
    EmptyMutation, ID, InputObject, Object, Request, Schema, ServerError, SimpleObject,
    Subscription, Value, Variables,
};
use futures_util::{Stream, StreamExt, stream};
use serde_json::json;

use super::{Guard, Limits};
use crate::config::DocumentLimits;

struct Query;

#[derive(SimpleObject)]
#[graphql(complex)]
struct Item {
    name: String,
}

#[derive(SimpleObject)]
struct ItemConnection {
    nodes: Vec<Item>,
}

#[derive(InputObject)]
struct Filter {
    title: String,
    #[graphql(default = 3)]
    count: i32,
    nested: Option<Box<Filter>>,
}

#[async_graphql::ComplexObject]
impl Item {
    async fn items(&self, first: Option<i32>, last: Option<i32>) -> ItemConnection {
        let _ = (first, last);
        ItemConnection { nodes: Vec::new() }
    }
}

#[Object]
impl Query {
    async fn item(&self) -> Item {
        Item {
            name: "one".to_owned(),
        }
    }

    async fn items(&self, first: Option<i32>) -> ItemConnection {
        let _ = first;
        ItemConnection { nodes: Vec::new() }
    }

    async fn nodes(&self, ids: Vec<ID>) -> Vec<Option<Item>> {
        ids.iter().map(|_| None).collect()
    }

    async fn find(&self, filter: Filter) -> String {
        filter.title
    }
}

struct Ticks;

#[Subscription]
impl Ticks {
    async fn tick(&self) -> impl Stream<Item = i32> {
        stream::iter([1, 2])
    }

    async fn tock(&self) -> impl Stream<Item = i32> {
        stream::iter([3])
    }
}

fn schema() -> Schema<Query, EmptyMutation, Ticks> {
    Schema::new(Query, EmptyMutation, Ticks)
}

fn guard() -> Guard {
    Guard::new(Limits::default(), &schema().sdl())
}

fn request(query: &str, variables: serde_json::Value) -> Result<Request, ServerError> {
    let guard = guard();
    let mut request = Request::new(query).variables(Variables::from_json(variables));
    let checked = guard.check(guard.read(query)?.document, None, &request.variables)?;
    request.set_parsed_query(checked.document);
    Ok(request)
}

fn extension<'a>(error: &'a ServerError, key: &str) -> Option<&'a Value> {
    error.extensions.as_ref()?.get(key)
}

fn refused_by(error: &ServerError, limit: &str) {
    assert_eq!(
        extension(error, "code"),
        Some(&Value::from("LIMIT_EXCEEDED")),
        "{error:?}"
    );
    assert_eq!(extension(error, "limit"), Some(&Value::from(limit)));
    assert!(extension(error, "value").is_some());
    let documentation = format!("docs/limits.md#{}", limit.to_lowercase());
    assert_eq!(
        extension(error, "documentation"),
        Some(&Value::from(documentation))
    );
}

fn refusal(source: &str) -> ServerError {
    guard().read(source).expect_err(source)
}

/// The first error that the schema gives, through both halves of the guard.
async fn answer(query: &str, variables: serde_json::Value) -> Result<Value, ServerError> {
    let mut response = schema().execute(request(query, variables)?).await;
    match response.errors.pop() {
        Some(error) => Err(error),
        None => Ok(response.data),
    }
}

fn fan_out(levels: usize) -> String {
    let mut source = String::from("{ item { ...F0 } }");
    for level in 0..levels {
        let next = level + 1;
        source.push_str(&format!(
            " fragment F{level} on Item {{ ...F{next} ...F{next} }}"
        ));
    }
    source.push_str(&format!(" fragment F{levels} on Item {{ name }}"));
    source
}

#[test]
fn a_fan_out_of_thirty_fragments_is_refused_with_work_linear_in_its_length() {
    let guard = guard();
    let source = fan_out(30);
    let error = guard.read(&source).expect_err("2^30 fields");
    refused_by(&error, "fields");
    assert!(guard.work() < 1_000, "{} steps", guard.work());
}

#[test]
fn a_chain_of_fragments_is_refused_before_it_can_exhaust_the_stack() {
    let mut source = String::from("{ item { name } }");
    for level in 0..150 {
        let next = level + 1;
        source.push_str(&format!(" fragment F{level} on Item {{ ...F{next} }}"));
    }
    refused_by(&refusal(&source), "nesting");
}

#[test]
fn fragments_that_spread_themselves_are_refused() {
    let error = refusal(
        "{ item { ...A } } fragment A on Item { ...B ...B } fragment B on Item { ...A ...A }",
    );
    assert_eq!(
        extension(&error, "code"),
        Some(&Value::from("GRAPHQL_VALIDATION_FAILED"))
    );
    assert!(error.message.contains("cannot be spread within itself"));
}

#[test]
fn deep_brackets_of_every_kind_are_refused_before_the_parser_recurses() {
    for source in [
        "{a".repeat(200_000),
        format!("{{ a(b: {}", "[".repeat(200_000)),
        format!("{{ a(b: {}", "{c:".repeat(200_000)),
        format!("query ($a: {}", "[".repeat(200_000)),
        // An unterminated block string must not hide them: the parser could read it as an empty
        // string and a short one.
        format!("{{ a(b: [\"\"\"x\" {}", "[".repeat(200_000)),
    ] {
        let error = refusal(&source);
        let code = extension(&error, "code").cloned();
        assert!(
            code == Some(Value::from("LIMIT_EXCEEDED"))
                || code == Some(Value::from("GRAPHQL_PARSE_FAILED")),
            "{error:?}"
        );
        assert!(error.message.len() < 200);
    }
}

#[test]
fn what_the_limits_allow_does_not_exhaust_a_small_stack() {
    let brackets = 59;
    let source = format!(
        "{{ a(b: {}{}) }}",
        "[".repeat(brackets - 1),
        "]".repeat(brackets - 1)
    );
    std::thread::Builder::new()
        .stack_size(1 << 20)
        .spawn(move || guard().read(&source).map(drop))
        .expect("a thread")
        .join()
        .expect("no overflow")
        .expect("within the limits");
}

#[test]
fn aliases_directives_fields_tokens_names_and_definitions_have_limits() {
    let many = |count: usize, one: &dyn Fn(usize) -> String| {
        (0..count).map(one).collect::<Vec<_>>().join(" ")
    };
    let aliases = many(1_000, &|index| format!("a{index}: __typename"));
    refused_by(&refusal(&format!("{{ item {{ {aliases} }} }}")), "aliases");
    refused_by(&refusal(&format!("{{ {aliases} }}")), "aliases");
    let roots = many(51, &|_| "item { name }".to_owned());
    refused_by(&refusal(&format!("{{ {roots} }}")), "rootFields");
    let fields = many(2_001, &|_| "name".to_owned());
    refused_by(&refusal(&format!("{{ item {{ {fields} }} }}")), "fields");
    let directives = many(201, &|_| "@skip(if: false)".to_owned());
    refused_by(
        &refusal(&format!("{{ item {directives} {{ name }} }}")),
        "directives",
    );
    let tokens = many(20_000, &|_| "a".to_owned());
    refused_by(&refusal(&format!("{{ {tokens} }}")), "tokens");
    refused_by(&refusal(&format!("{{ {} }}", "a".repeat(256))), "nameBytes");
    let operations = many(201, &|index| {
        format!("query Q{index} {{ item {{ name }} }}")
    });
    refused_by(&refusal(&operations), "definitions");
    let deep = format!("{}name{}", "{ items ".repeat(22), "}".repeat(22));
    refused_by(&refusal(&deep), "depth");
}

#[test]
fn repeated_fields_of_an_input_object_are_refused() {
    let error = refusal(r#"{ find(filter: {title: "a", nested: {title: "b"}, title: "c"}) }"#);
    assert!(
        error
            .message
            .contains("only one input field named \"title\"")
    );
    let error = refusal(r#"query ($f: Filter = {title: "a" title: "b"}) { find(filter: $f) }"#);
    assert!(error.message.contains("title"));
    guard()
        .read(r#"{ find(filter: {title: title, nested: {title: "b"}}) item { title: name } }"#)
        .expect("each object has its own fields");
}

#[test]
fn a_syntax_error_says_where_and_never_quotes_the_document() {
    let error = refusal("{ item { secretName(: } }");
    assert_eq!(
        extension(&error, "code"),
        Some(&Value::from("GRAPHQL_PARSE_FAILED"))
    );
    assert!(!error.message.contains("secretName"), "{}", error.message);
    assert!(!error.message.contains('\n'));
    assert_eq!(error.locations.len(), 1);
}

#[tokio::test]
async fn pages_multiply_the_cost() {
    let nested = |size: u32| {
        format!(
            "{{ items(first: {size}) {{ nodes {{ items(first: {size}) {{ nodes {{ items(last: {size}) {{ nodes {{ name }} }} }} }} }} }} }}"
        )
    };
    answer(&nested(10), json!({}))
        .await
        .expect("a thousand entries");
    refused_by(
        &answer(&nested(100), json!({}))
            .await
            .expect_err("a million"),
        "cost",
    );
    // Neither a variable, nor its default, nor the absence of a size hides a page.
    for query in [
        "query ($n: Int) { items(first: $n) { nodes { items(first: $n) { nodes { items(first: $n) { nodes { name } } } } } } }",
        "query ($m: Int = 100) { items(first: $m) { nodes { items(first: $m) { nodes { items(first: $m) { nodes { name } } } } } } }",
        "{ items { nodes { items { nodes { items { nodes { items { nodes { name } } } } } } } } }",
    ] {
        let error = answer(query, json!({"n": 100})).await.expect_err(query);
        refused_by(&error, "cost");
    }
}

#[tokio::test]
async fn variables_are_refused_with_their_place_and_without_their_value() {
    let query = "query ($f: Filter!) { find(filter: $f) }";
    for (given, argument) in [
        (json!({}), "f"),
        (json!({"f": null}), "f"),
        (json!({"f": "hush"}), "f"),
        (json!({"f": {"title": ["hush"]}}), "f.title"),
        (
            json!({"f": {"title": "a", "nested": {"count": 1}}}),
            "f.nested.title",
        ),
        (json!({"f": {"title": "a", "hush": 1}}), "f"),
        (json!({"f": {"title": "a", "count": "hush"}}), "f.count"),
    ] {
        let error = answer(query, given.clone()).await.expect_err("refused");
        assert_eq!(
            extension(&error, "code"),
            Some(&Value::from("BAD_USER_INPUT")),
            "{given}: {error:?}"
        );
        assert_eq!(extension(&error, "argument"), Some(&Value::from(argument)));
        assert!(!error.message.contains("hush"), "{}", error.message);
    }
    answer(
        query,
        json!({"f": {"title": "a", "nested": {"title": "b"}}, "unused": 1}),
    )
    .await
    .expect("good variables");
}

async fn events(query: &str) -> Result<usize, ServerError> {
    let request = request(query, json!({}))?;
    let mut responses: Vec<_> = schema().execute_stream(request).collect().await;
    match responses
        .iter_mut()
        .find_map(|response| response.errors.pop())
    {
        Some(error) => Err(error),
        None => Ok(responses.len()),
    }
}

#[tokio::test]
async fn a_subscription_has_one_root_field_and_may_have_it_in_a_fragment() {
    assert_eq!(events("subscription { tick }").await, Ok(2));
    assert_eq!(events("subscription { tick tick }").await, Ok(2));
    assert_eq!(
        events("subscription { ... on Ticks { tick } }").await,
        Ok(2)
    );
    assert_eq!(
        events("subscription { ...T } fragment T on Ticks { tick }").await,
        Ok(2)
    );
    for query in [
        "subscription S { tick tock }",
        "subscription { tick again: tick }",
        "subscription { tick ...T } fragment T on Ticks { tock }",
        "subscription { tick @include(if: true) }",
        "subscription { ...T } fragment T on Item { name }",
        "subscription { __typename }",
    ] {
        events(query).await.expect_err(query);
    }
}

#[tokio::test]
async fn a_root_fragment_may_be_shared_by_several_subscriptions() {
    for query in [
        "subscription A { ...F } subscription B { ...F } fragment F on Ticks { tick }",
        "subscription A { ...F } subscription B { ...G } \
         fragment F on Ticks { ...G } fragment G on Ticks { tick }",
        "subscription B { ...G } subscription A { ...F } \
         fragment F on Ticks { ...G } fragment G on Ticks { ... on Ticks { tick } }",
        "subscription A { ...F } query B { item { ...I } } \
         fragment F on Ticks { tick } fragment I on Item { name }",
    ] {
        let guard = guard();
        let document = guard.read(query).expect("a document").document;
        let checked = guard
            .check(document, Some("A"), &Variables::default())
            .expect("one root field");
        let mut request = Request::new(query).operation_name("A");
        request.set_parsed_query(checked.document);
        let responses: Vec<_> = schema().execute_stream(request).collect().await;
        for response in &responses {
            assert_eq!(response.errors, [], "{query}");
        }
        assert_eq!(responses.len(), 2, "{query}");
    }
    // What nothing spreads is still refused, whatever it spreads itself.
    for query in [
        "subscription { ...F } fragment F on Ticks { tick } fragment U on Ticks { tick }",
        "subscription { ...F } fragment F on Ticks { tick } fragment U on Ticks { ...F }",
    ] {
        let request = request(query, json!({})).expect("one root field");
        let responses: Vec<_> = schema().execute_stream(request).collect().await;
        let mut errors = responses.iter().flat_map(|response| &response.errors);
        assert!(
            errors.any(|error| error.message.contains("\"U\"")),
            "{responses:?}"
        );
    }
}

#[tokio::test]
async fn introspection_passes_as_tools_send_it_and_not_as_a_cycle() {
    // typeDepth 20: what code generators ask for at most.
    let of_type = format!(
        "{}kind{}",
        "kind name ofType { ".repeat(20),
        " }".repeat(20)
    );
    let query = format!(
        "query IntrospectionQuery {{ __schema {{ description queryType {{ name kind }} mutationType {{ name kind }} subscriptionType {{ name kind }} types {{ ...FullType }} directives {{ name description isRepeatable locations args(includeDeprecated: true) {{ ...InputValue }} }} }} }}
         fragment FullType on __Type {{ kind name description specifiedByURL fields(includeDeprecated: true) {{ name description args(includeDeprecated: true) {{ ...InputValue }} type {{ ...TypeRef }} isDeprecated deprecationReason }} inputFields(includeDeprecated: true) {{ ...InputValue }} interfaces {{ ...TypeRef }} enumValues(includeDeprecated: true) {{ name description isDeprecated deprecationReason }} possibleTypes {{ ...TypeRef }} }}
         fragment InputValue on __InputValue {{ name description type {{ ...TypeRef }} defaultValue isDeprecated deprecationReason }}
         fragment TypeRef on __Type {{ {of_type} }}"
    );
    answer(&query, json!({})).await.expect("introspection");
    refused_by(
        &refusal(
            "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }",
        ),
        "introspectionLists",
    );
}

#[test]
fn limits_can_be_chosen() {
    let limits = DocumentLimits {
        fields: 1,
        ..DocumentLimits::default()
    };
    let guard = Guard::new(limits.into(), &schema().sdl());
    guard.read("{ item }").expect("one field");
    refused_by(&guard.read("{ item { name } }").expect_err("two"), "fields");
}
