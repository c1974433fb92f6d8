//! The contestants: how each is configured and started, and what all of them have in common.
//!
//! Rule: each runs alone on its core in front of the same upstream, at the settings that its own manual recommends for a
//! proxy. It deliberately measures nothing; phases do.

use crate::client::BlockingClient;
use crate::gateway;
use crate::process::Process;
use crate::requests::{Kind, Requests};
use anyhow::{Context, Result, ensure};
use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const START_PATIENCE: Duration = Duration::from_secs(120);

/// Who runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Contestant {
    /// No proxy: the baseline that is subtracted.
    Direct,
    /// nginx with `proxy_pass`.
    Nginx,
    /// The bare hyper pass-through of this program.
    Hyper,
    /// The gateway's data plane, whole pipeline and journal on; its control plane runs on the other core.
    Gateway,
    /// Both planes in one process.
    Serve,
}

impl Contestant {
    /// Returns the name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx",
            Self::Hyper => "bare hyper",
            Self::Gateway => "helixgateway",
            Self::Serve => "serve",
        }
    }
}

/// What starting any contestant takes.
pub(crate) struct Ground {
    pub(crate) core: usize,
    pub(crate) load_core: usize,
    pub(crate) upstream: SocketAddr,
    pub(crate) folder: PathBuf,
    pub(crate) nginx: PathBuf,
    pub(crate) gateway: Option<PathBuf>,
    pub(crate) keys: Vec<String>,
    /// The limit to configure; `None` leaves the default.
    pub(crate) max_in_flight: Option<usize>,
}

/// A contestant that answers.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) process: Option<Process>,
    pub(crate) start_ms: f64,
    /// What the contestant needs beside it; not measured.
    pub(crate) _companion: Option<Process>,
}

/// Returns an address on loopback whose port was free a moment ago.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

impl Ground {
    /// Starts a contestant and waits for its first successful answer.
    pub(crate) fn start(&self, contestant: Contestant) -> Result<Running> {
        if contestant == Contestant::Direct {
            return Ok(Running { address: self.upstream, process: None, start_ms: 0.0, _companion: None });
        }
        let address = free_address()?;
        let folder = self.folder.join(contestant.name().replace(' ', "-"));
        std::fs::create_dir_all(&folder)?;
        let log = folder.join("output.log");
        let companion = match contestant {
            Contestant::Gateway => Some(self.control_plane(address, &folder)?),
            Contestant::Direct | Contestant::Nginx | Contestant::Hyper | Contestant::Serve => None,
        };
        let (program, arguments) = self.command(contestant, address, &folder)?;
        let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        let begin = Instant::now();
        let mut process = Process::start(self.core, &program, &arguments, &folder, &log)?;
        self.wait_until_served(&mut process, address, begin)
            .with_context(|| format!("{} did not answer; its output:\n{}", contestant.name(), tail(&log)))?;
        let start_ms = begin.elapsed().as_secs_f64() * 1_000.0;
        Ok(Running { address, process: Some(process), start_ms, _companion: companion })
    }

    fn command(&self, contestant: Contestant, address: SocketAddr, folder: &Path) -> Result<(PathBuf, Vec<String>)> {
        match contestant {
            Contestant::Gateway => {
                let config = folder.join("data.yaml").display().to_string();
                Ok((self.binary()?, vec!["data-plane".into(), "--config".into(), config]))
            }
            Contestant::Serve => {
                let program = self.binary()?;
                let config = gateway::write_config(self, address, folder)?;
                Ok((program, vec!["serve".into(), "--config".into(), config.display().to_string()]))
            }
            Contestant::Nginx => {
                let config = folder.join("nginx.conf");
                std::fs::write(&config, nginx_config(address, self.upstream))?;
                let prefix = format!("{}/", folder.display());
                Ok((self.nginx.clone(), vec!["-p".into(), prefix, "-c".into(), config.display().to_string()]))
            }
            Contestant::Hyper | Contestant::Direct => {
                let program = std::env::current_exe()?;
                let (listen, upstream) = (address.to_string(), self.upstream.to_string());
                Ok((program, vec!["passthrough".into(), "--listen".into(), listen, "--upstream".into(), upstream]))
            }
        }
    }

    fn binary(&self) -> Result<PathBuf> {
        self.gateway.clone().context("the gateway's binary was not given")
    }

    /// Starts the control plane on the core of the load and waits until it knows its address.
    fn control_plane(&self, address: SocketAddr, folder: &Path) -> Result<Process> {
        let plane = free_address()?;
        gateway::write_fleet_config(self, address, plane, folder)?;
        let log = folder.join("control.log");
        let config = folder.join("gateway.yaml").display().to_string();
        let arguments = ["control-plane", "--config", &config].map(OsStr::new);
        let mut process = Process::start(self.load_core, &self.binary()?, &arguments, folder, &log)?;
        let begin = Instant::now();
        while std::net::TcpStream::connect(plane).is_err() || !std::fs::read_to_string(&log)?.contains("\"started\"") {
            process.check_alive().with_context(|| tail(&log))?;
            ensure!(begin.elapsed() < START_PATIENCE, "the control plane did not start:\n{}", tail(&log));
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(process)
    }

    fn wait_until_served(&self, process: &mut Process, address: SocketAddr, begin: Instant) -> Result<()> {
        let first_key = self.keys.get(..1).unwrap_or_default();
        let requests = Requests::new(address, Kind::Plain, first_key);
        let mut last = String::from("nothing listened");
        while begin.elapsed() < START_PATIENCE {
            match BlockingClient::connect(address).and_then(|mut client| client.exchange(requests.get(0))) {
                Ok(answer) if answer.tally.status == 200 => return Ok(()),
                Ok(answer) => last = format!("the last answer was {}", answer.tally.status),
                Err(error) => last = error.to_string(),
            }
            process.check_alive()?;
            std::thread::sleep(Duration::from_millis(1));
        }
        ensure!(false, "no successful answer in {} s: {last}", START_PATIENCE.as_secs());
        Ok(())
    }
}

/// Returns the end of a log, for an error message.
pub(crate) fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// The configuration of nginx: one worker, keep-alive to the upstream, unbuffered, no log.
fn nginx_config(listen: SocketAddr, upstream: SocketAddr) -> String {
    format!(
        "daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
user root;
pid nginx.pid;
error_log error.log warn;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  tcp_nodelay on;
  keepalive_requests 100000000;
  keepalive_timeout 600s;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  upstream provider {{
    server {upstream};
    keepalive 512;
    keepalive_requests 100000000;
    keepalive_timeout 600s;
  }}
  server {{
    listen {listen} backlog=4096;
    location / {{
      proxy_pass http://provider;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_buffering off;
      proxy_read_timeout 600s;
    }}
  }}
}}
"
    )
}
