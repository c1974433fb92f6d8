//! Single orders of messages that once went wrong; the simulation finds them by chance, these by name.

use super::{NodeEscrow, NodeSettings, NodeStep};
use crate::budget::AccountKey;
use crate::budget::message::{Balance, Report, Standing, Update};
use crate::ids::BudgetId;
use crate::money::NanoUsd;
use crate::time::UnixMicros;

const SECOND: u64 = 1_000_000;

fn nano(amount: i64) -> NanoUsd {
    NanoUsd::new(amount)
}

fn standing(budget: &str, period: i64, granted: i64, ends_in_us: u64) -> Standing {
    Standing {
        account: AccountKey { budget_id: BudgetId::from(budget), period_start: UnixMicros::new(period) },
        granted: nano(granted),
        spent: nano(0),
        returned: nano(0),
        limit: nano(1_000),
        available: nano(0),
        recallable: nano(1_000),
        fleet_spent: nano(0),
        period_end: UnixMicros::new(0),
        period_ends_in_us: ends_in_us,
        horizon_s: 30,
    }
}

fn granted(ask: u64, standings: Vec<Standing>) -> Update {
    Update::Granted { epoch: 1, ask, standings, is_learning: false }
}

fn node() -> NodeEscrow {
    NodeEscrow::new(NodeSettings::default(), Vec::new(), 0)
}

/// What the node says of an account in a heartbeat, if it says anything.
fn heartbeat(node: &mut NodeEscrow, period: i64, now_us: u64) -> Option<Balance> {
    let steps = node.tick(now_us).unwrap();
    let balances = steps.into_iter().find_map(|step| match step {
        NodeStep::Send(Report::Balances { balances, .. }) => Some(balances),
        _ => None,
    });
    balances.expect("a heartbeat").into_iter().find(|balance| balance.account.period_start.get() == period)
}

fn is_admitted(steps: &[NodeStep], expected: u64) -> bool {
    steps.iter().any(|step| matches!(step, NodeStep::Admitted { attempt, .. } if *attempt == expected))
}

#[test]
fn a_period_that_is_over_is_reported_until_the_plane_has_confirmed_it() {
    let (mut node, path) = (node(), [BudgetId::from("b")]);
    node.admit(1, &path, nano(10), 0).unwrap();
    let steps = node.hear(granted(1, vec![standing("b", 100, 10, SECOND)]), 0).unwrap();
    assert!(is_admitted(&steps, 1));
    node.admit(2, &path, nano(5), 2 * SECOND).unwrap();
    let steps = node.hear(granted(2, vec![standing("b", 200, 5, 90 * SECOND)]), 2 * SECOND).unwrap();
    assert!(is_admitted(&steps, 2));
    node.settle(1, super::Ending::Cost(nano(4)), 2 * SECOND).unwrap();
    // every report is lost
    for second in 3..9 {
        let said = heartbeat(&mut node, 100, second * SECOND).expect("nobody has confirmed it");
        assert_eq!((said.spent, said.returned), (nano(4), nano(6)));
    }
    let told = Standing { spent: nano(4), returned: nano(6), ..standing("b", 100, 10, 0) };
    let told = Update::Acknowledged { epoch: 1, standings: vec![told], pasts: Vec::new(), is_learning: false };
    node.hear(told, 9 * SECOND).unwrap();
    assert_eq!(heartbeat(&mut node, 100, 10 * SECOND), None);
}

#[test]
fn what_lies_idle_is_given_back_but_for_what_those_who_wait_need() {
    let mut node = node();
    node.admit(1, &[BudgetId::from("a"), BudgetId::from("b")], nano(10), 0).unwrap();
    // `a` has plenty here, `b` is held by others, who are asked for it
    let standings = vec![standing("a", 100, 100, 90 * SECOND), standing("b", 100, 0, 90 * SECOND)];
    assert!(!is_admitted(&node.hear(granted(1, standings), 0).unwrap(), 1));
    let said = heartbeat(&mut node, 100, SECOND).unwrap();
    assert_eq!((said.account.budget_id.as_str(), said.returned), ("a", nano(90)));
    let steps = node.hear(granted(2, vec![standing("b", 100, 10, 90 * SECOND)]), SECOND).unwrap();
    assert!(is_admitted(&steps, 1), "its part of `a` was kept for it");
}

