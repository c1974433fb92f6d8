//! Files that a request names by URL, fetched where its route says so and the backend needs their content.
//!
//! Rule: a file is fetched once a request, whatever the number of tries; its content takes room and counts as often as the
//! request names it, for as often it is sent. What went wrong is said with the field at fault, never with the URL. Not here: where may be fetched from; that is the guard's.

use super::attempts::Ask;
use super::body_room::Claim;
use super::refusal::Refusal;
use super::wire;
use crate::config::current::Place;
use crate::egress::{Denied, File};
use crate::gateway::Gateway;
use crate::records::draft::Draft;
use futures_util::{StreamExt as _, TryStreamExt as _};
use helix_llm::{Fetched, Wanted};
use helix_shared::error_code::ErrorCode;
use std::sync::Arc;
use std::time::Duration;

/// Most files of one request.
const MOST_FILES: usize = 20;
/// Most bytes of all of them.
const MOST_BYTES: u64 = 64 << 20;
/// How long all of them may take.
const MOST_TIME: Duration = Duration::from_secs(30);
/// How many are fetched at once.
const AT_ONCE: usize = 4;
const STAGE: &str = "request";

/// What was fetched for a request.
#[derive(Debug)]
pub(super) struct Files {
    fetched: Fetched,
    rooms: Vec<Claim>,
    count: usize,
    bytes: u64,
}

impl Files {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self { fetched: Fetched::default(), rooms: Vec::new(), count: 0, bytes: 0 }
    }

    /// What is here.
    pub(super) fn fetched(&self) -> &Fetched {
        &self.fetched
    }

    /// Fetches what a place needs and is not here yet.
    ///
    /// # Errors
    /// `invalid_request` with the field whose file cannot be had; `overloaded` without room.
    pub(super) async fn fetch(&mut self, draft: &mut Draft, ask: &Ask, place: &Place) -> Result<(), Refusal> {
        let mut wanted = wire::wanted(ask, place)?;
        wanted.retain(|file| !self.fetched.holds(&file.url));
        if wanted.is_empty() {
            return Ok(());
        }
        let fetching = tokio::time::timeout(MOST_TIME, self.fetch_all(draft, wanted)).await;
        fetching.unwrap_or_else(|_| {
            let message = format!(
                "The files that the request names by URL did not arrive within {} seconds.",
                MOST_TIME.as_secs()
            );
            Err(Refusal::new(STAGE, ErrorCode::InvalidRequest, message))
        })
    }

    async fn fetch_all(&mut self, draft: &mut Draft, wanted: Vec<Wanted>) -> Result<(), Refusal> {
        self.count += wanted.len();
        if self.count > MOST_FILES {
            let message = format!("The request names more than {MOST_FILES} files by URL.");
            return Err(Refusal::new(STAGE, ErrorCode::InvalidRequest, message));
        }
        let gateway = Arc::clone(draft.gateway());
        let (count, mut arrived) = (wanted.len(), 0_u64);
        // Each future owns what it needs: they are polled in turn.
        let fetching = futures_util::stream::iter(wanted.into_iter().map(|file| fetch_one(Arc::clone(&gateway), file)));
        let mut fetching = fetching.buffered(AT_ONCE);
        while let Some((file, content, room)) = fetching.try_next().await? {
            let bytes = u64::try_from(content.bytes.len()).unwrap_or(u64::MAX);
            arrived = arrived.saturating_add(bytes);
            self.bytes = self.bytes.saturating_add(bytes.saturating_mul(file.mentions));
            if self.bytes > MOST_BYTES {
                let message =
                    format!("The files that the request names by URL are larger than {} MiB.", MOST_BYTES >> 20);
                return Err(Refusal::new(STAGE, ErrorCode::InvalidRequest, message).with_param(Some(&file.param)));
            }
            self.rooms.push(room);
            self.fetched.insert(file.url, content.media_type, &content.bytes);
        }
        draft.stage(STAGE, "fetched", format_args!("{count} files by URL, {arrived} bytes"));
        Ok(())
    }
}

async fn fetch_one(gateway: Arc<Gateway>, file: Wanted) -> Result<(Wanted, File, Claim), Refusal> {
    let mut room = gateway.body_room.claim();
    // As it comes, and as text in base64: once beside the body and once in it.
    let copies = file.mentions.saturating_mul(4);
    let mut has_room = |bytes: usize| room.grow_to(u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(copies));
    match gateway.egress.fetch(&file.url, &mut has_room).await {
        Ok(content) => Ok((file, content, room)),
        Err(Denied::NoRoom) => {
            let message = "The gateway has no room for the files of this request; try again in a moment.";
            Err(Refusal::new(STAGE, ErrorCode::Overloaded, message).with_retry_after(1))
        }
        Err(denied) => Err(refuse(&file.param, denied)),
    }
}

fn refuse(param: &str, denied: Denied) -> Refusal {
    let message = format!("The file that `{param}` names by URL was not fetched: it {denied}.");
    Refusal::new(STAGE, ErrorCode::InvalidRequest, message).with_param(Some(param))
}
