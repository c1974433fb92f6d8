//! Rules from model names to backends.
//!
//! Rule: the most specific pattern wins, then the written order. Without a single written rule, each backend serves the
//! model families of its provider; `BACKEND/MODEL` always names a backend directly. A rule none of whose backends
//! compiled still matches, with no target: the model is unavailable, not somebody else's.

use super::params::Params;
use super::strategy::Strategy;
use crate::access::Pattern;
use crate::provider::{ModelNames, ProviderKind};
use std::sync::Arc;

/// A rule.
#[derive(Debug, Clone)]
pub struct Route {
    /// The pattern that clients' model names are matched with.
    pub pattern: Pattern,
    /// How targets are ordered.
    pub strategy: Strategy,
    /// What happens to what a translation cannot say.
    pub params: Params,
    /// Where it is served.
    pub targets: Vec<Target>,
    /// Order among rules of equal specificity.
    pub position: u32,
}

/// One place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Index into the snapshot's backends.
    pub backend: usize,
    /// The backend's name for the model; `None`: the client's.
    pub upstream_model: Option<Arc<str>>,
    /// Share under the weighted strategy.
    pub weight: u32,
    /// Whether the gateway fetches what URLs in requests point at, where the backend does not.
    pub fetches_urls: bool,
}

/// Every rule, and what stands in for them when there is none.
#[derive(Debug, Default)]
pub struct RouteTable {
    /// Most specific first.
    routes: Vec<Arc<Route>>,
    /// Name and kind of each backend by index.
    backends: Vec<(String, ProviderKind)>,
    has_written_rules: bool,
}

/// A matched route: the rule, or what the backend's family implies.
#[derive(Debug, Clone)]
pub struct Match {
    /// How targets are ordered.
    pub strategy: Strategy,
    /// What happens to what a translation cannot say.
    pub params: Params,
    /// Where it is served; empty: known, but unavailable.
    pub targets: Vec<Target>,
}

impl RouteTable {
    /// Builds the table. `written` counts every rule of the configuration, those that did not compile included.
    pub fn new(mut routes: Vec<Route>, backends: Vec<(String, ProviderKind)>, written: usize) -> Self {
        routes.sort_by_key(|route| (std::cmp::Reverse(route.pattern.specificity()), route.position));
        Self { routes: routes.into_iter().map(Arc::new).collect(), backends, has_written_rules: written > 0 }
    }

    /// Finds where a model is served; `None`: no such model.
    pub fn resolve(&self, model: &str) -> Option<Match> {
        if let Some(route) = self.routes.iter().find(|route| route.pattern.matches(model)) {
            return Some(Match { strategy: route.strategy, params: route.params, targets: route.targets.clone() });
        }
        if self.has_written_rules {
            return None;
        }
        let implied = self.by_prefix(model).or_else(|| self.by_family(model))?;
        Some(Match { strategy: Strategy::Priority, params: Params::Drop, targets: implied })
    }

    /// Exact names that rules offer, for listings.
    pub fn exact_names(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().filter(|route| route.pattern.is_exact()).map(|route| route.pattern.as_str())
    }

    /// Patterns with wildcards, for listings.
    pub fn wildcard_patterns(&self) -> impl Iterator<Item = &Pattern> {
        self.routes.iter().map(|route| &route.pattern).filter(|pattern| !pattern.is_exact())
    }

    /// Whether any rule was written; without one, families are implied.
    pub fn has_written_rules(&self) -> bool {
        self.has_written_rules
    }

    fn by_prefix(&self, model: &str) -> Option<Vec<Target>> {
        let (name, rest) = model.split_once('/')?;
        let backend = self.backends.iter().position(|(backend, _)| backend == name)?;
        (!rest.is_empty())
            .then(|| vec![Target { backend, upstream_model: Some(rest.into()), weight: 1, fetches_urls: false }])
    }

