//! The provider's own account: one entry per accepted request, with what it would charge for it.
//!
//! Rule: an entry exists from the moment a request was read whole, and is closed exactly once, on every way out: the end
//! of the answer, a cut of our own, or the drop of the answer because the client went away.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::Notify;

use crate::price::{Price, Tokens, cost_nano_usd};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Still being answered.
    InFlight,
    /// The whole answer was handed to the connection.
    Complete,
    /// The client closed the connection first.
    ClientGone,
    /// The script cut the connection.
    Cut,
    /// An error status, or an error event inside a stream.
    Error,
}

/// One line of the bill.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// Our number of the request, from 1, in the order of acceptance; never used twice.
    pub seq: u64,
    /// The `x-request-id` header received.
    pub request_id: Option<String>,
    /// Path and query.
    pub path: String,
    /// The last four characters of the key received.
    pub key_last4: Option<String>,
    /// The model asked for.
    pub model: String,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// The status answered; 0 when no header was sent.
    pub status: u16,
    /// The tokens charged.
    pub billed_usage: Tokens,
    /// The tokens last told to the client, `None` when none were.
    pub reported_usage: Option<Tokens>,
    /// The charge in 1e-9 USD.
    pub cost_nano_usd: u64,
    /// Whether the model has a price here; without one the charge is 0.
    pub priced: bool,
    /// How it ended.
    pub state: State,
    /// SHA-256 of the request body, in hexadecimal.
    pub request_sha256: String,
    /// SHA-256 of the body bytes answered so far, in hexadecimal; empty while in flight.
    pub response_sha256: String,
    /// Length of the request body.
    pub request_bytes: u64,
    /// Body bytes handed to the connection.
    pub response_bytes: u64,
    /// The headers received, with credentials shortened to their last four characters.
    pub headers: BTreeMap<String, String>,
}

/// Counters of the whole server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Requests read whole.
    pub accepted: u64,
    /// Requests being answered.
    pub in_flight: u64,
    /// The highest `in_flight` so far.
    pub peak_in_flight: u64,
    /// Requests answered whole.
    pub complete: u64,
    /// Requests whose client went away.
    pub client_gone: u64,
    /// Requests cut by the script.
    pub cut: u64,
    /// Requests that ended in an error.
    pub error: u64,
    /// The sum of all charges, in 1e-9 USD.
    pub billed_nano_usd: u64,
    /// Connections accepted.
    pub connections: u64,
    /// Connections open.
    pub open_connections: u64,
}

#[derive(Default)]
struct Counters {
    sequence: AtomicU64,
    accepted: AtomicU64,
    in_flight: AtomicU64,
    peak_in_flight: AtomicU64,
    complete: AtomicU64,
    client_gone: AtomicU64,
    cut: AtomicU64,
    error: AtomicU64,
    billed_nano_usd: AtomicU64,
    connections: AtomicU64,
    open_connections: AtomicU64,
}

#[derive(Default)]
struct Book {
    entries: Mutex<Vec<Entry>>,
    counters: Counters,
    changed: Notify,
}

/// A handle on the bill. Clones see the same bill.
#[derive(Clone, Default)]
pub struct Bill {
    book: Arc<Book>,
}

