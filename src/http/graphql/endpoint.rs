//! What every transport shares: who asks, whether the operation may run, and how it is run.

use std::{
    future::pending,
    net::IpAddr,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_graphql::{
    Executor, Request, Response, Value,
    parser::types::{
        ExecutableDocument, OperationDefinition, OperationType, Selection, SelectionSet,
    },
};
use futures_util::{
    FutureExt, StreamExt,
    stream::{self, BoxStream},
};
use http::{Extensions, HeaderMap};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::Instrument;

use super::{
    Backend, Persisted, SignInError, Timing, failure::Failure, params::Params,
    unfinished::Unfinished, weight,
};
use crate::{
    auth::{Credential, CredentialError, credential_from_headers},
    config::RequestLimits,
    graphql::{
        ErrorCode, TextBudget,
        guard::{self, Guard, Read},
    },
    http::server::ClientAddress,
    lifecycle::Lifecycle,
    limits::{Charge, Place, Presence, PresenceLimits, Presences},
};

/// One per process; clones are handles to the same.
#[derive(Clone)]
pub struct Endpoint<B: Backend> {
    pub(super) backend: B,
    pub(super) guard: Guard,
    persisted: Persisted,
    pub(super) lifecycle: Lifecycle,
    pub(super) options: Arc<Options>,
    presences: Presences,
}

/// What an operator or a test decides.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether somebody who has not signed in may read the schema: in development alone.
    pub public_introspection: bool,
    /// Origins, beside the server's own, whose pages may open sockets.
    pub socket_origins: Vec<String>,
    pub timing: Timing,
    pub limits: RequestLimits,
}

/// Somebody who has signed in, with one request. What it takes up counts as theirs until all that
/// it began has ended.
pub(super) struct Caller<B: Backend> {
    pub session: B::Session,
    pub presence: Arc<Presence>,
    pub charge: Arc<Charge>,
}

/// What brought the operation, and so what it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    Get,
    Post,
    Socket,
}

/// An operation that has passed every check, ready to run.
pub(super) struct Operation {
    pub kind: OperationType,
    /// The fields that its answer may hold.
    pub cost: u64,
    request: Request,
    /// What it comes to, for a client that asked.
    report: Option<Value>,
    /// Of the request that brought it.
    charge: Option<Arc<Charge>>,
}

impl<B: Backend> Endpoint<B> {
    /// `guard` must be one for the backend's schema.
    pub fn new(backend: B, guard: Guard, lifecycle: Lifecycle, options: Options) -> Self {
        Self {
            backend,
            guard,
            persisted: Persisted::default(),
            lifecycle,
            presences: Presences::new(PresenceLimits {
                connections: options.limits.connections_per_user,
                bytes: options.limits.in_flight_bytes,
            }),
            options: Arc::new(options),
        }
    }

    /// With these documents that requests may name.
    #[must_use]
    pub fn with_persisted(self, persisted: Persisted) -> Self {
        Self { persisted, ..self }
    }

    /// Room for one more socket or stream of this user.
    pub(super) fn connect(&self, presence: &Arc<Presence>) -> Result<Place, Failure> {
        let most = self.options.limits.connections_per_user as u64;
        let place = presence.connect();
        place.ok_or_else(|| Failure::too_many_connections(most))
    }

    /// What this user has open and under way.
    pub(super) fn presence(&self, session: &B::Session) -> Arc<Presence> {
        self.presences.of(B::user(session))
    }

    /// Room for a request of this user, as far as can be said before it is read.
    pub(super) fn admit(
        session: B::Session,
        presence: Arc<Presence>,
        bytes: usize,
    ) -> Result<Caller<B>, Failure> {
        let charge = presence.charge(bytes);
        let charge = Arc::new(charge.map_err(Failure::too_much_in_flight)?);
        Ok(Caller {
            session,
            presence,
            charge,
        })
    }

    /// `None`: no credential was offered. One that is refused is a failure, whatever is asked.
    pub(super) async fn sign_in_by_headers(
        &self,
        headers: &HeaderMap,
        address: Option<IpAddr>,
    ) -> Result<Option<B::Session>, Failure> {
        match credential_from_headers(headers) {
            Ok(None) => Ok(None),
            Ok(Some(credential)) => self.sign_in(&credential, address).await.map(Some),
            Err(error) => Err(self.unusable(&error, address)),
        }
    }

