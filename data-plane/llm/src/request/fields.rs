//! Reading the fields that count: each once, spelled exactly, in its type.
//!
//! Rule: what two readers could take two ways is refused. What does not count is passed over unread.

use super::{CacheMarks, CapSplice, MemberSplice, RequestFacts};
use crate::json::{InPath, Kind, Members, Reader, Reason, Result, Text, fault};

/// The fields of one object that count: notices a second one of a name, and one that differs only in case.
pub(crate) struct Fields {
    names: &'static [&'static str],
    seen: u32,
}

impl Fields {
    /// At most 32 names.
    pub(crate) fn new(names: &'static [&'static str]) -> Self {
        Self { names, seen: 0 }
    }

    /// Moves to the next field that counts and returns its name; others are passed over. `None` at the end.
    pub(crate) fn next(&mut self, reader: &mut Reader<'_>, members: &mut Members) -> Result<Option<&'static str>> {
        loop {
            let start = reader.position();
            let Some(name) = reader.next_field(members)? else { return Ok(None) };
            if let Some(known) = self.note(&name, start)? {
                return Ok(Some(known));
            }
            reader.skip()?;
        }
    }

    fn note(&mut self, name: &[u8], at: usize) -> Result<Option<&'static str>> {
        let first = name.first().map(u8::to_ascii_lowercase);
        for (index, known) in self.names.iter().enumerate() {
            let known_name = known.as_bytes();
            if known_name.len() != name.len() || known_name.first().copied() != first {
                continue;
            }
            let bit = 1_u32 << index;
            let reason = if known_name == name {
                if self.seen & bit == 0 {
                    self.seen |= bit;
                    return Ok(Some(known));
                }
                Reason::Duplicate
            } else if name.eq_ignore_ascii_case(known_name) {
                Reason::Miscased
            } else {
                continue;
            };
            return Err(fault(at, reason)).in_field(known);
        }
        if name.is_ascii() {
            return Ok(None);
        }
        match self.names.iter().find(|known| folds_to(name, known)) {
            Some(known) => Err(fault(at, Reason::Miscased)).in_field(known),
            None => Ok(None),
        }
    }

    /// Whether the field has been met.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.iter().position(|known| *known == name).is_some_and(|index| self.seen & (1 << index) != 0)
    }
}

/// Whether a server that ignores case as Go's JSON reader does takes a name with its two Unicode look-alikes for `known`.
fn folds_to(name: &[u8], known: &str) -> bool {
    let Ok(name) = std::str::from_utf8(name) else { return false };
    let fold = |c: char| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    name.chars().map(fold).eq(known.chars())
}

/// Reads a token count or `null`.
pub(crate) fn read_count(reader: &mut Reader<'_>) -> Result<Option<u64>> {
    const EXPECTED: &str = "a whole number of at least 0";
    if reader.is_null()? {
        return Ok(None);
    }
    reader.expect(Kind::Number, EXPECTED)?;
    let at = reader.position();
    let number = reader.number()?;
    let value = std::str::from_utf8(number).ok().and_then(|text| text.parse().ok());
    value.map(Some).ok_or_else(|| fault(at, Reason::WrongType { expected: EXPECTED, found: "another number" }))
}

/// Reads a boolean or `null` (which counts as absent).
pub(crate) fn read_flag(reader: &mut Reader<'_>) -> Result<Option<bool>> {
    if reader.is_null()? { Ok(None) } else { reader.boolean().map(Some) }
}

/// Reads a string or `null`.
pub(crate) fn read_text(reader: &mut Reader<'_>) -> Result<Option<String>> {
    if reader.is_null()? {
        return Ok(None);
    }
    Ok(Some(reader.string()?.decode()?.into_owned()))
}

/// Reads a string, and passes over a value of any other type.
pub(crate) fn text_or_skip<'a>(reader: &mut Reader<'a>) -> Result<Option<Text<'a>>> {
    if reader.kind()? == Kind::String {
        return reader.string().map(Some);
    }
    reader.skip()?;
    Ok(None)
}

/// Reads the model and remembers where it stands.
pub(crate) fn read_model(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    reader.expect(Kind::String, "a string")?;
    let start = reader.position();
    facts.model = reader.string()?.decode()?.into_owned();
    if facts.model.is_empty() {
        return Err(fault(start, Reason::WrongType { expected: "the name of a model", found: "an empty string" }));
    }
    facts.splices.model = start..reader.position();
    Ok(())
}

/// Reads a cap and remembers where it stands.
pub(crate) fn read_cap(reader: &mut Reader<'_>) -> Result<CapSplice> {
    reader.kind()?;
    let start = reader.position();
    let value = read_count(reader)?;
    Ok(CapSplice { span: Some(start..reader.position()), value })
}

/// Passes over a value and tells whether it says anything.
pub(crate) fn is_there(reader: &mut Reader<'_>) -> Result<bool> {
    if reader.is_null()? {
        return Ok(false);
    }
    reader.skip()?;
    Ok(true)
}

