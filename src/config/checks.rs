//! What a value must be beyond its type, checked where it is read.
//!
//! Rule: a check looks at one value or one struct and reports at its place; what compares several parts of the
//! configuration is in `review`.

#![expect(clippy::ptr_arg, reason = "a check takes the type of its setting, which owns its text or list")]

use super::clouds;
use super::decoder::{Decoder, Noun};
use super::kinds::{KeyNeed, ProviderKind};
use super::node::{Entry, Node, Source, Value};
use super::scalars::Email;
use super::setting::Scalar;
use super::settings::{Key, ModelRoute, Provider, Sessions, Team};
use super::special::{Scope, Unserved};
use super::suggest::closest;
use super::words::{Role, Strategy};
use helix_shared::access::Pattern;
use helix_shared::provider::azure::{self, Generation};
use helix_shared::secret::Secret;
use helix_shared::typed;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

/// Headers the gateway sets itself.
const OWN_HEADERS: [&str; 10] = [
    "api-key",
    "authorization",
    "x-api-key",
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "accept-encoding",
    "te",
];

pub(super) fn version(version: &u32, node: &Node, decoder: &mut Decoder<'_>) {
    if *version != 1 {
        let message = format!("`version`: {version} is not known, this gateway reads version 1");
        decoder.error("E0104", &node.source, message);
    }
}

pub(super) fn between<const MIN: u32, const MAX: u32>(value: &u32, node: &Node, decoder: &mut Decoder<'_>) {
    if !(MIN..=MAX).contains(value) {
        let message = format!("`{}`: {value} is not between {MIN} and {MAX}", decoder.path());
        decoder.error("E0104", &node.source, message);
    }
}

pub(super) fn some_time(value: &Duration, node: &Node, decoder: &mut Decoder<'_>) {
    if value.is_zero() {
        let message = format!("`{}` must be longer than zero", decoder.path());
        decoder.error("E0104", &node.source, message);
    }
}

pub(super) fn cost_center(name: &Option<String>, node: &Node, decoder: &mut Decoder<'_>) {
    let Some(name) = name else { return };
    if name.is_empty() || name.chars().any(char::is_control) || name.chars().count() > 64 {
        let message = format!("`{}` must have 1 to 64 characters that can be printed", decoder.path());
        decoder.error("E0104", &node.source, message);
    }
}

pub(super) fn timezone(name: &String, node: &Node, decoder: &mut Decoder<'_>) {
    if jiff::tz::TimeZone::get(name).is_ok() {
        return;
    }
    let names: Vec<String> = jiff::tz::db().available().map(|zone| zone.to_string()).collect();
    let near = closest(name, names.iter().map(String::as_str)).map(str::to_owned);
    let message = format!("`{}`: `{name}` is not a time zone", decoder.path());
    let finding = decoder.error("E0103", &node.source, message);
    match near {
        Some(near) => finding.label(format!("did you mean `{near}`?")),
        None => finding.help("use an IANA name such as UTC or Europe/Berlin"),
    };
}

/// Adds the usual address of the kind where the file gives none.
pub(super) fn with_base_url(node: &Node) -> Cow<'_, Node> {
    let Value::Map(entries) = &node.value else { return Cow::Borrowed(node) };
    if node.get("base_url").is_some_and(|node| !matches!(node.value, Value::Null)) {
        return Cow::Borrowed(node);
    }
    let kind = match node.get("kind").map(|node| &node.value) {
        Some(Value::Scalar(kind)) => <ProviderKind as Scalar>::parse(kind).ok(),
        _ => None,
    };
    let region = match node.get("region").map(|node| &node.value) {
        Some(Value::Scalar(region)) => Some(region.as_str()),
        _ => None,
    };
    let regional = kind.and_then(|kind| clouds::regional_url(kind, region));
    let url = match (kind, &regional) {
        (_, Some(url)) => Some(url.as_str()),
        (Some(kind), None) => kind.default_base_url(),
        // Where the kind itself is wrong, a second message about the address would only distract.
        (None, None) => Some("https://unserved.invalid"),
    };
    let Some(url) = url else { return Cow::Borrowed(node) };
    let mut entries: Vec<Entry> = entries.iter().filter(|entry| entry.key != "base_url").cloned().collect();
    entries.push(Entry { key: "base_url".to_owned(), key_source: Source::Default, node: Node::built_in(url) });
    Cow::Owned(Node { value: Value::Map(entries), source: node.source.clone() })
}

