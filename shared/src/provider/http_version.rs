//! Which version of HTTP a provider is spoken to.
//!
//! Rule: what is not said is agreed on with the server, never guessed: HTTP/2 without TLS needs a word.

/// A version, or how it is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HttpVersion {
    /// HTTP/2 where the server offers it in its TLS handshake, HTTP/1.1 elsewhere.
    #[default]
    Auto,
    /// HTTP/1.1.
    One,
    /// HTTP/2, also without TLS.
    Two,
}

impl HttpVersion {
    /// Every word.
    pub const ALL: [Self; 3] = [Self::Auto, Self::One, Self::Two];

    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::One => "http1",
            Self::Two => "http2",
        }
    }

    /// Reads the stable name; nothing said is [`HttpVersion::Auto`]; `None` for another word.
    pub fn parse(name: &str) -> Option<Self> {
        if name.is_empty() {
            return Some(Self::Auto);
        }
        Self::ALL.into_iter().find(|version| version.as_str() == name)
    }
}
