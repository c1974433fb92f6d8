//! What an attempt cost, and closing it.
//!
//! Rule: exactly once per attempt, on every way out. The provider's final counts are exact; a cut answer is estimated from
//! what was seen and never above what was reserved; what nobody can know is booked at the worst case.

use super::broken::Broken;
use super::counting::{Counted, Said};
use super::media;
use crate::budget::Reservation;
use crate::records::draft::Draft;
use crate::upstream::body::Upload;
use helix_llm::{Dialect, Family, Quirks, ResponseFacts, estimate_tokens};
use helix_proto::convert::record::{basis_to_wire, tokens_to_wire};
use helix_proto::v1;
use helix_shared::catalog::{Catalog, ModelPrice, PriceOrigin, ServiceTier, Terms, cost};
use helix_shared::money::NanoUsd;
use helix_shared::provider::OnLeave;
use helix_shared::time::UnixMicros;
use helix_shared::usage::{CostBasis, TokenUsage};
use std::sync::Arc;

/// An attempt whose intent is written: bytes may have gone upstream.
#[derive(Debug)]
pub struct OpenAttempt {
    /// Number of its intent.
    pub intent: u64,
    /// Where.
    pub backend_id: String,
    /// Under which name.
    pub upstream_model: Arc<str>,
    /// At which price; `None`: unknown.
    pub price: Option<Arc<ModelPrice>>,
    /// What is held for it.
    pub reservation: Option<Reservation>,
    /// What it costs at most; zero where nothing was reserved.
    pub worst_case: NanoUsd,
    /// The dialect spoken.
    pub dialect: Dialect,
    /// Whether it costs nothing, whatever it holds.
    pub is_free: bool,
    /// How the provider counts.
    pub quirks: Quirks,
    /// Input tokens, as estimated before.
    pub estimated_input_tokens: u64,
    /// What was sent, for the case that nobody counts it.
    pub said: Said,
    /// What was counted instead.
    pub counted: Option<Counted>,
    /// Whether processing in one region was asked for.
    pub has_residency: bool,
    /// What is booked when the provider says nothing of its usage, and whether that is exact; `None`: by the text seen.
    pub unreported: Option<(TokenUsage, bool)>,
    /// What the client still sends.
    pub upload: Option<Upload>,
    /// How much of the body was here before.
    pub begun_bytes: u64,
    /// What is done when the client leaves.
    pub on_leave: OnLeave,
    /// Whether the place itself is priced as a region.
    pub is_regional: bool,
    /// When it began, µs since 1970: the moment whose prices hold.
    pub started_at_us: i64,
    /// When it began on the monotonic clock, µs.
    pub started_monotonic_us: u64,
    /// Status of the answer; 0: none yet.
    pub status: u16,
    /// The provider's own id of the request.
    pub provider_request_id: String,
    /// What cut an answer off, where it is known.
    pub cut_by: Option<&'static str>,
}

