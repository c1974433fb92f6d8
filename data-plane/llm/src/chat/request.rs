//! A request, neutrally: turns of blocks, tools, and what shapes the answer.
//!
//! Rule: tool arguments stay the raw text that the model or the client wrote. What only one family of dialects can say
//! stays in `extra`, and goes only to a target of that family.
//! Not here: what a model can do (traits), what a call and its result owe each other (pairing).

use crate::dialect::Family;
use crate::json::{Name, Node, note, object};

/// A whole request.
#[derive(Debug, Default)]
pub(crate) struct Conversation {
    /// What the client's dialect calls things, for errors and for what is dropped.
    pub(crate) words: Words,
    /// The instructions before the first turn.
    pub(crate) system: Vec<Block>,
    pub(crate) turns: Vec<Turn>,
    pub(crate) tools: Vec<Tool>,
    pub(crate) web_search: Option<WebSearch>,
    pub(crate) tool_choice: Option<ToolChoice>,
    pub(crate) parallel_tool_calls: Option<bool>,
    /// In tokens.
    pub(crate) output_cap: Option<u64>,
    pub(crate) temperature: Option<f64>,
    pub(crate) top_p: Option<f64>,
    pub(crate) top_k: Option<u64>,
    pub(crate) stop: Vec<String>,
    pub(crate) reasoning: Reasoning,
    pub(crate) format: Format,
    pub(crate) user_id: Option<String>,
    pub(crate) service_tier: Option<Tier>,
    pub(crate) is_stream: bool,
    /// Whether the client of an OpenAI stream asked for its usage event.
    pub(crate) asks_usage: bool,
    /// Fields that only `extra_family` knows, by the names of its chat dialect.
    pub(crate) extra: Vec<(Name, Node)>,
    pub(crate) extra_family: Option<Family>,
    /// What could not be said neutrally, by its path in the client's body.
    pub(crate) unread: Vec<String>,
}

/// The names of fields that dialects call differently.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Words {
    pub(crate) messages: &'static str,
    pub(crate) stop: &'static str,
    pub(crate) effort: &'static str,
    pub(crate) format: &'static str,
    pub(crate) user: &'static str,
}

impl Default for Words {
    fn default() -> Self {
        Self { messages: "messages", stop: "stop", effort: "reasoning_effort", format: "response_format", user: "user" }
    }
}

/// One speaker's blocks. Results of tools stand in the user's turns.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Turn {
    pub(crate) role: Role,
    pub(crate) blocks: Vec<Block>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    System,
    User,
    Assistant,
}

/// A piece of a turn.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Block {
    pub(crate) kind: BlockKind,
    pub(crate) cache: Option<CacheMark>,
    pub(crate) place: Place,
}

/// Where in the client's body a block came from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) message: usize,
    pub(crate) part: Option<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum BlockKind {
    Text(String),
    Refusal(String),
    Image {
        source: Source,
        detail: Option<String>,
    },
    Audio(Node),
    Document {
        source: Source,
        name: Option<String>,
    },
    Call(Call),
    Result {
        id: String,
        blocks: Vec<Block>,
        is_error: bool,
    },
    Thinking {
        text: String,
        /// Empty or absent: nobody vouches for the text.
        signature: Option<String>,
    },
    Redacted(String),
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) name: String,
    /// As it was written: JSON, or for a freeform tool its plain input.
    pub(crate) arguments: String,
    pub(crate) is_freeform: bool,
}

/// Where an image or a document is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Base64 {
        media_type: String,
        data: String,
    },
    Url(String),
    FileId(String),
    /// Plain text (documents only).
    Text(String),
}

/// How long the prompt up to a mark is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CacheMark {
    /// The provider's default.
    Short,
    /// An hour or more.
    Long,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tool {
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    /// JSON schema of the arguments.
    pub(crate) schema: Option<Node>,
    pub(crate) strict: Option<bool>,
    pub(crate) cache: Option<CacheMark>,
    /// Takes plain text instead of JSON.
    pub(crate) is_freeform: bool,
}

/// The web search that the provider runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct WebSearch {
    /// `{type: "approximate", city?, country?, ...}`.
    pub(crate) location: Option<Node>,
    pub(crate) max_uses: Option<u64>,
    /// Where in the client's body it was asked for.
    pub(crate) path: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ToolChoice {
    None,
    Auto,
    Required,
    Named(String),
    Allowed { is_required: bool, names: Vec<String> },
}

/// How much the model shall think.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reasoning {
    pub(crate) effort: Option<Effort>,
    pub(crate) thinking: Option<Thinking>,
}

/// Anthropic's words for whether to think at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Thinking {
    Adaptive,
    /// At most so many tokens.
    Budget(u64),
    Disabled,
    BetweenTools,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    XHigh,
    Max,
}

impl Effort {
    const ALL: [Self; 7] = [Self::None, Self::Minimal, Self::Low, Self::Medium, Self::High, Self::XHigh, Self::Max];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::XHigh => "xhigh",
            Self::Max => "max",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|effort| effort.as_str() == word)
    }
}

