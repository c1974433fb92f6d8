//! What only the whole configuration shows: things said twice, addresses that collide, and what is not enforced yet.
//!
//! Rule: whatever this version reads and does not do is told; silence means that it is done.

use super::decoder::Decoder;
use super::node::Source;
use super::settings::{Provider, Settings};
use super::special::Scope;
use super::suggest::closest;
use super::words::{BodyMode, Strategy};
use helix_shared::access::Pattern;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use url::Host;

/// What this version reads and does nothing with, wherever it is set.
const NOT_USED: [(&str, &str); 5] = [
    ("storage.max_connections", "is not used by this version yet: the number of connections is fixed"),
    ("breaker", "is not used by this version yet: every request tries the backends in their order"),
    ("auth.sessions", "is not used by this version yet: nobody signs in"),
    ("discovery.interval", "is not used by this version yet: providers are not asked for their models"),
    ("logging.bodies.retention", "is not used by this version yet: no bodies are kept"),
];

/// Adds the findings about the whole.
pub(super) fn review(settings: &Settings, decoder: &mut Decoder<'_>) {
    decoder.check_references();
    said_twice(settings, decoder);
    addresses(settings, decoder);
    budgets_of_models(settings, decoder);
    not_enforced(settings, decoder);
}

fn said_twice(settings: &Settings, decoder: &mut Decoder<'_>) {
    let mut said: BTreeMap<(&str, Vec<u8>), String> = BTreeMap::new();
    let mut once = |decoder: &mut Decoder<'_>, what: &'static str, path: String, same: Vec<u8>, name: String| {
        let Some(first) = said.get(&(what, same.clone())) else {
            said.insert((what, same), path);
            return;
        };
        let first = match decoder.source_of(first) {
            Source::File(span) => format!("`{first}` at line {}", span.line),
            Source::Env(_) | Source::Flag(_) | Source::Default => format!("`{first}`"),
        };
        let source = decoder.source_of(&path);
        let message = format!("{what}{name} is defined twice: first as {first}");
        decoder.findings.error("E0201", &path, &source, message);
    };
    for (at, route) in settings.models.iter().enumerate() {
        let name = format!(" `{}`", route.pattern);
        once(decoder, "model route", format!("models[{at}]"), route.pattern.clone().into_bytes(), name);
    }
    for (at, price) in settings.prices.iter().enumerate() {
        let name = format!(" of `{}` at `{}`", price.model, price.provider);
        once(decoder, "price", format!("prices[{at}]"), name.clone().into_bytes(), name);
    }
    for (at, key) in settings.keys.iter().enumerate() {
        let path = format!("keys[{at}]");
        once(decoder, "key", path.clone(), key.name.clone().into_bytes(), format!(" `{}`", key.name));
        once(decoder, "the secret", path, key.secret.expose().to_vec(), format!(" of key `{}`", key.name));
    }
    for (at, budget) in settings.budgets.iter().enumerate() {
        let (period, mode) = (budget.period.as_str(), budget.mode.as_str());
        let name = format!(" {mode} {period} of `{}`", budget.scope);
        once(decoder, "budget", format!("budgets[{at}]"), name.clone().into_bytes(), name);
    }
}

/// A budget of a model that no route serves limits nothing: most likely its name is misspelt. Without routes, any model of
/// a provider may be asked for.
fn budgets_of_models(settings: &Settings, decoder: &mut Decoder<'_>) {
    if settings.models.is_empty() {
        return;
    }
    let called = settings.models.iter().flat_map(|route| {
        let upstream = route.backends.iter().filter_map(|backend| backend.model.as_deref());
        std::iter::once(route.pattern.as_str()).chain(upstream)
    });
    let called: Vec<&str> = called.collect();
    for (at, budget) in settings.budgets.iter().enumerate() {
        let Scope::Model(pattern) = &budget.scope else { continue };
        if called.iter().any(|name| may_meet(pattern, name)) {
            continue;
        }
        let path = format!("budgets[{at}].scope");
        let source = decoder.source_of(&path);
        let message = format!("`{path}`: no model route serves `{pattern}`, so this budget limits nothing");
        let near = closest(pattern, called.iter().copied()).map(|near| format!("did you mean `model:{near}`?"));
        let finding = decoder.findings.error("W0406", &path, &source, message);
        match near {
            Some(near) => finding.label(near),
            None => finding.help("name a model as `models` calls it, or as its backend does"),
        };
    }
}

