//! What cuts an exchange off: the limits of time that it has, and everything else.
//!
//! Rule: each reason has one message for the client, one word for the record and one stable code, here and nowhere else.

use helix_shared::error_code::ErrorCode;
use std::time::Duration;
use tokio::time::Instant;

/// Limits of an exchange.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Until the head.
    pub first_byte: Duration,
    /// Between two chunks.
    pub idle: Duration,
    /// End of everything.
    pub deadline: Instant,
}

/// Why an exchange broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// No connection: nothing was sent.
    Unreachable,
    /// Sent, and the connection ended.
    Disconnected,
    /// Sent, and what was to come did not come in time.
    TimedOut(Phase),
    /// The answer is in an encoding that nobody asked for.
    Encoded,
    /// More came than is kept.
    TooLarge,
    /// There is no memory left to keep it in.
    NoRoom,
}

/// What of an answer is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Its head.
    FirstByte,
    /// Its next piece.
    NextChunk,
    /// All of it.
    Total,
}

impl Phase {
    /// What a passed limit is told as, with the setting.
    pub fn overdue(self) -> &'static str {
        match self {
            Self::FirstByte => "The provider did not begin to answer in time (its timeout.first_byte).",
            Self::NextChunk => "The provider fell silent in its answer (its timeout.between_chunks).",
            Self::Total => "The provider did not finish its answer in time (its timeout.total).",
        }
    }

    /// The setting that holds the limit.
    pub fn setting(self) -> &'static str {
        match self {
            Self::FirstByte => "timeout.first_byte",
            Self::NextChunk => "timeout.between_chunks",
            Self::Total => "timeout.total",
        }
    }

    /// What a record says when the limit passed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FirstByte => "timed_out_first_byte",
            Self::NextChunk => "timed_out_between_chunks",
            Self::Total => "timed_out_total",
        }
    }
}

impl Limits {
    /// The phase whose limit passed, when this one was waited for.
    pub fn passed(&self, phase: Phase) -> Broken {
        Broken::TimedOut(if Instant::now() >= self.deadline { Phase::Total } else { phase })
    }
}

impl Broken {
    /// The stable error code.
    pub fn code(self) -> ErrorCode {
        match self {
            Self::Unreachable => ErrorCode::UpstreamUnreachable,
            Self::Disconnected => ErrorCode::UpstreamDisconnected,
            Self::TimedOut(_) => ErrorCode::UpstreamTimeout,
            Self::TooLarge | Self::Encoded => ErrorCode::UpstreamError,
            Self::NoRoom => ErrorCode::Overloaded,
        }
    }

    /// What the client is told.
    pub fn message(self) -> &'static str {
        match self {
            Self::Unreachable => "The provider could not be reached.",
            Self::Disconnected => "The provider's answer broke off.",
            Self::TimedOut(phase) => phase.overdue(),
            Self::Encoded => {
                "The provider's answer is encoded (content-encoding), which it was not asked for, and is not read."
            }
            Self::TooLarge => "The provider's answer is larger than the gateway keeps.",
            Self::NoRoom => "The gateway holds as many answers as it has memory for; try again in a moment.",
        }
    }

    /// What the record says.
    pub fn verdict(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Disconnected => "disconnected",
            Self::TimedOut(phase) => phase.as_str(),
            Self::Encoded => "encoded",
            Self::TooLarge => "too_large",
            Self::NoRoom => "no_room",
        }
    }

    /// Whether another backend would do no better: what is missing is ours, or the answer is there and too large.
    pub fn is_final(self) -> bool {
        matches!(self, Self::TooLarge | Self::NoRoom)
    }
}
