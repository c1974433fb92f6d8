//! The proof that records, sums, accounts and leases agree, to the last nano-dollar.
//!
//! Rule: everything is derived anew from the records and compared with what is kept; nothing kept is trusted, nothing is
//! repaired. Records are read in pages, one incarnation after the other, in one snapshot of the database; what stays in
//! memory is one entry an account.

use crate::accounts::{ACCOUNTS, Account, Lease, all_accounts, read_account};
use crate::budgets::Budget;
use crate::corrections::Correction;
use crate::db::{Db, Tx};
use crate::error::Result;
use crate::incarnations::{INCARNATIONS, IncarnationRow};
use crate::interned::{Interned as _, Source};
use crate::record_body::{Paid, paid};
use crate::request_key::request_text;
use crate::usage_read::{account_of, charges_of};
use crate::usage_row::{ChargeRow, Charges, RECORDS, is_leased};
use crate::verify_report::{BadRecord, LedgerReport};
use helix_shared::budget::plane::Seal;
use helix_shared::budget::{AccountKey, Mode};
use helix_shared::ids::Incarnation;
use sea_query::{Expr, ExprTrait as _, Order, Query};
use std::collections::{BTreeMap, BTreeSet};

/// Records read at once.
const PAGE: u64 = 2_000;

/// What the records say of one account, and what its leases hold.
#[derive(Clone, Copy, Debug, Default)]
struct Derived {
    leased: i128,
    unleased: i128,
    held: i128,
    /// By corrections, in all and upwards.
    corrected: i128,
    corrected_up: i128,
}

#[derive(Debug, Default)]
struct Books {
    report: LedgerReport,
    accounts: BTreeMap<AccountKey, Derived>,
}

/// One row, as far as the proof needs it.
struct Entry {
    seq: i64,
    request_id: String,
    cost: i64,
    charges: std::result::Result<Vec<ChargeRow>, String>,
    attempts: std::result::Result<Vec<Paid>, String>,
}

/// Where the reading of one incarnation stands.
struct Walk<'i> {
    incarnation: &'i Incarnation,
    parked: BTreeSet<i64>,
    next_seq: i64,
    next_intent: u64,
    intents_ahead: BTreeSet<u64>,
    leased: BTreeMap<AccountKey, i128>,
}

impl Db {
    /// Proves the ledger, offline or beside a running gateway, in one snapshot.
    ///
    /// # Errors
    /// What the database says. That books do not agree is no error but the report's content.
    pub async fn verify_ledger(&self) -> Result<LedgerReport> {
        let mut tx = self.read().await?;
        let mut books = Books::default();
        for known in tx.all_incarnations().await? {
            books.walk(&mut tx, &known).await?;
        }
        books.orphans(&mut tx).await?;
        let corrections = tx.corrections().await?;
        books.corrections(&mut tx, &corrections).await?;
        books.compare_accounts(&mut tx).await?;
        tx.verify_rollups(&corrections, &mut books.report).await?;
        tx.verify_closed(&mut books.report).await?;
        tx.verify_adjustments(&mut books.report).await?;
        Ok(books.report)
    }
}

impl Books {
    /// Reads every record of one incarnation.
    async fn walk(&mut self, tx: &mut Tx, known: &IncarnationRow) -> Result<()> {
        self.report.incarnations += 1;
        let mut walk = Walk {
            incarnation: &known.id,
            parked: tx.parked_seqs(&known.id).await?,
            next_seq: 1,
            next_intent: 1,
            intents_ahead: BTreeSet::new(),
            leased: BTreeMap::new(),
        };
        let mut after = 0;
        loop {
            let page = tx.entries(&known.id, after).await?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            for entry in &page {
                self.entry(&mut walk, entry);
            }
        }
        while walk.parked.contains(&walk.next_seq) {
            walk.next_seq += 1;
        }
        let through = i64::try_from(known.through_seq).unwrap_or(i64::MAX);
        if through.checked_add(1) != Some(walk.next_seq) {
            let (id, last) = (&known.id, walk.next_seq - 1);
            self.report.problem(format!("incarnation {id}: acknowledged through {through}, its records reach {last}"));
        }
        self.intents(known, &walk);
        self.leases(tx, known, &walk).await
    }

