//! The parameters of a GraphQL request, however they came
//! (<https://graphql.github.io/graphql-over-http/draft/#sec-Request-Parameters>).

use async_graphql::{Request, Value as GraphqlValue, Variables};
use serde_json::{Map, Value};

use super::failure::Failure;

/// One request's parameters, of the right types.
#[derive(Debug)]
pub(super) struct Params {
    pub query: String,
    pub operation_name: Option<String>,
    pub variables: Map<String, Value>,
    pub extensions: Map<String, Value>,
}

impl Params {
    /// From a JSON value: the body of a POST, the payload of a `subscribe`. Members that it does
    /// not know are ignored, as the draft asks.
    pub fn from_json(value: Value) -> Result<Self, Failure> {
        let mut members = match value {
            Value::Object(members) => members,
            Value::Array(_) => {
                return Err(Failure::malformed(
                    "Batches are not supported: send one operation a request.",
                ));
            }
            _ => return Err(Failure::malformed("The request must be a JSON object.")),
        };
        Ok(Self {
            query: match members.remove("query") {
                Some(Value::String(query)) => query,
                None | Some(Value::Null) => {
                    return Err(faulty("query", "The parameter \"query\" is missing."));
                }
                Some(_) => return Err(wrong_type("query", "a string")),
            },
            operation_name: match members.remove("operationName") {
                Some(Value::String(name)) => Some(name),
                None | Some(Value::Null) => None,
                Some(_) => return Err(wrong_type("operationName", "a string")),
            },
            variables: object(members.remove("variables"), "variables")?,
            extensions: object(members.remove("extensions"), "extensions")?,
        })
    }

    /// From the query string of a GET, where `variables` and `extensions` are JSON.
    pub fn from_query_string(query: &str) -> Result<Self, Failure> {
        let mut members = Map::new();
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let value = match &*key {
                "query" => Value::String(value.into_owned()),
                "operationName" if value.is_empty() => Value::Null,
                "operationName" => Value::String(value.into_owned()),
                "variables" | "extensions" => serde_json::from_str(&value)
                    .map_err(|_| faulty(&key, &format!("The parameter \"{key}\" must be JSON.")))?,
                _ => continue,
            };
            if members.insert(key.clone().into_owned(), value).is_some() {
                let message = format!("The parameter \"{key}\" is given more than once.");
                return Err(faulty(&key, &message));
            }
        }
        Self::from_json(Value::Object(members))
    }

    pub fn into_request(self) -> Request {
        let variables = Variables::from_json(Value::Object(self.variables));
        let mut request = Request::new(self.query).variables(variables);
        request.operation_name = self.operation_name;
        for (key, value) in self.extensions {
            // Every JSON value is a GraphQL value.
            if let Ok(value) = GraphqlValue::from_json(value) {
                request.extensions.insert(key, value);
            }
        }
        request
    }
}

fn object(value: Option<Value>, name: &str) -> Result<Map<String, Value>, Failure> {
    match value {
        Some(Value::Object(members)) => Ok(members),
        None | Some(Value::Null) => Ok(Map::new()),
        Some(_) => Err(wrong_type(name, "an object")),
    }
}

fn wrong_type(name: &str, expected: &str) -> Failure {
    let message = format!("The parameter \"{name}\" must be {expected}.");
    faulty(name, &message)
}

fn faulty(name: &str, message: &str) -> Failure {
    let mut failure = Failure::malformed(message);
    failure.set("argument", name);
    failure
}

#[cfg(test)]
mod tests {
    use async_graphql::Value as GraphqlValue;
    use serde_json::json;

    use super::Params;

    #[test]
    fn nulls_count_as_absent_and_unknown_members_are_ignored() {
        let params = Params::from_json(json!({
            "query": "{ a }", "operationName": null, "variables": null, "extensions": null, "id": 1
        }))
        .expect("a request");
        assert_eq!(params.operation_name, None);
        assert!(params.variables.is_empty() && params.extensions.is_empty());
    }

    #[test]
    fn what_is_wrong_is_named_and_not_repeated() {
        for (body, named) in [
            (json!("hush"), "object"),
            (json!([{"query": "{ hush }"}]), "Batches"),
            (json!({}), "query"),
            (json!({"query": ["hush"]}), "query"),
            (json!({"query": "{ a }", "variables": "hush"}), "variables"),
            (
                json!({"query": "{ a }", "variables": ["hush"]}),
                "variables",
            ),
            (
                json!({"query": "{ a }", "operationName": {"hush": 1}}),
                "operationName",
            ),
            (json!({"query": "{ a }", "extensions": [1]}), "extensions"),
        ] {
            let failure = Params::from_json(body).expect_err(named);
            assert!(failure.error.message.contains(named));
            assert!(!failure.error.message.contains("hush"));
        }
    }

    #[test]
    fn a_query_string_brings_json_and_each_parameter_once() {
        let params = Params::from_query_string(
            "query=%7B+a+%7D&variables=%7B%22x%22%3A1%7D&operationName=&extensions=%7B%7D&other=1",
        )
        .expect("a request");
        assert_eq!(params.query, "{ a }");
        assert_eq!(params.operation_name, None);
        let request = params.into_request();
        assert_eq!(request.variables["x"], GraphqlValue::from(1));
        for bad in [
            "",
            "variables={}",
            "query={a}&query={b}",
            "query={a}&variables=x",
        ] {
            Params::from_query_string(bad).expect_err(bad);
        }
    }
}
