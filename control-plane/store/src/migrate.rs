//! Brings the schema to this release's last step, once, whoever starts first.
//!
//! Rule: steps only go forward, one file each, in order; several control planes may start at once. A schema of a newer
//! release is refused. MySQL commits each definition by itself, so every statement may run twice.

use crate::db::{Db, Pools, Tx, retrying};
use crate::dialect::Dialect;
use crate::error::{Result, StoreError};
use crate::migrations::{MIGRATIONS, MOVES_RECORDS, Migration};
use crate::schema::{AddedColumn, Kind, TableDef};
use helix_shared::time::UnixMicros;
use sea_query::{Expr, ExprTrait as _, Order, Query};
use sqlx::Connection as _;

const HISTORY: TableDef = TableDef {
    name: "schema_history",
    columns: &[("step", Kind::Int), ("name", Kind::Short), ("applied_at", Kind::Int)],
    primary: &["step"],
    unique: &[],
    indexes: &[],
    owned_by: &[],
};

/// The key of the PostgreSQL advisory lock: "helixmig".
const POSTGRES_LOCK: i64 = 0x6865_6c69_786d_6967;

/// One step of the schema and whether it has been taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaStep {
    /// Its number, from 1.
    pub step: i64,
    /// What it does.
    pub name: String,
    /// When; `None`: not yet.
    pub applied_at: Option<UnixMicros>,
}

impl Db {
    /// Takes every step that has not been taken; returns how many there were. Safe to call again and from several processes.
    ///
    /// # Errors
    /// [`StoreError::NewerSchema`] when a newer release was here; otherwise what the database says.
    pub async fn migrate(&self, now: UnixMicros) -> Result<usize> {
        match &self.pools {
            Pools::Sqlite { .. } => retrying!(self.migrate_in_one_transaction(None, now)),
            Pools::Postgres(_) => {
                let lock = format!("SELECT pg_advisory_xact_lock({POSTGRES_LOCK})");
                retrying!(self.migrate_in_one_transaction(Some(&lock), now))
            }
            Pools::MySql { .. } => self.migrate_under_named_lock(now).await,
        }
    }

    /// Lists every step of this release and of the database.
    ///
    /// # Errors
    /// What the database says.
    pub async fn schema_steps(&self) -> Result<Vec<SchemaStep>> {
        let taken = match retrying!(self.taken_steps()) {
            Ok(taken) => taken,
            // no history table yet
            Err(StoreError::Query(sqlx::Error::Database(_))) => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut steps: Vec<SchemaStep> = MIGRATIONS
            .iter()
            .map(|step| SchemaStep { step: step.step, name: step.name.to_owned(), applied_at: None })
            .collect();
        for (number, name, at) in taken {
            match steps.iter_mut().find(|step| step.step == number) {
                Some(step) => step.applied_at = Some(at),
                None => steps.push(SchemaStep { step: number, name, applied_at: Some(at) }),
            }
        }
        Ok(steps)
    }

    /// Checks that the schema is this release's, and changes nothing.
    ///
    /// # Errors
    /// [`StoreError::OlderSchema`], [`StoreError::NewerSchema`]; otherwise what the database says.
    pub async fn check_schema(&self) -> Result<()> {
        let steps = self.schema_steps().await?;
        let known = MIGRATIONS.len();
        if let Some(newer) = steps.get(known) {
            return Err(StoreError::NewerSchema {
                found: newer.step,
                known: MIGRATIONS.last().map_or(0, |it| it.step),
            });
        }
        let found = steps.iter().filter(|step| step.applied_at.is_some()).count();
        if found == known { Ok(()) } else { Err(StoreError::OlderSchema { found, known }) }
    }

    async fn taken_steps(&self) -> Result<Vec<(i64, String, UnixMicros)>> {
        let mut tx = self.read().await?;
        tx.taken_steps().await
    }

    /// SQLite and PostgreSQL: definitions are transactional.
    async fn migrate_in_one_transaction(&self, lock: Option<&str>, now: UnixMicros) -> Result<usize> {
        let mut tx = self.begin().await?;
        if let Some(lock) = lock {
            tx.run("schema_history", lock.to_owned()).await?;
        }
        tx.create(&HISTORY).await?;
        let pending = tx.pending().await?;
        for step in &pending {
            tx.take_step(step, now).await?;
        }
        tx.commit().await?;
        Ok(pending.len())
    }

    /// MySQL: a named lock of one connection covers the steps, each of which commits by itself.
    async fn migrate_under_named_lock(&self, now: UnixMicros) -> Result<usize> {
        let Pools::MySql { write, .. } = &self.pools else { return Ok(0) };
        let failed = |error| StoreError::from_sqlx("schema_history", error);
        // taken out of the pool: dropped in mid-air, it takes the lock with it
        let mut holder = write.acquire().await.map_err(failed)?.detach();
        let got: Option<i64> =
            sqlx::query_scalar("SELECT GET_LOCK(CONCAT('helix:', LEFT(SHA2(DATABASE(), 256), 40)), 60)")
                .fetch_one(&mut holder)
                .await
                .map_err(failed)?;
        if got != Some(1) {
            return Err(StoreError::Unavailable(sqlx::Error::Protocol(
                "another control plane has been migrating this database for a minute".to_owned(),
            )));
        }
        let outcome = retrying!(self.migrate_step_by_step(now));
        // the lock ends with the connection
        holder.close().await.map_err(failed)?;
        outcome
    }

    async fn migrate_step_by_step(&self, now: UnixMicros) -> Result<usize> {
        let mut tx = self.begin().await?;
        tx.create(&HISTORY).await?;
        let pending = tx.pending().await?;
        tx.commit().await?;
        for step in &pending {
            let mut tx = self.begin().await?;
            tx.take_step(step, now).await?;
            tx.commit().await?;
        }
        Ok(pending.len())
    }
}

impl Tx {
    async fn create(&mut self, table: &TableDef) -> Result<()> {
        for statement in table.statements(self.dialect()) {
            self.run(table.name, statement).await?;
        }
        Ok(())
    }

