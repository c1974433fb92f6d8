//! A pull reader over JSON bytes: walks a document once, in place, and says where each value lies.
//!
//! Rule: it accepts exactly what RFC 8259 accepts, never allocates for a value it passes over, and never recurses deeper
//! than [`MAX_DEPTH`]. It builds no tree and decodes nothing; UTF-8 validity of the whole document is its caller's check.
//! It exists beside `serde_json` because a splice needs byte positions and an error needs the path of a wrong value.

mod fault;
mod node;
mod record;
mod text;

use std::borrow::Cow;
use std::ops::Range;

pub(crate) use fault::{Fault, InPath, Reason, Segment, fault};
pub(crate) use node::{Name, Node, object};
pub(crate) use record::{Misfit, Record, note};
pub(crate) use text::Text;
use text::skip_plain;

/// Containers inside containers that are followed; a deeper document is refused.
pub(crate) const MAX_DEPTH: u16 = 128;

/// Where a value lies in the document.
pub(crate) type Span = Range<usize>;

pub(crate) type Result<T> = std::result::Result<T, Box<Fault>>;

/// The type of a value, told by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    String,
    Number,
    Bool,
    Null,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Object => "an object",
            Self::Array => "an array",
            Self::String => "a string",
            Self::Number => "a number",
            Self::Bool => "a boolean",
            Self::Null => "null",
        }
    }
}

/// Widens a count; a `usize` is never wider than 64 bits.
pub(crate) fn to_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Progress through one array or object.
#[derive(Debug, Default)]
pub(crate) struct Members {
    is_begun: bool,
}

impl Members {
    /// Whether no member has been met yet.
    pub(crate) fn is_empty(&self) -> bool {
        !self.is_begun
    }
}

