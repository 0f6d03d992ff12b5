//! The committed schema is the one that the server has.

#[test]
fn schema_graphql_is_up_to_date() {
    let committed = include_str!("../../schema.graphql");
    assert!(
        committed == loquat::graphql::sdl(),
        "schema.graphql is out of date: run `make schema`"
    );
}
