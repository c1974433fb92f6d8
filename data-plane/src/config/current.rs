//! The configuration in force, with everything that must change together: one pointer, swapped at once.
//!
//! Rule: a request loads the pointer once and keeps what it got. Swapping never waits for requests, requests never wait
//! for a swap.

use crate::budget::{Ledger, Slot};
use crate::upstream::{Upstream, Upstreams};
use arc_swap::ArcSwapOption;
use aws_lc_rs::hmac;
use helix_llm::Vocabulary;
use helix_shared::catalog::{Catalog, CatalogModel, ModelPrice};
use helix_shared::routing::{Params, Strategy};
use helix_shared::snapshot::Snapshot;
use http::HeaderValue;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// How many resolved names are remembered; more are resolved each time.
const MOST_RESOLVED: usize = 4096;

/// One revision, ready to serve.
#[derive(Debug)]
pub struct Pinned {
    /// The compiled configuration.
    pub snapshot: Snapshot,
    /// Escrow slots, in the order of the snapshot's budgets.
    pub slots: Vec<Arc<Slot>>,
    /// Connections, in the order of the snapshot's backends.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Key of the HMAC that API keys are looked up by.
    pub pepper: Option<hmac::Key>,
    resolved: papaya::HashMap<Box<str>, Option<Arc<Resolved>>>,
}

/// Where a model name leads.
#[derive(Debug)]
pub struct Resolved {
    /// How places are ordered.
    pub strategy: Strategy,
    /// What happens to what a translation cannot say.
    pub params: Params,
    /// The places, in order; empty: known, but unavailable.
    pub places: Vec<Place>,
}

/// One backend for a model.
#[derive(Debug)]
pub struct Place {
    /// The backend.
    pub upstream: Arc<Upstream>,
    /// Its name for the model.
    pub upstream_model: Arc<str>,
    /// The same, as a header's value.
    pub model_header: Option<HeaderValue>,
    /// Its price; `None`: unknown.
    pub price: Option<Arc<ModelPrice>>,
    /// The most output tokens it gives, if known.
    pub max_output_tokens: Option<u64>,
    /// The most input tokens it takes, if known.
    pub max_input_tokens: Option<u64>,
    /// What the catalogue knows of it.
    pub known: Option<&'static CatalogModel>,
    /// What its text is made of, where that was published.
    pub vocabulary: Option<Vocabulary>,
    /// Whether the gateway fetches what URLs in requests point at, where the backend does not.
    pub fetches_urls: bool,
}

impl Place {
    /// The place of a response that a backend keeps: nothing is made there, so nothing is priced.
    pub fn of_kept(upstream: Arc<Upstream>, model: &str) -> Self {
        Self {
            upstream,
            upstream_model: model.into(),
            model_header: HeaderValue::from_str(model).ok(),
            price: None,
            max_output_tokens: None,
            max_input_tokens: None,
            known: None,
            vocabulary: None,
            fetches_urls: false,
        }
    }
}

/// The pointer.
#[derive(Debug)]
pub struct Current {
    pinned: ArcSwapOption<Pinned>,
    revision: watch::Sender<u64>,
    is_stale: AtomicBool,
    ledger: Arc<Ledger>,
    upstreams: Upstreams,
}

impl Pinned {
    /// Finds where a model is served; `None`: no such model.
    pub fn resolve(&self, model: &str) -> Option<Arc<Resolved>> {
        let resolved = self.resolved.pin();
        if let Some(known) = resolved.get(model) {
            return known.clone();
        }
        let found = self.resolve_afresh(model).map(Arc::new);
        if resolved.len() < MOST_RESOLVED && model.len() <= 256 {
            resolved.insert(model.into(), found.clone());
        }
        found
    }

    fn resolve_afresh(&self, model: &str) -> Option<Resolved> {
        let matched = self.snapshot.routes.resolve(model)?;
        let catalog = Catalog::bundled();
        let places = matched.targets.iter().filter_map(|target| {
            let upstream = self.upstreams.get(target.backend)?;
            let upstream_model: Arc<str> = target.upstream_model.clone().unwrap_or_else(|| model.into());
            let kind = upstream.backend.kind;
            let price = catalog.effective_price(
                kind.as_str(),
                upstream.backend.id.as_str(),
                &upstream_model,
                &self.snapshot.prices,
            );
            let facts = catalog.find(kind.as_str(), &upstream_model);
            let stated_output = price.as_ref().and_then(|price| price.max_output_tokens);
            let stated_input = price.as_ref().and_then(|price| price.max_input_tokens);
            Some(Place {
                upstream: Arc::clone(upstream),
                model_header: HeaderValue::from_str(&upstream_model).ok(),
                vocabulary: Vocabulary::of(&upstream_model),
                upstream_model,
                max_output_tokens: stated_output.or(facts.and_then(|facts| facts.max_output_tokens)),
                max_input_tokens: stated_input.or(facts.and_then(|facts| facts.max_input_tokens)),
                price,
                known: facts,
                fetches_urls: target.fetches_urls,
            })
        });
        Some(Resolved { strategy: matched.strategy, params: matched.params, places: places.collect() })
    }
}

impl Current {
    /// Nothing is in force yet.
    pub fn new(ledger: Arc<Ledger>, upstreams: Upstreams) -> Self {
        Self {
            pinned: ArcSwapOption::empty(),
            revision: watch::channel(0).0,
            is_stale: AtomicBool::new(false),
            ledger,
            upstreams,
        }
    }

    /// The configuration in force; `None` before the first.
    pub fn load(&self) -> Option<Arc<Pinned>> {
        self.pinned.load_full()
    }

    /// Puts a compiled configuration in force.
    pub fn swap(&self, snapshot: Snapshot, is_stale: bool) {
        let slots = self.ledger.slots(snapshot.budgets.iter().map(|limit| &limit.id));
        let before = self.load();
        let upstreams =
            self.upstreams.for_backends(&snapshot.backends, before.as_ref().map(|pinned| &pinned.upstreams));
        let settings = snapshot.settings.as_ref();
        let pepper = settings.map(|settings| hmac::Key::new(hmac::HMAC_SHA256, settings.key_pepper.expose()));
        let revision = snapshot.revision;
        let pinned = Pinned { snapshot, slots, upstreams, pepper, resolved: papaya::HashMap::new() };
        self.is_stale.store(is_stale, Ordering::Relaxed);
        self.pinned.store(Some(Arc::new(pinned)));
        self.revision.send_replace(revision);
    }

    /// Whether what is in force came from disk and the control plane has not confirmed it yet.
    pub fn is_stale(&self) -> bool {
        self.is_stale.load(Ordering::Relaxed)
    }

    /// The control plane confirmed what is in force.
    pub fn confirm(&self) {
        self.is_stale.store(false, Ordering::Relaxed);
        self.revision.send_modify(|_| {});
    }

    /// Follows the revision in force, 0 before the first; a confirmation is news too.
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }
}
