//! Answers made once and kept: the upstream of a benchmark, which must cost less than what is measured.
//!
//! Rule: the same default script for every request; a request is told apart by model, stream and usage option only, found
//! without parsing. Keys are not checked, and the bill has sums but no lines.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use memchr::memmem;
use serde_json::Value;

use crate::ask::{Ask, Endpoint};
use crate::plan::{Frame, Plan};
use crate::price::Price;
use crate::provider::{plan_of, price_of};
use crate::script::Script;

/// A kept answer.
#[derive(Clone)]
pub(crate) struct FastAnswer {
    pub(crate) plan: Arc<Plan>,
    pub(crate) price: Option<Price>,
    pub(crate) delay: Duration,
}

type Key = (Endpoint, bool, bool, Vec<u8>);

/// All kept answers.
#[derive(Default)]
pub(crate) struct FastAnswers {
    kept: RwLock<HashMap<Key, FastAnswer>>,
}

impl FastAnswers {
    /// Forgets the kept answers.
    pub(crate) fn clear(&self) {
        self.kept.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Returns the answer to a request, made on first use.
    pub(crate) fn answer(&self, endpoint: Endpoint, body: &[u8], script: impl FnOnce() -> Value) -> FastAnswer {
        let model = field(body, b"\"model\"").and_then(|rest| rest.strip_prefix(b"\""));
        let model = model.and_then(|rest| rest.split(|byte| *byte == b'"').next()).unwrap_or_default();
        let is_true = |name: &[u8]| field(body, name).is_some_and(|rest| rest.starts_with(b"true"));
        let key = (endpoint, is_true(b"\"stream\""), is_true(b"\"include_usage\""), model.to_vec());
        if let Some(answer) = self.kept.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return answer.clone();
        }
        let answer = make(&key, &script());
        self.kept.write().unwrap_or_else(PoisonError::into_inner).insert(key, answer.clone());
        answer
    }
}

/// Finds the value of a field by its quoted name.
fn field<'a>(body: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let at = memmem::find(body, name)?;
    let rest = body.get(at + name.len()..)?.trim_ascii_start().strip_prefix(b":")?;
    Some(rest.trim_ascii_start())
}

fn make((endpoint, stream, include_usage, model): &Key, script: &Value) -> FastAnswer {
    let script = Script::layered(&[Some(script.clone())]).unwrap_or_default();
    let model = String::from_utf8_lossy(model).into_owned();
    let price = if *endpoint == Endpoint::CountTokens { None } else { price_of(&model, &script) };
    let (stream, include_usage) = (*stream, *include_usage);
    let ask = Ask { model, stream, include_usage, text_bytes: 400, inputs: 1, dimensions: 8, ..Ask::default() };
    let mut plan = plan_of(*endpoint, &ask, &script, 0);
    plan.frames = joined(plan.frames);
    FastAnswer { plan: Arc::new(plan), price, delay: Duration::from_millis(script.delay_ms) }
}

/// Joins frames that go out together.
fn joined(frames: Vec<Frame>) -> Vec<Frame> {
    let mut joined: Vec<Frame> = Vec::new();
    for frame in frames {
        match joined.last_mut() {
            Some(last) if frame.delay.is_zero() && !frame.gated => {
                last.data = Bytes::from([last.data.as_ref(), &frame.data].concat());
                last.output = frame.output;
            }
            _ => joined.push(frame),
        }
    }
    joined
}
