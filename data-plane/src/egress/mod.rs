//! The only way out to addresses that somebody else chose: images and documents that a request names by URL.
//!
//! Rule: the address that is connected to is the one that was judged; every hop of a redirect is judged anew; what comes is
//! bounded in size, time and kind, and nothing of the gateway or its caller goes along. Who may ask is decided elsewhere:
//! only for a route that fetches URLs. Not here: connections to providers, whose addresses the operator wrote down.

mod destination;
mod exchange;
mod kind;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use destination::Destination;
use helix_shared::egress::Network;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use url::Url;

/// The largest file that is fetched.
pub const MOST_FILE_BYTES: usize = 20 << 20;
/// How long a file may take, with its redirects.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often a server may send us on.
const MOST_REDIRECTS: u32 = 3;
/// How many files are fetched at once, in all.
const AT_ONCE: usize = 64;
/// How many names are looked up at once, also those that nobody waits for any more.
const LOOKUPS_AT_ONCE: usize = 64;
const MOST_URL_BYTES: usize = 8 << 10;

/// A file as it was fetched.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// What it is, by its content: an image, a PDF or plain text.
    pub media_type: &'static str,
    /// Its content.
    pub bytes: Bytes,
}

/// Prints no content.
impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "File({}, {} bytes)", self.media_type, self.bytes.len())
    }
}

/// Why a file was not fetched. Says nothing of what stands behind an address that may not be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It cannot be read, or another scheme was meant.
    #[error("must be a URL with https:// or http:// and a host")]
    NoUrl,
    /// A user or a password stands in it.
    #[error("must not carry a user or a password")]
    Credentials,
    /// Its host, or one it was sent on to, is not public.
    #[error("leads to an address that is not public (egress.allow_networks names the exceptions)")]
    NotPublic,
    /// Its host has no address, or does not answer.
    #[error("cannot be reached")]
    Unreachable,
    /// It is sent on and on.
    #[error("is redirected too often")]
    Redirects,
    /// The server says no.
    #[error("is answered with status {0}")]
    Status(u16),
    /// It is nothing that a model can look at.
    #[error("is no PNG, JPEG, GIF, WebP, PDF or plain text")]
    Kind,
    /// There is too much of it.
    #[error("is larger than {} MiB", MOST_FILE_BYTES >> 20)]
    TooLarge,
    /// There is no room for it now.
    #[error("finds no room in the gateway now")]
    NoRoom,
    /// It takes too long.
    #[error("does not arrive in time")]
    TooSlow,
}

/// Finds the addresses of a host and port; it may take as long as it likes.
trait Names: std::fmt::Debug + Send + Sync {
    fn resolve(&self, host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>>;
}

/// As the machine does.
#[derive(Debug)]
struct System;

impl Names for System {
    fn resolve(&self, host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
        Ok((host, port).to_socket_addrs()?.collect())
    }
}

/// Lookups of names, on threads that others need, too.
///
/// Rule: whoever waits may give up, the lookup does not: it keeps its place for as long as it has its thread.
#[derive(Debug, Clone)]
struct Lookups {
    names: Arc<dyn Names>,
    places: Arc<Semaphore>,
}

impl Lookups {
    fn new(names: Arc<dyn Names>) -> Self {
        Self { names, places: Arc::new(Semaphore::new(LOOKUPS_AT_ONCE)) }
    }

    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Denied> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| Denied::NoRoom)?;
        let (names, host) = (Arc::clone(&self.names), host.to_owned());
        let lookup = tokio::task::spawn_blocking(move || {
            let addresses = names.resolve(&host, port);
            drop(place);
            addresses
        });
        lookup.await.ok().and_then(Result::ok).ok_or(Denied::Unreachable)
    }
}

/// Fetches, and refuses to.
#[derive(Debug, Clone)]
pub struct Guard {
    tls: Arc<rustls::ClientConfig>,
    allowed: Arc<[Network]>,
    lookups: Lookups,
    patience: Duration,
    places: Arc<Semaphore>,
}

impl Guard {
    /// One that also reaches these networks, which need not be public.
    pub fn new(tls: rustls::ClientConfig, allowed: &[Network]) -> Self {
        Self {
            tls: Arc::new(tls),
            allowed: allowed.into(),
            lookups: Lookups::new(Arc::new(System)),
            patience: PATIENCE,
            places: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Fetches the file behind a URL. `has_room` is asked before more is kept, with the bytes of all that would be.
    ///
    /// # Errors
    /// [`Denied`].
    pub async fn fetch(&self, url: &str, has_room: &mut (dyn FnMut(usize) -> bool + Send)) -> Result<File, Denied> {
        if url.len() > MOST_URL_BYTES {
            return Err(Denied::NoUrl);
        }
        let url = Url::parse(url).map_err(|_| Denied::NoUrl)?;
        let fetching = async {
            let _place = self.places.acquire().await.map_err(|_| Denied::NoRoom)?;
            self.follow(url, has_room).await
        };
        tokio::time::timeout(self.patience, fetching).await.map_err(|_| Denied::TooSlow)?
    }

    async fn follow(&self, mut url: Url, has_room: &mut (dyn FnMut(usize) -> bool + Send)) -> Result<File, Denied> {
        for _ in 0..=MOST_REDIRECTS {
            let destination = Destination::of(&url, &self.lookups, &self.allowed).await?;
            match exchange::get(&destination, &self.tls, has_room).await? {
                exchange::Answer::File(file) => return Ok(file),
                exchange::Answer::Elsewhere(place) => url = url.join(&place).map_err(|_| Denied::NoUrl)?,
            }
        }
        Err(Denied::Redirects)
    }
}
