//! What is put on top of budgets, and calendars that change: nobody's money is given twice, and what is raised ends by
//! itself.

use crate::escrow::{BUDGET, Escrow, USD, hard};
use crate::support::{Fixture, HandClock, file, settings};
use helix_control_plane::app::{BudgetState, Said, Span};
use helix_control_plane::settings::{FileConfig, FileScope};
use helix_control_plane::{Actor, App, ControlPlane, Settings};
use helix_proto::v1::escrow_update::Step;
use helix_shared::budget::{Increase, Mode, WeekStart, Window};
use helix_shared::money::NanoUsd;
use helix_shared::snapshot::{Resource, ResourceKey, ResourceKind};
use helix_shared::time::{Clock, UnixMicros};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

const DAY_US: i64 = 86_400_000_000;

fn at(text: &str) -> UnixMicros {
    UnixMicros::parse(text).unwrap()
}

/// A control plane whose clock stands still until it is moved.
async fn standing_still(file: FileConfig, now: &str) -> (Fixture, Arc<HandClock>) {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(HandClock(AtomicI64::new(at(now).get())));
    let settings = Settings { file, ..settings(folder.path()) };
    let control = ControlPlane::start(settings, Arc::clone(&clock) as Arc<dyn Clock>).await.unwrap();
    (Fixture::around(folder, control), clock)
}

fn said() -> Said {
    Said { by: "carol".to_owned(), reason: "the fair".to_owned() }
}

fn usd(amount: i64) -> NanoUsd {
    NanoUsd::new(amount * USD)
}

async fn raise(app: &App, amount: i64, span: Span) -> Result<(String, BudgetState), String> {
    let raised = app.raise_budget(&Actor::Operator, BUDGET, usd(amount), span, &said()).await;
    raised.map(|(entry, state)| (entry.id, state)).map_err(|error| error.to_string())
}

async fn state(app: &App) -> BudgetState {
    app.list_budgets(&Actor::Operator).await.unwrap().remove(0)
}

