//! The headers of forms: of the form, and of its parts.
//!
//! Rule: what two readers could take two ways is refused. We accept less than any provider does, so that what we counted is
//! what it reads.

use super::FormError;

/// The most bytes of a boundary, as the standard says.
const MAX_BOUNDARY_BYTES: usize = 70;

/// Reads the boundary of a form's `Content-Type`; `None`: it is no form.
///
/// # Errors
/// [`FormError`] for a form whose boundary is missing, or may be read otherwise elsewhere.
pub fn boundary(content_type: &str) -> Result<Option<String>, FormError> {
    let (kind, rest) = content_type.split_once(';').unwrap_or((content_type, ""));
    if !kind.trim().to_ascii_lowercase().starts_with("multipart/") {
        return Ok(None);
    }
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return Err(FormError::Malformed("its Content-Type must be multipart/form-data"));
    }
    let (name, value) = rest.split_once('=').ok_or(FormError::Malformed("its Content-Type has no boundary"))?;
    if !name.trim().eq_ignore_ascii_case("boundary") {
        return Err(FormError::Malformed("its Content-Type may have one parameter, `boundary`"));
    }
    let value = value.trim_end();
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"'+-._".contains(&byte);
    if !(1..=MAX_BOUNDARY_BYTES).contains(&value.len()) || !value.bytes().all(is_plain) {
        return Err(FormError::Malformed(
            "its Content-Type must end with a boundary of 1 to 70 letters, digits and '+-._ and nothing behind it",
        ));
    }
    Ok(Some(value.to_owned()))
}

/// Reads the name of a part, and whether it is a file.
pub(super) fn part(head: &[u8]) -> Result<(String, bool), FormError> {
    let head = String::from_utf8_lossy(head);
    let mut disposition = None;
    for line in head.split("\r\n") {
        let (name, value) = line.split_once(':').ok_or(FormError::Malformed("a header of a part has no colon"))?;
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || name.starts_with("--") || !name.bytes().all(is_token) {
            return Err(FormError::Malformed("a header of a part has no proper name"));
        }
        if value.contains(['\r', '\n', '\0']) {
            return Err(FormError::Malformed("a header of a part has a control character"));
        }
        if name.eq_ignore_ascii_case("content-disposition") && disposition.replace(value).is_some() {
            return Err(FormError::Malformed("a part has two Content-Disposition headers"));
        }
        let is_plain = |value: &str| ["7bit", "8bit", "binary"].iter().any(|known| value.eq_ignore_ascii_case(known));
        if name.eq_ignore_ascii_case("content-transfer-encoding") && !is_plain(value.trim()) {
            return Err(FormError::Malformed("a part has a Content-Transfer-Encoding other than 7bit, 8bit or binary"));
        }
    }
    let (name, is_file) = named(disposition.ok_or(FormError::Malformed("a part has no Content-Disposition"))?)?;
    if name == "_charset_" {
        return Err(FormError::Malformed("`_charset_` is not taken; texts are UTF-8"));
    }
    Ok((name, is_file))
}

fn named(disposition: &str) -> Result<(String, bool), FormError> {
    let (kind, rest) = disposition.split_once(';').unwrap_or((disposition, ""));
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return Err(FormError::Malformed("the Content-Disposition of a part must be form-data"));
    }
    let (mut name, mut file, mut starred_file) = (None, None, None);
    let mut rest = Some(rest);
    while let Some(parameters) = rest {
        let (parameter, value) = parameters
            .split_once('=')
            .ok_or(FormError::Malformed("a parameter of a Content-Disposition has no value"))?;
        let parameter = parameter.trim_start().to_ascii_lowercase();
        let (value, after) = value_of(value)?;
        let slot = match parameter.as_str() {
            "name" => &mut name,
            "filename" => &mut file,
            "filename*" => &mut starred_file,
            _ => {
                return Err(FormError::Malformed(
                    "a Content-Disposition may have the parameters name, filename and filename* only",
                ));
            }
        };
        if slot.replace(value).is_some() {
            return Err(FormError::Malformed("a parameter of a Content-Disposition is given twice"));
        }
        rest = after;
    }
    let name = name.filter(|name| !name.is_empty()).ok_or(FormError::Malformed("a part has no name"))?;
    if name.contains('\\') {
        return Err(FormError::Malformed("the name of a part has a backslash"));
    }
    // Some readers end a text at its first quote, others not at one behind a backslash: with nothing that begins a
    // parameter in between, they read the same ones.
    if file.is_some_and(|file| file.contains("\\\"") && file.contains(';')) {
        return Err(FormError::Malformed("the filename of a part has both an escaped quote and a semicolon"));
    }
    Ok((name.to_owned(), file.or(starred_file).is_some()))
}

/// Reads a value, and says what stands behind the semicolon after it.
fn value_of(value: &str) -> Result<(&str, Option<&str>), FormError> {
    let Some(quoted) = value.strip_prefix('"') else {
        let (value, after) = value.split_once(';').map_or((value, None), |(value, after)| (value, Some(after)));
        let value = value.trim_end();
        if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\,".contains(&byte)) {
            return Err(FormError::Malformed("a value in a Content-Disposition must stand in quotes"));
        }
        return Ok((value, after));
    };
    let (value, after) =
        quoted_end(quoted).ok_or(FormError::Malformed("a quote in a Content-Disposition does not end"))?;
    let after = after.trim();
    match after.strip_prefix(';') {
        Some(after) => Ok((value, Some(after))),
        None if after.is_empty() => Ok((value, None)),
        None => Err(FormError::Malformed("a value in a Content-Disposition is followed by something else")),
    }
}