/// The form of the answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Format {
    #[default]
    Text,
    JsonObject,
    JsonSchema {
        name: String,
        description: Option<String>,
        schema: Node,
        strict: Option<bool>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tier {
    Auto,
    Standard,
    /// A word of one family only.
    Other(String),
}

impl Format {
    /// Asks for the form in words, where there is no other way.
    pub(crate) fn in_words(&self) -> Option<String> {
        match self {
            Self::Text => None,
            Self::JsonObject => Some("Answer with one JSON object and nothing else.".to_owned()),
            Self::JsonSchema { schema, .. } => {
                let schema = schema.to_json();
                Some(format!("Answer with one JSON value and nothing else. It must match this JSON schema: {schema}"))
            }
        }
    }
}

impl Tool {
    /// Returns the schema of the arguments; a freeform tool's plain text travels in an object.
    pub(crate) fn arguments(&self) -> Option<Node> {
        if !self.is_freeform {
            return self.schema.clone();
        }
        Some(object! {
            "type": "object",
            "properties": object! { "input": object! { "type": "string" } },
            "required": vec!["input"],
        })
    }
}

impl Place {
    pub(crate) fn of(message: usize) -> Self {
        Self { message, part: None }
    }

    pub(crate) fn part(message: usize, part: usize) -> Self {
        Self { message, part: Some(part) }
    }

    /// Returns the path in the client's body.
    pub(crate) fn path(self, root: &str) -> String {
        match self.part {
            Some(part) => format!("{root}[{}].content[{part}]", self.message),
            None => format!("{root}[{}]", self.message),
        }
    }
}

impl Block {
    pub(crate) fn new(kind: BlockKind, place: Place) -> Self {
        Self { kind, cache: None, place }
    }

    pub(crate) fn text(text: impl Into<String>, place: Place) -> Self {
        Self::new(BlockKind::Text(text.into()), place)
    }

    /// Returns the text of a text block.
    pub(crate) fn as_text(&self) -> Option<&str> {
        if let BlockKind::Text(text) = &self.kind { Some(text) } else { None }
    }

    /// Whether it is text of whitespace only, which some providers refuse.
    pub(crate) fn is_blank(&self) -> bool {
        self.as_text().is_some_and(|text| text.trim().is_empty())
    }

    pub(crate) fn as_call(&self) -> Option<&Call> {
        if let BlockKind::Call(call) = &self.kind { Some(call) } else { None }
    }

    /// Whether it is thinking, readable or not.
    pub(crate) fn is_thought(&self) -> bool {
        matches!(self.kind, BlockKind::Thinking { .. } | BlockKind::Redacted(_))
    }

    /// Whether it is thinking that nobody vouches for.
    pub(crate) fn is_unsigned_thought(&self) -> bool {
        let BlockKind::Thinking { signature, .. } = &self.kind else { return false };
        signature.as_deref().unwrap_or_default().is_empty()
    }

    /// Whether it is the result of a tool.
    pub(crate) fn is_result(&self) -> bool {
        matches!(self.kind, BlockKind::Result { .. })
    }
}

impl Turn {
    pub(crate) fn new(role: Role, blocks: Vec<Block>) -> Self {
        Self { role, blocks }
    }

    pub(crate) fn calls(&self) -> impl Iterator<Item = &Call> + Clone {
        self.blocks.iter().filter_map(Block::as_call)
    }
}

impl Conversation {
    /// Notes something that the target does not get.
    pub(crate) fn drop_field(&mut self, path: impl Into<String>) {
        note(&mut self.unread, path.into());
    }

    /// Lets go of media where no dialect takes them, and names them: in the turns of this role, and for the system's in
    /// the instructions too.
    pub(crate) fn drop_media_of(&mut self, role: Role) {
        fn is_media(block: &Block) -> bool {
            matches!(block.kind, BlockKind::Image { .. } | BlockKind::Document { .. } | BlockKind::Audio(_))
        }
        let words = self.words;
        let system = Some(&mut self.system).filter(|_| role == Role::System);
        let turns = self.turns.iter_mut().filter(|turn| turn.role == role).map(|turn| &mut turn.blocks);
        for blocks in system.into_iter().chain(turns) {
            for block in blocks.iter().filter(|block| is_media(block)) {
                note(&mut self.unread, block.place.path(words.messages));
            }
            blocks.retain(|block| !is_media(block));
        }
    }

    /// Returns the place of the first image or document that is only a URL.
    pub(crate) fn first_url(&self) -> Option<Place> {
        fn is_url(block: &Block) -> bool {
            match &block.kind {
                BlockKind::Image { source, .. } | BlockKind::Document { source, .. } => {
                    matches!(source, Source::Url(_))
                }
                BlockKind::Result { blocks, .. } => blocks.iter().any(is_url),
                _ => false,
            }
        }
        self.turns.iter().flat_map(|turn| &turn.blocks).find(|block| is_url(block)).map(|block| block.place)
    }

    /// Joins neighbours of one role, and lets go of turns without a block.
    pub(crate) fn merge_turns(&mut self) {
        let mut merged: Vec<Turn> = Vec::with_capacity(self.turns.len());
        for turn in std::mem::take(&mut self.turns) {
            match merged.last_mut() {
                _ if turn.blocks.is_empty() => {}
                Some(last) if last.role == turn.role => last.blocks.extend(turn.blocks),
                _ => merged.push(turn),
            }
        }
        self.turns = merged;
    }
}

/// Joins the texts of blocks; other blocks are left out.
pub(crate) fn join_text(blocks: &[Block], separator: &str) -> String {
    blocks.iter().filter_map(Block::as_text).collect::<Vec<_>>().join(separator)
}
