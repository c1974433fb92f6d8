//! The `helixgateway` binary: parse the command, run its role, map the error to an exit code.

mod announce;
mod cli;
mod config;
mod control;
mod data;
mod http_client;
mod mapping;
mod output;
mod pipe;
mod serve;
mod shutdown;
mod telemetry;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Every TLS user of the process (providers, databases, gRPC) takes this one.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        output::complain("a TLS provider was installed twice; this is a bug");
    }
    cli::run()
}
