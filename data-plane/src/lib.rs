//! The data plane: stateless proxies that authenticate, authorise, budget, route, meter and record every request.
//!
//! Rule: no database here, and no decision that is not made by `helix-shared`. It survives without the control plane: the
//! last configuration serves on, budgets run on the escrow in hand, records wait in the journal.

pub mod body;
pub mod budget;
pub mod config;
pub mod egress;
pub mod gateway;
pub mod http;
pub mod link;
pub mod metrics;
pub mod ops;
pub mod pipeline;
pub mod plane;
pub mod records;
pub mod report;
pub mod server;
pub mod settings;
pub mod span;
pub mod stall;
pub mod tasks;
pub mod upstream;

pub use plane::{DataPlane, StartError};
pub use settings::Settings;

/// Renders an error with its causes, for logs.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
