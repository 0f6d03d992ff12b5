//! The three kinds of transaction. Each begins with one message that opens it, takes on its role
//! and names its user, so that no statement can come before.

use super::{
    Admin, DbError, Viewer,
    audit_log::Recorded,
    changes::Changes,
    error::during,
    statements::{Pool, Tx},
    turns::Turn,
};

/// How long one statement may take, in milliseconds. No transaction waits for a person or a
/// model, so a statement that takes longer is stuck.
const STATEMENT_TIMEOUT_MS: u32 = 15_000;

/// How long PostgreSQL waits for the next statement of a transaction, in milliseconds. A host that
/// vanishes in the middle of one would keep its row locks until TCP notices, which takes hours.
const IDLE_TIMEOUT_MS: u32 = 4_000;

/// A transaction that sees one user's rows and no others. Rolled back unless committed.
pub struct ViewerTx {
    pub(super) tx: Tx,
    pub(super) viewer: Viewer,
    pub(super) recorded: Recorded,
    pub(super) changes: Changes,
}

/// A transaction on what admins may see of users: nothing that they wrote.
pub struct AdminTx {
    pub(super) tx: Tx,
    pub(super) admin: Admin,
    pub(super) recorded: Recorded,
}

/// A transaction across users, on only the tables and columns that its role may touch.
pub struct SystemTx {
    pub(super) tx: Tx,
    pub(super) recorded: Recorded,
}

/// Why the system looks at rows of several users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemReason {
    /// A user proved who they are, and the row that stands for them is looked up or made.
    SignIn,
    /// One tick: the texts and leases of all replies that this process writes.
    Tick,
    /// Runs that wait, or whose process is gone, are looked for.
    Recovery,
    /// How far replies and conversations are that subscribers follow.
    Progress,
    /// What was refused or failed is noted in the audit log.
    Audit,
    /// Credentials that ended before their time are looked for, to end what came in with them.
    Endings,
    /// A user is deleted, or a deletion that did not come to its end is looked for.
    Deletion,
    /// The secrets that are the database's own are read at the start.
    Keys,
    /// What is kept for a while after a deletion, and no longer, is forgotten.
    CleanUp,
    /// The health check asks whether the database answers.
    Health,
}

impl ViewerTx {
    pub(super) async fn begin(
        pool: &Pool,
        viewer: &Viewer,
        changes: Changes,
        turn: Turn,
    ) -> Result<Self, DbError> {
        Self::begin_as("", pool, viewer, changes, turn).await
    }

    /// All its statements see the same moment.
    pub(super) async fn begin_snapshot(
        pool: &Pool,
        viewer: &Viewer,
        changes: Changes,
        turn: Turn,
    ) -> Result<Self, DbError> {
        let isolation = "isolation level repeatable read, ";
        Self::begin_as(isolation, pool, viewer, changes, turn).await
    }

    async fn begin_as(
        isolation: &str,
        pool: &Pool,
        viewer: &Viewer,
        changes: Changes,
        turn: Turn,
    ) -> Result<Self, DbError> {
        // The second lock on the scopes of API keys: whatever a resolver forgets, PostgreSQL refuses.
        let mode = if viewer.access().write {
            "read write"
        } else {
            "read only"
        };
        // A UUID and hexadecimal digits: nothing in this text was written by anybody else.
        let statement = format!(
            "begin {isolation}{mode}; set local role loquat_viewer; set local statement_timeout = {STATEMENT_TIMEOUT_MS}; \
             set local idle_in_transaction_session_timeout = {IDLE_TIMEOUT_MS}; \
             select set_config('loquat.user_id', '{}', true), \
             set_config('request.jwt.claims', convert_from(decode('{}', 'hex'), 'UTF8'), true)",
            viewer.user_id(),
            viewer.claims_hex(),
        );
        let tx = pool
            .begin(statement, Some(turn))
            .await
            .map_err(during("begin a viewer's transaction"))?;
        Ok(Self {
            tx,
            viewer: viewer.clone(),
            recorded: Recorded::default(),
            changes,
        })
    }

    /// Whoever listens for changes hears of those of this transaction.
    pub async fn commit(mut self) -> Result<(), DbError> {
        self.changes.begin_commit();
        let committed = self.tx.commit().await;
        committed.map_err(during("commit a viewer's transaction"))?;
        self.recorded.log();
        Ok(())
    }
}

impl AdminTx {
    pub(super) async fn begin(pool: &Pool, admin: &Admin, turn: Turn) -> Result<Self, DbError> {
        let statement = format!(
            "begin; set local role loquat_admin; set local statement_timeout = {STATEMENT_TIMEOUT_MS}; \
             set local idle_in_transaction_session_timeout = {IDLE_TIMEOUT_MS}; \
             select set_config('loquat.user_id', '{}', true), set_config('request.jwt.claims', '', true)",
            admin.user_id(),
        );
        let tx = pool
            .begin(statement, Some(turn))
            .await
            .map_err(during("begin an admin's transaction"))?;
        Ok(Self {
            tx,
            admin: admin.clone(),
            recorded: Recorded::default(),
        })
    }

    pub async fn commit(self) -> Result<(), DbError> {
        let committed = self.tx.commit().await;
        committed.map_err(during("commit an admin's transaction"))?;
        self.recorded.log();
        Ok(())
    }
}

impl SystemTx {
    pub(super) async fn begin(pool: &Pool, reason: SystemReason) -> Result<Self, DbError> {
        tracing::trace!(system.reason = ?reason, "a system transaction begins");
        let statement = format!(
            "begin; set local role loquat_system; set local statement_timeout = {STATEMENT_TIMEOUT_MS}; \
             set local idle_in_transaction_session_timeout = {IDLE_TIMEOUT_MS}; \
             select set_config('loquat.user_id', '', true), set_config('request.jwt.claims', '', true)"
        );
        let tx = pool
            .begin(statement, None)
            .await
            .map_err(during("begin a system transaction"))?;
        Ok(Self {
            tx,
            recorded: Recorded::default(),
        })
    }

    pub async fn commit(self) -> Result<(), DbError> {
        let committed = self.tx.commit().await;
        committed.map_err(during("commit a system transaction"))?;
        self.recorded.log();
        Ok(())
    }
}
