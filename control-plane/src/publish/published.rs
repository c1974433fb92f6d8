//! The configuration of one revision as this process holds it, and what changed between the last revisions.
//!
//! Rule: immutable once published; every node's push is made from one of these. The history only saves work: what it has
//! forgotten is in the change log of the database.

use super::push;
use helix_proto::v1;
use helix_shared::budget::Limit;
use helix_shared::ids::BudgetId;
use helix_shared::snapshot::{Digest, Resource, ResourceKey, ResourceSet};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, OnceLock};

/// How many revisions the history keeps.
const KEPT_REVISIONS: usize = 1_024;

/// One revision.
#[derive(Debug, Default)]
pub struct Published {
    revision: u64,
    set: ResourceSet,
    limits: HashMap<BudgetId, Limit>,
    whole: OnceLock<Arc<Vec<v1::Chunk>>>,
}

impl Published {
    pub(crate) fn new(revision: u64, set: ResourceSet) -> Self {
        let limits = set.iter().filter_map(|(key, _, resource)| limit_of(key, resource)).collect();
        Self { revision, set, limits, whole: OnceLock::new() }
    }

    /// The revision.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Every resource.
    pub fn set(&self) -> &ResourceSet {
        &self.set
    }

    /// The digest of every resource.
    pub fn digest(&self) -> Digest {
        self.set.digest()
    }

    /// A budget of this revision; `None` for one that is unknown or does not compile.
    pub fn limit(&self, id: &BudgetId) -> Option<&Limit> {
        self.limits.get(id)
    }

    /// Every budget of this revision that compiles, in no order.
    pub(crate) fn limits(&self) -> impl Iterator<Item = &Limit> {
        self.limits.values()
    }

    /// The whole set in chunks, encoded once for all nodes.
    pub(crate) fn whole(&self) -> Arc<Vec<v1::Chunk>> {
        Arc::clone(self.whole.get_or_init(|| Arc::new(push::whole(&self.set))))
    }
}

fn limit_of(key: &ResourceKey, resource: &Resource) -> Option<(BudgetId, Limit)> {
    let Resource::Budget(budget) = resource else { return None };
    let id = BudgetId::from(key.id.as_str());
    Limit::of(id.clone(), budget).ok().map(|limit| (id, limit))
}

/// What the last revisions changed, and the digest each one had.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Oldest first; the first entry's changes are not known.
    revisions: VecDeque<(u64, Digest, BTreeSet<ResourceKey>)>,
}

impl History {
    /// Adds a revision that follows the last one.
    pub(crate) fn push(&mut self, revision: u64, digest: Digest, changed: BTreeSet<ResourceKey>) {
        if self.revisions.len() == KEPT_REVISIONS {
            self.revisions.pop_front();
        }
        self.revisions.push_back((revision, digest, changed));
    }

    /// Forgets everything and starts at a revision whose way here is not known.
    pub(crate) fn restart(&mut self, revision: u64, digest: Digest) {
        self.revisions.clear();
        self.revisions.push_back((revision, digest, BTreeSet::new()));
    }

    /// The digest that a revision had; `None` when it was never seen or is forgotten.
    pub(crate) fn digest_at(&self, revision: u64) -> Option<Digest> {
        self.revisions.iter().find(|(kept, _, _)| *kept == revision).map(|(_, digest, _)| *digest)
    }

    /// Every key changed after a revision; `None` when that is forgotten.
    pub(crate) fn changed_since(&self, revision: u64) -> Option<BTreeSet<ResourceKey>> {
        let first = self.revisions.front()?.0;
        if revision < first {
            return None;
        }
        let later = self.revisions.iter().filter(|(kept, _, _)| *kept > revision);
        Some(later.flat_map(|(_, _, changed)| changed.iter().cloned()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use helix_shared::snapshot::ResourceKind;

    fn keys(ids: &[&str]) -> BTreeSet<ResourceKey> {
        ids.iter().map(|id| ResourceKey { kind: ResourceKind::Team, id: (*id).to_owned() }).collect()
    }

    #[test]
    fn history_merges_what_changed_since_and_knows_what_it_forgot() {
        let mut history = History::default();
        assert_eq!(history.changed_since(0), None);
        history.restart(5, Digest::default());
        history.push(6, Digest::default(), keys(&["a", "b"]));
        history.push(9, Digest::default(), keys(&["b", "c"]));
        assert_eq!(history.changed_since(4), None);
        assert_eq!(history.changed_since(5), Some(keys(&["a", "b", "c"])));
        assert_eq!(history.changed_since(6), Some(keys(&["b", "c"])));
        assert_eq!(history.changed_since(9), Some(keys(&[])));
        for revision in 10..3_000 {
            history.push(revision, Digest::default(), keys(&[]));
        }
        assert_eq!(history.changed_since(9), None);
        assert_eq!(history.digest_at(9), None);
        assert_eq!(history.digest_at(2_999), Some(Digest::default()));
    }
}
