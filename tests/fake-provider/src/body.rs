//! Sends a plan: its frames at their times, in writes of the asked size, then its ending.
//!
//! Rule: the bill's line is closed when the last frame is handed over, hence before the client can see the end; a body
//! dropped earlier means that the client went away.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::bill::{Charge, State};
use crate::gates::{Gates, Waiting};
use crate::plan::{Ending, Plan};
use crate::wire::Switch;

/// The body of a planned answer.
pub(crate) struct PlanBody {
    plan: Arc<Plan>,
    charge: Charge,
    switch: Switch,
    gates: Gates,
    at: usize,
    offset: usize,
    waited: bool,
    pause: bool,
    sent: u64,
    clock: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
    between_writes: Option<Pin<Box<Sleep>>>,
    gate: Option<Waiting>,
}

impl PlanBody {
    pub(crate) fn new(plan: Arc<Plan>, charge: Charge, switch: Switch, gates: Gates) -> Self {
        Self {
            plan,
            charge,
            switch,
            gates,
            at: 0,
            offset: 0,
            waited: false,
            pause: false,
            sent: 0,
            clock: Instant::now(),
            sleep: None,
            between_writes: None,
            gate: None,
        }
    }

    fn finished(&self) -> bool {
        self.at >= self.plan.frames.len() && matches!(self.plan.ending, Ending::Complete | Ending::Error)
    }

    /// Waits for the time and the gate of the frame. Times follow each other, so that lateness does not add up.
    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(frame) = self.plan.frames.get(self.at) else { return Poll::Ready(()) };
        if self.waited {
            return Poll::Ready(());
        }
        if !frame.delay.is_zero() {
            let deadline = self.clock + frame.delay;
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            if sleep.deadline() != deadline {
                sleep.as_mut().reset(deadline);
            }
            ready!(sleep.as_mut().poll(cx));
            self.clock = deadline;
        }
        if let (true, Some(name)) = (frame.gated, &self.plan.gate) {
            let gates = &self.gates;
            let waiting = self.gate.get_or_insert_with(|| gates.wait(name));
            ready!(waiting.as_mut().poll(cx));
            self.gate = None;
            self.clock = Instant::now();
        }
        self.waited = true;
        Poll::Ready(())
    }

    fn take(&mut self) -> Option<Bytes> {
        let frame = self.plan.frames.get(self.at)?;
        let rest = frame.data.slice(self.offset..);
        let size = self.plan.write_bytes.unwrap_or(usize::MAX).min(rest.len());
        let data = rest.slice(..size);
        self.charge.sent(&data);
        self.sent += u64::try_from(size).unwrap_or(0);
        self.offset += size;
        if self.offset >= frame.data.len() {
            self.charge.generated(frame.output, self.plan.tokens.reasoning);
            self.at += 1;
            self.offset = 0;
            self.waited = false;
        }
        if self.finished() {
            let is_error = self.plan.ending == Ending::Error;
            self.charge.close(if is_error { State::Error } else { State::Complete }, self.plan.reported);
        }
        Some(data)
    }
}

impl Body for PlanBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        if std::mem::take(&mut this.pause) {
            // The server flushes what it has when a body is not ready: this makes one write of each piece.
            if this.plan.write_delay.is_zero() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            this.between_writes = Some(Box::pin(tokio::time::sleep(this.plan.write_delay)));
        }
        if let Some(sleep) = &mut this.between_writes {
            ready!(sleep.as_mut().poll(cx));
            this.between_writes = None;
        }
        loop {
            ready!(this.poll_wait(cx));
            match this.take() {
                Some(data) if data.is_empty() => {}
                Some(data) => {
                    this.pause = this.plan.write_bytes.is_some();
                    return Poll::Ready(Some(Ok(http_body::Frame::data(data))));
                }
                None => break,
            }
        }
        match this.plan.ending {
            Ending::Complete | Ending::Error => Poll::Ready(None),
            Ending::Hang => Poll::Pending,
            Ending::Cut { by_reset } => {
                this.charge.close(State::Cut, None);
                this.switch.cut(by_reset);
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.finished()
    }

    fn size_hint(&self) -> SizeHint {
        self.plan.content_length.map_or_else(SizeHint::default, |length| SizeHint::with_exact(length - self.sent))
    }
}