/// Waits until the published configuration is the database's.
async fn published(fixture: &Fixture) {
    let head = fixture.control.app().facts().await.unwrap().head_revision;
    let caught_up = async {
        while fixture.control.feed().current().revision() < head {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    crate::support::soon(caught_up).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_top_up_reaches_nodes_as_a_delta_and_is_granted_in_this_period_alone() {
    let (fixture, clock) = standing_still(hard(1), "2026-11-24T12:00:00Z").await;
    let app = fixture.control.app();
    let mut watching = fixture.node("watching").await;
    let first = watching.push().await;
    watching.apply(&first).await;
    let mut node = Escrow::open(&fixture, "one").await;
    assert_eq!(node.acquire(1, &[(BUDGET, 3 * USD, 3 * USD)]).await[0].granted_total_nano_usd, USD);
    let (entry, raised) = raise(app, 2, Span::ThisPeriod).await.unwrap();
    assert_eq!((raised.limit.base, raised.effective, raised.is_of_file), (usd(1), usd(3), true));
    let push = watching.push().await;
    assert_eq!(push.mode, helix_proto::v1::begin::Mode::Delta);
    assert_eq!((push.upserts.len(), push.removals.len()), (1, 0));
    watching.apply(&push).await;
    let key = ResourceKey { kind: ResourceKind::Budget, id: BUDGET.to_owned() };
    let Some(Resource::Budget(budget)) = watching.set.get(&key) else { panic!("no budget") };
    let on_top = Increase { amount: usd(2), from: at("2026-11-24T12:00:00Z"), until: at("2026-12-01T00:00:00Z") };
    assert_eq!((budget.limit, budget.increases.as_slice()), (usd(1), [on_top].as_slice()));
    published(&fixture).await;
    let granted = node.acquire(2, &[(BUDGET, 3 * USD, 3 * USD)]).await.remove(0);
    assert_eq!((granted.granted_total_nano_usd, granted.limit_nano_usd), (3 * USD, 3 * USD));
    // the file says the same as before: nothing of the entry is its business
    let again = app.sync_file(&hard(1)).await.unwrap();
    assert_eq!((again.upserted, again.removed), (0, 0));
    assert_eq!(state(app).await.entries[0].id, entry);
    clock.0.store(at("2026-12-01T00:00:00Z").get(), Ordering::SeqCst);
    assert_eq!((state(app).await.effective, state(app).await.entries.len()), (usd(1), 0));
    let mut other = Escrow::open(&fixture, "two").await;
    assert_eq!(other.acquire(1, &[(BUDGET, 3 * USD, 3 * USD)]).await[0].granted_total_nano_usd, USD);
    let report = app.verify_ledger(&Actor::Operator).await.unwrap();
    assert!(report.is_clean() && report.adjustments == 1, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_increase_ends_by_itself_and_what_is_in_hand_beyond_it_is_recalled() {
    let (fixture, clock) = standing_still(hard(1), "2026-11-24T12:00:00Z").await;
    let app = fixture.control.app();
    let span = Span::Until { from: None, until: at("2026-11-24T12:00:30Z") };
    assert_eq!(raise(app, 4, span).await.unwrap().1.effective, usd(5));
    published(&fixture).await;
    let mut node = Escrow::open(&fixture, "one").await;
    assert_eq!(node.acquire(1, &[(BUDGET, 4 * USD, 4 * USD)]).await[0].granted_total_nano_usd, 4 * USD);
    clock.0.store(at("2026-11-24T12:00:30Z").get() - 1, Ordering::SeqCst);
    assert_eq!(state(app).await.effective, usd(5));
    clock.0.store(at("2026-11-24T12:00:30Z").get(), Ordering::SeqCst);
    // nobody asked, nothing was edited, nothing was restarted
    let Step::Recall(recall) = node.hear().await else { panic!("not a recall") };
    assert_eq!(recall.account.unwrap().budget_id, BUDGET);
    assert_eq!((state(app).await.effective, state(app).await.held), (usd(1), usd(4)));
    let granted = node.acquire(2, &[(BUDGET, 5 * USD, 5 * USD)]).await.remove(0);
    assert_eq!((granted.granted_total_nano_usd, granted.limit_nano_usd), (4 * USD, USD));
    assert_eq!(granted.available_nano_usd, -3 * USD);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_the_file_lowers_recalls_what_is_in_hand_at_once() {
    let fixture = Fixture::new(hard(5)).await;
    let mut node = Escrow::open(&fixture, "one").await;
    assert_eq!(node.acquire(1, &[(BUDGET, 4 * USD, 4 * USD)]).await[0].granted_total_nano_usd, 4 * USD);
    fixture.control.reload(&hard(2)).await.unwrap();
    assert!(matches!(node.hear().await, Step::Recall(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_increase_for_later_waits_and_a_correction_takes_it_back() {
    let (fixture, clock) = standing_still(hard(1), "2026-11-24T12:00:00Z").await;
    let app = fixture.control.app();
    let span = Span::Until { from: Some(at("2026-11-25T00:00:00Z")), until: at("2026-12-24T00:00:00Z") };
    let (entry, now) = raise(app, 4, span).await.unwrap();
    assert_eq!((now.effective, now.entries.len()), (usd(1), 1));
    clock.0.fetch_add(DAY_US, Ordering::SeqCst);
    assert_eq!(state(app).await.effective, usd(5));
    let (taken_back, after) = app.correct_budget_entry(&Actor::Operator, &entry, &said()).await.unwrap();
    assert_eq!((taken_back.amount_nano, after.effective), (NanoUsd::new(-4 * USD), usd(1)));
    for (id, expected) in
        [(entry.as_str(), "taken back before"), (taken_back.id.as_str(), "correction itself"), ("no", "no entry")]
    {
        let refused = app.correct_budget_entry(&Actor::Operator, id, &said()).await.unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
    }
    assert_eq!(app.budget_entries(&Actor::Operator, None).await.unwrap().len(), 2);
    assert_eq!(app.budget_entries(&Actor::Operator, Some("another")).await.unwrap().len(), 0);
    assert!(app.verify_ledger(&Actor::Operator).await.unwrap().is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_without_an_amount_a_time_a_reason_or_a_budget_is_refused_and_changes_nothing() {
    let (fixture, _clock) = standing_still(hard(1), "2026-11-24T12:00:00Z").await;
    let app = fixture.control.app();
    let before = app.facts().await.unwrap().head_revision;
    let past = at("2026-11-24T11:00:00Z");
    let later = at("2026-11-25T00:00:00Z");
    let cases = [
        (0, Span::ThisPeriod, "above zero"),
        (-1, Span::ThisPeriod, "above zero"),
        (1, Span::Until { from: Some(past), until: later }, "in the past"),
        (1, Span::Until { from: None, until: past }, "after the start"),
        (1, Span::Until { from: Some(later), until: later }, "after the start"),
    ];
    for (amount, span, expected) in cases {
        let refused = raise(app, amount, span).await.unwrap_err();
        assert!(refused.contains(expected), "{refused}");
    }
    let silent = Said { by: "carol".to_owned(), reason: " ".to_owned() };
    let refused = app.raise_budget(&Actor::Operator, BUDGET, usd(1), Span::ThisPeriod, &silent).await.unwrap_err();
    assert!(refused.to_string().contains("the reason"), "{refused}");
    let refused = app.raise_budget(&Actor::Operator, "team:no", usd(1), Span::ThisPeriod, &said()).await.unwrap_err();
    assert!(refused.to_string().contains("`budgets list`"), "{refused}");
    assert_eq!(app.facts().await.unwrap().head_revision, before);
    assert!(app.budget_entries(&Actor::Operator, None).await.unwrap().is_empty());
}

fn in_zone(timezone: &str, week_start: WeekStart) -> FileConfig {
    let mut file = hard(1);
    file.budgets[0].timezone = timezone.to_owned();
    file.budgets[0].week_start = week_start;
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_zone_holds_from_its_first_boundary_after_the_present_period_so_that_no_month_has_two_limits() {
    // 2026-11-30T23:30Z: December has begun in Kiritimati and in Berlin, not in UTC.
    let (fixture, clock) = standing_still(in_zone("UTC", WeekStart::Monday), "2026-11-30T23:30:00Z").await;
    let app = fixture.control.app();
    let november = Window { start: at("2026-11-01T00:00:00Z"), end: at("2026-12-01T00:00:00Z") };
    let until = |end: &str| Window { end: at(end), ..november };
    let mut node = Escrow::open(&fixture, "one").await;
    assert_eq!(node.acquire(1, &[(BUDGET, USD, USD)]).await[0].granted_total_nano_usd, USD);
    let kiritimati = in_zone("Pacific/Kiritimati", WeekStart::Monday);
    assert_eq!(app.sync_file(&kiritimati).await.unwrap().upserted, 1);
    published(&fixture).await;
    assert_eq!(state(app).await.window, until("2026-12-31T10:00:00Z"));
    let mut other = Escrow::open(&fixture, "two").await;
    assert_eq!(other.acquire(1, &[(BUDGET, USD, USD)]).await[0].granted_total_nano_usd, 0);
    // the same file again, a further change, and the way back: the period that has begun stays
    assert_eq!(app.sync_file(&kiritimati).await.unwrap().upserted, 0);
    app.sync_file(&in_zone("Europe/Berlin", WeekStart::Sunday)).await.unwrap();
    assert_eq!(state(app).await.window, until("2026-12-31T23:00:00Z"));
    app.sync_file(&in_zone("UTC", WeekStart::Monday)).await.unwrap();
    assert_eq!(state(app).await.window, november);
    app.sync_file(&kiritimati).await.unwrap();
    // where UTC's month ends, the one of Kiritimati has begun long ago: what was spent of it counts
    clock.0.store(november.end.get(), Ordering::SeqCst);
    assert_eq!(state(app).await.window, until("2026-12-31T10:00:00Z"));
    published(&fixture).await;
    assert_eq!(other.acquire(2, &[(BUDGET, USD, USD)]).await[0].granted_total_nano_usd, 0);
    // also when it is changed now, and back
    app.sync_file(&in_zone("UTC", WeekStart::Monday)).await.unwrap();
    assert_eq!(state(app).await.window.start, november.start);
    app.sync_file(&kiritimati).await.unwrap();
    clock.0.store(at("2026-12-31T10:00:00Z").get() - 1, Ordering::SeqCst);
    assert_eq!(state(app).await.window.start, november.start);
    clock.0.store(at("2027-01-31T10:00:00Z").get(), Ordering::SeqCst);
    let february = Window { start: at("2027-01-31T10:00:00Z"), end: at("2027-02-28T10:00:00Z") };
    assert_eq!(state(app).await.window, february);
    published(&fixture).await;
    assert_eq!(other.acquire(3, &[(BUDGET, USD, USD)]).await[0].granted_total_nano_usd, USD);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hard_budget_keeps_its_account_wherever_the_file_puts_a_soft_one_of_the_same_scope_and_period() {
    let one = |usd: i64, mode: Mode| crate::support::budget(FileScope::Instance, usd, mode);
    let with = |budgets: Vec<_>| FileConfig { budgets, ..file() };
    let fixture = Fixture::new(with(vec![one(1, Mode::Hard)])).await;
    let mut node = Escrow::open(&fixture, "one").await;
    assert_eq!(node.acquire(1, &[(BUDGET, USD, USD)]).await[0].granted_total_nano_usd, USD);
    for budgets in [
        vec![one(1, Mode::Soft), one(1, Mode::Hard)],
        vec![one(1, Mode::Hard), one(1, Mode::Soft)],
        vec![one(1, Mode::Soft), one(1, Mode::Hard)],
    ] {
        fixture.control.reload(&with(budgets)).await.unwrap();
        published(&fixture).await;
        let states = fixture.control.app().list_budgets(&Actor::Operator).await.unwrap();
        let told: Vec<_> = states.iter().map(|state| (state.limit.id.as_str(), state.limit.mode)).collect();
        assert_eq!(told, [(BUDGET, Mode::Hard), ("instance/monthly#2", Mode::Soft)]);
        let mut other = Escrow::open(&fixture, "two").await;
        assert_eq!(other.acquire(1, &[(BUDGET, USD, USD)]).await[0].granted_total_nano_usd, 0, "it is all given");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_of_a_key_and_one_of_models_are_made_from_the_names_of_the_file() {
    let mut config = file();
    let scopes = [FileScope::Key("ci".to_owned()), FileScope::Model("gpt-*".to_owned())];
    config.budgets = scopes.into_iter().map(|scope| crate::support::budget(scope, 1, Mode::Hard)).collect();
    let fixture = Fixture::new(config.clone()).await;
    let states = fixture.control.app().list_budgets(&Actor::Operator).await.unwrap();
    let told: Vec<_> = states.iter().map(|state| (state.limit.id.as_str(), state.limit.label.as_str())).collect();
    assert_eq!(told, [("key:file/ci/monthly", "key ci, monthly"), ("model:gpt-*/monthly", "model gpt-*, monthly")]);
    config.budgets = vec![crate::support::budget(FileScope::Key("cj".to_owned()), 1, Mode::Hard)];
    let refused = fixture.control.reload(&config).await.unwrap_err().to_string();
    assert!(refused.contains("key `cj` is not defined"), "{refused}");
}
