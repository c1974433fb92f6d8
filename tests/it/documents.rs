//! What the documents say is tried: links lead somewhere, commands exist with their options. Upholds: a reader who copies
//! a line from README.md or deploy/ gets what it promises. Not here: prose, and configuration (`src/config/tests.rs`).

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Documents whose commands are tried.
const TRIED: [&str; 4] = ["README.md", "deploy/compose.yaml", "deploy/Dockerfile", "deploy/helixgateway.service"];

#[test]
fn links_between_documents_lead_somewhere() {
    let mut findings = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).expect("a document is UTF-8");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next()) {
            let path = link.split('#').next().unwrap_or_default();
            let is_elsewhere = path.is_empty() || path.contains("://") || path.starts_with("mailto:");
            if !is_elsewhere && !document.parent().expect("a folder").join(path).exists() {
                findings.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(findings.is_empty(), "links to nowhere:\n  {}", findings.join("\n  "));
}

#[test]
fn every_command_in_the_documents_exists_with_its_options() {
    let mut tried = 0;
    for document in TRIED {
        let text = fs::read_to_string(root().join(document)).expect(document);
        for words in text.lines().filter_map(command_words) {
            let (names, options): (Vec<_>, Vec<_>) = words.iter().partition(|word| !word.starts_with('-'));
            // Names up to the first that is not a plain word: the others are values.
            let names: Vec<_> =
                names.iter().take_while(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-')).collect();
            let help = gateway(names.iter().map(|name| name.as_str()).chain(["--help"]));
            let help_text = String::from_utf8_lossy(&help.stdout);
            assert!(
                help.status.success(),
                "{document}: `helixgateway {}` does not exist: {}",
                words.join(" "),
                report(&help)
            );
            for option in options {
                assert!(help_text.contains(option.as_str()), "{document}: no {option} in:\n{help_text}");
            }
            tried += 1;
        }
    }
    assert!(tried >= 8, "only {tried} commands were found: has their form changed?");
}

/// The words after `helixgateway` in a line that runs it: in a shell block, in a unit, or as a container's command.
fn command_words(line: &str) -> Option<Vec<String>> {
    let line = line.trim();
    let rest = ["command: [", "CMD [", "helixgateway ", "ExecStart=/usr/local/bin/helixgateway "]
        .iter()
        .find_map(|start| line.strip_prefix(start))?;
    let rest = rest.split(" #").next().unwrap_or_default();
    let words = rest.split([' ', ',', ']', '"']).filter(|word| !word.is_empty());
    Some(words.map(str::to_owned).collect())
}

fn gateway<'a>(arguments: impl Iterator<Item = &'a str>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_helixgateway")).args(arguments).output().expect("the gateway starts")
}

fn report(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Markdown file of ours.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.extend((!name.starts_with('.') && name != "target" && name != "node_modules").then_some(path));
            } else if name.ends_with(".md") {
                found.push(path);
            }
        }
    }
    found
}
