//! An OAuth token as the header that carries it.
//!
//! Rule: it goes into `Authorization` and nowhere else, marked as sensitive.

use super::desk::Reply;
use super::kept::Issued;
use super::trouble::Trouble;
use http::HeaderValue;
use serde_json::Value;
use std::time::Duration;

/// The value of `Authorization`.
pub(super) type Token = HeaderValue;

/// Makes the header's value of a token.
///
/// # Errors
/// [`Trouble::Unusable`] when no header can carry it.
pub(super) fn bearer(token: &str, cloud: &'static str) -> Result<Token, Trouble> {
    let unusable = |_| Trouble::Unusable { cloud, wrong: "it has characters that no header can carry" };
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim())).map_err(unusable)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Reads a token endpoint's answer. The life is a number, or one in quotes (App Service and the machine's identity).
///
/// # Errors
/// [`Trouble`]: it says no, or gives no token.
pub(super) fn issued(reply: &Reply) -> Result<Issued<Token>, Trouble> {
    let answer = reply.json()?;
    let Some(token) = answer.get("access_token").and_then(Value::as_str) else {
        return Err(Trouble::content(format!("the answer of {}", reply.place), "has no access_token"));
    };
    let life = answer.get("expires_in");
    let life = life.and_then(|life| life.as_u64().or_else(|| life.as_str()?.parse().ok()));
    Ok(Issued { value: bearer(token, "the cloud")?, valid_for: Some(Duration::from_secs(life.unwrap_or(600))) })
}