#[test]
fn a_period_that_begins_earlier_is_adopted_when_the_plane_says_so() {
    let (mut node, path) = (node(), [BudgetId::from("b")]);
    node.admit(1, &path, nano(10), 0).unwrap();
    node.hear(granted(1, vec![standing("b", 200, 10, 90 * SECOND)]), 0).unwrap();
    // the budget's zone was changed: the present period began earlier
    node.admit(2, &path, nano(5), 1).unwrap();
    let steps = node.hear(granted(2, vec![standing("b", 100, 5, 90 * SECOND)]), 1).unwrap();
    assert!(is_admitted(&steps, 2));
    assert_eq!(node.present(&path[0], 2).unwrap().period_start.get(), 100);
    // late news of an older answer does not turn it back
    node.hear(granted(1, vec![standing("b", 200, 10, 90 * SECOND)]), 2).unwrap();
    assert_eq!(node.present(&path[0], 2).unwrap().period_start.get(), 100);
}

#[test]
fn a_recall_gives_back_what_is_free_at_once_and_what_comes_free_as_it_does() {
    let (mut node, path) = (node(), [BudgetId::from("b")]);
    node.admit(1, &path, nano(10), 0).unwrap();
    node.hear(granted(1, vec![standing("b", 100, 50, 90 * SECOND)]), 0).unwrap();
    let account = AccountKey { budget_id: path[0].clone(), period_start: UnixMicros::new(100) };
    let steps = node.hear(Update::Recall { epoch: 1, account: account.clone() }, 1).unwrap();
    let [NodeStep::Send(Report::Balances { balances, .. })] = steps.as_slice() else { panic!("{steps:?}") };
    assert_eq!(balances.first().unwrap().returned, nano(40));
    assert!(node.goes_back(&account, 2));
    let (_, steps) = node.settle(1, super::Ending::Cost(nano(3)), 2).unwrap();
    let [NodeStep::Send(Report::Balances { balances, .. })] = steps.as_slice() else { panic!("{steps:?}") };
    assert_eq!((balances.first().unwrap().spent, balances.first().unwrap().returned), (nano(3), nano(47)));
}

#[test]
fn what_came_free_beside_the_machine_admits_those_who_wait_before_it_goes_back() {
    let (mut node, path) = (node(), [BudgetId::from("b")]);
    node.admit(1, &path, nano(10), 0).unwrap();
    node.hear(granted(1, vec![standing("b", 100, 10, 90 * SECOND)]), 0).unwrap();
    node.hand_over(1);
    node.admit(2, &path, nano(7), 1).unwrap();
    let account = AccountKey { budget_id: path[0].clone(), period_start: UnixMicros::new(100) };
    node.hear(Update::Recall { epoch: 1, account: account.clone() }, 2).unwrap();
    // the first attempt ends beside the machine
    let slot = node.slots.get_mut(&path[0]).unwrap();
    slot.accounts.get_mut(&account.period_start).unwrap().holding.put_back(nano(10)).unwrap();
    let steps = node.came_free(3).unwrap();
    assert!(is_admitted(&steps, 2), "{steps:?}");
    assert_eq!(node.holding(&account).unwrap().returned(), nano(3));
}

/// The asks among the steps.
fn asks(steps: &[NodeStep]) -> Vec<u64> {
    let ask = |step: &NodeStep| match step {
        NodeStep::Send(Report::Acquire { ask, .. }) => Some(*ask),
        _ => None,
    };
    steps.iter().filter_map(ask).collect()
}

#[test]
fn an_answer_that_is_no_verdict_is_asked_again_after_a_pause() {
    let pause_us = NodeSettings::default().ask_again_us;
    let unknown = Vec::new();
    let learning = vec![standing("b", 100, 0, 90 * SECOND)];
    for (standings, is_learning) in [(unknown, false), (learning, true)] {
        let (mut node, path) = (node(), [BudgetId::from("b")]);
        assert_eq!(asks(&node.admit(1, &path, nano(10), 0).unwrap()), [1]);
        let told = Update::Granted { epoch: 1, ask: 1, standings: standings.clone(), is_learning };
        assert_eq!(asks(&node.hear(told, 5).unwrap()), [0_u64; 0], "at once");
        assert_eq!(asks(&node.tick(5 + pause_us - 1).unwrap()), [0_u64; 0], "too early");
        assert_eq!(asks(&node.tick(5 + pause_us).unwrap()), [2]);
        // who comes while an ask is out is asked for as soon as it is answered, unless nobody is granted anything
        node.admit(2, &path, nano(10), 6 + pause_us).unwrap();
        let told = Update::Granted { epoch: 1, ask: 2, standings, is_learning };
        let expected: &[u64] = if is_learning { &[] } else { &[3] };
        assert_eq!(asks(&node.hear(told, 7 + pause_us).unwrap()), expected);
    }
}

