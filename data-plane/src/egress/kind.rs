//! What a file is.
//!
//! Rule: its content says it, not its server: a page of HTML that calls itself an image is none. Only plain text, which has
//! no mark, is believed what its server says.

/// The media type of a file that a model can look at; `None` for any other.
pub(super) fn of(said: &str, bytes: &[u8]) -> Option<&'static str> {
    let begins = |mark: &[u8]| bytes.starts_with(mark);
    if begins(b"\x89PNG\r\n\x1a\n") {
        return Some("image/png");
    }
    if begins(b"\xff\xd8\xff") {
        return Some("image/jpeg");
    }
    if begins(b"GIF87a") || begins(b"GIF89a") {
        return Some("image/gif");
    }
    if begins(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        return Some("image/webp");
    }
    if begins(b"%PDF-") {
        return Some("application/pdf");
    }
    let said = said.split(';').next().unwrap_or_default().trim();
    let is_text = said.eq_ignore_ascii_case("text/plain") && !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok();
    is_text.then_some("text/plain")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_says_what_a_file_is() {
        for (said, bytes, expected) in [
            ("text/html", &b"\x89PNG\r\n\x1a\nrest"[..], Some("image/png")),
            ("image/png", b"\xff\xd8\xff\xe0", Some("image/jpeg")),
            ("", b"GIF89a", Some("image/gif")),
            ("", b"RIFF\0\0\0\0WEBPVP8 ", Some("image/webp")),
            ("", b"RIFF\0\0\0\0WAVEfmt ", None),
            ("application/octet-stream", b"%PDF-1.7", Some("application/pdf")),
            ("Text/Plain; charset=utf-8", "grüß".as_bytes(), Some("text/plain")),
            ("text/plain", b"\xff\xfe", None),
            ("text/plain", b"a\0b", None),
            ("text/html", b"<html>", None),
            ("image/png", b"<svg onload=alert(1)>", None),
            ("application/json", b"{}", None),
            ("", b"", None),
        ] {
            assert_eq!(of(said, bytes), expected, "{said} {bytes:?}");
        }
    }
}
