use std::{borrow::Cow, sync::PoisonError, time::Duration};

use async_graphql::{
    ContextSelectionSet, OutputType, Positioned, ServerError, ServerResult, Value,
    parser::types::Field, registry::Registry,
};
use tokio::time::sleep;

use crate::graphql::context::RequestContext;

/// How long to wait before an event is put together again.
const PAUSE: Duration = Duration::from_secs(1);

/// An event whose parts are loaded while it is told. An outage meanwhile is waited out, and so is that
/// the user's other clients leave it no room: a subscriber that got an error in place of a snapshot
/// would have nothing, and does not ask again.
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
            let passes = resolved.as_ref().is_err_and(may_pass) || beside.iter().any(may_pass);
            if !passes {
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

/// The refusals that say when to ask again.
fn may_pass(error: &ServerError) -> bool {
    let extensions = error.extensions.as_ref();
    extensions.is_some_and(|extensions| extensions.get("retryAfter").is_some())
}

fn take_errors(context: &ContextSelectionSet<'_>) -> Vec<ServerError> {
    let errors = context.query_env.errors.lock();
    std::mem::take(&mut *errors.unwrap_or_else(PoisonError::into_inner))
}

fn put_errors(context: &ContextSelectionSet<'_>, told: Vec<ServerError>) {
    let errors = context.query_env.errors.lock();
    errors.unwrap_or_else(PoisonError::into_inner).extend(told);
}

#[cfg(test)]
mod tests {
    use async_graphql::{Error, Pos};

    use super::may_pass;
    use crate::{
        db::DbError,
        graphql::{ApiError, context::too_much_in_flight, context::too_much_text},
        limits::TooMuch,
    };

    #[test]
    fn what_may_pass_is_waited_for_and_nothing_else() {
        let in_flight = |always| too_much_in_flight(TooMuch { most: 1, always });
        for (refusal, passes) in [
            (DbError::TimedOut.into(), true),
            (in_flight(false), true),
            (in_flight(true), false),
            (too_much_text(), false),
            (ApiError::not_found("message"), false),
        ] {
            let error = Error::from(refusal).into_server_error(Pos::default());
            assert_eq!(may_pass(&error), passes, "{error:?}");
        }
    }
}