/// How an attempt ended.
#[derive(Debug)]
pub enum Ending<'a> {
    /// An answer, whole or cut; `is_final`: its usage is the provider's last word.
    Answered {
        /// What it said.
        facts: &'a ResponseFacts,
        /// Whether the usage is final.
        is_final: bool,
    },
    /// Several answers came, each billed for itself and finally counted.
    Called {
        /// What they used together.
        usage: TokenUsage,
        /// What each says.
        calls: Vec<&'a ResponseFacts>,
    },
    /// Nothing was billed: it was never sent, or the provider refused.
    Unbilled(&'static str),
    /// It was sent and nobody can know what became of it.
    Uncertain(&'static str),
}

impl OpenAttempt {
    /// Notes that the first byte may go upstream.
    pub fn dispatched(&mut self) {
        if let Some(reservation) = &mut self.reservation {
            reservation.dispatched();
        }
    }

    /// Notes what broke it: in the trace, in the record for a cut answer, and a limit that passed in the log.
    pub fn note_broken(&mut self, draft: &mut Draft, broken: Broken) {
        self.cut_by = Some(broken.verdict());
        draft.stage("model", "error", format_args!("{}, {}", broken.code().as_str(), broken.verdict()));
        if let Broken::TimedOut(phase) = broken {
            tracing::warn!(request.id = draft.request_id(), backend.id = %self.backend_id, model = %self.upstream_model, limit = phase.setting(), "a provider took longer than its limit allows");
        }
    }

    /// Whether what is heard is charged by its length.
    pub fn is_charged_by_second(&self) -> bool {
        self.price.as_ref().is_none_or(|price| price.units.audio_input_second.is_some())
    }

    /// What is booked when nobody can know what became of it: all that is held for it; where no hard budget holds
    /// anything, the price of the input that was sent.
    pub fn uncertain_cost(&self) -> NanoUsd {
        if self.is_free {
            return NanoUsd::ZERO;
        }
        if self.reservation.is_some() {
            return self.worst_case;
        }
        self.price(&self.estimated_input(), &ResponseFacts::default()).unwrap_or(NanoUsd::ZERO)
    }

    /// Closes the attempt: settles the reservation and adds it to the record. Returns the cost.
    pub fn close(mut self, draft: &mut Draft, ending: &Ending<'_>) -> NanoUsd {
        // A request that never arrived whole was not answered, and nothing is charged for it.
        let is_cut_off = self.status == 0 && self.upload.as_ref().is_some_and(|upload| !upload.is_whole());
        let ending = match ending {
            Ending::Uncertain(error) if is_cut_off => &Ending::Unbilled(error),
            ending => ending,
        };
        let (usage, amount, basis, error) = match ending {
            Ending::Answered { facts, is_final } => {
                let (usage, amount, basis) = self.price_answer(facts, *is_final);
                (usage, amount, basis, if *is_final { "" } else { self.cut_by.unwrap_or("incomplete") })
            }
            Ending::Called { usage, calls } => {
                let (amount, basis) = self.price_calls(calls);
                (*usage, amount, basis, "")
            }
            Ending::Unbilled(error) => (TokenUsage::default(), NanoUsd::ZERO, CostBasis::Exact, *error),
            Ending::Uncertain(error) => (self.estimated_input(), self.uncertain_cost(), CostBasis::Unknown, *error),
        };
        if let Some(reservation) = self.reservation.take() {
            let overrun = amount.saturating_sub(reservation.amount());
            draft.hold(reservation, amount);
            if overrun > NanoUsd::ZERO {
                tracing::error!(request.id = draft.request_id(), overrun_nano_usd = overrun.get(), model = %self.upstream_model, "an answer cost more than its bound");
                draft.gateway().metrics.overrun(u64::try_from(overrun.get()).unwrap_or(0));
            }
        }
        let now = draft.gateway().clock.monotonic_us();
        let outcome = if error.is_empty() { "ok" } else { error_class(self.status) };
        draft.gateway().metrics.attempted(&self.backend_id, outcome);
        draft.record.tokens = Some(tokens_to_wire(&usage));
        draft.add_attempt(v1::Attempt {
            intent: self.intent,
            backend_id: std::mem::take(&mut self.backend_id),
            upstream_model: self.upstream_model.to_string(),
            status: u32::from(self.status),
            error: error.to_owned(),
            duration_us: u32::try_from(now.saturating_sub(self.started_monotonic_us)).unwrap_or(u32::MAX),
            tokens: Some(tokens_to_wire(&usage)),
            cost_nano_usd: amount.get(),
            basis: basis_to_wire(basis).into(),
            provider_request_id: std::mem::take(&mut self.provider_request_id),
            price_version: self.price_version(basis).to_owned(),
        });
        amount
    }

    fn price_answer(&self, facts: &ResponseFacts, is_final: bool) -> (TokenUsage, NanoUsd, CostBasis) {
        if self.is_free {
            return (TokenUsage::default(), NanoUsd::ZERO, CostBasis::Exact);
        }
        // There is no request without a token: a provider that says zero did not count.
        let counted = facts.usage.filter(|usage| !usage.is_empty());
        if let (true, Some(usage)) = (is_final, counted) {
            if let Some(stated) = facts.provider_cost {
                return (usage, stated, CostBasis::ProviderReported);
            }
            return match self.price(&usage, facts) {
                Some(amount) => (usage, amount, CostBasis::Exact),
                None => (usage, self.worst_case, CostBasis::Unknown),
            };
        }
        let unreported = self.unreported().filter(|_| counted.is_none());
        if let Some((usage, true)) = unreported {
            return match self.price(&usage, facts) {
                Some(amount) => (usage, amount, CostBasis::Exact),
                None => (usage, self.worst_case, CostBasis::Unknown),
            };
        }
        let usage = match (self.unreported(), counted) {
            (Some((usage, _)), None) => usage,
            (Some(_), Some(usage)) => usage,
            (None, _) => self.estimate(facts),
        };
        let amount = self.price(&usage, facts);
        let (amount, basis) = match amount {
            Some(amount) if self.reservation.is_some() => (amount.min(self.worst_case), CostBasis::Estimated),
            Some(amount) => (amount, CostBasis::Estimated),
            None => (self.worst_case, CostBasis::Unknown),
        };
        (usage, amount, basis)
    }

    /// Prices answers that the provider bills one by one: each by its own size, tier and cost.
    fn price_calls(&self, calls: &[&ResponseFacts]) -> (NanoUsd, CostBasis) {
        let mut sum = NanoUsd::ZERO;
        let mut basis = None;
        for facts in calls {
            let (_, amount, its_basis) = self.price_answer(facts, true);
            if matches!(its_basis, CostBasis::Unknown) {
                return (self.worst_case, CostBasis::Unknown);
            }
            sum = sum.saturating_add(amount);
            basis = Some(if basis.is_none_or(|basis| basis == its_basis) { its_basis } else { CostBasis::Exact });
        }
        (sum, basis.unwrap_or(CostBasis::Exact))
    }

    /// Which prices the cost was made by.
    fn price_version(&self, basis: CostBasis) -> &'static str {
        match self.price.as_ref().map(|price| price.origin) {
            Some(_) if basis == CostBasis::ProviderReported => "",
            Some(PriceOrigin::Catalog) => Catalog::bundled().as_of(),
            Some(PriceOrigin::Override) => "config",
            Some(PriceOrigin::Local) | None => "",
        }
    }

    fn price(&self, usage: &TokenUsage, facts: &ResponseFacts) -> Option<NanoUsd> {
        let price = self.price.as_ref()?;
        let tier = match self.dialect.family() {
            _ if self.dialect == Dialect::BedrockConverse => ServiceTier::from_openai(facts.service_tier.as_deref()),
            Family::OpenAi => ServiceTier::from_openai(facts.service_tier.as_deref()),
            Family::Gemini => ServiceTier::from_gemini(facts.service_tier.as_deref()),
            Family::Anthropic => {
                ServiceTier::from_anthropic(facts.service_tier.as_deref(), facts.is_fast.then_some("fast"))
            }
        };
        let stated_region =
            facts.inference_geo.as_deref().map(|region| region != "global" && region != "not_available");
        let has_residency = self.is_regional || stated_region.unwrap_or(self.has_residency);
        let terms = Terms { tier, has_residency, started_at: UnixMicros::new(self.started_at_us) };
        cost(usage, price, &terms).ok()
    }

    /// Counts of an answer without final usage: the provider's early counts where they came; text otherwise, as it was
    /// counted, or by its length.
    fn estimate(&self, facts: &ResponseFacts) -> TokenUsage {
        let family = self.dialect.family();
        let seen = self.counted.map_or_else(|| estimate_tokens(family, facts.text), |counted| counted.answer);
        let mut usage = facts.usage.unwrap_or_default();
        if usage.total_input_tokens() == 0 {
            let counted = self.counted.and_then(|counted| counted.request).map(|(tokens, text)| {
                // What is not text stays as it was estimated.
                self.estimated_input_tokens.saturating_sub(estimate_tokens(family, text)).saturating_add(tokens)
            });
            usage.input_tokens = counted.unwrap_or(self.estimated_input_tokens);
        }
        usage.output_tokens = usage.output_tokens.max(seen);
        usage
    }

    /// What is booked when the provider says nothing of its usage. How long an upload was, which nobody had to say, is known
    /// once all of it was passed on.
    fn unreported(&self) -> Option<(TokenUsage, bool)> {
        let (usage, is_exact) = self.unreported?;
        let whole = self.upload.as_ref().filter(|upload| upload.is_whole());
        let bytes = whole.map(|upload| upload.passed_bytes().saturating_add(self.begun_bytes));
        Some((bytes.map_or(usage, |bytes| media::as_far_as_it_came(usage, bytes)), is_exact))
    }

    fn estimated_input(&self) -> TokenUsage {
        if let Some((usage, _)) = self.unreported() {
            return usage;
        }
        TokenUsage { input_tokens: self.estimated_input_tokens, ..TokenUsage::default() }
    }
}

fn error_class(status: u16) -> &'static str {
    match status {
        0 => "no_answer",
        200..=299 => "incomplete",
        401 | 403 => "credential",
        429 => "throttled",
        400..=499 => "rejected",
        _ => "provider_error",
    }
}
