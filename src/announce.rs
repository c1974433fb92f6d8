//! What a role says when it is ready: on a terminal the lines an operator needs, elsewhere one line of JSON.
//!
//! Rule: it is printed once, after everything it names works, and shows no secret but the one-time setup link.

use crate::cli::context::paint;
use crate::config::Loaded;
use crate::output::Tone;
use crate::{mapping, output};
use helix_control_plane::ControlPlane;
use helix_data_plane::DataPlane;
use helix_shared::catalog::Catalog;
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;

/// How long the setup link lives.
const LINK_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Says that both planes are ready.
///
/// # Errors
/// When the setup link cannot be made.
pub(crate) async fn serve(
    loaded: &Loaded,
    control: &ControlPlane,
    plane: &DataPlane,
    plane_address: SocketAddr,
) -> anyhow::Result<()> {
    let link = setup_link(loaded, control).await?;
    let providers: Vec<&str> = loaded.settings.providers.keys().map(String::as_str).collect();
    let models = known_models(loaded);
    let nodes = control.plane_server().connected_nodes().len();
    let ops = plane.ops_address.unwrap_or(loaded.settings.server.ops_listen);
    let here = base_url(loaded, plane.address);
    let rows = [
        ("Listening on", format!("http://{}", plane.address)),
        ("OpenAI clients", format!("OPENAI_BASE_URL={here}/v1")),
        ("Anthropic clients", format!("ANTHROPIC_BASE_URL={here}")),
        ("Providers", listed(&providers)),
        ("Models", format!("{models} known")),
        ("Sign-in", "API keys".to_owned()),
        ("Data planes", format!("{nodes} connected; others may join at http://{plane_address}")),
        ("Database", loaded.settings.storage.url.to_string()),
        ("Metrics", format!("http://{ops}/metrics")),
    ];
    let value = json!({
        "event": "started", "role": "serve", "listen": plane.address.to_string(),
        "opsListen": plane.ops_address.map(|address| address.to_string()), "planeListen": plane_address.to_string(),
        "providers": providers, "models": models, "identityProviders": [], "dataPlanes": nodes, "setupLink": link,
    });
    say("", &rows, link.as_deref(), &value);
    Ok(())
}

/// Says that the control plane is ready.
///
/// # Errors
/// When the setup link cannot be made.
pub(crate) async fn control_plane(
    loaded: &Loaded,
    control: &ControlPlane,
    (pages, planes, ops): (SocketAddr, SocketAddr, SocketAddr),
) -> anyhow::Result<()> {
    let link = setup_link(loaded, control).await?;
    let settings = &loaded.settings;
    let providers: Vec<&str> = settings.providers.keys().map(String::as_str).collect();
    let models = known_models(loaded);
    let token = match settings.plane.join_token {
        Some(_) => format!("as plane.join_token says ({})", loaded.origin("plane.join_token")),
        None => settings.data_dir.join("join-token").display().to_string(),
    };
    let rows = [
        ("Pages", base_url(loaded, pages)),
        ("Data planes", format!("join at http://{planes}")),
        ("Join token", token),
        ("Providers", listed(&providers)),
        ("Models", format!("{models} known")),
        ("Sign-in", "API keys".to_owned()),
        ("Database", settings.storage.url.to_string()),
        ("Metrics", format!("http://{ops}/metrics")),
    ];
    let nodes = control.plane_server().connected_nodes().len();
    let value = json!({
        "event": "started", "role": "control-plane", "listen": pages.to_string(), "opsListen": ops.to_string(),
        "planeListen": planes.to_string(),
        "providers": providers, "models": models, "identityProviders": [], "dataPlanes": nodes, "setupLink": link,
    });
    say(" · control plane", &rows, link.as_deref(), &value);
    Ok(())
}

/// Says that a data plane listens. It may still wait for its first configuration.
pub(crate) fn data_plane(loaded: &Loaded, plane: &DataPlane) {
    let control = loaded.settings.control_plane.url.as_ref().map_or("", url::Url::as_str).trim_end_matches('/');
    let ops = plane.ops_address.unwrap_or(loaded.settings.server.ops_listen);
    let here = base_url(loaded, plane.address);
    let rows = [
        ("Listening on", format!("http://{}", plane.address)),
        ("OpenAI clients", format!("OPENAI_BASE_URL={here}/v1")),
        ("Anthropic clients", format!("ANTHROPIC_BASE_URL={here}")),
        ("Control plane", control.to_owned()),
        ("Metrics", format!("http://{ops}/metrics")),
    ];
    let value = json!({
        "event": "started", "role": "data-plane", "listen": plane.address.to_string(),
        "opsListen": plane.ops_address.map(|address| address.to_string()),
    });
    say(" · data plane", &rows, None, &value);
}

fn say(role: &str, rows: &[(&str, String)], link: Option<&str>, value: &serde_json::Value) {
    let paint = paint();
    let title = format!("Helix Gateway {}{role}", mapping::VERSION);
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = format!("\n{}\n\n", paint.tone(Tone::Strong, &title));
    for (name, row) in rows {
        text.push_str(&format!("  {}  {row}\n", paint.tone(Tone::Quiet, &format!("{name:<width$}"))));
    }
    if let Some(link) = link {
        let call = "Nobody administers this gateway yet. Open this link once, within a day:";
        text.push_str(&format!("\n  {}\n  {}\n", paint.tone(Tone::Warning, call), paint.tone(Tone::Strong, link)));
    }
    text.push_str(&format!("\n  {}\n ", paint.tone(Tone::Quiet, "Ctrl-C stops it; requests in flight finish first.")));
    output::answer(false, &text, value);
}

/// The one-time link of an instance that nobody administers.
async fn setup_link(loaded: &Loaded, control: &ControlPlane) -> anyhow::Result<Option<String>> {
    let link = control.app().create_setup_link(LINK_LIFETIME).await?;
    Ok(link.map(|link| link.url(&mapping::public_url(loaded))))
}

/// The URL that clients are to use: the configured one, or the address that was bound.
fn base_url(loaded: &Loaded, bound: SocketAddr) -> String {
    match loaded.settings.server.public_url {
        Some(_) => mapping::public_url(loaded),
        None => format!("http://{}", mapping::reachable(bound)),
    }
}

fn listed(providers: &[&str]) -> String {
    if providers.is_empty() {
        return "none yet: set OPENAI_API_KEY or ANTHROPIC_API_KEY, or write providers into gateway.yaml".to_owned();
    }
    providers.join(", ")
}

/// How many models the routes and the catalogue know for the configured providers.
fn known_models(loaded: &Loaded) -> usize {
    let kinds: std::collections::BTreeSet<&str> =
        loaded.settings.providers.values().map(|provider| provider.kind.as_str()).collect();
    let bundled: usize = kinds.into_iter().map(|kind| Catalog::bundled().models(kind).count()).sum();
    bundled + loaded.settings.models.len()
}
