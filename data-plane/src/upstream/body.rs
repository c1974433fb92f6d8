//! The body that goes upstream: slices of what the client sent, in order, never joined; behind them what it still sends.
//!
//! Rule: what the client still sends is there once. Another try can have it only while none of it was taken. A part of its
//! form is passed on when its name is known, and never a second one of a field that counts.

use bytes::{Bytes, BytesMut};
use helix_llm::{Form, FormError};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

/// Why a body does not arrive whole.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The client stopped.
    #[error("the client's upload broke off")]
    Broken,
    /// It is larger than it may be.
    #[error("the client's upload is larger than the limit")]
    TooLarge,
    /// Its form may be read in two ways.
    #[error("the client's upload cannot be forwarded")]
    Form(#[from] FormError),
}

/// What a client still sends. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Upload(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    body: Mutex<Option<Incoming>>,
    walk: Mutex<Walk>,
    /// What the client said is still to come.
    declared_bytes: Option<u64>,
    left_bytes: AtomicU64,
    is_begun: AtomicBool,
    is_whole: AtomicBool,
    is_too_large: AtomicBool,
}

/// The form, as far as it came.
#[derive(Debug)]
struct Walk {
    form: Form,
    /// What came and may not be passed on yet: a boundary, and the head behind it.
    waiting: BytesMut,
    passed_bytes: u64,
    error: Option<FormError>,
}

impl Walk {
    /// Takes in what came, and gives what may be passed on.
    fn pass(&mut self, data: &[u8]) -> Result<Bytes, FormError> {
        self.waiting.extend_from_slice(data);
        self.form.read(&self.waiting)?;
        let known = self.waiting.split_to(self.form.known_bytes()).freeze();
        self.form.forget_known();
        self.passed_bytes = self.passed_bytes.saturating_add(u64::try_from(known.len()).unwrap_or(u64::MAX));
        Ok(known)
    }
}

impl Upload {
    /// Takes the rest of a body; no more than `limit_bytes` of it are taken. `waiting` came already, and of it `form` knows
    /// no part that may be passed on; it counts among the declared bytes.
    pub fn new(body: Incoming, form: Form, waiting: BytesMut, declared_bytes: Option<u64>, limit_bytes: u64) -> Self {
        Self(Arc::new(Shared {
            body: Mutex::new(Some(body)),
            walk: Mutex::new(Walk { form, waiting, passed_bytes: 0, error: None }),
            declared_bytes,
            left_bytes: AtomicU64::new(limit_bytes),
            is_begun: AtomicBool::new(false),
            is_whole: AtomicBool::new(false),
            is_too_large: AtomicBool::new(false),
        }))
    }

    /// What the client said is still to come.
    pub fn declared_bytes(&self) -> Option<u64> {
        self.0.declared_bytes
    }

    /// Whether some of it was taken: it cannot be sent again.
    pub fn is_begun(&self) -> bool {
        self.0.is_begun.load(Ordering::Acquire)
    }

    /// Whether all of it was taken.
    pub fn is_whole(&self) -> bool {
        self.0.is_whole.load(Ordering::Acquire)
    }

    /// How many bytes of it were passed on.
    pub fn passed_bytes(&self) -> u64 {
        self.0.walk.lock().unwrap_or_else(PoisonError::into_inner).passed_bytes
    }

    /// Whether it was cut because it is larger than it may be.
    pub fn is_too_large(&self) -> bool {
        self.0.is_too_large.load(Ordering::Acquire)
    }

    /// Why its form was not passed on to its end.
    pub fn form_error(&self) -> Option<FormError> {
        self.0.walk.lock().unwrap_or_else(PoisonError::into_inner).error
    }

    /// Takes out what nobody took, to be thrown away.
    pub fn rest(&self) -> Option<Incoming> {
        self.0.body.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn poll_frame(&self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let mut body = self.0.body.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(incoming) = body.as_mut() else { return Poll::Ready(Some(Err(UploadError::Broken))) };
        let mut walk = self.0.walk.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = walk.error {
            return Poll::Ready(Some(Err(error.into())));
        }
        loop {
            let frame = std::task::ready!(Pin::new(&mut *incoming).poll_frame(context));
            self.0.is_begun.store(true, Ordering::Release);
            let Some(frame) = frame else {
                if let Err(error) = walk.form.finish() {
                    walk.error = Some(error);
                    return Poll::Ready(Some(Err(error.into())));
                }
                self.0.is_whole.store(true, Ordering::Release);
                return Poll::Ready(None);
            };
            let Ok(frame) = frame else { return Poll::Ready(Some(Err(UploadError::Broken))) };
            let Ok(data) = frame.into_data() else { continue };
            let bytes = u64::try_from(data.len()).unwrap_or(u64::MAX);
            let take = |left: u64| left.checked_sub(bytes);
            if self.0.left_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
                self.0.is_too_large.store(true, Ordering::Release);
                return Poll::Ready(Some(Err(UploadError::TooLarge)));
            }
            let known = match walk.pass(&data) {
                Ok(known) => known,
                Err(error) => {
                    walk.error = Some(error);
                    return Poll::Ready(Some(Err(error.into())));
                }
            };
            // A client may end its stream in a frame of its own, for which nobody waits who counts bytes.
            let is_all = self.0.declared_bytes == Some(walk.passed_bytes);
            if is_all || (incoming.is_end_stream() && walk.form.is_over()) {
                self.0.is_whole.store(true, Ordering::Release);
            }
            if !known.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(known))));
            }
        }
    }
}

/// Pieces of a body, and what comes behind them. A clone is the same body once more, while nothing of an upload was taken.
#[derive(Debug, Clone, Default)]
pub struct Pieces {
    parts: VecDeque<Bytes>,
    left_bytes: u64,
    upload: Option<Upload>,
}

impl Pieces {
    /// Takes the pieces; `length_bytes` is the sum of their lengths.
    pub fn new(parts: Vec<Bytes>, length_bytes: u64) -> Self {
        Self { parts: parts.into(), left_bytes: length_bytes, upload: None }
    }

    /// Puts what the client still sends behind the pieces.
    pub fn and_then(self, upload: Option<Upload>) -> Self {
        Self { upload, ..self }
    }

    /// Whether nothing of it is gone that cannot be had again.
    pub fn is_all_there(&self) -> bool {
        self.upload.as_ref().is_none_or(|upload| !upload.is_begun())
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        if let Some(part) = self.parts.pop_front() {
            self.left_bytes = self.left_bytes.saturating_sub(u64::try_from(part.len()).unwrap_or(0));
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        match &self.upload {
            Some(upload) => upload.poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.parts.is_empty() && self.upload.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.upload {
            None => SizeHint::with_exact(self.left_bytes),
            // The header of the request says it, where anybody knows.
            Some(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests;
