//! Budgets that change while they are spent: topped up, lowered below what is spent, reached; on one data plane and on two.

use crate::support::client::{Answer, Client};
use crate::support::fleet::{JOIN_TOKEN, control_plane, data_plane};
use crate::support::gateway::Gateway;
use crate::support::patience::until;
use crate::support::purse::{self, Dialect, WORST, assert_budget_refusal, budget, send, usd};
use helix_fake_provider::{FakeProvider, Running};
use serde_json::{Value, json};
use tempfile::TempDir;

fn provider() -> Running {
    FakeProvider::new().with_script(purse::at_the_worst_case()).run("127.0.0.1:0".parse().unwrap()).unwrap()
}

/// A control plane and its data planes, or one process that is both.
struct Site {
    provider: Running,
    folder: TempDir,
    client: Client,
    control: Gateway,
    planes: Vec<Gateway>,
}

impl Site {
    fn open(planes: usize, budgets: &str) -> Self {
        let (provider, folder) = (provider(), tempfile::tempdir().unwrap());
        let yaml = purse::yaml(&provider.url(), budgets);
        let (control, planes) = match planes {
            0 => (Gateway::serve(&folder.path().join("control"), &yaml), Vec::new()),
            count => {
                let control = control_plane(&folder.path().join("control"), &yaml);
                let join = |number| {
                    data_plane(&folder.path().join(format!("data-{number}")), &control.plane_url(), JOIN_TOKEN)
                };
                let planes = (0..count).map(join).collect();
                (control, planes)
            }
        };
        Self { provider, folder, client: Client::new(), control, planes }
    }

    fn urls(&self) -> Vec<String> {
        if self.planes.is_empty() { vec![self.control.url()] } else { self.planes.iter().map(Gateway::url).collect() }
    }

    async fn ask(&self, number: usize, dialect: Dialect) -> Answer {
        let urls = self.urls();
        send(&self.client, &urls[number % urls.len()], dialect, &dialect.body("hi", &json!({}))).await
    }

    /// Asks each data plane in turn until one refuses; returns how many were admitted, and the refusal's message.
    async fn until_refused(&self, dialect: Dialect) -> (i64, String) {
        for number in 0.. {
            let answer = self.ask(number, dialect).await;
            if answer.status != 200 {
                return (i64::try_from(number).unwrap(), assert_budget_refusal(&answer, dialect));
            }
        }
        unreachable!("numbers have no end")
    }

    fn said(&self, arguments: &[&str]) -> Value {
        let output = self.control.command(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("not JSON: {output:?}"))
    }