    /// Checks one record and adds up what it charges.
    fn entry(&mut self, walk: &mut Walk<'_>, entry: &Entry) {
        self.report.records += 1;
        let mut bad = |problem: String| {
            let (incarnation, request_id) = (walk.incarnation.clone(), entry.request_id.clone());
            self.report.bad(BadRecord { incarnation, seq: entry.seq, request_id, problem });
        };
        while walk.next_seq < entry.seq && walk.parked.contains(&walk.next_seq) {
            walk.next_seq += 1;
        }
        if entry.seq != walk.next_seq {
            bad(format!("no record has the numbers {} to {}", walk.next_seq, entry.seq.saturating_sub(1)));
        }
        walk.next_seq = entry.seq.saturating_add(1);
        if entry.cost < 0 {
            bad(format!("its cost is {} nano-USD", entry.cost));
        }
        match &entry.attempts {
            Err(error) => bad(format!("its attempts cannot be read: {error}")),
            Ok(attempts) => {
                let sum: i128 = attempts.iter().map(|(_, cost)| i128::from(*cost)).sum();
                if sum != i128::from(entry.cost) {
                    bad(format!("its cost is {} nano-USD, its attempts cost {sum}", entry.cost));
                }
                for intent in attempts.iter().map(|(intent, _)| *intent).filter(|intent| *intent > 0) {
                    if intent < walk.next_intent || !walk.intents_ahead.insert(intent) {
                        bad(format!("intent {intent} is in two attempts"));
                    }
                }
            }
        }
        while walk.intents_ahead.remove(&walk.next_intent) {
            walk.next_intent += 1;
        }
        match &entry.charges {
            Err(error) => bad(format!("its charges cannot be read: {error}")),
            Ok(charges) => {
                for charge in charges {
                    self.charge(walk, charge, i128::from(entry.cost));
                }
            }
        }
    }

    fn charge(&mut self, walk: &mut Walk<'_>, charge: &ChargeRow, cost: i128) {
        let key = account_of(charge);
        let derived = self.accounts.entry(key.clone()).or_default();
        if is_leased(charge) {
            derived.leased += cost;
            *walk.leased.entry(key).or_default() += cost;
        } else {
            derived.unleased += cost;
        }
    }

    /// A closed journal has every intent from 1 up; a living one may have some whose requests still run.
    fn intents(&mut self, known: &IncarnationRow, walk: &Walk<'_>) {
        let Some(last) = walk.intents_ahead.last() else { return };
        let ahead = u64::try_from(walk.intents_ahead.len()).unwrap_or(u64::MAX);
        let missing = last.saturating_sub(walk.next_intent).saturating_add(1).saturating_sub(ahead);
        // a parked record takes its intents with it
        if known.seal == Seal::Closed && walk.parked.is_empty() {
            let (id, first) = (&known.id, walk.next_intent);
            self.report
                .problem(format!("incarnation {id} is closed, but {missing} intents from {first} up have no record"));
        } else {
            self.report.open_intents = self.report.open_intents.saturating_add(missing);
        }
    }

    /// Compares what an incarnation holds with what it recorded.
    async fn leases(&mut self, tx: &mut Tx, known: &IncarnationRow, walk: &Walk<'_>) -> Result<()> {
        let mut recorded = walk.leased.clone();
        for lease in tx.leases_of(&known.id).await? {
            self.report.leases += 1;
            let sum = recorded.remove(&lease.account).unwrap_or_default();
            self.accounts.entry(lease.account.clone()).or_default().held +=
                i128::from(lease.granted.get()) - i128::from(lease.returned.get());
            for problem in lease_problems(&lease, sum) {
                self.report.problem(format!("lease of {} on {}: {problem}", lease.incarnation, name(&lease.account)));
            }
        }
        for (account, sum) in recorded {
            self.report.problem(format!(
                "records of {} charge {sum} to {}, of which it has no lease",
                known.id,
                name(&account)
            ));
        }
        Ok(())
    }

    /// Records whose incarnation is unknown would escape the walk.
    async fn orphans(&mut self, tx: &mut Tx) -> Result<()> {
        let known = Query::select()
            .column((Source::TABLE, "id"))
            .from(Source::TABLE)
            .inner_join(INCARNATIONS, Expr::col((INCARNATIONS, "id")).equals((Source::TABLE, "incarnation")))
            .to_owned();
        let query = Query::select()
            .columns([(Source::TABLE, "incarnation"), (RECORDS, "seq"), (RECORDS, "request_id")])
            .from(RECORDS)
            .left_join(Source::TABLE, Expr::col((Source::TABLE, "id")).equals((RECORDS, "incarnation_no")))
            .and_where(Expr::col((RECORDS, "incarnation_no")).not_in_subquery(known))
            .order_by((RECORDS, "incarnation_no"), Order::Asc)
            .order_by((RECORDS, "seq"), Order::Asc)
            .limit(1)
            .to_owned();
        let Some(row) = tx.fetch_optional(RECORDS, &query).await? else { return Ok(()) };
        let mut cells = row.cells(RECORDS);
        let incarnation = Incarnation::from(cells.take::<Option<String>>()?.unwrap_or_default());
        let (seq, request_id) = (cells.take()?, request_text(&cells.take::<Vec<u8>>()?)?);
        let problem = "its incarnation is not known".to_owned();
        self.report.bad(BadRecord { incarnation, seq, request_id, problem });
        Ok(())
    }

    /// Adds up what corrections charge; each corrects a record that is there.
    async fn corrections(&mut self, tx: &mut Tx, corrections: &[Correction]) -> Result<()> {
        for correction in corrections {
            self.report.corrections += 1;
            for account in &correction.charged {
                let derived = self.accounts.entry(account.clone()).or_default();
                let amount = i128::from(correction.amount.get());
                derived.corrected += amount;
                derived.corrected_up += amount.max(0);
            }
        }
        for (id, request_id) in tx.corrections_of_nothing().await? {
            self.report.problem(format!("correction {id} corrects request {request_id}, of which there is no record"));
        }
        Ok(())
    }

