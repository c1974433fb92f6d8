//! Files that a request names by URL, where its backend must be given their content.
//!
//! Rule: here it is only said which ones, and what came is put in their place; whoever calls fetches them, or does not.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{ChatDialect, TranslateError};
use crate::chat::request::{Block, BlockKind, Conversation, Source};
use crate::chat::traits::ModelTraits;

/// A file that must be fetched.
#[derive(Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Where it is. The client chose it.
    pub url: String,
    /// The field that names it.
    pub param: String,
}

/// Prints no URL: it is a part of the prompt.
impl std::fmt::Debug for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Wanted({})", self.param)
    }
}

/// Files as they came, by their URLs.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Fetched(BTreeMap<String, Source64>);

#[derive(Clone, PartialEq, Eq)]
struct Source64 {
    media_type: &'static str,
    data: String,
}

/// Prints no content.
impl std::fmt::Debug for Fetched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fetched({} files)", self.0.len())
    }
}

impl Fetched {
    /// Adds a file.
    pub fn insert(&mut self, url: String, media_type: &'static str, content: &[u8]) {
        self.0.insert(url, Source64 { media_type, data: STANDARD.encode(content) });
    }

    /// Whether a file is here.
    pub fn holds(&self, url: &str) -> bool {
        self.0.contains_key(url)
    }

    /// Puts what came in the place of its URL, where the backend needs it.
    pub(super) fn put_into(&self, conversation: &mut Conversation, to: ChatDialect, traits: &ModelTraits) {
        if self.0.is_empty() {
            return;
        }
        for block in conversation.turns.iter_mut().flat_map(|turn| &mut turn.blocks) {
            self.put(block, to, traits);
        }
    }

    fn put(&self, block: &mut Block, to: ChatDialect, traits: &ModelTraits) {
        match &mut block.kind {
            BlockKind::Image { source, .. } | BlockKind::Document { source, .. } => {
                let Source::Url(url) = source else { return };
                if !needs_content(url, to, traits) {
                    return;
                }
                if let Some(file) = self.0.get(url) {
                    *source = Source::Base64 { media_type: file.media_type.to_owned(), data: file.data.clone() };
                }
            }
            BlockKind::Result { blocks, .. } => blocks.iter_mut().for_each(|block| self.put(block, to, traits)),
            _ => {}
        }
    }
}

/// Names the files of a request that a backend must be given, each once, in the order of the request.
///
/// # Errors
/// As the translation of the request.
pub fn wanted_files(
    from: ChatDialect,
    to: ChatDialect,
    body: &[u8],
    traits: &ModelTraits,
) -> Result<Vec<Wanted>, TranslateError> {
    let (conversation, _) = super::request::parse(from, body)?;
    let mut wanted: Vec<Wanted> = Vec::new();
    for block in conversation.turns.iter().flat_map(|turn| &turn.blocks) {
        gather(block, &conversation, &mut |url, param| {
            if needs_content(url, to, traits) && !wanted.iter().any(|known| known.url == url) {
                wanted.push(Wanted { url: url.to_owned(), param });
            }
        });
    }
    Ok(wanted)
}

fn gather(block: &Block, conversation: &Conversation, found: &mut impl FnMut(&str, String)) {
    match &block.kind {
        BlockKind::Image { source: Source::Url(url), .. } | BlockKind::Document { source: Source::Url(url), .. } => {
            found(url, block.place.path(conversation.words.messages));
        }
        BlockKind::Result { blocks, .. } => blocks.iter().for_each(|block| gather(block, conversation, found)),
        _ => {}
    }
}

/// Where the Gemini API keeps files.
const GOOGLES_FILES: &str = "https://generativelanguage.googleapis.com/";

