//! The pool, and how statements are sent through its connections.
//!
//! PostgreSQL keeps named statements for a connection, so that it parses each but once. A pooler in
//! transaction mode hands connections around, and a name that one client gave is nothing or
//! something else to the next: through it every statement goes unnamed. Switching the library's cache
//! off does not do that: it goes on to name statements, and forgets the names.

use std::{
    ops::{Deref, DerefMut},
    time::Duration,
};

use futures_util::{future::BoxFuture, stream::BoxStream};
use sqlx::{
    AssertSqlSafe, Either, Execute, Executor, PgPool, PgTransaction, Postgres, SqlStr,
    error::BoxDynError,
    postgres::{
        PgArguments, PgConnectOptions, PgPoolOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo,
    },
};
use tokio::{runtime::Handle, time::timeout};

use super::turns::Turn;

#[derive(Clone, Debug)]
pub(super) struct Pool {
    pool: PgPool,
    named_statements: bool,
}

impl Pool {
    pub fn new(
        options: PgPoolOptions,
        connect_options: PgConnectOptions,
        named_statements: bool,
    ) -> Self {
        Self {
            pool: options.connect_lazy_with(connect_options),
            named_statements,
        }
    }

    /// Begins with this message, on a task of its own. Were the caller's future dropped in the
    /// middle of `begin_with`, the connection would go back to the pool inside the open
    /// transaction, and its next user would run as this viewer. So the begin always runs to its end,
    /// and a transaction that nobody waits for any more is dropped whole, which rolls it back.
    pub async fn begin(&self, statement: String, turn: Option<Turn>) -> Result<Tx, sqlx::Error> {
        let (pool, named_statements) = (self.pool.clone(), self.named_statements);
        let begun = tokio::spawn(async move {
            let tx = pool.begin_with(AssertSqlSafe(statement)).await?;
            let connection = Connection {
                tx,
                named_statements,
            };
            Ok(Tx {
                open: Some((connection, turn)),
            })
        });
        begun.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }

    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// An open transaction. Rolled back unless committed.
pub(super) struct Tx {
    /// And the turn that it was begun in. `None`: it has ended.
    open: Option<(Connection, Option<Turn>)>,
}

const OPEN: &str = "only its end takes it";

/// Longer than the longest statement may take.
const LONGEST_ROLLBACK: Duration = Duration::from_secs(20);

impl Tx {
    pub async fn commit(mut self) -> Result<(), sqlx::Error> {
        let (connection, _turn) = self.open.take().expect(OPEN);
        connection.tx.commit().await
    }
}

impl Drop for Tx {
    /// A statement that nobody waits for any more goes on in PostgreSQL, and keeps the connection
    /// until it has ended. So long the turn is not given back: one user's requests that were given
    /// up would use up the connections of all.
    fn drop(&mut self) {
        if let (Some((connection, turn)), Ok(runtime)) = (self.open.take(), Handle::try_current()) {
            runtime.spawn(async move {
                // A host that has vanished says nothing for ever; one that lives has ended the
                // statement by then. The library sees to the connection, whatever comes of this.
                drop(timeout(LONGEST_ROLLBACK, connection.tx.rollback()).await);
                drop(turn);
            });
        }
    }
}

impl Deref for Tx {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.open.as_ref().expect(OPEN).0
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.open.as_mut().expect(OPEN).0
    }
}

/// What the statements of a transaction are sent through.
#[derive(Debug)]
pub(super) struct Connection {
    tx: PgTransaction<'static>,
    named_statements: bool,
}

impl<'c> Executor<'c> for &'c mut Connection {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let query = Sent {
            query,
            named: self.named_statements,
        };
        self.tx.fetch_many(query)
    }

    fn fetch_optional<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let query = Sent {
            query,
            named: self.named_statements,
        };
        self.tx.fetch_optional(query)
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'c: 'e,
    {
        self.tx.prepare_with(sql, parameters)
    }

    fn describe<'e>(
        self,
        sql: SqlStr,
    ) -> BoxFuture<'e, Result<sqlx::Describe<Postgres>, sqlx::Error>>
    where
        'c: 'e,
    {
        self.tx.describe(sql)
    }
}

/// A query, and whether its statement may have a name.
struct Sent<E> {
    query: E,
    named: bool,
}

impl<'q, E: Execute<'q, Postgres>> Execute<'q, Postgres> for Sent<E> {
    fn sql(self) -> SqlStr {
        self.query.sql()
    }

    fn statement(&self) -> Option<&PgStatement> {
        self.query.statement()
    }

    fn take_arguments(&mut self) -> Result<Option<PgArguments>, BoxDynError> {
        self.query.take_arguments()
    }

    fn persistent(&self) -> bool {
        self.named && self.query.persistent()
    }
}
