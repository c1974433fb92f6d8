//! What people type, as errors of the app. What is right is [`helix_shared::typed`]'s.

use super::error::AppError;
use helix_shared::typed;

/// An address in lower case.
pub(super) fn clean_email(text: &str) -> Result<String, AppError> {
    typed::email(text).map_err(|reason| AppError::invalid("the e-mail address", reason))
}

/// A trimmed name for people. It may be empty.
pub(super) fn clean_name(text: &str) -> Result<String, AppError> {
    typed::name(text).map_err(|reason| AppError::invalid("the name", reason))
}
