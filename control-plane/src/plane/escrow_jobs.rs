//! What runs beside the escrow streams: recalls of other control planes, and the end of what vanished nodes hold.
//!
//! Rule: every control plane runs them, none needs to be the only one; what two do at once is done once.

use super::budget_service::BudgetService;
use crate::error::chain;
use helix_shared::budget::AccountKey;
use helix_shared::time::UnixMicros;
use helix_store::{Dialect, StoreError};
use std::collections::BTreeMap;
use std::time::Duration;

/// How often recalls of other control planes are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Recalls older than this have had their effect. Generous: the clocks of control planes may differ.
const RECALL_KEPT: Duration = Duration::from_mins(5);
/// How often vanished nodes are looked at.
const SUSPENSE_EVERY: Duration = Duration::from_mins(1);

/// A process that was not heard for so long is gone: far longer than any node goes on without a control plane.
const LONG_GONE: Duration = Duration::from_hours(30 * 24);

/// What is long gone is looked for each so many looks at vanished nodes: every hour.
const REST_EVERY_LOOKS: u64 = 60;

/// Starts the jobs.
pub(crate) fn start(service: &BudgetService) {
    // SQLite has one control plane
    if service.db.dialect() != Dialect::Sqlite {
        let service = service.clone();
        service.tasks.clone().spawn("escrow recalls", async move { follow_recalls(&service).await });
    }
    let limits = service.clone();
    service.tasks.spawn("changed limits", async move { super::limit_changes::follow(&limits).await });
    let service = service.clone();
    service.tasks.clone().spawn("escrow suspense", async move { expire_suspense(&service).await });
}

async fn follow_recalls(service: &BudgetService) {
    let mut seen: Option<BTreeMap<AccountKey, i64>> = None;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if service.holders.is_empty() {
            continue;
        }
        match service.db.recalled_since(before(service, RECALL_KEPT)).await {
            Ok(recalled) => {
                let now: BTreeMap<AccountKey, i64> =
                    recalled.into_iter().map(|recalled| (recalled.account, recalled.recalls)).collect();
                for (account, recalls) in &now {
                    if seen.as_ref().is_some_and(|seen| seen.get(account) != Some(recalls)) {
                        service.holders.recall(account, None);
                    }
                }
                seen = Some(now);
            }
            Err(error) => tracing::debug!(error = %chain(&error), "recalls of other control planes are not known now"),
        }
    }
}

async fn expire_suspense(service: &BudgetService) {
    let mut looks = 0_u64;
    loop {
        tokio::time::sleep(SUSPENSE_EVERY).await;
        looks = looks.wrapping_add(1);
        let now = service.clock.now();
        match service.db.expire_suspense(now, service.counts_histories).await {
            Ok(0) => {}
            Ok(expired) => tracing::info!(
                expired,
                "what vanished nodes held of periods that are over is counted as spent; `ledger suspense` lists the rest"
            ),
            Err(error @ StoreError::Unsettled { .. }) => {
                tracing::error!(error = %chain(&error), "vanished nodes cannot all be settled; `ledger verify` names what does not agree");
            }
            Err(error) => tracing::warn!(error = %chain(&error), "vanished nodes cannot be looked at now"),
        }
        if looks.is_multiple_of(REST_EVERY_LOOKS)
            && let Err(error) = put_to_rest(service).await
        {
            tracing::warn!(error = %chain(&error), "data planes that are long gone cannot be put to rest now");
        }
        if let Err(error) = service.db.forget_recalls(before(service, RECALL_KEPT * 2)).await {
            tracing::debug!(error = %chain(&error), "old recalls stay for now");
        }
    }
}

/// Ends what was not heard for so long that it holds nothing of a present period, and forgets what ended and left nothing.
async fn put_to_rest(service: &BudgetService) -> Result<(), StoreError> {
    let (now, since) = (service.clock.now(), before(service, LONG_GONE));
    let retired = service.db.retire(since, now, service.counts_histories).await;
    if let Ok(retired @ 1..) = retired {
        tracing::info!(retired, "data planes that were not heard for a long time are not waited for any more");
    }
    let forgotten = service.db.forget_incarnations(since).await?;
    if forgotten > 0 {
        tracing::debug!(forgotten, "processes that left nothing are forgotten");
    }
    retired.map(drop)
}

fn before(service: &BudgetService, span: Duration) -> UnixMicros {
    let span_us = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    UnixMicros::new(service.clock.now().get().saturating_sub(span_us))
}
