//! The half of the guard that knows the schema. It runs before the library's validation, for
//! every request that reaches the schema, over whatever transport.

use std::sync::Arc;

use async_graphql::{
    Positioned, Request, ServerResult,
    extensions::{Extension, ExtensionContext, ExtensionFactory, NextPrepareRequest},
    parser::types::{DocumentOperations, ExecutableDocument, OperationDefinition, OperationType},
};

use super::{Guard, Limit, Refusal, cost, subscription, variables};

/// Made by [`Guard::extension`].
#[derive(Clone, Debug)]
pub struct GuardExtension {
    guard: Guard,
}

impl GuardExtension {
    pub(super) fn new(guard: Guard) -> Self {
        Self { guard }
    }
}

impl ExtensionFactory for GuardExtension {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(self.clone())
    }
}

#[async_graphql::async_trait::async_trait]
impl Extension for GuardExtension {
    async fn prepare_request(
        &self,
        ctx: &ExtensionContext<'_>,
        request: Request,
        next: NextPrepareRequest<'_>,
    ) -> ServerResult<Request> {
        let mut request = next.run(ctx, request).await?;
        let registry = &ctx.schema_env.registry;
        let name = request.operation_name.clone();
        // The document borrows the request, and the variables do too.
        let given = std::mem::take(&mut request.variables);
        let document = request.parsed_query()?;
        let mut rewritten = None;
        // That no operation has the name is for the library to say.
        if let Some(operation) = select(document, name.as_deref()) {
            variables::check(registry, &operation.node, &given)?;
            let (cost, visited) = cost::of(registry, document, &operation.node, &given);
            self.guard.count(visited);
            let limit = self.guard.limits().cost;
            if cost > limit {
                return Err(Refusal::Limit {
                    limit: Limit::Cost,
                    value: limit,
                    at: Some(operation.pos),
                }
                .into());
            }
            if operation.node.ty == OperationType::Subscription {
                rewritten = subscription::with_one_root_field(
                    document,
                    name.as_deref(),
                    registry.subscription_type.as_deref(),
                )?;
            }
        }
        if let Some(document) = rewritten {
            request.set_parsed_query(document);
        }
        request.variables = given;
        Ok(request)
    }
}

/// The operation that the request names, or the only one.
pub(super) fn select<'a>(
    document: &'a ExecutableDocument,
    name: Option<&str>,
) -> Option<&'a Positioned<OperationDefinition>> {
    match (&document.operations, name) {
        (DocumentOperations::Single(operation), None) => Some(operation),
        (DocumentOperations::Single(_), Some(_)) => None,
        (DocumentOperations::Multiple(operations), Some(name)) => operations.get(name),
        (DocumentOperations::Multiple(operations), None) if operations.len() == 1 => {
            operations.values().next()
        }
        (DocumentOperations::Multiple(_), None) => None,
    }
}