    /// A header or key is there and cannot be a credential. Why is for the log: whoever tries to
    /// get past the sign-in hears the same of everything.
    pub(super) fn unusable(&self, error: &CredentialError, address: Option<IpAddr>) -> Failure {
        self.backend.note_unusable(error, address);
        Failure::refused_credential()
    }

    pub(super) async fn sign_in(
        &self,
        credential: &Credential,
        address: Option<IpAddr>,
    ) -> Result<B::Session, Failure> {
        self.backend
            .sign_in(credential, address)
            .await
            .map_err(|error| match error {
                SignInError::Refused => Failure::refused_credential(),
                SignInError::Suspended => Failure::suspended(),
                SignInError::Unavailable { retry_after } => Failure::unavailable(
                    "You cannot be signed in right now. Try again in a moment.",
                    retry_after,
                ),
            })
    }

    /// The one way from parameters to something that can be run. No caller: nobody in particular.
    pub(super) async fn prepare(
        &self,
        mut params: Params,
        carrier: Carrier,
        caller: Option<&Caller<B>>,
    ) -> Result<Operation, Failure> {
        if self.lifecycle.is_draining() {
            return Err(Failure::draining());
        }
        let found = self.persisted.find(&mut params, caller.is_some()).await?;
        let Read { document, tokens } = self.guard.read(&found.text).map_err(Failure::request)?;
        if let Some(caller) = caller {
            let grown = caller.charge.grow(weight::of_document(&found.text, tokens));
            grown.map_err(Failure::too_much_in_flight)?;
        }
        let operation = select(&document, params.operation_name.as_deref())?;
        let kind = operation.ty;
        carrier.takes(kind)?;
        if caller.is_none() && !self.is_public(&document, operation) {
            return Err(Failure::sign_in_first());
        }
        let wants_cost = params.wants_cost();
        let mut request = params.into_request(&found.text);
        let name = request.operation_name.as_deref();
        let priced = self
            .guard
            .check(document, name, &request.variables)
            .and_then(|checked| {
                let report = wants_cost.then(|| self.guard.report(&request.query, &checked));
                Ok((checked, report.transpose()?))
            });
        let (checked, report) = priced.map_err(Failure::request)?;
        if let Some(Caller {
            session, presence, ..
        }) = caller
        {
            let budget = budget(presence, kind, checked.cost)?;
            request = self.backend.attach(request, session, budget);
            self.persisted.keep(&found, B::user(session)).await;
        }
        request.set_parsed_query(checked.document);
        Ok(Operation {
            kind,
            cost: checked.cost,
            request,
            report,
            charge: caller.map(|caller| Arc::clone(&caller.charge)),
        })
    }

