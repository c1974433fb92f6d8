//! Money before bytes: bound what an attempt may cost, and reserve it in every hard budget.
//!
//! Rule: reserve is never less than actual. The input is bounded by its bytes, the output by the caller's cap or, without
//! one, by a cap that we set: the model's most, or what the budget affords (the answer says so). A caller's own cap is
//! never changed: it is honoured or the request is refused. What has no price or no bound is refused under a hard budget.

use super::media;
use super::refusal::Refusal;
use crate::budget::escrowing::{Escrow, Refused};
use crate::budget::{Account, Reservation, Slot};
use crate::config::Pinned;
use crate::config::current::Place;
use helix_llm::{CacheMarks, Dialect, Family, OutputCap, RequestFacts};
use helix_shared::budget::{AccountKey, Limit, Mode};
use helix_shared::catalog::{ModelPrice, TierRequest, Unbounded, UsageBound, affordable_output, worst_case};
use helix_shared::error_code::ErrorCode;
use helix_shared::money::NanoUsd;
use helix_shared::snapshot::Caller;
use helix_shared::time::UnixMicros;
use smallvec::SmallVec;
use std::sync::Arc;

const STAGE: &str = "budget";
/// A cap below this is not worth answering with.
const LEAST_OUTPUT_TOKENS: u64 = 256;
/// The cap where neither the caller nor the catalogue knows one.
const DEFAULT_OUTPUT_TOKENS: u64 = 16_384;
/// The API's own default of legacy completions. Source: OpenAI API reference, `max_tokens`.
const COMPLETION_OUTPUT_TOKENS: u64 = 16;
/// What one server-side search may add to the input.
const TOKENS_PER_SEARCH: u64 = 20_000;

/// The budgets of a request.
#[derive(Debug, Default)]
pub struct Path {
    /// Hard budgets, in order, with their limits.
    pub hard: SmallVec<[Arc<Slot>; 6]>,
    hard_limits: SmallVec<[Arc<Limit>; 6]>,
    soft: SmallVec<[(Arc<Slot>, Arc<Limit>); 2]>,
}

/// An admitted attempt.
#[derive(Debug)]
pub struct Admission {
    /// What is held; `None`: no hard budget, or nothing to pay.
    pub reservation: Option<Reservation>,
    /// What the attempt costs at most; zero where nothing was reserved.
    pub worst_case: NanoUsd,
    /// The cap to send, when it is ours.
    pub output_cap: Option<OutputCap>,
    /// The cap that the budget forced, for the answer's header.
    pub clamped_to: Option<u64>,
}

impl Path {
    /// Collects the budgets that a caller's requests for a model are charged to. Those of models count it under the name the
    /// client asked for, under every name that it may be served by, and under the catalogue's name for that: no other name
    /// for a model, such as one with a date or a region, gets around its budget.
    pub fn of(pinned: &Pinned, caller: &Caller, model: &str, places: &[Place]) -> Self {
        let mut path = Self::default();
        for index in caller.budgets.iter() {
            let (Some(limit), Some(slot)) = (pinned.snapshot.budgets.get(*index), pinned.slots.get(*index)) else {
                continue;
            };
            let covers = |name: &str| limit.scope.covers_model(name);
            let is_covered = covers(model)
                || places
                    .iter()
                    .any(|place| covers(&place.upstream_model) || place.known.is_some_and(|known| covers(&known.id)));
            if !is_covered {
                continue;
            }
            match limit.mode {
                Mode::Hard => {
                    path.hard.push(Arc::clone(slot));
                    path.hard_limits.push(Arc::clone(limit));
                }
                Mode::Soft => path.soft.push((Arc::clone(slot), Arc::clone(limit))),
            }
        }
        path
    }

    /// How many budgets there are.
    pub fn len(&self) -> usize {
        self.hard.len() + self.soft.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The accounts that a cost is charged to. The period of a budget that nothing is known of yet is left to the control
    /// plane (zero).
    pub fn accounts(&self, reservation: Option<&Reservation>, monotonic_us: u64) -> Vec<AccountKey> {
        let of_slot = |slot: &Arc<Slot>| {
            let unknown = AccountKey { budget_id: slot.budget_id.clone(), period_start: UnixMicros::default() };
            slot.account(monotonic_us).map_or(unknown, |account| account.key.clone())
        };
        let hard: Vec<AccountKey> = match reservation {
            Some(reservation) => reservation.accounts().cloned().collect(),
            None => self.hard.iter().map(of_slot).collect(),
        };
        hard.into_iter().chain(self.soft.iter().map(|(slot, _)| of_slot(slot))).collect()
    }

    /// The budgets of a request that nothing is reserved of.
    pub fn unreserved(&self) -> Vec<String> {
        self.soft.iter().map(|(slot, _)| slot.budget_id.as_str().to_owned()).collect()
    }

    /// The least money left in a hard budget.
    pub fn remaining(&self, monotonic_us: u64) -> Option<NanoUsd> {
        self.hard
            .iter()
            .filter_map(|slot| slot.account(monotonic_us))
            .map(|account| account.remaining().max(NanoUsd::ZERO))
            .min()
    }

    /// What the soft budgets warn of; asks for news of those that nothing is known of.
    pub fn warning(&self, escrow: &Escrow, monotonic_us: u64) -> Option<String> {
        let mut warning = None;
        for (slot, limit) in &self.soft {
            match slot.account(monotonic_us) {
                Some(account) if account.known_spent() >= account.limit() => {
                    warning =
                        Some(format!("{}: {} of {} USD used", limit.label, account.known_spent(), account.limit()));
                }
                Some(_) => {}
                None => escrow.inform(slot),
            }
        }
        warning
    }
}

/// What a place is asked.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Of the body that the place gets.
    pub facts: &'a RequestFacts,
    /// Whether the caller gave an output cap.
    pub has_own_cap: bool,
    /// How many requests the place bills.
    pub requests: u32,
}

