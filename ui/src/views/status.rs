//! The front page of a claimed instance, until there is more to show: that it runs, and how to use it.
//!
//! Rule: what anyone on the network may see. No names, no numbers of the organisation.

use crate::RenderError;
use askama::Template;

/// The plain front page.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(path = "status.html")]
pub struct StatusPage {
    /// The public base URL of the gateway, without a trailing slash.
    pub public_url: String,
}

impl StatusPage {
    /// Renders the page.
    ///
    /// # Errors
    /// When the template cannot be written, which text in memory never causes.
    pub fn to_html(&self) -> Result<String, RenderError> {
        self.render()
    }
}
