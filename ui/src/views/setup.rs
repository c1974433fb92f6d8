//! One-time links: the form that makes the first administrator or a person's key, and the page that shows it, once.
//!
//! Rule: the key is on the answer to the form and nowhere else; no page can be asked for it again.

use crate::RenderError;
use askama::Template;
use helix_shared::secret::Secret;

/// The form.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(path = "setup.html")]
pub struct SetupPage {
    /// The one-time token of the link, carried on by the form.
    pub token: String,
    /// What was typed as an address, to correct it.
    pub email: String,
    /// What was typed as a name.
    pub name: String,
    /// What is wrong with it; empty: nothing.
    pub problem: String,
    /// Whether it makes the first administrator; otherwise the link was made for the person that is shown.
    pub is_first: bool,
}

/// The first key and how to use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstKeyPage {
    /// The new administrator's address.
    pub email: String,
    /// The key.
    pub key: Secret,
    /// The public base URL of the gateway, without a trailing slash.
    pub public_url: String,
}

#[derive(Template)]
#[template(path = "first_key.html")]
struct FirstKey<'a> {
    email: &'a str,
    key: &'a str,
    public_url: &'a str,
}

impl SetupPage {
    /// Renders the page.
    ///
    /// # Errors
    /// When the template cannot be written, which text in memory never causes.
    pub fn to_html(&self) -> Result<String, RenderError> {
        self.render()
    }
}

impl FirstKeyPage {
    /// Renders the page.
    ///
    /// # Errors
    /// When the template cannot be written, which text in memory never causes.
    pub fn to_html(&self) -> Result<String, RenderError> {
        let key = self.key.expose_str().unwrap_or_default();
        FirstKey { email: &self.email, key, public_url: &self.public_url }.render()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_is_escaped() {
        let typed = "\"><script>alert(1)</script>".to_owned();
        let page = SetupPage {
            token: typed.clone(),
            email: typed.clone(),
            name: typed.clone(),
            problem: typed,
            is_first: true,
        };
        assert!(!page.to_html().unwrap().contains("<script"));
    }

    #[test]
    fn the_first_key_page_fills_both_variables_with_key_and_address() {
        let page = FirstKeyPage {
            email: "a@b.example".into(),
            key: Secret::new("hx_p_k"),
            public_url: "https://gateway.example".into(),
        };
        let html = page.to_html().unwrap();
        assert!(html.contains("OPENAI_BASE_URL=https://gateway.example/v1"), "{html}");
        assert!(html.contains("OPENAI_API_KEY=hx_p_k"));
        assert!(html.contains("ANTHROPIC_BASE_URL=https://gateway.example\n"));
        assert!(html.contains("ANTHROPIC_API_KEY=hx_p_k"));
    }

    #[test]
    fn every_input_has_a_label_and_no_page_a_script() {
        let (email, name) = (String::new(), String::new());
        let page = SetupPage { token: "t".into(), email, name, problem: "p".into(), is_first: true };
        let html = page.to_html().unwrap();
        for id in ["email", "name"] {
            assert!(html.contains(&format!("for=\"{id}\"")) && html.contains(&format!("id=\"{id}\"")), "{id}");
        }
        assert!(!html.contains("<script") && html.contains("lang=\"en\""));
    }
}
