//! The set of resources a node holds, changed by deltas, summed up by an order-free digest.
//!
//! Rule: two sets with the same resources have the same digest, however they came about.

use super::resource::{Resource, ResourceKey};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Order-free sum of the resources of a set: 16 bytes, compared after each push.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Digest(u128);

/// Resources by key, each with the hash of its encoding. Clones share the resources: a push is put together beside the
/// set in force.
#[derive(Clone, Debug, Default)]
pub struct ResourceSet {
    resources: BTreeMap<ResourceKey, (u64, Arc<Resource>)>,
    digest: Digest,
}

/// 64-bit FNV-1a: stable across versions and machines, which the standard hasher is not.
/// Source: the FNV specification (offset basis and prime for 64 bits).
pub fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Digest {
    /// The bytes for the wire, big-endian.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// Reads the bytes from the wire; `None` unless there are 16.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(u128::from_be_bytes(bytes)))
    }

    fn of(key: &ResourceKey, content_hash: u64) -> u128 {
        let mut text = Vec::with_capacity(key.id.len() + 32);
        text.extend_from_slice(key.kind.as_str().as_bytes());
        text.push(0);
        text.extend_from_slice(key.id.as_bytes());
        text.push(0);
        text.extend_from_slice(&content_hash.to_be_bytes());
        let low = fnv1a(&text);
        text.reverse();
        (u128::from(fnv1a(&text)) << 64) | u128::from(low)
    }
}

impl ResourceSet {
    /// Adds or replaces a resource.
    pub fn upsert(&mut self, id: impl Into<String>, content_hash: u64, resource: Resource) {
        let key = ResourceKey { kind: resource.kind(), id: id.into() };
        self.remove(&key);
        self.digest.0 = self.digest.0.wrapping_add(Digest::of(&key, content_hash));
        self.resources.insert(key, (content_hash, Arc::new(resource)));
    }

    /// Removes a resource; a key that is not there changes nothing.
    pub fn remove(&mut self, key: &ResourceKey) {
        if let Some((content_hash, _)) = self.resources.remove(key) {
            self.digest.0 = self.digest.0.wrapping_sub(Digest::of(key, content_hash));
        }
    }

    /// The digest of what is held now.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How many resources are held.
    pub fn len(&self) -> usize {
        self.resources.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.resources.is_empty()
    }

    /// Every resource with its key and content hash, in the order of keys.
    pub fn iter(&self) -> impl Iterator<Item = (&ResourceKey, u64, &Resource)> {
        self.resources.iter().map(|(key, (hash, resource))| (key, *hash, &**resource))
    }

    /// Looks one up.
    pub fn get(&self, key: &ResourceKey) -> Option<&Resource> {
        self.resources.get(key).map(|(_, resource)| &**resource)
    }

    /// The content hash of one.
    pub fn content_hash(&self, key: &ResourceKey) -> Option<u64> {
        self.resources.get(key).map(|(hash, _)| *hash)
    }
}

#[cfg(test)]
mod tests {
    use super::super::resource::Team;
    use super::*;
    use proptest::prelude::*;

    fn team(name: &str) -> Resource {
        Resource::Team(Team { name: name.to_owned(), allow_models: vec![], deny_models: vec![] })
    }

    proptest! {
        #[test]
        fn the_digest_depends_on_what_is_held_not_on_how_it_came(
            steps in prop::collection::vec((0_u8..6, any::<bool>(), 0_u64..4), 0..40)
        ) {
            let mut walked = ResourceSet::default();
            for (id, add, hash) in steps {
                let id = format!("t{id}");
                if add {
                    walked.upsert(id, hash, team("x"));
                } else {
                    walked.remove(&ResourceKey { kind: super::super::resource::ResourceKind::Team, id });
                }
            }
            let mut direct = ResourceSet::default();
            for (key, hash, resource) in walked.iter() {
                direct.upsert(key.id.clone(), hash, resource.clone());
            }
            prop_assert_eq!(walked.digest(), direct.digest());
            if walked.is_empty() {
                prop_assert_eq!(walked.digest(), Digest::default());
            }
        }
    }
}
