//! The escrow stream: grants never pass a limit, what a dead incarnation did not spend comes free, soft budgets only tell.

use crate::support::{Fixture, HandClock, budget, file, introduction, settings, soon};
use helix_control_plane::settings::{FileConfig, FileScope};
use helix_control_plane::{ControlPlane, Settings};
use helix_proto::v1;
use helix_proto::v1::budget_escrow_client::BudgetEscrowClient;
use helix_proto::v1::escrow_report::Step;
use helix_shared::budget::Mode;
use helix_shared::time::Clock;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

pub(crate) const USD: i64 = 1_000_000_000;

pub(crate) struct Escrow {
    to: mpsc::Sender<v1::EscrowReport>,
    from: Streaming<v1::EscrowUpdate>,
}

impl Escrow {
    pub(crate) async fn open(fixture: &Fixture, id: &str) -> Self {
        Self::open_as(fixture, introduction(id)).await
    }

    async fn open_as(fixture: &Fixture, node: v1::Node) -> Self {
        let (to, reports) = mpsc::channel(64);
        to.send(v1::EscrowReport { node: Some(node), step: None }).await.unwrap();
        let mut client = BudgetEscrowClient::new(fixture.channel().await);
        let from = soon(client.exchange(ReceiverStream::new(reports))).await.unwrap().into_inner();
        Self { to, from }
    }

    async fn say(&self, step: Step) {
        self.to.send(v1::EscrowReport { node: None, step: Some(step) }).await.unwrap();
    }

    pub(crate) async fn hear(&mut self) -> v1::escrow_update::Step {
        soon(self.from.message()).await.unwrap().expect("the stream has ended").step.unwrap()
    }

    pub(crate) async fn acquire(&mut self, ask: u64, wants: &[(&str, i64, i64)]) -> Vec<v1::Grant> {
        let wants = wants.iter().map(|(budget, need, want)| v1::Want {
            account: Some(v1::AccountKey { budget_id: (*budget).to_owned(), period_start_us: 0 }),
            need_total_nano_usd: *need,
            want_total_nano_usd: *want,
            least_total_nano_usd: 0,
        });
        self.acquire_of(ask, wants.collect()).await
    }

    async fn acquire_of(&mut self, ask: u64, wants: Vec<v1::Want>) -> Vec<v1::Grant> {
        self.say(Step::Acquire(v1::Acquire { ask, wants })).await;
        let v1::escrow_update::Step::Granted(granted) = self.hear_but_recalls().await else { panic!("not Granted") };
        assert_eq!(granted.ask, ask);
        granted.totals
    }

    async fn hear_but_recalls(&mut self) -> v1::escrow_update::Step {
        loop {
            match self.hear().await {
                v1::escrow_update::Step::Recall(_) => {}
                step => return step,
            }
        }
    }

    async fn report(&mut self, balances: Vec<v1::Balance>) -> Vec<v1::Grant> {
        self.declare(balances, Vec::new()).await.totals
    }

    async fn declare(&mut self, balances: Vec<v1::Balance>, pasts: Vec<v1::Past>) -> v1::Acknowledged {
        self.say(Step::Balances(v1::Balances { balances, epoch: 1, pasts })).await;
        let v1::escrow_update::Step::Acknowledged(told) = self.hear_but_recalls().await else {
            panic!("not Acknowledged")
        };
        told
    }
}

pub(crate) fn hard(usd: i64) -> FileConfig {
    FileConfig { budgets: vec![budget(FileScope::Instance, usd, Mode::Hard)], ..file() }
}

pub(crate) const BUDGET: &str = "instance/monthly";

