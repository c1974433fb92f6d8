//! Rules about crates: the arrows between them and what each may link. Upholds: a new arrow is a decision, so it is made
//! here and in docs/ARCHITECTURE.md, not in a Cargo.toml in passing. Not here: rules about single files.

use std::{collections::BTreeSet, fs};

use super::workspace::{files_of, no_findings, packages, root};

/// Who may know whom. `tests/*` crates stand outside: they may know what they test, and nobody ships them.
const ARROWS: [(&str, &[&str]); 8] = [
    ("helixgateway", &["helix-control-plane", "helix-data-plane", "helix-shared"]),
    ("helix-control-plane", &["helix-store", "helix-ui", "helix-proto", "helix-shared"]),
    ("helix-data-plane", &["helix-llm", "helix-proto", "helix-shared"]),
    ("helix-store", &["helix-shared"]),
    ("helix-ui", &["helix-shared"]),
    ("helix-llm", &["helix-shared"]),
    ("helix-proto", &["helix-shared"]),
    ("helix-shared", &[]),
];

/// Libraries that only these crates may link: it keeps decisions pure, and heavy crates out of everybody's build.
const ONLY_IN: [(&[&str], &[&str]); 6] = [
    (&["sqlx", "sqlx-core", "sea-query", "sea-query-sqlx"], &["helix-store"]),
    (&["tonic", "tonic-prost"], &["helix-proto", "helix-control-plane", "helix-data-plane", "helixgateway"]),
    (&["prost"], &["helix-proto", "helix-store", "helix-control-plane", "helix-data-plane", "helixgateway"]),
    (&["axum"], &["helix-control-plane"]),
    (&["askama"], &["helix-ui"]),
    (&["tokio", "hyper", "hyper-util"], &["helix-store", "helix-control-plane", "helix-data-plane", "helixgateway"]),
];

/// Declared, though the name never stands in the crate's own code.
const USED_UNSEEN: [(&str, &str, &str); 2] = [
    ("helix-proto", "tonic-prost", "named by the generated code"),
    ("helix-proto", "prost", "named by the generated code"),
];

#[test]
fn crates_know_each_other_only_along_the_allowed_arrows() {
    let packages = packages();
    let ours: BTreeSet<_> = packages.iter().map(|package| package.name.as_str()).collect();
    let mut findings = Vec::new();
    for package in packages.iter().filter(|package| !package.folder.starts_with(root().join("tests"))) {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == package.name) else {
            findings.push(format!("{}: a new crate needs its row in ARROWS", package.name));
            continue;
        };
        for link in
            package.links.iter().filter(|link| ours.contains(link.as_str()) && !allowed.contains(&link.as_str()))
        {
            findings.push(format!("{} -> {link}", package.name));
        }
    }
    findings.extend(ARROWS.iter().filter(|(name, _)| !ours.contains(name)).map(|(name, _)| format!("{name} is gone")));
    no_findings("arrows between crates that docs/ARCHITECTURE.md does not have:", &findings);
}

#[test]
fn heavy_libraries_are_linked_only_where_they_belong() {
    let mut findings = Vec::new();
    for package in packages().iter().filter(|package| !package.folder.starts_with(root().join("tests"))) {
        for (libraries, homes) in ONLY_IN.iter().filter(|(_, homes)| !homes.contains(&package.name.as_str())) {
            let strays = libraries.iter().filter(|library| package.links.contains(**library));
            findings.extend(strays.map(|library| format!("{} links {library}: only {homes:?} may", package.name)));
        }
    }
    no_findings("libraries outside their crates:", &findings);
}

#[test]
fn every_declared_dependency_is_used() {
    let packages = packages();
    let mut findings = Vec::new();
    for package in &packages {
        let files = files_of(package, &packages);
        for link in package.links.union(&package.links_in_tests) {
            let word = link.replace('-', "_");
            let is_seen = files.iter().any(|file| file.source.has_word(&word));
            let is_excused = USED_UNSEEN.iter().any(|(name, unseen, _)| *name == package.name && unseen == link);
            if !is_seen && !is_excused {
                findings.push(format!("{}: {link}", package.name));
            }
        }
    }
    no_findings("dependencies nobody uses; remove them from Cargo.toml:", &findings);
}

#[test]
fn every_crate_inherits_the_lints_of_the_workspace() {
    let mut findings = Vec::new();
    for package in packages() {
        let manifest = fs::read_to_string(package.folder.join("Cargo.toml")).expect("a manifest");
        let mut lines = manifest.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let has_section = lines.any(|line| line == "[lints]");
        if !has_section || lines.next() != Some("workspace = true") {
            findings.push(format!("{}: add `[lints]` with `workspace = true`", package.name));
        }
    }
    no_findings("crates with lints of their own:", &findings);
}

#[test]
fn the_architecture_document_names_every_crate() {
    let document = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).expect("docs/ARCHITECTURE.md");
    let packages = packages();
    let missing = packages.iter().filter(|package| !document.contains(&package.name));
    let missing: Vec<_> = missing.map(|package| package.name.clone()).collect();
    no_findings("crates that docs/ARCHITECTURE.md does not name:", &missing);
}
