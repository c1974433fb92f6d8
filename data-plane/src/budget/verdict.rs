//! A second look at a refusal that others may have falsified.
//!
//! Rule: a request that is half-way along a path, and will fail at a later budget, holds the earlier ones for less than a
//! microsecond. A shortage seen meanwhile may be theirs, or name the wrong budget; nobody is refused by it alone.

use super::account::Slot;
use super::escrowing::Refused;
use super::ledger::{Ledger, Reservation};
use helix_shared::money::NanoUsd;
use std::sync::Arc;

/// Each look takes about as long as others are half-way.
const MOST_LOOKS: u8 = 64;

/// Tries to reserve once more. `None`: no look was certain, or none says more than the verdict.
pub(super) fn look_again(
    ledger: &Ledger,
    path: &[Arc<Slot>],
    amount: NanoUsd,
    monotonic_us: u64,
) -> Option<Result<Reservation, Refused>> {
    for _ in 0..MOST_LOOKS {
        match ledger.reserve(path, amount, monotonic_us) {
            Ok(reservation) => return Some(Ok(reservation)),
            Err(short) if short.is_certain => {
                let is_spent = short.remaining.is_some_and(|remaining| remaining < amount);
                let account = path.get(short.index).filter(|_| is_spent)?.account(monotonic_us)?;
                return Some(Err(Refused::Exceeded { index: short.index, account }));
            }
            Err(_) => std::hint::spin_loop(),
        }
    }
    None
}
