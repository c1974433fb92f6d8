//! Why something cannot be translated.
//!
//! Rule: the text names fields and types and says what to do, never a value that the client sent.

use helix_shared::error_code::ErrorCode;

use crate::json::{Fault, Misfit, Reason};

/// Why something cannot be translated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TranslateError {
    /// The client's body is not one JSON document.
    #[error("the body is not valid JSON: {reason}")]
    InvalidJson {
        /// What was expected.
        reason: &'static str,
    },
    /// A field has the wrong type.
    #[error("{} must be {expected}", named(param))]
    WrongType {
        /// Where, as in `messages[0].content`; empty for the body itself.
        param: String,
        /// What it must be.
        expected: &'static str,
    },
    /// A field's value cannot be right.
    #[error("{} {reason}", named(param))]
    Invalid {
        /// Where.
        param: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The request says something that the model's backend has no word for.
    #[error("{} is not supported by the backend of this model: {reason}", named(param))]
    Unsupported {
        /// Where.
        param: String,
        /// What exactly.
        reason: &'static str,
    },
    /// No backend speaks this dialect as a target of translation.
    #[error("requests cannot be translated to the dialect {dialect}")]
    UnsupportedTarget {
        /// The stable name of the dialect.
        dialect: &'static str,
    },
    /// No client speaks this dialect.
    #[error("requests of the dialect {dialect} cannot be translated")]
    UnsupportedSource {
        /// The stable name of the dialect.
        dialect: &'static str,
    },
    /// The provider's answer is not what its dialect says.
    #[error("the provider's answer could not be read")]
    UnreadableAnswer,
}

impl TranslateError {
    /// Returns the path of the field at fault.
    pub fn param(&self) -> Option<&str> {
        match self {
            Self::WrongType { param, .. } | Self::Invalid { param, .. } | Self::Unsupported { param, .. } => {
                Some(param.as_str()).filter(|param| !param.is_empty())
            }
            Self::InvalidJson { .. }
            | Self::UnsupportedTarget { .. }
            | Self::UnsupportedSource { .. }
            | Self::UnreadableAnswer => None,
        }
    }

    /// Returns the stable code of the refusal.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::InvalidJson { .. } => ErrorCode::InvalidJson,
            Self::WrongType { .. } | Self::Invalid { .. } | Self::Unsupported { .. } => ErrorCode::InvalidRequest,
            Self::UnsupportedTarget { .. } | Self::UnsupportedSource { .. } => ErrorCode::UnsupportedBackend,
            Self::UnreadableAnswer => ErrorCode::UpstreamDisconnected,
        }
    }

    pub(crate) fn wrong(param: impl Into<String>, expected: &'static str) -> Self {
        Self::WrongType { param: param.into(), expected }
    }

    pub(crate) fn invalid(param: impl Into<String>, reason: &'static str) -> Self {
        Self::Invalid { param: param.into(), reason }
    }

    pub(crate) fn unsupported(param: impl Into<String>, reason: &'static str) -> Self {
        Self::Unsupported { param: param.into(), reason }
    }
}

impl From<Misfit> for TranslateError {
    fn from(misfit: Misfit) -> Self {
        Self::wrong(misfit.path, misfit.expected)
    }
}

impl From<Box<Fault>> for TranslateError {
    fn from(fault: Box<Fault>) -> Self {
        let reason = match fault.reason {
            Reason::Syntax(reason) => reason,
            Reason::TooDeep => "it nests too deep",
            _ => "it is malformed",
        };
        Self::InvalidJson { reason }
    }
}

fn named(path: &str) -> String {
    if path.is_empty() { "the body".to_owned() } else { format!("`{path}`") }
}
