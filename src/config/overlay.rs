//! Lays environment variables and command line flags over the tree of the file.
//!
//! Rule: flag over environment over file; each value keeps the name it came by. Whether a name is a setting is decided
//! by the reader, so that a misspelt variable gets the same message as a misspelt key.

use super::cloud_variables::{self, Found};
use super::decoder::Findings;
use super::interpolate;
use super::node::{Entry, Node, Source, Value};
use super::yaml;
use helix_shared::provider::{PathForm, ProviderKind, WireFamily};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const PREFIX: &str = "HELIX__";

/// Where Azure's resource and version are usually said, beside its key.
const AZURE_RESOURCE: &str = "AZURE_RESOURCE_NAME";
const AZURE_VERSIONS: [&str; 3] = ["OPENAI_API_VERSION", "AZURE_OPENAI_API_VERSION", "AZURE_API_VERSION"];

/// Adds what the usual variables say, for a start without a file.
pub(super) fn usual_variables(root: &mut Node, env: &BTreeMap<String, String>, findings: &mut Findings) {
    let set = |name: &str| env.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
    let mut put = |keys: &[&str], value: &str, variable: &str, findings: &mut Findings| {
        let source = Source::Env(Arc::from(variable));
        let path: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        insert(root, &path, Node { value: Value::Scalar(value.to_owned()), source }, findings);
    };
    let first = |names: &[&'static str]| names.iter().find_map(|name| Some((*name, set(name)?)));
    // Bedrock has keys of several sorts, which `cloud_variables` finds.
    for facts in ProviderKind::ALL.iter().map(|kind| kind.facts()).filter(|it| it.family != WireFamily::Bedrock) {
        let Some((key, value)) = first(facts.key_variables) else { continue };
        let is_azure = facts.paths == PathForm::Azure;
        let resource = set(AZURE_RESOURCE).filter(|_| is_azure);
        let resource = resource.map(|name| (AZURE_RESOURCE, format!("https://{name}.openai.azure.com")));
        let url = first(facts.url_variables).map(|(variable, url)| (variable, url.to_owned())).or(resource);
        if url.is_none() && facts.base_url.is_none() {
            let message = format!("{key} is set, but nothing says where: set {} too", facts.url_variables.join(" or "));
            findings.error("W0405", "providers", &Source::Env(Arc::from(key)), message);
            continue;
        }
        put(&["providers", facts.name, "kind"], facts.name, key, findings);
        put(&["providers", facts.name, "api_key"], value, key, findings);
        if let Some((variable, url)) = url {
            put(&["providers", facts.name, "base_url"], &url, variable, findings);
        }
        if let Some((variable, version)) = first(&AZURE_VERSIONS).filter(|_| is_azure) {
            put(&["providers", facts.name, "api_version"], version, variable, findings);
        }
    }
    for found in cloud_variables::of_surroundings(env) {
        match found {
            Found::Provider { kind, variable } => put(&["providers", kind, "kind"], kind, variable, findings),
            Found::Nowhere { variable, missing } => {
                let message = format!("{variable} is set, but nothing says where: set {missing} too");
                findings.error("W0405", "providers", &Source::Env(Arc::from(variable)), message);
            }
        }
    }
    if let Some(host) = set("OLLAMA_HOST") {
        put(&["providers", "ollama", "kind"], "ollama", "OLLAMA_HOST", findings);
        put(&["providers", "ollama", "base_url"], &ollama_url(host), "OLLAMA_HOST", findings);
    }
    if let Some(url) = set("DATABASE_URL") {
        put(&["storage", "url"], url, "DATABASE_URL", findings);
    }
    if let Some(port) = set("PORT") {
        put(&["server", "listen"], &format!("127.0.0.1:{port}"), "PORT", findings);
    }
}

/// Makes a URL of what Ollama itself accepts: a host, a host and port, or a URL.
fn ollama_url(host: &str) -> String {
    let with_scheme = if host.contains("://") { host.to_owned() } else { format!("http://{host}") };
    let with_scheme = with_scheme.replacen("://0.0.0.0", "://127.0.0.1", 1);
    match url::Url::parse(&with_scheme) {
        Ok(mut url) if !host.contains("://") && url.port().is_none() => {
            let is_set = url.set_port(Some(11434)).is_ok();
            if is_set { url.to_string() } else { with_scheme }
        }
        _ => with_scheme,
    }
}

/// Lays `HELIX__A__B=value` over the tree; `HELIX__A__B__FILE` reads the value from a file.
pub(super) fn environment(
    root: &mut Node,
    env: &BTreeMap<String, String>,
    findings: &mut Findings,
    files: &mut BTreeSet<PathBuf>,
) {
    for (variable, value) in env {
        let Some(name) = variable.strip_prefix(PREFIX) else { continue };
        let source = Source::Env(Arc::from(variable.as_str()));
        let (name, value) = match name.strip_suffix("__FILE") {
            None => (name, value.clone()),
            Some(name) => {
                if env.contains_key(&format!("{PREFIX}{name}")) {
                    let message = format!("both {PREFIX}{name} and {variable} are set");
                    findings.error("E0109", "", &source, message);
                }
                match interpolate::read(Path::new(value), files) {
                    Ok(text) => (name, text),
                    Err(problem) => {
                        findings.error(problem.code(), "", &source, problem.message(variable));
                        continue;
                    }
                }
            }
        };
        let path: Vec<String> = name.split("__").map(str::to_lowercase).collect();
        if path.iter().any(String::is_empty) {
            let message = format!("`{variable}` does not name a setting");
            findings.error("E0108", "", &source, message).help("write HELIX__SERVER__LISTEN for server.listen");
            continue;
        }
        insert(root, &path, Node { value: Value::Scalar(value), source }, findings);
    }
}

/// Lays flags over the tree: dotted keys such as `server.listen` or `budgets[0].mode`.
pub(super) fn flags(root: &mut Node, flags: &[(String, String)], findings: &mut Findings) {
    for (key, value) in flags {
        let source = Source::Flag(Arc::from(key.as_str()));
        let path: Vec<String> = key.replace('[', ".").replace(']', "").split('.').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) {
            findings.error("E0109", key, &source, format!("`{key}` does not name a setting"));
            continue;
        }
        insert(root, &path, Node { value: Value::Scalar(value.clone()), source }, findings);
    }
}