/// Whether a request costs nothing at a place with this price, whatever it holds. A moderation costs nothing where nobody
/// says otherwise.
pub fn is_free(dialect: Dialect, price: Option<&ModelPrice>) -> bool {
    dialect.is_free() || (dialect == Dialect::OpenAiModerations && price.is_none_or(ModelPrice::is_free))
}

/// Admits an attempt at a place.
///
/// # Errors
/// `budget_exceeded`, `budget_unavailable`, `unpriced_model`, `unbounded_cost`.
pub async fn admit(
    escrow: &Escrow,
    path: &Path,
    asked: Asked<'_>,
    place: &Place,
    started_at: UnixMicros,
) -> Result<Admission, Refusal> {
    let Asked { facts, has_own_cap, requests } = asked;
    let free = Admission { reservation: None, worst_case: NanoUsd::ZERO, output_cap: None, clamped_to: None };
    if path.hard.is_empty() || is_free(facts.dialect, place.price.as_deref()) {
        return Ok(free);
    }
    let named = |refusal| named(path, refusal);
    let Some(price) = &place.price else { return Err(named(unpriced(place))) };
    let is_media = facts.dialect.is_media();
    let bound = if is_media { media::bound(facts, place, price, started_at) } else { bound(facts, place, started_at) };
    let mut bound = bound.map_err(named)?;
    bound.requests = requests;
    let is_cap_ours = !has_own_cap && facts.dialect.can_be_capped();
    // What a prediction may add is billed beside the answer: it is in the bound and not in the cap.
    let beside = facts.output_token_bound(0) / facts.choices.max(1);
    let mut clamped_to = None;
    let mut clamps_left = path.hard.len();
    loop {
        let worst_case = worst_case(&bound, price).map_err(|error| named(unbounded(&error, place)))?;
        let (index, account) = match escrow.admit(&path.hard, worst_case).await {
            Ok(reservation) => {
                let tokens = bound.output_tokens_max.saturating_sub(beside);
                let field = place.upstream.backend.cap_field();
                let output_cap = if is_cap_ours {
                    Some(OutputCap { tokens, field })
                } else {
                    unread_cap(facts, place).map(|tokens| OutputCap { tokens, field })
                };
                return Ok(Admission { reservation: Some(reservation), worst_case, output_cap, clamped_to });
            }
            Err(Refused::Exceeded { index, account }) => (index, account),
            Err(Refused::Unavailable { index }) => return Err(unavailable(path, index)),
        };
        // Without a cap of the caller's, a smaller answer may still be affordable; another budget may be tighter yet.
        let smaller = affordable_output(account.remaining(), &bound, price);
        let cap = smaller.saturating_sub(beside);
        if !is_cap_ours || clamps_left == 0 || cap < LEAST_OUTPUT_TOKENS || smaller >= bound.output_tokens_max {
            return Err(exceeded(path, index, &account, worst_case));
        }
        clamps_left -= 1;
        bound.output_tokens_max = smaller;
        clamped_to = Some(cap);
    }
}

/// The caller's own cap, where it stands in a field that the place may pass over: it must stand in the other too.
fn unread_cap(facts: &RequestFacts, place: &Place) -> Option<u64> {
    let backend = &place.upstream.backend;
    let is_at_risk = facts.dialect == Dialect::OpenAiChat && backend.kind.facts().may_ignore_other_cap;
    facts.output_cap.filter(|_| is_at_risk && !facts.has_cap_in(backend.cap_field()))
}

fn exceeded(path: &Path, index: usize, account: &Account, worst_case: NanoUsd) -> Refusal {
    let limit = path.hard_limits.get(index);
    let label = limit.map_or("", |limit| limit.label.as_str());
    let whom = limit.map_or("your administrator", |limit| limit.scope.whom_to_ask());
    let resets = UnixMicros::new(account.period_end_us());
    let message = format!(
        "Budget exceeded ({label}): {} of {} USD are used or reserved, this request may cost up to {worst_case} USD. The \
         budget resets at {resets}. Ask {whom} to raise it, or send a smaller request or max_tokens.",
        account.committed(),
        account.limit(),
    );
    Refusal::new(STAGE, ErrorCode::BudgetExceeded, message)
}