/// A backend may be written as the name of its provider.
pub(super) fn backend_from_name(node: &Node) -> Cow<'_, Node> {
    if !matches!(node.value, Value::Scalar(_)) {
        return Cow::Borrowed(node);
    }
    let entry = Entry { key: "provider".to_owned(), key_source: node.source.clone(), node: node.clone() };
    Cow::Owned(Node { value: Value::Map(vec![entry]), source: node.source.clone() })
}

pub(super) fn provider(provider: &Provider, node: &Node, decoder: &mut Decoder<'_>) {
    let path = decoder.path().to_owned();
    let kind = provider.kind;
    clouds::check(provider, node, decoder);
    let has_usual_address = kind
        .default_base_url()
        .is_some_and(|usual| url::Url::parse(usual).is_ok_and(|usual| usual.host() == provider.base_url.host()));
    // A key that is there but misspelt or wrong has its own message.
    let wants_key = match &node.value {
        Value::Map(entries) => entries.iter().any(|entry| closest(&entry.key, ["api_key"]).is_some()),
        Value::Null | Value::Scalar(_) | Value::List(_) => false,
    };
    // A kind without a usual address is its provider's wherever it is. Clouds know who asks by other things too.
    let is_providers_own = has_usual_address || kind.default_base_url().is_none();
    let has_key = provider.api_key.is_some() || clouds::may_have_identity(provider);
    if kind.key_need() == KeyNeed::Required && is_providers_own && !has_key && !wants_key {
        let message = format!("provider `{}` needs an `api_key`", path.trim_start_matches("providers."));
        let help = match kind {
            ProviderKind::Azure => {
                "add api_key: \"${VARIABLE}\", tenant_id, client_id and client_secret, or managed_identity: true"
            }
            _ => "add api_key: \"${VARIABLE}\" or \"${file:/path}\"",
        };
        decoder.error("E0102", &node.source, message).help(help);
    }
    let has_version = kind.facts().is_some_and(|facts| facts.has_api_version);
    if has_version {
        api_version(provider, &path, decoder);
    }
    for key in
        clouds::idle_keys(provider).chain(provider.api_version.as_ref().filter(|_| !has_version).map(|_| "api_version"))
    {
        let key_path = format!("{path}.{key}");
        let source = decoder.source_of(&key_path);
        let message = format!("`{key_path}` has no effect on kind `{}`", kind.as_str());
        decoder.findings.error("W0403", &key_path, &source, message);
    }
}

/// Azure's version: a date, `preview` or `v1`, and one that its base URL does not contradict.
fn api_version(provider: &Provider, path: &str, decoder: &mut Decoder<'_>) {
    let Some(version) = &provider.api_version else { return };
    let key = format!("{path}.api_version");
    let source = decoder.source_of(&key);
    let is_plain = version.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let is_date = version.starts_with(|first: char| first.is_ascii_digit());
    if version.len() > 64 || !is_plain || !(is_date || ["v1", "preview"].contains(&version.as_str())) {
        let message = format!("`{key}`: `{version}` is not a version of the API");
        decoder.findings.error("E0103", &key, &source, message).help("write a date such as 2024-10-21, or preview");
        return;
    }
    if is_date && azure::names_v1(provider.base_url.path()) {
        let message = format!("`{key}` has no effect: the base URL ends in /openai/v1, whose versions are no dates");
        decoder.findings.error("W0403", &key, &source, message);
    } else if !Generation::of(provider.base_url.as_str(), Some(version)).takes_options() {
        let message = format!("`{key}`: streams report no usage before 2024-09-01, so that their cost is an estimate");
        decoder.findings.error("W0403", &key, &source, message).help("use 2024-10-21 or later");
    }
}

pub(super) fn header_names(headers: &BTreeMap<String, Secret>, node: &Node, decoder: &mut Decoder<'_>) {
    for name in headers.keys() {
        let is_token =
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.!#$%&'*+^`|~".contains(&b));
        let problem = if !is_token {
            "is not the name of a header"
        } else if OWN_HEADERS.contains(&name.to_lowercase().as_str()) {
            "is set by the gateway itself"
        } else {
            continue;
        };
        let source = key_source(node, name);
        let message = format!("`{}`: `{name}` {problem}", decoder.path());
        decoder.error("E0103", &source, message);
    }
}

