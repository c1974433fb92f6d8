//! The benchmark of the gateway: beside plain nginx and a bare hyper pass-through, in one run, on one upstream.
//!
//! Rule: every figure comes from outside the contestant and from the same instrument for all; `README.md` beside this
//! crate says how to read them. It deliberately judges nothing but the targets it prints.

mod client;
mod contestant;
mod gateway;
mod passthrough;
mod phase;
mod process;
mod report;
mod requests;
mod run;
mod sequence;
mod stats;
mod upstream;
mod wire;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use std::io::Write;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

/// The gateway's allocator, so that the pass-through differs from the gateway in nothing but what it does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures the gateway beside nginx and a bare hyper pass-through.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves the fixed OpenAI-shaped upstream and prints its address.
    Upstream {
        /// Where to listen; port 0 takes a free one.
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
    /// Serves the bare hyper pass-through.
    Passthrough {
        /// Where to listen; port 0 takes a free one.
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// Where requests go.
        #[arg(long)]
        upstream: SocketAddr,
        /// Use the multi-threaded runtime also on one core: what it costs there.
        #[arg(long)]
        multi_thread: bool,
    },
    /// Runs the whole benchmark and prints its tables.
    Run(run::Flags),
    /// Sends a number of requests one after another, for the instruction count.
    Sequence(sequence::Flags),
    /// Writes the gateway's benchmark configuration, for the instruction count and for profiling by hand.
    Config(sequence::ConfigFlags),
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Upstream { listen } => Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(async { upstream::serve(bind(listen).await?).await }),
        Command::Passthrough { listen, upstream, multi_thread } => {
            // by default the runtime that the gateway has: single-threaded when pinned to one core
            let has_one_core = std::thread::available_parallelism().is_ok_and(|cores| cores.get() == 1);
            let is_single = has_one_core && !multi_thread;
            let mut builder = if is_single { Builder::new_current_thread() } else { Builder::new_multi_thread() };
            let runtime = builder.enable_all().build()?;
            runtime.block_on(async { passthrough::serve(bind(listen).await?, upstream).await })
        }
        Command::Run(flags) => run::run(&flags),
        Command::Sequence(flags) => sequence::run(&flags),
        Command::Config(flags) => sequence::config(&flags),
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address).with_context(|| format!("listen on {address}"))?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    say(&format!("listening on {}", listener.local_addr()?))?;
    Ok(listener)
}

/// Writes one line to standard output at once.
fn say(line: &str) -> Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()?;
    Ok(())
}

/// Writes one line of progress to standard error.
fn note(line: &str) {
    drop(writeln!(std::io::stderr().lock(), "{line}"));
}
