//! Whoever waits for the database may leave at any moment: nothing is stuck afterwards.

use crate::support::{TestDb, acquire, ask, on_every_database};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Polls a future so many times, then drops it, wherever it is.
struct Cut<F> {
    future: Pin<Box<F>>,
    polls: usize,
    /// Whether it is dropped at once after its last poll, or when the next answer has arrived and nobody reads it.
    at_once: bool,
}

impl<F: Future> Future for Cut<F> {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        if self.polls == 0 {
            return Poll::Ready(false);
        }
        self.polls -= 1;
        match self.future.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending => {
                if self.polls == 0 && self.at_once {
                    context.waker().wake_by_ref();
                }
                Poll::Pending
            }
        }
    }
}

/// More than any pool has connections, for each place at which a transaction can be cut.
const EACH: usize = 24;

on_every_database! {
    async fn a_transaction_that_is_left_in_the_middle_blocks_no_connection(test: &TestDb) {
        let mut polls = 1;
        loop {
            let mut ended = 0;
            for number in 0..EACH {
                let db = test.db.clone();
                let reads = async move {
                    let mut tx = db.read().await.unwrap();
                    tx.head_revision().await.unwrap();
                    tx.changes_since(0, 100).await.unwrap();
                    tx.rollback().await.unwrap();
                };
                let cut = Cut { future: Box::pin(reads), polls, at_once: number % 2 == 0 };
                ended += usize::from(cut.await);
                let (db, asks) = (test.db.clone(), vec![ask("b", 1_000_000, 1, 1)]);
                let writes = async move { acquire(&db, 1, asks).await.unwrap().len() };
                let cut = Cut { future: Box::pin(writes), polls, at_once: number % 2 == 1 };
                ended += usize::from(cut.await);
            }
            if ended == 2 * EACH || polls == 64 {
                break;
            }
            polls += 1;
        }
        // Every connection of the pools is to be had, and answers.
        let mut held = Vec::new();
        for _ in 0..4 {
            let mut tx = test.db.read().await.unwrap();
            tx.head_revision().await.unwrap();
            held.push(tx);
        }
        drop(held);
        let asks = vec![ask("b", 1_000_000, 1, 1)];
        assert_eq!(acquire(&test.db, 2, asks).await.unwrap().len(), 1);
        test.db.close().await;
        assert_eq!(test.db.open_connections(), 0, "a connection never came back");
    }
}
