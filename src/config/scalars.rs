//! The one-piece values of the file: durations, money, addresses, URLs, names, secrets.
//!
//! Rule: exact or refused. Numbers are read from their text, money and fractions without floating point, durations only
//! with a unit.

use super::decoder::Decoder;
use super::interpolate::DefaultText;
use super::node::{Node, Source, Value};
use super::setting::{Scalar, Setting, Shown};
use helix_shared::money::{NanoUsd, PicoUsd};
use helix_shared::secret::Secret;
use helix_shared::time::UnixMicros;
use helix_shared::typed;
use serde_json::{Value as Json, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

impl Scalar for String {
    const EXPECTED: &'static str = "a text";

    fn parse(text: &str) -> Result<Self, Option<String>> {
        Ok(text.to_owned())
    }

    fn text(&self) -> String {
        self.clone()
    }
}

impl Scalar for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn parse(text: &str) -> Result<Self, Option<String>> {
        Ok(Self::from(text))
    }

    fn text(&self) -> String {
        self.display().to_string()
    }
}

impl Scalar for bool {
    const EXPECTED: &'static str = "true or false";

    fn parse(text: &str) -> Result<Self, Option<String>> {
        text.parse().map_err(|_| None)
    }

    fn schema() -> Json {
        or_reference("boolean")
    }

    fn text(&self) -> String {
        self.to_string()
    }

    fn suggest(text: &str) -> Option<String> {
        match text.to_lowercase().as_str() {
            "yes" | "on" | "1" | "true" => Some("true".to_owned()),
            "no" | "off" | "0" | "false" => Some("false".to_owned()),
            _ => None,
        }
    }
}

macro_rules! whole_numbers {
    ($($ty:ty),+) => {$(
        impl Scalar for $ty {
            const EXPECTED: &'static str = "a whole number";

            fn parse(text: &str) -> Result<Self, Option<String>> {
                let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
                match text.parse() {
                    Ok(value) if is_number => Ok(value),
                    Err(_) if is_number => Err(Some(format!("{text} is too large, the most is {}", Self::MAX))),
                    _ => Err(None),
                }
            }

            fn schema() -> Json {
                or_reference("integer")
            }

            fn text(&self) -> String {
                self.to_string()
            }
        }
    )+};
}

whole_numbers!(u32, u64);

/// A value that may also be written as a reference to a variable.
fn or_reference(kind: &str) -> Json {
    json!({ "anyOf": [{ "type": kind }, { "type": "string", "pattern": "\\$\\{.+\\}" }] })
}

const UNITS: [(&str, u64); 6] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 604_800_000)];

impl Scalar for Duration {
    const EXPECTED: &'static str = "a duration such as 500ms, 30s, 15m, 8h or 7d";

    fn parse(text: &str) -> Result<Self, Option<String>> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Some(format!("`{text}` has no unit: write {text}s or {text}m")));
        }
        let mut total: u64 = 0;
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or(None)?;
            let (number, after) = rest.split_at(digits);
            let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
            let (unit, after) = after.split_at(letters);
            let scale = UNITS.iter().find(|(name, _)| *name == unit).ok_or(None)?.1;
            let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(scale)).ok_or(None)?;
            total = total.checked_add(part).ok_or(None)?;
            rest = after;
        }
        Ok(Self::from_millis(total))
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^([0-9]+(ms|s|m|h|d|w))+$|\\$\\{.+\\}" })
    }

    fn text(&self) -> String {
        let mut rest = u64::try_from(self.as_millis()).unwrap_or(u64::MAX);
        let mut text = String::new();
        for (unit, scale) in UNITS.iter().rev().filter(|(unit, _)| *unit != "w") {
            if rest >= *scale {
                text.push_str(&format!("{}{unit}", rest / scale));
                rest %= scale;
            }
        }
        if text.is_empty() { "0s".to_owned() } else { text }
    }
}

impl Scalar for SocketAddr {
    const EXPECTED: &'static str = "an address such as 127.0.0.1:8080, 0.0.0.0:8080, [::]:8080 or :8080";

