//! What a stream said about itself, event by event.
//!
//! Rule: a later counter replaces an earlier one; text is the only thing that is added up.

use helix_shared::usage::TokenUsage;

use super::{StreamEnd, StreamFacts};
use crate::dialect::{Dialect, Family};
use crate::json::{Text, to_u64};
use crate::response::{
    Choices, Observation, ProviderError, ResponseFacts, counts_as, is_fast, is_partial, owned, text_of,
};
use crate::tokens::{MOST_KEPT_BYTES, keep_answer};
use crate::usage::{Counts, Quirks};

#[derive(Debug, Clone)]
pub(super) struct Tally {
    dialect: Dialect,
    family: Family,
    quirks: Quirks,
    answer: ResponseFacts,
    counts: Counts,
    choices: Choices,
    is_usage_final: bool,
    end: StreamEnd,
    events: u64,
    /// The first of the text, where it is kept.
    kept: Option<Vec<u8>>,
}

impl Tally {
    pub(super) fn new(dialect: Dialect, quirks: Quirks) -> Self {
        Self {
            dialect,
            family: dialect.family(),
            quirks,
            answer: ResponseFacts::default(),
            counts: Counts::default(),
            choices: Choices::default(),
            is_usage_final: false,
            end: StreamEnd::Open,
            events: 0,
            kept: None,
        }
    }

    /// Notes one event that could be read.
    pub(super) fn note(&mut self, seen: Observation<'_>, event_name: &[u8]) {
        keep_first(&mut self.answer.id, seen.id);
        keep_first(&mut self.answer.served_model, seen.model);
        keep_last(&mut self.answer.service_tier, seen.service_tier);
        keep_last(&mut self.answer.inference_geo, seen.inference_geo);
        keep_last(&mut self.answer.finish, seen.finish);
        self.answer.is_fast = seen.speed.map_or(self.answer.is_fast, is_fast);
        self.answer.text.add((seen.text.bytes, seen.text.wide_bytes));
        self.choices.seen |= seen.choices.seen;
        self.choices.finished |= seen.choices.finished;
        self.events = self.events.saturating_add(1);
        let is_terminal = is_terminal(self.dialect, seen.kind);
        if seen.counts.is_usage() || seen.counts.audio_input_ms.is_some() {
            self.counts.replace_with(&seen.counts);
            self.is_usage_final |= match self.family {
                _ if self.is_converse() || self.dialect.is_media() => true,
                _ if self.dialect == Dialect::OpenAiResponses => is_terminal,
                Family::OpenAi => seen.choices.is_empty_list || self.are_choices_finished(),
                Family::Anthropic => seen.kind.is_some_and(|kind| kind.is("message_delta")),
                Family::Gemini => self.answer.finish.is_some() && !is_partial(self.dialect, &self.counts),
            };
        }
        let is_stop = match self.family {
            _ if self.is_converse() => event_name == b"metadata",
            _ if self.dialect.has_large_events() => is_terminal,
            _ if self.dialect == Dialect::Ollama => self.answer.finish.is_some(),
            Family::OpenAi | Family::Gemini => false,
            Family::Anthropic => seen.kind.is_some_and(|kind| kind.is("message_stop")),
        };
        let is_error = event_name == b"error" || seen.kind.is_some_and(|kind| kind.is("error"));
        match seen.error {
            Some(error) => self.note_error(error),
            None if is_error => self.note_error(ProviderError::default()),
            None if is_stop => self.note_end(StreamEnd::Done),
            None => {}
        }
    }

    /// Whether the events' common fields are known, so that an event may be looked at cheaply.
    pub(super) fn is_introduced(&self) -> bool {
        self.answer.served_model.is_some()
    }

    /// Looks whether an event carries nothing but text, and notes it if so.
    pub(super) fn glance(&mut self, data: &[u8]) -> bool {
        let before = self.kept.as_ref().map_or(0, Vec::len);
        let Some(text) = text_of(self.dialect, data, self.kept.as_mut()) else {
            if let Some(kept) = &mut self.kept {
                kept.truncate(before);
            }
            return false;
        };
        self.answer.text.add((text.bytes, text.wide_bytes));
        self.choices.seen |= 1;
        true
    }

    /// Keeps the text of an event that was read in full.
    pub(super) fn keep(&mut self, data: &[u8]) {
        if let Some(kept) = self.kept.as_mut().filter(|kept| kept.len() < MOST_KEPT_BYTES) {
            keep_answer(self.dialect, data, kept);
        }
    }

    pub(super) fn keep_text(&mut self) {
        self.kept.get_or_insert_default();
    }

    pub(super) fn take_text(&mut self) -> Vec<u8> {
        self.kept.take().unwrap_or_default()
    }

    /// Notes an event that was too large to be read: nearly all of it is text.
    pub(super) fn note_unread(&mut self, bytes: usize) {
        self.answer.text.add((to_u64(bytes), 0));
    }

    pub(super) fn note_error(&mut self, error: ProviderError) {
        self.answer.error.get_or_insert(error);
        self.note_end(StreamEnd::Error);
    }

    pub(super) fn note_end(&mut self, end: StreamEnd) {
        if self.end == StreamEnd::Open {
            self.end = end;
        }
    }

    /// How many events could be read.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    pub(super) fn end(&self) -> StreamEnd {
        self.end
    }

    fn is_converse(&self) -> bool {
        self.dialect == Dialect::BedrockConverse
    }

    fn are_choices_finished(&self) -> bool {
        self.choices.seen != 0 && self.choices.seen == self.choices.finished
    }

    /// Whether all that a client waits for has come, but the end mark.
    pub(super) fn is_whole(&self, is_hiding_usage: bool) -> bool {
        match self.family {
            Family::OpenAi => self.are_choices_finished() && (is_hiding_usage || self.counts.is_usage()),
            Family::Anthropic | Family::Gemini => self.answer.finish.is_some(),
        }
    }

    pub(super) fn usage(&self) -> Option<TokenUsage> {
        counts_as(self.dialect, &self.counts, self.quirks)
    }

    pub(super) fn facts(&self) -> StreamFacts {
        let usage = self.usage();
        let is_done = self.family == Family::OpenAi && self.end == StreamEnd::Done;
        StreamFacts {
            answer: ResponseFacts {
                usage,
                is_usage_partial: is_partial(self.dialect, &self.counts),
                provider_cost: self.counts.cost(self.quirks),
                ..self.answer.clone()
            },
            is_usage_final: usage.is_some() && (self.is_usage_final || is_done),
            end: self.end,
        }
    }
}

/// Whether an event says of itself that it is the last.
fn is_terminal(dialect: Dialect, kind: Option<Text<'_>>) -> bool {
    const RESPONSES: [&str; 2] = ["response.completed", "response.incomplete"];
    const MEDIA: [&str; 4] =
        ["image_generation.completed", "image_edit.completed", "speech.audio.done", "transcript.text.done"];
    let is_one_of = |names: &[&str]| kind.is_some_and(|kind| names.iter().any(|name| kind.is(name)));
    match dialect {
        Dialect::OpenAiResponses => is_one_of(&RESPONSES) || is_one_of(&["response.failed"]),
        _ => dialect.is_media() && is_one_of(&MEDIA),
    }
}

fn keep_first(slot: &mut Option<String>, text: Option<Text<'_>>) {
    if slot.is_none() {
        *slot = text.and_then(owned);
    }
}

fn keep_last(slot: &mut Option<String>, text: Option<Text<'_>>) {
    if let Some(text) = text
        && slot.as_ref().is_none_or(|kept| !text.is(kept))
    {
        *slot = owned(text);
    }
}