/// The reader: a position in a document.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: u16,
    /// Bytes between the quotes of all string values passed so far (names of fields not counted).
    pub(crate) string_bytes: u64,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, depth: 0, string_bytes: 0 }
    }

    /// The position of the next byte.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// Returns a reader that stands at an earlier place of the same document, to look at a value once more.
    pub(crate) fn again(&self, at: usize) -> Self {
        Self { bytes: self.bytes, at, depth: self.depth, string_bytes: 0 }
    }

    fn syntax(&self, what: &'static str) -> Box<Fault> {
        fault(self.at, Reason::Syntax(what))
    }

    #[inline]
    fn byte(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    fn skip_whitespace(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.byte() {
            self.at += 1;
        }
    }

    /// Moves to the next value and tells its type.
    #[inline]
    pub(crate) fn kind(&mut self) -> Result<Kind> {
        self.skip_whitespace();
        match self.byte() {
            Some(b'"') => Ok(Kind::String),
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'n') => Ok(Kind::Null),
            Some(_) => Err(self.syntax("a value was expected")),
            None => Err(self.syntax("the document ends where a value was expected")),
        }
    }

    /// Moves to the next value, which must be of this type; else an error that names what was `expected`.
    pub(crate) fn expect(&mut self, kind: Kind, expected: &'static str) -> Result<()> {
        let found = self.kind()?;
        if found == kind {
            return Ok(());
        }
        Err(self.wrong_type(expected, found))
    }

    /// Makes the error for a value of the wrong type at the current position.
    /// A value that is not even JSON is that error instead.
    pub(crate) fn wrong_type(&mut self, expected: &'static str, found: Kind) -> Box<Fault> {
        let at = self.at;
        match self.skip() {
            Ok(_) => fault(at, Reason::WrongType { expected, found: found.name() }),
            Err(fault) => fault,
        }
    }

    fn enter(&mut self, open: u8) -> Result<Members> {
        if self.byte() != Some(open) {
            return Err(self.syntax("a value was expected"));
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(fault(self.at, Reason::TooDeep));
        }
        self.at += 1;
        Ok(Members::default())
    }

    /// Enters the object at the current position.
    pub(crate) fn enter_object(&mut self) -> Result<Members> {
        self.expect(Kind::Object, "an object")?;
        self.enter(b'{')
    }

    /// Enters the array at the current position.
    pub(crate) fn enter_array(&mut self) -> Result<Members> {
        self.expect(Kind::Array, "an array")?;
        self.enter(b'[')
    }

    /// Moves to the next member; `false` at the closing bracket, which is consumed.
    fn next_member(&mut self, members: &mut Members, close: u8) -> Result<bool> {
        self.skip_whitespace();
        let byte = self.byte();
        if byte == Some(close) {
            self.at += 1;
            self.depth = self.depth.saturating_sub(1);
            return Ok(false);
        }
        if members.is_begun {
            if byte != Some(b',') {
                return Err(self.syntax(match (byte, close) {
                    (None, _) => "the document ends inside an object or array",
                    (_, b'}') => "`,` or `}` was expected",
                    _ => "`,` or `]` was expected",
                }));
            }
            self.at += 1;
            self.skip_whitespace();
        }
        members.is_begun = true;
        Ok(true)
    }

    /// Moves to the next item of an array; `false` after the last.
    pub(crate) fn next_item(&mut self, members: &mut Members) -> Result<bool> {
        self.next_member(members, b']')
    }

    /// Returns the name of the next field of an object and moves to its value; `None` after the last.
    pub(crate) fn next_field(&mut self, members: &mut Members) -> Result<Option<Cow<'a, [u8]>>> {
        if !self.next_member(members, b'}')? {
            return Ok(None);
        }
        if self.byte() != Some(b'"') {
            return Err(self.syntax("a field name in quotes was expected"));
        }
        let name = self.text()?;
        self.skip_whitespace();
        if self.byte() != Some(b':') {
            return Err(self.syntax("`:` was expected after a field name"));
        }
        self.at += 1;
        self.skip_whitespace();
        if !name.is_escaped {
            return Ok(Some(Cow::Borrowed(name.raw)));
        }
        Ok(Some(Cow::Owned(name.decode()?.into_owned().into_bytes())))
    }

    /// Reads the string value at the current position.
    pub(crate) fn string(&mut self) -> Result<Text<'a>> {
        self.expect(Kind::String, "a string")?;
        self.counted_text()
    }

    #[inline]
    fn counted_text(&mut self) -> Result<Text<'a>> {
        let text = self.text()?;
        self.string_bytes = self.string_bytes.saturating_add(to_u64(text.raw.len()));
        Ok(text)
    }

    fn text(&mut self) -> Result<Text<'a>> {
        let start = self.at + 1;
        let mut is_escaped = false;
        self.at = start;
        loop {
            self.at = skip_plain(self.bytes, self.at);
            match self.byte() {
                Some(b'"') => {
                    let raw = self.bytes.get(start..self.at).unwrap_or_default();
                    self.at += 1;
                    return Ok(Text { raw, is_escaped, at: start });
                }
                Some(b'\\') => {
                    is_escaped = true;
                    self.escape()?;
                }
                Some(_) => return Err(self.syntax("a control character in a string must be escaped")),
                None => return Err(self.syntax("the document ends inside a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<()> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let digits = self.bytes.get(self.at + 2..self.at + 6);
                if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                    return Err(self.syntax("`\\u` must be followed by four hexadecimal digits"));
                }
                self.at += 6;
            }
            _ => return Err(self.syntax("an unknown escape in a string")),
        }
        Ok(())
    }

    /// Reads the number at the current position, as written.
    pub(crate) fn number(&mut self) -> Result<&'a [u8]> {
        self.expect(Kind::Number, "a number")?;
        self.digits_and_signs()
    }

    fn digits_and_signs(&mut self) -> Result<&'a [u8]> {
        let start = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        if self.byte() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(self.bytes.get(start..self.at).unwrap_or_default())
    }

    fn digits(&mut self) -> Result<()> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.byte() {
            self.at += 1;
        }
        if self.at == start { Err(self.syntax("a digit was expected")) } else { Ok(()) }
    }

    /// Reads the boolean at the current position.
    pub(crate) fn boolean(&mut self) -> Result<bool> {
        self.expect(Kind::Bool, "a boolean")?;
        if self.byte() == Some(b't') {
            self.literal(b"true")?;
            return Ok(true);
        }
        self.literal(b"false")?;
        Ok(false)
    }

    /// Passes over a `null` at the current position; `false` (and no move) for any other value.
    pub(crate) fn is_null(&mut self) -> Result<bool> {
        if self.kind()? != Kind::Null {
            return Ok(false);
        }
        self.literal(b"null")?;
        Ok(true)
    }

    fn literal(&mut self, word: &[u8]) -> Result<()> {
        if !self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            return Err(self.syntax("an unknown word; only true, false and null may stand without quotes"));
        }
        self.at += word.len();
        Ok(())
    }

    /// Passes over the value at the current position and returns where it lies.
    pub(crate) fn skip(&mut self) -> Result<Span> {
        let kind = self.kind()?;
        let start = self.at;
        match kind {
            Kind::String => {
                self.counted_text()?;
            }
            Kind::Number => {
                self.digits_and_signs()?;
            }
            Kind::Bool => {
                self.boolean()?;
            }
            Kind::Null => self.literal(b"null")?,
            Kind::Object => {
                let mut members = self.enter(b'{')?;
                while self.next_field(&mut members)?.is_some() {
                    self.skip()?;
                }
            }
            Kind::Array => {
                let mut members = self.enter(b'[')?;
                while self.next_item(&mut members)? {
                    self.skip()?;
                }
            }
        }
        Ok(start..self.at)
    }

    /// Passes over the value at the current position.
    pub(crate) fn pass(&mut self) -> Result<()> {
        self.skip().map(drop)
    }

    /// Gives the name of each field of an object to `read`, which reads or passes the value. Anything but an object is
    /// passed over.
    pub(crate) fn each_field(&mut self, mut read: impl FnMut(&[u8], &mut Self) -> Result<()>) -> Result<()> {
        if self.kind()? != Kind::Object {
            return self.pass();
        }
        let mut members = self.enter_object()?;
        while let Some(name) = self.next_field(&mut members)? {
            read(&name, self)?;
        }
        Ok(())
    }

    /// Calls `read` at each item of an array. Anything but an array is passed over.
    pub(crate) fn each_item(&mut self, mut read: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        if self.kind()? != Kind::Array {
            return self.pass();
        }
        let mut items = self.enter_array()?;
        while self.next_item(&mut items)? {
            read(self)?;
        }
        Ok(())
    }

    /// Checks that nothing but whitespace follows.
    pub(crate) fn end(&mut self) -> Result<()> {
        self.skip_whitespace();
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.syntax("text after the end of the document")) }
    }
}

#[cfg(test)]
mod tests;
