//! The control plane: what is stateful. The database, the administration, the plane protocol's server side.
//!
//! Rule: every change of configuration is a business rule in [`app`], one transaction and one revision; [`publish`] turns
//! revisions into what nodes are sent; [`plane`] speaks to nodes; `web` to people. It sees no request of a client and no
//! answer of a provider.
//!
//! A command opens an [`App`] directly on the database; a running gateway starts a [`ControlPlane`] around one.

pub mod app;
pub mod billing;
mod error;
mod ops;
pub mod plane;
pub mod publish;
pub mod secrets;
pub mod settings;
mod start;
mod tasks;
mod web;

pub use app::{Actor, App, AppError};
pub use helix_store::{
    ApiKey as KeyRow, BudgetAdjustment, BudgetEvent, ClosedMonth, Closing, Corrected, Db, Dialect, Dimension,
    LateBooking, LedgerReport, NewCorrection, Node as NodeRow, QuarantinedRow, ReportQuery, ReportRow, RollupSpan,
    SchemaStep, StoreError, Team as TeamRow, Totals, User as UserRow,
};
pub use plane::{ConnectedNode, PlaneServer, ServeError};
pub use settings::Settings;
pub use start::{ControlPlane, StartError};
