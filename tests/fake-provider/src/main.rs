//! The command `fake-provider`: the scripted provider as a process of its own, for tests across processes.
//!
//! Rule: it prints nothing but its address when asked to, so that a script can read it; everything else is under `/_fake/`.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use helix_fake_provider::FakeProvider;

/// A scripted model provider with a bill of its own.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Print the base URL on a line of standard output once it listens.
    #[arg(long)]
    print_addr: bool,
    /// The default script, as JSON.
    #[arg(long, default_value = "{}")]
    script: String,
    /// Answer from memory without reading requests, for benchmarks.
    #[arg(long)]
    fast: bool,
    /// Worker threads.
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            let _closed = writeln!(std::io::stderr(), "fake-provider: {error}{cause}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let mut builder = match arguments.threads {
        0 | 1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder.worker_threads(arguments.threads.max(1)).enable_all().build()?;
    runtime.block_on(async {
        let provider = FakeProvider::new().with_script(serde_json::from_str(&arguments.script)?);
        let provider = if arguments.fast { provider.fast() } else { provider };
        let running = provider.run(arguments.listen)?;
        if arguments.print_addr {
            writeln!(std::io::stdout(), "{}", running.url())?;
        }
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted?,
            _ = terminate.recv() => {}
        }
        running.shutdown().await;
        Ok(())
    })
}
