//! Forms (`multipart/form-data`): what must be known of one, read as it comes.
//!
//! Rule: a form is never taken apart and put together again; it is walked in place, and goes upstream as it came, but for
//! the name of its model. A field that counts may stand once, wherever it stands. Files are passed over and only counted.

mod grammar;

pub use grammar::boundary;

use memchr::memmem;

use crate::dialect::Dialect;
use crate::dialect::openai_images::bound_picture;
use crate::json::to_u64;
use crate::request::RequestFacts;

/// The most bytes of the headers of one part.
const MAX_HEADER_BYTES: usize = 16 * 1024;
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

/// A form that is being read.
#[derive(Debug)]
pub struct Form {
    /// Two dashes and the boundary.
    dashes: Vec<u8>,
    /// Where the current part, or what is searched for, begins.
    at: usize,
    /// Nothing before this place needs to be searched again.
    searched: usize,
    /// Nothing before this place belongs to a part whose name is not known.
    known: usize,
    state: State,
    parts: usize,
    /// Where the values are.
    fields: [Option<(usize, usize)>; FIELDS.len()],
    /// Whether the field came, or begins to.
    is_named: [bool; FIELDS.len()],
    files: u64,
    file_bytes: u64,
    text_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Preamble,
    Head,
    Body { field: Option<usize>, is_file: bool },
    Between,
    Over,
}

impl Form {
    /// Begins a form with this boundary.
    pub fn new(boundary: &str) -> Self {
        Self {
            dashes: [b"--", boundary.as_bytes()].concat(),
            at: 0,
            searched: 0,
            known: 0,
            state: State::Preamble,
            parts: 0,
            fields: [None; FIELDS.len()],
            is_named: [false; FIELDS.len()],
            files: 0,
            file_bytes: 0,
            text_bytes: 0,
        }
    }

    /// Reads on in what came so far; `so_far` begins with the form, or with what was not forgotten of it, and only grows.
    ///
    /// # Errors
    /// [`FormError`].
    pub fn read(&mut self, so_far: &[u8]) -> Result<(), FormError> {
        while self.step(so_far)? {}
        Ok(())
    }

    /// Says that all of it was read.
    ///
    /// # Errors
    /// [`FormError`] when the last boundary is missing.
    pub fn finish(&self) -> Result<(), FormError> {
        if self.is_over() { Ok(()) } else { Err(FormError::Malformed("it does not end with its boundary")) }
    }

    /// Whether the name of the model came.
    pub fn has_model(&self) -> bool {
        self.fields.first().is_some_and(Option::is_some)
    }

    /// Whether the last boundary came.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// How many bytes, from the beginning of what is here, may be passed on: no part begins in them whose name was not read.
    pub fn known_bytes(&self) -> usize {
        self.known
    }

    /// Forgets what may be passed on. From now on only what stands twice is found; values are gone.
    pub fn forget_known(&mut self) {
        let known = std::mem::take(&mut self.known);
        self.at = self.at.saturating_sub(known);
        self.searched = self.searched.saturating_sub(known);
        self.fields = [None; FIELDS.len()];
    }

