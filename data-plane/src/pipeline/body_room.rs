//! Memory for bodies that are kept whole, of requests and of answers, bounded over all requests.
//!
//! Rule: a body that does not fit in what is left is refused at once (503), not queued and not swapped; small bodies of
//! one piece are not counted, since the connection holds them anyway. A claim lasts for as long as the bytes do.

use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of bodies that may be held at once.
pub const DEFAULT_ROOM_BYTES: u64 = 1 << 30;

/// The room of a process. Cloning shares it.
#[derive(Debug, Clone)]
pub struct BodyRoom {
    left_bytes: Arc<AtomicU64>,
}

/// A claim on room; given back when dropped.
#[derive(Debug)]
pub struct Claim {
    room: BodyRoom,
    bytes: u64,
}

impl BodyRoom {
    /// Room for so many bytes.
    pub fn new(bytes: u64) -> Self {
        Self { left_bytes: Arc::new(AtomicU64::new(bytes)) }
    }

    /// An empty claim, to be grown.
    pub fn claim(&self) -> Claim {
        Claim { room: self.clone(), bytes: 0 }
    }
}

impl Claim {
    /// Grows to `bytes` in all; false when there is no room, and nothing has changed.
    pub fn grow_to(&mut self, bytes: u64) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let take = |left: u64| left.checked_sub(more);
        let is_granted = self.room.left_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok();
        if is_granted {
            self.bytes += more;
        }
        is_granted
    }
}

/// Bytes together with the claims that they take.
struct Held {
    bytes: Bytes,
    _claims: Vec<Claim>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Makes bytes hold claims: they are given back with the last handle on the bytes.
pub fn hold(bytes: Bytes, claims: Vec<Claim>) -> Bytes {
    if claims.iter().all(|claim| claim.bytes == 0) {
        return bytes;
    }
    Bytes::from_owner(Held { bytes, _claims: claims })
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.room.left_bytes.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_never_pass_the_room_and_come_back() {
        let room = BodyRoom::new(10);
        let (mut first, mut second) = (room.claim(), room.claim());
        assert!(first.grow_to(6) && !second.grow_to(5) && second.grow_to(4) && !first.grow_to(7));
        drop(first);
        assert!(second.grow_to(10));
    }

    #[test]
    fn bytes_hold_their_claims_until_the_last_handle_is_gone() {
        let room = BodyRoom::new(10);
        let mut claim = room.claim();
        assert!(claim.grow_to(8));
        let body = hold(Bytes::from_static(b"an answer"), vec![claim]);
        let handle = body.slice(3..);
        drop(body);
        assert!(!room.claim().grow_to(8), "a client still reads it");
        assert_eq!(&*handle, b"answer");
        drop(handle);
        assert!(room.claim().grow_to(10));
    }
}
