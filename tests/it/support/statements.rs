use std::{
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

/// Counts what sqlx sends, but for the ends of transactions that only read: those come some time
/// after what they were read for.
#[derive(Clone, Default)]
pub struct Statements(Arc<AtomicUsize>);

impl Statements {
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl<S: Subscriber> Layer<S> for Statements {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut end = IsRollback(false);
        event.record(&mut end);
        if event.metadata().target() == "sqlx::query" && !end.0 {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct IsRollback(bool);

impl Visit for IsRollback {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0 |= field.name() == "summary" && value == "ROLLBACK";
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}
