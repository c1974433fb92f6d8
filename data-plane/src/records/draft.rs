//! A request's record while the request runs.
//!
//! Rule: exactly one record per request. The draft writes it when it is finished, and when it is dropped without that: a
//! client that left, a panic. Nothing else writes outcomes.

use super::journal::IntentToken;
use super::trace::Trace;
use crate::budget::Reservation;
use crate::gateway::{Gateway, Place};
use crate::metrics::Finished;
use crate::span::{RequestSpan, SpanFacts};
use helix_proto::convert::record::{basis_from_wire, basis_to_wire};
use helix_proto::v1;
use helix_shared::error_code::ErrorCode;
use helix_shared::money::NanoUsd;
use helix_shared::usage::CostBasis;
use std::fmt::Display;
use std::sync::Arc;

/// The code of a request whose client left before it had its answer.
pub const CLIENT_CLOSED: &str = "client_closed_request";
/// What is wrong with an attempt of which no byte went upstream.
pub const NOT_SENT: &str = "not_sent";
/// The status that such a request is recorded with.
const CLIENT_CLOSED_STATUS: u32 = 499;

/// A record in the making.
#[derive(Debug)]
pub struct Draft {
    gateway: Arc<Gateway>,
    /// The record so far, without its trace.
    pub record: v1::UsageRecord,
    trace: Trace,
    /// The request's trace context.
    pub span: RequestSpan,
    /// Kind of the provider that was asked last.
    pub provider: &'static str,
    dialect: &'static str,
    operation: &'static str,
    place: Option<Place>,
    started_monotonic_us: u64,
    stage_started_us: u64,
    intents: Vec<IntentToken>,
    /// What is held for the try that ended last, and what it cost.
    held: Option<(Reservation, NanoUsd)>,
    is_open: bool,
}

impl Draft {
    /// Opens the record of a request.
    pub fn open(
        gateway: &Arc<Gateway>,
        place: Place,
        dialect: &'static str,
        operation: &'static str,
        request_id: String,
    ) -> Box<Self> {
        let now = gateway.clock.monotonic_us();
        gateway.metrics.in_flight.inc();
        let record = v1::UsageRecord {
            request_id,
            dialect: dialect.to_owned(),
            timing: Some(v1::Timing { started_at_us: gateway.clock.now().get(), first_byte_us: 0, total_us: 0 }),
            tokens: Some(v1::Tokens::default()),
            basis: v1::CostBasis::Exact.into(),
            ..v1::UsageRecord::default()
        };
        Box::new(Self {
            gateway: Arc::clone(gateway),
            record,
            trace: Trace::new(),
            span: RequestSpan::default(),
            provider: "",
            dialect,
            operation,
            place: Some(place),
            started_monotonic_us: now,
            stage_started_us: now,
            intents: Vec::new(),
            held: None,
            is_open: true,
        })
    }

    /// The shared state.
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// Id of the request.
    pub fn request_id(&self) -> &str {
        &self.record.request_id
    }

    /// When the request came, µs since 1970.
    pub fn started_at_us(&self) -> i64 {
        self.record.timing.as_ref().map_or(0, |timing| timing.started_at_us)
    }

    /// Writes a line of the pipeline trace; its time is what passed since the line before.
    pub fn stage(&mut self, name: &str, verdict: &str, reason: impl Display) {
        let now = self.gateway.clock.monotonic_us();
        let duration_us = now.saturating_sub(self.stage_started_us);
        self.stage_started_us = now;
        self.trace.push(name, verdict, reason, duration_us);
    }

    /// Notes that an intent is in the journal; the record will close it.
    pub fn add_intent(&mut self, token: IntentToken) -> &IntentToken {
        let place = self.intents.len();
        self.intents.push(token);
        &self.intents[place]
    }

    /// Adds a try at a backend; its cost counts into the record's.
    pub fn add_attempt(&mut self, attempt: v1::Attempt) {
        let basis = basis_from_wire(attempt.basis);
        if sureness(basis) < sureness(basis_from_wire(self.record.basis)) {
            self.record.basis = basis_to_wire(basis).into();
        }
        self.record.cost_nano_usd = self.record.cost_nano_usd.saturating_add(attempt.cost_nano_usd);
        self.record.attempts.push(attempt);
    }

    /// Keeps what is held for a try that ended until the journal says how it ended: should the process die before, it is
    /// booked at the worst case, and nobody else may have been given that money.
    pub fn hold(&mut self, reservation: Reservation, cost: NanoUsd) {
        self.settle_held();
        self.held = Some((reservation, cost));
    }

    /// Makes the end of the last try durable, because another one follows; what it did not use comes free.
    pub fn end_attempt(&mut self) {
        let Some(attempt) = self.record.attempts.last().filter(|attempt| attempt.intent > 0) else { return };
        match self.gateway.journal.attempt(attempt) {
            Ok(()) => self.settle_held(),
            Err(error) => tracing::warn!(error = %crate::chain(&error), "the end of an attempt could not be written"),
        }
    }

    fn settle_held(&mut self) {
        if let Some((reservation, cost)) = self.held.take() {
            reservation.settle(cost);
        }
    }