/// Splits at the quote that ends a text; one behind a backslash does not.
fn quoted_end(quoted: &str) -> Option<(&str, &str)> {
    let mut is_escaped = false;
    for (at, character) in quoted.char_indices() {
        match character {
            '\\' if !is_escaped => is_escaped = true,
            '"' if !is_escaped => return Some((quoted.get(..at)?, quoted.get(at + 1..)?)),
            _ => is_escaped = false,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boundary_is_plain_and_stands_alone_maybe_in_quotes() {
        for (header, expected) in [
            ("multipart/form-data; boundary=abc", Some("abc")),
            ("multipart/form-data; boundary=\"a-b_c.'+\"", Some("a-b_c.'+")),
            ("Multipart/Form-Data;Boundary=----formdata-undici-012", Some("----formdata-undici-012")),
            ("application/json; boundary=abc", None),
            ("", None),
        ] {
            assert_eq!(boundary(header).unwrap().as_deref(), expected, "{header}");
        }
        for header in [
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=\"a b\"",
            "multipart/form-data; boundary=\"a\\b\"",
            "multipart/form-data; boundary=\"a;b\"",
            "multipart/form-data; boundary=a; boundary=b",
            "multipart/form-data; charset=utf-7; boundary=a",
            "multipart/form-data; boundary=a; charset=utf-7",
            "multipart/form-data; boundary*=utf-8''a",
            "multipart/form-data; boundary*0=a",
            "multipart/form-data; x; boundary=a",
            "multipart/mixed; boundary=a",
        ] {
            assert!(matches!(boundary(header), Err(FormError::Malformed(_))), "{header}");
        }
    }

    #[test]
    fn heads_as_clients_write_them_are_read() {
        for (head, expected) in [
            ("Content-Disposition: form-data; name=\"model\"", ("model", false)),
            ("content-disposition:form-data;name=model;filename=a.wav", ("model", true)),
            ("Content-Type: text/plain\r\nContent-Disposition: form-data; name=\"a[]\"", ("a[]", false)),
            ("Content-Disposition: form-data; name=\"file\"; filename=\"a \\\"b\\\" \\\\.wav\"", ("file", true)),
            ("Content-Disposition: form-data; name=\"file\"; filename=\"a;b%22.wav\"", ("file", true)),
            (
                "Content-Disposition: form-data; name=\"file\"; filename=\"\"; filename*=utf-8''%e6%9d%b1.wav",
                ("file", true),
            ),
            (
                "Content-Disposition: form-data; name=\"f\"; filename*=utf-8''a\r\nContent-Transfer-Encoding: binary",
                ("f", true),
            ),
        ] {
            assert_eq!(part(head.as_bytes()), Ok((expected.0.to_owned(), expected.1)), "{head}");
        }
    }

    #[test]
    fn heads_that_readers_take_differently_are_refused() {
        for head in [
            "",
            "X: y",
            "Content-Disposition",
            "Content-Disposition : form-data; name=\"a\"",
            "Content-Disposition: form-data",
            "Content-Disposition: form-data; name",
            "Content-Disposition: form-data; name=",
            "Content-Disposition: form-data; name=\"\"",
            "Content-Disposition: form-data; name=\"a\";",
            "Content-Disposition: attachment; name=\"a\"",
            "Content-Disposition: form-data; name=\"a\"; name=\"model\"",
            "Content-Disposition: form-data; name=\"a\"; NAME=\"model\"",
            "Content-Disposition: form-data; name=\"a\"; name*=utf-8''model",
            "Content-Disposition: form-data; name=\"a\"; x=\"y\"",
            "Content-Disposition: form-data; name=\"a\" name=\"model\"",
            "Content-Disposition: form-data; name =\"a\"",
            "Content-Disposition: form-data; name=\"mo\\del\"",
            "Content-Disposition: form-data; name=\"a\\\"; name=\\\"model\"",
            "Content-Disposition: form-data; filename=\"x\\\"; name=model; y=\"; name=\"file\"",
            "Content-Disposition: form-data; filename=\"a\"; filename=\"b\"; name=\"a\"",
            "Content-Disposition: form-data; name=\"a\"\r\nContent-Disposition: form-data; name=\"model\"",
            "Content-Disposition: form-data; name=\"a\"\nContent-Disposition: form-data; name=\"model\"",
            "Content-Disposition: form-data;\r\n name=\"a\"",
            "X: y\r\n\tz: a\r\nContent-Disposition: form-data; name=\"a\"",
            "\r\nContent-Disposition: form-data; name=\"a\"",
            "Content-Disposition: form-data; name=\"model\"\r\nContent-Transfer-Encoding: quoted-printable",
            "Content-Disposition: form-data; name=\"_charset_\"",
        ] {
            assert!(matches!(part(head.as_bytes()), Err(FormError::Malformed(_))), "{head:?}");
        }
    }
}
