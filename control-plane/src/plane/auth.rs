//! Who may speak the plane protocol: the in-memory pipe of the same process, or a holder of the join token.
//!
//! Rule: this is the one place that decides it. A certificate's identity would be checked here too, as a third kind of
//! trust, before any service sees a message. It does not decide what a node may do.

use crate::secrets::JoinToken;
use tonic::service::Interceptor;
use tonic::{Request, Status};

/// What a connection must show.
#[derive(Debug, Clone)]
pub(crate) enum Trust {
    /// Nothing: it is a pipe inside of this process.
    InProcess,
    /// The join token with every call.
    JoinToken(JoinToken),
}

impl Interceptor for Trust {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        match self {
            Self::InProcess => Ok(request),
            Self::JoinToken(token) => {
                let header = request.metadata().get("authorization");
                let presented = header.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
                match presented {
                    Some(presented) if token.matches(presented) => Ok(request),
                    Some(_) => Err(Status::unauthenticated("the join token is not the one of this control plane")),
                    None => Err(Status::unauthenticated("a join token is required: authorization: Bearer TOKEN")),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use helix_shared::secret::Secret;
    use tonic::Code;

    #[test]
    fn only_the_exact_join_token_passes() {
        let token = JoinToken::new(&Secret::new("hxj_0123456789abcdef")).unwrap();
        let call = |header: Option<&str>| {
            let mut request = Request::new(());
            if let Some(header) = header {
                request.metadata_mut().insert("authorization", header.parse().unwrap());
            }
            Trust::JoinToken(token.clone()).call(request).map(|_| ()).map_err(|status| status.code())
        };
        assert_eq!(call(Some("Bearer hxj_0123456789abcdef")), Ok(()));
        for wrong in [None, Some("Bearer "), Some("Bearer hxj_0123456789abcdeg"), Some("hxj_0123456789abcdef")] {
            assert_eq!(call(wrong), Err(Code::Unauthenticated), "{wrong:?}");
        }
        assert!(Trust::InProcess.call(Request::new(())).is_ok());
    }
}
