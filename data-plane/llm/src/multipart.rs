//! Forms (`multipart/form-data`): what must be known of one, read as it comes.
//!
//! Rule: a form is never taken apart and put together again; it is walked in place, and goes upstream as it came, but for
//! the name of its model. A field that counts may stand once. Files are passed over and only counted.

use memchr::memmem;

use crate::dialect::Dialect;
use crate::dialect::openai_images::bound_picture;
use crate::json::to_u64;
use crate::request::RequestFacts;

/// The most bytes of the headers of one part.
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// The most bytes of a boundary, as the standard says.
const MAX_BOUNDARY_BYTES: usize = 70;
/// The most parts of one form.
const MAX_PARTS: usize = 128;
/// Fields that count, in the order of the values kept.
const FIELDS: [&str; 7] = ["model", "response_format", "stream", "n", "quality", "partial_images", "prompt"];

/// Why a form cannot be forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// It does not begin with its boundary, or a part has no head.
    #[error("the form cannot be read: {0}")]
    Malformed(&'static str),
    /// A field that counts stands twice.
    #[error("`{0}` is given twice")]
    Duplicate(&'static str),
    /// A field is not there.
    #[error("`{0}` is required")]
    Missing(&'static str),
    /// A field is not what it must be.
    #[error("`{0}` cannot be read")]
    Invalid(&'static str),
}

impl FormError {
    /// The field at fault.
    pub fn param(self) -> Option<&'static str> {
        match self {
            Self::Malformed(_) => None,
            Self::Duplicate(name) | Self::Missing(name) | Self::Invalid(name) => Some(name),
        }
    }
}

/// Reads the boundary of a form's `Content-Type`, which may stand in quotes; `None`: it is no form.
pub fn boundary(content_type: &str) -> Option<String> {
    let (kind, mut rest) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    loop {
        let (name, value) = rest.split_once('=')?;
        let value = value.trim_start();
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => value.split_once(';').map_or((value.trim_end(), ""), |(value, after)| (value.trim_end(), after)),
        };
        if name.trim_matches([' ', ';']).eq_ignore_ascii_case("boundary") {
            return (1..=MAX_BOUNDARY_BYTES).contains(&value.len()).then(|| value.to_owned());
        }
        rest = after;
    }
}

/// A form that is being read.
#[derive(Debug)]
pub struct Form {
    delimiter: Vec<u8>,
    /// Where the current part, or what is searched for, begins.
    at: usize,
    /// Nothing before this place needs to be searched again.
    searched: usize,
    state: State,
    parts: usize,
    fields: [Option<(usize, usize)>; FIELDS.len()],
    files: u64,
    file_bytes: u64,
    text_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Preamble,
    Head,
    Body { field: Option<usize>, is_file: bool },
    Over,
}

impl Form {
    /// Begins a form with this boundary.
    pub fn new(boundary: &str) -> Self {
        Self {
            delimiter: [b"\r\n--", boundary.as_bytes()].concat(),
            at: 0,
            searched: 0,
            state: State::Preamble,
            parts: 0,
            fields: [None; FIELDS.len()],
            files: 0,
            file_bytes: 0,
            text_bytes: 0,
        }
    }

    /// Reads on in what came so far; `so_far` begins with the form and only grows.
    ///
    /// # Errors
    /// [`FormError`].
    pub fn read(&mut self, so_far: &[u8]) -> Result<(), FormError> {
        while self.step(so_far)? {}
        Ok(())
    }

    /// Whether the name of the model came.
    pub fn has_model(&self) -> bool {
        self.fields.first().is_some_and(Option::is_some)
    }

    /// Whether the last boundary came.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    fn step(&mut self, so_far: &[u8]) -> Result<bool, FormError> {
        let rest = so_far.get(self.at..).unwrap_or_default();
        match self.state {
            State::Over => Ok(false),
            State::Preamble => {
                // The first delimiter has no line end before it.
                let first = self.delimiter.get(2..).unwrap_or_default();
                if rest.len() < first.len() {
                    return Ok(false);
                }
                if !rest.starts_with(first) {
                    return Err(FormError::Malformed("it does not begin with its boundary"));
                }
                self.after_delimiter(so_far, first.len())
            }
            State::Head => {
                let Some(end) = memmem::find(rest, b"\r\n\r\n") else {
                    if rest.len() > MAX_HEADER_BYTES {
                        return Err(FormError::Malformed("the headers of a part are too long"));
                    }
                    return Ok(false);
                };
                let head = rest.get(..end).unwrap_or_default();
                let (name, is_file) = disposition(head).ok_or(FormError::Malformed("a part has no name"))?;
                let field = FIELDS.iter().position(|known| *known == name).filter(|_| !is_file);
                self.state = State::Body { field, is_file };
                // An empty part ends with the line end that ended its head.
                self.at += end + 4;
                self.searched = self.at - 2;
                Ok(true)
            }
            State::Body { field, is_file } => self.step_body(so_far, field, is_file),
        }
    }

    fn step_body(&mut self, so_far: &[u8], field: Option<usize>, is_file: bool) -> Result<bool, FormError> {
        let unsearched = so_far.get(self.searched..).unwrap_or_default();
        let Some(found) = memmem::find(unsearched, &self.delimiter) else {
            let kept = self.delimiter.len().min(unsearched.len());
            self.searched += unsearched.len() - kept;
            return Ok(false);
        };
        let end = self.searched + found;
        let start = self.at.min(end);
        let bytes = to_u64(end - start);
        if is_file {
            self.files += 1;
            self.file_bytes = self.file_bytes.saturating_add(bytes);
        } else {
            self.text_bytes = self.text_bytes.saturating_add(bytes);
        }
        if let Some(place) = field
            && let Some(slot) = self.fields.get_mut(place)
            && slot.replace((start, end)).is_some()
        {
            return Err(FormError::Duplicate(FIELDS.get(place).copied().unwrap_or_default()));
        }
        self.at = end;
        let length = self.delimiter.len();
        self.after_delimiter(so_far, length)
    }

    /// Behind a delimiter of this length at the current place: another part, or the end.
    fn after_delimiter(&mut self, so_far: &[u8], length: usize) -> Result<bool, FormError> {
        let Some(next) = so_far.get(self.at + length..self.at + length + 2) else {
            // Found again when more came; a field is not counted twice.
            if let State::Body { .. } = self.state {
                self.state = State::Body { field: None, is_file: false };
                self.searched = self.at;
            }
            return Ok(false);
        };
        self.at += length + 2;
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return Err(FormError::Malformed("it has too many parts"));
        }
        self.state = match next {
            b"\r\n" => State::Head,
            b"--" => State::Over,
            _ => return Err(FormError::Malformed("a boundary is followed by something else")),
        };
        Ok(true)
    }

    fn value<'a>(&self, so_far: &'a [u8], name: &'static str) -> Result<Option<&'a str>, FormError> {
        let place = FIELDS.iter().position(|known| *known == name);
        let Some((start, end)) = place.and_then(|place| self.fields.get(place).copied()).flatten() else {
            return Ok(None);
        };
        let value = std::str::from_utf8(so_far.get(start..end).unwrap_or_default());
        value.map(Some).map_err(|_| FormError::Invalid(name))
    }

    fn count(&self, so_far: &[u8], name: &'static str) -> Result<Option<u64>, FormError> {
        let value = self.value(so_far, name)?;
        value.map(|text| text.trim().parse().map_err(|_| FormError::Invalid(name))).transpose()
    }

    /// Says what must be known of the request, as far as it came; `body_bytes` is the length of all of it, if known.
    ///
    /// # Errors
    /// [`FormError`] when there is no model, or a field cannot be read.
    pub fn facts(&self, dialect: Dialect, so_far: &[u8], body_bytes: Option<u64>) -> Result<RequestFacts, FormError> {
        let length = body_bytes.unwrap_or_else(|| to_u64(so_far.len()));
        let mut facts = RequestFacts::new(dialect, length);
        facts.is_form = true;
        facts.model = self.value(so_far, "model")?.ok_or(FormError::Missing("model"))?.to_owned();
        if facts.model.is_empty() {
            return Err(FormError::Invalid("model"));
        }
        if let Some((start, end)) = self.fields.first().copied().flatten() {
            facts.splices.model = start..end;
        }
        facts.is_stream = self.value(so_far, "stream")?.is_some_and(|flag| flag.eq_ignore_ascii_case("true"));
        facts.wish.format = self.value(so_far, "response_format")?.map(str::to_owned);
        facts.messages = 1;
        facts.text.bytes = self.text_bytes;
        if dialect.is_upload() {
            facts.media.audio = 1;
            facts.wish.upload_bytes = body_bytes;
            return Ok(facts);
        }
        facts.choices = self.count(so_far, "n")?.unwrap_or(1).max(1);
        facts.media.images = self.files;
        facts.media.inline_image_bytes = self.file_bytes;
        let quality = self.value(so_far, "quality")?;
        bound_picture(&mut facts, quality, self.count(so_far, "partial_images")?, None);
        Ok(facts)
    }
}