    fn step(&mut self, so_far: &[u8]) -> Result<bool, FormError> {
        let rest = so_far.get(self.at..).unwrap_or_default();
        match self.state {
            State::Over => {
                if !rest.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
                    return Err(FormError::Malformed("its last boundary is followed by something else"));
                }
                self.known = so_far.len();
                Ok(false)
            }
            State::Preamble => {
                // The first delimiter has no line end before it.
                if rest.len() < self.dashes.len() {
                    return Ok(false);
                }
                if !rest.starts_with(&self.dashes) {
                    return Err(FormError::Malformed("it does not begin with its boundary"));
                }
                self.at = self.dashes.len();
                self.state = State::Between;
                Ok(true)
            }
            State::Between => self.step_between(rest),
            State::Head => {
                let Some(end) = memmem::find(rest, b"\r\n\r\n").filter(|end| *end <= MAX_HEADER_BYTES) else {
                    if rest.len() > MAX_HEADER_BYTES {
                        return Err(FormError::Malformed("the headers of a part are too long"));
                    }
                    return Ok(false);
                };
                let (name, is_file) = grammar::part(rest.get(..end).unwrap_or_default())?;
                let field = FIELDS.iter().position(|known| *known == name);
                if let Some(place) = field {
                    self.name_field(place, is_file)?;
                }
                self.state = State::Body { field, is_file };
                self.at += end + 4;
                self.searched = self.at;
                // An empty part ends with the line end that ended its head.
                self.known = self.at - 2;
                Ok(true)
            }
            State::Body { field, is_file } => self.step_body(so_far, field, is_file),
        }
    }

    /// Takes note of a field that counts: once, and as a text.
    fn name_field(&mut self, place: usize, is_file: bool) -> Result<(), FormError> {
        let name = FIELDS.get(place).copied().unwrap_or_default();
        let is_named = self.is_named.get_mut(place).is_some_and(|is_named| std::mem::replace(is_named, true));
        if is_named {
            return Err(FormError::Duplicate(name));
        }
        if is_file { Err(FormError::Invalid(name)) } else { Ok(()) }
    }

    /// Behind a boundary: another part, or the end.
    fn step_between(&mut self, rest: &[u8]) -> Result<bool, FormError> {
        let Some(next) = rest.get(..2) else { return Ok(false) };
        self.at += 2;
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

    fn step_body(&mut self, so_far: &[u8], field: Option<usize>, is_file: bool) -> Result<bool, FormError> {
        let unsearched = so_far.get(self.searched..).unwrap_or_default();
        let Some(found) = memmem::find(unsearched, &self.dashes) else {
            self.searched += unsearched.len().saturating_sub(self.dashes.len() - 1);
            // A line end before the boundary belongs to it.
            self.known = self.known.max(self.searched.saturating_sub(2));
            return Ok(false);
        };
        let place = self.searched + found;
        let before = so_far.get(..place).unwrap_or_default();
        if !before.ends_with(b"\r\n") {
            if before.ends_with(b"\n") || before.ends_with(b"\r") {
                return Err(FormError::Malformed("a boundary stands behind half a line end"));
            }
            self.searched = place + 1;
            return Ok(true);
        }
        let end = place - 2;
        let start = self.at.min(end);
        let bytes = to_u64(end - start);
        if is_file {
            self.files += 1;
            self.file_bytes = self.file_bytes.saturating_add(bytes);
        } else {
            self.text_bytes = self.text_bytes.saturating_add(bytes);
        }
        if let Some(slot) = field.and_then(|place| self.fields.get_mut(place)) {
            *slot = Some((start, end));
        }
        self.known = self.known.max(end);
        self.at = place + self.dashes.len();
        self.state = State::Between;
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
        facts.is_stream = match self.value(so_far, "stream")? {
            Some(flag) if flag.eq_ignore_ascii_case("true") => true,
            Some(flag) if !flag.eq_ignore_ascii_case("false") => return Err(FormError::Invalid("stream")),
            _ => false,
        };
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

#[cfg(test)]
mod tests {
    use super::*;

    fn form(parts: &[(&str, &str)]) -> String {
        let parts: Vec<String> =
            parts.iter().map(|(head, body)| format!("--b-b\r\n{head}\r\n\r\n{body}\r\n")).collect();
        format!("{}--b-b--\r\n", parts.concat())
    }

    fn field(name: &str) -> String {
        format!("Content-Disposition: form-data; name=\"{name}\"")
    }

    #[test]
    fn a_form_is_read_however_it_is_cut_m5() {
        let file =
            "content-disposition: form-data; name=\"file\"; filename=\"a \\\"東京\\\".wav\"\r\nContent-Type: audio/wav";
        let body = form(&[
            (file, "RIFF\r\n--b-x\r\n\r\n--b"),
            (&field("timestamp_granularities[]"), "word"),
            (&field("model"), "whisper-1"),
            (&field("response_format"), "srt"),
            (&field("prompt"), ""),
        ]);
        for whole in [body.as_str(), body.strip_suffix("\r\n").unwrap()] {
            for size in [1, 3, 17, whole.len()] {
                let mut form = Form::new("b-b");
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
        let mut form = Form::new("b-b");
        form.read(body.as_bytes()).unwrap();
        let facts = form.facts(Dialect::OpenAiImageEdits, body.as_bytes(), None).unwrap();
        assert_eq!((facts.media.images, facts.media.inline_image_bytes, facts.choices), (3, 8, 2));
        assert_eq!(facts.wish.image_tokens_max, 2_048);
    }

    #[test]
    fn what_two_readers_could_take_two_ways_is_refused() {
        let read = |body: &str| Form::new("b-b").read(body.as_bytes());
        let twice = form(&[(&field("model"), "a"), (&field("model"), "b")]);
        assert_eq!(read(&twice), Err(FormError::Duplicate("model")));
        assert!(matches!(read("text"), Ok(()) | Err(FormError::Malformed(_))));
        assert!(matches!(read("preamble--b-b\r\n"), Err(FormError::Malformed(_))));
        assert!(matches!(read("--b-b\r\nX: y\r\n\r\n"), Err(FormError::Malformed(_))));
        assert!(matches!(read("--b-b??"), Err(FormError::Malformed(_))));
        let none = form(&[(&field("prompt"), "a")]);
        let mut form = Form::new("b-b");
        form.read(none.as_bytes()).unwrap();
        let facts = form.facts(Dialect::OpenAiTranscriptions, none.as_bytes(), None);
        assert_eq!(facts, Err(FormError::Missing("model")));
    }

    #[test]
    fn a_flag_is_true_or_false() {
        for (flag, expected) in
            [("true", Ok(true)), ("False", Ok(false)), ("1", Err(())), ("yes", Err(())), ("", Err(()))]
        {
            let body = form(&[(&field("model"), "m"), (&field("stream"), flag)]);
            let mut form = Form::new("b-b");
            form.read(body.as_bytes()).unwrap();
            let facts = form.facts(Dialect::OpenAiTranscriptions, body.as_bytes(), None);
            match expected {
                Ok(expected) => assert_eq!(facts.unwrap().is_stream, expected, "{flag}"),
                Err(()) => assert_eq!(facts, Err(FormError::Invalid("stream")), "{flag}"),
            }
        }
    }

    #[test]
    fn a_field_that_counts_is_no_file_and_boundaries_are_exact() {
        let read = |body: &str| Form::new("b-b").read(body.as_bytes());
        let file = form(&[("Content-Disposition: form-data; name=\"model\"; filename=\"a\"", "m")]);
        assert_eq!(read(&file), Err(FormError::Invalid("model")));
        for hidden in ["a\n--b-b\r\n", "a\r--b-b--", "a\r\n--b-b \r\n"] {
            let body = form(&[(&field("model"), "m"), (&field("x"), hidden)]);
            assert!(matches!(read(&body), Err(FormError::Malformed(_))), "{hidden:?}");
        }
        let body = form(&[(&field("model"), "m"), (&field("x"), "a --b-b")]);
        assert_eq!(read(&body), Ok(()));
        assert!(matches!(read(&format!("{body}--b-b\r\n")), Err(FormError::Malformed(_))));
        let mut cut = Form::new("b-b");
        cut.read(body.as_bytes().strip_suffix(b"--\r\n").unwrap()).unwrap();
        assert!(cut.finish().is_err());
    }

    /// Passes a form on as an upload does: what is known goes, the rest waits. Returns what went.
    fn pass(body: &str, size: usize) -> (Vec<u8>, Result<(), FormError>) {
        let mut form = Form::new("b-b");
        let (mut passed, mut window) = (Vec::new(), Vec::new());
        for piece in body.as_bytes().chunks(size) {
            window.extend_from_slice(piece);
            if let Err(error) = form.read(&window) {
                return (passed, Err(error));
            }
            passed.extend(window.drain(..form.known_bytes()));
            form.forget_known();
            assert!(window.len() < 200, "{size}: {} bytes wait", window.len());
        }
        (passed, form.finish())
    }

    #[test]
    fn a_second_field_is_found_in_what_is_passed_on_and_nothing_of_it_goes() {
        let file = "Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"";
        let sound = "RIFF\r\n--b-x\r\n\r\n--b".repeat(50);
        let parts = [(field("model"), "whisper-1"), (field("empty"), ""), (file.to_owned(), sound.as_str())];
        let parts: Vec<(&str, &str)> = parts.iter().map(|(head, value)| (head.as_str(), *value)).collect();
        let honest = form(&parts);
        for size in 1..90 {
            let (passed, result) = pass(&honest, size);
            assert_eq!((passed.as_slice(), result), (honest.as_bytes(), Ok(())), "{size}");
        }
        for name in ["model", "response_format"] {
            let second = field(name);
            let mut parts = parts.clone();
            parts.push((&second, "other"));
            if name != "model" {
                parts.push((&second, "other"));
            }
            let body = form(&parts);
            for size in 1..90 {
                let (passed, result) = pass(&body, size);
                assert_eq!(result, Err(FormError::Duplicate(name)), "{size}");
                let passed = String::from_utf8(passed).unwrap();
                // The first may stand in the same piece, and waits with it.
                assert!(passed.matches(&second).count() <= 1, "{size}");
                assert!(body.starts_with(&passed));
            }
        }
    }
}
