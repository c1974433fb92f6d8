//! The body that goes upstream: the client's bytes, with a few fields spliced.
//!
//! Rule: the body is never copied; it is cut into slices around the splices. Every byte outside of a splice goes upstream
//! as it came.

mod leave_out;

use bytes::Bytes;

pub use helix_shared::provider::CapField;
pub use leave_out::{LeaveOut, leave_out};

use crate::dialect::Dialect;
use crate::json::Span;
use crate::request::{CapSplice, MemberSplice, RequestFacts, UsageSplice};

/// What shall be different upstream.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rewrite<'a> {
    /// The backend's name of the model.
    pub model: Option<&'a str>,
    /// Ask for the usage event of an OpenAI stream, whether or not the client did.
    pub force_usage: bool,
    /// Say `null` instead of the client's `stream_options`: the backend refuses them.
    pub withhold_stream_options: bool,
    /// The most output tokens that are affordable.
    pub output_cap: Option<OutputCap>,
    /// The name under which the backend takes the client's own output cap, where the client used the other one.
    pub cap_name: Option<CapField>,
    /// The provider's id of the response before, instead of the client's.
    pub previous_response: Option<&'a str>,
    /// Say this `anthropic_version` in the body, as those do who host Anthropic's models: it takes the place of the model,
    /// which stands in their addresses. A count of tokens has both.
    pub hosted_version: Option<&'a str>,
}

/// A cap on output tokens. A client's own lower cap stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputCap {
    /// The cap.
    pub tokens: u64,
    /// The field that the backend takes, used when the client gave none there.
    pub field: CapField,
}

/// A body in pieces, in order.
#[derive(Debug, Clone, Default)]
pub struct RewrittenBody {
    /// The pieces; none is empty.
    pub parts: Vec<Bytes>,
    /// The sum of their lengths.
    pub length: u64,
}

impl RewrittenBody {
    fn push(&mut self, part: Bytes) {
        if !part.is_empty() {
            self.length += crate::json::to_u64(part.len());
            self.parts.push(part);
        }
    }
}

/// One change: these bytes instead of that span (which is empty for an insertion).
struct Splice {
    span: Span,
    bytes: Bytes,
}

/// Splices the asked changes into a body that was scanned to `facts`.
#[expect(clippy::needless_pass_by_value, reason = "the slices share the body's buffer; a handle is what is given")]
pub fn rewrite(body: Bytes, facts: &RequestFacts, changes: &Rewrite<'_>) -> RewrittenBody {
    let mut splices = Vec::new();
    // The model of Gemini and of Converse stands in the address; what is kept is asked for by its id.
    let is_in_body =
        !matches!(facts.dialect, Dialect::Gemini | Dialect::BedrockConverse | Dialect::OpenAiStoredResponses);
    let is_replaced = changes.hosted_version.is_some_and(|version| splice_version(&body, facts, version, &mut splices));
    let is_in_body = is_in_body && !is_replaced;
    if let Some(model) = changes.model.filter(|model| is_in_body && *model != facts.model) {
        splices.push(model_splice(&body, facts, model));
    }
    if let (Some(id), Some(previous)) = (changes.previous_response, &facts.kept.previous) {
        splices.push(Splice { span: previous.span.clone(), bytes: json_string(id) });
    }
    if changes.withhold_stream_options {
        let options = facts.splices.stream_options.clone();
        splices.extend(options.map(|span| Splice { span, bytes: Bytes::from_static(b"null") }));
    } else if changes.force_usage && facts.is_stream && facts.dialect.asks_for_stream_usage() {
        splices.extend(usage_splice(facts));
    }
    if let Some(cap) = changes.output_cap.filter(|_| facts.dialect.can_be_capped()) {
        splice_cap(facts, cap, changes.cap_name == Some(cap.field), &mut splices);
    }
    if let Some(field) = changes.cap_name {
        splices.extend(rename_cap(&body, facts, field));
    }
    splices.sort_by_key(|splice| splice.span.start);
    let mut rewritten = RewrittenBody { parts: Vec::with_capacity(2 * splices.len() + 1), length: 0 };
    let mut at = 0;
    for splice in splices {
        rewritten.push(slice(&body, at..splice.span.start));
        rewritten.push(splice.bytes);
        at = splice.span.end;
    }
    rewritten.push(slice(&body, at..body.len()));
    rewritten
}

/// Names the model: in the place of its name, or where a request left it to the provider, as a field of its own.
fn model_splice(body: &[u8], facts: &RequestFacts, model: &str) -> Splice {
    let span = facts.splices.model.clone();
    if facts.is_form {
        return Splice { span, bytes: Bytes::copy_from_slice(model.as_bytes()) };
    }
    let value = json_string(model);
    if !span.is_empty() {
        return Splice { span, bytes: value };
    }
    let top = facts.splices.top;
    let is_only = body.get(top..).unwrap_or_default().trim_ascii_start().starts_with(b"}");
    let comma: &[u8] = if is_only { b"" } else { b"," };
    Splice { span: top..top, bytes: Bytes::from([b"\"model\":", &*value, comma].concat()) }
}

/// Adds the version of a host's API; `true` when it stands where the model stood.
fn splice_version(body: &[u8], facts: &RequestFacts, version: &str, splices: &mut Vec<Splice>) -> bool {
    let value = format!("\"anthropic_version\":{}", String::from_utf8_lossy(&json_string(version)));
    let model = &facts.splices.model;
    match name_start(body, model.start).filter(|_| facts.dialect == Dialect::AnthropicMessages) {
        Some(start) => splices.push(Splice { span: start..model.end, bytes: Bytes::from(value) }),
        None => {
            let top = facts.splices.top;
            splices.push(Splice { span: top..top, bytes: Bytes::from(value + ",") });
            return false;
        }
    }
    true
}