    fn parse(text: &str) -> Result<Self, Option<String>> {
        let text = match text.strip_prefix("localhost:") {
            Some(port) => format!("127.0.0.1:{port}"),
            None if text.starts_with(':') => format!("0.0.0.0{text}"),
            None => text.to_owned(),
        };
        text.parse().map_err(|_| None)
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

impl Scalar for Url {
    const EXPECTED: &'static str = "a URL such as https://host/path";

    fn parse(text: &str) -> Result<Self, Option<String>> {
        let url = Self::parse(text).map_err(|error| Some(format!("`{text}` is not a URL: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(Some(format!("`{text}` must begin with http:// or https://")));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Some("a URL must not carry a user or password".to_owned()));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(Some("a URL must not have a `?query` or `#fragment`".to_owned()));
        }
        Ok(url)
    }

    fn schema() -> Json {
        json!({ "type": "string", "format": "uri" })
    }

    fn text(&self) -> String {
        self.as_str().to_owned()
    }
}

impl Scalar for NanoUsd {
    const EXPECTED: &'static str = "an amount of USD such as \"25\" or \"0.50\"";

    fn parse(text: &str) -> Result<Self, Option<String>> {
        text.parse().map_err(|error: helix_shared::money::ParseMoneyError| Some(error.to_string()))
    }

    fn schema() -> Json {
        json!({ "anyOf": [{ "type": "string" }, { "type": "number", "minimum": 0 }] })
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

/// The price of one unit, written in the file in USD per million units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PricePerMillion(pub(crate) PicoUsd);

impl Scalar for PricePerMillion {
    const EXPECTED: &'static str = "a price in USD per million tokens such as \"2.50\"";

    fn parse(text: &str) -> Result<Self, Option<String>> {
        PicoUsd::from_usd_per_million(text).map(Self).map_err(|error| Some(error.to_string()))
    }

    fn schema() -> Json {
        <NanoUsd as Scalar>::schema()
    }

    fn text(&self) -> String {
        // 1e-12 USD per unit is 1e-6 USD per million units: six decimals.
        format!("{}.{:06}", self.0.get() / 1_000_000, self.0.get() % 1_000_000)
    }
}

/// A price in USD for one piece of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PricePerUnit(pub(crate) PicoUsd);

impl Scalar for PricePerUnit {
    const EXPECTED: &'static str = "a price in USD such as \"0.04\"";

    fn parse(text: &str) -> Result<Self, Option<String>> {
        PicoUsd::from_usd(text).map(Self).map_err(|error| Some(error.to_string()))
    }

    fn schema() -> Json {
        <NanoUsd as Scalar>::schema()
    }

    fn text(&self) -> String {
        format!("{}.{:012}", self.0.get() / 1_000_000_000_000, self.0.get() % 1_000_000_000_000)
    }
}

/// A fraction between 0 and 1 in hundredths of a percent: `0.95` is 9500.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BasisPoints(pub(crate) u32);

impl Scalar for BasisPoints {
    const EXPECTED: &'static str = "a fraction above 0 and at most 1, such as 0.8";

    fn parse(text: &str) -> Result<Self, Option<String>> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let fraction = fraction.trim_end_matches('0');
        let is_decimal = whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) && !whole.is_empty();
        if is_decimal && fraction.len() > 4 {
            return Err(Some(format!("`{text}` has more than 4 decimals")));
        }
        let points = format!("{whole}{fraction:0<4}").parse::<u32>().ok();
        match points.filter(|points| is_decimal && (1..=10_000).contains(points)) {
            Some(points) => Ok(Self(points)),
            None => Err(None),
        }
    }

    fn schema() -> Json {
        json!({ "type": "number", "exclusiveMinimum": 0, "maximum": 1 })
    }

    fn text(&self) -> String {
        let text = format!("{}.{:04}", self.0 / 10_000, self.0 % 10_000);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

/// An e-mail address, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Email(String);

impl Email {
    /// Returns the address.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Scalar for Email {
    const EXPECTED: &'static str = "an e-mail address";

    fn parse(text: &str) -> Result<Self, Option<String>> {
        let refused = |reason| Some(format!("`{text}` is not {}: {reason}", Self::EXPECTED));
        typed::email(text).map(Self).map_err(refused)
    }

    fn schema() -> Json {
        json!({ "type": "string", "format": "email" })
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

impl Scalar for UnixMicros {
    const EXPECTED: &'static str = "a time such as 2027-01-31T00:00:00Z";

    fn parse(text: &str) -> Result<Self, Option<String>> {
        let timestamp: jiff::Timestamp = text.parse().map_err(|_| None)?;
        Ok(Self::new(timestamp.as_microsecond()))
    }

    fn schema() -> Json {
        json!({ "type": "string", "format": "date-time" })
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

impl Setting for Secret {
    fn decode(node: &Node, decoder: &mut Decoder<'_>) -> Option<Self> {
        match Self::decode_optional(node, decoder)? {
            Some(secret) => Some(secret),
            None => {
                let message = format!("`{}` is empty", decoder.path());
                decoder.error("E0314", &node.source, message);
                None
            }
        }
    }

    /// An empty `:-` default and the word `none` say that there is no secret.
    fn decode_optional(node: &Node, decoder: &mut Decoder<'_>) -> Option<Option<Self>> {
        let value = decoder.text(node, "a secret")?;
        if value.used_default == Some(DefaultText::Text) {
            let message = format!("`{}`: a secret must not have a default", decoder.path());
            decoder
                .error("E0313", &node.source, message)
                .help("use ${NAME}, ${file:/path}, or an empty default ${NAME:-}");
            return None;
        }
        if value.used_default == Some(DefaultText::Empty) && value.text.is_empty() {
            return Some(None);
        }
        if value.text.trim().is_empty() {
            let message = format!("`{}` is empty", decoder.path());
            let finding = decoder.error("E0314", &node.source, message);
            finding.help("give the secret a value, or use ${NAME:-} if it may be missing");
            return None;
        }
        if value.is_literal && value.text == "none" {
            return Some(None);
        }
        let written = matches!(&node.value, Value::Scalar(text) if !text.contains("${"));
        if written && matches!(node.source, Source::File(_)) {
            let message = format!("`{}` is a secret written in the file", decoder.path());
            decoder.error("W0402", &node.source, message).help("keep it outside: ${NAME} or ${file:/path}");
        }
        Some(Some(Self::new(value.text.into_bytes())))
    }

    fn schema() -> Json {
        json!({ "type": "string", "writeOnly": true, "x-secret": true })
    }

    fn show(&self, key: &str, out: &mut Vec<Shown>) {
        out.push(Shown { key: key.to_owned(), value: "[redacted]".to_owned() });
    }
}
