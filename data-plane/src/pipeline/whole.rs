//! Reading an answer that is kept whole.
//!
//! Rule: it is bounded in itself, in the time between its pieces, and, together with all other bodies, in memory. A body of
//! one piece is neither copied nor counted: the connection holds it anyway.

use super::body_room::{BodyRoom, Claim};
use super::broken::{Broken, Limits, Phase};
use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::Instant;

/// What came of an answer so far, and the room that it takes.
#[derive(Debug, Default)]
pub(super) struct Whole {
    bytes: BytesMut,
    claim: Option<Claim>,
    is_complete: bool,
}

impl Whole {
    /// What came so far.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads on to the end, `most_bytes` at most. What came before an error, or before it is cancelled, is kept.
    ///
    /// # Errors
    /// [`Broken`].
    pub(super) async fn read<B>(
        &mut self,
        body: &mut B,
        most_bytes: usize,
        limits: &Limits,
        room: &BodyRoom,
    ) -> Result<Bytes, Broken>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        loop {
            let until = (Instant::now() + limits.idle).min(limits.deadline);
            let frame = tokio::time::timeout_at(until, body.frame()).await;
            let Some(frame) = frame.map_err(|_| limits.passed(Phase::NextChunk))? else { break };
            let Ok(data) = frame.map_err(|_| Broken::Disconnected)?.into_data() else { continue };
            let bytes = self.bytes.len() + data.len();
            if bytes > most_bytes {
                return Err(Broken::TooLarge);
            }
            if body.is_end_stream() && self.bytes.is_empty() {
                return Ok(data);
            }
            let claim = self.claim.get_or_insert_with(|| room.claim());
            if !claim.grow_to(u64::try_from(bytes).unwrap_or(u64::MAX)) {
                return Err(Broken::NoRoom);
            }
            self.bytes.extend_from_slice(&data);
        }
        Ok(std::mem::take(&mut self.bytes).freeze())
    }

    /// Takes it back whole, to be looked at once more.
    pub(super) fn put_back(&mut self, whole: Bytes) {
        self.bytes = BytesMut::from(whole);
        self.is_complete = true;
    }

    /// Whether all of it came.
    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// The room that it takes, which lasts for as long as somebody holds it.
    pub(super) fn into_claim(self) -> Option<Claim> {
        self.claim
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Frame;
    use http_body_util::{Full, StreamBody};
    use std::convert::Infallible;
    use std::time::Duration;

    fn pieces(count: usize) -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
        let piece = |_| Ok(Frame::data(Bytes::from_static(&[7; 100])));
        StreamBody::new(futures_util::stream::iter((0..count).map(piece)))
    }

    fn limits() -> Limits {
        let hour = Duration::from_hours(1);
        Limits { first_byte: hour, idle: hour, deadline: Instant::now() + hour }
    }

    #[tokio::test]
    async fn answers_that_are_kept_never_take_more_than_the_room_of_all_bodies() {
        let room = BodyRoom::new(1_000);
        let (mut first, mut second) = (Whole::default(), Whole::default());
        let body = first.read(&mut pieces(6), 10_000, &limits(), &room).await.unwrap();
        assert_eq!(body.len(), 600);
        // Each is within its own bound; together they are not.
        assert_eq!(second.read(&mut pieces(6), 10_000, &limits(), &room).await, Err(Broken::NoRoom));
        assert_eq!(second.bytes().len(), 400, "what fitted is there to be looked at");
        drop((first.into_claim(), second));
        assert!(room.claim().grow_to(1_000), "all of it came back");
    }

    #[tokio::test]
    async fn an_answer_of_one_piece_takes_no_room_and_one_too_large_is_refused() {
        let room = BodyRoom::new(0);
        let mut whole = Whole::default();
        let body = Bytes::from_static(b"{}");
        assert_eq!(whole.read(&mut Full::new(body.clone()), 10, &limits(), &room).await, Ok(body));
        assert!(whole.into_claim().is_none());
        let mut whole = Whole::default();
        assert_eq!(whole.read(&mut pieces(6), 500, &limits(), &BodyRoom::new(9_000)).await, Err(Broken::TooLarge));
    }
}