/// Finds where the name of a field begins whose value begins at `value`. The name was read before, so it is a string, and
/// no name that counts has a quote inside.
fn name_start(body: &[u8], value: usize) -> Option<usize> {
    let before = body.get(..value)?.trim_ascii_end().strip_suffix(b":")?.trim_ascii_end().strip_suffix(b"\"")?;
    before.iter().rposition(|byte| *byte == b'"')
}

/// Slices within bounds; facts of another body cannot make it panic.
fn slice(body: &Bytes, span: Span) -> Bytes {
    let end = span.end.min(body.len());
    body.slice(span.start.min(end)..end)
}

fn json_string(text: &str) -> Bytes {
    // A string always serializes.
    Bytes::from(serde_json::to_vec(text).unwrap_or_default())
}

fn usage_splice(facts: &RequestFacts) -> Option<Splice> {
    let (span, bytes): (Span, &'static [u8]) = match &facts.splices.usage {
        UsageSplice::Asked => return None,
        UsageSplice::Field => (facts.splices.top..facts.splices.top, b"\"stream_options\":{\"include_usage\":true},"),
        UsageSplice::Options(span) => (span.clone(), b"{\"include_usage\":true}"),
        UsageSplice::Value(span) => (span.clone(), b"true"),
        UsageSplice::Member { at, is_only: true } => (*at..*at, b"\"include_usage\":true"),
        UsageSplice::Member { at, is_only: false } => (*at..*at, b"\"include_usage\":true,"),
    };
    Some(Splice { span, bytes: Bytes::from_static(bytes) })
}

fn splice_cap(facts: &RequestFacts, mut cap: OutputCap, is_renamed: bool, splices: &mut Vec<Splice>) {
    let given = [&facts.splices.max_tokens, &facts.splices.max_completion_tokens];
    if given.iter().any(|field| field.value.is_some()) {
        for field in given {
            if let CapSplice { span: Some(span), value: Some(value) } = field
                && *value > cap.tokens
            {
                splices.push(Splice { span: span.clone(), bytes: Bytes::from(cap.tokens.to_string()) });
            }
        }
        // One that stands under the name that the backend does not read is said under the other as well, unless it goes
        // there.
        if facts.dialect != Dialect::OpenAiChat || is_renamed || facts.has_cap_in(cap.field) {
            return;
        }
        cap.tokens = facts.output_cap.unwrap_or(u64::MAX).min(cap.tokens);
    }
    let nested = match facts.dialect {
        Dialect::Gemini => Some(("generationConfig", "maxOutputTokens")),
        Dialect::BedrockConverse => Some(("inferenceConfig", "maxTokens")),
        Dialect::Ollama => Some(("options", "num_predict")),
        _ => None,
    };
    if let Some((object, member)) = nested {
        splices.push(config_splice(facts, object, member, cap.tokens));
        return;
    }
    let (name, field) = match cap.field {
        _ if matches!(facts.dialect, Dialect::AnthropicMessages | Dialect::OpenAiCompletions) => {
            ("max_tokens", &facts.splices.max_tokens)
        }
        _ if facts.dialect == Dialect::OpenAiResponses => ("max_output_tokens", &facts.splices.max_tokens),
        CapField::MaxTokens => ("max_tokens", &facts.splices.max_tokens),
        CapField::MaxCompletionTokens => ("max_completion_tokens", &facts.splices.max_completion_tokens),
    };
    splices.push(match &field.span {
        Some(null) => Splice { span: null.clone(), bytes: Bytes::from(cap.tokens.to_string()) },
        None => Splice {
            span: facts.splices.top..facts.splices.top,
            bytes: Bytes::from(format!("\"{name}\":{},", cap.tokens)),
        },
    });
}

/// Says the cap under the name that the backend knows; where the client used both names, both say the cap that counts.
fn rename_cap(body: &Bytes, facts: &RequestFacts, field: CapField) -> Option<Splice> {
    let (from, to, name) = match field {
        CapField::MaxTokens => (&facts.splices.max_completion_tokens, &facts.splices.max_tokens, "max_tokens"),
        CapField::MaxCompletionTokens => {
            (&facts.splices.max_tokens, &facts.splices.max_completion_tokens, "max_completion_tokens")
        }
    };
    from.value?;
    let value = from.span.clone()?;
    if let Some(span) = &to.span {
        return (field == CapField::MaxTokens).then(|| Splice { span: span.clone(), bytes: slice(body, value) });
    }
    let start = name_start(body, value.start)?;
    Some(Splice { span: start..value.start, bytes: Bytes::from(format!("\"{name}\":")) })
}

/// Adds a cap that stands inside of an object which may be there already.
fn config_splice(facts: &RequestFacts, object: &str, member: &str, tokens: u64) -> Splice {
    if let Some(null) = &facts.splices.max_tokens.span {
        return Splice { span: null.clone(), bytes: Bytes::from(tokens.to_string()) };
    }
    let (at, text) = match &facts.splices.config {
        Some(MemberSplice { at, is_only: true }) => (*at, format!("\"{member}\":{tokens}")),
        Some(MemberSplice { at, is_only: false }) => (*at, format!("\"{member}\":{tokens},")),
        None => (facts.splices.top, format!("\"{object}\":{{\"{member}\":{tokens}}},")),
    };
    Splice { span: at..at, bytes: Bytes::from(text) }
}

#[cfg(test)]
mod tests;
