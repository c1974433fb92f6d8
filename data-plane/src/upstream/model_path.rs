//! The path of a model, where its name stands in the address.
//!
//! Rule: a name comes from a client and is hostile: whatever could end its segment of the path, or begin a query, is
//! encoded. The method that follows it keeps it from being `.` or `..`.

use std::fmt::Write as _;

/// Returns the path of a model at the Gemini API, before `:method`.
pub fn gemini_path(model: &str) -> String {
    let (kind, name) = match model.split_once('/') {
        Some(("tunedModels", name)) => ("tunedModels", name),
        Some(("models", name)) => ("models", name),
        _ => ("models", model),
    };
    let mut path = format!("/v1beta/{kind}/");
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~@".contains(&byte) {
            path.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _infallible = write!(path, "%{byte:02X}");
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_in_its_segment() {
        for (model, path) in [
            ("gemini-2.5-pro", "/v1beta/models/gemini-2.5-pro"),
            ("models/gemini-2.5-pro", "/v1beta/models/gemini-2.5-pro"),
            ("tunedModels/a_b", "/v1beta/tunedModels/a_b"),
            ("../../x?y#z:w", "/v1beta/models/..%2F..%2Fx%3Fy%23z%3Aw"),
            ("é %", "/v1beta/models/%C3%A9%20%25"),
        ] {
            assert_eq!(gemini_path(model), path, "{model}");
        }
    }
}
