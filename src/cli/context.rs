//! What commands start from: the configuration, and the instance behind it.
//!
//! Rule: a configuration with an error stops every command, with every error told.

use super::Common;
use crate::config::diagnostic::Place;
use crate::config::review::POINTS_HERE;
use crate::config::{self, Loaded};
use crate::{mapping, output};
use anyhow::Context;
use helix_control_plane::App;
use helix_shared::time::{Clock, SystemClock};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

/// The process environment. The only place that reads it.
pub(crate) fn environment() -> BTreeMap<String, String> {
    let readable = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(readable).collect()
}

/// Loads the configuration for a short command. Its warnings are told by `config check`, `doctor` and at the start of a
/// role, not by every command.
///
/// # Errors
/// Every finding, when one of them is an error.
pub(crate) fn load(common: &Common) -> anyhow::Result<Loaded> {
    read(common, &environment(), &[])
}

/// Loads the configuration for a command that opens the instance and calls no provider. It also works in a shell that is set up
/// for clients, whose `OPENAI_BASE_URL` is this gateway.
///
/// # Errors
/// Every finding, when one of them is an error.
pub(crate) fn load_instance(common: &Common) -> anyhow::Result<Loaded> {
    let mut environment = environment();
    let findings = config::check(common.path().as_deref(), &environment, &[]);
    for finding in &findings.0 {
        if let (POINTS_HERE, Some(Place::Env(variable))) = (finding.code, &finding.place) {
            environment.remove(variable);
        }
    }
    read(common, &environment, &[])
}

/// Loads the configuration for a role, with flags over it, and prints its warnings.
///
/// # Errors
/// Every finding, when one of them is an error.
pub(crate) fn load_with_warnings(common: &Common, flags: &[(String, String)]) -> anyhow::Result<Loaded> {
    let loaded = read(common, &environment(), flags)?;
    if !loaded.warnings.0.is_empty() {
        output::complain(&format!("{}\n", loaded.warnings));
    }
    Ok(loaded)
}

fn read(common: &Common, environment: &BTreeMap<String, String>, flags: &[(String, String)]) -> anyhow::Result<Loaded> {
    let path = common.path();
    config::load(path.as_deref(), environment, flags)
        .map_err(|findings| anyhow::anyhow!("the configuration is not valid; nothing was applied\n\n{findings}"))
}

/// How this terminal wants to be coloured.
pub(crate) fn paint() -> output::Paint {
    output::Paint::of_terminal(&environment())
}

/// Runs a short command with a small runtime.
///
/// # Errors
/// What the command says.
pub(crate) fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime cannot start")?;
    runtime.block_on(future)
}

/// Opens the instance that the configuration names, directly on its database. It must be there, at this release's schema:
/// a command in the wrong folder, or of a newer release beside a running older one, makes and changes nothing.
///
/// # Errors
/// What opening says.
pub(crate) async fn open(loaded: &Loaded) -> anyhow::Result<App> {
    Ok(App::open_existing(&mapping::control(loaded), clock()).await?)
}

/// Opens the instance as a start does, making what is not there yet: for what may come before the first start.
///
/// # Errors
/// What opening says.
pub(crate) async fn open_or_make(loaded: &Loaded) -> anyhow::Result<App> {
    Ok(App::open(&mapping::control(loaded), clock()).await?)
}

/// The machine's clock.
pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}
