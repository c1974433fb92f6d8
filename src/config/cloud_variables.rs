//! The usual variables of the clouds, laid under what the file says of their providers.
//!
//! Rule: a provider that the file gives an identity keeps that one alone. What only the data plane's own surroundings can
//! say (a web identity, a container, a machine) is left to it.

use super::decoder::Findings;
use super::node::{Node, Source, Value};
use super::overlay::insert;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The variables that name the region, in their order.
const AWS_REGIONS: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];
const GOOGLE_PROJECTS: [&str; 2] = ["GOOGLE_CLOUD_PROJECT", "ANTHROPIC_VERTEX_PROJECT_ID"];
const GOOGLE_REGIONS: [&str; 2] = ["GOOGLE_CLOUD_LOCATION", "CLOUD_ML_REGION"];
/// What says that Amazon's tools would find a key.
const AWS_SIGNS: [&str; 6] = [
    "AWS_BEARER_TOKEN_BEDROCK",
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_PROFILE",
];
/// The variables of an application of Microsoft Entra ID, and their settings.
const ENTRA: [(&str, &str); 4] = [
    ("tenant_id", "AZURE_TENANT_ID"),
    ("client_id", "AZURE_CLIENT_ID"),
    ("client_secret", "AZURE_CLIENT_SECRET"),
    ("federated_token_file", "AZURE_FEDERATED_TOKEN_FILE"),
];

/// What a start without a file finds.
pub(super) enum Found {
    /// A provider; [`lay_over`] says the rest of it.
    Provider {
        /// Its kind, which is its name too.
        kind: &'static str,
        /// The variable that says so.
        variable: &'static str,
    },
    /// A credential without a place.
    Nowhere {
        /// The variable of the credential.
        variable: &'static str,
        /// What is missing.
        missing: &'static str,
    },
}

struct Env<'a>(&'a BTreeMap<String, String>);

impl<'a> Env<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    fn first(&self, names: &[&'static str]) -> Option<(&'static str, &'a str)> {
        names.iter().find_map(|name| Some((*name, self.get(name)?)))
    }
}

/// Finds the clouds that the variables speak of, for a start without a file.
pub(super) fn of_surroundings(env: &BTreeMap<String, String>) -> Vec<Found> {
    let env = Env(env);
    let mut found = Vec::new();
    match (env.first(&AWS_SIGNS), env.first(&AWS_REGIONS)) {
        (Some(_), Some((variable, _))) => found.push(Found::Provider { kind: "bedrock", variable }),
        // Other variables of Amazon's may be there for other things.
        (Some(("AWS_BEARER_TOKEN_BEDROCK", _)), None) => {
            found.push(Found::Nowhere { variable: "AWS_BEARER_TOKEN_BEDROCK", missing: "AWS_REGION" });
        }
        _ => {}
    }
    let variable = "GOOGLE_APPLICATION_CREDENTIALS";
    let place = env.first(&GOOGLE_PROJECTS).zip(env.first(&GOOGLE_REGIONS));
    match (env.get(variable), place) {
        (Some(_), Some(_)) => found.push(Found::Provider { kind: "vertex", variable }),
        (Some(_), None) => {
            found.push(Found::Nowhere { variable, missing: "GOOGLE_CLOUD_PROJECT and GOOGLE_CLOUD_LOCATION" });
        }
        (None, _) => {}
    }
    found
}

/// Gives providers of the clouds what the variables say and the file does not.
pub(super) fn lay_over(root: &mut Node, env: &BTreeMap<String, String>, findings: &mut Findings) {
    let env = Env(env);
    let Some(Value::Map(providers)) = root.get("providers").map(|node| node.value.clone()) else { return };
    for entry in providers {
        let has = |key: &str| entry.node.get(key).is_some_and(|node| !matches!(node.value, Value::Null));
        let Some(Value::Scalar(kind)) = entry.node.get("kind").map(|kind| &kind.value) else { continue };
        let mut put = |key: &str, value: &str, variable: &str| {
            let path = ["providers", &entry.key, key].map(str::to_owned);
            let source = Source::Env(Arc::from(variable));
            insert(root, &path, Node { value: Value::Scalar(value.to_owned()), source }, findings);
        };
        match kind.as_str() {
            "bedrock" => amazon(&env, &has, &mut put),
            "vertex" => google(&env, &has, &mut put),
            "azure" => microsoft(&env, &has, &mut put),
            _ => {}
        }
    }
}

/// A bearer token wins over keys, keys over a profile.
fn amazon(env: &Env<'_>, has: &dyn Fn(&str) -> bool, put: &mut dyn FnMut(&str, &str, &str)) {
    if !has("region")
        && let Some((variable, region)) = env.first(&AWS_REGIONS)
    {
        put("region", region, variable);
    }
    let mut has_profile = has("profile");
    let own = ["api_key", "access_key_id", "profile", "profile_file", "web_identity_token_file"];
    if !own.iter().any(|key| has(key)) {
        let pair = env.get("AWS_ACCESS_KEY_ID").zip(env.get("AWS_SECRET_ACCESS_KEY"));
        if let Some(token) = env.get("AWS_BEARER_TOKEN_BEDROCK").filter(|_| !has("role_arn")) {
            put("api_key", token, "AWS_BEARER_TOKEN_BEDROCK");
        } else if let Some((id, secret)) = pair {
            put("access_key_id", id, "AWS_ACCESS_KEY_ID");
            put("secret_access_key", secret, "AWS_SECRET_ACCESS_KEY");
            if let Some(token) = env.get("AWS_SESSION_TOKEN") {
                put("session_token", token, "AWS_SESSION_TOKEN");
            }
        } else if let Some(profile) = env.get("AWS_PROFILE") {
            put("profile", profile, "AWS_PROFILE");
            has_profile = true;
        }
    }
    if has_profile && !has("profile_file") {
        match (env.get("AWS_SHARED_CREDENTIALS_FILE"), env.get("HOME")) {
            (Some(file), _) => put("profile_file", file, "AWS_SHARED_CREDENTIALS_FILE"),
            (None, Some(home)) => put("profile_file", &format!("{home}/.aws/credentials"), "HOME"),
            (None, None) => {}
        }
    }
}

fn google(env: &Env<'_>, has: &dyn Fn(&str) -> bool, put: &mut dyn FnMut(&str, &str, &str)) {
    for (key, names) in [("project", &GOOGLE_PROJECTS), ("region", &GOOGLE_REGIONS)] {
        if !has(key)
            && let Some((variable, value)) = env.first(names)
        {
            put(key, value, variable);
        }
    }
    let variable = "GOOGLE_APPLICATION_CREDENTIALS";
    if !["api_key", "credentials", "credentials_file"].iter().any(|key| has(key))
        && let Some(path) = env.get(variable)
    {
        put("credentials_file", path, variable);
    }
}

fn microsoft(env: &Env<'_>, has: &dyn Fn(&str) -> bool, put: &mut dyn FnMut(&str, &str, &str)) {
    let own = ["api_key", "tenant_id", "client_id", "client_secret", "federated_token_file", "managed_identity"];
    if own.iter().any(|key| has(key)) || env.get("AZURE_TENANT_ID").or(env.get("AZURE_CLIENT_ID")).is_none() {
        return;
    }
    let has_secret = env.get("AZURE_CLIENT_SECRET").is_some();
    for (key, variable) in ENTRA.into_iter().filter(|(key, _)| !has_secret || *key != "federated_token_file") {
        if let Some(value) = env.get(variable) {
            put(key, value, variable);
        }
    }
}
