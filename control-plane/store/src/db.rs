//! The pools of the three databases behind one type, and the transaction that every statement runs in.
//!
//! Rule: a statement is built once by sea-query and runs in a [`Tx`]; a dropped [`Tx`] rolls back. It opens no schema and
//! decides no business rule.

use crate::dialect::Dialect;
use crate::error::{Result, StoreError};
use crate::row::Row;
use crate::server_tx::ServerTx;
use futures_util::TryStreamExt as _;
use sea_query::{MysqlQueryBuilder, PostgresQueryBuilder, SqliteQueryBuilder};
use sea_query_sqlx::{SqlxBinder, SqlxValues};
use sqlx::{AssertSqlSafe, MySql, MySqlPool, PgPool, Postgres, SqlSafeStr, Sqlite, SqlitePool, Transaction};
use std::future::Future;
use std::time::Duration;

/// The connected database. Cloning shares the pools.
#[derive(Clone, Debug)]
pub struct Db {
    pub(crate) pools: Pools,
    pub(crate) address: String,
}

/// Writers and readers are apart where the database needs it: SQLite has one writer; MySQL readers see one snapshot.
#[derive(Clone, Debug)]
pub(crate) enum Pools {
    Sqlite { write: SqlitePool, read: SqlitePool },
    Postgres(PgPool),
    MySql { write: MySqlPool, read: MySqlPool },
}

/// One transaction. Dropped without [`Tx::commit`], it rolls back.
#[derive(Debug)]
pub struct Tx {
    inner: Inner,
}

#[derive(Debug)]
enum Inner {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(ServerTx<Postgres>),
    MySql(ServerTx<MySql>),
}

const POSTGRES_READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
const MYSQL_READ: &str = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";

/// How long connections in use may take to come back when the pools are closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How many times a transaction that lost a deadlock or a serialization race runs in all.
pub(crate) const ATTEMPTS: u32 = 12;

/// Runs a whole transaction again while it loses races, with growing pauses.
macro_rules! retrying {
    ($once:expr) => {{
        let mut attempt: u32 = 1;
        loop {
            match $once.await {
                Err(error) if $crate::db::again(&error, attempt).await => attempt += 1,
                outcome => break outcome,
            }
        }
    }};
}
pub(crate) use retrying;

/// Decides whether to try again, after a pause.
pub(crate) async fn again(error: &StoreError, attempt: u32) -> bool {
    if attempt >= ATTEMPTS || !error.is_transient() {
        return false;
    }
    // the low bits of a fresh id are random: spread the contenders
    let spread = uuid::Uuid::now_v7().as_u64_pair().1 % 8;
    let pause_ms = 2_u64.saturating_pow(attempt.min(7)).saturating_add(spread);
    tokio::time::sleep(std::time::Duration::from_millis(pause_ms)).await;
    true
}

impl Db {
    /// Which database it is.
    pub fn dialect(&self) -> Dialect {
        match &self.pools {
            Pools::Sqlite { .. } => Dialect::Sqlite,
            Pools::Postgres(_) => Dialect::Postgres,
            Pools::MySql { .. } => Dialect::MySql,
        }
    }

    /// Where it is, for people: a path, or host, port and name. Never a password.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Begins a transaction that may write. On SQLite it holds the one writer until it ends.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when no connection is to be had.
    pub async fn begin(&self) -> Result<Tx> {
        let inner = match &self.pools {
            Pools::Sqlite { write, .. } => write.begin_with("BEGIN IMMEDIATE").await.map(Inner::Sqlite),
            Pools::Postgres(pool) => ServerTx::begin(pool, None).await.map(Inner::Postgres),
            Pools::MySql { write, .. } => ServerTx::begin(write, None).await.map(Inner::MySql),
        };
        Ok(Tx { inner: inner.map_err(|error| StoreError::begin(self.dialect(), error))? })
    }

