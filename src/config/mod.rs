//! Configuration: `gateway.yaml`, `HELIX__*` variables and flags to typed [`Settings`], each value with its origin.
//!
//! Rule: all or nothing. Every error is found and reported at once, with place and remedy, and nothing is applied while
//! there is one. This module decides what was said, not what to do with it, and it never prints.
//!
//! The way of a value: [`yaml`] reads the file into a tree of [`node`]s, [`overlay`] lays variables and flags over it,
//! [`decoder`] walks it along the table in [`settings`] while [`checks`] look at each value, and [`review`] looks at the
//! whole.

mod checks;
mod cloud_variables;
mod clouds;
mod decoder;
pub(crate) mod diagnostic;
mod interpolate;
pub(crate) mod kinds;
mod mask;
pub(crate) mod network;
mod node;
mod overlay;
pub(crate) mod review;
pub(crate) mod scalars;
mod setting;
pub(crate) mod settings;
pub(crate) mod show;
pub(crate) mod special;
mod suggest;
pub(crate) mod watch;
pub(crate) mod words;
mod yaml;

#[cfg(test)]
mod tests;

use decoder::{Decoder, Findings};
use diagnostic::{Diagnostic, Diagnostics, SourceFile};
use node::{Node, Source};
use setting::Setting;
use settings::Settings;
use special::DatabaseUrl;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use watch::Fingerprint;

/// The largest configuration file that is read.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// By a command line flag, named by its dotted key.
    Flag(String),
    /// By an environment variable.
    Env(String),
    /// In the file; line and column count from 1.
    File {
        /// The file as it was named.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The column, in characters.
        column: usize,
    },
    /// Nowhere: it is the default.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(key) => write!(f, "flag {key}"),
            Self::Env(variable) => write!(f, "env {variable}"),
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A valid configuration.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    /// What is in effect.
    pub(crate) settings: Settings,
    /// Where each dotted key was set, structs and lists included. Keys that are not in here have their default.
    pub(crate) origins: BTreeMap<String, Origin>,
    /// What is in effect but does not do all it says.
    pub(crate) warnings: Diagnostics,
    /// The file it was read from.
    pub(crate) path: Option<PathBuf>,
    /// The files that secrets were read from.
    pub(crate) secret_files: BTreeSet<PathBuf>,
    fingerprint: Fingerprint,
}

impl Loaded {
    /// Returns where a dotted key was set; [`Origin::Default`] when it was not.
    pub(crate) fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }
}

/// Reads a configuration: flags over `HELIX__*` variables over the file over defaults. Without a file the usual
/// variables (`OPENAI_API_KEY`, `DATABASE_URL`, `PORT`, ...) are picked up as well. `flags` are dotted keys with values.
///
/// # Errors
/// Every finding at once, warnings included, when there is at least one error.
pub(crate) fn load(
    path: Option<&Path>,
    env: &BTreeMap<String, String>,
    flags: &[(String, String)],
) -> Result<Loaded, Diagnostics> {
    read_configuration(path, env, flags).0
}

/// Reads a configuration, and also says which secret files it tried to read.
fn read_configuration(
    path: Option<&Path>,
    env: &BTreeMap<String, String>,
    flags: &[(String, String)],
) -> (Result<Loaded, Diagnostics>, BTreeSet<PathBuf>) {
    let fingerprint = Fingerprint::of_file(path);
    let mut files = BTreeSet::new();
    let (mut root, mut findings) = match tree(path) {
        Ok(tree) => tree,
        Err(diagnostics) => return (Err(diagnostics), files),
    };
    if path.is_none() {
        overlay::usual_variables(&mut root, env, &mut findings);
    }
    overlay::environment(&mut root, env, &mut findings, &mut files);
    overlay::flags(&mut root, flags, &mut findings);
    cloud_variables::lay_over(&mut root, env, &mut findings);

    let mut decoder = Decoder::new(findings, env);
    let settings = Settings::decode(&root, &mut decoder);
    if let Some(settings) = &settings {
        review::review(settings, &mut decoder);
    }
    let (findings, sources, secret_files) = decoder.finish();
    files.extend(secret_files);
    let origins = origins(&sources, findings.file());
    let warnings = findings.into_diagnostics();
    let Some(mut settings) = settings.filter(|_| !warnings.has_errors()) else { return (Err(warnings), files) };
    if !sources.contains_key("storage.url") {
        settings.storage.url = DatabaseUrl::sqlite(&settings.data_dir.join("helix.db"));
    }
    let fingerprint = fingerprint.with_secrets(&files);
    let path = path.map(Path::to_owned);
    (Ok(Loaded { settings, origins, warnings, path, secret_files: files.clone(), fingerprint }), files)
}

/// Reads the file into a tree; without a file, an empty one.
fn tree(path: Option<&Path>) -> Result<(Node, Findings), Diagnostics> {
    let Some(path) = path else {
        return Ok((Node::empty_map(Source::Default), Findings::default()));
    };
    let mut findings = Findings::new(SourceFile::new(path, read(path)?));
    match yaml::parse_file(&mut findings) {
        Some(root) => Ok((root, findings)),
        None => Err(findings.into_diagnostics()),
    }
}

/// Reads a configuration only to say what is wrong with it: every finding, none when it is valid.
pub(crate) fn check(path: Option<&Path>, env: &BTreeMap<String, String>, flags: &[(String, String)]) -> Diagnostics {
    match load(path, env, flags) {
        Ok(loaded) => loaded.warnings,
        Err(diagnostics) => diagnostics,
    }
}

fn read(path: &Path) -> Result<String, Diagnostics> {
    let refuse = |reason: String, help: &str| {
        let message = format!("cannot read {}: {reason}", path.display());
        let mut diagnostic = Diagnostic::new("E0001", "", message);
        diagnostic.help(help);
        Diagnostics(vec![diagnostic])
    };
    let unreadable = |error: &std::io::Error| {
        let help = match error.kind() {
            std::io::ErrorKind::NotFound => "give the path of the file with --config, or start without one",
            std::io::ErrorKind::PermissionDenied => "let the user of the gateway read it",
            _ => "check the path",
        };
        refuse(error.to_string(), help)
    };
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(&error))?;
    if metadata.len() > MAX_FILE_BYTES {
        return Err(refuse("it is larger than 4 MiB".to_owned(), "is this the right file?"));
    }
    let bytes = std::fs::read(path).map_err(|error| unreadable(&error))?;
    String::from_utf8(bytes).map_err(|_| refuse("it is not UTF-8 text".to_owned(), "save it as UTF-8"))
}

fn origins(sources: &BTreeMap<String, Source>, file: &SourceFile) -> BTreeMap<String, Origin> {
    let origin = |source: &Source| match source {
        Source::File(span) => Origin::File { path: file.path().to_owned(), line: span.line, column: span.column },
        Source::Env(variable) => Origin::Env(variable.to_string()),
        Source::Flag(key) => Origin::Flag(key.to_string()),
        Source::Default => Origin::Default,
    };
    sources.iter().map(|(key, source)| (key.clone(), origin(source))).collect()
}
