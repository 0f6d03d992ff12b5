//! The parameters of a GraphQL request, however they came
//! (<https://graphql.github.io/graphql-over-http/draft/#sec-Request-Parameters>).

use async_graphql::{Request, Value as GraphqlValue, Variables};
use serde_json::{Map, Value};

use super::failure::Failure;

/// One request's parameters, of the right types.
#[derive(Debug)]
pub(super) struct Params {
    /// The text of the document. Absent only where it is [named](super::persisted) instead.
    pub query: Option<String>,
    /// The id of a trusted document.
    pub document_id: Option<String>,
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
            _ => return Err(Failure::malformed("The request must be a JSON object.")),
        };
        let params = Self {
            query: string(&mut members, "query")?,
            document_id: document_id(&mut members)?,
            operation_name: string(&mut members, "operationName")?,
            variables: object(&mut members, "variables")?,
            extensions: object(&mut members, "extensions")?,
        };
        if params.query.is_none()
            && params.document_id.is_none()
            && params.persisted_query().is_none()
        {
            return Err(faulty("query", "The parameter \"query\" is missing."));
        }
        Ok(params)
    }

    /// From the query string of a GET, where `variables` and `extensions` are JSON.
    pub fn from_query_string(query: &str) -> Result<Self, Failure> {
        let mut members = Map::new();
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let value = match &*key {
                "query" | "documentId" | "doc_id" => Value::String(value.into_owned()),
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

    /// What Apollo's protocol says of the document.
    pub fn persisted_query(&self) -> Option<&Value> {
        self.extensions
            .get("persistedQuery")
            .filter(|said| !said.is_null())
    }

    /// Whether `extensions` ask what the operation costs.
    pub fn wants_cost(&self) -> bool {
        self.extensions.get("cost") == Some(&Value::Bool(true))
    }

    /// The request for this document.
    pub fn into_request(self, text: &str) -> Request {
        let variables = Variables::from_json(Value::Object(self.variables));
        let mut request = Request::new(text).variables(variables);
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

/// `documentId` as the draft calls it, or `doc_id` as Relay does.
fn document_id(members: &mut Map<String, Value>) -> Result<Option<String>, Failure> {
    let (id, other) = (string(members, "documentId")?, string(members, "doc_id")?);
    if id.is_some() && other.is_some() && id != other {
        return Err(faulty(
            "documentId",
            "The parameters \"documentId\" and \"doc_id\" name two documents.",
        ));
    }
    Ok(id.or(other))
}

fn string(members: &mut Map<String, Value>, name: &str) -> Result<Option<String>, Failure> {
    match members.remove(name) {
        Some(Value::String(text)) => Ok(Some(text)),
        None | Some(Value::Null) => Ok(None),
        Some(_) => Err(wrong_type(name, "a string")),
    }
}

fn object(members: &mut Map<String, Value>, name: &str) -> Result<Map<String, Value>, Failure> {
    match members.remove(name) {
        Some(Value::Object(members)) => Ok(members),
        None | Some(Value::Null) => Ok(Map::new()),
        Some(_) => Err(wrong_type(name, "an object")),
    }
}

fn wrong_type(name: &str, expected: &str) -> Failure {
    let message = format!("The parameter \"{name}\" must be {expected}.");
    faulty(name, &message)
}

pub(super) fn faulty(name: &str, message: &str) -> Failure {
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
            (json!({"documentId": 1}), "documentId"),
            (json!({"doc_id": ["hush"]}), "doc_id"),
            (json!({"documentId": "a", "doc_id": "hush"}), "doc_id"),
            (json!({"extensions": {"persistedQuery": null}}), "query"),
        ] {
            let failure = Params::from_json(body).expect_err(named);
            assert!(failure.error.message.contains(named));
            assert!(!failure.error.message.contains("hush"));
        }
    }

    #[test]
    fn a_document_may_be_named_instead_of_written() {
        let named = |body| Params::from_json(body).expect("a request").document_id;
        assert_eq!(named(json!({"documentId": "a"})).as_deref(), Some("a"));
        assert_eq!(named(json!({"doc_id": "a"})).as_deref(), Some("a"));
        assert_eq!(
            named(json!({"documentId": "a", "doc_id": "a"})).as_deref(),
            Some("a")
        );
        let hashed = json!({"extensions": {"persistedQuery": {"version": 1}}});
        let params = Params::from_json(hashed).expect("a request");
        assert!(params.query.is_none() && params.persisted_query().is_some());
        for query in ["documentId=a%3Ab", "doc_id=a%3Ab"] {
            let params = Params::from_query_string(query).expect("a request");
            assert_eq!(params.document_id.as_deref(), Some("a:b"));
        }
    }

    #[test]
    fn a_query_string_brings_json_and_each_parameter_once() {
        let params = Params::from_query_string(
            "query=%7B+a+%7D&variables=%7B%22x%22%3A1%7D&operationName=&extensions=%7B%7D&other=1",
        )
        .expect("a request");
        assert_eq!(params.query.as_deref(), Some("{ a }"));
        assert_eq!(params.operation_name, None);
        let request = params.into_request("{ a }");
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
