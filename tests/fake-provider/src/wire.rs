//! A connection that can be broken on purpose, at an exact byte.
//!
//! Rule: a cut happens only when everything written before it has left for the kernel, so the client sees exactly the
//! bytes of the script.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

const KEEP: u8 = 0;
const CLOSE: u8 = 1;
const RESET: u8 = 2;

/// Breaks the connection it belongs to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Switch {
    state: Arc<AtomicU8>,
}

impl Switch {
    /// Closes the connection at its next flush, by an end of file or by a reset.
    pub(crate) fn cut(&self, by_reset: bool) {
        self.state.store(if by_reset { RESET } else { CLOSE }, Ordering::Release);
    }
}

/// A TCP connection with a [`Switch`].
pub(crate) struct BreakableStream {
    stream: TcpStream,
    switch: Switch,
}

impl BreakableStream {
    /// Wraps a connection.
    pub(crate) fn new(stream: TcpStream, switch: Switch) -> Self {
        Self { stream, switch }
    }

    fn check(&self) -> io::Result<()> {
        match self.switch.state.load(Ordering::Acquire) {
            KEEP => return Ok(()),
            RESET => self.stream.set_zero_linger()?,
            _ => {}
        }
        Err(io::Error::new(io::ErrorKind::ConnectionAborted, "cut by the script"))
    }
}

impl AsyncRead for BreakableStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for BreakableStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
