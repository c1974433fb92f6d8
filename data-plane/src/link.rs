//! The way to the control plane: one channel, who we are, and how to wait before trying again.
//!
//! Rule: every stream of this plane reconnects by the same full-jitter backoff, so a control plane that comes back is not
//! met by a herd. The join token travels as bearer metadata; client certificates will be set where the channel is made.

use crate::tasks::Tasks;
use helix_proto::v1;
use helix_shared::secret::Secret;
use std::sync::Arc;
use std::time::Duration;
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::transport::Channel;

/// Version of the protocol between the planes.
pub const PROTOCOL: u32 = 1;

/// Shared by every stream. Cloning shares the channel.
#[derive(Clone, Debug)]
pub struct Link {
    channel: Channel,
    node: Arc<v1::Node>,
    credentials: Credentials,
    tasks: Tasks,
}

/// Adds the join token to each call.
#[derive(Clone, Debug)]
pub struct Credentials(Option<MetadataValue<tonic::metadata::Ascii>>);

/// A join token that cannot travel as metadata.
#[derive(Debug, thiserror::Error)]
#[error("the join token has characters that no header can carry")]
pub struct BadToken;

/// Full-jitter exponential backoff: 250 ms to 30 s, back to the start after a minute of a healthy stream.
#[derive(Debug)]
pub struct Backoff {
    ceiling: Duration,
}

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

impl Link {
    /// Joins the parts.
    ///
    /// # Errors
    /// [`BadToken`].
    pub fn new(channel: Channel, node: v1::Node, join_token: Option<&Secret>, tasks: Tasks) -> Result<Self, BadToken> {
        let bearer = |token: &Secret| {
            let text = token.expose_str().ok_or(BadToken)?;
            let mut value = MetadataValue::try_from(format!("Bearer {}", text.trim())).map_err(|_| BadToken)?;
            value.set_sensitive(true);
            Ok(value)
        };
        let credentials = Credentials(join_token.map(bearer).transpose()?);
        Ok(Self { channel, node: Arc::new(node), credentials, tasks })
    }

    /// The channel.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Who we are.
    pub fn node(&self) -> v1::Node {
        (*self.node).clone()
    }

    /// This process start.
    pub fn incarnation(&self) -> &str {
        &self.node.incarnation
    }

    /// What proves it.
    pub fn credentials(&self) -> Credentials {
        self.credentials.clone()
    }

    /// A fresh backoff.
    pub fn backoff(&self) -> Backoff {
        Backoff { ceiling: FIRST_PAUSE }
    }

    /// Resolves when shutdown begins.
    pub async fn stopped(&self) {
        self.tasks.stopping().cancelled().await;
    }
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        if let Some(bearer) = &self.0 {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        Ok(request)
    }
}

impl Backoff {
    /// Tells how long the last connection lived.
    pub fn note_connection(&mut self, lived: Duration) {
        if lived >= HEALTHY_AFTER {
            self.ceiling = FIRST_PAUSE;
        }
    }

    /// The next pause: anything between nothing and the ceiling, which doubles.
    pub fn next_pause(&mut self) -> Duration {
        let ceiling = self.ceiling;
        self.ceiling = (ceiling * 2).min(LONGEST_PAUSE);
        // A UUIDv7 carries 62 random bits: enough for jitter, without another source of randomness.
        let (_, random) = uuid::Uuid::now_v7().as_u64_pair();
        let share = u32::try_from(random & 0xffff).unwrap_or(0);
        ceiling * share / 0xffff
    }
}
