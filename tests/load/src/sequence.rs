//! A fixed number of requests one after another: the load under which instructions are counted.
//!
//! Rule: one connection, one request at a time, so that the work per request is the same in every run. It deliberately
//! measures no time: under an instrumenting tool time means nothing.

use crate::client::BlockingClient;
use crate::contestant::Ground;
use crate::gateway;
use crate::requests::{Kind, Requests, keys};
use anyhow::{Context, Result, ensure};
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What to send.
#[derive(Args)]
pub(crate) struct Flags {
    /// Where requests go.
    #[arg(long)]
    address: SocketAddr,
    /// How many requests.
    #[arg(long, default_value_t = 1000)]
    count: usize,
    /// How many keys take turns, out of those in the configuration.
    #[arg(long, default_value_t = 100)]
    keys: usize,
    /// Ask for streams.
    #[arg(long)]
    stream: bool,
    /// Ask for streams in Anthropic's dialect, which are translated.
    #[arg(long, conflicts_with = "stream")]
    translated: bool,
    /// Seconds to wait for the first success.
    #[arg(long, default_value_t = 120)]
    patience: u64,
}

/// What to configure.
#[derive(Args)]
pub(crate) struct ConfigFlags {
    /// The folder for the file and the database.
    #[arg(long)]
    folder: PathBuf,
    /// Where the gateway listens.
    #[arg(long)]
    listen: SocketAddr,
    /// Where the upstream listens.
    #[arg(long)]
    upstream: SocketAddr,
    /// How many keys.
    #[arg(long, default_value_t = 100)]
    keys: usize,
    /// Also write `data.yaml`, for a data plane on `listen` whose control plane listens for data planes here.
    #[arg(long)]
    pub(crate) plane: Option<SocketAddr>,
}

/// Waits for the server, then sends the requests.
pub(crate) fn run(flags: &Flags) -> Result<()> {
    let kind = match (flags.stream, flags.translated) {
        (_, true) => Kind::Translated,
        (true, false) => Kind::Stream,
        (false, false) => Kind::Plain,
    };
    let requests = Requests::new(flags.address, kind, &keys(flags.keys));
    let mut client = first_success(flags, &requests)?;
    for number in 1..flags.count {
        let answer = client.exchange(requests.get(number)).with_context(|| format!("request {number}"))?;
        ensure!(answer.tally.status == 200, "request {number} was answered {}", answer.tally.status);
    }
    Ok(())
}

fn first_success(flags: &Flags, requests: &Requests) -> Result<BlockingClient> {
    let deadline = Instant::now() + Duration::from_secs(flags.patience);
    loop {
        let outcome = BlockingClient::connect(flags.address).and_then(|mut client| {
            let status = client.exchange(requests.get(0))?.tally.status;
            ensure!(status == 200, "the first request was answered {status}");
            Ok(client)
        });
        match outcome {
            Ok(client) => return Ok(client),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Writes the configuration.
pub(crate) fn config(flags: &ConfigFlags) -> Result<()> {
    let ground = Ground {
        core: 0,
        load_core: 1,
        upstream: flags.upstream,
        folder: flags.folder.clone(),
        nginx: PathBuf::new(),
        gateway: None,
        keys: keys(flags.keys),
        max_in_flight: None,
    };
    if let Some(plane) = flags.plane {
        gateway::write_fleet_config(&ground, flags.listen, plane, &flags.folder)?;
        return crate::say(&flags.folder.join("data.yaml").display().to_string());
    }
    let path = gateway::write_config(&ground, flags.listen, &flags.folder)?;
    crate::say(&path.display().to_string())
}