    /// Replaces the limit in the file; it is taken over while everything runs.
    fn limit(&self, from: i64, to: i64) {
        let path = self.control.folder.join("gateway.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        let (from, to) = (format!("limit_usd: \"{}\"", usd(from)), format!("limit_usd: \"{}\"", usd(to)));
        assert!(text.contains(&from), "{text}");
        self.control.write(&text.replace(&from, &to));
        self.control.reload();
    }

    fn close(mut self) {
        for plane in &mut self.planes {
            assert!(plane.stop(), "an orderly end");
        }
        assert!(self.control.stop(), "an orderly end");
        let report = self.control.verify();
        assert_eq!(report["ok"].as_bool(), Some(true), "{report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_top_up_admits_exactly_what_it_affords_and_says_who_and_why() {
    for planes in [0, 2] {
        let site = Site::open(planes, &budget("instance", 2 * WORST, "hard"));
        assert_eq!(site.until_refused(Dialect::OpenAi).await.0, 2);
        let amount = usd(3 * WORST);
        let reason = ["--amount-usd", amount.as_str(), "--reason", "the fair", "--by", "carol"];
        let told = site.said(&[["budgets", "top-up", "instance/monthly"].as_slice(), reason.as_slice()].concat());
        assert_eq!((&told["entry"]["kind"], &told["entry"]["by"]), (&json!("top_up"), &json!("carol")));
        assert_eq!(
            (&told["budget"]["limitUsd"], &told["budget"]["baseLimitUsd"]),
            (&json!(usd(5 * WORST)), &json!(usd(2 * WORST)))
        );
        until("the top-up is at the data planes", async || {
            (site.ask(0, Dialect::OpenAi).await.status == 200).then_some(())
        })
        .await;
        let (further, message) = site.until_refused(Dialect::Anthropic).await;
        assert_eq!(further, 2, "{planes} data planes");
        assert!(message.contains(&format!("{0} of {0} USD", usd(5 * WORST))), "{message}");
        let entries = site.said(&["budgets", "entries"]);
        let entry = &entries["entries"][0];
        assert_eq!((&entry["reason"], &entry["amountUsd"]), (&json!("the fair"), &json!(usd(3 * WORST))));
        // taken back: nothing that was spent is undone, and the figures say so
        let id = entry["id"].as_str().unwrap();
        let told = site.said(&["budgets", "correct", id, "--reason", "too much", "--by", "dave"]);
        assert_eq!(told["budget"]["limitUsd"], json!(usd(2 * WORST)));
        until("the correction is at the data planes", async || {
            let (admitted, message) = site.until_refused(Dialect::OpenAi).await;
            assert_eq!(admitted, 0);
            message.contains(&format!("{} of {} USD", usd(5 * WORST), usd(2 * WORST))).then_some(())
        })
        .await;
        let listed = site.said(&["budgets", "list"]);
        let state = &listed["budgets"][0];
        assert_eq!((&state["usedNanoUsd"], &state["limitNanoUsd"]), (&json!(5 * WORST), &json!(2 * WORST)));
        assert_eq!(site.provider.bill.settled().await.len(), 5);
        site.close();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_increase_raises_the_limit_until_it_ends_and_wrong_ones_are_refused() {
    let site = Site::open(0, &budget("instance", WORST, "hard"));
    let amount = usd(WORST);
    let words = ["--reason", "the fair", "--by", "carol", "--amount-usd", amount.as_str()];
    let increase = |span: &[&str]| {
        let arguments = [["budgets", "increase", "instance/monthly"].as_slice(), span, words.as_slice()].concat();
        site.control.command(&arguments)
    };
    for (span, expected) in [
        (["--until", "2020-01-01T00:00:00Z"].as_slice(), "must be after the start"),
        (["--until", "tomorrow"].as_slice(), "is not a time"),
        (["--until", "2999-01-01T00:00:00Z", "--from", "2020-01-01T00:00:00Z"].as_slice(), "in the past"),
    ] {
        let output = increase(span);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && error.contains(expected), "{error}");
    }
    assert!(increase(&["--until", "2999-01-01T00:00:00Z"]).status.success());
    let (admitted, message) = site.until_refused(Dialect::OpenAi).await;
    assert!(admitted == 2 || admitted == 1, "{message}");
    until("the increase is at the data plane", async || {
        let message = site.until_refused(Dialect::OpenAi).await.1;
        message.contains(&format!("{0} of {0} USD", usd(2 * WORST))).then_some(())
    })
    .await;
    assert_eq!(site.provider.bill.settled().await.len(), 2);
    site.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_lowered_below_what_is_spent_refuses_at_once_and_names_the_figures() {
    for planes in [1, 2] {
        // Rich: what nodes have in hand for later would serve a thousand more.
        let rich = 1_000 * WORST;
        let site = Site::open(planes, &budget("instance", rich, "hard"));
        for number in 0..6 {
            assert_eq!(site.ask(number, Dialect::OpenAi).await.status, 200);
        }
        site.limit(rich, 4 * WORST);
        let (more, _) = site.until_refused(Dialect::OpenAi).await;
        let used = (6 + more) * WORST;
        let figures = format!("{} of {} USD are used", usd(used), usd(4 * WORST));
        for dialect in [Dialect::OpenAi, Dialect::Anthropic] {
            for number in 0..planes {
                until("each data plane names the figures", async || {
                    let message = assert_budget_refusal(&site.ask(number, dialect).await, dialect);
                    assert!(!message.contains("-0.") && !message.contains(" -"), "{message}");
                    message.contains(&figures).then_some(())
                })
                .await;
            }
        }
        until("the books name them, too", async || {
            let state = site.said(&["budgets", "list"])["budgets"][0].clone();
            assert!(state["heldNanoUsd"].as_i64().unwrap() >= 0, "{state}");
            (state["usedNanoUsd"] == json!(used) && state["limitNanoUsd"] == json!(4 * WORST)).then_some(())
        })
        .await;
        // Raised again, it affords what is left to the nano-dollar.
        site.limit(4 * WORST, used + 2 * WORST);
        until("the raised limit is at the data planes", async || {
            (site.ask(0, Dialect::OpenAi).await.status == 200).then_some(())
        })
        .await;
        assert_eq!(site.until_refused(Dialect::Anthropic).await.0, 1, "{planes} data planes");
        assert_eq!(site.provider.bill.settled().await.len(), usize::try_from(6 + more + 2).unwrap());
        site.close();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_share_that_is_reached_is_told_once_in_the_table_the_log_and_the_metrics_and_survives_a_crash() {
    let list = budget("user:jane@corp.example", 10 * WORST, "hard")
        .replace("mode: hard", "mode: hard, alert_at: [0.5, 0.8, 0.95]")
        + &budget("team:engineering", 4 * WORST, "soft");
    let mut site = Site::open(0, &list);
    assert_eq!(site.until_refused(Dialect::OpenAi).await.0, 10);
    let expected = [
        ("team:engineering", "budget.soft_exceeded", "1"),
        ("user:jane@corp.example", "budget.exceeded", "1"),
        ("user:jane@corp.example", "budget.threshold_reached", "0.5"),
        ("user:jane@corp.example", "budget.threshold_reached", "0.8"),
        ("user:jane@corp.example", "budget.threshold_reached", "0.95"),
    ];
    let told = |site: &Site| {
        let alerts = site.said(&["ledger", "alerts"])["alerts"].as_array().unwrap().clone();
        let text = |alert: &Value, key: &str| alert[key].as_str().unwrap().to_owned();
        let mut told: Vec<_> =
            alerts.iter().map(|it| (text(it, "scope"), text(it, "type"), text(it, "threshold"))).collect();
        told.sort();
        told
    };
    let expected: Vec<_> =
        expected.map(|(scope, kind, share)| (scope.to_owned(), kind.to_owned(), share.to_owned())).into();
    until("every alert", async || (told(&site) == expected).then_some(())).await;
    let page = site.client.get(&format!("{}/metrics", site.control.ops_url()), &[]).await.text();
    for (kind, count) in [("threshold_reached", 3), ("soft_exceeded", 1), ("exceeded", 1)] {
        let line = format!("helix_control_budget_alerts_total{{kind=\"budget.{kind}\"}} {count}");
        assert!(page.contains(&line), "no `{line}` in {page}");
    }
    assert!(page.ends_with("# EOF\n") && page.matches("# EOF").count() == 1, "{page}");
    let log = site.control.log();
    assert_eq!(log.matches("a budget has reached").count(), 5, "{log}");
    assert!(log.contains("team engineering, monthly") && !log.contains("jane@corp.example"), "{log}");
    site.control.kill();
    site.control.run();
    assert_eq!(site.until_refused(Dialect::OpenAi).await.0, 0);
    assert_eq!(told(&site), expected);
    assert!(site.folder.path().exists());
    site.close();
}
