//! The numbered cases of the wire reference: each is proven by a test that has its number in its name, or stands here with the
//! reason why not.
//!
//! Rule: a number in a name is a letter and digits between underscores (`t07_`, `_r15`), or a range (`t24_to_t27`). Not here:
//! whether the test proves what the case says; its author and its reader see to that.

use super::workspace::{files, no_findings};
use crate::support::rust_source::RustSource;
use std::collections::BTreeSet;

/// How many cases each letter has: T and R are translation, B Bedrock, G Google, Z Azure, O Ollama, M media, N metering.
const CASES: [(char, u32); 8] =
    [('t', 70), ('r', 30), ('b', 30), ('g', 30), ('z', 15), ('o', 18), ('m', 20), ('n', 26)];

/// Cases of an API or a backend that the gateway does not offer, and why. One that gets a test is taken from this list.
const FOREIGN: &[(&str, &str)] = &[
    ("m11", "pictures pass as the client asked: the provider's own refusal names `response_format`"),
    ("m12", "pictures are asked of backends that speak OpenAI's API of pictures; Gemini's makes none here"),
    ("m13", "Stability's models at Bedrock are not offered"),
    ("m14", "moderations pass as the provider says them"),
    ("m19", "Gemini's speech is not offered: no sound without a header comes"),
];

/// Cases of which a test proves one half, and why there is no other.
const HALVES: &[(&str, &str)] = &[(
    "t27",
    "what is translated for Anthropic goes as of 2023-06-01, whatever version a client names; a later one has no sampling",
)];

#[test]
fn every_case_of_the_wire_reference_has_a_test_or_a_reason() {
    let tested: BTreeSet<Case> =
        files().iter().flat_map(|file| names_of_tests(&file.source)).flat_map(|name| cases_in(&name)).collect();
    let foreign: BTreeSet<Case> = FOREIGN.iter().flat_map(|(cases, _)| cases_in(cases)).collect();
    let all = CASES.iter().flat_map(|(letter, count)| (1..=*count).map(|number| (*letter, number)));
    let mut findings = Vec::new();
    for case @ (letter, number) in all {
        if !tested.contains(&case) && !foreign.contains(&case) {
            findings.push(format!("{letter}{number}: no test has it in its name"));
        }
        if tested.contains(&case) && foreign.contains(&case) {
            findings.push(format!("{letter}{number}: it has a test; take it from the list of those that do not apply"));
        }
    }
    for (letter, number) in HALVES.iter().flat_map(|(cases, _)| cases_in(cases)) {
        if !tested.contains(&(letter, number)) {
            findings.push(format!("{letter}{number}: no test has it in its name, not even by half"));
        }
    }
    no_findings("cases of the wire reference:", &findings);
}

#[test]
fn numbers_are_read_from_names() {
    assert_eq!(cases_in("t24_to_t27_sampling"), [('t', 24), ('t', 25), ('t', 26), ('t', 27)]);
    assert_eq!(cases_in("b13_b14_usage"), [('b', 13), ('b', 14)]);
    assert_eq!(cases_in("t08_a_result_of_o1_is_read_r7"), [('t', 8), ('o', 1), ('r', 7)]);
    assert_eq!(cases_in("a_b64_text_and_t71_and_t0"), [], "no such cases");
    let source = RustSource::read("#[test]\nfn t1() {}\nfn t2() {}\n#[tokio::test(flavor = \"x\")]\nasync fn t3() {}");
    assert_eq!(names_of_tests(&source), ["t1", "t3"]);
}

type Case = (char, u32);

/// The names of functions that are tests.
fn names_of_tests(source: &RustSource) -> Vec<String> {
    let words: Vec<&str> = source.words.iter().map(|word| word.text.as_str()).collect();
    let mut names = Vec::new();
    for (at, pair) in words.windows(2).enumerate().filter(|(_, pair)| pair[0] == "fn") {
        let before = words[..at].iter().rev().take_while(|word| !matches!(**word, "}" | ";" | "{"));
        if before.clone().any(|word| *word == "test") {
            names.push(pair[1].to_owned());
        }
    }
    names
}

/// The cases that a name carries.
fn cases_in(name: &str) -> Vec<Case> {
    let words: Vec<&str> = name.split('_').collect();
    let mut cases = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let Some((letter, first)) = case(word) else { continue };
        let is_range = words.get(at + 1) == Some(&"to");
        let last = words.get(at + 2).filter(|_| is_range).and_then(|word| case(word));
        let last = last.filter(|(other, _)| *other == letter).map_or(first, |(_, last)| last);
        // The end of a range comes by itself too.
        cases.extend(
            (first..=last).map(|number| (letter, number)).filter(|case| !cases.contains(case)).collect::<Vec<_>>(),
        );
    }
    cases
}

fn case(word: &str) -> Option<Case> {
    let letter = word.chars().next()?;
    let (_, most) = CASES.iter().find(|(known, _)| *known == letter)?;
    let number = word.get(1..)?.parse().ok()?;
    (1..=*most).contains(&number).then_some((letter, number))
}
