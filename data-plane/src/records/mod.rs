//! The journal of records, and its way to the control plane.
//!
//! Rule: no byte goes upstream before its intent is in the journal; every request ends in exactly one record.

pub mod draft;
pub mod entry;
pub mod files;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod journal;
mod journal_error;
pub mod recover;
pub mod segment_scan;
pub mod ship;
pub mod trace;