fn is_same_name(key: &str, segment: &str) -> bool {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    key == segment || plain(key) == plain(segment)
}

/// Sets one value, making the maps and lists on the way.
pub(super) fn insert(node: &mut Node, path: &[String], leaf: Node, findings: &mut Findings) {
    let Some((segment, rest)) = path.split_first() else {
        *node = leaf;
        return;
    };
    open_for(node, segment, &leaf.source, findings);
    let source = leaf.source.clone();
    match &mut node.value {
        Value::Map(entries) => {
            let at = entries.iter().position(|entry| is_same_name(&entry.key, segment)).unwrap_or_else(|| {
                let node = Node { value: Value::Null, source: source.clone() };
                entries.push(Entry { key: segment.clone(), key_source: source, node });
                entries.len() - 1
            });
            if let Some(entry) = entries.get_mut(at) {
                insert(&mut entry.node, rest, leaf, findings);
            }
        }
        Value::List(items) => {
            let index = segment.parse::<usize>().ok().filter(|index| *index <= items.len());
            let Some(index) = index else {
                let message = format!("`{segment}` is not an item of this list, which has {}", items.len());
                findings.error("E0109", "", &source, message);
                return;
            };
            if index == items.len() {
                items.push(Node { value: Value::Null, source });
            }
            if let Some(item) = items.get_mut(index) {
                insert(item, rest, leaf, findings);
            }
        }
        Value::Null | Value::Scalar(_) => {}
    }
}

/// Makes a node into something that can hold `segment`.
fn open_for(node: &mut Node, segment: &str, source: &Source, findings: &mut Findings) {
    if let Value::Scalar(text) = &node.value
        && text.starts_with(['{', '['])
        && !matches!(node.source, Source::File(_))
        && let Ok(parsed) = yaml::parse_value(text, &node.source, findings)
    {
        *node = parsed;
    }
    if matches!(node.value, Value::Null | Value::Scalar(_)) {
        let is_index = segment.bytes().all(|byte| byte.is_ascii_digit());
        let value = if is_index { Value::List(Vec::new()) } else { Value::Map(Vec::new()) };
        *node = Node { value, source: source.clone() };
    }
}
