//! A credential that is issued for a time, held and renewed.
//!
//! Rule: whoever needs one gets what is held while it is valid, at once. It is renewed ahead of its end, in the background
//! and by one at a time; only with nothing valid does a request wait, and everybody who waits gets the same answer. After a
//! failure the issuer is left alone for a moment. One that is refused is forgotten, but seldom: an issuer that gives out what
//! is refused is not asked once a request.

use super::trouble::Trouble;
use crate::tasks::Tasks;
use arc_swap::ArcSwapOption;
use helix_shared::time::Clock;
use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;

/// How long before its end a credential is renewed, if it lives long enough.
const AHEAD: Duration = Duration::from_secs(300);
/// What is left of a life is not counted on: clocks and requests on the way.
const MARGIN: Duration = Duration::from_secs(10);
/// How long an issuer that failed is left alone, with nothing valid held.
const PAUSE: Duration = Duration::from_secs(1);
/// The same while something valid is held; also between renewals of an issuer that gives out what it gave before, and from
/// one credential that is forgotten to the next.
const LONG_PAUSE: Duration = Duration::from_secs(30);

/// Where credentials come from.
pub(super) trait Source: Debug + Send + Sync + 'static {
    /// What is issued.
    type Value: Clone + Debug + Send + Sync;

    /// Asks for one.
    fn fetch(&self) -> impl Future<Output = Result<Issued<Self::Value>, Trouble>> + Send;
}

/// A credential as it was issued.
#[derive(Debug, Clone)]
pub(super) struct Issued<T> {
    /// The credential.
    pub(super) value: T,
    /// How long it is valid; `None`: until it is refused.
    pub(super) valid_for: Option<Duration>,
}

/// A credential and how it is renewed.
#[derive(Debug)]
pub(super) struct Kept<S: Source> {
    source: S,
    held: ArcSwapOption<Held<S::Value>>,
    /// Whoever holds it asks the issuer; it keeps the last failure.
    asking: Mutex<Option<(u64, Trouble)>>,
    is_renewing: AtomicBool,
    /// No renewal begins before, on the clock that never goes back.
    rests_until_us: AtomicU64,
    /// Nothing is forgotten before, on the same clock.
    keeps_until_us: AtomicU64,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
}

#[derive(Debug)]
struct Held<T> {
    value: T,
    since_us: u64,
    renew_at_us: Option<u64>,
    ends_at_us: Option<u64>,
}

impl<S: Source> Kept<S> {
    /// Holds nothing yet.
    pub(super) fn new(source: S, clock: Arc<dyn Clock>, tasks: Tasks) -> Self {
        Self {
            source,
            held: ArcSwapOption::empty(),
            asking: Mutex::new(None),
            is_renewing: AtomicBool::new(false),
            rests_until_us: AtomicU64::new(0),
            keeps_until_us: AtomicU64::new(0),
            clock,
            tasks,
        }
    }

    /// Returns a valid credential.
    ///
    /// # Errors
    /// [`Trouble`] when none is held and none can be had.
    pub(super) async fn get(self: &Arc<Self>) -> Result<S::Value, Trouble> {
        if let Some(held) = self.valid() {
            if held.renew_at_us.is_some_and(|at| self.clock.monotonic_us() >= at) {
                self.renew_behind();
            }
            return Ok(held.value.clone());
        }
        self.ask().await
    }

    /// Forgets a credential that was refused, unless it was issued after it was used for what was refused, or took the place
    /// of one that was just forgotten. Returns whether there is, or may be, another one than was refused.
    pub(super) fn forget(&self, used_us: u64) -> bool {
        // Read first: whoever forgets says so afterwards.
        let may_forget = self.clock.monotonic_us() >= self.keeps_until_us.load(Ordering::Acquire);
        let Some(held) = self.held.load_full().filter(|held| held.since_us <= used_us) else { return true };
        if may_forget {
            // Only this one: another may have come meanwhile.
            self.held.compare_and_swap(&held, None);
            self.keeps_until_us.store(self.later(LONG_PAUSE), Ordering::Release);
        }
        may_forget
    }

    fn valid(&self) -> Option<Arc<Held<S::Value>>> {
        self.held.load_full().filter(|held| held.ends_at_us.is_none_or(|end| self.clock.monotonic_us() < end))
    }

    async fn ask(&self) -> Result<S::Value, Trouble> {
        let mut failed = self.asking.lock().await;
        if let Some(held) = self.valid() {
            return Ok(held.value.clone());
        }
        if let Some((_, trouble)) = failed.as_ref().filter(|(until, _)| self.clock.monotonic_us() < *until) {
            return Err(trouble.clone());
        }
        match self.source.fetch().await {
            Ok(issued) => {
                *failed = None;
                let value = issued.value.clone();
                self.hold(issued);
                Ok(value)
            }
            Err(trouble) => {
                *failed = Some((self.later(PAUSE), trouble.clone()));
                Err(trouble)
            }
        }
    }

    fn hold(&self, issued: Issued<S::Value>) {
        let renewal = |life: Duration| life.saturating_sub(AHEAD).max(life / 2);
        let held = Held {
            value: issued.value,
            since_us: self.clock.monotonic_us(),
            renew_at_us: issued.valid_for.map(|life| self.later(renewal(life))),
            ends_at_us: issued.valid_for.map(|life| self.later(life.saturating_sub(MARGIN))),
        };
        self.held.store(Some(Arc::new(held)));
    }

