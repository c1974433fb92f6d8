//! The pages people see, rendered to text: one struct a page, its template beside it.
//!
//! Rule: a page knows what it shows and nothing else. It reads no database, speaks no HTTP, and everything it is given is
//! escaped by the template engine. It needs no script: a page works with the strictest content security policy.

pub mod views;

pub use askama::Error as RenderError;
pub use views::notice::NoticePage;
pub use views::setup::{FirstKeyPage, SetupPage};
pub use views::status::StatusPage;

/// The `Content-Security-Policy` that every page is written for: no script, no foreign content, forms only to us.
pub const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'self' 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
