//! `data-plane`: a stateless proxy alone.

use crate::cli::Common;
use crate::cli::context::{clock, load_with_warnings};
use crate::config::Loaded;
use crate::shutdown::Signals;
use crate::{announce, mapping, pipe, telemetry};
use anyhow::Context;
use clap::Args;
use helix_data_plane::DataPlane;
use helix_shared::ids::NodeId;
use helix_shared::secret::Secret;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(crate) struct DataPlaneArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The control plane, such as http://control:8444.
    #[arg(long, value_name = "URL")]
    control_plane: Option<String>,
    /// The file of the token that lets this data plane join.
    #[arg(long, value_name = "FILE")]
    join_token_file: Option<PathBuf>,
}

/// Runs until a signal.
pub(crate) fn run(args: &DataPlaneArgs) -> anyhow::Result<ExitCode> {
    let mut flags = Vec::new();
    if let Some(url) = &args.control_plane {
        flags.push(("control_plane.url".to_owned(), url.clone()));
    }
    let token = args.join_token_file.as_deref().map(read_token).transpose()?;
    let loaded = load_with_warnings(&Common::of_file(args.config.clone()), &flags)?;
    telemetry::start_logging(&loaded.settings)?;
    let url = loaded.settings.control_plane.url.as_ref();
    let url = url
        .context("a data plane needs its control plane: give --control-plane URL, or control_plane.url in the file")?;
    let token = token.or_else(|| loaded.settings.control_plane.join_token.clone());
    let token = token.context(
        "a data plane needs a join token: give --join-token-file FILE, or control_plane.join_token in the file",
    )?;
    let runtime = if has_one_core() { single_threaded_runtime()? } else { runtime()? };
    let channel = {
        let _inside = runtime.enter();
        pipe::over_tcp(url.as_str())?
    };
    runtime.block_on(serve(&loaded, channel, token))
}

async fn serve(loaded: &Loaded, channel: tonic::transport::Channel, token: Secret) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let traces = telemetry::Traces::start(&loaded.settings)?;
    let settings = mapping::data(loaded, node_id(loaded)?, Some(token), state_key(loaded)?);
    let plane = DataPlane::start(settings, channel, clock(), None, traces.spans()).await?;
    announce::data_plane(loaded, &plane);
    signals.stop().await;
    tracing::info!("stopping: requests in flight finish first; a second signal ends at once");
    tokio::select! {
        () = plane.stop() => {}
        () = signals.stop() => tracing::warn!("stopped at once; the journal closes what was in flight at the next start"),
    }
    tokio::task::spawn_blocking(move || traces.end()).await?;
    Ok(ExitCode::SUCCESS)
}

/// The runtime of a proxy.
///
/// # Errors
/// When threads cannot be started.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("proxy")
        .build()
        .context("the runtime cannot start")
}

/// Whether this process may use one core only: a small container, or pinned.
fn has_one_core() -> bool {
    std::thread::available_parallelism().is_ok_and(|cores| cores.get() == 1)
}

/// The runtime of a proxy that is alone in its process on one core: a bare pass-through of requests costs a tenth less on it
/// than on [`runtime`] with one worker, since nobody else can steal its work.
fn single_threaded_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("proxy")
        .build()
        .context("the runtime cannot start")
}

/// This node's identity across restarts: made once, kept in the data folder.
///
/// # Errors
/// When the folder cannot be used.
pub(crate) fn node_id(loaded: &Loaded) -> anyhow::Result<NodeId> {
    let made = keep_once(&loaded.settings.data_dir.join("node-id"), || uuid::Uuid::now_v7().to_string())?;
    Ok(NodeId::from(made.trim()))
}

/// The key that seals the last good configuration: configured, or made once.
///
/// # Errors
/// When the folder cannot be used.
pub(crate) fn state_key(loaded: &Loaded) -> anyhow::Result<Secret> {
    if let Some(key) = &loaded.settings.secrets.state_key {
        return Ok(key.clone());
    }
    let random = || {
        let mut bytes = [0_u8; 32];
        match aws_lc_rs::rand::fill(&mut bytes) {
            Ok(()) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            Err(_) => String::new(),
        }
    };
    let made = keep_once(&loaded.settings.data_dir.join("state.key"), random)?;
    anyhow::ensure!(!made.trim().is_empty(), "the state key in {} is empty", loaded.settings.data_dir.display());
    Ok(Secret::new(made.trim()))
}

/// Reads a small private file, making it when it is missing. Two processes that start at once agree on one content.
fn keep_once(path: &Path, make: impl FnOnce() -> String) -> anyhow::Result<String> {
    let hint = || format!("cannot use {}; make the folder writable for this user, or set data_dir", path.display());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(hint)?;
    }
    if !path.exists() {
        // a name of its own: in two containers that share the folder, both processes may be number 1
        let fresh = path.with_extension(format!("new-{}", uuid::Uuid::now_v7().simple()));
        let written = write_new(&fresh, &make()).and_then(|()| match std::fs::hard_link(&fresh, path) {
            // Linking fails if somebody was faster; then theirs counts.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        });
        let removed = std::fs::remove_file(&fresh);
        written.and(removed).with_context(hint)?;
    }
    std::fs::read_to_string(path).with_context(hint)
}

fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn read_token(path: &Path) -> anyhow::Result<Secret> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read the join token {}", path.display()))?;
    anyhow::ensure!(!text.trim().is_empty(), "the join token file {} is empty", path.display());
    Ok(Secret::new(text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::sync::Barrier;

    #[test]
    fn of_many_that_keep_a_file_at_once_all_read_the_same_content_and_nothing_is_left_over() {
        for _ in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            let (path, together) = (folder.path().join("node-id"), Barrier::new(16));
            let kept: BTreeSet<String> = std::thread::scope(|scope| {
                let one = |number: usize| {
                    let (path, together) = (&path, &together);
                    scope.spawn(move || {
                        together.wait();
                        keep_once(path, || format!("node {number}")).unwrap()
                    })
                };
                let all: Vec<_> = (0..16).map(one).collect();
                all.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(kept.len(), 1, "{kept:?}");
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }
}