/// Whether a backend cannot be given a URL as it is, or not surely, where its route would fetch it.
fn needs_content(url: &str, to: ChatDialect, traits: &ModelTraits) -> bool {
    let takes_secure = matches!(to, ChatDialect::AnthropicMessages | ChatDialect::Gemini);
    let is_foreign = !url.starts_with(GOOGLES_FILES) && !url.starts_with("gs://");
    let is_unsure = to == ChatDialect::Gemini && !traits.takes_any_url && is_foreign;
    !traits.takes_urls
        || is_unsure
        || (takes_secure && url.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Family;
    use crate::translate::{RequestContext, translate_fetched, translate_request};
    use serde_json::{Value, json};

    fn context(traits: ModelTraits) -> RequestContext<'static> {
        RequestContext { upstream_model: "m", output_cap: None, max_output_tokens: Some(99), traits }
    }

    fn chat() -> Vec<u8> {
        let image = |url: &str| json!({ "type": "image_url", "image_url": { "url": url } });
        json!({ "model": "m", "messages": [{ "role": "user", "content": [
            image("https://a.example/1.png"), image("data:image/png;base64,AAAA"), image("http://a.example/2.png"),
            image("https://a.example/1.png"),
        ] }] })
        .to_string()
        .into_bytes()
    }

    fn urls(wanted: &[Wanted]) -> Vec<(&str, &str)> {
        wanted.iter().map(|it| (it.url.as_str(), it.param.as_str())).collect()
    }

    #[test]
    fn only_what_a_backend_cannot_be_given_is_wanted_and_each_file_once() {
        let all = [
            ("https://a.example/1.png", "messages[0].content[0]"),
            ("http://a.example/2.png", "messages[0].content[2]"),
        ];
        for (to, traits, expected) in [
            (ChatDialect::Bedrock, ModelTraits::bedrock("anthropic.claude-haiku-4-5"), &all[..]),
            (ChatDialect::AnthropicMessages, ModelTraits::claude("claude-haiku-4-5"), &all[1..]),
            (ChatDialect::Gemini, ModelTraits::gemini("gemini-2.5-pro"), &all[1..]),
            (
                ChatDialect::Gemini,
                ModelTraits { takes_any_url: false, ..ModelTraits::gemini("gemini-2.5-pro") },
                &all[..],
            ),
            (ChatDialect::OpenAiChat, ModelTraits::openai("gpt-5"), &[]),
        ] {
            let wanted = wanted_files(ChatDialect::OpenAiChat, to, &chat(), &traits).unwrap();
            assert_eq!(urls(&wanted), expected, "{to:?}");
        }
    }

    #[test]
    fn what_came_stands_in_the_place_of_its_url() {
        let traits = ModelTraits::bedrock("anthropic.claude-haiku-4-5");
        let mut fetched = Fetched::default();
        fetched.insert("https://a.example/1.png".to_owned(), "image/png", b"one");
        fetched.insert("http://a.example/2.png".to_owned(), "image/jpeg", b"two");
        let translate = |fetched: &Fetched| {
            translate_fetched(ChatDialect::OpenAiChat, ChatDialect::Bedrock, &chat(), &context(traits), fetched)
        };
        let body: Value = serde_json::from_slice(&translate(&fetched).unwrap().body).unwrap();
        let parts = &body["messages"][0]["content"];
        assert_eq!(parts[0]["image"], json!({ "format": "png", "source": { "bytes": "b25l" } }));
        assert_eq!(parts[2]["image"], json!({ "format": "jpeg", "source": { "bytes": "dHdv" } }));
        assert_eq!(parts[3], parts[0]);
        let refused = translate(&Fetched::default()).unwrap_err();
        assert_eq!(refused.param(), Some("messages[0].content[0]"));
        assert!(refused.to_string().contains("fetch_urls"), "{refused}");
    }

    #[test]
    fn a_file_in_a_tools_result_is_wanted_too_and_nothing_of_it_is_printed() {
        let body = json!({ "model": "m", "max_tokens": 9, "messages": [
            { "role": "user", "content": "x" },
            { "role": "assistant", "content": [{ "type": "tool_use", "id": "t", "name": "f", "input": {} }] },
            { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "t", "content": [
                { "type": "image", "source": { "type": "url", "url": "https://a.example/secret.png" } }] }] },
        ] });
        let (body, traits) = (body.to_string().into_bytes(), ModelTraits::bedrock("amazon.nova-lite"));
        let wanted = wanted_files(ChatDialect::AnthropicMessages, ChatDialect::Bedrock, &body, &traits).unwrap();
        assert_eq!(wanted.len(), 1);
        let mut fetched = Fetched::default();
        fetched.insert(wanted[0].url.clone(), "image/png", b"canary");
        let context = context(traits);
        let done = translate_fetched(ChatDialect::AnthropicMessages, ChatDialect::Bedrock, &body, &context, &fetched);
        assert!(String::from_utf8_lossy(&done.unwrap().body).contains("Y2FuYXJ5"));
        let printed = format!("{wanted:?} {fetched:?}");
        assert!(!printed.contains("secret") && !printed.contains("Y2FuYXJ5"), "{printed}");
        assert!(translate_request(ChatDialect::AnthropicMessages, ChatDialect::Bedrock, &body, &context).is_err());
        assert_eq!(ChatDialect::Bedrock.family(), Family::Anthropic);
    }
}
