//! The price catalogue: which models exist, what they can do, and what a request to one costs, exactly or at worst.
//!
//! Rule: a price is never guessed. A model is found by its exact id (or a dated id of the same model), an unpriced unit
//! is an error and not zero, and the worst case is never below what any usage within its bound can cost. It deliberately
//! fetches nothing: the facts are bundled ([`Catalog::bundled`]), the file's `prices` section overrides them.

mod bundled;
mod facts;
mod model;
mod overrides;
mod price;
mod worst_case;

#[cfg(test)]
mod document;
#[cfg(test)]
mod tests;

pub use bundled::RowError;
pub use model::{Capabilities, Capability, CatalogModel, Meter, Mode, Refusal, Refusals};
pub use overrides::{ModelPattern, PatternError, PriceOverride};
pub use price::{
    ContextTier, ModelPrice, OffPeak, PriceLine, PriceOrigin, PricePeriod, ServiceTier, Terms, TierLines, UnitPrices,
    Unpriced, cost,
};
pub use worst_case::{TierRequest, Unbounded, UsageBound, affordable_output, worst_case};

use crate::provider::{ProviderKind, vertex};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

static BUNDLED: LazyLock<Catalog> = LazyLock::new(|| Catalog::parse(include_str!("models.tsv")).0);

/// Every known model, by provider kind and model id.
#[derive(Debug, Default)]
pub struct Catalog {
    as_of: String,
    by_kind: BTreeMap<String, BTreeMap<String, CatalogModel>>,
}

impl Catalog {
    /// Returns the catalogue built into this binary, read at first use.
    pub fn bundled() -> &'static Self {
        &BUNDLED
    }

    /// Reads a table of models. Rows that cannot be read are left out and returned beside it, with their line.
    pub fn parse(table: &str) -> (Self, Vec<RowError>) {
        let (as_of, models, errors) = bundled::parse(table);
        let mut catalog = Self { as_of, by_kind: BTreeMap::new() };
        for model in models {
            catalog.by_kind.entry(model.kind.clone()).or_default().insert(model.id.clone(), model);
        }
        (catalog, errors)
    }

    /// Returns the day of the facts (`2026-11-22`), which is the price version that records keep.
    pub fn as_of(&self) -> &str {
        &self.as_of
    }

    /// Returns how many models are known.
    pub fn len(&self) -> usize {
        self.by_kind.values().map(BTreeMap::len).sum()
    }

    /// Reports whether no model is known.
    pub fn is_empty(&self) -> bool {
        self.by_kind.is_empty()
    }

    /// Returns the models of a provider kind in the order of their ids; none for a kind without rows.
    pub fn models(&self, kind: &str) -> impl Iterator<Item = &CatalogModel> {
        self.by_kind.get(kind).into_iter().flat_map(BTreeMap::values)
    }

    /// Returns every model of every kind.
    pub fn all_models(&self) -> impl Iterator<Item = &CatalogModel> {
        self.by_kind.values().flat_map(BTreeMap::values)
    }

    /// Finds a model by its exact id or, failing that, a dated id (`gpt-4o-2024-08-06`, `claude-haiku-4-5-20251001`) by
    /// the id without its date, as long as the row's facts cover that date. Names at Vertex AI say their publisher and
    /// their date in their own way. `None` otherwise: a similar name is not a price.
    pub fn find(&self, kind: &str, model_id: &str) -> Option<&CatalogModel> {
        let models = self.by_kind.get(kind)?;
        let model_id = if kind == "gemini" { model_id.strip_prefix("models/").unwrap_or(model_id) } else { model_id };
        if kind == "vertex" {
            let model = vertex::Model::of(model_id);
            return models.get(model.name).or_else(|| models.get(model.undated()));
        }
        models.get(model_id).or_else(|| {
            let (base, date) = model::split_dated_id(model_id)?;
            models.get(base).filter(|model| model.covers_snapshot(date))
        })
    }

    /// Returns what a backend's model costs: the first override naming the model exactly, else the first whose pattern
    /// matches, laid field by field over the catalogue's facts (over zero for a local provider). The result holds all
    /// its dated periods, so that it can be computed once per configuration. `None`: no price is known.
    pub fn effective_price(
        &self,
        kind: &str,
        provider_name: &str,
        upstream_model: &str,
        overrides: &[PriceOverride],
    ) -> Option<Arc<ModelPrice>> {
        let found = self.find(kind, upstream_model);
        let Some(winner) = overrides::pick(overrides, provider_name, upstream_model) else {
            return match found {
                Some(model) if model.price.is_some() => model.price.clone(),
                _ => is_local_kind(kind).then(|| Arc::clone(ModelPrice::free())),
            };
        };
        let mut facts = match found {
            Some(model) if model.is_priced() => model.facts.clone(),
            _ if is_local_kind(kind) => facts::PriceFacts::local(),
            _ => facts::PriceFacts::empty(kind),
        };
        winner.apply(&mut facts);
        Some(Arc::new(facts.build(PriceOrigin::Override)))
    }
}

/// Reports whether a provider kind runs on the operator's own machines, where a token costs nothing unless overridden.
pub fn is_local_kind(kind: &str) -> bool {
    ProviderKind::parse(kind).is_some_and(ProviderKind::is_local)
}
