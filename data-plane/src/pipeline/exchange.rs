//! One attempt on the wire: head, body, and what happens when the client leaves first.
//!
//! Rule: an exchange that is dropped unfinished goes on by itself for as long as the provider's row says, because the
//! provider bills what it generated and only its last words say how much. Then it is cut and estimated.

use super::body_room::Claim;
use super::broken::{Broken, Limits, Phase};
use super::counting::{self, Counted};
use super::settle::{Ending, OpenAttempt};
use super::whole::Whole;
use super::wire::Watch;
use crate::records::draft::{CLIENT_CLOSED, Draft};
use crate::upstream::answer::Answer;
use crate::upstream::client::InFlight;
use crate::upstream::pool::{Responding, SendError};
use bytes::Bytes;
use helix_llm::{Dialect, EndKind, ResponseFacts, kept_of_answer, scan_response};
use helix_shared::provider::OnLeave;
use http::response::Parts;
use http_body_util::BodyExt;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long a stream whose client left is read on for its usage.
const DRAIN_STREAM: Duration = Duration::from_secs(2);
/// How long a whole answer whose client left is waited for.
const DRAIN_WHOLE: Duration = Duration::from_secs(60);
/// The largest whole answer that is kept.
pub(super) const MOST_ANSWER_BYTES: usize = 64 << 20;
/// The largest error body that is passed on.
pub(super) const MOST_ERROR_BYTES: usize = 1 << 20;
/// Status that a request is recorded with whose client left.
pub(super) const CLIENT_CLOSED_STATUS: u16 = 499;

enum Progress {
    Head(Responding),
    Body(Answer),
    Over,
}

/// An attempt in flight, with the record that it belongs to.
pub struct Exchange {
    parts: Option<(Box<Draft>, Box<OpenAttempt>)>,
    phase: Progress,
    limits: Limits,
    /// Its place among those that the backend is given at once: until the answer is over, also when nobody waits for it.
    in_flight: Option<InFlight>,
    /// What came of a whole answer so far.
    whole: Whole,
    /// Reads a stream; `None`: a whole answer.
    pub filter: Option<Watch>,
    is_stream_asked: bool,
    /// Whether it goes on by itself already.
    is_alone: bool,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange")
            .field("attempt", &self.parts.as_ref().map(|(_, attempt)| attempt))
            .finish_non_exhaustive()
    }
}

impl Exchange {
    /// Starts waiting for the head. The intent is in the journal.
    pub fn new(
        draft: Box<Draft>,
        attempt: Box<OpenAttempt>,
        response: Responding,
        limits: Limits,
        is_stream_asked: bool,
        in_flight: InFlight,
    ) -> Self {
        Self {
            parts: Some((draft, attempt)),
            phase: Progress::Head(response),
            limits,
            in_flight: Some(in_flight),
            whole: Whole::default(),
            filter: None,
            is_stream_asked,
            is_alone: false,
        }
    }

    /// The record, while the exchange runs.
    pub fn draft(&mut self) -> Option<&mut Draft> {
        self.parts.as_mut().map(|(draft, _)| &mut **draft)
    }

    /// The limits.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The body to poll, once the head came.
    pub fn body(&mut self) -> Option<&mut Answer> {
        match &mut self.phase {
            Progress::Body(body) => Some(body),
            Progress::Head(_) | Progress::Over => None,
        }
    }

    /// Waits for the head.
    ///
    /// # Errors
    /// [`Broken`].
    pub async fn head(&mut self) -> Result<Parts, Broken> {
        let Progress::Head(response) = &mut self.phase else { return Err(Broken::Disconnected) };
        let limit = Instant::now() + self.limits.first_byte;
        let answered = tokio::time::timeout_at(limit.min(self.limits.deadline), response).await;
        let answer = match answered {
            Err(_) => Err(self.limits.passed(Phase::FirstByte)),
            Ok(Err(SendError::Unreachable(error))) => {
                tracing::debug!(error = %crate::chain(&*error), "no connection to the provider");
                Err(Broken::Unreachable)
            }
            Ok(Err(SendError::Broken(error))) => {
                tracing::debug!(error = %crate::chain(&error), "the provider's connection broke");
                Err(Broken::Disconnected)
            }
            Ok(Ok(answer)) => Ok(answer),
        };
        let (parts, body) = answer.inspect_err(|_| self.phase = Progress::Over)?.into_parts();
        self.phase = Progress::Body(body);
        if let Some((_, attempt)) = &mut self.parts {
            attempt.status = parts.status.as_u16();
            let names = ["x-request-id", "request-id", "apim-request-id", "x-amzn-requestid", "x-goog-request-id"];
            let id = names.iter().find_map(|name| parts.headers.get(*name));
            let id = id.and_then(|id| id.to_str().ok()).unwrap_or_default();
            attempt.provider_request_id = id.chars().take(200).collect();
        }
        if is_encoded(&parts.headers) {
            self.phase = Progress::Over;
            return Err(Broken::Encoded);
        }
        Ok(parts)
    }

