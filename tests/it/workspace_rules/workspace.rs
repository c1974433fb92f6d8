//! What the rules look at: the packages as cargo sees them and the files as they lie on disk. Upholds: reads the working
//! tree, so that a file not yet committed is held to the same rules. Not here: the rules.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::support::rust_source::RustSource;

/// One of our crates.
pub(super) struct Package {
    pub(super) name: String,
    /// Folder of its Cargo.toml.
    pub(super) folder: PathBuf,
    /// What it links (and what its build script links).
    pub(super) links: BTreeSet<String>,
    /// What only its tests link.
    pub(super) links_in_tests: BTreeSet<String>,
    /// The file each of its targets starts from.
    roots: Vec<PathBuf>,
}

/// One Rust file of ours.
pub(super) struct File {
    /// From the repository's root, for messages.
    pub(super) path: PathBuf,
    pub(super) text: String,
    pub(super) source: RustSource,
}

impl File {
    /// True for tests, the fake provider and the benchmark: they are not shipped.
    pub(super) fn is_of_tests(&self) -> bool {
        self.path.components().any(|part| part.as_os_str() == "tests")
    }
}

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All crates of the workspace.
pub(super) fn packages() -> Vec<Package> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--format-version", "1", "--offline"]).current_dir(root());
    let output = cargo.output().expect("cargo metadata starts");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    list(&metadata["packages"]).iter().map(package).collect()
}

fn package(value: &Value) -> Package {
    let links = |in_tests: bool| {
        let dependencies = list(&value["dependencies"]).iter();
        let dependencies = dependencies.filter(|dependency| (dependency["kind"] == "dev") == in_tests);
        dependencies.map(|dependency| text(&dependency["name"])).collect()
    };
    Package {
        name: text(&value["name"]),
        folder: Path::new(&text(&value["manifest_path"])).parent().expect("a manifest lies in a folder").to_owned(),
        links: links(false),
        links_in_tests: links(true),
        roots: list(&value["targets"]).iter().map(|target| PathBuf::from(text(&target["src_path"]))).collect(),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("an array in cargo metadata")
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string in cargo metadata").to_owned()
}

/// Every Rust file under the repository's root.
pub(super) fn files() -> Vec<File> {
    files_below(root())
}

/// The Rust files that belong to a crate: those in its folder but not in the folder of a crate inside it. The root
/// package owns `src` and `tests/it`; everything else below the root is another crate's.
pub(super) fn files_of(package: &Package, all: &[Package]) -> Vec<File> {
    let inner = all.iter().map(|other| &other.folder).filter(|folder| **folder != package.folder);
    let inner: Vec<_> = inner.filter(|folder| folder.starts_with(&package.folder)).collect();
    let own = |file: &File| !inner.iter().any(|folder| root().join(&file.path).starts_with(folder));
    files_below(&package.folder).into_iter().filter(own).collect()
}

/// True when a target starts from this file (main.rs, lib.rs, build.rs, a bin, a bench).
pub(super) fn is_root_of(file: &File, packages: &[Package]) -> bool {
    let path = root().join(&file.path);
    packages.iter().any(|package| package.roots.contains(&path))
}

fn files_below(folder: &Path) -> Vec<File> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                // `fuzz` is a workspace of its own.
                let is_ours = !name.starts_with('.') && !["target", "node_modules", "fuzz"].contains(&name.as_str());
                folders.extend(is_ours.then_some(path));
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(&path).expect("a Rust file is UTF-8");
                let path = path.strip_prefix(root()).expect("below the root").to_owned();
                found.push(File { path, source: RustSource::read(&text), text });
            }
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(!found.is_empty(), "no Rust files below {}", folder.display());
    found
}

/// Fails with one finding a line.
pub(super) fn no_findings(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}\n  {}\n", findings.join("\n  "));
}