    /// How sure the last try's cost is, in a word.
    pub fn last_basis(&self) -> &'static str {
        let basis = self.record.attempts.last().map_or(self.record.basis, |attempt| attempt.basis);
        basis_from_wire(basis).as_str()
    }

    /// Notes when the first byte went to the client.
    pub fn note_first_byte(&mut self) {
        let elapsed = self.gateway.clock.monotonic_us().saturating_sub(self.started_monotonic_us);
        if let Some(timing) = &mut self.record.timing
            && timing.first_byte_us == 0
        {
            timing.first_byte_us = elapsed.max(1);
        }
    }

    /// The request was answered by a backend.
    pub fn allowed(&mut self, status: u16) {
        self.decide(v1::decision::Kind::Allowed, "", "", status);
    }

    /// A stage refused the request.
    pub fn denied(&mut self, stage: &str, code: ErrorCode, status: u16) {
        self.decide(v1::decision::Kind::Denied, stage, code.as_str(), status);
    }

    /// The request was admitted and not answered as asked.
    pub fn failed(&mut self, stage: &str, code: &str, status: u16) {
        self.decide(v1::decision::Kind::Failed, stage, code, status);
    }

    fn decide(&mut self, kind: v1::decision::Kind, stage: &str, code: &str, status: u16) {
        self.record.http_status = u32::from(status);
        self.record.decision = Some(v1::Decision { kind: kind.into(), stage: stage.to_owned(), code: code.to_owned() });
    }

    /// Writes the record.
    pub fn finish(mut self: Box<Self>) {
        self.close();
    }

    /// Writes the record; the request's place among those in flight is the caller's, until the answer is gone.
    pub fn finish_and_keep_place(mut self: Box<Self>) -> Option<Place> {
        self.close();
        self.place.take()
    }

    fn close(&mut self) {
        if !std::mem::replace(&mut self.is_open, false) {
            return;
        }
        self.close_unsent();
        if self.record.decision.is_none() {
            self.failed("model", CLIENT_CLOSED, 0);
            self.record.http_status = CLIENT_CLOSED_STATUS;
        }
        self.stage("audit", "recorded", "");
        let total_us = self.gateway.clock.monotonic_us().saturating_sub(self.started_monotonic_us);
        if let Some(timing) = &mut self.record.timing {
            timing.total_us = total_us;
        }
        self.tell_metrics_and_span(total_us);
        record_or_count(&self.gateway, &self.intents, std::mem::take(&mut self.record), self.trace.as_bytes());
        self.settle_held();
        self.gateway.metrics.in_flight.dec();
    }

    /// An intent without an attempt: the client left while the disk was awaited, before a byte went upstream.
    fn close_unsent(&mut self) {
        for token in &self.intents {
            if self.record.attempts.iter().all(|attempt| attempt.intent != token.intent) {
                self.record.attempts.push(v1::Attempt {
                    intent: token.intent,
                    backend_id: self.record.backend_id.clone(),
                    error: NOT_SENT.to_owned(),
                    basis: v1::CostBasis::Exact.into(),
                    ..v1::Attempt::default()
                });
            }
        }
    }

    fn tell_metrics_and_span(&mut self, total_us: u64) {
        let record = &self.record;
        let (kind, code) = record.decision.as_ref().map_or((0, ""), |decision| (decision.kind, decision.code.as_str()));
        let outcome = match v1::decision::Kind::try_from(kind).unwrap_or_default() {
            v1::decision::Kind::Allowed => "allowed",
            v1::decision::Kind::Denied => "denied",
            v1::decision::Kind::Failed | v1::decision::Kind::Unspecified => "failed",
        };
        let tokens = record.tokens.unwrap_or_default();
        self.gateway.metrics.finished(&Finished {
            dialect: self.dialect,
            outcome,
            code,
            tokens: [tokens.input, tokens.cache_read, tokens.output],
            cost_nano_usd: u64::try_from(record.cost_nano_usd).unwrap_or(0),
            seconds: std::time::Duration::from_micros(total_us).as_secs_f64(),
        });
        let count = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
        std::mem::take(&mut self.span).end(&SpanFacts {
            operation: self.operation,
            provider: self.provider,
            requested_model: &record.requested_model,
            served_model: &record.served_model,
            input_tokens: count(tokens.input + tokens.cache_read + tokens.cache_write + tokens.cache_write_long),
            output_tokens: count(tokens.output),
            http_status: i64::from(record.http_status),
            error: code,
            request_id: &record.request_id,
            cost_nano_usd: record.cost_nano_usd,
        });
        tracing::debug!(
            request.id = record.request_id,
            outcome,
            error.code = code,
            status = record.http_status,
            cost_nano_usd = record.cost_nano_usd,
            duration_us = total_us,
            "request finished"
        );
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        self.close();
    }
}

/// Writes a record; a refusal that finds no room is counted, since it cannot be told.
pub fn record_or_count(gateway: &Gateway, intents: &[IntentToken], record: v1::UsageRecord, trace: &[u8]) {
    if gateway.journal.outcome(intents, record, trace).is_err() {
        gateway.metrics.unrecorded();
    }
}

/// How sure a basis is; the least sure one of a request's attempts is the request's.
pub(super) fn sureness(basis: CostBasis) -> u8 {
    match basis {
        CostBasis::Exact => 3,
        CostBasis::ProviderReported => 2,
        CostBasis::Estimated => 1,
        CostBasis::Unknown => 0,
    }
}
