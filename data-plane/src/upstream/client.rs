//! A pooled HTTP client for each backend, with its credential ready as a header.
//!
//! Rule: connections outlive configuration changes: a backend whose address and limits stay keeps its pool, also when its
//! credential changes, so that no stream in flight breaks.

use super::address::{Address, push_segment};
use super::bedrock;
use super::body::Pieces;
use super::identity::{Identities, Identity, Proof, Trouble};
use super::pool::{Pool, Responding};
use super::sigv4::Unsigned;
use crate::settings::Surroundings;
use crate::tasks::Tasks;
use bytes::Bytes;
use helix_shared::provider::{AuthScheme, HttpVersion, PathForm};
use helix_shared::snapshot::view::Backend;
use helix_shared::time::{Clock, UnixMicros};
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use http::{Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The version of Anthropic's API as Vertex AI hosts it.
const VERTEX_VERSION: &str = "vertex-2023-10-16";

/// A backend with its connections.
#[derive(Debug)]
pub struct Upstream {
    /// The backend.
    pub backend: Arc<Backend>,
    pool: Arc<Pool>,
    address: Address,
    credential: Option<(HeaderName, HeaderValue)>,
    /// For a credential that is issued for a time.
    identity: Option<Arc<Identity>>,
    name_header: Option<HeaderValue>,
    in_flight: AtomicU32,
}

/// Makes upstreams that share one TLS configuration.
#[derive(Debug, Clone)]
pub struct Upstreams {
    tls: rustls::ClientConfig,
    identities: Identities,
}

/// A request cannot be vouched for.
#[derive(Debug, thiserror::Error)]
pub enum Unauthorized {
    /// No credential can be had.
    #[error("there is no credential")]
    Credential(#[from] Trouble),
    /// The key makes no signature.
    #[error("there is no signature")]
    Signature(#[from] Unsigned),
}

/// One request at a backend; counted until dropped.
#[derive(Debug)]
pub struct InFlight(Arc<Upstream>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Upstreams {
    /// Uses the roots of the machine beside the bundled ones. Credentials that are issued for a time are renewed in `tasks`.
    pub fn new(surroundings: &Surroundings, clock: Arc<dyn Clock>, tasks: Tasks) -> Self {
        let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let mut roots = roots;
        let native = rustls_native_certs::load_native_certs();
        for error in &native.errors {
            tracing::warn!(%error, "a root certificate of this machine cannot be read");
        }
        let (_, ignored) = roots.add_parsable_certificates(native.certs);
        if ignored > 0 {
            tracing::debug!(ignored, "root certificates of this machine were not usable");
        }
        let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Self { identities: Identities::new(tls.clone(), surroundings, clock, tasks), tls }
    }

    /// The certificates that are believed.
    pub fn tls(&self) -> rustls::ClientConfig {
        self.tls.clone()
    }

    /// Returns an upstream for each backend, reusing connections of those that stay where they were.
    pub fn for_backends(&self, backends: &[Arc<Backend>], before: Option<&Vec<Arc<Upstream>>>) -> Vec<Arc<Upstream>> {
        backends.iter().map(|backend| self.for_backend(backend, before)).collect()
    }

    fn for_backend(&self, backend: &Arc<Backend>, before: Option<&Vec<Arc<Upstream>>>) -> Arc<Upstream> {
        let same_place = |old: &&Arc<Upstream>| {
            old.backend.id == backend.id
                && old.backend.base_url == backend.base_url
                && old.backend.connect_timeout == backend.connect_timeout
                && old.backend.http_version == backend.http_version
        };
        let old = before.and_then(|before| before.iter().find(same_place));
        if let Some(old) = old
            && old.backend.api_key == backend.api_key
            && old.backend.kind == backend.kind
            && old.backend.api_version == backend.api_version
            && old.backend.first_byte_timeout == backend.first_byte_timeout
            && old.backend.idle_timeout == backend.idle_timeout
            && old.backend.total_timeout == backend.total_timeout
            && old.backend.max_in_flight == backend.max_in_flight
        {
            return Arc::clone(old);
        }
        let address = Address::of(backend);
        let pool = old.map_or_else(|| self.pool(backend, &address), |old| Arc::clone(&old.pool));
        // A token outlives a change of limits.
        let same_identity =
            |old: &&Arc<Upstream>| old.backend.api_key == backend.api_key && old.backend.kind == backend.kind;
        let identity = match old.filter(same_identity) {
            Some(old) => old.identity.clone(),
            None => self.identities.of(backend).map(Arc::new),
        };
        Arc::new(Upstream::new(Arc::clone(backend), address, pool, identity))
    }

    fn pool(&self, backend: &Backend, address: &Address) -> Arc<Pool> {
        let (version, limit) = (backend.http_version, backend.connect_timeout);
        let (scheme, authority) = address.origin();
        let connector = connector(self.tls.clone(), version, limit);
        Arc::new(Pool::new(connector, version, scheme.clone(), authority.clone(), limit))
    }
}

/// Makes connections over TCP, with TLS where the address says so, that offer the versions of HTTP which are allowed.
pub(super) fn connector(
    tls: rustls::ClientConfig,
    version: HttpVersion,
    connect_timeout: Duration,
) -> HttpsConnector<HttpConnector> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(Some(connect_timeout));
    http.set_happy_eyeballs_timeout(Some(Duration::from_millis(300)));
    http.set_keepalive(Some(Duration::from_secs(60)));
    let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    match version {
        HttpVersion::Auto => https.enable_http1().enable_http2().wrap_connector(http),
        HttpVersion::One => https.enable_http1().wrap_connector(http),
        HttpVersion::Two => https.enable_http2().wrap_connector(http),
    }
}

impl Upstream {
    fn new(backend: Arc<Backend>, address: Address, pool: Arc<Pool>, identity: Option<Arc<Identity>>) -> Self {
        let key = backend.api_key.as_ref().filter(|key| !key.is_empty());
        let credential = key.filter(|_| identity.is_none()).and_then(|key| {
            let (name, value) = match backend.kind.facts().auth {
                AuthScheme::Bearer => (AUTHORIZATION, HeaderValue::from_bytes(&[b"Bearer ", key.expose()].concat())),
                AuthScheme::ApiKey => (HeaderName::from_static("api-key"), HeaderValue::from_bytes(key.expose())),
                AuthScheme::XApiKey => (HeaderName::from_static("x-api-key"), HeaderValue::from_bytes(key.expose())),
                AuthScheme::XGoogApiKey => {
                    (HeaderName::from_static("x-goog-api-key"), HeaderValue::from_bytes(key.expose()))
                }
            };
            let mut value = value.ok()?;
            value.set_sensitive(true);
            Some((name, value))
        });
        Self {
            pool,
            address,
            credential,
            identity,
            name_header: HeaderValue::from_str(backend.id.as_str()).ok(),
            in_flight: AtomicU32::new(0),
            backend,
        }
    }

    /// Claims a place among the requests in flight; `None`: the backend is at its limit.
    pub fn enter(self: &Arc<Self>) -> Option<InFlight> {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let claimed = InFlight(Arc::clone(self));
        let is_free = self.backend.max_in_flight.is_none_or(|most| before < most);
        is_free.then_some(claimed)
    }

    /// The address of an operation (`/chat/completions`) on a model at this backend; `None` when the parts make no URL.
    pub fn uri(&self, path: &'static str, model: &str, query: Option<&str>) -> Option<Uri> {
        self.address.uri(path, model, query)
    }

    /// The address of something that the backend keeps, by its id; `None` when the parts make no URL.
    pub fn kept_uri(&self, collection: &str, id: &str, suffix: &str, query: Option<&str>) -> Option<Uri> {
        let mut path = format!("{collection}/");
        push_segment(&mut path, id)?;
        path.push_str(suffix);
        self.address.uri_of(&path, query)
    }

    /// The address of an operation (`/converse`) on a model of Bedrock at this backend; `None` when the parts make no URL.
    pub fn model_uri(&self, model: &str, operation: &str) -> Option<Uri> {
        let uri = self.address.uri_of(&bedrock::model_path(model, operation)?, None)?;
        let Some(host) = bedrock::host_for(uri.host()?, model) else { return Some(uri) };
        let mut parts = uri.into_parts();
        parts.authority = host.parse().ok();
        Uri::from_parts(parts).ok()
    }

    /// Whether what is asked here is priced as in a region.
    pub fn is_regional(&self) -> bool {
        self.address.is_regional()
    }

    /// Whether the API's version stands in bodies instead of headers, with a model of Anthropic's.
    pub fn hosted_version(&self) -> Option<&'static str> {
        (self.backend.kind.facts().paths == PathForm::Vertex).then_some(VERTEX_VERSION)
    }

    /// Whether [`Self::authorize`] has something to do.
    pub fn has_identity(&self) -> bool {
        self.identity.is_some()
    }

    /// Vouches for a request with a credential that is issued for a time: its token, or a signature over `body`. Waits only
    /// when nothing valid is held.
    ///
    /// # Errors
    /// [`Unauthorized`].
    pub async fn authorize(
        &self,
        request: &mut Request<Pieces>,
        model: &str,
        body: Option<&Bytes>,
        now: UnixMicros,
    ) -> Result<(), Unauthorized> {
        let Some(identity) = &self.identity else { return Ok(()) };
        match identity.proof().await? {
            Proof::Token(value) => {
                request.headers_mut().insert(AUTHORIZATION, value);
            }
            Proof::Keys(keys) => {
                let (uri, body) = (request.uri().clone(), body.map_or(&[][..], |body| body));
                bedrock::sign(keys, identity.region(), model, &uri, request.headers_mut(), body, now)?;
            }
        }
        Ok(())
    }

    /// Forgets a credential that the provider says is over, unless it was issued after this use of it; `false` when there is
    /// no other to be had.
    pub fn renew_key(&self, used_us: u64) -> bool {
        self.identity.as_ref().is_some_and(|identity| identity.forget(used_us))
    }

    /// The backend's name as a header's value.
    pub fn name_header(&self) -> Option<&HeaderValue> {
        self.name_header.as_ref()
    }

    /// Sends a request, adding the credential.
    pub fn send(&self, mut request: Request<Pieces>) -> Responding {
        if let Some((name, value)) = &self.credential {
            request.headers_mut().insert(name.clone(), value.clone());
        }
        self.pool.send(request)
    }
}