    fn by_family(&self, model: &str) -> Option<Vec<Target>> {
        let of = |claims: &dyn Fn(ProviderKind) -> bool| -> Vec<Target> {
            let kinds = self.backends.iter().enumerate();
            kinds
                .filter(|(_, (_, kind))| claims(*kind))
                .map(|(backend, _)| Target { backend, upstream_model: None, weight: 1, fetches_urls: false })
                .collect()
        };
        let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| model.starts_with(prefix));
        let own = of(&|kind| matches!(kind.facts().names, ModelNames::Own(prefixes) if begins(prefixes)));
        if !own.is_empty() {
            return Some(own);
        }
        let hosted = of(&|kind| matches!(kind.facts().names, ModelNames::Hosted(prefixes) if begins(prefixes)));
        if !hosted.is_empty() {
            return Some(hosted);
        }
        // Providers with open catalogues serve any other name; the first one is asked.
        let open = of(&|kind| kind.facts().names == ModelNames::Any);
        open.into_iter().next().map(|target| vec![target])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(pattern: &str, position: u32, backend: usize) -> Route {
        let targets = vec![Target { backend, upstream_model: None, weight: 1, fetches_urls: false }];
        Route {
            pattern: Pattern::new(pattern).unwrap(),
            strategy: Strategy::Priority,
            params: Params::Drop,
            targets,
            position,
        }
    }

    fn backends() -> Vec<(String, ProviderKind)> {
        let kinds =
            [("openai", ProviderKind::OpenAi), ("anthropic", ProviderKind::Anthropic), ("local", ProviderKind::Ollama)];
        kinds.map(|(name, kind)| (name.to_owned(), kind)).to_vec()
    }

    fn first(table: &RouteTable, model: &str) -> Option<(usize, Option<String>)> {
        let target = table.resolve(model)?.targets.into_iter().next()?;
        Some((target.backend, target.upstream_model.map(|name| name.to_string())))
    }

    #[test]
    fn the_most_specific_rule_wins_then_the_written_order() {
        let table = RouteTable::new(
            vec![route("*", 0, 0), route("gpt-*", 1, 1), route("gpt-5", 2, 2), route("gpt-?", 3, 0)],
            backends(),
            4,
        );
        assert_eq!(first(&table, "gpt-5"), Some((2, None)));
        assert_eq!(first(&table, "gpt-4o"), Some((1, None)));
        assert_eq!(first(&table, "other"), Some((0, None)));
    }

    #[test]
    fn without_rules_families_and_prefixes_name_the_backend() {
        let table = RouteTable::new(vec![], backends(), 0);
        assert_eq!(first(&table, "claude-haiku-4-5"), Some((1, None)));
        assert_eq!(first(&table, "gpt-5-mini"), Some((0, None)));
        assert_eq!(first(&table, "openai/gpt-5"), Some((0, Some("gpt-5".to_owned()))));
        assert_eq!(first(&table, "llama3:8b"), Some((2, None)));
    }

    #[test]
    fn a_host_of_others_models_is_asked_where_their_maker_is_not_there() {
        let azure = ("azure".to_owned(), ProviderKind::Azure);
        let mut kinds = vec![azure];
        kinds.extend(backends());
        let table = RouteTable::new(vec![], kinds.clone(), 0);
        assert_eq!(first(&table, "gpt-5"), Some((1, None)));
        assert_eq!(first(&table, "llama3:8b"), Some((3, None)));
        kinds.remove(1);
        let table = RouteTable::new(vec![], kinds, 0);
        assert_eq!(first(&table, "gpt-5"), Some((0, None)));
        assert_eq!(first(&table, "azure/prod-fast"), Some((0, Some("prod-fast".to_owned()))));
    }

    #[test]
    fn a_written_rule_ends_the_guessing() {
        let table = RouteTable::new(vec![], backends(), 1);
        assert!(table.resolve("gpt-5").is_none());
    }
}