    /// Reads the whole body. A body of one piece is not copied.
    ///
    /// # Errors
    /// [`Broken`].
    pub async fn collect(&mut self, is_error: bool) -> Result<Bytes, Broken> {
        let most = if is_error { MOST_ERROR_BYTES } else { MOST_ANSWER_BYTES };
        let (Progress::Body(body), Some((draft, _))) = (&mut self.phase, &self.parts) else { return Ok(Bytes::new()) };
        let whole = self.whole.read(body, most, &self.limits, &draft.gateway().body_room).await?;
        self.phase = Progress::Over;
        Ok(whole)
    }

    /// The room that the whole body takes, to be held for as long as it is.
    pub(super) fn take_claim(&mut self) -> Option<Claim> {
        std::mem::take(&mut self.whole).into_claim()
    }

    /// Reads the first of a stream, until there is something for the client or the provider has had its last word.
    ///
    /// # Errors
    /// [`Broken`].
    pub async fn begin(&mut self, ready: &mut VecDeque<Bytes>) -> Result<(), Broken> {
        while let (Progress::Body(body), Some(filter)) = (&mut self.phase, &mut self.filter) {
            if !ready.is_empty() || filter.end() != helix_llm::StreamEnd::Open {
                break;
            }
            let limit = (Instant::now() + self.limits.idle).min(self.limits.deadline);
            let Ok(frame) = tokio::time::timeout_at(limit, body.frame()).await else {
                return Err(self.limits.passed(Phase::NextChunk));
            };
            let Some(frame) = frame else { break };
            if let Ok(data) = frame.map_err(|_| Broken::Disconnected)?.into_data() {
                filter.push(data, &mut |bytes| ready.push_back(bytes));
            }
        }
        Ok(())
    }

    /// Whether what is sent and written here can be counted if the provider does not.
    pub(super) fn can_be_counted(&self) -> bool {
        self.parts.as_ref().is_some_and(|(_, attempt)| attempt.said.can_be_counted())
    }

    /// Reads nothing more, and begins to count what was written, unless the provider did; `None`: there is nothing to count
    /// or nobody to do it. Until somebody takes the exchange it still goes on by itself, to its estimate.
    pub(super) fn begin_count(&mut self, facts: &ResponseFacts, is_final: bool) -> Option<JoinHandle<Counted>> {
        self.phase = Progress::Over;
        let (draft, attempt) = self.parts.as_ref()?;
        if is_final || facts.usage.is_some() || !attempt.said.can_be_counted() {
            return None;
        }
        let written = match &mut self.filter {
            Some(filter) => filter.take_text(),
            None => kept_of_answer(attempt.dialect, self.whole.bytes()),
        };
        counting::begin(draft.gateway(), attempt, written, facts.text)
    }

    /// Notes what was counted.
    pub(super) fn note_count(&mut self, counted: Option<Counted>) {
        if let Some((_, attempt)) = &mut self.parts {
            attempt.counted = counted;
        }
    }

    /// What a whole answer says about itself; where it says nothing of its usage, that is counted.
    pub(super) async fn whole_facts(&mut self, body: &Bytes) -> ResponseFacts {
        let Some((_, attempt)) = &self.parts else { return ResponseFacts::default() };
        if attempt.status >= 300 {
            return ResponseFacts::default();
        }
        let facts = scan_response(attempt.dialect, body, attempt.quirks);
        if facts.usage.is_none() && attempt.said.can_be_counted() {
            self.whole.put_back(body.clone());
            if let Some(counting) = self.begin_count(&facts, false) {
                let counted = counting.await.ok();
                self.note_count(counted);
            }
        }
        facts
    }

    /// Takes the record and attempt out; the exchange will not go on by itself.
    pub fn take(&mut self) -> Option<(Box<Draft>, Box<OpenAttempt>)> {
        self.phase = Progress::Over;
        self.parts.take()
    }

    /// What is known of the answer so far, and whether its usage is final.
    fn facts(&self) -> (ResponseFacts, bool) {
        if let Some(filter) = &self.filter {
            let facts = filter.facts();
            return (facts.answer, facts.is_usage_final);
        }
        let Some((_, attempt)) = &self.parts else { return (ResponseFacts::default(), false) };
        let facts = scan_response(attempt.dialect, self.whole.bytes(), attempt.quirks);
        let is_final = facts.usage.is_some() && !facts.is_usage_partial;
        (facts, is_final)
    }

