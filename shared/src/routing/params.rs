//! What a route does with what a translation cannot say.
//!
//! Rule: never in silence. Dropped is named in the answer's headers; strict refuses before anything costs.

/// What happens to parameters that a backend's dialect has no word for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Params {
    /// They are left out and named.
    #[default]
    Drop,
    /// The request is refused.
    Strict,
}

impl Params {
    /// Every word.
    pub const ALL: [Self; 2] = [Self::Drop, Self::Strict];

    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Strict => "strict",
        }
    }

    /// Reads the stable name; nothing said is [`Params::Drop`]; `None` for another word.
    pub fn parse(name: &str) -> Option<Self> {
        if name.is_empty() {
            return Some(Self::Drop);
        }
        Self::ALL.into_iter().find(|params| params.as_str() == name)
    }
}
