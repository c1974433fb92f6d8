//! Suspense: what vanished incarnations hold, item by item, and the two ways it ends here.
//!
//! Rule: which item is listed and when it may end is [`helix_shared::budget::plane`]'s decision. The end of a period counts
//! a hold as spent; an operator's word frees what is beyond it, and stands in the books with its reason.

use crate::accounts::Lease;
use crate::db::{Db, Tx};
use crate::error::{Result, StoreError};
use crate::escrow::EscrowSpeaker;
use crate::incarnations::IncarnationRow;
use crate::nodes::Node;
use helix_shared::budget::AccountKey;
use helix_shared::budget::message::Balance;
use helix_shared::budget::plane::{Item, Release, Seal, Settling, What, items, release_due, vanished};
use helix_shared::ids::Incarnation;
use helix_shared::money::NanoUsd;
use helix_shared::time::UnixMicros;
use std::collections::BTreeMap;

impl Db {
    /// Whether every record of an incarnation up to a number is here and could be read.
    ///
    /// # Errors
    /// What the database says.
    pub async fn has_every_record(&self, incarnation: &Incarnation, last_seq: u64) -> Result<bool> {
        let mut tx = self.read().await?;
        let is_whole = tx.through_seq(incarnation).await? >= last_seq && tx.parked(incarnation).await?.is_empty();
        tx.rollback().await?;
        Ok(is_whole)
    }

    /// What a closed incarnation spent, by account; `None` while it is not closed.
    ///
    /// # Errors
    /// What the database says.
    pub async fn finals(&self, incarnation: &Incarnation) -> Result<Option<Vec<(AccountKey, NanoUsd)>>> {
        let mut tx = self.read().await?;
        let is_closed = tx.incarnation(incarnation).await?.is_some_and(|known| known.seal == Seal::Closed);
        let leases = if is_closed { tx.leases_of(incarnation).await? } else { Vec::new() };
        tx.rollback().await?;
        let spent = leases.into_iter().filter(|lease| lease.spent > NanoUsd::ZERO);
        Ok(is_closed.then(|| spent.map(|lease| (lease.account, lease.spent)).collect()))
    }

    /// Lists what vanished incarnations hold, by incarnation and account.
    ///
    /// # Errors
    /// What the database says.
    pub async fn suspense(&self, now: UnixMicros) -> Result<Vec<Item>> {
        let mut tx = self.read().await?;
        let mut listed = Vec::new();
        for known in tx.open_incarnations().await? {
            let Some(why) = tx.vanished(&known, now).await? else { continue };
            let leases = tx.leases_of(&known.id).await?;
            let totals: Vec<_> = leases.iter().map(|lease| (&lease.account, lease.totals())).collect();
            let of = (&known.node_id, &known.id, known.seen_at, why);
            listed.extend(items(of, totals.iter().map(|(account, lease)| (*account, lease))));
        }
        tx.rollback().await?;
        Ok(listed)
    }

    /// Counts as spent what vanished incarnations hold of periods that are over. Returns how many items there were.
    ///
    /// # Errors
    /// What the database says to the first that cannot be expired, once the others are.
    pub async fn expire_suspense(&self, now: UnixMicros, counts_histories: bool) -> Result<usize> {
        let mut due: BTreeMap<Incarnation, (EscrowSpeaker, Vec<Balance>)> = BTreeMap::new();
        for item in self.suspense(now).await? {
            let mut tx = self.read().await?;
            let period_end = tx.account(&item.account).await?.map_or(UnixMicros::new(0), |account| account.period_end);
            tx.rollback().await?;
            if release_due(item.why, item.since, period_end, now) != Some(Release::PeriodOver) {
                continue;
            }
            let speaker = EscrowSpeaker { node: item.node, now, fleet_rates: BTreeMap::new(), counts_histories };
            let none = NanoUsd::ZERO;
            let said = Balance { account: item.account, granted: none, spent: none, returned: none, rate: none };
            due.entry(item.incarnation).or_insert_with(|| (speaker, Vec::new())).1.push(said);
        }
        let (mut expired, mut failed) = (0, None);
        for (incarnation, (speaker, said)) in due {
            let count = said.len();
            let settling = Settling::new(What::Expire, incarnation.clone(), said, now, 0);
            match self.run_escrow(settling, &speaker).await {
                Ok(_) => expired += count,
                Err(error) if error.is_unavailable() => return Err(error),
                Err(error) => keep_first(&mut failed, incarnation, error),
            }
        }
        failed.map_or(Ok(expired), Err)
    }

