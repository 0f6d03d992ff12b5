use std::{borrow::Cow, sync::PoisonError, time::Duration};

use async_graphql::{
    ContextSelectionSet, OutputType, Positioned, ServerError, ServerResult, Value,
    parser::types::Field, registry::Registry,
};
use tokio::time::sleep;

use crate::graphql::{ErrorCode, context::RequestContext};

/// How long to wait before an event is put together again.
const PAUSE: Duration = Duration::from_secs(1);

/// An event whose parts are loaded while it is told. An outage meanwhile is waited out: a subscriber
/// that got an error in place of a snapshot would have nothing, and does not ask again.
pub struct Patient<T>(pub T);

impl<T: OutputType> OutputType for Patient<T> {
    fn type_name() -> Cow<'static, str> {
        T::type_name()
    }

    fn introspection_type_name(&self) -> Cow<'static, str> {
        self.0.introspection_type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        T::create_type_info(registry)
    }

    async fn resolve(
        &self,
        context: &ContextSelectionSet<'_>,
        field: &Positioned<Field>,
    ) -> ServerResult<Value> {
        loop {
            let resolved = self.0.resolve(context, field).await;
            let budget = context.data_opt::<RequestContext>().map(|it| &it.budget);
            if let Some(budget) = budget {
                budget.settle();
            }
            // Those of fields that may be null stand beside the answer.
            let beside = take_errors(context);
            let is_outage =
                resolved.as_ref().is_err_and(is_unavailable) || beside.iter().any(is_unavailable);
            if !is_outage {
                put_errors(context, beside);
                return resolved;
            }
            sleep(PAUSE).await;
            if let Some(budget) = budget {
                budget.renew();
            }
        }
    }
}

fn is_unavailable(error: &ServerError) -> bool {
    let code = error.extensions.as_ref().and_then(|it| it.get("code"));
    code == Some(&Value::from(ErrorCode::Unavailable.as_str()))
}

fn take_errors(context: &ContextSelectionSet<'_>) -> Vec<ServerError> {
    let errors = context.query_env.errors.lock();
    std::mem::take(&mut *errors.unwrap_or_else(PoisonError::into_inner))
}

fn put_errors(context: &ContextSelectionSet<'_>, told: Vec<ServerError>) {
    let errors = context.query_env.errors.lock();
    errors.unwrap_or_else(PoisonError::into_inner).extend(told);
}
