//! What people type, checked once and kept in one form: addresses, names, and the secrets of API keys.
//!
//! Rule: refuse what cannot be right, not what is unusual; the text that comes back is the text that is stored. The reader of
//! the configuration and the control plane ask here both, so that what one takes the other does not refuse.

/// The fewest characters of an API key's secret.
pub const LEAST_SECRET_CHARS: usize = 16;

/// Keeps an address in lower case.
///
/// # Errors
/// What is wrong with it: it wants one `@`, something on both sides, no spaces or control characters, at most 254 bytes.
pub fn email(text: &str) -> Result<String, &'static str> {
    let email = text.trim().to_lowercase();
    if email.is_empty() {
        return Err("it is missing");
    }
    if email.len() > 254 {
        return Err("it is longer than 254 characters");
    }
    let Some((local, domain)) = email.split_once('@') else { return Err("it has no @") };
    let odd = |c: char| c.is_whitespace() || c.is_control() || "<>()[]\\,;:\"".contains(c);
    if local.is_empty() || domain.is_empty() || domain.contains('@') || email.contains(odd) {
        return Err("it is not of the form name@domain");
    }
    if domain.starts_with('.') || domain.ends_with('.') || domain.contains("..") {
        return Err("its domain is not a domain name");
    }
    Ok(email)
}

/// Trims a name for people. It may be empty.
///
/// # Errors
/// What is wrong with it: it wants at most 200 characters and no control characters.
pub fn name(text: &str) -> Result<String, &'static str> {
    let name = text.trim();
    if name.chars().count() > 200 || name.chars().any(char::is_control) {
        return Err("it must have at most 200 characters and no control characters");
    }
    Ok(name.to_owned())
}

/// Checks the secret of an API key, which travels in a header.
///
/// # Errors
/// What is wrong with it, without a part of it.
pub fn key_secret(secret: &[u8]) -> Result<(), &'static str> {
    if secret.len() < LEAST_SECRET_CHARS {
        return Err("it must have at least 16 characters: a shorter one can be guessed");
    }
    if !secret.iter().all(u8::is_ascii_graphic) {
        return Err("it must have letters, digits and punctuation of ASCII alone, and no spaces");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_kept_in_one_form_and_nonsense_is_refused() {
        assert_eq!(email(" Jane.Doe@Corp.Example ").unwrap(), "jane.doe@corp.example");
        for good in ["a@b", "o'brien+tag@mail.example", "müller@exämple.de"] {
            assert!(email(good).is_ok(), "{good}");
        }
        let long = format!("{}@b.example", "a".repeat(250));
        for bad in
            ["", "jane", "@b", "a@", "a@b@c", "a b@c", "a,b@c", "<a@b>", "a@.b", "a@b..c", "a\n@b", long.as_str()]
        {
            assert!(email(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_secret_is_long_and_printable() {
        assert_eq!(key_secret(b"hx_p_0123456789a"), Ok(()));
        for bad in ["hx_p_0123456789", "hx_p_0123456789 abc", "hx_p_0123456789\tabc", "hx_p_0123456789äbc", ""] {
            assert!(key_secret(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
