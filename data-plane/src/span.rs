//! One OpenTelemetry span a request, with the GenAI conventions, and W3C context to the provider.
//!
//! Rule: nothing is built while no exporter is configured; a caller's `traceparent` is passed on either way. No prompt, no
//! completion, no secret is an attribute. Source: OpenTelemetry semantic conventions for generative AI; W3C Trace Context.

use http::{HeaderMap, HeaderValue};
use opentelemetry::global::{BoxedSpan, BoxedTracer};
use opentelemetry::trace::{
    Span, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
};
use opentelemetry::{Context, KeyValue};

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// Makes spans, when tracing is configured.
pub struct Spans(Option<BoxedTracer>);

impl std::fmt::Debug for Spans {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Spans").field(&self.0.is_some()).finish()
    }
}

/// A request's trace context: what goes upstream, and the span if there is one.
#[derive(Debug, Default)]
pub struct RequestSpan {
    parent: Option<HeaderValue>,
    state: Option<HeaderValue>,
    span: Option<Box<BoxedSpan>>,
}

/// What a finished request tells its span.
#[derive(Debug)]
pub struct SpanFacts<'a> {
    /// `chat`, `embeddings` or `count_tokens`.
    pub operation: &'static str,
    /// Provider kind.
    pub provider: &'a str,
    /// Model as asked.
    pub requested_model: &'a str,
    /// Model that answered.
    pub served_model: &'a str,
    /// Input tokens.
    pub input_tokens: i64,
    /// Output tokens.
    pub output_tokens: i64,
    /// Status the caller got.
    pub http_status: i64,
    /// Our error code; empty: none.
    pub error: &'a str,
    /// Id of the request.
    pub request_id: &'a str,
    /// Cost in 1e-9 USD.
    pub cost_nano_usd: i64,
}

impl Spans {
    /// Uses a tracer, or none.
    pub fn new(tracer: Option<BoxedTracer>) -> Self {
        Self(tracer)
    }

    /// Begins a request's span from the caller's context.
    pub fn begin(&self, headers: &HeaderMap) -> RequestSpan {
        let parent = headers.get(TRACEPARENT).filter(|value| parse(value).is_some()).cloned();
        let state = parent.as_ref().and_then(|_| headers.get(TRACESTATE).cloned());
        let Some(tracer) = &self.0 else { return RequestSpan { parent, state, span: None } };
        let context = match parent.as_ref().and_then(parse) {
            Some(remote) => Context::new().with_remote_span_context(remote),
            None => Context::new(),
        };
        let span =
            tracer.span_builder("gen_ai request").with_kind(SpanKind::Client).start_with_context(tracer, &context);
        RequestSpan { parent, state, span: Some(Box::new(span)) }
    }
}

impl RequestSpan {
    /// Sets the context that the provider gets.
    pub fn inject(&self, headers: &mut HeaderMap) {
        let own = self.span.as_ref().map(|span| {
            let context = span.span_context();
            let flags = context.trace_flags().to_u8();
            format!("00-{}-{}-{flags:02x}", context.trace_id(), context.span_id())
        });
        let value = own.and_then(|text| HeaderValue::try_from(text).ok()).or_else(|| self.parent.clone());
        if let Some(value) = value {
            headers.insert(TRACEPARENT, value);
        }
        if let Some(state) = &self.state {
            headers.insert(TRACESTATE, state.clone());
        }
    }

    /// Ends the span.
    pub fn end(self, facts: &SpanFacts<'_>) {
        let Some(mut span) = self.span else { return };
        span.update_name(format!("{} {}", facts.operation, facts.requested_model));
        let text = |key: &'static str, value: &str| KeyValue::new(key, value.to_owned());
        span.set_attributes([
            text("gen_ai.operation.name", facts.operation),
            text("gen_ai.provider.name", facts.provider),
            text("gen_ai.request.model", facts.requested_model),
            text("gen_ai.response.model", facts.served_model),
            KeyValue::new("gen_ai.usage.input_tokens", facts.input_tokens),
            KeyValue::new("gen_ai.usage.output_tokens", facts.output_tokens),
            KeyValue::new("http.response.status_code", facts.http_status),
            text("helix.request.id", facts.request_id),
            KeyValue::new("helix.cost.nano_usd", facts.cost_nano_usd),
        ]);
        if !facts.error.is_empty() {
            span.set_attribute(text("error.type", facts.error));
            span.set_status(Status::error(facts.error.to_owned()));
        }
        span.end();
    }
}

fn parse(value: &HeaderValue) -> Option<SpanContext> {
    let text = value.to_str().ok()?;
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if version.len() != 2 || version == "ff" || trace.len() != 32 || span.len() != 16 || flags.len() != 2 {
        return None;
    }
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let context = SpanContext::new(trace, span, flags, true, TraceState::default());
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valid_traceparent_is_passed_on_and_an_invalid_one_is_not() {
        let spans = Spans::new(None);
        for (value, is_valid) in [
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true),
            ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", false),
            ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false),
            ("nonsense", false),
        ] {
            let mut incoming = HeaderMap::new();
            incoming.insert(TRACEPARENT, HeaderValue::from_str(value).unwrap());
            let mut outgoing = HeaderMap::new();
            spans.begin(&incoming).inject(&mut outgoing);
            assert_eq!(outgoing.get(TRACEPARENT).is_some(), is_valid, "{value}");
        }
    }
}
