//! One file a page or a family of pages.
//!
//! Rule: a view's fields are what the page says, already decided; templates branch on nothing but what is shown.

pub mod notice;
pub mod setup;
pub mod status;
