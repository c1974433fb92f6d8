//! `UsageBatch` with its records left as the bytes they were journalled as.
//!
//! Rule: the same bytes on the wire as `helix.plane.v1.UsageBatch` (an embedded message and a byte string are encoded
//! alike), so that shipping a record neither decodes nor encodes it again.

use crate::v1;
use prost::bytes::Bytes;
use tonic::codegen::http::uri::PathAndQuery;

/// A batch whose records are encoded `UsageRecord`s.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RawUsageBatch {
    /// Who sends.
    #[prost(message, optional, tag = "1")]
    pub node: Option<v1::Node>,
    /// Incarnation that the records belong to.
    #[prost(string, tag = "2")]
    pub incarnation: String,
    /// Encoded records, in order.
    #[prost(bytes = "bytes", repeated, tag = "3")]
    pub records: Vec<Bytes>,
}

/// Opens `UsageIngest.Report` with raw batches.
///
/// # Errors
/// What the control plane or the way to it says.
pub async fn report<S, I>(
    channel: tonic::service::interceptor::InterceptedService<tonic::transport::Channel, I>,
    batches: S,
) -> Result<tonic::Streaming<v1::UsageAck>, tonic::Status>
where
    S: tokio_stream::Stream<Item = RawUsageBatch> + Send + 'static,
    I: tonic::service::Interceptor,
{
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready()
        .await
        .map_err(|error| tonic::Status::unavailable(format!("the control plane is not reachable: {error}")))?;
    let codec = tonic_prost::ProstCodec::<RawUsageBatch, v1::UsageAck>::default();
    let path = PathAndQuery::from_static("/helix.plane.v1.UsageIngest/Report");
    let answers = grpc.streaming(tonic::Request::new(batches), path, codec).await?;
    Ok(answers.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    #[test]
    fn a_raw_batch_is_the_same_bytes_as_the_typed_one() {
        let record = v1::UsageRecord { seq: 7, request_id: "r".into(), cost_nano_usd: 5, ..v1::UsageRecord::default() };
        let raw = RawUsageBatch {
            node: Some(v1::Node { node_id: "n".into(), ..v1::Node::default() }),
            incarnation: "i".into(),
            records: vec![record.encode_to_vec().into()],
        };
        let typed = v1::UsageBatch { node: raw.node.clone(), incarnation: "i".into(), records: vec![record] };
        assert_eq!(raw.encode_to_vec(), typed.encode_to_vec());
    }
}
