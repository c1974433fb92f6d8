//! Escrow of budgets: drives the plane's machines, a transaction at a time.
//!
//! Rule: every decision is a machine's ([`helix_shared::budget::plane`]); here a command becomes a statement. A transaction
//! that lost a race begins anew from a copy of the machine. What a machine tells is told after its commit.

use crate::accounts::broken;
use crate::db::{Db, Tx, retrying};
use crate::error::{Result, StoreError};
use crate::incarnations::SEEN_EVERY;
use helix_shared::budget::AccountKey;
use helix_shared::budget::broken::Broken;
use helix_shared::budget::plane::{Answer, Command, Machine, Next, Outcome, Seen};
use helix_shared::ids::NodeId;
use helix_shared::money::NanoUsd;
use helix_shared::time::UnixMicros;
use std::collections::BTreeMap;

/// Accounts that one statement reads: SQLite takes a condition of at most a thousand parts.
const ACCOUNTS_AT_ONCE: usize = 100;

/// On whose behalf a machine is driven.
#[derive(Clone, Debug)]
pub struct EscrowSpeaker {
    /// The node that the machine's incarnations belong to.
    pub node: NodeId,
    /// The plane's clock.
    pub now: UnixMicros,
    /// What all nodes reserve of an account in a second, as far as known. Sizes horizons, proves nothing.
    pub fleet_rates: BTreeMap<AccountKey, NanoUsd>,
    /// Whether the database counts its own histories ([`Db::counts_histories`]).
    pub counts_histories: bool,
}

/// Whether a transaction may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Write,
    /// One snapshot, nothing locked: for what changes nothing.
    Read,
}

/// Where a machine stands between two transactions.
struct Step<M> {
    machine: M,
    /// The first command of the next transaction.
    next: Option<Command>,
    told: Vec<Outcome>,
}

impl Db {
    /// Drives a machine to its end and returns what it told.
    ///
    /// # Errors
    /// What the database says, or [`StoreError::Invariant`] when the books did not agree. Transactions that were committed
    /// before stay.
    pub async fn run_escrow<M: Machine>(&self, machine: M, speaker: &EscrowSpeaker) -> Result<Vec<Outcome>> {
        let mut step = begin(machine)?;
        while let Some(command) = step.next.take() {
            let Step { machine, told, .. } = step;
            let mut done = retrying!(self.escrow_transaction(machine.clone(), command.clone(), speaker))?;
            done.told.splice(..0, told);
            step = done;
        }
        Ok(step.told)
    }

    /// Drives a machine as long as it only reads; `None` when it would write, or has not been heard for a while. Then
    /// nothing has happened. Most heartbeats say nothing new.
    ///
    /// # Errors
    /// What the database says.
    pub async fn peek_escrow<M: Machine>(&self, machine: M, speaker: &EscrowSpeaker) -> Result<Option<Vec<Outcome>>> {
        let mut step = begin(machine)?;
        let mut tx = self.read().await?;
        while let Some(command) = step.next.take() {
            let mut pending = Some(command);
            while let Some(command) = pending.take() {
                let answer = match command {
                    Command::Commit => Answer::Done,
                    command => match tx.escrow_answer(&command, Access::Read, speaker).await? {
                        Some(answer) => answer,
                        None => return Ok(None),
                    },
                };
                pending = advance(&mut step, answer)?;
            }
        }
        tx.rollback().await?;
        Ok(Some(step.told))
    }

    async fn escrow_transaction<M: Machine>(
        &self,
        machine: M,
        first: Command,
        speaker: &EscrowSpeaker,
    ) -> Result<Step<M>> {
        let mut step = Step { machine, next: None, told: Vec::new() };
        let mut tx = self.begin().await?;
        let mut command = first;
        while command != Command::Commit {
            let answer = tx.escrow_answer(&command, Access::Write, speaker).await?.ok_or_else(|| {
                StoreError::Invariant("a writing transaction of escrow was told that it only reads".to_owned())
            })?;
            match advance(&mut step, answer)? {
                Some(next) => command = next,
                None => return Ok(step),
            }
        }
        tx.commit().await?;
        step.next = advance(&mut step, Answer::Done)?;
        Ok(step)
    }
}

fn begin<M: Machine>(machine: M) -> Result<Step<M>> {
    let mut step = Step { machine, next: None, told: Vec::new() };
    step.next = advance(&mut step, Answer::Done)?;
    Ok(step)
}

/// Gives a machine an answer and returns its next command; `None` at its end.
fn advance<M: Machine>(step: &mut Step<M>, answer: Answer) -> Result<Option<Command>> {
    let mut answer = Some(answer);
    loop {
        match step.machine.next(answer.take().unwrap_or(Answer::Done)).map_err(invariant)? {
            Next::Do(command) => return Ok(Some(command)),
            Next::Tell(outcome) => step.told.push(outcome),
            Next::End => return Ok(None),
        }
    }
}

fn invariant(error: Broken) -> StoreError {
    StoreError::Invariant(error.to_string())
}