    /// When what is begun now must be answered.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.options.limits.time
    }

    /// Runs a query or a mutation to its end, or until its time is over. A mutation is not cut
    /// short, neither then nor when the client goes away: it would leave the client unsure of what
    /// was done.
    pub(super) async fn execute(
        &self,
        operation: Operation,
        deadline: Instant,
    ) -> Result<Response, Unfinished> {
        let after = self.options.limits.time;
        let executor = self.backend.executor().clone();
        let (mutation, report) = (operation.kind == OperationType::Mutation, operation.report);
        let run = async move {
            let _charge = operation.charge;
            AssertUnwindSafe(executor.execute(operation.request))
                .catch_unwind()
                .await
                .map_err(|_| Unfinished::Panicked)
        };
        if Instant::now() >= deadline {
            return Err(Unfinished::NotBegun { after });
        }
        let result = if mutation {
            let run = run.instrument(tracing::Span::current());
            match timeout_at(deadline, self.lifecycle.spawn(run)).await {
                Ok(ended) => ended.unwrap_or(Err(Unfinished::Panicked)),
                Err(_) => Err(Unfinished::GoesOn { after }),
            }
        } else {
            timeout_at(deadline, run)
                .await
                .unwrap_or(Err(Unfinished::Stopped { after }))
        };
        result.map(|response| reporting(response, report))
    }

    /// The events of a subscription; the first tells the cost. Dropping the stream ends it at once.
    pub(super) fn subscribe(
        &self,
        operation: Operation,
    ) -> BoxStream<'static, Result<Response, Unfinished>> {
        let executor = self.backend.executor().clone();
        let (mut report, charge) = (operation.report, operation.charge);
        // Made when it is first polled, so that whatever panics does so inside the stream.
        let events = stream::once(async move { executor.execute_stream(operation.request, None) });
        AssertUnwindSafe(events.flatten())
            .catch_unwind()
            .map(move |event| {
                let _until_the_end = &charge;
                event
                    .map(|response| reporting(response, report.take()))
                    .map_err(|_| Unfinished::Panicked)
            })
            .boxed()
    }

    /// What may be asked by nobody in particular.
    fn is_public(&self, document: &ExecutableDocument, operation: &OperationDefinition) -> bool {
        operation.ty != OperationType::Subscription
            && self.only_public_fields(document, &operation.selection_set.node)
    }

    /// The recursion ends: the guard has refused fragments that spread themselves.
    fn only_public_fields(&self, document: &ExecutableDocument, set: &SelectionSet) -> bool {
        set.items.iter().all(|selection| match &selection.node {
            Selection::Field(field) => match field.node.name.node.as_str() {
                "__typename" => true,
                "__schema" | "__type" => self.options.public_introspection,
                _ => false,
            },
            Selection::InlineFragment(inline) => {
                self.only_public_fields(document, &inline.node.selection_set.node)
            }
            Selection::FragmentSpread(spread) => document
                .fragments
                .get(&spread.node.fragment_name.node)
                .is_none_or(|fragment| {
                    self.only_public_fields(document, &fragment.node.selection_set.node)
                }),
        })
    }
}

fn reporting(response: Response, report: Option<Value>) -> Response {
    match report {
        Some(report) => response.extension("cost", report),
        None => response,
    }
}

impl Carrier {
    fn takes(self, kind: OperationType) -> Result<(), Failure> {
        match (self, kind) {
            (Self::Get, OperationType::Mutation) => {
                Err(Failure::method("POST", "A mutation must be sent by POST."))
            }
            _ => Ok(()),
        }
    }
}

/// For the answers of one operation. Room for that of a query is taken now, for those of a
/// subscription when there is something to tell.
fn budget(presence: &Arc<Presence>, kind: OperationType, cost: u64) -> Result<TextBudget, Failure> {
    let bytes = weight::of_answer(cost);
    let charge = match kind {
        OperationType::Subscription => presence.hold(0),
        _ => presence
            .charge(bytes)
            .map_err(Failure::too_much_in_flight)?,
    };
    Ok(TextBudget::new(charge, bytes))
}

/// Waits until a session is over, by its proof or before; why.
pub(super) async fn over<B: Backend>(session: &B::Session) -> &'static str {
    let expired = async {
        loop {
            match remaining::<B>(session) {
                None => pending().await,
                Some(Duration::ZERO) => return "The credential has expired",
                // The monotonic clock and the calendar may disagree; the calendar decides.
                Some(remaining) => sleep(remaining).await,
            }
        }
    };
    tokio::select! {
        reason = expired => reason,
        reason = B::ended(session) => reason,
    }
}

/// How long the session's proof still holds; `None`: for ever.
fn remaining<B: Backend>(session: &B::Session) -> Option<Duration> {
    let expires_at = B::expires_at(session)?;
    Some(
        expires_at
            .duration_since(SystemTime::now())
            .unwrap_or_default(),
    )
}

/// Where a request came from. Unknown only where no server accepted it, as in some tests.
pub(super) fn address_of(extensions: &Extensions) -> Option<IpAddr> {
    extensions
        .get::<ClientAddress>()
        .map(|ClientAddress(address)| *address)
}

fn select<'a>(
    document: &'a ExecutableDocument,
    name: Option<&str>,
) -> Result<&'a OperationDefinition, Failure> {
    match guard::operation(document, name) {
        Some(operation) => Ok(&operation.node),
        None if name.is_some() => Err(unknown(
            "The document has no operation of the name in \"operationName\".",
        )),
        None => Err(unknown(
            "The document holds several operations: say which by \"operationName\".",
        )),
    }
}

fn unknown(message: &str) -> Failure {
    let mut failure = Failure::request(*super::failure::coded(ErrorCode::BadUserInput, message));
    failure.set("argument", "operationName");
    failure
}
