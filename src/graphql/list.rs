//! A list whose errors say exactly where they happened.

use async_graphql::{
    ContextSelectionSet, OutputType, Positioned, ServerError, ServerResult, Value,
    parser::types::Field, registry::Registry,
};
use futures_util::future::try_join_all;
use std::borrow::Cow;

/// What a field returns instead of a `Vec` of objects.
///
/// The library's own lists overwrite the path of an error that passes through them: an error at
/// `nodes[3].messages` would be reported at `nodes[3]`. This one leaves the path alone.
pub struct List<T>(pub Vec<T>);

impl<T> FromIterator<T> for List<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self(items.into_iter().collect())
    }
}

impl<T: OutputType> OutputType for List<T> {
    fn type_name() -> Cow<'static, str> {
        Cow::Owned(format!("[{}]", T::qualified_type_name()))
    }

    fn create_type_info(registry: &mut Registry) -> String {
        T::create_type_info(registry);
        Self::qualified_type_name()
    }

    async fn resolve(
        &self,
        context: &ContextSelectionSet<'_>,
        field: &Positioned<Field>,
    ) -> ServerResult<Value> {
        let items = self.0.iter().enumerate().map(|(index, item)| {
            let context = context.with_index(index);
            async move {
                let resolved = item.resolve(&context, field).await;
                resolved.map_err(|error| at_least_here(error, &context))
            }
        });
        Ok(Value::List(try_join_all(items).await?))
    }
}

/// An item that is no object may fail without saying where.
fn at_least_here(error: ServerError, context: &ContextSelectionSet<'_>) -> ServerError {
    if error.path.is_empty() {
        context.set_error_path(error)
    } else {
        error
    }
}
