//! The reader against `serde_json`: they accept and refuse the same documents.

use proptest::prelude::*;

use super::{Fault, MAX_DEPTH, Reader, Reason};

fn read(bytes: &[u8]) -> Result<(), Box<Fault>> {
    let mut reader = Reader::new(bytes);
    reader.skip()?;
    reader.end()
}

#[test]
fn every_rule_of_the_grammar_is_kept() {
    for good in [
        "0",
        "-0",
        "10",
        "1.5",
        "1e9",
        "-1.5E-9",
        "true",
        "false",
        "null",
        "\"\"",
        "[]",
        "{}",
        " [ ] ",
        "{\"a\" : [1 , 2]}",
        "\"\\u00e9\\n\\/\"",
        "\"a string of more than eight bytes, with \\\"quotes\\\"\"",
        "[[],{},\"\"]",
    ] {
        assert!(read(good.as_bytes()).is_ok(), "{good}");
    }
    for bad in [
        "",
        " ",
        "01",
        "-",
        "1.",
        ".5",
        "1e",
        "+1",
        "tru",
        "nul",
        "TRUE",
        "\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\n\"",
        "[",
        "]",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{1:1}",
        "[1}",
        "{\"a\":1]",
        "1 2",
        "[] []",
        "'a'",
        "NaN",
        "\u{feff}{}",
        "// x\n1",
        "\"a string with a control character here: \t\"",
    ] {
        assert!(read(bad.as_bytes()).is_err(), "{bad}");
        assert!(serde_json::from_str::<serde_json::Value>(bad).is_err(), "{bad}");
    }
}

#[test]
fn depth_has_a_bound_and_a_million_brackets_do_no_harm() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(read(nested(usize::from(MAX_DEPTH)).as_bytes()).is_ok());
    assert_eq!(read(nested(usize::from(MAX_DEPTH) + 1).as_bytes()).map_err(|fault| fault.reason), Err(Reason::TooDeep));
    assert!(read("[".repeat(1_000_000).as_bytes()).is_err());
    assert!(read("{\"a\":".repeat(1_000_000).as_bytes()).is_err());
}

#[test]
fn a_text_knows_its_decoded_size() {
    for (json, decoded) in [
        ("\"abc\"", "abc"),
        ("\"a\\nb\\\"\"", "a\nb\""),
        ("\"\\u0041\\\\u\"", "A\\u"),
        ("\"\\u4e2d文\"", "中文"),
        ("\"\\u00e9\\ud83c\\udf0d\"", "é🌍"),
    ] {
        let mut reader = Reader::new(json.as_bytes());
        let text = reader.string().unwrap();
        assert_eq!(text.decode().unwrap(), decoded);
        let wide = decoded.bytes().filter(|byte| !byte.is_ascii()).count();
        assert_eq!(text.size(), (u64::try_from(decoded.len()).unwrap(), u64::try_from(wide).unwrap()), "{json}");
    }
    assert!(Reader::new(b"\"\\ud800\"").string().unwrap().decode().is_err());
}

/// Bytes that look like JSON more often than noise does.
fn near_json() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        Just("{"),
        Just("}"),
        Just("["),
        Just("]"),
        Just(","),
        Just(":"),
        Just("\"a\""),
        Just("\"\\u00e9\""),
        Just("\""),
        Just("0"),
        Just("-1"),
        Just("1.5e3"),
        Just("true"),
        Just("null"),
        Just(" "),
        Just("\n"),
        Just("\\"),
        Just("é"),
        Just("\"key\":"),
        Just("\"a long string without an end in sight\""),
    ];
    prop::collection::vec(token, 0..12).prop_map(|tokens| tokens.concat().into_bytes())
}

fn agrees_with_serde(bytes: &[u8]) -> Result<(), TestCaseError> {
    let Ok(text) = std::str::from_utf8(bytes) else { return Ok(()) };
    let ours = read(bytes).is_ok();
    let theirs = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    prop_assert_eq!(ours, theirs, "{}", text);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn near_json_is_judged_as_serde_json_judges_it(bytes in near_json()) {
        agrees_with_serde(&bytes)?;
    }

    #[test]
    fn any_string_is_passed_over_whole(text in any::<String>(), tail in "[ -~]{0,9}") {
        let json = serde_json::to_string(&text).unwrap();
        let document = format!("{json}{tail}");
        let mut reader = Reader::new(document.as_bytes());
        prop_assert_eq!(reader.skip().unwrap(), 0..json.len());
        let mut reader = Reader::new(document.as_bytes());
        let read = reader.string().unwrap();
        prop_assert_eq!(read.decode().unwrap(), text.as_str());
        prop_assert_eq!(read.size().0, u64::try_from(text.len()).unwrap());
    }

    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        agrees_with_serde(&bytes)?;
        prop_assert!(read(&bytes).is_ok() || read(&bytes).is_err());
    }
}