#[test]
fn who_pauses_is_not_woken_before_the_pause_is_over() {
    let settings = NodeSettings::default();
    let (mut node, path) = (node(), [BudgetId::from("b")]);
    node.admit(1, &path, nano(10), 0).unwrap();
    let lost_us = settings.ask_timeout_us;
    assert_eq!(asks(&node.tick(lost_us).unwrap()), [2], "the first ask is lost");
    // an answer to it comes when the second one is nearly lost too
    let late_us = 2 * lost_us - 1;
    let told = Update::Granted { epoch: 1, ask: 1, standings: Vec::new(), is_learning: false };
    assert_eq!(asks(&node.hear(told, late_us).unwrap()), [0_u64; 0]);
    assert!(node.wake_at_us() >= late_us + settings.ask_again_us, "{}", node.wake_at_us());
}

#[test]
fn an_account_that_nobody_uses_comes_to_rest_and_is_left_out_of_heartbeats() {
    let (mut node, path) = (node(), [BudgetId::from("b")]);
    node.admit(1, &path, nano(1_000), 0).unwrap();
    node.hear(granted(1, vec![standing("b", 100, 100_000, 9_000 * SECOND)]), 0).unwrap();
    node.settle(1, super::Ending::Cost(nano(400)), 0).unwrap();
    let mut said = heartbeat(&mut node, 100, SECOND).unwrap();
    for second in 2..=70 {
        said = heartbeat(&mut node, 100, second * SECOND).unwrap();
    }
    assert_eq!((said.spent, said.returned), (nano(400), nano(99_600)), "a minute later nothing is kept");
    let told = Standing { spent: said.spent, returned: said.returned, ..standing("b", 100, 100_000, 9_000 * SECOND) };
    let told = Update::Acknowledged { epoch: 1, standings: vec![told], pasts: Vec::new(), is_learning: false };
    node.hear(told, 70 * SECOND).unwrap();
    assert_eq!(heartbeat(&mut node, 100, 71 * SECOND), None);
    // the next request finds the account and asks for more of it
    assert_eq!(asks(&node.admit(2, &path, nano(1_000), 72 * SECOND).unwrap()).len(), 1);
}

#[test]
fn what_went_back_from_here_a_moment_ago_is_not_gone() {
    let (mut node, path) = (node(), [BudgetId::from("b")]);
    node.admit(1, &path, nano(1), 0).unwrap();
    let steps = node.hear(granted(1, vec![standing("b", 100, 100, 90 * SECOND)]), 0).unwrap();
    assert!(is_admitted(&steps, 1));
    let account = AccountKey { budget_id: BudgetId::from("b"), period_start: UnixMicros::new(100) };
    node.hear(Update::Recall { epoch: 1, account }, SECOND).unwrap();
    // the ask is quicker than the report: the plane has not heard of the 99
    node.admit(2, &path, nano(99), SECOND).unwrap();
    let short = Standing { recallable: nano(0), ..standing("b", 100, 100, 90 * SECOND) };
    let steps = node.hear(granted(2, vec![short.clone()]), SECOND).unwrap();
    assert!(!steps.iter().any(|step| matches!(step, NodeStep::Denied { .. })), "{steps:?}");
    assert_eq!(node.waiting(), 1);
    // once it has, and somebody else was quicker, nobody has the money
    node.tick(2 * SECOND).unwrap();
    let heard = Standing { returned: nano(99), ..short };
    let steps = node.hear(granted(3, vec![heard]), 2 * SECOND).unwrap();
    assert!(steps.iter().any(|step| matches!(step, NodeStep::Denied { attempt: 2, .. })), "{steps:?}");
}
