//! OpenAI's speech: text in, sound out.
//!
//! Rule: what is spoken is counted in characters (Unicode scalar values); the sound is never looked at.

use crate::json::{InPath, Kind, Reader, Result, to_u64};
use crate::request::RequestFacts;
use crate::request::fields::{Fields, missing, read_model, read_others, read_text};

/// The slowest and the fastest speech that can be asked for, in thousandths of the usual speed. Source: OpenAI API reference,
/// `speed`.
const SLOWEST_PERMILLE: u64 = 250;
const FASTEST_PERMILLE: u64 = 4_000;

/// Reads the speed in thousandths. A number that is written in another way than as a decimal fraction counts as the slowest.
fn read_speed(reader: &mut Reader<'_>) -> Result<Option<u64>> {
    if reader.kind()? != Kind::Number {
        return reader.pass().map(|()| None);
    }
    let number = reader.number()?;
    let permille = std::str::from_utf8(number).ok().and_then(permille).unwrap_or(SLOWEST_PERMILLE);
    Ok(Some(permille.clamp(SLOWEST_PERMILLE, FASTEST_PERMILLE)))
}

/// Thousandths of a decimal fraction, rounded down.
fn permille(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths: String = fraction.chars().chain("000".chars()).take(3).collect();
    whole.parse::<u64>().ok()?.checked_mul(1_000)?.checked_add(thousandths.parse().ok()?)
}

/// Reads a whole request into `facts`.
pub(crate) fn scan_request(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    let mut fields =
        Fields::new(&["model", "input", "response_format", "stream_format", "speed", "models", "fallbacks"]);
    let mut members = reader.enter_object()?;
    facts.splices.top = reader.position();
    facts.messages = 1;
    facts.is_stream = true;
    while let Some(name) = fields.next(reader, &mut members)? {
        match name {
            "model" => read_model(reader, facts),
            "input" => {
                let text = reader.string().and_then(crate::json::Text::decode);
                text.map(|text| facts.wish.characters = to_u64(text.chars().count()))
            }
            "response_format" => read_text(reader).map(|format| facts.wish.format = format),
            "models" | "fallbacks" => read_others(name, reader, facts),
            "speed" => read_speed(reader).map(|speed| facts.wish.speed_permille = speed),
            _ => reader.pass(),
        }
        .in_field(name)?;
    }
    if !fields.has("model") {
        return missing("model");
    }
    if !fields.has("input") {
        return missing("input");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_read_in_thousandths_and_what_is_not_plain_is_the_slowest() {
        let cases =
            [("1", Some(1_000)), ("0.25", Some(250)), ("1.5", Some(1_500)), ("0.2599", Some(259)), ("2.", Some(2_000))];
        for (text, expected) in cases {
            assert_eq!(permille(text), expected, "{text}");
        }
        for text in ["25e-2", "-1", "0.5e1", ""] {
            assert_eq!(permille(text), None, "{text}");
        }
    }
}
