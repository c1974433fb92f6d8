//! A transaction on a database server, on a connection of a pool.
//!
//! Rule: a connection whose statement was left in the middle never goes back to its pool. Whoever waits for a statement may
//! be dropped at any moment (a client that leaves, a timeout, shutdown); what the server still says then lies between the
//! connection and its next use, and sqlx's driver for MySQL may wait for ever for bytes that were already read. Such a
//! connection is closed; the server rolls back.

use sqlx::pool::PoolConnection;
use sqlx::{Database, Pool, SqlStr};
use sqlx_core::transaction::TransactionManager;

/// One transaction. Dropped without [`ServerTx::commit`], it rolls back.
#[derive(Debug)]
pub(crate) struct ServerTx<DB: Database> {
    connection: PoolConnection<DB>,
    /// Begun, and neither committed nor rolled back.
    is_open: bool,
    /// A statement is under way; after a drop it stays so.
    is_busy: bool,
}

impl<DB: Database> ServerTx<DB> {
    /// Begins one, with the given statement or the database's usual one.
    pub(crate) async fn begin(pool: &Pool<DB>, statement: Option<SqlStr>) -> sqlx::Result<Self> {
        let mut tx = Self { connection: pool.acquire().await?, is_open: false, is_busy: false };
        DB::TransactionManager::begin(tx.busy(), statement).await?;
        tx.rest();
        tx.is_open = true;
        Ok(tx)
    }

    /// The connection, for one statement. [`ServerTx::rest`] says that it was answered.
    pub(crate) fn busy(&mut self) -> &mut DB::Connection {
        self.is_busy = true;
        &mut self.connection
    }

    /// The statement was answered, well or not.
    pub(crate) fn rest(&mut self) {
        self.is_busy = false;
    }

    pub(crate) async fn commit(mut self) -> sqlx::Result<()> {
        DB::TransactionManager::commit(self.busy()).await?;
        self.rest();
        self.is_open = false;
        Ok(())
    }

    pub(crate) async fn rollback(mut self) -> sqlx::Result<()> {
        DB::TransactionManager::rollback(self.busy()).await?;
        self.rest();
        self.is_open = false;
        Ok(())
    }
}

impl<DB: Database> Drop for ServerTx<DB> {
    fn drop(&mut self) {
        if self.is_busy {
            self.connection.close_on_drop();
        } else if self.is_open {
            DB::TransactionManager::start_rollback(&mut self.connection);
        }
    }
}
