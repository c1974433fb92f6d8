//! Where a URL leads: its host, and the addresses of it that may be connected to.
//!
//! Rule: one parser reads the URL; a name is resolved once, and a single address that may not be reached denies all of
//! them, so that nobody can mix one in and hope.

use super::{Denied, Lookups};
use helix_shared::egress::{Network, may_reach};
use std::net::{IpAddr, SocketAddr};
use url::{Host, Url};

/// Names of what is near, whatever they resolve to.
const NEAR: [&str; 6] = ["localhost", "local", "internal", "localdomain", "home.arpa", "intranet"];

/// A host that may be asked.
#[derive(Debug)]
pub(super) struct Destination {
    /// Its addresses, judged; one at least.
    pub(super) addresses: Vec<SocketAddr>,
    /// As it is called in `Host` and in certificates, without brackets.
    pub(super) host: String,
    /// The value of `Host`.
    pub(super) authority: String,
    pub(super) is_tls: bool,
    /// Path and query.
    pub(super) path: String,
}

impl Destination {
    /// Judges a URL.
    ///
    /// # Errors
    /// [`Denied`].
    pub(super) async fn of(url: &Url, lookups: &Lookups, allowed: &[Network]) -> Result<Self, Denied> {
        let is_tls = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(Denied::NoUrl),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Denied::Credentials);
        }
        let port = url.port_or_known_default().unwrap_or(if is_tls { 443 } else { 80 });
        let (host, addresses) = match url.host().ok_or(Denied::NoUrl)? {
            Host::Ipv4(address) => (address.to_string(), vec![SocketAddr::from((address, port))]),
            Host::Ipv6(address) => (address.to_string(), vec![SocketAddr::from((address, port))]),
            Host::Domain(name) => (name.to_owned(), resolve(name, port, lookups, allowed).await?),
        };
        if addresses.is_empty() {
            return Err(Denied::Unreachable);
        }
        if !addresses.iter().all(|address| may_reach(plain(address.ip()), allowed)) {
            return Err(Denied::NotPublic);
        }
        let authority = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
            (None, _) => return Err(Denied::NoUrl),
        };
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        Ok(Self { addresses, host, authority, is_tls, path: format!("{}{query}", url.path()) })
    }
}

async fn resolve(name: &str, port: u16, lookups: &Lookups, allowed: &[Network]) -> Result<Vec<SocketAddr>, Denied> {
    let plain = name.trim_end_matches('.').to_ascii_lowercase();
    let is_near = NEAR.iter().any(|near| plain == *near || plain.ends_with(&format!(".{near}")));
    if is_near && allowed.is_empty() {
        return Err(Denied::NotPublic);
    }
    lookups.resolve(name, port).await
}

/// An address without what only a machine knows of it.
fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}