    async fn taken_steps(&mut self) -> Result<Vec<(i64, String, UnixMicros)>> {
        let select = Query::select()
            .columns(["step", "name", "applied_at"])
            .from(HISTORY.name)
            .order_by("step", Order::Asc)
            .to_owned();
        let rows = self.fetch_all(HISTORY.name, &select).await?;
        rows.iter()
            .map(|row| {
                let mut cells = row.cells(HISTORY.name);
                Ok((cells.take()?, cells.take()?, UnixMicros::new(cells.take()?)))
            })
            .collect()
    }

    async fn pending(&mut self) -> Result<Vec<&'static Migration>> {
        let taken = self.taken_steps().await?;
        let known = MIGRATIONS.last().map_or(0, |step| step.step);
        if let Some((found, _, _)) = taken.iter().find(|(step, _, _)| *step > known) {
            return Err(StoreError::NewerSchema { found: *found, known });
        }
        let is_taken = |migration: &Migration| taken.iter().any(|(step, _, _)| *step == migration.step);
        Ok(MIGRATIONS.iter().filter(|migration| !is_taken(migration)).collect())
    }

    /// Whether a step that broke off added the column. Only MySQL commits a definition before its step is written down.
    async fn has_column(&mut self, column: &AddedColumn) -> Result<bool> {
        if self.dialect() != Dialect::MySql {
            return Ok(false);
        }
        let select = Query::select()
            .expr(Expr::val(1_i64))
            .from(("information_schema", "columns"))
            .and_where(Expr::cust("table_schema = DATABASE()"))
            .and_where(Expr::col("table_name").eq(column.table))
            .and_where(Expr::col("column_name").eq(column.name))
            .to_owned();
        Ok(self.fetch_optional(HISTORY.name, &select).await?.is_some())
    }

    async fn take_step(&mut self, migration: &Migration, now: UnixMicros) -> Result<()> {
        for table in migration.tables {
            self.create(table).await?;
        }
        for column in migration.columns {
            if !self.has_column(column).await? {
                self.run(column.table, column.statement(self.dialect())).await?;
            }
        }
        for (table, columns, values) in migration.rows {
            let row = Query::insert()
                .into_table(*table)
                .columns(columns.iter().copied())
                .values_panic(values.iter().map(|value| Expr::val(*value)))
                .on_conflict(Dialect::keep_existing(columns.get(..1).unwrap_or_default()))
                .to_owned();
            self.execute(table, &row).await?;
        }
        if migration.step == MOVES_RECORDS {
            self.move_records().await?;
            if !self.has_rollups().await? {
                self.fill_rollups().await?;
            }
        }
        let done = Query::insert()
            .into_table(HISTORY.name)
            .columns(["step", "name", "applied_at"])
            .values_panic([migration.step.into(), migration.name.into(), now.get().into()])
            .to_owned();
        self.execute(HISTORY.name, &done).await?;
        Ok(())
    }
}