    /// Seals incarnations that were not heard since `before` and can hold nothing that is still worth anything: every account
    /// that they hold something of is over since then. What they hold counts as spent; nothing comes free. Without this, each
    /// node that ever vanished would be waited for after a restore. Returns how many there were.
    ///
    /// # Errors
    /// What the database says to the first that cannot be sealed, once the others are.
    pub async fn retire(&self, before: UnixMicros, now: UnixMicros, counts_histories: bool) -> Result<usize> {
        let (mut retired, mut failed) = (0, None);
        let mut tx = self.read().await?;
        let open = tx.open_incarnations().await?;
        tx.rollback().await?;
        for known in open.into_iter().filter(|known| known.seen_at < before) {
            let mut tx = self.read().await?;
            let leases = tx.leases_of(&known.id).await?;
            let mut is_over = true;
            for lease in leases.iter().filter(|lease| lease.totals().hold() > NanoUsd::ZERO) {
                let account = tx.account(&lease.account).await?;
                is_over &= account.is_some_and(|account| account.period_end.get() != 0 && account.period_end < before);
            }
            tx.rollback().await?;
            if !is_over {
                continue;
            }
            let speaker = EscrowSpeaker { node: known.node_id, now, fleet_rates: BTreeMap::new(), counts_histories };
            let settling = Settling::new(What::Retire, known.id.clone(), Vec::new(), now, 0);
            match self.run_escrow(settling, &speaker).await {
                Ok(_) => retired += 1,
                Err(error) if error.is_unavailable() => return Err(error),
                Err(error) => keep_first(&mut failed, known.id, error),
            }
        }
        failed.map_or(Ok(retired), Err)
    }

    /// Releases what a dead incarnation holds beyond `spent`, the most that it can have spent of any account, on an
    /// operator's word. A journal that turns up later corrects it.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when the incarnation is unknown, sealed, or was heard within the last minute and has no
    /// successor; otherwise what the database says.
    pub async fn release_suspense(
        &self,
        incarnation: &Incarnation,
        spent: NanoUsd,
        reason: &str,
        now: UnixMicros,
    ) -> Result<NanoUsd> {
        let counts_histories = self.counts_histories().await?;
        let mut tx = self.begin().await?;
        let known = tx.incarnation(incarnation).await?.ok_or_else(|| refused("it is not known"))?;
        if known.seal != Seal::Open {
            return Err(refused("it is closed or released already"));
        }
        if tx.vanished(&known, now).await?.is_none() {
            return Err(refused("it was heard within the last minute: it may be alive and spending"));
        }
        let leases = tx.leases_of(incarnation).await?;
        let held = |leases: &[Lease]| leases.iter().map(|lease| lease.totals().held()).sum::<NanoUsd>();
        let before = held(&leases);
        // the reason first: no release without one, whatever happens in between
        tx.note_event("release", incarnation.as_str(), spent.get(), reason, now).await?;
        tx.commit().await?;
        let none = NanoUsd::ZERO;
        let said = leases
            .iter()
            .map(|lease| Balance { account: lease.account.clone(), granted: none, spent, returned: none, rate: none })
            .collect();
        let speaker = EscrowSpeaker { node: known.node_id, now, fleet_rates: BTreeMap::new(), counts_histories };
        self.run_escrow(Settling::new(What::Release, incarnation.clone(), said, now, 0), &speaker).await?;
        let mut tx = self.read().await?;
        // what came free is what the leases hold less, however much of it was known to be spent by report or by record
        let after = held(&tx.leases_of(incarnation).await?);
        tx.rollback().await?;
        Ok(before.saturating_sub(after).max(none))
    }
}

/// One incarnation whose books are broken keeps nobody else's from being settled.
fn keep_first(failed: &mut Option<StoreError>, incarnation: Incarnation, source: StoreError) {
    match failed {
        Some(StoreError::Unsettled { others, .. }) => *others += 1,
        _ => *failed = Some(StoreError::Unsettled { incarnation, others: 0, source: Box::new(source) }),
    }
}

fn refused(reason: &str) -> StoreError {
    StoreError::Invalid { table: "incarnations", column: "id", reason: reason.to_owned() }
}

impl Tx {
    async fn vanished(
        &mut self,
        known: &IncarnationRow,
        now: UnixMicros,
    ) -> Result<Option<helix_shared::budget::plane::Vanished>> {
        let node = self.get::<Node>(known.node_id.as_str()).await?;
        let has_successor = node.is_some_and(|node| node.incarnation != known.id.as_str());
        Ok(vanished(known.seal, false, has_successor, known.seen_at, now))
    }
}
