//! Walks a [`Node`] tree into settings and gathers every finding on the way, instead of stopping at the first.
//!
//! Rule: a value that cannot be read is reported once and replaced by its default, so that what follows is still
//! checked; nothing is applied while there is one error. What each setting means is in `settings`.

use super::diagnostic::{Diagnostic, Diagnostics, Severity, SourceFile};
use super::interpolate::{self, Interpolated};
use super::node::{Entry, Node, Source, Value};
use super::setting::Setting;
use super::suggest::closest;
use super::yaml;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The findings so far, and the file they quote.
#[derive(Debug, Default)]
pub(super) struct Findings {
    file: SourceFile,
    list: Vec<Diagnostic>,
}

impl Findings {
    pub(super) fn new(file: SourceFile) -> Self {
        Self { file, list: Vec::new() }
    }

    pub(super) fn file(&self) -> &SourceFile {
        &self.file
    }

    pub(super) fn file_mut(&mut self) -> &mut SourceFile {
        &mut self.file
    }

    /// Adds a finding at a source. The code says whether it is an error or a warning.
    pub(super) fn error(
        &mut self,
        code: &'static str,
        key: &str,
        source: &Source,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        let mut diagnostic = Diagnostic::new(code, key, message);
        self.file.locate(&mut diagnostic, source);
        self.list.push_mut(diagnostic)
    }

    /// Reports whether something at or under a key is wrong.
    pub(super) fn has_error_under(&self, key: &str) -> bool {
        let is_under =
            |other: &str| other.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
        self.list.iter().any(|finding| finding.severity == Severity::Error && is_under(&finding.key))
    }

    pub(super) fn into_diagnostics(self) -> Diagnostics {
        let mut diagnostics = Diagnostics(self.list);
        diagnostics.sort();
        diagnostics
    }
}

/// What names refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Noun {
    Provider,
    Team,
    User,
    Key,
}

impl Noun {
    fn word(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Team => "team",
            Self::User => "user",
            Self::Key => "key",
        }
    }

    fn dangling_code(self) -> &'static str {
        match self {
            Self::Provider => "E0203",
            Self::Team => "E0204",
            Self::User => "E0205",
            Self::Key => "E0209",
        }
    }
}

#[derive(Debug)]
struct Reference {
    noun: Noun,
    name: String,
    path: String,
    source: Source,
}

/// A map that is being decoded.
pub(super) struct OpenMap<'n> {
    entries: &'n [Entry],
    source: Source,
}

/// One reading of a configuration.
pub(super) struct Decoder<'e> {
    pub(super) findings: Findings,
    env: &'e BTreeMap<String, String>,
    path: String,
    sources: BTreeMap<String, Source>,
    defined: BTreeSet<(Noun, String)>,
    references: Vec<Reference>,
    files: BTreeSet<PathBuf>,
}

impl<'e> Decoder<'e> {
    pub(super) fn new(findings: Findings, env: &'e BTreeMap<String, String>) -> Self {
        Self {
            findings,
            env,
            path: String::new(),
            sources: BTreeMap::new(),
            defined: BTreeSet::new(),
            references: Vec::new(),
            files: BTreeSet::new(),
        }
    }

    /// The dotted key that is being decoded.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Where a dotted key was set; `Default` when it was not.
    pub(super) fn source_of(&self, path: &str) -> Source {
        self.sources.get(path).cloned().unwrap_or(Source::Default)
    }

    /// Adds a finding about the key that is being decoded.
    pub(super) fn error(&mut self, code: &'static str, source: &Source, message: impl Into<String>) -> &mut Diagnostic {
        self.findings.error(code, &self.path, source, message)
    }

    /// Runs `decode` one level deeper.
    pub(super) fn within<T>(&mut self, segment: &str, decode: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        if !self.path.is_empty() && !segment.starts_with('[') {
            self.path.push('.');
        }
        self.path.push_str(segment);
        let result = decode(self);
        self.path.truncate(length);
        result
    }

    fn remember(&mut self, source: &Source) {
        if *source != Source::Default {
            self.sources.insert(self.path.clone(), source.clone());
        }
    }

    /// Decodes a value one level deeper and remembers where it was set.
    pub(super) fn item<T: Setting>(&mut self, segment: &str, node: &Node) -> Option<T> {
        self.within(segment, |decoder| {
            decoder.remember(&node.source);
            T::decode(node, decoder)
        })
    }

