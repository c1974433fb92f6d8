//! Escrow messages.
//!
//! Rule: numbers below zero are no totals and become zero; what names no account is left out.

use super::record::{account_from_wire, account_to_wire};
use crate::v1;
use helix_shared::budget::message::{Balance, Epoch, Need, Past, Report, Standing, Update};
use helix_shared::ids::Incarnation;
use helix_shared::money::NanoUsd;
use helix_shared::time::UnixMicros;

fn total(amount: i64) -> NanoUsd {
    NanoUsd::new(amount.max(0))
}

/// Encodes a node's totals.
pub fn balance_to_wire(balance: &Balance) -> v1::Balance {
    v1::Balance {
        account: Some(account_to_wire(&balance.account)),
        spent_total_nano_usd: balance.spent.get(),
        returned_total_nano_usd: balance.returned.get(),
        granted_total_nano_usd: balance.granted.get(),
        rate_nano_usd: balance.rate.get(),
    }
}

/// Decodes a node's totals.
pub fn balance_from_wire(balance: &v1::Balance) -> Option<Balance> {
    Some(Balance {
        account: account_from_wire(balance.account.as_ref()?),
        granted: total(balance.granted_total_nano_usd),
        spent: total(balance.spent_total_nano_usd),
        returned: total(balance.returned_total_nano_usd),
        rate: total(balance.rate_nano_usd),
    })
}

/// Decodes what a node asks of one budget.
pub fn need_from_wire(want: &v1::Want) -> Option<Need> {
    let least_total = total(want.least_total_nano_usd);
    let need_total = total(want.need_total_nano_usd);
    Some(Need {
        account: account_from_wire(want.account.as_ref()?),
        least_total,
        need_total,
        want_total: total(want.want_total_nano_usd).max(need_total),
    })
}

/// Encodes an earlier incarnation.
pub fn past_to_wire(past: &Past) -> v1::Past {
    let spent = |(account, spent): &(_, NanoUsd)| v1::Balance {
        account: Some(account_to_wire(account)),
        spent_total_nano_usd: spent.get(),
        ..v1::Balance::default()
    };
    v1::Past {
        incarnation: past.incarnation.as_str().to_owned(),
        finals: past.finals.iter().map(spent).collect(),
        is_whole: past.is_whole,
        last_seq: past.last_seq,
    }
}

/// Decodes an earlier incarnation; `None` when its id is none.
pub fn past_from_wire(past: &v1::Past) -> Option<Past> {
    if past.incarnation.is_empty() || past.incarnation.len() > 64 {
        return None;
    }
    let spent = |balance: v1::Balance| balance_from_wire(&balance).map(|balance| (balance.account, balance.spent));
    Some(Past {
        incarnation: Incarnation::from(past.incarnation.as_str()),
        finals: past.finals.iter().cloned().filter_map(spent).collect(),
        is_whole: past.is_whole,
        last_seq: past.last_seq,
    })
}

/// Encodes what a node says.
pub fn report_to_wire(report: &Report) -> v1::escrow_report::Step {
    match report {
        Report::Acquire { ask, needs } => {
            let want = |need: &Need| v1::Want {
                account: Some(account_to_wire(&need.account)),
                need_total_nano_usd: need.need_total.get(),
                want_total_nano_usd: need.want_total.get(),
                least_total_nano_usd: need.least_total.get(),
            };
            let wants = needs.iter().map(want).collect();
            v1::escrow_report::Step::Acquire(v1::Acquire { ask: *ask, wants })
        }
        Report::Balances { epoch, balances, pasts } => v1::escrow_report::Step::Balances(v1::Balances {
            balances: balances.iter().map(balance_to_wire).collect(),
            epoch: *epoch,
            pasts: pasts.iter().map(past_to_wire).collect(),
        }),
    }
}

/// Encodes how an account stands.
pub fn standing_to_wire(standing: &Standing) -> v1::Grant {
    v1::Grant {
        account: Some(account_to_wire(&standing.account)),
        granted_total_nano_usd: standing.granted.get(),
        period_ends_in_ms: i64::try_from(standing.period_ends_in_us / 1_000).unwrap_or(i64::MAX),
        limit_nano_usd: standing.limit.get(),
        fleet_spent_nano_usd: standing.fleet_spent.get(),
        available_nano_usd: standing.available.get(),
        period_end_us: standing.period_end.get(),
        spent_total_nano_usd: standing.spent.get(),
        returned_total_nano_usd: standing.returned.get(),
        recallable_nano_usd: standing.recallable.get(),
        horizon_s: standing.horizon_s,
    }
}

/// Decodes how an account stands.
pub fn standing_from_wire(grant: &v1::Grant) -> Option<Standing> {
    Some(Standing {
        account: account_from_wire(grant.account.as_ref()?),
        granted: total(grant.granted_total_nano_usd),
        spent: total(grant.spent_total_nano_usd),
        returned: total(grant.returned_total_nano_usd),
        limit: NanoUsd::new(grant.limit_nano_usd),
        available: NanoUsd::new(grant.available_nano_usd),
        recallable: total(grant.recallable_nano_usd),
        fleet_spent: NanoUsd::new(grant.fleet_spent_nano_usd),
        period_end: UnixMicros::new(grant.period_end_us),
        period_ends_in_us: u64::try_from(grant.period_ends_in_ms).unwrap_or(0).saturating_mul(1_000),
        horizon_s: grant.horizon_s,
    })
}

/// Decodes what the plane says; `None` for what this release does not know.
pub fn update_from_wire(update: v1::EscrowUpdate) -> Option<Update> {
    let standings = |totals: &[v1::Grant]| totals.iter().filter_map(standing_from_wire).collect();
    Some(match update.step? {
        v1::escrow_update::Step::Granted(granted) => Update::Granted {
            epoch: granted.epoch,
            ask: granted.ask,
            standings: standings(&granted.totals),
            is_learning: granted.is_learning,
        },
        v1::escrow_update::Step::Acknowledged(told) => Update::Acknowledged {
            epoch: told.epoch,
            standings: standings(&told.totals),
            pasts: told.pasts.iter().map(|past| Incarnation::from(past.incarnation.as_str())).collect(),
            is_learning: told.is_learning,
        },
        v1::escrow_update::Step::Recall(recall) => {
            Update::Recall { epoch: recall.epoch, account: account_from_wire(recall.account.as_ref()?) }
        }
        v1::escrow_update::Step::Sealed(_) => Update::Sealed,
    })
}

/// Encodes the account of a recall.
pub fn recall_to_wire(epoch: Epoch, account: &helix_shared::budget::AccountKey) -> v1::escrow_update::Step {
    v1::escrow_update::Step::Recall(v1::Recall { epoch, account: Some(account_to_wire(account)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use helix_shared::budget::AccountKey;
    use helix_shared::ids::BudgetId;

    #[test]
    fn a_standing_crosses_the_wire_but_for_what_is_below_a_millisecond() {
        let account = AccountKey { budget_id: BudgetId::from("b"), period_start: UnixMicros::new(7) };
        let nano = NanoUsd::new;
        let standing = Standing {
            account,
            granted: nano(9),
            spent: nano(2),
            returned: nano(3),
            limit: nano(100),
            available: nano(-5),
            recallable: nano(4),
            fleet_spent: nano(11),
            period_end: UnixMicros::new(99),
            period_ends_in_us: 12_000,
            horizon_s: 30,
        };
        assert_eq!(standing_from_wire(&standing_to_wire(&standing)), Some(standing));
    }
}
