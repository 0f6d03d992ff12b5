//! What a credential must allow, said once for a whole root object: a field that is added to one
//! cannot forget it.
//!
//! Invariant: the root types hold [`Guarded`] objects alone. What depends on more than the field,
//! such as whose thing it is, belongs to the chat and the accounts.

use std::{borrow::Cow, collections::HashMap};

use async_graphql::{
    ContainerType, Context, ContextSelectionSet, Error, ObjectType, OutputType, Positioned,
    Response, ServerError, ServerResult, SubscriptionType, Value, parser::types::Field,
    registry::Registry, resolver_utils::resolve_container,
};
use futures_util::stream::{self, BoxStream, StreamExt};

use super::{
    ApiError,
    context::{accounts, request_context},
};
use crate::model::{AuditAction, Right};

/// A root object, every field of which needs the same right.
///
/// The library's own guards fail a field as if it could not be null, which takes down the rest of
/// the answer: also what other mutations of the same document have done.
pub struct Guarded<T> {
    object: T,
    right: Right,
    /// The object's fields, and whether each may be null: objects that are merged into one are
    /// asked for each other's fields too.
    fields: HashMap<String, bool>,
}

impl<T: ObjectType> Guarded<T> {
    pub fn new(right: Right, object: T) -> Self {
        let mut registry = Registry::default();
        T::create_type_info(&mut registry);
        let fields = registry.types[&*T::type_name()]
            .fields()
            .expect("a root is an object")
            .iter()
            .map(|(name, field)| (name.clone(), !field.ty.ends_with('!')))
            .collect();
        Self {
            object,
            right,
            fields,
        }
    }
}

impl<T: ObjectType> ContainerType for Guarded<T> {
    async fn resolve_field(&self, context: &Context<'_>) -> ServerResult<Option<Value>> {
        let name = context.item.node.name.node.as_str();
        let Some(nullable) = self.fields.get(name) else {
            return Ok(None);
        };
        match require(context, self.right) {
            Ok(()) => self.object.resolve_field(context).await,
            Err(error) if *nullable => {
                context.add_error(here(context, error));
                Ok(Some(Value::Null))
            }
            Err(error) => Err(here(context, error)),
        }
    }
}

impl<T: ObjectType> OutputType for Guarded<T> {
    fn type_name() -> Cow<'static, str> {
        T::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        T::create_type_info(registry)
    }

    async fn resolve(
        &self,
        context: &ContextSelectionSet<'_>,
        _field: &Positioned<Field>,
    ) -> ServerResult<Value> {
        resolve_container(context, self).await
    }
}

impl<T: ObjectType> ObjectType for Guarded<T> {}

/// The same for the root of the subscriptions.
pub struct GuardedStreams<T> {
    root: T,
    right: Right,
}

impl<T: SubscriptionType> GuardedStreams<T> {
    pub fn new(right: Right, root: T) -> Self {
        Self { root, right }
    }
}

impl<T: SubscriptionType> SubscriptionType for GuardedStreams<T> {
    fn type_name() -> Cow<'static, str> {
        T::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        T::create_type_info(registry)
    }

    fn create_field_stream<'a>(
        &'a self,
        context: &'a Context<'_>,
    ) -> Option<BoxStream<'a, Response>> {
        match require(context, self.right) {
            Ok(()) => self.root.create_field_stream(context),
            Err(error) => {
                let refused = Response::from_errors(vec![here(context, error)]);
                Some(stream::once(async { refused }).boxed())
            }
        }
    }
}

/// Refuses a credential that does not allow this.
pub fn require(context: &Context<'_>, right: Right) -> Result<(), ApiError> {
    let session = &request_context(context)?.session;
    if session.viewer.access().allows(right) {
        return Ok(());
    }
    if right == Right::Admin {
        let action = admin_action(&context.item.node.name.node);
        accounts(context).note_denied(session, action);
    }
    Err(ApiError::forbidden(match right {
        Right::Read => "This API key may not read: it needs the scope READ.",
        Right::Write => "This API key may only read: it needs the scope WRITE.",
        Right::Admin => "This is for admins, and for API keys of theirs with the scope ADMIN.",
    }))
}

/// What a root field that is for admins does, as the audit log calls it.
fn admin_action(field: &str) -> AuditAction {
    match field {
        "suspendUser" => AuditAction::UserSuspended,
        "restoreUser" => AuditAction::UserRestored,
        "deleteUser" => AuditAction::UserDeleted,
        _ => AuditAction::AdminAccessed,
    }
}

fn here(context: &Context<'_>, error: ApiError) -> ServerError {
    let error = Error::from(error).into_server_error(context.item.pos);
    context.set_error_path(error)
}
