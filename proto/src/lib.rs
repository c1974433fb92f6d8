//! The contract between the planes: generated gRPC types, and the conversions that know both sides.
//!
//! Rule: the .proto files are the specification; this crate adds conversions and nothing else.

pub mod convert;
pub mod raw;

/// The generated messages and services of `helix.plane.v1`.
#[allow(missing_docs, unreachable_pub, reason = "generated; the .proto files carry the documentation")]
#[allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::needless_pass_by_value,
    clippy::large_futures,
    clippy::uninlined_format_args,
    clippy::manual_let_else,
    clippy::semicolon_if_nothing_returned,
    clippy::redundant_closure_for_method_calls,
    clippy::cast_possible_wrap,
    clippy::cast_possible_truncation,
    reason = "generated"
)]
pub mod v1 {
    tonic::include_proto!("helix.plane.v1");
}
