//! Reconciliation: what a provider says it charged, beside what the ledger says.
//!
//! Rule: amounts of providers are decimals of any length; they are read from their text, in 1e-18 USD, and never pass
//! through a float. Names of models are compared without their date, on both sides. Sources: OpenAI's `organization/costs`
//! and `organization/usage/completions`, Anthropic's `organizations/cost_report` and `organizations/usage_report/messages`.

mod amount;
mod compare;
mod reports;

pub use amount::AttoUsd;
pub use compare::{Difference, Reconciled, Tolerance, reconcile};
pub use reports::{Charge, Kind, ProviderReport, Quantity, ReportError, read};
