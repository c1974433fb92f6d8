//! The gateway's side of the benchmark: the configuration under which it is measured.
//!
//! Rule: everything that costs is on: ten thousand keys, hard budgets at instance, team and user, a price, the journal.
//! It deliberately uses nothing but the public configuration file, so that what is measured is what people run.

use crate::contestant::{Ground, free_address};
use crate::upstream::MODEL;
use anyhow::{Context, Result};
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The number of users that share the keys.
const USERS: usize = 100;

/// Writes `gateway.yaml` into `folder` and returns its path.
pub(crate) fn write_config(ground: &Ground, listen: SocketAddr, folder: &Path) -> Result<PathBuf> {
    let path = folder.join("gateway.yaml");
    let text = config(ground, listen, free_address()?, folder)?;
    std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

/// Writes `gateway.yaml` for the control plane and `data.yaml` for the data plane that listens on `listen`.
pub(crate) fn write_fleet_config(ground: &Ground, listen: SocketAddr, plane: SocketAddr, folder: &Path) -> Result<()> {
    const TOKEN: &str = "join-token-of-the-benchmark";
    let text = config(ground, free_address()?, plane, folder)?;
    std::fs::write(folder.join("gateway.yaml"), text + &format!("plane: {{ join_token: {TOKEN} }}\n"))?;
    let data = folder.join("proxy");
    std::fs::create_dir_all(&data)?;
    let limit = limits(ground);
    let text = format!(
        r#"version: 1
server: {{ listen: "{listen}", ops_listen: "{ops}"{limit} }}
data_dir: "{data}"
control_plane: {{ url: "http://{plane}", join_token: {TOKEN} }}
"#,
        ops = free_address()?,
        data = data.display(),
    );
    std::fs::write(folder.join("data.yaml"), text).context("write data.yaml")
}

fn limits(ground: &Ground) -> String {
    ground.max_in_flight.map_or_else(String::new, |limit| format!(", limits: {{ max_in_flight: {limit} }}"))
}

fn config(ground: &Ground, listen: SocketAddr, plane: SocketAddr, folder: &Path) -> Result<String> {
    let upstream = ground.upstream;
    let data = folder.join("data");
    std::fs::create_dir_all(&data)?;
    let database = data.join("helix.db");
    let (ops, limit) = (free_address()?, limits(ground));
    let mut text = format!(
        r#"version: 1
server: {{ listen: "{listen}", ops_listen: "{ops}", plane_listen: "{plane}"{limit} }}
data_dir: "{data}"
storage: {{ url: "sqlite://{database}" }}
providers:
  bench: {{ kind: openai_compatible, base_url: "http://{upstream}/v1", api_key: "sk-bench" }}
models:
  - {{ match: {MODEL}, strategy: priority, backends: [ bench ] }}
prices:
  - {{ provider: bench, model: {MODEL}, input: "0.10", output: "0.40" }}
teams:
  bench: {{ models: {{ allow: ["bench-*"] }} }}
budgets:
  - {{ scope: instance, limit_usd: "1000000", period: monthly, mode: hard }}
  - {{ scope: "team:bench", limit_usd: "1000000", period: monthly, mode: hard }}
"#,
        data = data.display(),
        database = database.display(),
    );
    for user in 0..USERS {
        writeln!(text, r#"  - {{ scope: "user:{}", limit_usd: "100000", period: monthly, mode: hard }}"#, email(user))?;
    }
    text.push_str("users:\n");
    for user in 0..USERS {
        writeln!(text, r"  - {{ email: {}, name: User {user}, teams: [bench], roles: [member] }}", email(user))?;
    }
    text.push_str("keys:\n");
    for (number, key) in ground.keys.iter().enumerate() {
        writeln!(text, r#"  - {{ name: k{number}, user: {}, secret: "{key}" }}"#, email(number % USERS))?;
    }
    Ok(text)
}

fn email(user: usize) -> String {
    format!("user{user:03}@load.example")
}
