//! Ranges of addresses.
//!
//! Rule: `10.20.0.0/16`, or one address alone; a bit behind the prefix is an error, since another network was meant.

use super::setting::Scalar;

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network(pub(crate) helix_shared::egress::Network);

impl Scalar for Network {
    const EXPECTED: &'static str = "a network such as 10.20.0.0/16 or fd00::/8";

    fn parse(text: &str) -> Result<Self, Option<String>> {
        text.parse().map(Self).map_err(|error: helix_shared::egress::BadNetwork| Some(format!("`{text}`: {error}")))
    }

    fn text(&self) -> String {
        self.0.to_string()
    }
}