fn want(total: i64) -> v1::Want {
    v1::Want {
        account: Some(v1::AccountKey { budget_id: BUDGET.to_owned(), period_start_us: 0 }),
        need_total_nano_usd: total,
        want_total_nano_usd: total,
        least_total_nano_usd: total,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_of_two_nodes_never_pass_the_limit_and_a_close_frees_the_rest() {
    let fixture = Fixture::new(hard(1)).await;
    let mut one = Escrow::open(&fixture, "one").await;
    let mut two = Escrow::open(&fixture, "two").await;
    let granted = one.acquire(1, &[(BUDGET, USD * 7 / 10, USD * 7 / 10)]).await;
    assert_eq!(granted[0].granted_total_nano_usd, USD * 7 / 10);
    assert_eq!((granted[0].limit_nano_usd, granted[0].available_nano_usd), (USD, USD * 3 / 10));
    assert!(granted[0].period_ends_in_ms > 0 && granted[0].period_end_us > 0);
    let granted = two.acquire(1, &[(BUDGET, USD, USD)]).await;
    assert_eq!((granted[0].granted_total_nano_usd, granted[0].available_nano_usd), (USD * 3 / 10, 0));

    let account = granted[0].account.clone();
    let spent = v1::Balance { account, spent_total_nano_usd: USD * 2 / 10, ..v1::Balance::default() };
    let past = |is_whole, last_seq| v1::Past {
        incarnation: "one-1".to_owned(),
        finals: vec![spent.clone()],
        is_whole,
        last_seq,
    };
    // a node may not close what another one opened, nor speak for it
    let told = two.declare(Vec::new(), vec![past(true, 0)]).await;
    assert_eq!((told.pasts.len(), told.pasts[0].is_whole), (1, false));
    let mut stranger = Escrow::open_as(&fixture, v1::Node { node_id: "two".to_owned(), ..introduction("one") }).await;
    let refused = soon(stranger.from.message()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
    let next = v1::Node { incarnation: "one-2".to_owned(), ..introduction("one") };
    let mut again = Escrow::open_as(&fixture, next).await;
    // a journal that may lack its end, or whose records have not all arrived, closes nothing
    for torn in [past(false, 0), past(true, 3)] {
        let told = again.declare(Vec::new(), vec![torn]).await;
        assert_eq!((told.pasts.len(), told.pasts[0].is_whole), (1, false));
    }
    let told = again.declare(Vec::new(), vec![past(true, 0)]).await;
    assert!(told.pasts[0].is_whole);
    assert_eq!(told.pasts[0].finals[0].spent_total_nano_usd, USD * 2 / 10);
    let granted = two.acquire(2, &[(BUDGET, USD, USD)]).await;
    assert_eq!(granted[0].granted_total_nano_usd, USD * 8 / 10);
    // the closed incarnation is granted nothing more
    let wants = vec![want(USD)];
    one.say(Step::Acquire(v1::Acquire { ask: 2, wants })).await;
    assert!(matches!(one.hear_but_recalls().await, v1::escrow_update::Step::Sealed(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_asks_at_once_are_granted_the_limit_and_not_more() {
    let fixture = Fixture::new(hard(1)).await;
    let mut nodes = Vec::new();
    for number in 0..20 {
        let id = format!("n{number}");
        nodes.push((Escrow::open(&fixture, &id).await, id));
    }
    let asks = nodes.iter_mut().map(|(node, _)| node.acquire(1, &[(BUDGET, USD / 8, USD / 2)]));
    let granted = futures_util::future::join_all(asks).await;
    let total: i64 = granted.iter().map(|totals| totals[0].granted_total_nano_usd).sum();
    assert_eq!(total, USD);
}

#[tokio::test(flavor = "multi_thread")]
async fn returned_escrow_is_granted_again_and_totals_heal_a_lost_grant() {
    let fixture = Fixture::new(hard(1)).await;
    let mut one = Escrow::open(&fixture, "one").await;
    let mut two = Escrow::open(&fixture, "two").await;
    let account = one.acquire(1, &[(BUDGET, USD, USD)]).await[0].account.clone();
    let balance = v1::Balance {
        account,
        spent_total_nano_usd: USD / 4,
        returned_total_nano_usd: USD / 4,
        ..v1::Balance::default()
    };
    let totals = one.report(vec![balance]).await;
    assert_eq!(totals[0].granted_total_nano_usd, USD);
    assert_eq!(two.acquire(1, &[(BUDGET, USD, USD)]).await[0].granted_total_nano_usd, USD / 4);
    // a node that lost the grant and says nothing is told its totals
    assert_eq!(two.report(Vec::new()).await[0].granted_total_nano_usd, USD / 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soft_budget_is_told_and_not_granted_and_an_unknown_one_is_left_out() {
    let fixture = Fixture::new(file()).await;
    let mut node = Escrow::open(&fixture, "one").await;
    let soft = "user:jane@corp.example/monthly";
    let totals = node.acquire(1, &[(soft, USD, USD), ("gone", USD, USD)]).await;
    assert_eq!(totals.len(), 1);
    assert_eq!((totals[0].granted_total_nano_usd, totals[0].limit_nano_usd), (0, 10 * USD));
    assert!(totals[0].period_end_us > 0);
    assert_eq!(node.report(Vec::new()).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ask_that_still_counts_in_a_period_that_is_over_is_granted_its_shortfall_in_the_present_one() {
    let folder = tempfile::tempdir().unwrap();
    // 2026-11-30T23:59:59Z
    let clock = Arc::new(HandClock(AtomicI64::new(1_796_083_199_000_000)));
    let settings = Settings { file: hard(1), ..settings(folder.path()) };
    let control = ControlPlane::start(settings, Arc::clone(&clock) as Arc<dyn Clock>).await.unwrap();
    let fixture = Fixture::around(folder, control);
    let mut node = Escrow::open(&fixture, "one").await;
    let november = node.acquire(1, &[(BUDGET, USD * 6 / 10, USD * 6 / 10)]).await.remove(0);
    assert_eq!(november.period_ends_in_ms, 1_000);
    clock.0.fetch_add(1_000_000, Ordering::SeqCst);
    let want = v1::Want {
        account: november.account.clone(),
        need_total_nano_usd: USD * 7 / 10,
        want_total_nano_usd: USD * 7 / 10,
        least_total_nano_usd: 0,
    };
    let december = node.acquire_of(2, vec![want]).await.remove(0);
    assert_ne!(december.account, november.account);
    assert_eq!(december.account.unwrap().period_start_us, november.period_end_us);
    assert_eq!(december.granted_total_nano_usd, USD / 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_hold_free_is_recalled_for_a_node_that_needs_it() {
    let fixture = Fixture::new(hard(1)).await;
    let mut one = Escrow::open(&fixture, "one").await;
    let mut two = Escrow::open(&fixture, "two").await;
    let granted = one.acquire(1, &[(BUDGET, USD, USD)]).await.remove(0);
    assert_eq!(granted.granted_total_nano_usd, USD);
    two.say(Step::Acquire(v1::Acquire { ask: 1, wants: vec![want(USD / 2)] })).await;
    let v1::escrow_update::Step::Granted(short) = two.hear().await else { panic!("not Granted") };
    assert_eq!((short.totals[0].granted_total_nano_usd, short.totals[0].recallable_nano_usd), (0, USD));
    let v1::escrow_update::Step::Recall(recall) = one.hear().await else { panic!("not Recall") };
    assert_eq!(recall.account, granted.account);
    let back = v1::Balance {
        account: granted.account,
        spent_total_nano_usd: USD / 10,
        returned_total_nano_usd: USD * 9 / 10,
        granted_total_nano_usd: USD,
        rate_nano_usd: 0,
    };
    one.report(vec![back]).await;
    assert_eq!(two.acquire(2, &[(BUDGET, USD / 2, USD / 2)]).await[0].granted_total_nano_usd, USD / 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_gives_back_is_there_for_the_ask_that_follows_it_at_once() {
    let fixture = Fixture::new(hard(1)).await;
    let mut node = Escrow::open(&fixture, "one").await;
    let granted = node.acquire(1, &[(BUDGET, USD, USD)]).await.remove(0);
    for round in 2..30 {
        let balance = v1::Balance {
            account: granted.account.clone(),
            returned_total_nano_usd: USD * (round - 1),
            granted_total_nano_usd: USD * (round - 1),
            ..v1::Balance::default()
        };
        node.say(Step::Balances(v1::Balances { balances: vec![balance], epoch: 1, pasts: Vec::new() })).await;
        let ask = u64::try_from(round).unwrap();
        node.say(Step::Acquire(v1::Acquire { ask, wants: vec![want(USD * round)] })).await;
        let granted = loop {
            if let v1::escrow_update::Step::Granted(granted) = node.hear().await {
                break granted;
            }
        };
        assert_eq!((granted.ask, granted.totals[0].granted_total_nano_usd), (ask, USD * round));
    }
}
