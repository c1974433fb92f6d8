//! `doctor`: what would stop the gateway from working, each with its remedy.
//!
//! Rule: it makes and changes nothing, costs nothing at a provider, and prints no secret.

use super::Common;
use super::context::{block_on, load, open, paint};
use crate::config::Loaded;
use crate::http_client::{self, Answer};
use crate::output::Tone;
use crate::{mapping, output};
use clap::ValueEnum;
use helix_control_plane::app::OpenError;
use serde_json::json;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// No clock of a running machine is before this: 2026-01-01.
const EARLIEST_SANE_US: i64 = 1_767_225_600_000_000;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum State {
    Ok,
    Warn,
    Fail,
}

struct Finding {
    name: String,
    state: State,
    detail: String,
    fix: String,
}

pub(super) fn run(common: &Common) -> anyhow::Result<ExitCode> {
    let loaded = load(common)?;
    let findings = block_on(async { Ok(examine(&loaded).await) })?;
    let worst = findings.iter().map(|finding| finding.state).max().unwrap_or(State::Ok);
    let paint = paint();
    let width = findings.iter().map(|finding| finding.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    let mut values = Vec::new();
    for finding in &findings {
        let (state, tone) = match finding.state {
            State::Ok => ("ok", Tone::Good),
            State::Warn => ("warn", Tone::Warning),
            State::Fail => ("fail", Tone::Bad),
        };
        let shown = paint.tone(tone, &format!("{state:<4}"));
        text.push_str(&format!("{shown}  {:<width$}  {}\n", finding.name, finding.detail));
        if !finding.fix.is_empty() {
            text.push_str(&format!("      {:<width$}  fix: {}\n", "", finding.fix));
        }
        values.push(json!({ "check": finding.name, "state": state, "detail": finding.detail, "fix": finding.fix }));
    }
    output::answer(common.json(), &text, &json!({ "ok": worst != State::Fail, "checks": values }));
    Ok(if worst == State::Fail { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn examine(loaded: &Loaded) -> Vec<Finding> {
    let mut findings = vec![configuration(loaded), clock(), disk(loaded)];
    findings.push(database(loaded).await);
    let server = &loaded.settings.server;
    let listeners = [
        ("server.listen", server.listen),
        ("server.ops_listen", server.ops_listen),
        ("server.plane_listen", server.plane_listen),
    ];
    for (key, address) in listeners {
        findings.push(port(key, address, server.listen).await);
    }
    if loaded.settings.providers.is_empty() {
        let fix = "set OPENAI_API_KEY or ANTHROPIC_API_KEY, or add `providers:` to gateway.yaml";
        findings.push(finding("providers", State::Warn, "none configured: no model can be reached", fix));
    }
    for (name, provider) in &loaded.settings.providers {
        findings.push(provider_reachable(name, &provider.base_url).await);
    }
    let identity = "sign-in with API keys and the setup link; identity providers come with a later version";
    findings.push(finding("identity", State::Ok, identity, ""));
    findings
}

fn finding(name: &str, state: State, detail: impl Into<String>, fix: &str) -> Finding {
    Finding { name: name.to_owned(), state, detail: detail.into(), fix: fix.to_owned() }
}

fn configuration(loaded: &Loaded) -> Finding {
    let source = loaded.path.as_ref().map_or_else(|| "no file".to_owned(), |path| path.display().to_string());
    let (_, warnings) = loaded.warnings.counts();
    if warnings == 0 {
        return finding("configuration", State::Ok, source, "");
    }
    let detail = format!("{source}: {}", output::count(warnings as u64, "warning"));
    finding("configuration", State::Warn, detail, "`helixgateway config check` shows each with its place")
}

fn clock() -> Finding {
    let now = super::context::clock().now();
    if now.get() < EARLIEST_SANE_US {
        return finding(
            "clock",
            State::Fail,
            format!("the machine believes it is {now}"),
            "set the clock; run an NTP client",
        );
    }
    finding("clock", State::Ok, now.to_string(), "")
}

fn disk(loaded: &Loaded) -> Finding {
    let folder = &loaded.settings.data_dir;
    // the first start makes what is missing of it
    let there = folder.ancestors().find(|folder| folder.exists()).filter(|path| !path.as_os_str().is_empty());
    let probe = there.unwrap_or_else(|| std::path::Path::new(".")).join(".doctor");
    let written = std::fs::write(&probe, b"ok").and_then(|()| std::fs::remove_file(&probe));
    match written {
        Ok(()) => finding("disk", State::Ok, format!("{} is writable", folder.display()), ""),
        Err(error) => finding(
            "disk",
            State::Fail,
            format!("{} is not writable: {error}", folder.display()),
            "make it writable for this user, or set data_dir",
        ),
    }
}

async fn database(loaded: &Loaded) -> Finding {
    let app = match open(loaded).await {
        Ok(app) => app,
        Err(error) => {
            use helix_control_plane::StoreError::{NoDatabase, OlderSchema};
            let waits = matches!(
                error.downcast_ref::<OpenError>(),
                Some(OpenError::Store(NoDatabase { .. } | OlderSchema { .. }))
            );
            let (state, fix) = if waits {
                (State::Warn, "the next `helixgateway serve` or `helixgateway db migrate` does that")
            } else {
                (State::Fail, "check storage.url and that the server runs")
            };
            return finding("database", state, format!("{error:#}"), fix);
        }
    };
    let facts = app.facts().await;
    app.close().await;
    match facts {
        Ok(facts) if facts.has_admin => {
            let detail = format!(
                "{} at {}, revision {}, {} seen",
                facts.database.as_str(),
                facts.address,
                facts.head_revision,
                output::count(facts.nodes.len() as u64, "data plane")
            );
            finding("database", State::Ok, detail, "")
        }
        Ok(facts) => {
            let detail = format!("{} at {}, no administrator yet", facts.database.as_str(), facts.address);
            finding(
                "database",
                State::Warn,
                detail,
                "open the setup link that serve prints, or `helixgateway admin create --email YOU`",
            )
        }
        Err(error) => finding("database", State::Fail, error.to_string(), "check that the database is this gateway's"),
    }
}

async fn port(key: &str, address: SocketAddr, listen: SocketAddr) -> Finding {
    match TcpListener::bind(address).await {
        Ok(_) => finding(key, State::Ok, format!("{address} is free"), ""),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => in_use(key, address, listen).await,
        Err(error) => {
            finding(key, State::Fail, format!("{address}: {error}"), &format!("choose another address with {key}"))
        }
    }
}

/// A taken address is well if the taker is a gateway.
async fn in_use(key: &str, address: SocketAddr, listen: SocketAddr) -> Finding {
    let (asked, path) = match key {
        "server.ops_listen" => (address, "/healthz/ready"),
        // The planes' listener speaks gRPC only; its process is known by its other door.
        _ => (listen, "/v1/models"),
    };
    match http_client::get(&format!("http://{}{path}", mapping::reachable(asked)), None).await {
        Ok(answer) if key == "server.ops_listen" && answer.status == 200 => {
            finding(key, State::Ok, format!("a gateway answers at {address}: ready"), "")
        }
        Ok(answer) if !answer.header("x-request-id").is_empty() || is_page(&answer) => {
            finding(key, State::Ok, format!("a gateway answers at {address}"), "")
        }
        _ => finding(
            key,
            State::Fail,
            format!("{address} is used by another process"),
            &format!("stop it, or choose another address with {key}"),
        ),
    }
}

/// Whether a control plane without a proxy answered.
fn is_page(answer: &Answer) -> bool {
    String::from_utf8_lossy(&answer.body).contains("Helix Gateway</title>")
}

async fn provider_reachable(name: &str, base_url: &url::Url) -> Finding {
    let check = format!("provider {name}");
    let (Some(host), Some(port)) = (base_url.host_str(), base_url.port_or_known_default()) else {
        return finding(&check, State::Fail, "its base URL has no host", "correct providers.NAME.base_url");
    };
    match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => finding(&check, State::Ok, format!("{host}:{port} accepts connections"), ""),
        Ok(Err(error)) => {
            finding(&check, State::Warn, format!("{host}:{port}: {error}"), "check the address, DNS and firewall")
        }
        Err(_) => finding(
            &check,
            State::Warn,
            format!("{host}:{port} does not answer"),
            "check the address, DNS and firewall",
        ),
    }
}
