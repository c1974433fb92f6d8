//! The `Report` stream: records to the control plane, at least once.
//!
//! Rule: a record leaves the journal only after the control plane said it is committed. A lost answer means sending again;
//! the receiver counts nothing twice.

use super::journal::Journal;
use super::recover::{OldJournal, Reader, Shipment};
use crate::budget::escrowing::Escrow;
use crate::link::Link;
use futures_util::StreamExt;
use helix_proto::raw::{RawUsageBatch, report};
use prost::Message;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

const BATCH_RECORDS: usize = 500;
const LOOK_EVERY: Duration = Duration::from_millis(200);
const ACK_TIMEOUT: Duration = Duration::from_secs(30);

/// Ships the journal of this process until shutdown, then what is left.
pub async fn ship_own(journal: Arc<Journal>, link: Link, drained: tokio_util::sync::CancellationToken) {
    let mut shipper = Shipper::new(&journal);
    let mut backoff = link.backoff();
    loop {
        let started = tokio::time::Instant::now();
        let is_last = drained.is_cancelled();
        match shipper.run(&journal, &link, Until::Token(&drained)).await {
            Ok(()) => return,
            Err(status) if is_last => {
                tracing::warn!(%status, "records are left in the journal; the next start ships them");
                return;
            }
            Err(status) => tracing::debug!(%status, "the record stream ended; it will be opened again"),
        }
        backoff.note_connection(started.elapsed());
        tokio::select! {
            () = tokio::time::sleep(backoff.next_pause()) => {}
            () = drained.cancelled() => {}
        }
    }
}

/// Ships the journals of processes that died, seals their incarnations and deletes them. One that cannot be shipped keeps
/// no other back.
pub async fn ship_old(journals: Vec<OldJournal>, link: Link, escrow: Escrow) {
    futures_util::future::join_all(journals.into_iter().map(|old| ship_one(old, &link, &escrow))).await;
}

async fn ship_one(old: OldJournal, link: &Link, escrow: &Escrow) {
    let incarnation = old.journal.identity().incarnation.clone();
    tracing::info!(
        incarnation,
        open_intents = old.closed_intents,
        is_whole = old.is_whole,
        "shipping the journal of an earlier process"
    );
    let mut shipper = Shipper::new(&old.journal);
    shipper.has_holes = old.is_damaged;
    let mut backoff = link.backoff();
    loop {
        match shipper.run(&old.journal, link, Until::Shipped).await {
            Ok(()) => break,
            Err(status) => tracing::debug!(%status, incarnation, "an earlier journal could not be shipped yet"),
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.next_pause()) => {}
            () = link.stopped() => return,
        }
    }
    if old.is_whole {
        escrow.close(&incarnation, old.journal.next_seq().saturating_sub(1)).await;
    } else {
        tracing::warn!(incarnation, "the earlier journal may lack its end; its escrow stays counted as spent");
    }
    old.journal.discard();
}

enum Until<'a> {
    /// Everything there is.
    Shipped,
    /// Everything there is once the token is cancelled.
    Token(&'a tokio_util::sync::CancellationToken),
}

struct Shipper {
    reader: Reader,
    acknowledged: u64,
    /// Records are missing for good: what was sent and answered is shipped, also above a number that never comes.
    has_holes: bool,
}

impl Shipper {
    fn new(journal: &Journal) -> Self {
        Self {
            reader: Reader::new(journal.folder(), journal.first_segment()),
            acknowledged: journal.acknowledged(),
            has_holes: false,
        }
    }

    async fn run(&mut self, journal: &Journal, link: &Link, until: Until<'_>) -> Result<(), tonic::Status> {
        // A new stream starts at what is not acknowledged, whatever was sent before.
        self.reader = Reader::new(journal.folder(), journal.first_segment());
        let (batches, receiver) = mpsc::channel::<RawUsageBatch>(1);
        let incarnation = journal.identity().incarnation.clone();
        let mut acks = None;
        let mut receiver = Some(receiver);
        let mut sent = self.acknowledged;
        loop {
            let records = self.next_records(journal, sent)?;
            if records.is_empty() {
                let is_over = match until {
                    Until::Shipped => true,
                    Until::Token(token) => token.is_cancelled(),
                };
                if is_over && (self.has_holes || self.acknowledged + 1 >= journal.next_seq()) {
                    return Ok(());
                }
                match &until {
                    Until::Token(token) if !token.is_cancelled() => {
                        tokio::select! {
                            () = tokio::time::sleep(LOOK_EVERY) => {}
                            () = token.cancelled() => {}
                        }
                    }
                    Until::Token(_) | Until::Shipped => tokio::time::sleep(LOOK_EVERY).await,
                }
                continue;
            }
            sent = records.last().map_or(sent, |record| record.seq);
            let records = records.into_iter().map(|record| record.bytes).collect();
            let batch = RawUsageBatch { node: Some(link.node()), incarnation: incarnation.clone(), records };
            if batches.send(batch).await.is_err() {
                return Err(tonic::Status::unavailable("the record stream is closed"));
            }
            if let Some(receiver) = receiver.take() {
                let outbound = tokio_stream::wrappers::ReceiverStream::new(receiver);
                let channel = tonic::service::interceptor::InterceptedService::new(link.channel(), link.credentials());
                acks = Some(report(channel, outbound).await?);
            }
            let Some(acks) = &mut acks else { return Err(tonic::Status::internal("no answer stream")) };
            while self.acknowledged < sent {
                let ack = tokio::time::timeout(ACK_TIMEOUT, acks.next())
                    .await
                    .map_err(|_| tonic::Status::deadline_exceeded("no acknowledgement in time"))?
                    .ok_or_else(|| tonic::Status::unavailable("the control plane ended the stream"))??;
                if ack.incarnation != incarnation {
                    continue;
                }
                for seq in &ack.rejected_seqs {
                    tracing::error!(seq, "the control plane parked a record as malformed");
                }
                let through_seq = if self.has_holes { sent } else { ack.through_seq };
                if through_seq < sent && through_seq <= self.acknowledged {
                    return Err(tonic::Status::data_loss(format!("records after {} did not arrive", ack.through_seq)));
                }
                self.acknowledged = self.acknowledged.max(through_seq);
                journal.acknowledge(self.acknowledged);
                tokio::time::sleep(Duration::from_millis(u64::from(ack.pause_ms))).await;
            }
        }
    }

    fn next_records(&mut self, journal: &Journal, above: u64) -> Result<Vec<Shipment>, tonic::Status> {
        let unreadable =
            |error: std::io::Error| tonic::Status::internal(format!("the journal cannot be read: {error}"));
        let mut records = self.reader.next_batch(journal.position(), above, BATCH_RECORDS).map_err(unreadable)?;
        // What the disk refused stands between what it took.
        let last = if records.len() < BATCH_RECORDS { u64::MAX } else { records.last().map_or(0, |record| record.seq) };
        let unwritten = journal.unwritten();
        if !unwritten.is_empty() {
            let between = unwritten.into_iter().filter(|record| record.seq > above && record.seq <= last);
            records.extend(between.map(|record| Shipment { seq: record.seq, bytes: record.encode_to_vec().into() }));
            records.sort_by_key(|record| record.seq);
        }
        Ok(records)
    }
}