/// The most that a request can use at a place.
fn bound(facts: &RequestFacts, place: &Place, started_at: UnixMicros) -> Result<UsageBound, Refusal> {
    let unbounded = |what: &str| {
        let message = format!("Under a hard budget a request's cost must have a bound: {what}.");
        Refusal::new(STAGE, ErrorCode::UnboundedCost, message)
    };
    let Some(input) = facts.input_token_bound().or(place.max_input_tokens) else {
        return Err(unbounded("documents need a model whose context window is known"));
    };
    let searches = facts.server_tools;
    if searches.has_uncapped {
        return Err(unbounded(match facts.dialect {
            Dialect::OpenAiResponses => {
                "cap web searches by `max_tool_calls`, and leave other tools of the provider out"
            }
            _ => "give each server tool a `max_uses`",
        }));
    }
    // A document that is fetched may fill all that the model reads; a limit of its text holds for no PDF.
    let input = match (searches.fetches, place.max_input_tokens) {
        (0, _) => input,
        (_, Some(window)) => input.max(window),
        (_, None) => return Err(unbounded("tools that fetch need a model whose context window is known")),
    };
    // Each search is followed by a pass that reads everything before it again; Anthropic bills that as one input.
    // A summary of what was said reads all of it first.
    let passes = match facts.dialect {
        Dialect::OpenAiResponses => searches.max_uses.saturating_add(1),
        _ => 1 + u64::from(facts.may_compact),
    };
    let input = input.saturating_add(searches.max_uses.saturating_mul(TOKENS_PER_SEARCH)).saturating_mul(passes);
    let cap = facts.output_cap.unwrap_or_else(|| match facts.dialect {
        Dialect::OpenAiCompletions => COMPLETION_OUTPUT_TOKENS,
        _ => place.max_output_tokens.unwrap_or(DEFAULT_OUTPUT_TOKENS),
    });
    let output = if facts.dialect.can_be_capped() { facts.output_token_bound(cap) / facts.choices.max(1) } else { 0 };
    let mut bound = UsageBound::text(input, output, started_at);
    bound.choices = u32::try_from(facts.choices).unwrap_or(u32::MAX);
    bound.may_cache_write_long = facts.cache_marks == CacheMarks::Long;
    bound.may_have_audio_input = facts.media.audio > 0;
    bound.may_have_audio_output = facts.asks_audio;
    bound.searches_max = Some(u32::try_from(searches.max_uses).unwrap_or(u32::MAX));
    bound.tier = tier_request(facts, place.upstream.backend.kind.facts().may_choose_tier);
    bound.has_residency = has_residency(facts) || place.upstream.is_regional();
    Ok(bound)
}

/// Whether the request asks for processing in one region, which is priced apart.
pub fn has_residency(facts: &RequestFacts) -> bool {
    facts.inference_geo.as_deref().is_some_and(|region| region != "global")
}

fn tier_request(facts: &RequestFacts, may_choose: bool) -> TierRequest {
    if facts.is_fast {
        return TierRequest::Priority;
    }
    match (facts.service_tier.as_deref(), facts.dialect.family()) {
        (None | Some("auto"), Family::OpenAi) if may_choose => TierRequest::Auto,
        (None | Some("auto" | "default" | "standard" | "standard_only"), _) => TierRequest::Standard,
        (Some("flex"), _) => TierRequest::Flex,
        (Some("priority" | "fast"), _) => TierRequest::Priority,
        (Some("batch"), _) => TierRequest::Batch,
        (Some(_), _) => TierRequest::Other,
    }
}

/// Adds which budget it is that wants a price and a bound: the first hard one, for any of them would.
fn named(path: &Path, mut refusal: Refusal) -> Refusal {
    if let Some(limit) = path.hard_limits.first() {
        refusal.message.push_str(&format!(" The budget: {}.", limit.label));
    }
    refusal
}

fn unpriced(place: &Place) -> Refusal {
    let message = format!(
        "The model has no price at backend `{}`, and a hard budget governs you. Ask your administrator to add it under `prices`.",
        place.upstream.backend.id
    );
    Refusal::new(STAGE, ErrorCode::UnpricedModel, message).with_param(Some("model"))
}

fn unbounded(error: &Unbounded, place: &Place) -> Refusal {
    match error {
        Unbounded::Unpriced(_) => unpriced(place),
        Unbounded::Searches => {
            let message =
                "Under a hard budget a request's cost must have a bound: the model may search as often as it likes.";
            Refusal::new(STAGE, ErrorCode::UnboundedCost, message)
        }
    }
}

fn unavailable(path: &Path, index: usize) -> Refusal {
    let label = path.hard_limits.get(index).map_or("", |limit| limit.label.as_str());
    let message = format!(
        "The budget ({label}) cannot be checked right now, because the control plane does not answer; hard budgets refuse then."
    );
    Refusal::new(STAGE, ErrorCode::BudgetUnavailable, message).with_retry_after(5)
}