/// Reads the name of a part, and whether it is a file.
fn disposition(head: &[u8]) -> Option<(String, bool)> {
    let head = String::from_utf8_lossy(head);
    let line = head.lines().find(|line| {
        line.split_once(':').is_some_and(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"))
    })?;
    let (_, value) = line.split_once(':')?;
    let (mut name, mut is_file) = (None, false);
    let mut rest = value.split_once(';')?.1;
    loop {
        let Some((parameter, value)) = rest.split_once('=') else { break name.map(|name| (name, is_file)) };
        let value = value.trim_start();
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted_end(quoted)?,
            None => value.split_once(';').map_or((value.trim_end(), ""), |(value, after)| (value.trim_end(), after)),
        };
        match parameter.trim_matches([' ', ';']).to_ascii_lowercase().as_str() {
            "name" => name = Some(value.to_owned()),
            "filename" | "filename*" => is_file = true,
            _ => {}
        }
        rest = after;
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

    fn form(parts: &[(&str, &str)]) -> String {
        let parts: Vec<String> =
            parts.iter().map(|(head, body)| format!("--b b\r\n{head}\r\n\r\n{body}\r\n")).collect();
        format!("{}--b b--\r\n", parts.concat())
    }

    fn field(name: &str) -> String {
        format!("Content-Disposition: form-data; name=\"{name}\"")
    }

    #[test]
    fn a_form_is_read_however_it_is_cut_m5() {
        let file =
            "content-disposition: form-data; name=\"file\"; filename=\"a \\\"東京\\\".wav\"\r\nContent-Type: audio/wav";
        let body = form(&[
            (file, "RIFF\r\n--b x\r\n\r\n--b"),
            (&field("timestamp_granularities[]"), "word"),
            (&field("model"), "whisper-1"),
            (&field("response_format"), "srt"),
            (&field("prompt"), ""),
        ]);
        for whole in [body.as_str(), body.strip_suffix("\r\n").unwrap()] {
            for size in [1, 3, 17, whole.len()] {
                let mut form = Form::new("b b");
                let mut end = 0;
                while end < whole.len() {
                    end = (end + size).min(whole.len());
                    form.read(&whole.as_bytes()[..end]).unwrap();
                }
                assert!(form.is_over() && form.has_model(), "{size}");
                let facts = form.facts(Dialect::OpenAiTranscriptions, whole.as_bytes(), None).unwrap();
                assert_eq!((facts.model.as_str(), facts.wish.format.as_deref()), ("whisper-1", Some("srt")), "{size}");
                assert_eq!(whole.get(facts.splices.model.clone()), Some("whisper-1"));
                assert_eq!((form.files, form.file_bytes), (1, 18), "{size}");
            }
        }
    }

    #[test]
    fn pictures_are_counted_with_their_mask_m6() {
        let file = |name: &str| format!("Content-Disposition: form-data; name=\"{name}\"; filename=\"a.png\"");
        let body = form(&[
            (&field("model"), "gpt-image-2"),
            (&field("n"), "2"),
            (&field("quality"), "low"),
            (&file("image[]"), "one"),
            (&file("image[]"), "two!"),
            (&file("mask"), "m"),
            (&field("prompt"), "Paint it."),
        ]);
        let mut form = Form::new("b b");
        form.read(body.as_bytes()).unwrap();
        let facts = form.facts(Dialect::OpenAiImageEdits, body.as_bytes(), None).unwrap();
        assert_eq!((facts.media.images, facts.media.inline_image_bytes, facts.choices), (3, 8, 2));
        assert_eq!(facts.wish.image_tokens_max, 2_048);
    }

    #[test]
    fn what_two_readers_could_take_two_ways_is_refused() {
        let read = |body: &str| Form::new("b b").read(body.as_bytes());
        let twice = form(&[(&field("model"), "a"), (&field("model"), "b")]);
        assert_eq!(read(&twice), Err(FormError::Duplicate("model")));
        assert!(matches!(read("text"), Ok(()) | Err(FormError::Malformed(_))));
        assert!(matches!(read("preamble--b b\r\n"), Err(FormError::Malformed(_))));
        assert!(matches!(read("--b b\r\nX: y\r\n\r\n"), Err(FormError::Malformed(_))));
        assert!(matches!(read("--b b??"), Err(FormError::Malformed(_))));
        let none = form(&[(&field("prompt"), "a")]);
        let mut form = Form::new("b b");
        form.read(none.as_bytes()).unwrap();
        let facts = form.facts(Dialect::OpenAiTranscriptions, none.as_bytes(), None);
        assert_eq!(facts, Err(FormError::Missing("model")));
    }

    #[test]
    fn a_boundary_may_stand_in_quotes() {
        for (header, expected) in [
            ("multipart/form-data; boundary=abc", Some("abc")),
            ("multipart/form-data; boundary=\"a b;c\"", Some("a b;c")),
            ("Multipart/Form-Data; charset=utf-8; Boundary=abc", Some("abc")),
            ("multipart/form-data; boundary=abc; charset=utf-8", Some("abc")),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=", None),
            ("application/json; boundary=abc", None),
        ] {
            assert_eq!(boundary(header).as_deref(), expected, "{header}");
        }
    }
}
