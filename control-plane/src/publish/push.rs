//! What a push is made of: resources in chunks that no message limit cuts.
//!
//! Rule: a chunk is at most 1 MiB encoded (one resource alone may be larger). Nothing here knows nodes or streams.

use helix_proto::convert::resource::{key_to_wire, to_wire};
use helix_proto::v1;
use helix_shared::snapshot::{ResourceKey, ResourceSet};
use prost::Message;
use std::collections::BTreeSet;

/// Largest encoded chunk.
pub(crate) const CHUNK_BYTES: usize = 1024 * 1024;

/// Most that a field's tag and length add to its encoding.
const FIELD_OVERHEAD: usize = 8;

#[derive(Default)]
struct Chunks {
    full: Vec<v1::Chunk>,
    open: v1::Chunk,
    open_bytes: usize,
}

impl Chunks {
    fn room(&mut self, bytes: usize) {
        let bytes = bytes + FIELD_OVERHEAD;
        if self.open_bytes > 0 && self.open_bytes + bytes > CHUNK_BYTES {
            self.full.push(std::mem::take(&mut self.open));
            self.open_bytes = 0;
        }
        self.open_bytes += bytes;
    }

    fn upsert(&mut self, resource: v1::Resource) {
        self.room(resource.encoded_len());
        self.open.upserts.push(resource);
    }

    fn remove(&mut self, key: v1::ResourceKey) {
        self.room(key.encoded_len());
        self.open.removals.push(key);
    }

    fn finish(mut self) -> Vec<v1::Chunk> {
        if self.open_bytes > 0 {
            self.full.push(self.open);
        }
        self.full
    }
}

/// Encodes a whole set.
pub(crate) fn whole(set: &ResourceSet) -> Vec<v1::Chunk> {
    let mut chunks = Chunks::default();
    for (key, _, resource) in set.iter() {
        chunks.upsert(to_wire(&key.id, resource));
    }
    chunks.finish()
}

/// Encodes what a holder of an older set must change, given every key that changed since.
pub(crate) fn difference(set: &ResourceSet, changed: &BTreeSet<ResourceKey>) -> Vec<v1::Chunk> {
    let mut chunks = Chunks::default();
    for key in changed {
        match set.get(key) {
            Some(resource) => chunks.upsert(to_wire(&key.id, resource)),
            None => chunks.remove(key_to_wire(key)),
        }
    }
    chunks.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use helix_shared::snapshot::resource::Team;
    use helix_shared::snapshot::{Resource, ResourceKind};

    fn team(name: String) -> Resource {
        Resource::Team(Team { name, allow_models: vec![], deny_models: vec![] })
    }

    #[test]
    fn chunks_stay_under_the_limit_and_lose_nothing() {
        let mut set = ResourceSet::default();
        for id in 0..3_000 {
            set.upsert(format!("t{id}"), id, team("x".repeat(1_000)));
        }
        set.upsert("huge", 1, team("y".repeat(2 * CHUNK_BYTES)));
        let chunks = whole(&set);
        assert!(chunks.len() > 3, "{}", chunks.len());
        for chunk in &chunks {
            assert!(chunk.upserts.len() == 1 || chunk.encoded_len() <= CHUNK_BYTES);
        }
        assert_eq!(chunks.iter().map(|chunk| chunk.upserts.len()).sum::<usize>(), set.len());
    }

    #[test]
    fn a_difference_removes_what_is_gone_and_an_empty_one_has_no_chunk() {
        let mut set = ResourceSet::default();
        set.upsert("stays", 1, team("x".into()));
        let key = |id: &str| ResourceKey { kind: ResourceKind::Team, id: id.into() };
        let chunks = difference(&set, &[key("stays"), key("gone")].into());
        assert_eq!((chunks[0].upserts.len(), chunks[0].removals.len()), (1, 1));
        assert!(difference(&set, &BTreeSet::new()).is_empty());
    }
}
