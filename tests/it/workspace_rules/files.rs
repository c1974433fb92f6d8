//! Rules about files: length, the opening comment, where SQL and printing may stand, decision records. Upholds: words in
//! comments and strings never trip a rule about code. Not here: rules about crates.

use std::{collections::BTreeMap, fs};

use super::workspace::{File, files, is_root_of, no_findings, packages, root};

/// A file longer than this holds more than one idea.
const MOST_LINES: usize = 500;

/// The only crate that speaks to a database.
const STORE: &str = "control-plane/store";

#[test]
fn no_file_is_longer_than_one_idea() {
    let lengths = files().into_iter().map(|file| (file.text.lines().count(), file.path));
    let long = lengths.filter(|(lines, _)| *lines > MOST_LINES);
    let long: Vec<_> = long.map(|(lines, path)| format!("{}: {lines} lines", path.display())).collect();
    no_findings(&format!("files over {MOST_LINES} lines; split them by idea:"), &long);
}

#[test]
fn every_file_says_first_what_it_is() {
    let silent = files().into_iter().filter(|file| !file.text.starts_with("//!"));
    let silent: Vec<_> = silent.map(|file| file.path.display().to_string()).collect();
    no_findings("files that do not begin with `//!` (what it is, the rule it upholds, what it leaves out):", &silent);
}

#[test]
fn every_file_is_compiled() {
    let packages = packages();
    let files = files();
    let sources: BTreeMap<_, _> = files.iter().map(|file| (file.path.clone(), &file.source)).collect();
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| !is_root_of(file, &packages)) {
        let folder = file.path.parent().expect("a file lies in a folder");
        let stem = file.path.file_stem().unwrap_or_default().to_string_lossy();
        let (name, holder) = if stem == "mod" {
            (folder.file_name().unwrap_or_default().to_string_lossy(), folder.parent().expect("a module has a parent"))
        } else {
            (stem, folder)
        };
        let parents =
            [holder.join("mod.rs"), holder.join("lib.rs"), holder.join("main.rs"), holder.with_extension("rs")];
        let is_named =
            |parent| sources.get(parent).is_some_and(|source| !source.lines_of(&["mod", &name, ";"]).is_empty());
        if !parents.iter().any(is_named) {
            findings.push(format!("{}: no `mod {name};`", file.path.display()));
        }
    }
    no_findings("files that no module names, so nobody compiles or tests them:", &findings);
}

#[test]
fn only_the_store_speaks_sql() {
    let mut findings = Vec::new();
    for file in files().iter().filter(|file| !file.is_of_tests() && !file.path.starts_with(STORE)) {
        for library in ["sqlx", "sqlx_core", "sea_query", "sea_query_sqlx"] {
            findings.extend(place(file, &file.source.lines_of(&[library])));
        }
        let statements = file.source.literals.iter().filter(|literal| is_sql(&literal.text));
        findings.extend(place(file, &statements.map(|literal| literal.line).collect::<Vec<_>>()));
    }
    no_findings(&format!("SQL outside {STORE}:"), &findings);
}

#[test]
fn nothing_that_ships_prints_behind_the_back_of_its_caller() {
    let mut findings = Vec::new();
    for file in files().iter().filter(|file| !file.is_of_tests() && !file.path.ends_with("build.rs")) {
        for name in ["print", "println", "eprint", "eprintln", "dbg"] {
            findings.extend(place(file, &file.source.lines_of(&[name, "!"])));
        }
    }
    no_findings("printing; write to a handle that was passed in, or log:", &findings);
}

#[test]
fn decision_records_are_numbered_without_a_gap() {
    let folder = root().join("docs/decisions");
    let entries = fs::read_dir(&folder).expect("docs/decisions");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("a readable entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    let mut findings = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let is_named = name.starts_with(&format!("{number:04}-")) && name.ends_with(".md");
        if !is_named {
            findings.push(format!("{name}: expected {number:04}-title.md here"));
            break;
        }
        let text = fs::read_to_string(folder.join(name)).expect("a readable record");
        let missing = ["## Context", "## Decision", "## Consequences", "## Risks"].into_iter();
        let missing = missing.filter(|section| !text.lines().any(|line| line == *section));
        findings.extend(missing.map(|section| format!("{name}: no `{section}`")));
    }
    no_findings("decision records (docs/decisions/0000-template.md shows the form):", &findings);
}

#[test]
fn sql_is_told_from_prose() {
    for sql in ["SELECT 1", "INSERT INTO users", "UPDATE users\n SET x = 1", "DELETE FROM users", "(SELECT 1)"] {
        assert!(is_sql(sql), "{sql}");
    }
    for prose in ["select a model", "SELECTED", "UPDATE failed", "DELETE", "INSERT A COIN", "the SET of keys"] {
        assert!(!is_sql(prose), "{prose}");
    }
}

/// Upper case as statements are written: SELECT, INSERT INTO, UPDATE .. SET, DELETE FROM.
fn is_sql(literal: &str) -> bool {
    let words: Vec<_> = literal.split(|letter: char| !letter.is_alphanumeric() && letter != '_').collect();
    let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
    let has_pair = |first, second| words.windows(2).any(|pair| pair == [first, second]);
    let update = words.iter().position(|word| *word == "UPDATE");
    words.contains(&"SELECT")
        || has_pair("INSERT", "INTO")
        || has_pair("DELETE", "FROM")
        || update.is_some_and(|at| words.iter().skip(at).any(|word| *word == "SET"))
}

fn place(file: &File, lines: &[usize]) -> Vec<String> {
    lines.iter().map(|line| format!("{}:{line}", file.path.display())).collect()
}
