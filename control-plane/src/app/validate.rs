//! What people type, checked once and kept in one form.
//!
//! Rule: refuse what cannot be right, not what is unusual; the text that comes back is the text that is stored.

use super::error::AppError;

/// An address in lower case: one `@`, something on both sides, no spaces or control characters, at most 254 bytes.
pub(super) fn clean_email(text: &str) -> Result<String, AppError> {
    let email = text.trim().to_lowercase();
    let wrong = |reason: &str| Err(AppError::invalid("the e-mail address", reason));
    if email.is_empty() {
        return wrong("it is missing");
    }
    if email.len() > 254 {
        return wrong("it is longer than 254 characters");
    }
    let Some((local, domain)) = email.split_once('@') else { return wrong("it has no @") };
    let odd = |c: char| c.is_whitespace() || c.is_control() || "<>()[]\\,;:\"".contains(c);
    if local.is_empty() || domain.is_empty() || domain.contains('@') || email.contains(odd) {
        return wrong("it is not of the form name@domain");
    }
    if domain.starts_with('.') || domain.ends_with('.') || domain.contains("..") {
        return wrong("its domain is not a domain name");
    }
    Ok(email)
}

/// A name for people: trimmed, at most 200 characters, no control characters. It may be empty.
pub(super) fn clean_name(text: &str) -> Result<String, AppError> {
    let name = text.trim();
    if name.chars().count() > 200 || name.chars().any(char::is_control) {
        return Err(AppError::invalid("the name", "it must have at most 200 characters and no control characters"));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_kept_in_one_form_and_nonsense_is_refused() {
        assert_eq!(clean_email(" Jane.Doe@Corp.Example ").unwrap(), "jane.doe@corp.example");
        for good in ["a@b", "o'brien+tag@mail.example", "müller@exämple.de"] {
            assert!(clean_email(good).is_ok(), "{good}");
        }
        let long = format!("{}@b.example", "a".repeat(250));
        for bad in ["", "jane", "@b", "a@", "a@b@c", "a b@c", "<a@b>", "a@.b", "a@b..c", "a\n@b", long.as_str()] {
            assert!(clean_email(bad).is_err(), "{bad}");
        }
    }
}