/// Whether some name may match both patterns. Two with wildcards may whenever their beginnings agree.
fn may_meet(one: &str, other: &str) -> bool {
    let matches = |pattern: &str, name: &str| Pattern::ignoring_case(pattern).is_ok_and(|it| it.matches(name));
    let head = |pattern: &str| pattern.split('*').next().unwrap_or_default().to_lowercase();
    match (one.contains('*'), other.contains('*')) {
        (_, false) => matches(one, other),
        (false, true) => matches(other, one),
        (true, true) => head(one).starts_with(&head(other)) || head(other).starts_with(&head(one)),
    }
}

fn addresses(settings: &Settings, decoder: &mut Decoder<'_>) {
    let server = &settings.server;
    let all = [
        ("server.listen", server.listen),
        ("server.ops_listen", server.ops_listen),
        ("server.plane_listen", server.plane_listen),
    ];
    for (at, (key, address)) in all.iter().enumerate() {
        let earlier = all.iter().take(at).find(|(_, other)| other == address && address.port() != 0);
        if let Some((other, _)) = earlier {
            // The default of one may collide with the given value of the other: tell it where something was given.
            let source = match decoder.source_of(key) {
                Source::Default => decoder.source_of(other),
                source => source,
            };
            decoder.findings.error("E0207", key, &source, format!("`{key}` and `{other}` are both {address}"));
        }
    }
    for (name, provider) in &settings.providers {
        if points_at(provider, server.listen) {
            let key = format!("providers.{name}.base_url");
            let source = decoder.source_of(&key);
            let message = format!("provider `{name}` points at this gateway itself ({})", server.listen);
            let finding = decoder.findings.error(POINTS_HERE, &key, &source, message);
            finding
                .help("give the address of the provider; a *_BASE_URL variable meant for clients must not be set here");
        }
    }
}

/// A provider's address is the gateway's own.
pub(crate) const POINTS_HERE: &str = "E0208";

/// Reports whether requests to the provider would come back to the gateway.
fn points_at(provider: &Provider, listen: SocketAddr) -> bool {
    if provider.base_url.port_or_known_default() != Some(listen.port()) {
        return false;
    }
    let address: IpAddr = match provider.base_url.host() {
        Some(Host::Domain("localhost")) => IpAddr::from([127, 0, 0, 1]),
        Some(Host::Ipv4(address)) => address.into(),
        Some(Host::Ipv6(address)) => address.into(),
        Some(Host::Domain(_)) | None => return false,
    };
    let is_here = address.is_loopback() || address.is_unspecified();
    let listens_here = listen.ip().is_loopback() || listen.ip().is_unspecified();
    address == listen.ip() || (is_here && listens_here)
}

fn not_enforced(settings: &Settings, decoder: &mut Decoder<'_>) {
    let mut keys: Vec<(String, &str)> = Vec::new();
    for (name, team) in &settings.teams {
        let limits = [
            ("rpm", team.limits.rpm.is_some()),
            ("tpm", team.limits.tpm.is_some()),
            ("concurrent", team.limits.concurrent.is_some()),
        ];
        for (limit, _) in limits.iter().filter(|(_, is_set)| *is_set) {
            keys.push((format!("teams.{name}.limits.{limit}"), "is not enforced by this version yet"));
        }
    }
    for (at, route) in settings.models.iter().enumerate() {
        if route.strategy != Strategy::Priority {
            let key = format!("models[{at}].strategy");
            keys.push((key, "is not followed by this version yet: backends are used in the order of the file"));
        }
    }
    for (name, _) in settings.providers.iter().filter(|(_, provider)| !provider.headers.is_empty()) {
        keys.push((format!("providers.{name}.headers"), "is not used by this version yet: the headers are not sent"));
    }
    for (key, list) in
        [("auth.oidc", &settings.auth.oidc), ("auth.oauth2", &settings.auth.oauth2), ("auth.ldap", &settings.auth.ldap)]
    {
        if !list.is_empty() {
            keys.push((key.to_owned(), "is not used by this version yet: nobody can sign in with it"));
        }
    }
    for (at, source) in settings.discovery.prices.sources.iter().enumerate() {
        if source != "bundled" {
            let key = format!("discovery.prices.sources[{at}]");
            keys.push((key, "is not used by this version yet: prices come from the built-in catalogue and the file"));
        }
    }
    if settings.logging.bodies.mode != BodyMode::Off {
        keys.push(("logging.bodies.mode".to_owned(), "is not followed by this version yet: no bodies are kept"));
    }
    for (key, what) in NOT_USED {
        if decoder.source_of(key) != Source::Default {
            keys.push((key.to_owned(), what));
        }
    }
    // What must be corrected first needs no second remark.
    keys.retain(|(key, _)| !decoder.findings.has_error_under(key));
    for (key, what) in keys {
        let source = decoder.source_of(&key);
        decoder.findings.error("W0401", &key, &source, format!("`{key}` {what}"));
    }
}