    /// Begins a transaction that only reads and sees one state throughout.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when no connection is to be had.
    pub async fn read(&self) -> Result<Tx> {
        let inner = match &self.pools {
            Pools::Sqlite { read, .. } => read.begin().await.map(Inner::Sqlite),
            Pools::Postgres(pool) => {
                ServerTx::begin(pool, Some(POSTGRES_READ.into_sql_str())).await.map(Inner::Postgres)
            }
            Pools::MySql { read, .. } => ServerTx::begin(read, Some(MYSQL_READ.into_sql_str())).await.map(Inner::MySql),
        };
        Ok(Tx { inner: inner.map_err(|error| StoreError::begin(self.dialect(), error))? })
    }

    /// Closes every connection, waiting a little for those in use. The end of the process closes the rest.
    pub async fn close(&self) {
        let closing = async {
            match &self.pools {
                Pools::Sqlite { write, read } => {
                    read.close().await;
                    write.close().await;
                }
                Pools::Postgres(pool) => pool.close().await,
                Pools::MySql { write, read } => {
                    read.close().await;
                    write.close().await;
                }
            }
        };
        // Ends early only when a connection is stuck: an error here would help nobody, the books are committed.
        drop(tokio::time::timeout(CLOSE_TIMEOUT, closing).await);
    }

    /// How many connections are open, in use or idle; none after an orderly [`Db::close`].
    pub fn open_connections(&self) -> u32 {
        match &self.pools {
            Pools::Sqlite { write, read } => write.size() + read.size(),
            Pools::Postgres(pool) => pool.size(),
            Pools::MySql { write, read } => write.size() + read.size(),
        }
    }
}

/// A statement in the words of one database, with its values.
struct Prepared(String, SqlxValues);

impl Tx {
    /// Which database it runs in.
    pub fn dialect(&self) -> Dialect {
        match &self.inner {
            Inner::Sqlite(_) => Dialect::Sqlite,
            Inner::Postgres(_) => Dialect::Postgres,
            Inner::MySql(_) => Dialect::MySql,
        }
    }

    /// Makes everything done in it durable.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses; then nothing of it happened.
    pub async fn commit(self) -> Result<()> {
        let done = match self.inner {
            Inner::Sqlite(tx) => tx.commit().await,
            Inner::Postgres(tx) => tx.commit().await,
            Inner::MySql(tx) => tx.commit().await,
        };
        done.map_err(|error| StoreError::from_sqlx("commit", error))
    }

    /// Undoes everything done in it.
    ///
    /// # Errors
    /// [`StoreError`] when the connection is gone; then it is undone too.
    pub async fn rollback(self) -> Result<()> {
        let done = match self.inner {
            Inner::Sqlite(tx) => tx.rollback().await,
            Inner::Postgres(tx) => tx.rollback().await,
            Inner::MySql(tx) => tx.rollback().await,
        };
        done.map_err(|error| StoreError::from_sqlx("rollback", error))
    }

    fn prepare(&self, statement: &impl SqlxBinder) -> Prepared {
        let (sql, values) = match &self.inner {
            Inner::Sqlite(_) => statement.build_sqlx(SqliteQueryBuilder),
            Inner::Postgres(_) => statement.build_sqlx(PostgresQueryBuilder),
            Inner::MySql(_) => statement.build_sqlx(MysqlQueryBuilder),
        };
        Prepared(sql, values)
    }

    /// Runs a statement; returns how many rows it matched.
    pub(crate) fn execute(
        &mut self,
        table: &'static str,
        statement: &impl SqlxBinder,
    ) -> impl Future<Output = Result<u64>> + Send {
        let Prepared(sql, values) = self.prepare(statement);
        async move {
            let sql = AssertSqlSafe(sql);
            let done = match &mut self.inner {
                Inner::Sqlite(tx) => {
                    sqlx::query_with(sql, values).execute(&mut **tx).await.map(|done| done.rows_affected())
                }
                Inner::Postgres(tx) => {
                    let done = sqlx::query_with(sql, values).execute(tx.busy()).await;
                    tx.rest();
                    done.map(|done| done.rows_affected())
                }
                Inner::MySql(tx) => {
                    let done = sqlx::query_with(sql, values).execute(tx.busy()).await;
                    tx.rest();
                    done.map(|done| done.rows_affected())
                }
            };
            done.map_err(|error| StoreError::from_sqlx(table, error))
        }
    }

