//! Limits that change while money of them is out: edited, raised for a time, or back to what they were.
//!
//! Rule: every control plane looks, none needs to be the only one. A limit that holds from now on is written before it is
//! told; what nodes hold beyond a lowered one is recalled until nothing more can come back. No clock decides about money:
//! what was granted stays counted whenever this runs.

use super::budget_service::{BudgetService, resolve};
use crate::error::chain;
use crate::publish::Published;
use helix_shared::budget::{AccountKey, Mode};
use helix_shared::money::NanoUsd;
use helix_shared::time::UnixMicros;
use helix_store::StoreError;
use std::collections::BTreeMap;
use std::time::Duration;

/// How often limits are compared with what they were. A holder gives back for two seconds after each recall.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// After so many looks an account that is granted beyond its limit is looked at less often.
const QUICK_LOOKS: u32 = 50;
/// Then every so many looks.
const SLOW_LOOK: u32 = 25;

/// What one control plane has seen of limits.
#[derive(Debug, Default)]
struct Watch {
    /// The revision whose limits were compared with the accounts; `None`: none was.
    seen: Option<u64>,
    /// When something begins or ends to lie on top of a limit.
    next_change_at: Option<UnixMicros>,
    /// Accounts granted beyond their limit, and how often they were looked at.
    beyond: BTreeMap<AccountKey, u32>,
}

/// Follows the limits for ever.
pub(crate) async fn follow(service: &BudgetService) {
    let mut watch = Watch::default();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if let Err(error) = watch.look(service).await {
            tracing::debug!(error = %chain(&error), "changed limits are not told to holders now; they are tried again");
        }
    }
}

impl Watch {
    async fn look(&mut self, service: &BudgetService) -> Result<(), StoreError> {
        let (published, now) = (service.feed.current(), service.clock.now());
        let is_new = self.seen != Some(published.revision());
        if is_new || self.next_change_at.is_some_and(|at| at <= now) {
            self.compare(service, &published, now).await?;
            self.seen = Some(published.revision());
            let edges = published.limits().flat_map(|limit| limit.increases.iter());
            self.next_change_at = edges.flat_map(|it| [it.from, it.until]).filter(|at| *at > now).min();
        }
        self.recall(service, now).await
    }

    /// Writes the limits that accounts have now, and finds those that are granted beyond theirs.
    async fn compare(
        &mut self,
        service: &BudgetService,
        published: &Published,
        now: UnixMicros,
    ) -> Result<(), StoreError> {
        for account in service.db.running_accounts(now).await? {
            let resolved = resolve(published, &account.key.budget_id, now);
            let Some((limit, window)) = resolved.filter(|(limit, _)| limit.mode == Mode::Hard) else { continue };
            if window.start != account.key.period_start {
                continue;
            }
            let amount = limit.at(now);
            let account = if account.limit == Some(amount) {
                account
            } else {
                let turn = service.turns.acquire().await;
                let written = service.db.set_limit(&account.key, amount, window.end).await;
                drop(turn);
                written?
            };
            if account.available() < NanoUsd::ZERO {
                self.beyond.insert(account.key, 0);
            }
        }
        Ok(())
    }

    async fn recall(&mut self, service: &BudgetService, now: UnixMicros) -> Result<(), StoreError> {
        let mut settled = Vec::new();
        for (account, looks) in &mut self.beyond {
            *looks = looks.saturating_add(1);
            if *looks > QUICK_LOOKS && !looks.is_multiple_of(SLOW_LOOK) {
                continue;
            }
            if service.db.recallable(account, now).await? == NanoUsd::ZERO {
                settled.push(account.clone());
            } else {
                service.holders.recall(account, None);
            }
        }
        for account in settled {
            self.beyond.remove(&account);
        }
        Ok(())
    }
}