impl Bill {
    /// Returns every line, in the order of acceptance.
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().clone()
    }

    /// Returns the sum of all charges in 1e-9 USD.
    pub fn total_nano_usd(&self) -> u64 {
        self.book.counters.billed_nano_usd.load(Ordering::Acquire)
    }

    /// Returns the counters.
    pub fn stats(&self) -> Stats {
        let c = &self.book.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Acquire);
        Stats {
            accepted: read(&c.accepted),
            in_flight: read(&c.in_flight),
            peak_in_flight: read(&c.peak_in_flight),
            complete: read(&c.complete),
            client_gone: read(&c.client_gone),
            cut: read(&c.cut),
            error: read(&c.error),
            billed_nano_usd: read(&c.billed_nano_usd),
            connections: read(&c.connections),
            open_connections: read(&c.open_connections),
        }
    }

    /// Waits until the counters satisfy a condition. Never returns if they never do: bound it with a timeout.
    pub async fn wait_for(&self, condition: impl Fn(&Stats) -> bool) -> Stats {
        loop {
            let changed = self.book.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            let stats = self.stats();
            if condition(&stats) {
                return stats;
            }
            changed.await;
        }
    }

    /// Waits until nothing is being answered, and returns the lines.
    pub async fn settled(&self) -> Vec<Entry> {
        self.wait_for(|stats| stats.in_flight == 0).await;
        self.entries()
    }

    /// Forgets all lines and sums; sequence numbers go on. Requests in flight stay counted as in flight; their lines are lost.
    pub fn clear(&self) {
        let mut entries = self.lock();
        let c = &self.book.counters;
        for counter in [&c.accepted, &c.complete, &c.client_gone, &c.cut, &c.error, &c.billed_nano_usd] {
            counter.store(0, Ordering::Release);
        }
        c.peak_in_flight.store(c.in_flight.load(Ordering::Acquire), Ordering::Release);
        entries.clear();
        drop(entries);
        self.book.changed.notify_waiters();
    }

    /// Counts a request in without a line: the fast mode.
    pub(crate) fn count_in(&self) -> u64 {
        let c = &self.book.counters;
        let seq = c.sequence.fetch_add(1, Ordering::AcqRel) + 1;
        c.accepted.fetch_add(1, Ordering::AcqRel);
        let in_flight = c.in_flight.fetch_add(1, Ordering::AcqRel) + 1;
        c.peak_in_flight.fetch_max(in_flight, Ordering::AcqRel);
        self.book.changed.notify_waiters();
        seq
    }

    /// Counts a request in and opens its line; `entry.seq` is set here.
    pub(crate) fn open(&self, mut entry: Entry) -> u64 {
        let mut entries = self.lock();
        let seq = self.count_in();
        entry.seq = seq;
        entries.push(entry);
        seq
    }

    /// Changes the line of a request, if the bill still has it.
    pub(crate) fn amend(&self, seq: u64, change: impl FnOnce(&mut Entry)) {
        let mut entries = self.lock();
        if let Ok(at) = entries.binary_search_by_key(&seq, |entry| entry.seq)
            && let Some(entry) = entries.get_mut(at)
        {
            change(entry);
        }
    }

    /// Counts a request out.
    pub(crate) fn count_out(&self, state: State, cost_nano_usd: u64) {
        let c = &self.book.counters;
        let ended = match state {
            State::Complete => &c.complete,
            State::ClientGone => &c.client_gone,
            State::Cut => &c.cut,
            State::Error | State::InFlight => &c.error,
        };
        ended.fetch_add(1, Ordering::AcqRel);
        c.billed_nano_usd.fetch_add(cost_nano_usd, Ordering::AcqRel);
        c.in_flight.fetch_sub(1, Ordering::AcqRel);
        self.book.changed.notify_waiters();
    }

    pub(crate) fn connection_opened(&self) {
        self.book.counters.connections.fetch_add(1, Ordering::AcqRel);
        self.book.counters.open_connections.fetch_add(1, Ordering::AcqRel);
        self.book.changed.notify_waiters();
    }

    pub(crate) fn connection_closed(&self) {
        self.book.counters.open_connections.fetch_sub(1, Ordering::AcqRel);
        self.book.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.book.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The open line of one request. Closes it on drop: as gone, if nobody closed it before.
pub(crate) struct Charge {
    bill: Bill,
    seq: u64,
    has_line: bool,
    price: Option<Price>,
    tokens: Tokens,
    digest: Option<aws_lc_rs::digest::Context>,
    bytes: u64,
    open: bool,
}

impl Charge {
    /// Opens a line.
    pub(crate) fn open(bill: &Bill, entry: Entry) -> Self {
        let seq = bill.open(entry);
        let mut charge = Self::bare(bill, seq);
        charge.digest = Some(sha256());
        charge.has_line = true;
        charge
    }

    /// Counts a request without a line.
    pub(crate) fn counted(bill: &Bill) -> Self {
        Self::bare(bill, bill.count_in())
    }

    fn bare(bill: &Bill, seq: u64) -> Self {
        let bill = bill.clone();
        Self { bill, seq, has_line: false, price: None, tokens: Tokens::default(), digest: None, bytes: 0, open: true }
    }

    /// The number of the request.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    /// Says what is charged from here on: the input at once, the output as [`Self::generated`] tells.
    pub(crate) fn prices(&mut self, price: Option<Price>, tokens: Tokens) {
        self.price = price;
        self.tokens = Tokens { output: 0, reasoning: 0, ..tokens };
    }

    /// Notes the status that is being answered.
    pub(crate) fn answers(&mut self, status: u16) {
        if self.has_line {
            self.bill.amend(self.seq, |entry| entry.status = status);
        }
    }

    /// Notes bytes of the body handed to the connection.
    pub(crate) fn sent(&mut self, data: &[u8]) {
        self.bytes += u64::try_from(data.len()).unwrap_or(u64::MAX);
        if let Some(digest) = &mut self.digest {
            digest.update(data);
        }
    }

    /// Notes output generated so far (running totals).
    pub(crate) fn generated(&mut self, output: u64, reasoning: u64) {
        self.tokens.output = output;
        self.tokens.reasoning = reasoning.min(output);
    }

    /// Closes the line. Later calls do nothing.
    pub(crate) fn close(&mut self, state: State, reported: Option<Tokens>) {
        if !std::mem::replace(&mut self.open, false) {
            return;
        }
        let cost = self.price.map_or(0, |price| cost_nano_usd(&price, &self.tokens));
        if self.has_line {
            let sha = self.digest.take().map_or_else(String::new, |digest| hex(digest.finish().as_ref()));
            let (tokens, priced, bytes) = (self.tokens, self.price.is_some(), self.bytes);
            self.bill.amend(self.seq, |entry| {
                entry.state = state;
                entry.billed_usage = tokens;
                entry.reported_usage = reported;
                entry.cost_nano_usd = cost;
                entry.priced = priced;
                entry.response_sha256 = sha;
                entry.response_bytes = bytes;
            });
        }
        self.bill.count_out(state, cost);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.close(State::ClientGone, None);
    }
}

fn sha256() -> aws_lc_rs::digest::Context {
    aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256)
}

/// Returns the SHA-256 of some bytes in hexadecimal.
pub fn sha256_hex(data: &[u8]) -> String {
    hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, data).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
        text
    })
}