    async fn compare_accounts(&mut self, tx: &mut Tx) -> Result<()> {
        let hard: BTreeSet<String> = tx
            .list::<Budget>()
            .await?
            .into_iter()
            .filter(|budget| budget.mode == Mode::Hard.as_str())
            .map(|budget| budget.id)
            .collect();
        for account in tx.every_account().await? {
            self.report.accounts += 1;
            let derived = self.accounts.remove(&account.key).unwrap_or_default();
            let is_hard = hard.contains(account.key.budget_id.as_str());
            for problem in account_problems(&account, derived, is_hard) {
                self.report.problem(format!("{}: {problem}", name(&account.key)));
            }
        }
        for key in std::mem::take(&mut self.accounts).into_keys() {
            self.report.problem(format!("{} is charged or leased but does not exist", name(&key)));
        }
        Ok(())
    }
}

fn name(key: &AccountKey) -> String {
    format!("account {} of the period from {}", key.budget_id, key.period_start)
}

fn lease_problems(lease: &Lease, recorded: i128) -> Vec<String> {
    let [granted, spent, returned, settled, written_off] =
        [lease.granted, lease.spent, lease.returned, lease.settled, lease.written_off]
            .map(|amount| i128::from(amount.get()));
    let mut problems = Vec::new();
    if settled != recorded {
        problems.push(format!("settled is {settled}, its records cost {recorded}"));
    }
    // what an operator released is proven by its journal alone, which may be lost
    if lease.sealed && written_off == 0 && spent != recorded {
        problems.push(format!("it is closed with {spent} spent, its records cost {recorded}"));
    }
    if returned < 0 || returned > granted {
        problems.push(format!("{returned} came back of {granted} granted"));
    }
    if spent + written_off > granted {
        problems.push(format!("{spent} was spent and {written_off} written off of {granted} granted"));
    }
    problems
}

fn account_problems(account: &Account, derived: Derived, is_hard: bool) -> Vec<String> {
    let [settled, unleased, escrow, peak] =
        [account.settled, account.unleased, account.escrow, account.peak_limit].map(|amount| i128::from(amount.get()));
    let mut problems = Vec::new();
    let recorded = derived.leased + derived.unleased + derived.corrected;
    let unleased_recorded = derived.unleased + derived.corrected_up;
    if settled != recorded {
        problems.push(format!("settled is {settled}, the records charged to it cost {recorded}"));
    }
    if unleased != unleased_recorded {
        problems.push(format!("spent without a lease is {unleased}, the records say {unleased_recorded}"));
    }
    if escrow != derived.held {
        problems.push(format!("escrow is {escrow}, its leases hold {}", derived.held));
    }
    if escrow > peak {
        problems.push(format!("escrow is {escrow}, the highest limit it had is {peak}"));
    }
    // what was spent while it was soft was promised to nobody, and what a correction added cannot be refused afterwards
    if is_hard && account.limit.is_some() && settled - unleased > peak {
        problems.push(format!("it is hard and settled is {settled}, the highest limit it had is {peak}"));
    }
    problems
}

impl Tx {
    async fn entries(&mut self, incarnation: &Incarnation, after: i64) -> Result<Vec<Entry>> {
        let query = Query::select()
            .columns(["seq", "request_id", "cost_nano", "charged_id"].map(|column| (RECORDS, column)))
            .columns([(Charges::TABLE, "charges"), (RECORDS, "body")])
            .from(Source::TABLE)
            .inner_join(RECORDS, Expr::col((RECORDS, "incarnation_no")).equals((Source::TABLE, "id")))
            .left_join(Charges::TABLE, Expr::col((Charges::TABLE, "id")).equals((RECORDS, "charged_id")))
            .and_where(Expr::col((Source::TABLE, "incarnation")).eq(incarnation.as_str()))
            .and_where(Expr::col((RECORDS, "seq")).gt(after))
            .order_by((RECORDS, "seq"), Order::Asc)
            .limit(PAGE)
            .to_owned();
        let rows = self.fetch_all(RECORDS, &query).await?;
        rows.iter()
            .map(|row| {
                let mut cells = row.cells(RECORDS);
                let (seq, request_id) = (cells.take()?, request_text(&cells.take::<Vec<u8>>()?)?);
                let (cost, number) = (cells.take()?, cells.take()?);
                let charges = charges_of(number, cells.take::<Option<String>>()?.as_deref());
                Ok(Entry { seq, request_id, cost, charges, attempts: paid(&cells.take::<Vec<u8>>()?) })
            })
            .collect()
    }

    async fn every_account(&mut self) -> Result<Vec<Account>> {
        self.fetch_all(ACCOUNTS, &all_accounts()).await?.iter().map(read_account).collect()
    }
}