impl Tx {
    /// Executes one command. `None`: it would write, and may not.
    async fn escrow_answer(
        &mut self,
        command: &Command,
        access: Access,
        speaker: &EscrowSpeaker,
    ) -> Result<Option<Answer>> {
        let is_writing = access == Access::Write;
        let answer = match command {
            Command::Lock(incarnation) if is_writing => {
                let seal = self.lock_incarnation(incarnation, &speaker.node, speaker.now).await?.seal;
                let (fleet, history) = self.escrow_fleet(speaker.counts_histories, true).await?;
                Answer::Locked { seal, fleet, history }
            }
            Command::Lock(incarnation) => {
                let Some(known) = self.incarnation(incarnation).await? else { return Ok(None) };
                // one that is over is not seen any more
                if known.seal == Default::default() && speaker.now.since(known.seen_at) >= SEEN_EVERY {
                    return Ok(None);
                }
                let (fleet, history) = self.escrow_fleet(speaker.counts_histories, false).await?;
                Answer::Locked { seal: known.seal, fleet, history }
            }
            Command::LockFleet => {
                if is_writing {
                    self.lock_fleet().await?;
                }
                let (fleet, history) = self.escrow_fleet(speaker.counts_histories, is_writing).await?;
                Answer::Locked { seal: Default::default(), fleet, history }
            }
            Command::ReadAccount(key) => return self.read_funds(key, is_writing, speaker).await,
            Command::ReadAccounts(keys) => Answer::Accounts(self.seen_accounts(keys, speaker).await?),
            Command::ReadLease(incarnation, key) => {
                Answer::Lease(self.lease(incarnation, key).await?.map(|lease| lease.totals()))
            }
            Command::ReadLeases(incarnation) => Answer::Leases(
                self.leases_of(incarnation)
                    .await?
                    .into_iter()
                    .map(|lease| (lease.account.clone(), lease.totals()))
                    .collect(),
            ),
            _ if !is_writing => return Ok(None),
            command => self.escrow_write(command, speaker).await?,
        };
        Ok(Some(answer))
    }

    async fn escrow_write(&mut self, command: &Command, speaker: &EscrowSpeaker) -> Result<Answer> {
        match command {
            Command::OpenAccount { account, limit, period_end } => {
                let row = self.open_account(account, *limit, *period_end).await?;
                self.account_answer(&row, speaker).await
            }
            Command::TakeEscrow { account, more } => Ok(Answer::Changed(self.take_escrow(account, *more).await?)),
            Command::MoveEscrow { account, by } => Ok(Answer::Changed(self.move_escrow(account, *by).await?)),
            Command::PutLease(incarnation, account, lease) => {
                self.put_lease(incarnation, account, lease).await?;
                Ok(Answer::Done)
            }
            Command::PutSeal(incarnation, seal) => {
                self.put_seal(incarnation, *seal).await?;
                Ok(Answer::Done)
            }
            Command::RaiseHistory(beyond, why) => {
                Ok(Answer::History(self.raise_history(*beyond, *why, speaker).await?))
            }
            Command::BeginLearning(epoch) => {
                self.begin_learning(*epoch, speaker.now).await?;
                Ok(Answer::Done)
            }
            Command::Declare(node, epoch) => Ok(Answer::Awaited(self.declare(node, *epoch).await?)),
            Command::EndLearning => {
                self.end_learning().await?;
                Ok(Answer::Done)
            }
            _ => Err(StoreError::Invariant("a command of escrow came where it has no meaning".to_owned())),
        }
    }

    async fn read_funds(
        &mut self,
        key: &AccountKey,
        is_writing: bool,
        speaker: &EscrowSpeaker,
    ) -> Result<Option<Answer>> {
        let mut row = self.account(key).await?;
        if row.is_none() && is_writing {
            self.create_account(key).await?;
            row = self.account(key).await?;
        }
        match row {
            Some(row) => self.account_answer(&row, speaker).await.map(Some),
            None if is_writing => Err(broken(key, "it vanished while it was read")),
            None => Ok(None),
        }
    }

    /// Several accounts, by two statements for all of them.
    async fn seen_accounts(&mut self, keys: &[AccountKey], speaker: &EscrowSpeaker) -> Result<Vec<(AccountKey, Seen)>> {
        let mut seen = Vec::with_capacity(keys.len());
        for keys in keys.chunks(ACCOUNTS_AT_ONCE) {
            let held = self.all_held_by_others(keys, &speaker.node, speaker.now).await?;
            for row in self.accounts_among(keys).await? {
                let fleet_rate = speaker.fleet_rates.get(&row.key).copied().unwrap_or_default();
                let recallable = held.get(&row.key).copied().unwrap_or_default();
                let of = Seen { funds: row.funds(), period_end: row.period_end, fleet_rate, recallable };
                seen.push((row.key, of));
            }
        }
        Ok(seen)
    }

    async fn account_answer(&mut self, row: &crate::Account, speaker: &EscrowSpeaker) -> Result<Answer> {
        let (recallable, other_holders) = self.held_by_others(&row.key, &speaker.node, speaker.now).await?;
        let fleet_rate = speaker.fleet_rates.get(&row.key).copied().unwrap_or_default();
        Ok(Answer::Account { funds: row.funds(), period_end: row.period_end, fleet_rate, recallable, other_holders })
    }
}