fn key_source(node: &Node, name: &str) -> Source {
    match &node.value {
        Value::Map(entries) => {
            entries.iter().find(|entry| entry.key == name).map_or(&node.source, |entry| &entry.key_source).clone()
        }
        Value::Null | Value::Scalar(_) | Value::List(_) => node.source.clone(),
    }
}

/// Defines every name of a map, also of entries that could not be read: what uses them is not at fault.
fn define_names<'a>(noun: Noun, read: impl Iterator<Item = &'a String>, node: &'a Node, decoder: &mut Decoder<'_>) {
    let written: Vec<&String> = match &node.value {
        Value::Map(entries) => entries.iter().map(|entry| &entry.key).collect(),
        Value::Null | Value::Scalar(_) | Value::List(_) => read.collect(),
    };
    for name in written {
        let source = key_source(node, name);
        let is_name = name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.len() <= 64
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
        if !is_name {
            let message = format!(
                "`{name}` is not a name: at most 64 letters, digits, `.`, `_` and `-`, a letter or digit first"
            );
            decoder.error("E0103", &source, message);
        }
        decoder.define(noun, name, &source);
    }
}

pub(super) fn provider_names(map: &BTreeMap<String, Provider>, node: &Node, decoder: &mut Decoder<'_>) {
    define_names(Noun::Provider, map.keys(), node, decoder);
}

pub(super) fn team_names(map: &BTreeMap<String, Team>, node: &Node, decoder: &mut Decoder<'_>) {
    define_names(Noun::Team, map.keys(), node, decoder);
}

pub(super) fn defines_user(email: &Email, node: &Node, decoder: &mut Decoder<'_>) {
    decoder.define(Noun::User, email.as_str(), &node.source);
}

pub(super) fn defines_key(name: &String, node: &Node, decoder: &mut Decoder<'_>) {
    if let Err(reason) = typed::name(name) {
        let message = format!("`{}`: {reason}", decoder.path());
        decoder.error("E0104", &node.source, message);
    }
    decoder.note_defined(Noun::Key, name);
}

pub(super) fn uses_provider(name: &String, node: &Node, decoder: &mut Decoder<'_>) {
    decoder.refer(Noun::Provider, name, &node.source);
}

pub(super) fn uses_user(email: &Option<Email>, node: &Node, decoder: &mut Decoder<'_>) {
    if let Some(email) = email {
        decoder.refer(Noun::User, email.as_str(), &node.source);
    }
}

pub(super) fn uses_team(team: &Option<String>, node: &Node, decoder: &mut Decoder<'_>) {
    if let Some(team) = team {
        decoder.refer(Noun::Team, team, &node.source);
    }
}

pub(super) fn uses_teams(teams: &Vec<String>, node: &Node, decoder: &mut Decoder<'_>) {
    for (at, team) in teams.iter().enumerate() {
        let (_, source) = item(at, node, decoder);
        decoder.within(&format!("[{at}]"), |decoder| decoder.refer(Noun::Team, team, &source));
    }
    each_once("team", teams.iter().map(String::as_str), node, decoder);
}

pub(super) fn uses_scope(scope: &Scope, node: &Node, decoder: &mut Decoder<'_>) {
    match scope {
        Scope::Instance => {}
        Scope::Team(name) => decoder.refer(Noun::Team, name, &node.source),
        Scope::User(email) => decoder.refer(Noun::User, email, &node.source),
        Scope::Key(name) => decoder.refer(Noun::Key, name, &node.source),
        // compared with the routes when all of them are known
        Scope::Model(_) => {}
    }
}

