//! Forms (`multipart/form-data`): what must be known of one, read as it comes.
//!
//! Rule: a form is never taken apart and put together again; it is walked in place, and goes upstream as it came, but for
//! the name of its model. A field that counts may stand once, wherever it stands; what says how the answer comes is read
//! before any of it is passed on. Files are passed over and only counted.

mod grammar;

pub use grammar::boundary;

use helix_shared::error_code::ErrorCode;
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

/// Those of them that say how the answer comes: nothing of one is passed on before its value was read.
const ANSWERS: [&str; 2] = ["response_format", "stream"];
/// Fields by which a provider fetches what it hears from elsewhere: nobody has measured that.
const ELSEWHERE: [&str; 8] = ["url", "file_url", "file_id", "file_uri", "audio_url", "uri", "file_urls", "file_ids"];
/// Fields that name further models; of the settings of a drawing only the model among them.
const OTHER_MODELS: [&str; 4] = ["models", "fallbacks", "svg", "svg[model]"];
/// Pictures, also where they are texts that say where one is.
const PICTURES: [&str; 4] = ["image", "mask", "markup", "image_url"];

/// The longest value of such a field.
const MAX_ANSWER_BYTES: usize = 256;

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
    /// What is heard lies elsewhere, at whatever length.
    #[error("`{0}` is not taken: what the provider fetches for itself has no bound; send the sound as a file")]
    Elsewhere(&'static str),
    /// A field may name a further model.
    #[error("`{0}` is not taken: name one model, any other would be served without having been authorised")]
    OtherModel(&'static str),
}

impl FormError {
    /// The field at fault.
    pub fn param(self) -> Option<&'static str> {
        match self {
            Self::Malformed(_) => None,
            Self::Duplicate(name)
            | Self::Missing(name)
            | Self::Invalid(name)
            | Self::Elsewhere(name)
            | Self::OtherModel(name) => Some(name),
        }
    }

    /// The code of the refusal.
    pub fn code(self) -> ErrorCode {
        match self {
            Self::Elsewhere(_) => ErrorCode::UnboundedCost,
            _ => ErrorCode::InvalidRequest,
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
    /// Texts that say where a picture is.
    remote_pictures: u64,
    /// Whether what is heard must come along.
    needs_file: bool,
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
            remote_pictures: 0,
            needs_file: false,
        }
    }

    /// Demands that a file comes along, and nothing that stands for one.
    #[must_use]
    pub fn with_file(self) -> Self {
        Self { needs_file: true, ..self }
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
                self.refuse_substitute(&name, is_file)?;
                let field = FIELDS.iter().position(|known| *known == name);
                if let Some(place) = field {
                    self.name_field(place, is_file)?;
                }
                self.state = State::Body { field, is_file };
                self.at += end + 4;
                self.searched = self.at;
                if !is_about_answer(field) {
                    // An empty part ends with the line end that ended its head.
                    self.known = self.at - 2;
                }
                Ok(true)
            }
            State::Body { field, is_file } => self.step_body(so_far, field, is_file),
        }
    }

    /// Refuses what stands for a file, and what names a further model. A picture that lies elsewhere is a picture.
    fn refuse_substitute(&mut self, name: &str, is_file: bool) -> Result<(), FormError> {
        let name = name.to_ascii_lowercase();
        let base = name.split_once('[').map_or(name.as_str(), |(base, _)| base);
        let other = OTHER_MODELS.iter().find(|known| **known == name || (**known == base && base != "svg"));
        if let Some(known) = other {
            return Err(FormError::OtherModel(known));
        }
        if self.needs_file {
            let known = ELSEWHERE.iter().find(|known| **known == base);
            let is_place = base.ends_with("_url") || base.ends_with("_uri");
            return match known {
                Some(known) => Err(FormError::Elsewhere(known)),
                None if is_place => Err(FormError::Elsewhere("url")),
                None if base == "file" && !is_file => Err(FormError::Elsewhere("file")),
                None => Ok(()),
            };
        }
        self.remote_pictures += u64::from(!is_file && PICTURES.contains(&base));
        Ok(())
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
            b"--" if self.needs_file && self.files == 0 => return Err(FormError::Missing("file")),
            b"--" => State::Over,
            _ => return Err(FormError::Malformed("a boundary is followed by something else")),
        };
        Ok(true)
    }

    fn step_body(&mut self, so_far: &[u8], field: Option<usize>, is_file: bool) -> Result<bool, FormError> {
        let unsearched = so_far.get(self.searched..).unwrap_or_default();
        let Some(found) = memmem::find(unsearched, &self.dashes) else {
            self.searched += unsearched.len().saturating_sub(self.dashes.len() - 1);
            if !is_about_answer(field) {
                // A line end before the boundary belongs to it.
                self.known = self.known.max(self.searched.saturating_sub(2));
            } else if so_far.len().saturating_sub(self.at) > MAX_ANSWER_BYTES + self.dashes.len() + 2 {
                return Err(FormError::Invalid(name_of(field)));
            }
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
        check_value(field, so_far.get(start..end).unwrap_or_default())?;
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

    /// Reads a field's value.
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
        facts.media.images = self.files.saturating_add(self.remote_pictures);
        facts.media.remote_images = self.remote_pictures;
        facts.media.inline_image_bytes = self.file_bytes;
        let quality = self.value(so_far, "quality")?;
        bound_picture(&mut facts, quality, self.count(so_far, "partial_images")?, None);
        Ok(facts)
    }
}

fn name_of(field: Option<usize>) -> &'static str {
    field.and_then(|place| FIELDS.get(place).copied()).unwrap_or_default()
}

fn is_about_answer(field: Option<usize>) -> bool {
    ANSWERS.contains(&name_of(field))
}

/// Checks the value of a field that says how the answer comes.
fn check_value(field: Option<usize>, value: &[u8]) -> Result<(), FormError> {
    let name = name_of(field);
    let is_good = match name {
        "stream" => value.eq_ignore_ascii_case(b"true") || value.eq_ignore_ascii_case(b"false"),
        "response_format" => value.len() <= MAX_ANSWER_BYTES && value.iter().all(|byte| matches!(byte, b' '..=b'~')),
        _ => true,
    };
    if is_good { Ok(()) } else { Err(FormError::Invalid(name)) }
}

#[cfg(test)]
mod tests;
