//! Who the provider is over TLS: a certificate that vouches for itself, made at its start.
//!
//! Rule: nothing is kept; whoever is to believe it is given the certificate.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

/// A certificate with its key, ready to be presented.
pub(crate) struct Identity {
    pub(crate) acceptor: TlsAcceptor,
    /// The certificate, as PEM.
    pub(crate) certificate: String,
}

impl Identity {
    /// Makes one for this machine that offers these protocols.
    pub(crate) fn new(offers: &[&str]) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let key = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()])?;
        let secret = PrivateKeyDer::Pkcs8(key.signing_key.serialize_der().into());
        let config = ServerConfig::builder().with_no_client_auth();
        let mut config = config.with_single_cert(vec![key.cert.der().clone()], secret)?;
        config.alpn_protocols = offers.iter().map(|offer| offer.as_bytes().to_vec()).collect();
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), certificate: key.cert.pem() })
    }
}