pub(super) fn route(route: &ModelRoute, node: &Node, decoder: &mut Decoder<'_>) {
    let path = decoder.path().to_owned();
    if let Err(error) = Pattern::new(&route.pattern) {
        let key = format!("{path}.match");
        let source = decoder.source_of(&key);
        decoder.findings.error("E0103", &key, &source, format!("`{key}`: {error}"));
    }
    let is_listed =
        node.get("backends").is_some_and(|node| matches!(&node.value, Value::List(list) if !list.is_empty()));
    if route.backends.is_empty() && !is_listed {
        let message = format!("model route `{}` has no backends", route.pattern);
        decoder.error("E0105", &node.source, message).help("add backends: [ PROVIDER ]");
    }
    let is_weightless = !route.backends.is_empty() && route.backends.iter().all(|backend| backend.weight == 0);
    if route.strategy == Strategy::Weighted && is_weightless {
        let source = decoder.source_of(&format!("{path}.strategy"));
        let message = format!("model route `{}` is weighted and every weight is 0", route.pattern);
        decoder.error("E0104", &source, message);
    }
}

pub(super) fn key(key: &Key, node: &Node, decoder: &mut Decoder<'_>) {
    if key.user.is_some() == key.team.is_some() {
        let message = format!("key `{}` must belong to either a `user` or a `team`", key.name);
        decoder.error("E0206", &node.source, message);
    }
    let path = decoder.path().to_owned();
    if let Err(reason) = typed::key_secret(key.secret.expose()) {
        let source = decoder.source_of(&format!("{path}.secret"));
        let message = format!("the secret of key `{}` cannot be used: {reason}", key.name);
        decoder.findings.error("E0104", &format!("{path}.secret"), &source, message);
    }
}

/// A name for people.
pub(super) fn person_name(name: &Option<String>, node: &Node, decoder: &mut Decoder<'_>) {
    if let Some(Err(reason)) = name.as_deref().map(typed::name) {
        let message = format!("`{}`: {reason}", decoder.path());
        decoder.error("E0104", &node.source, message);
    }
}

/// An empty list would allow every model, as no list does.
pub(super) fn allowed_models(patterns: &Vec<String>, node: &Node, decoder: &mut Decoder<'_>) {
    model_patterns(patterns, node, decoder);
    let path = decoder.path().to_owned();
    if patterns.is_empty() && !decoder.findings.has_error_under(&path) {
        let message = format!("`{path}` is empty, which says neither every model nor none");
        let finding = decoder.error("E0105", &node.source, message);
        finding.help("leave `allow` out for every model; for none, write deny: [\"*\"]");
    }
}

/// Names of models, with or without wildcards.
pub(super) fn model_patterns(patterns: &Vec<String>, node: &Node, decoder: &mut Decoder<'_>) {
    for (at, text) in patterns.iter().enumerate() {
        if let Err(error) = Pattern::new(text) {
            let (path, source) = item(at, node, decoder);
            decoder.findings.error("E0103", &path, &source, format!("`{path}`: {error}"));
        }
    }
}

/// Each role once.
pub(super) fn roles(roles: &Vec<Role>, node: &Node, decoder: &mut Decoder<'_>) {
    each_once("role", roles.iter().map(|role| role.as_str()), node, decoder);
}

fn each_once<'a>(word: &str, names: impl Iterator<Item = &'a str>, node: &Node, decoder: &mut Decoder<'_>) {
    let mut before: Vec<&str> = Vec::new();
    for (at, name) in names.enumerate() {
        if before.contains(&name) {
            let (path, source) = item(at, node, decoder);
            decoder.findings.error("E0201", &path, &source, format!("`{path}`: {word} `{name}` is there twice"));
        }
        before.push(name);
    }
}

/// The key of an item of the list that is being decoded, and where it was set.
fn item(at: usize, node: &Node, decoder: &Decoder<'_>) -> (String, Source) {
    let path = format!("{}[{at}]", decoder.path());
    match decoder.source_of(&path) {
        Source::Default => (path, node.source.clone()),
        source => (path, source),
    }
}

pub(super) fn sessions(sessions: &Sessions, node: &Node, decoder: &mut Decoder<'_>) {
    if sessions.idle > sessions.absolute {
        let message = "`auth.sessions.idle` is longer than `auth.sessions.absolute`";
        decoder.error("E0104", &node.source, message);
    }
}

/// Policies that nobody enforces would be believed to hold.
pub(super) fn no_policies(policies: &Vec<Unserved>, node: &Node, decoder: &mut Decoder<'_>) {
    if !policies.is_empty() {
        let message = "`policies` are not enforced by this version";
        decoder
            .error("E0302", &node.source, message)
            .help("remove them: a policy that is not enforced is worse than none");
    }
}
