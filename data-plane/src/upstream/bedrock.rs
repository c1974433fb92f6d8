//! Where a model of Bedrock is asked, and the signature that goes there.
//!
//! Rule: a model's name is one segment of the path, whatever is in it; a region inside of an ARN wins over the configured
//! one. A bearer token is never beside a signature.

use super::address::push_segment;
use super::sigv4::{Signer, Unsigned};
use aws_credential_types::Credentials;
use helix_shared::aws::bedrock_host;
use helix_shared::time::UnixMicros;
use http::{HeaderMap, Uri};

const SERVICE: &str = "bedrock";

/// Returns the path of an operation (`/converse`) on a model; `None` for a name that would climb or is empty.
pub fn model_path(model: &str, operation: &str) -> Option<String> {
    let mut path = "/model/".to_owned();
    push_segment(&mut path, model)?;
    path.push_str(operation);
    Some(path)
}

/// Returns the region inside of an ARN.
pub fn region_of(model: &str) -> Option<&str> {
    let mut parts = model.strip_prefix("arn:")?.split(':');
    let region = parts.nth(2)?;
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (!region.is_empty() && region.bytes().all(is_plain)).then_some(region)
}

/// Returns the host to ask instead of a public one, when the model lives in another region. A private host stays.
pub fn host_for(host: &str, model: &str) -> Option<String> {
    let region = region_of(model)?;
    let is_public = host.starts_with("bedrock-runtime.")
        && (host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn"));
    Some(bedrock_host(region)).filter(|wanted| is_public && wanted != host)
}

/// Signs a request to a model; `configured`: the region where the model's name has none.
///
/// # Errors
/// [`Unsigned`].
pub fn sign(
    credentials: Credentials,
    configured: &str,
    model: &str,
    uri: &Uri,
    headers: &mut HeaderMap,
    body: &[u8],
    now: UnixMicros,
) -> Result<(), Unsigned> {
    let region = region_of(model).unwrap_or(configured);
    Signer { credentials, region, service: SERVICE }.sign(uri, headers, body, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:bedrock:us-west-2:123456789012:application-inference-profile/abc123";

    #[test]
    fn b10_an_arn_is_one_segment() {
        let expected =
            "/model/arn%3Aaws%3Abedrock%3Aus-west-2%3A123456789012%3Aapplication-inference-profile%2Fabc123/converse";
        assert_eq!(model_path(ARN, "/converse").as_deref(), Some(expected));
        let expected = "/model/..%2F..%2Fx%3Fy%23z/converse-stream";
        assert_eq!(model_path("../../x?y#z", "/converse-stream").as_deref(), Some(expected));
        assert_eq!((model_path("..", "/invoke"), model_path("", "/invoke")), (None, None));
    }

    #[test]
    fn b30_the_host_follows_the_arn() {
        let public = "bedrock-runtime.eu-central-1.amazonaws.com";
        assert_eq!(host_for(public, ARN).as_deref(), Some("bedrock-runtime.us-west-2.amazonaws.com"));
        assert_eq!(host_for(public, "amazon.nova-lite-v1:0"), None);
        assert_eq!(host_for("vpce-1.example", ARN), None, "a private endpoint stays");
        assert_eq!(region_of(ARN), Some("us-west-2"));
        assert_eq!(region_of("arn:aws:bedrock:evil.com/:1:x"), None);
    }
}