/// Reads a field that lists further models (`models`, `fallbacks`): what it names, nobody has authorised.
pub(crate) fn read_others(field: &'static str, reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    let mut is_named = reader.kind()? != Kind::Array;
    if is_named {
        is_named = is_there(reader)?;
    } else {
        reader.each_item(|reader| {
            is_named = true;
            reader.pass()
        })?;
    }
    if is_named {
        facts.other_models.get_or_insert(field);
    }
    Ok(())
}

/// Reads `plugins`: each runs at the provider as often as it likes, and may name a model.
pub(crate) fn read_plugins(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    if reader.is_null()? {
        return Ok(());
    }
    let mut items = reader.enter_array()?;
    while reader.next_item(&mut items)? {
        facts.server_tools.add(None);
        if names_model(reader)? {
            facts.other_models.get_or_insert("plugins");
        }
    }
    Ok(())
}

/// Passes over a value and tells whether a field in it, however deep, names a model.
pub(crate) fn names_model(reader: &mut Reader<'_>) -> Result<bool> {
    let mut is_named = false;
    match reader.kind()? {
        Kind::Object => reader.each_field(|name, reader| {
            is_named |= if is_of_model(name) { is_there(reader)? } else { names_model(reader)? };
            Ok(())
        })?,
        Kind::Array => reader.each_item(|reader| {
            is_named |= names_model(reader)?;
            Ok(())
        })?,
        _ => reader.pass()?,
    }
    Ok(is_named)
}

/// Whether a field of this name names a model.
fn is_of_model(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    matches!(name.as_slice(), b"model" | b"models" | b"fallbacks" | b"model_id" | b"modelid" | b"model_name")
        || name.ends_with(b"_model")
        || name.ends_with(b"_models")
}

/// Makes the error for a field that must be there.
pub(crate) fn missing<T>(name: &'static str) -> Result<T> {
    Err(fault(0, Reason::Missing)).in_field(name)
}

/// Reads a cache mark (`{"type": "ephemeral", "ttl": "1h"}`, OpenAI's breakpoint and options alike), or `null`.
pub(crate) fn read_cache_mark(reader: &mut Reader<'_>, marks: &mut CacheMarks) -> Result<()> {
    if reader.is_null()? {
        return Ok(());
    }
    if reader.kind()? != Kind::Object {
        marks.note(CacheMarks::Long);
        reader.skip()?;
        return Ok(());
    }
    marks.note(CacheMarks::Short);
    let mut members = reader.enter_object()?;
    while let Some(name) = reader.next_field(&mut members)? {
        if !name.eq_ignore_ascii_case(b"ttl") {
            reader.skip()?;
        } else if !reader.is_null()? {
            let is_short = text_or_skip(reader)?.is_some_and(|ttl| ttl.is("5m") || ttl.is("30m"));
            marks.note(if is_short { CacheMarks::Short } else { CacheMarks::Long });
        }
    }
    Ok(())
}

/// Reads a sampling parameter: whether it is other than OpenAI's default, which every model takes.
pub(crate) fn read_sampling(reader: &mut Reader<'_>) -> Result<bool> {
    if reader.is_null()? {
        return Ok(false);
    }
    if reader.kind()? == Kind::Number {
        return Ok(!matches!(reader.number()?, b"1" | b"1.0"));
    }
    reader.skip()?;
    Ok(true)
}

/// Reads an object of settings whose one field that counts is the output cap, called `cap_field`.
pub(crate) fn read_config(
    reader: &mut Reader<'_>,
    facts: &mut RequestFacts,
    cap_field: &'static [&'static str; 1],
) -> Result<()> {
    let mut fields = Fields::new(cap_field);
    let mut members = reader.enter_object()?;
    let at = reader.position();
    while let Some(name) = fields.next(reader, &mut members)? {
        facts.splices.max_tokens = read_cap(reader).in_field(name)?;
    }
    facts.splices.config = Some(MemberSplice { at, is_only: members.is_empty() });
    Ok(())
}

/// Reads a text, a list of texts, a list of token numbers, or a list of such lists: `facts.messages` counts the texts.
/// `object`: what one in the list means, where the API knows any.
pub(crate) fn read_texts(
    reader: &mut Reader<'_>,
    facts: &mut RequestFacts,
    object: Option<fn(&mut RequestFacts)>,
) -> Result<()> {
    facts.messages = 1;
    match reader.kind()? {
        Kind::String => return reader.pass(),
        Kind::Array => {}
        found => return Err(reader.wrong_type("a string or an array", found)),
    }
    let mut items = reader.enter_array()?;
    let mut index = 0_usize;
    while reader.next_item(&mut items)? {
        match (reader.kind()?, object) {
            (Kind::String | Kind::Array, _) => facts.messages = facts.messages.saturating_add(u64::from(index > 0)),
            (Kind::Number, _) => {}
            (Kind::Object, Some(note)) => note(facts),
            (found, _) => {
                return Err(reader.wrong_type("a string, an array of tokens or a token", found)).in_item(index);
            }
        }
        reader.skip().in_item(index)?;
        index += 1;
    }
    Ok(())
}