    /// Opens a map that may have only the given keys; every other key is reported.
    pub(super) fn open<'n>(&mut self, node: &'n Node, known: &[&str]) -> Option<OpenMap<'n>> {
        let map = self.open_any(node)?;
        for entry in map.entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            self.unknown_key(entry, known);
        }
        Some(map)
    }

    /// Opens a map whose keys are names.
    pub(super) fn open_any<'n>(&mut self, node: &'n Node) -> Option<OpenMap<'n>> {
        let source = node.source.clone();
        match &node.value {
            Value::Map(entries) => Some(OpenMap { entries, source }),
            Value::Null => Some(OpenMap { entries: &[], source }),
            Value::Scalar(_) | Value::List(_) => {
                self.wrong_type(node, "a map of settings");
                None
            }
        }
    }

    /// Reads a map that a variable or flag holds as JSON; every other node is returned as it is.
    pub(super) fn expand<'n>(&mut self, node: &'n Node) -> Option<Cow<'n, Node>> {
        match &node.value {
            Value::Scalar(text) if text.starts_with('{') && !matches!(node.source, Source::File(_)) => {
                self.structured(text, &node.source).map(Cow::Owned)
            }
            Value::Null | Value::Scalar(_) | Value::List(_) | Value::Map(_) => Some(Cow::Borrowed(node)),
        }
    }

    /// Returns the items of a list; variables and flags may write it as JSON or separated by commas.
    pub(super) fn items<'n>(&mut self, node: &'n Node) -> Option<Cow<'n, [Node]>> {
        match &node.value {
            Value::List(items) => Some(Cow::Borrowed(items)),
            Value::Null => Some(Cow::Borrowed(&[])),
            Value::Scalar(text) if !matches!(node.source, Source::File(_)) => {
                if text.starts_with('[') {
                    let parsed = self.structured(text, &node.source)?;
                    return match parsed.value {
                        Value::List(items) => Some(Cow::Owned(items)),
                        Value::Null | Value::Scalar(_) | Value::Map(_) => None,
                    };
                }
                let item =
                    |part: &str| Node { value: Value::Scalar(part.trim().to_owned()), source: node.source.clone() };
                Some(Cow::Owned(text.split(',').filter(|part| !part.trim().is_empty()).map(item).collect()))
            }
            Value::Scalar(_) | Value::Map(_) => {
                self.wrong_type(node, "a list").label("write it as [ ... ]");
                None
            }
        }
    }

    fn structured(&mut self, text: &str, source: &Source) -> Option<Node> {
        match yaml::parse_value(text, source, &mut self.findings) {
            Ok(node) => Some(node),
            Err(reason) => {
                let message = format!("`{}` is not valid JSON: {reason}", self.path);
                self.error("E0002", source, message);
                None
            }
        }
    }

    pub(super) fn wrong_type(&mut self, node: &Node, expected: &str) -> &mut Diagnostic {
        let name = if self.path.is_empty() { "the file".to_owned() } else { format!("`{}`", self.path) };
        let message = format!("{name} must be {expected}, not {}", node.shape());
        self.error("E0101", &node.source, message)
    }

    /// Decodes one key of an open map. A failing value is replaced by the default; `None` when there is none.
    pub(super) fn field<T: Setting>(
        &mut self,
        map: &OpenMap<'_>,
        key: &'static str,
        default: Option<&str>,
        check: Option<Check<T>>,
    ) -> Option<T> {
        self.within(key, |decoder| {
            let entry = map.entries.iter().find(|entry| entry.key == key);
            let given = entry.map(|entry| &entry.node).filter(|node| !matches!(node.value, Value::Null));
            if let Some(node) = given {
                decoder.remember(&node.source);
                if let Some(value) = T::decode(node, decoder) {
                    if let Some(check) = check {
                        check(&value, node, decoder);
                    }
                    return Some(value);
                }
            }
            let built_in = match default {
                Some(text) => T::decode(&Node::built_in(text), decoder),
                None => T::absent(decoder),
            };
            if built_in.is_none() && given.is_none() {
                let source = entry.map_or(&map.source, |entry| &entry.key_source).clone();
                let message = format!("missing field `{key}` in {}", owner(decoder.path()));
                decoder.error("E0102", &source, message);
            }
            built_in
        })
    }

    fn unknown_key(&mut self, entry: &Entry, known: &[&str]) {
        let near = closest(&entry.key, known.iter().copied()).map(str::to_owned);
        let child = if self.path.is_empty() { entry.key.clone() } else { format!("{}.{}", self.path, entry.key) };
        if let Source::Env(variable) = &entry.key_source
            && variable.ends_with(&format!("__{}", entry.key.to_uppercase().replace('-', "_")))
        {
            let message = format!("unknown variable `{variable}`: there is no setting `{child}`");
            let prefix = variable.strip_suffix(&entry.key.to_uppercase().replace('-', "_")).unwrap_or("").to_owned();
            let finding = self.findings.error("E0108", &child, &entry.key_source, message);
            match near {
                Some(near) => finding.label(format!("did you mean `{prefix}{}`?", near.to_uppercase())),
                None => finding.help("see every setting with `helixgateway config schema`"),
            };
            return;
        }
        let owner = owner(&child);
        let message = format!("unknown field `{}` in {owner}", entry.key);
        let finding = self.findings.error("E0107", &child, &entry.key_source, message);
        match near {
            Some(near) => finding.label(format!("did you mean `{near}`?")),
            None => finding.help(format!("known here: {}", known.join(", "))),
        };
    }

    /// Returns the text of a scalar, references resolved. What is wrong is reported.
    pub(super) fn text(&mut self, node: &Node, expected: &str) -> Option<Interpolated> {
        let text = match &node.value {
            Value::Scalar(text) => text,
            Value::Null | Value::List(_) | Value::Map(_) => {
                self.wrong_type(node, expected);
                return None;
            }
        };
        if !matches!(node.source, Source::File(_)) {
            return Some(Interpolated { text: text.clone(), is_literal: false, used_default: None });
        }
        let resolved = interpolate::resolve(text, self.env, &mut self.files);
        match resolved {
            Ok(resolved) => Some(resolved),
            Err(problems) => {
                for problem in problems {
                    let help = problem.help(self.env);
                    let message = problem.message(&self.path);
                    let finding = self.error(problem.code(), &node.source, message);
                    if let Some(help) = help {
                        finding.help(help);
                    }
                }
                None
            }
        }
    }

    /// Records that a name exists; reports a second one.
    pub(super) fn define(&mut self, noun: Noun, name: &str, source: &Source) {
        if !self.defined.insert((noun, name.to_owned())) {
            let message = format!("{} `{name}` is defined twice", noun.word());
            self.error("E0201", source, message);
        }
    }

    /// Records a name whose second definition is found elsewhere.
    pub(super) fn note_defined(&mut self, noun: Noun, name: &str) {
        self.defined.insert((noun, name.to_owned()));
    }

    /// Records that a name is used.
    pub(super) fn refer(&mut self, noun: Noun, name: &str, source: &Source) {
        self.references.push(Reference {
            noun,
            name: name.to_owned(),
            path: self.path.clone(),
            source: source.clone(),
        });
    }

    /// Reports every name that is used and not defined.
    pub(super) fn check_references(&mut self) {
        for reference in std::mem::take(&mut self.references) {
            let Reference { noun, name, path, source } = reference;
            if self.defined.contains(&(noun, name.clone())) {
                continue;
            }
            let have: Vec<&str> =
                self.defined.iter().filter(|(other, _)| *other == noun).map(|(_, name)| name.as_str()).collect();
            let list = if have.is_empty() { "none".to_owned() } else { have.join(", ") };
            let near = closest(&name, have.iter().copied()).map(|near| format!("did you mean `{near}`?"));
            let word = noun.word();
            let message = format!("`{path}` uses {word} `{name}`, which is not defined (have: {list})");
            let finding = self.findings.error(noun.dangling_code(), &path, &source, message);
            if let Some(near) = near {
                finding.label(near);
            }
        }
    }

    /// Gives up everything that was gathered: findings, where each key was set, and the files that were read.
    pub(super) fn finish(self) -> (Findings, BTreeMap<String, Source>, BTreeSet<PathBuf>) {
        (self.findings, self.sources, self.files)
    }
}

/// A check of one given value, beyond its type.
pub(super) type Check<T> = fn(&T, &Node, &mut Decoder<'_>);

impl OpenMap<'_> {
    pub(super) fn entries(&self) -> &[Entry] {
        self.entries
    }
}

/// How the thing that holds a key is called: "provider `openai`", "`server`", "the file".
fn owner(child: &str) -> String {
    let Some((parent, _)) = child.rsplit_once('.') else { return "the configuration".to_owned() };
    match parent.split_once('.') {
        Some(("providers", name)) if !name.contains('.') => format!("provider `{name}`"),
        Some(("teams", name)) if !name.contains('.') => format!("team `{name}`"),
        _ => format!("`{parent}`"),
    }
}
