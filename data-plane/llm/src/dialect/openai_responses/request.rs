//! The scan of a responses request: what must be known of it before a backend is chosen, and the bound of its cost where
//! it passes as it is.
//!
//! Rule: an item, a part or a tool that we do not know may be anything: it takes the bound of the input away. What the
//! provider keeps (an earlier response, a prompt) is input that nobody can see here.

use crate::json::{InPath, Kind, Reader, Result, to_u64};
use crate::request::fields::{
    Fields, is_there, missing, names_model, read_cache_mark, read_cap, read_count, read_flag, read_model, read_others,
    read_plugins, read_sampling, read_text, text_or_skip,
};
use crate::request::{CacheMarks, PreviousResponse, RequestFacts};

const FIELDS: &[&str] = &[
    "model",
    "stream",
    "max_output_tokens",
    "input",
    "tools",
    "previous_response_id",
    "conversation",
    "prompt",
    "store",
    "background",
    "service_tier",
    "max_tool_calls",
    "prompt_cache_options",
    "prompt_cache_retention",
    "models",
    "fallbacks",
    "plugins",
    "temperature",
    "top_p",
];

/// Reads a whole request into `facts`.
pub(crate) fn scan_request(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    let mut fields = Fields::new(FIELDS);
    let mut members = reader.enter_object()?;
    facts.splices.top = reader.position();
    let mut hosted = Hosted::default();
    while let Some(name) = fields.next(reader, &mut members)? {
        read_field(name, reader, facts, &mut hosted).in_field(name)?;
    }
    if !fields.has("model") {
        return missing("model");
    }
    facts.output_cap = facts.splices.max_tokens.value;
    hosted.count_into(facts);
    Ok(())
}

/// Tools that run at the provider.
#[derive(Default)]
struct Hosted {
    searches: u64,
    others: u64,
    /// `max_tool_calls`: holds for all of them together.
    cap: Option<u64>,
}

impl Hosted {
    fn count_into(&self, facts: &mut RequestFacts) {
        facts.typed_tools += self.searches + self.others;
        if self.searches > 0 {
            facts.server_tools.add(self.cap);
        }
        // What a call of these costs, no table says.
        for _ in 0..self.others {
            facts.server_tools.add(None);
        }
    }
}

fn read_field(
    name: &'static str,
    reader: &mut Reader<'_>,
    facts: &mut RequestFacts,
    hosted: &mut Hosted,
) -> Result<()> {
    match name {
        "model" => read_model(reader, facts)?,
        "stream" => facts.is_stream = read_flag(reader)?.unwrap_or(false),
        "max_output_tokens" => facts.splices.max_tokens = read_cap(reader)?,
        "input" => scan_input(reader, facts)?,
        "tools" => reader.each_item(|reader| scan_tool(reader, facts, hosted))?,
        "previous_response_id" => {
            reader.kind()?;
            let start = reader.position();
            if let Some(id) = read_text(reader)? {
                facts.kept.previous = Some(PreviousResponse { id, span: start..reader.position() });
                facts.media.documents += 1;
            }
        }
        "conversation" => facts.kept.has_conversation = is_there(reader)?,
        "prompt" => {
            if is_there(reader)? {
                facts.media.documents += 1;
                facts.server_tools.add(None);
            }
        }
        "store" => facts.kept.is_unstored = read_flag(reader)? == Some(false),
        "background" => facts.kept.is_background = read_flag(reader)?.unwrap_or(false),
        "service_tier" => facts.service_tier = read_text(reader)?,
        "max_tool_calls" => hosted.cap = read_count(reader)?,
        "prompt_cache_options" => read_cache_mark(reader, &mut facts.cache_marks)?,
        "prompt_cache_retention" => {
            if !reader.is_null()? {
                let is_short = text_or_skip(reader)?.is_some_and(|retention| retention.is("in_memory"));
                facts.cache_marks.note(if is_short { CacheMarks::Short } else { CacheMarks::Long });
            }
        }
        "models" | "fallbacks" => read_others(name, reader, facts)?,
        "temperature" | "top_p" => facts.asks.sampling |= read_sampling(reader)?,
        _ => read_plugins(reader, facts)?,
    }
    Ok(())
}

/// Items whose texts are all that the model reads of them.
const PLAIN_ITEMS: [&str; 10] = [
    "message",
    "function_call",
    "function_call_output",
    "custom_tool_call",
    "custom_tool_call_output",
    "reasoning",
    "local_shell_call",
    "local_shell_call_output",
    "apply_patch_call",
    "apply_patch_call_output",
];

