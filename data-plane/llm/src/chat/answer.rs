//! A whole answer, neutrally.
//!
//! Rule: the blocks are in the order the model wrote them. Usage is not here: it is read by the scan that bills.

use super::request::Block;
use crate::json::{Node, object};

/// A whole answer.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Answer {
    pub(crate) blocks: Vec<Block>,
    /// What blocks of text come from, by the index of the block.
    pub(crate) cited: Vec<(usize, Citation)>,
    pub(crate) stop: Stop,
}

/// A page that a text comes from, found by a search of the provider's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Citation {
    pub(crate) url: String,
    pub(crate) title: String,
}

impl Citation {
    /// Reads the fields that every dialect calls the same; `None` for what is cited from elsewhere, as from a document.
    pub(crate) fn parse(node: &Node, url: &str) -> Option<Self> {
        let url = node.text(url).filter(|url| !url.is_empty())?.to_owned();
        Some(Self { url, title: node.text("title").unwrap_or_default().to_owned() })
    }

    /// How much memory it holds, about.
    pub(crate) fn size_bytes(&self) -> usize {
        size_of::<Self>().saturating_add(self.url.len()).saturating_add(self.title.len())
    }

    /// Renders what OpenAI's APIs say of it; the text ends at `end`, in characters, and is so many long.
    pub(crate) fn render(&self, end: usize, chars: usize) -> Node {
        object! { "url": &self.url, "title": &self.title, "start_index": end.saturating_sub(chars), "end_index": end }
    }
}

/// Why an answer ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The model was done, or nobody said why.
    #[default]
    End,
    /// It wrote one of the stop texts.
    Sequence(Option<String>),
    /// The cap on output, the window, or a pause that the provider made.
    Length,
    /// It waits for the results of its calls.
    Calls,
    /// It said no, in a refusal of its own words; nothing was cut.
    Declined,
    /// It, or a filter, refused; maybe with an explanation.
    Refusal(Option<String>),
}
