//! Telling an error with all of its causes.
//!
//! Rule: an error's own text never repeats its source; whoever logs it asks for the chain, once.

use std::error::Error;

/// The error's text followed by the texts of its causes.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        // transparent errors repeat the text of what they wrap
        if !text.ends_with(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = error.source();
    }
    text
}
