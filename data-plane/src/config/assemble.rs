//! Begin, Chunk, Commit: a push becomes a resource set.
//!
//! Rule: the set in force is touched only by a commit whose digest matches; anything else throws the push away.

use helix_proto::convert::resource::{ResourceError, from_wire, key_from_wire};
use helix_proto::v1;
use helix_shared::snapshot::{Digest, ResourceSet};

/// Why a push is thrown away.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// Messages out of order.
    #[error("the push is out of order: {0}")]
    OutOfOrder(&'static str),
    /// A delta from a state that is not ours.
    #[error("the delta starts from revision {base}, this node is at {ours}")]
    WrongBase {
        /// Where the delta starts.
        base: u64,
        /// Where we are.
        ours: u64,
    },
    /// A resource that cannot be read.
    #[error(transparent)]
    Resource(#[from] ResourceError),
    /// A key of a kind that this version does not know.
    #[error("a removal names a kind that this version does not know")]
    UnknownKey,
    /// The sum does not match.
    #[error("the digest after the push does not match: resources were lost or changed on the way")]
    DigestMismatch,
}

/// What a commit leads to.
#[derive(Debug)]
pub enum Outcome {
    /// Not committed yet.
    Pending,
    /// The same revision again: the stream is alive.
    Heartbeat,
    /// A new state: [`Assembler::revision`] and [`Assembler::set`].
    Committed,
}

/// Puts pushes together.
#[derive(Debug, Default)]
pub struct Assembler {
    revision: u64,
    set: ResourceSet,
    staged: Option<ResourceSet>,
}

impl Assembler {
    /// Starts from a state that is already in force.
    pub fn new(revision: u64, set: ResourceSet) -> Self {
        Self { revision, set, staged: None }
    }

    /// The revision in force.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// What is in force.
    pub fn set(&self) -> &ResourceSet {
        &self.set
    }

    /// The digest in force.
    pub fn digest(&self) -> Digest {
        self.set.digest()
    }

    /// Takes one step of a push. After an error the push is gone and the state in force is as before.
    ///
    /// # Errors
    /// [`AssembleError`].
    pub fn take(&mut self, step: v1::config_push::Step) -> Result<Outcome, AssembleError> {
        let taken = self.step(step);
        if taken.is_err() {
            self.staged = None;
        }
        taken
    }

    fn step(&mut self, step: v1::config_push::Step) -> Result<Outcome, AssembleError> {
        match step {
            v1::config_push::Step::Begin(begin) => {
                let staged = match begin.mode() {
                    v1::begin::Mode::Replace => ResourceSet::default(),
                    v1::begin::Mode::Delta if begin.base_revision == self.revision => self.set.clone(),
                    v1::begin::Mode::Delta => {
                        return Err(AssembleError::WrongBase { base: begin.base_revision, ours: self.revision });
                    }
                    v1::begin::Mode::Unspecified => return Err(AssembleError::OutOfOrder("begin without a mode")),
                };
                self.staged = Some(staged);
                Ok(Outcome::Pending)
            }
            v1::config_push::Step::Chunk(chunk) => {
                let staged = self.staged.as_mut().ok_or(AssembleError::OutOfOrder("chunk without begin"))?;
                for resource in chunk.upserts {
                    let (id, hash, resource) = from_wire(resource)?;
                    staged.upsert(id, hash, resource);
                }
                for key in &chunk.removals {
                    staged.remove(&key_from_wire(key).ok_or(AssembleError::UnknownKey)?);
                }
                Ok(Outcome::Pending)
            }
            v1::config_push::Step::Commit(commit) => self.commit(&commit),
        }
    }

    fn commit(&mut self, commit: &v1::Commit) -> Result<Outcome, AssembleError> {
        let digest = Digest::from_bytes(&commit.digest).ok_or(AssembleError::DigestMismatch)?;
        let Some(staged) = self.staged.take() else {
            let is_ours = commit.revision == self.revision && digest == self.set.digest();
            return if is_ours { Ok(Outcome::Heartbeat) } else { Err(AssembleError::DigestMismatch) };
        };
        if staged.digest() != digest {
            return Err(AssembleError::DigestMismatch);
        }
        self.revision = commit.revision;
        self.set = staged;
        Ok(Outcome::Committed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use helix_proto::convert::resource::to_wire;
    use helix_shared::snapshot::Resource;
    use helix_shared::snapshot::resource::Team;

    fn team(name: &str) -> Resource {
        Resource::Team(Team { name: name.into(), allow_models: vec![], deny_models: vec![] })
    }

    fn begin(mode: v1::begin::Mode, base_revision: u64) -> v1::config_push::Step {
        v1::config_push::Step::Begin(v1::Begin { mode: mode.into(), base_revision })
    }

    fn chunk(teams: &[&str]) -> v1::config_push::Step {
        let upserts = teams.iter().map(|name| to_wire(name, &team(name))).collect();
        v1::config_push::Step::Chunk(v1::Chunk { upserts, removals: vec![] })
    }

    fn commit(revision: u64, teams: &[&str]) -> v1::config_push::Step {
        let mut set = ResourceSet::default();
        for name in teams {
            let wire = to_wire(name, &team(name));
            set.upsert(*name, wire.content_hash, team(name));
        }
        let digest = set.digest().to_bytes().to_vec();
        v1::config_push::Step::Commit(v1::Commit { revision, digest, created_at_us: 0 })
    }

    fn applied() -> Assembler {
        let mut assembler = Assembler::default();
        for step in [begin(v1::begin::Mode::Replace, 0), chunk(&["a"]), commit(1, &["a"])] {
            assembler.take(step).unwrap();
        }
        assembler
    }

    #[test]
    fn a_snapshot_then_a_delta_are_put_together() {
        let mut assembler = applied();
        assembler.take(begin(v1::begin::Mode::Delta, 1)).unwrap();
        assembler.take(chunk(&["b"])).unwrap();
        assert!(matches!(assembler.take(commit(2, &["a", "b"])), Ok(Outcome::Committed)));
        assert_eq!((assembler.revision(), assembler.set().len()), (2, 2));
        assert!(matches!(assembler.take(commit(2, &["a", "b"])), Ok(Outcome::Heartbeat)));
    }

    #[test]
    fn what_cannot_be_taken_changes_nothing() {
        let mut broken = to_wire("x", &team("x"));
        broken.content_hash ^= 1;
        let undecodable = v1::config_push::Step::Chunk(v1::Chunk { upserts: vec![broken], removals: vec![] });
        let unknown = v1::Resource { id: "u".into(), content_hash: 0, body: None };
        let unknown = v1::config_push::Step::Chunk(v1::Chunk { upserts: vec![unknown], removals: vec![] });
        for bad in [
            vec![begin(v1::begin::Mode::Delta, 7)],
            vec![chunk(&["b"])],
            vec![begin(v1::begin::Mode::Delta, 1), undecodable],
            vec![begin(v1::begin::Mode::Delta, 1), unknown],
            vec![begin(v1::begin::Mode::Delta, 1), chunk(&["b"]), commit(2, &["a"])],
            vec![begin(v1::begin::Mode::Unspecified, 1)],
            vec![commit(2, &["a", "b"])],
        ] {
            let mut assembler = applied();
            let before = assembler.digest();
            let last = bad.into_iter().map(|step| assembler.take(step)).last().unwrap();
            assert!(last.is_err());
            assert_eq!((assembler.revision(), assembler.digest()), (1, before));
            assert!(matches!(assembler.take(commit(1, &["a"])), Ok(Outcome::Heartbeat)), "the push is gone");
        }
    }
}