fn scan_input(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    facts.messages = 1;
    if reader.kind()? != Kind::Array {
        return reader.pass();
    }
    facts.messages = 0;
    let mut items = reader.enter_array()?;
    let mut index = 0;
    while reader.next_item(&mut items)? {
        scan_item(reader, facts).in_item(index)?;
        index += 1;
    }
    facts.messages = to_u64(index);
    Ok(())
}

/// One item of the input. Without a type it is a message if it looks like one, and a reference to what the provider keeps if
/// it does not.
fn scan_item(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    if reader.kind()? != Kind::Object {
        return reader.pass();
    }
    let mut fields = Fields::new(&["type", "role", "content", "output", "tools"]);
    let mut members = reader.enter_object()?;
    let mut kind = None;
    while let Some(name) = fields.next(reader, &mut members)? {
        match name {
            "type" => kind = text_or_skip(reader)?,
            "role" => reader.pass()?,
            // Tools that come with the input (`additional_tools`) may run at the provider: nobody has bounded those.
            "tools" => {
                if !reader.is_null()? {
                    facts.server_tools.add(None);
                    reader.each_item(|reader| scan_tool(reader, facts, &mut Hosted::default())).in_field(name)?;
                }
            }
            _ => reader.each_item(|reader| scan_part(reader, facts)).in_field(name)?,
        }
    }
    let is_message = fields.has("role") && fields.has("content");
    let is_plain = kind.map_or(is_message, |kind| PLAIN_ITEMS.iter().any(|plain| kind.is(plain)));
    let is_reference = kind.map_or(!is_message, |kind| kind.is("item_reference"));
    facts.kept.has_reference |= is_reference;
    facts.media.documents += u64::from(!is_plain);
    Ok(())
}

fn scan_part(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    if reader.kind()? != Kind::Object {
        return reader.pass();
    }
    const TEXT: [&str; 6] = ["input_text", "output_text", "text", "refusal", "summary_text", "reasoning_text"];
    let mut fields = Fields::new(&["type", "image_url"]);
    let mut members = reader.enter_object()?;
    let (mut kind, mut url) = (None, None);
    while let Some(name) = fields.next(reader, &mut members)? {
        match name {
            "type" => kind = text_or_skip(reader)?,
            _ => url = text_or_skip(reader)?,
        }
    }
    let is = |word: &str| kind.is_some_and(|kind| kind.is(word));
    if is("input_image") {
        facts.media.images += 1;
        match url {
            Some(url) if url.raw.starts_with(b"data:image") => {
                facts.media.inline_image_bytes += to_u64(url.raw.len());
            }
            _ => facts.media.remote_images += 1,
        }
    } else if is("input_audio") {
        facts.media.audio += 1;
    } else if !TEXT.iter().any(|word| is(word)) {
        facts.media.documents += 1;
    }
    Ok(())
}

fn scan_tool(reader: &mut Reader<'_>, facts: &mut RequestFacts, hosted: &mut Hosted) -> Result<()> {
    /// What the client runs itself.
    const OF_CLIENT: [&str; 7] =
        ["function", "custom", "namespace", "local_shell", "apply_patch", "computer_use_preview", "computer"];
    facts.tools += 1;
    if reader.kind()? != Kind::Object {
        return reader.pass();
    }
    let start = reader.position();
    let mut fields = Fields::new(&["type", "model", "tools"]);
    let mut members = reader.enter_object()?;
    let mut kind = None;
    while let Some(name) = fields.next(reader, &mut members)? {
        match name {
            "type" => kind = text_or_skip(reader)?,
            // A tool that draws may name the model that it draws with: nobody has authorised that one.
            "model" => {
                if is_there(reader)? {
                    facts.other_models.get_or_insert("tools");
                }
            }
            // The tools of a namespace are tools.
            _ => reader.each_item(|reader| scan_tool(reader, facts, hosted)).in_field(name)?,
        }
    }
    if kind.is_some_and(|kind| kind.raw.starts_with(b"web_search")) {
        hosted.searches += 1;
    } else if kind.is_some_and(|kind| OF_CLIENT.iter().any(|own| kind.is(own))) {
        return Ok(());
    } else {
        hosted.others += 1;
    }
    if names_model(&mut reader.again(start))? {
        facts.other_models.get_or_insert("tools");
    }
    Ok(())
}
