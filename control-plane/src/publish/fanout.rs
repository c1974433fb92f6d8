//! What one node holds and what it must be sent next: one push in flight, later changes merge into the next one.
//!
//! Rule: a refused delta is answered at once with the whole set; a refused whole set is not tried again before the next
//! revision. Where revisions go backwards, the database has lost some: what a node holds of them is replaced. Pure: it sends
//! nothing and reads no clock.

use super::published::Published;
use helix_shared::snapshot::Digest;

/// How a push is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Everything.
    Replace,
    /// What changed since the revision that the node holds.
    Delta,
}

/// A push that is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
struct InFlight {
    push_id: String,
    revision: u64,
    digest: Digest,
    mode: Mode,
}

/// One node's side of the configuration stream.
#[derive(Debug, Default)]
pub(crate) struct Fanout {
    held: (u64, Digest),
    /// The revision that was published when it was last looked at.
    seen_revision: u64,
    must_replace: bool,
    in_flight: Option<InFlight>,
    refused_revision: Option<u64>,
    pushes: u64,
}

impl Fanout {
    /// Starts with what the node says that it holds.
    pub(crate) fn new(revision: u64, digest: Digest) -> Self {
        Self { held: (revision, digest), must_replace: revision == 0, ..Self::default() }
    }

    /// What the node holds: for heartbeats, and to make a delta from.
    pub(crate) fn held(&self) -> (u64, Digest) {
        self.held
    }

    /// Notes what is published. A revision below the last one means that the database lost commits: numbers that the node
    /// holds may come again and mean something else.
    pub(crate) fn see(&mut self, published: &Published) {
        if published.revision() < self.seen_revision {
            self.must_replace = true;
            self.refused_revision = None;
        }
        self.seen_revision = published.revision();
    }

    /// Makes the next push a whole set: nothing can be said about what the node holds.
    pub(crate) fn distrust(&mut self) {
        self.must_replace = true;
    }

    /// Whether only a whole set will do.
    pub(crate) fn must_replace(&self) -> bool {
        self.must_replace
    }

    /// Whether a push is unanswered.
    pub(crate) fn is_waiting(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Whether the node needs this revision and may be sent it now.
    pub(crate) fn is_due(&self, published: &Published) -> bool {
        if self.in_flight.is_some() || self.refused_revision == Some(published.revision()) {
            return false;
        }
        let (revision, digest) = self.held;
        let is_newer = published.revision() > revision;
        self.must_replace || is_newer || (published.revision() == revision && published.digest() != digest)
    }

    /// Notes that a push begins; returns its id.
    pub(crate) fn begin(&mut self, published: &Published, mode: Mode) -> String {
        self.pushes += 1;
        self.seen_revision = published.revision();
        let push_id = format!("{}-{}", published.revision(), self.pushes);
        let (revision, digest) = (published.revision(), published.digest());
        self.in_flight = Some(InFlight { push_id: push_id.clone(), revision, digest, mode });
        push_id
    }

    /// Notes that a push is in force. Returns its revision; `None` when nothing with this id was on its way.
    pub(crate) fn applied(&mut self, push_id: &str) -> Option<u64> {
        let push = self.in_flight.take_if(|push| push.push_id == push_id)?;
        self.held = (push.revision, push.digest);
        // one that was on its way when revisions went backwards is of those that are lost
        self.must_replace = push.revision > self.seen_revision;
        self.refused_revision = None;
        Some(push.revision)
    }

    /// Notes that a push was thrown away. Returns its revision; `None` when nothing with this id was on its way.
    pub(crate) fn refused(&mut self, push_id: &str) -> Option<u64> {
        let push = self.in_flight.take_if(|push| push.push_id == push_id)?;
        self.must_replace = true;
        if push.mode == Mode::Replace {
            self.refused_revision = Some(push.revision);
        }
        Some(push.revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use helix_shared::snapshot::ResourceSet;

    fn revision(number: u64) -> Published {
        Published::new(number, ResourceSet::default())
    }

    #[test]
    fn changes_during_a_push_merge_into_one() {
        let mut node = Fanout::new(0, Digest::default());
        let push = node.begin(&revision(1), Mode::Replace);
        assert!(!node.is_due(&revision(2)) && !node.is_due(&revision(3)));
        assert_eq!(node.applied(&push), Some(1));
        assert!(node.is_due(&revision(3)) && !node.must_replace());
        assert_eq!(node.applied(&push), None);
    }

    #[test]
    fn revisions_that_go_backwards_replace_what_the_node_holds_also_what_is_on_its_way() {
        let mut node = Fanout::new(7, Digest::default());
        node.see(&revision(7));
        assert!(!node.is_due(&revision(7)));
        node.see(&revision(5));
        assert!(node.is_due(&revision(5)) && node.must_replace());
        let push = node.begin(&revision(5), Mode::Replace);
        assert_eq!(node.applied(&push), Some(5));
        assert!(!node.is_due(&revision(5)) && !node.must_replace());

        let push = node.begin(&revision(6), Mode::Delta);
        node.see(&revision(6));
        node.see(&revision(4));
        assert_eq!(node.applied(&push), Some(6));
        assert!(node.is_due(&revision(4)) && node.must_replace());
    }

    #[test]
    fn a_refused_delta_is_replaced_at_once_and_a_refused_replace_at_the_next_revision() {
        let mut node = Fanout::new(1, Digest::default());
        assert!(!node.is_due(&revision(1)));
        let push = node.begin(&revision(2), Mode::Delta);
        assert_eq!(node.refused(&push), Some(2));
        assert!(node.is_due(&revision(2)) && node.must_replace());
        let push = node.begin(&revision(2), Mode::Replace);
        assert_eq!(node.refused(&push), Some(2));
        assert!(!node.is_due(&revision(2)));
        assert!(node.is_due(&revision(3)) && node.must_replace());
        let push = node.begin(&revision(3), Mode::Replace);
        assert_eq!(node.applied(&push), Some(3));
        assert!(!node.is_due(&revision(3)) && !node.must_replace());
    }
}
