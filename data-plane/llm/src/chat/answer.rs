//! A whole answer, neutrally.
//!
//! Rule: the blocks are in the order the model wrote them. Usage is not here: it is read by the scan that bills.

use super::request::Block;

/// A whole answer.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Answer {
    pub(crate) blocks: Vec<Block>,
    pub(crate) stop: Stop,
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
    /// It, or a filter, refused; maybe with an explanation.
    Refusal(Option<String>),
}
