//! How a backend in a cloud proves who it is, as one credential that travels as any other.
//!
//! Rule: the text form is printable and without spaces, so that it passes wherever a key passes; what does not begin with
//! the mark of a cloud is a plain key. Nothing here prints.
//! Not here: reading files, asking for tokens, signing. Amazon's form is [`crate::aws`].

use crate::secret::Secret;

pub mod entra;
pub mod google;

/// A field of the text form.
pub(crate) enum Field<'a> {
    /// Known to everybody.
    Plain(&'static str, Option<&'a str>),
    /// Known to nobody.
    Secret(&'static str, Option<&'a Secret>),
}

/// Writes the text form: the mark, then `name=value&` of each field that is set.
pub(crate) fn write(mark: &str, fields: &[Field<'_>]) -> Secret {
    let mut text = mark.to_owned();
    for field in fields {
        let (name, value) = match field {
            Field::Plain(name, value) => (name, *value),
            Field::Secret(name, value) => (name, value.and_then(Secret::expose_str)),
        };
        let Some(value) = value else { continue };
        text.push_str(name);
        text.push('=');
        encode(value, &mut text);
        text.push('&');
    }
    Secret::new(text)
}

/// Reads the text form and gives each field to `take`, which says whether it knows the name; `None` for anything else than
/// the form with this mark.
pub(crate) fn read(mark: &str, secret: &Secret, mut take: impl FnMut(&str, String) -> bool) -> Option<()> {
    let fields = secret.expose_str()?.strip_prefix(mark)?;
    for field in fields.split('&').filter(|field| !field.is_empty()) {
        let (name, value) = field.split_once('=')?;
        if !take(name, decode(value)?) {
            return None;
        }
    }
    Some(())
}

/// Escapes everything but letters, digits and `-._~`, as one segment of a path or one field of a form wants it.
pub fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for digit in [byte >> 4, byte & 0xf] {
                out.extend(char::from_digit(u32::from(digit), 16).map(|digit| digit.to_ascii_uppercase()));
            }
        }
    }
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}
