//! What requests hold of escrow: the money in hand, and the way to the task that gets more.
//!
//! Rule: a request with money in hand is admitted without a lock, a task or a message. Another one waits, and for no longer
//! than [`ADMIT_TIMEOUT`].

use super::account::{Account, Slot};
use super::ledger::{Ledger, Reservation};
use helix_shared::budget::message::Past;
use helix_shared::ids::Incarnation;
use helix_shared::money::NanoUsd;
use helix_shared::time::Clock;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// The longest that a request waits for escrow, whatever the machine says.
const ADMIT_TIMEOUT: Duration = Duration::from_secs(3);

/// Admission to hard budgets. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Escrow {
    /// The escrow in hand.
    pub ledger: Arc<Ledger>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) commands: mpsc::Sender<Command>,
}

/// Why a request is not admitted.
#[derive(Debug)]
pub enum Refused {
    /// This budget cannot afford it.
    Exceeded {
        /// Index into the path.
        index: usize,
        /// Its account of the current period.
        account: Arc<Account>,
    },
    /// The control plane did not answer in time.
    Unavailable {
        /// Index into the path of the budget that was short.
        index: usize,
    },
}

/// What requests and other tasks tell the escrow task.
#[derive(Debug)]
pub(super) enum Command {
    Admit(Waiter),
    Inform(Arc<Slot>),
    Close(Past, oneshot::Sender<()>),
}

/// A request that found too little in hand.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) path: Vec<Arc<Slot>>,
    pub(super) amount: NanoUsd,
    pub(super) answer: oneshot::Sender<Result<Reservation, Refused>>,
}

impl Escrow {
    /// Reserves `amount` in every budget of the path.
    ///
    /// # Errors
    /// [`Refused`] names the budget that said no, or that could not be asked.
    pub async fn admit(&self, path: &[Arc<Slot>], amount: NanoUsd) -> Result<Reservation, Refused> {
        let short = match self.ledger.reserve(path, amount, self.clock.monotonic_us()) {
            Ok(reservation) => return Ok(reservation),
            Err(short) => short,
        };
        let (answer, answered) = oneshot::channel();
        let waiter = Waiter { path: path.to_vec(), amount, answer };
        if self.commands.try_send(Command::Admit(waiter)).is_err() {
            return Err(Refused::Unavailable { index: short.index });
        }
        match tokio::time::timeout(ADMIT_TIMEOUT, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => Err(Refused::Unavailable { index: short.index }),
        }
    }

    /// Asks for news of a budget without waiting and without wanting money: soft budgets warn by it.
    pub fn inform(&self, slot: &Arc<Slot>) {
        if self.commands.try_send(Command::Inform(Arc::clone(slot))).is_err() {
            tracing::debug!("the escrow queue is full; a budget's state stays unknown for now");
        }
    }

    /// Closes an incarnation that is over and whose records have all been taken, up to `last_seq`: what it was granted and
    /// did not spend comes free. Returns when the control plane has answered.
    pub async fn close(&self, incarnation: &str, last_seq: u64) {
        let (done, confirmed) = oneshot::channel();
        // no finals: the control plane has every record and sums them up itself
        let past = Past { incarnation: Incarnation::from(incarnation), finals: Vec::new(), is_whole: true, last_seq };
        if self.commands.send(Command::Close(past, done)).await.is_ok() && confirmed.await.is_err() {
            tracing::debug!(incarnation, "the escrow task ended before the incarnation was closed");
        }
    }
}