    fn renew_behind(self: &Arc<Self>) {
        if self.clock.monotonic_us() < self.rests_until_us.load(Ordering::Acquire)
            || self.is_renewing.swap(true, Ordering::AcqRel)
        {
            return;
        }
        let this = Arc::clone(self);
        self.tasks.spawn_until_stop("credential renewal", async move {
            match this.source.fetch().await {
                Ok(issued) => this.hold(issued),
                Err(error) => {
                    tracing::warn!(%error, "a credential cannot be renewed yet; the one that is held is still valid");
                }
            }
            this.rests_until_us.store(this.later(LONG_PAUSE), Ordering::Release);
            this.is_renewing.store(false, Ordering::Release);
        });
    }

    fn later(&self, duration: Duration) -> u64 {
        self.clock.monotonic_us().saturating_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use helix_shared::time::UnixMicros;
    use std::sync::atomic::AtomicU32;

    /// Issues numbers, and fails while told so.
    #[derive(Debug, Default)]
    struct Counter {
        asked: AtomicU32,
        fails: AtomicBool,
    }

    impl Source for Arc<Counter> {
        type Value = u32;

        async fn fetch(&self) -> Result<Issued<u32>, Trouble> {
            let value = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            if self.fails.load(Ordering::SeqCst) {
                return Err(Trouble::content("the issuer", "is away"));
            }
            Ok(Issued { value, valid_for: Some(Duration::from_secs(3600)) })
        }
    }

    /// A clock that is moved by hand.
    #[derive(Debug, Default)]
    struct Hand(AtomicU64);

    impl Hand {
        fn advance(&self, seconds: u64) {
            self.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
        }
    }

    impl Clock for Hand {
        fn now(&self) -> UnixMicros {
            UnixMicros::default()
        }

        fn monotonic_us(&self) -> u64 {
            self.0.load(Ordering::SeqCst)
        }
    }

    struct Stage {
        counter: Arc<Counter>,
        clock: Arc<Hand>,
        kept: Arc<Kept<Arc<Counter>>>,
    }

    fn stage() -> Stage {
        let (counter, clock) = (Arc::new(Counter::default()), Arc::new(Hand::default()));
        let kept = Arc::new(Kept::new(Arc::clone(&counter), Arc::clone(&clock) as Arc<dyn Clock>, Tasks::default()));
        Stage { counter, clock, kept }
    }

    impl Stage {
        fn asked(&self) -> u32 {
            self.counter.asked.load(Ordering::SeqCst)
        }

        /// Lets the renewal in the background end.
        async fn settle(&self) {
            while self.kept.is_renewing.load(Ordering::SeqCst) {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn g25_a_hundred_requests_ask_the_issuer_once() {
        let stage = stage();
        let all = futures_util::future::join_all((0..100).map(|_| stage.kept.get())).await;
        assert!(all.iter().all(|got| got == &Ok(1)));
        assert_eq!(stage.asked(), 1);
    }

    #[tokio::test]
    async fn a_hundred_requests_share_one_failure_and_the_issuer_is_left_alone() {
        let stage = stage();
        stage.counter.fails.store(true, Ordering::SeqCst);
        let all = futures_util::future::join_all((0..100).map(|_| stage.kept.get())).await;
        assert!(all.iter().all(Result::is_err));
        assert_eq!(stage.asked(), 1);
        stage.counter.fails.store(false, Ordering::SeqCst);
        stage.clock.advance(1);
        assert_eq!(stage.kept.get().await, Ok(2));
    }

    #[tokio::test]
    async fn renewal_is_ahead_of_the_end_and_nobody_waits_for_it() {
        let stage = stage();
        assert_eq!(stage.kept.get().await, Ok(1));
        stage.clock.advance(3200);
        assert_eq!((stage.kept.get().await, stage.asked()), (Ok(1), 1));
        stage.clock.advance(200);
        let all = futures_util::future::join_all((0..100).map(|_| stage.kept.get())).await;
        assert!(all.iter().all(|got| got == &Ok(1)), "the one that is held, at once");
        stage.settle().await;
        assert_eq!((stage.kept.get().await, stage.asked()), (Ok(2), 2));
    }

    #[tokio::test]
    async fn an_issuer_that_is_away_is_asked_seldom_and_costs_nothing_while_the_held_one_is_valid() {
        let stage = stage();
        assert_eq!(stage.kept.get().await, Ok(1));
        stage.counter.fails.store(true, Ordering::SeqCst);
        stage.clock.advance(3400);
        for _ in 0..20 {
            assert_eq!(stage.kept.get().await, Ok(1));
            stage.settle().await;
            stage.clock.advance(1);
        }
        assert_eq!(stage.asked(), 2);
        stage.clock.advance(200);
        assert!(stage.kept.get().await.is_err(), "after the end nothing is valid");
    }

    #[tokio::test]
    async fn what_was_refused_is_forgotten_once() {
        let stage = stage();
        assert_eq!(stage.kept.get().await, Ok(1));
        stage.clock.advance(1);
        let used_us = stage.clock.monotonic_us();
        stage.clock.advance(1);
        assert!(stage.kept.forget(used_us));
        assert!(stage.kept.forget(used_us), "who comes second may try again, too");
        assert_eq!(stage.kept.get().await, Ok(2));
        assert!(stage.kept.forget(used_us));
        assert_eq!((stage.kept.get().await, stage.asked()), (Ok(2), 2), "the new one was not refused");
    }

    #[tokio::test]
    async fn an_issuer_whose_credentials_are_refused_is_asked_seldom_and_little_is_tried_again() {
        let stage = stage();
        let mut again = 0;
        for _ in 0..100 {
            assert!(stage.kept.get().await.is_ok());
            again += u32::from(stage.kept.forget(stage.clock.monotonic_us()));
            stage.clock.advance(1);
        }
        assert_eq!((stage.asked(), again), (5, 4), "at first, and after each time 30 seconds passed");
    }
}
