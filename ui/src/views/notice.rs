//! A page that says one thing: an expired link, a refused form, a path that is not there.
//!
//! Rule: it says what happened and what to do next. It never repeats what was typed.

use crate::RenderError;
use askama::Template;

/// A short message.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(path = "notice.html")]
pub struct NoticePage {
    /// The heading.
    pub title: String,
    /// What happened, in a sentence or two.
    pub message: String,
    /// What to do next; empty: nothing.
    pub advice: String,
    /// The command that does it; empty: none.
    pub command: String,
}

impl NoticePage {
    /// Renders the page.
    ///
    /// # Errors
    /// When the template cannot be written, which text in memory never causes.
    pub fn to_html(&self) -> Result<String, RenderError> {
        self.render()
    }
}
