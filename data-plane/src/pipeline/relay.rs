//! A provider's stream on its way to the client.
//!
//! Rule: bytes pass as they come, and no further chunk is asked for while the client has not taken the one before; memory
//! is bounded. Exactly one terminal event reaches the client, whatever the provider does.

use super::broken::{Broken, Phase};
use super::counting::Counted;
use super::exchange::Exchange;
use super::inspect::inspect_chunk;
use super::settle::Ending;
use super::wire::Watch;
use crate::body::BodyError;
use bytes::Bytes;
use helix_llm::{EndKind, StreamEnd, StreamFacts};
use helix_shared::error_code::ErrorCode;
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use http_body::{Body, Frame};
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep};

/// The stream of one request.
#[derive(Debug)]
pub struct Relay {
    exchange: Option<Box<Exchange>>,
    ready: VecDeque<Bytes>,
    timer: Pin<Box<Sleep>>,
    last_chunk: Instant,
    request_id: String,
    wants_trailers: bool,
    trailers: Option<HeaderMap>,
    is_first: bool,
    /// It ended, and what nobody counted is being counted.
    counting: Option<Box<(End, JoinHandle<Counted>)>>,
    /// The stream broke where no event can say so: the connection must.
    is_broken: bool,
}

impl Relay {
    /// Relays an exchange whose head came and whose filter is set; `ready` goes out first.
    pub fn new(exchange: Box<Exchange>, request_id: String, wants_trailers: bool, ready: VecDeque<Bytes>) -> Self {
        let limits = exchange.limits();
        let now = Instant::now();
        Self {
            timer: Box::pin(tokio::time::sleep_until((now + limits.idle).min(limits.deadline))),
            exchange: Some(exchange),
            ready: ready.into_iter().map(inspect_chunk).collect(),
            last_chunk: now,
            request_id,
            wants_trailers,
            trailers: None,
            is_first: true,
            counting: None,
            is_broken: false,
        }
    }

    /// Gives the next piece.
    pub fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                if std::mem::take(&mut self.is_first)
                    && let Some(draft) = self.exchange.as_mut().and_then(|exchange| exchange.draft())
                {
                    draft.note_first_byte();
                }
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if let Some(counting) = &mut self.counting {
                let counted = ready!(Pin::new(&mut counting.1).poll(context));
                let Some(counting) = self.counting.take() else { continue };
                if let Some(exchange) = &mut self.exchange {
                    exchange.note_count(counted.ok());
                }
                self.close(&counting.0);
                continue;
            }
            let Some(exchange) = &mut self.exchange else {
                if std::mem::take(&mut self.is_broken) {
                    return Poll::Ready(Some(Err("the provider's answer broke off".into())));
                }
                return Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
            };
            let polled = match exchange.body() {
                Some(body) => Pin::new(body).poll_frame(context),
                None => Poll::Ready(None),
            };
            match polled {
                Poll::Ready(Some(Ok(frame))) => {
                    self.last_chunk = Instant::now();
                    // Here too: a client that reads a little now and then never lets the timer be asked.
                    if self.last_chunk >= exchange.limits().deadline {
                        self.end(Some(Broken::TimedOut(Phase::Total)));
                        continue;
                    }
                    if let (Ok(data), Some(filter)) = (frame.into_data(), &mut exchange.filter) {
                        filter.push(data, &mut |bytes| self.ready.push_back(inspect_chunk(bytes)));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(error = %crate::chain(&error), "the provider's stream broke");
                    self.end(Some(Broken::Disconnected));
                }
                Poll::Ready(None) => self.end(None),
                Poll::Pending => ready!(self.poll_limits(context)),
            }
        }
    }

    /// Ready when a limit passed: the stream was ended.
    fn poll_limits(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(context));
            let Some(exchange) = &self.exchange else { return Poll::Ready(()) };
            let limits = exchange.limits();
            let due = (self.last_chunk + limits.idle).min(limits.deadline);
            if Instant::now() >= due {
                self.end(Some(limits.passed(Phase::NextChunk)));
                return Poll::Ready(());
            }
            // The timer is only moved when it fires, not with every chunk.
            self.timer.as_mut().reset(due);
        }
    }

    /// Ends the stream; the books are closed at once, or when what nobody counted is counted.
    fn end(&mut self, broken: Option<Broken>) {
        let Some(exchange) = &mut self.exchange else { return };
        let kind = broken.map_or(EndKind::Eof, |broken| match broken {
            Broken::TimedOut(phase) => EndKind::Cut { code: broken.code(), message: phase.overdue() },
            _ => EndKind::cut(broken.code()),
        });
        let Some(filter) = &mut exchange.filter else {
            self.exchange = None;
            return;
        };
        self.is_broken = matches!(filter, Watch::Raw(_)) && broken.is_some();
        let provider_end = filter.end();
        self.ready.extend(filter.finish(kind, &self.request_id));
        let facts = filter.facts();
        let end = End { broken, provider_end, facts };
        match exchange.begin_count(&end.facts.answer, end.facts.is_usage_final) {
            Some(counting) => self.counting = Some(Box::new((end, counting))),
            None => self.close(&end),
        }
    }

    /// Closes the books.
    fn close(&mut self, end: &End) {
        let End { broken, provider_end, facts } = end;
        let Some((mut draft, mut attempt)) = self.exchange.take().and_then(|mut exchange| exchange.take()) else {
            return;
        };
        if let Some(broken) = broken {
            attempt.note_broken(&mut draft, *broken);
        }
        let status = attempt.status;
        draft.record.served_model =
            facts.answer.served_model.clone().unwrap_or_else(|| attempt.upstream_model.to_string());
        let ending = Ending::Answered { facts: &facts.answer, is_final: facts.is_usage_final };
        let amount = attempt.close(&mut draft, &ending);
        let is_whole = *provider_end == StreamEnd::Done || (broken.is_none() && facts.end == StreamEnd::Done);
        if is_whole || (broken.is_none() && *provider_end == StreamEnd::Open && facts.is_usage_final) {
            draft.allowed(status);
        } else if *provider_end == StreamEnd::Error {
            draft.failed("model", ErrorCode::UpstreamError.as_str(), status);
        } else {
            draft.failed("model", broken.map_or(ErrorCode::UpstreamDisconnected, Broken::code).as_str(), status);
        }
        draft.stage("cost", draft.last_basis(), format_args!("{amount} USD"));
        if self.wants_trailers
            && let Ok(value) = HeaderValue::try_from(amount.to_string())
        {
            let mut trailers = HeaderMap::new();
            trailers.insert(HeaderName::from_static("x-helix-cost-usd"), value);
            self.trailers = Some(trailers);
        }
        draft.finish();
    }
}

/// How a stream ended.
#[derive(Debug)]
struct End {
    broken: Option<Broken>,
    provider_end: StreamEnd,
    facts: StreamFacts,
}