    /// Runs a query; returns every row.
    pub(crate) fn fetch_all(
        &mut self,
        table: &'static str,
        statement: &impl SqlxBinder,
    ) -> impl Future<Output = Result<Vec<Row>>> + Send {
        let Prepared(sql, values) = self.prepare(statement);
        async move {
            let sql = AssertSqlSafe(sql);
            let rows = match &mut self.inner {
                Inner::Sqlite(tx) => sqlx::query_with(sql, values)
                    .fetch_all(&mut **tx)
                    .await
                    .map(|rows| rows.into_iter().map(Row::Sqlite).collect::<Vec<_>>()),
                Inner::Postgres(tx) => {
                    let rows = sqlx::query_with(sql, values).fetch_all(tx.busy()).await;
                    tx.rest();
                    rows.map(|rows| rows.into_iter().map(Row::Postgres).collect())
                }
                Inner::MySql(tx) => {
                    let rows = sqlx::query_with(sql, values).fetch_all(tx.busy()).await;
                    tx.rest();
                    rows.map(|rows| rows.into_iter().map(Row::MySql).collect())
                }
            };
            rows.map_err(|error| StoreError::from_sqlx(table, error))
        }
    }

    /// Runs a query; hands over its rows one by one, so that a long answer needs no memory.
    pub(crate) fn fetch_each(
        &mut self,
        table: &'static str,
        statement: &impl SqlxBinder,
        mut take: impl FnMut(Row) -> Result<()> + Send,
    ) -> impl Future<Output = Result<()>> + Send {
        let Prepared(sql, values) = self.prepare(statement);
        async move {
            let failed = |error| StoreError::from_sqlx(table, error);
            let query = AssertSqlSafe(sql);
            match &mut self.inner {
                Inner::Sqlite(tx) => {
                    let mut rows = sqlx::query_with(query, values).fetch(&mut **tx);
                    while let Some(row) = rows.try_next().await.map_err(failed)? {
                        take(Row::Sqlite(row))?;
                    }
                }
                Inner::Postgres(tx) => {
                    let mut rows = sqlx::query_with(query, values).fetch(tx.busy());
                    while let Some(row) = rows.try_next().await.map_err(failed)? {
                        take(Row::Postgres(row))?;
                    }
                    drop(rows);
                    tx.rest();
                }
                Inner::MySql(tx) => {
                    let mut rows = sqlx::query_with(query, values).fetch(tx.busy());
                    while let Some(row) = rows.try_next().await.map_err(failed)? {
                        take(Row::MySql(row))?;
                    }
                    drop(rows);
                    tx.rest();
                }
            }
            Ok(())
        }
    }

    /// Runs a query; returns its first row.
    pub(crate) async fn fetch_optional(
        &mut self,
        table: &'static str,
        statement: &impl SqlxBinder,
    ) -> Result<Option<Row>> {
        Ok(self.fetch_all(table, statement).await?.into_iter().next())
    }

    /// Runs fixed text that sea-query cannot say: data definition and session locks.
    pub(crate) async fn run(&mut self, table: &'static str, sql: String) -> Result<()> {
        let sql = AssertSqlSafe(sql);
        let done = match &mut self.inner {
            Inner::Sqlite(tx) => sqlx::raw_sql(sql).execute(&mut **tx).await.map(|_| ()),
            Inner::Postgres(tx) => {
                let done = sqlx::raw_sql(sql).execute(tx.busy()).await;
                tx.rest();
                done.map(|_| ())
            }
            Inner::MySql(tx) => {
                let done = sqlx::raw_sql(sql).execute(tx.busy()).await;
                tx.rest();
                done.map(|_| ())
            }
        };
        done.map_err(|error| StoreError::from_sqlx(table, error))
    }
}
