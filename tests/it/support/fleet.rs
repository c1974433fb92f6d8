//! A control plane and its data planes, each a process of its own, joined by a token over TCP.
//!
//! Rule: the control plane keeps its port across restarts, as a service name does; data planes take any.

use super::gateway::Gateway;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// What data planes of these tests present.
pub(crate) const JOIN_TOKEN: &str = "hxj_canary_join_token_0123456789";

/// Runs a control plane with the objects of `yaml`.
pub(crate) fn control_plane(folder: &Path, yaml: &str) -> Gateway {
    let port = lasting_port();
    let server = format!("{{ listen: 127.0.0.1:0, ops_listen: 127.0.0.1:0, plane_listen: 127.0.0.1:{port} }}");
    let head = format!("version: 1\nserver: {server}\nplane: {{ join_token: {JOIN_TOKEN} }}\n");
    write(folder, &format!("{head}{yaml}"));
    Gateway::start(folder, "control-plane")
}

/// Runs a data plane; it may have no configuration yet when this returns.
pub(crate) fn data_plane(folder: &Path, control_url: &str, join_token: &str) -> Gateway {
    write(
        folder,
        &format!(
            "version: 1\nserver: {{ listen: 127.0.0.1:0, ops_listen: 127.0.0.1:0 }}\n\
             control_plane: {{ url: \"{control_url}\", join_token: {join_token} }}\nlogging: {{ level: debug }}\n"
        ),
    );
    Gateway::start(folder, "data-plane")
}

fn write(folder: &Path, yaml: &str) {
    std::fs::create_dir_all(folder).expect("the folder can be made");
    std::fs::write(folder.join("gateway.yaml"), yaml).expect("the folder is writable");
}

/// A port that the system gives to nobody by itself, so that it is still free after a restart.
fn lasting_port() -> u16 {
    // Tests of one process run side by side: each call begins elsewhere.
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let place = std::process::id().wrapping_mul(16).wrapping_add(CALLS.fetch_add(1, Ordering::Relaxed));
    let first = u16::try_from(place % 10_000).expect("below 10,000");
    let ports = (0..10_000).map(|step| 20_000 + (first + step) % 10_000);
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    ports.into_iter().find(is_free).expect("a free port")
}
