//! Which operations a socket has.
//!
//! An id is free again when the operation's last message leaves, or when the client completes it,
//! and in both cases before anybody can use it anew. Nothing of a completed operation leaves any
//! more, so an id that is used again never gets the messages of its predecessor.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::task::AbortHandle;

use crate::lifecycle::Awaited;

/// One use of an id.
#[derive(Debug)]
pub(super) struct Ticket {
    pub id: String,
    completed: AtomicBool,
    /// Until its last message is on its way, the process does not close the socket by itself.
    _awaited: Awaited,
}

/// Shared by the connection, which begins and completes, and the writer, which ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Registry {
    running: Arc<Mutex<HashMap<String, Running>>>,
}

#[derive(Debug)]
struct Running {
    ticket: Arc<Ticket>,
    task: Option<AbortHandle>,
}

impl Registry {
    /// `None`: the id is taken.
    pub fn begin(&self, id: String, awaited: Awaited) -> Option<Arc<Ticket>> {
        let mut running = self.lock();
        if running.contains_key(&id) {
            return None;
        }
        let ticket = Arc::new(Ticket {
            id: id.clone(),
            completed: AtomicBool::new(false),
            _awaited: awaited,
        });
        let entry = Running {
            ticket: ticket.clone(),
            task: None,
        };
        running.insert(id, entry);
        Some(ticket)
    }

    /// Says which task to end when the client completes the operation.
    pub fn started(&self, ticket: &Arc<Ticket>, task: AbortHandle) {
        if let Some(entry) = self.lock().get_mut(&ticket.id)
            && Arc::ptr_eq(&entry.ticket, ticket)
        {
            entry.task = Some(task);
        }
    }

    /// The client wants no more of it. An unknown id has ended already, which is no error.
    pub fn complete(&self, id: &str) {
        if let Some(entry) = self.lock().remove(id) {
            entry.ticket.completed.store(true, Ordering::Release);
            if let Some(task) = entry.task {
                task.abort();
            }
        }
    }

    /// Its last message is about to leave.
    pub fn end(&self, ticket: &Arc<Ticket>) {
        let mut running = self.lock();
        if running
            .get(&ticket.id)
            .is_some_and(|entry| Arc::ptr_eq(&entry.ticket, ticket))
        {
            running.remove(&ticket.id);
        }
    }

    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// No code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    pub fn is_completed(&self) -> bool {
        self.completed.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::Registry;
    use crate::lifecycle::Lifecycle;

    #[test]
    fn an_id_is_taken_until_its_operation_ends_or_is_completed() {
        let (lifecycle, registry) = (Lifecycle::new(), Registry::default());
        let first = registry
            .begin("1".to_owned(), lifecycle.awaited())
            .expect("free");
        assert!(
            registry
                .begin("1".to_owned(), lifecycle.awaited())
                .is_none()
        );
        registry.end(&first);
        let second = registry
            .begin("1".to_owned(), lifecycle.awaited())
            .expect("free again");
        // A late end of the first use does not end the second.
        registry.end(&first);
        assert_eq!(registry.len(), 1);
        registry.complete("1");
        assert!(second.is_completed() && !first.is_completed());
        registry.complete("1");
        registry
            .begin("1".to_owned(), lifecycle.awaited())
            .expect("free once more");
    }
}