    /// Goes on after the client left, bounded; then closes the books.
    async fn drain(mut self) {
        // Sound says nothing of what it costs, however long it is listened to.
        let is_sound = self.parts.as_ref().is_some_and(|(_, attempt)| attempt.dialect == Dialect::OpenAiSpeech);
        let on_leave = self.parts.as_ref().map_or(OnLeave::DrainBriefly, |(_, attempt)| attempt.on_leave);
        let limit = match (on_leave, self.is_stream_asked) {
            _ if is_sound && !matches!(self.phase, Progress::Head(_)) => Some(Duration::ZERO),
            (OnLeave::Cancel, _) => Some(Duration::ZERO),
            (OnLeave::DrainBriefly, true) => Some(DRAIN_STREAM),
            (OnLeave::DrainBriefly, false) => Some(DRAIN_WHOLE),
            (OnLeave::Drain, _) => None,
        };
        let limit = limit.map_or(self.limits.deadline, |limit| (Instant::now() + limit).min(self.limits.deadline));
        let read = tokio::time::timeout_at(limit, self.read_on()).await;
        if read.is_err() {
            tracing::debug!("an answer nobody waits for was cut");
        }
        let (mut facts, mut is_final) = self.facts();
        let is_unanswered = matches!(self.phase, Progress::Head(_));
        let is_answer = (self.filter.is_some() || self.whole.is_complete())
            && self.parts.as_ref().is_some_and(|(_, attempt)| attempt.status < 300);
        if is_answer && let Some(counting) = self.begin_count(&facts, is_final) {
            let counted = counting.await.ok();
            self.note_count(counted);
        }
        let Some((mut draft, attempt)) = self.take() else { return };
        if is_final && attempt.status >= 400 {
            (facts, is_final) = (ResponseFacts::default(), false);
        }
        let ending = match attempt.status {
            0 if !is_unanswered && matches!(read, Ok(Err(Broken::Unreachable))) => Ending::Unbilled("unreachable"),
            0 => Ending::Uncertain("client_closed"),
            400.. => Ending::Unbilled("provider_error"),
            // A whole answer that did not arrive whole says nothing about itself.
            _ if self.filter.is_none() && !self.whole.is_complete() && !is_final && !is_sound => {
                Ending::Uncertain("client_closed")
            }
            _ => Ending::Answered { facts: &facts, is_final },
        };
        draft.record.served_model = facts.served_model.clone().unwrap_or_else(|| attempt.upstream_model.to_string());
        let amount = attempt.close(&mut draft, &ending);
        draft.stage("cost", draft.last_basis(), format_args!("{amount} USD, client gone"));
        draft.failed("model", CLIENT_CLOSED, CLIENT_CLOSED_STATUS);
        draft.finish();
    }

    async fn read_on(&mut self) -> Result<(), Broken> {
        if matches!(self.phase, Progress::Head(_)) {
            let parts = self.head().await?;
            let is_events = is_event_stream(&parts.headers);
            if let Some((_, attempt)) = &self.parts
                && is_events
                && attempt.status < 400
            {
                let mut watch = Watch::passing(attempt.dialect, false, attempt.quirks);
                if attempt.said.can_be_counted() {
                    watch.keep_text();
                }
                self.filter = Some(watch);
            }
        }
        if self.filter.is_none() {
            let whole = self.collect(false).await?;
            self.whole.put_back(whole);
            return Ok(());
        }
        while let Progress::Body(body) = &mut self.phase {
            let Ok(frame) = tokio::time::timeout(self.limits.idle, body.frame()).await else { break };
            let Some(Ok(frame)) = frame else { break };
            if let (Ok(data), Some(filter)) = (frame.into_data(), &mut self.filter) {
                filter.push(data, &mut |_| {});
                if filter.end() != helix_llm::StreamEnd::Open {
                    break;
                }
            }
        }
        if let Some(filter) = &mut self.filter {
            // Only the books are closed; nobody gets these bytes.
            drop(filter.finish(EndKind::Eof, ""));
        }
        Ok(())
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let Some((mut draft, attempt)) = self.parts.take() else { return };
        if self.is_alone || tokio::runtime::Handle::try_current().is_err() {
            // Cut while it went on by itself, or nothing left to go on with: booked at the worst case.
            attempt.close(&mut draft, &Ending::Uncertain("cut"));
            draft.failed("model", CLIENT_CLOSED, CLIENT_CLOSED_STATUS);
            draft.finish();
            return;
        }
        let gateway = std::sync::Arc::clone(draft.gateway());
        let alone = Self {
            parts: Some((draft, attempt)),
            phase: std::mem::replace(&mut self.phase, Progress::Over),
            limits: self.limits,
            in_flight: self.in_flight.take(),
            whole: std::mem::take(&mut self.whole),
            filter: self.filter.take(),
            is_stream_asked: self.is_stream_asked,
            is_alone: true,
        };
        gateway.drains.spawn("drain", alone.drain());
    }
}

/// Whether an answer must be decoded to be read. None is: what it would grow to, nobody knows before. Servers of events say
/// `none` to what stands before them.
pub(super) fn is_encoded(headers: &http::HeaderMap) -> bool {
    let is_plain =
        |encoding: &[u8]| ["", "identity", "none"].iter().any(|it| encoding.eq_ignore_ascii_case(it.as_bytes()));
    headers.get_all(http::header::CONTENT_ENCODING).iter().any(|encoding| !is_plain(encoding.as_bytes()))
}

/// Whether an answer is a stream of events.
pub fn is_event_stream(headers: &http::HeaderMap) -> bool {
    let kind = headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.trim_start().to_ascii_lowercase();
    ["text/event-stream", "application/vnd.amazon.eventstream", "application/x-ndjson"]
        .iter()
        .any(|known| kind.starts_with(known))
}
