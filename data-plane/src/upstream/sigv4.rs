//! The signature of a request to Amazon.
//!
//! Rule: what is signed is what is sent: the address as it goes out, the bytes of the body, and of the headers only those
//! that nobody on the way may change. A signature is made for one attempt and one moment.

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use helix_shared::time::UnixMicros;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Uri};
use std::time::{Duration, UNIX_EPOCH};

/// A request cannot be signed. The reason names no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request cannot be signed")]
pub struct Unsigned;

/// Whose signature, and for where.
#[derive(Debug)]
pub struct Signer<'a> {
    /// The key.
    pub credentials: Credentials,
    /// The region.
    pub region: &'a str,
    /// The service.
    pub service: &'a str,
}

impl Signer<'_> {
    /// Signs a `POST` of these bytes and puts the signature into the headers.
    ///
    /// # Errors
    /// [`Unsigned`] when key or address cannot stand in a request.
    pub fn sign(&self, uri: &Uri, headers: &mut HeaderMap, body: &[u8], now: UnixMicros) -> Result<(), Unsigned> {
        let identity = self.credentials.clone().into();
        let since = u64::try_from(now.get()).map_err(|_| Unsigned)?;
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region)
            .name(self.service)
            .time(UNIX_EPOCH + Duration::from_micros(since))
            .settings(SigningSettings::default())
            .build()
            .map_err(|_| Unsigned)?
            .into();
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let signed = content_type.map(|value| ("content-type", value)).into_iter();
        let request = SignableRequest::new("POST", uri.to_string(), signed, SignableBody::Bytes(body));
        let output = sign(request.map_err(|_| Unsigned)?, &params).map_err(|_| Unsigned)?;
        let (instructions, _) = output.into_parts();
        for (name, value) in instructions.headers() {
            let mut value = HeaderValue::from_str(value).map_err(|_| Unsigned)?;
            value.set_sensitive(name != "x-amz-date");
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Unsigned)?;
            headers.insert(name, value);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"messages":[{"role":"user","content":[{"text":"hi"}]}]}"#;

    /// 2026-01-02T03:04:05Z.
    const MOMENT: UnixMicros = UnixMicros::new(1_767_323_045_000_000);

    fn signature(path: &str, token: Option<&str>) -> String {
        let (id, secret) = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        let credentials = Credentials::new(id, secret, token.map(str::to_owned), None, "test");
        let signer = Signer { credentials, region: "us-east-1", service: "bedrock" };
        let uri = format!("https://bedrock-runtime.us-east-1.amazonaws.com{path}").parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        signer.sign(&uri, &mut headers, BODY, MOMENT).unwrap();
        assert_eq!(headers["x-amz-date"], "20260102T030405Z");
        assert_eq!(headers.contains_key("x-amz-security-token"), token.is_some());
        assert!(headers["authorization"].is_sensitive());
        headers["authorization"].to_str().unwrap().rsplit('=').next().unwrap().to_owned()
    }

    #[test]
    fn b01_an_encoded_path_is_encoded_again() {
        let path = "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse";
        assert_eq!(signature(path, None), "6b18186d5132c71249f705372d764ddfd8a9890b662230fb355af564c05e1c35");
    }

    #[test]
    fn b02_a_raw_colon_and_a_session_token() {
        let path = "/model/us.anthropic.claude-sonnet-4-5-20250929-v1:0/converse";
        assert_eq!(signature(path, Some("TOKEN")), "e3b6ba681e57078112f0539c4a0e6adcf46ad4d7da9eed25efe41dce3a8af62e");
    }

    #[test]
    fn b03_an_arn() {
        let path =
            "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aapplication-inference-profile%2Fabc123/converse";
        assert_eq!(signature(path, None), "7cbb4adca1347f179aaabc6c098ae0f82a7c8d20d1ec18c23cd021b4865f799f");
    }
}
