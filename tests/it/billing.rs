//! Bills: what a period cost, written for other programs, equals the ledger to the nano-dollar on every database; what
//! providers say stands beside it. Upholds: equal questions about a period that is over give equal bytes.

use crate::first_request;
use crate::support::client::Client;
use crate::support::databases::{Database, Engine};
use crate::support::gateway::{Gateway, KEY, command};
use crate::support::ledger::{Ledger, sqlite_in};
use crate::support::load::chat;
use crate::support::patience::until;
use crate::support::storm::Rng;
use helix_fake_provider::FakeProvider;
use helix_shared::catalog::Catalog;
use helix_shared::ids::{ApiKeyId, Incarnation, NodeId, TeamId, UserId};
use helix_shared::money::NanoUsd;
use helix_shared::record::{Actor, Attempt, Decision, Record};
use helix_shared::time::UnixMicros;
use helix_shared::usage::{CostBasis, TokenUsage};
use helix_store::{Closing, Corrected, Db, NewCorrection};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Output;

/// 2026-09-28T00:00:00Z: some of the records are of the month before.
const START: i64 = 1_790_553_600_000_000;
const DAY_US: i64 = 86_400_000_000;

fn pick(rng: &mut Rng, from: &[&str]) -> String {
    from[usize::try_from(rng.below(u64::try_from(from.len()).unwrap())).unwrap()].to_owned()
}

/// Records around October 2026.
fn records(rng: &mut Rng, count: u64) -> Vec<Record> {
    let incarnation = Incarnation::from("incarnation-1");
    let made = (1..=count).map(|seq| {
        let cost = NanoUsd::new(i64::try_from(rng.below(2_000_000_000)).unwrap());
        let usage =
            TokenUsage { input_tokens: rng.below(9_000), output_tokens: rng.below(900), ..TokenUsage::default() };
        let model = pick(rng, &["gpt-5-2026-01-15", "claude-opus-4-1", "=cmd,\"x\"", "größe"]);
        Record {
            incarnation: incarnation.clone(),
            seq,
            node_id: NodeId::from("node-1"),
            request_id: format!("request-{seq}"),
            config_revision: 1,
            actor: Actor {
                api_key_id: Some(ApiKeyId::from(pick(rng, &["file/ci", "file/nightly"]))),
                user_id: (rng.below(3) > 0)
                    .then(|| UserId::from(pick(rng, &["jane@corp.example", "joe@corp.example"]))),
                team_id: Some(TeamId::from(pick(rng, &["blue", "green"]))),
            },
            decision: Decision::Allowed,
            dialect: "openai_chat".to_owned(),
            requested_model: model.clone(),
            served_model: model.clone(),
            backend_id: pick(rng, &["openai", "anthropic"]),
            strategy: "priority".to_owned(),
            is_streaming: false,
            http_status: 200,
            attempts: vec![Attempt {
                intent: seq,
                backend_id: "openai".into(),
                upstream_model: model,
                status: 200,
                error: String::new(),
                duration_us: 10,
                usage,
                cost,
                basis: "exact".to_owned(),
                price_version: "2026-11-22".to_owned(),
                provider_request_id: String::new(),
            }],
            usage,
            cost,
            basis: CostBasis::Exact,
            unreserved: Vec::new(),
            charged: vec![],
            started_at: UnixMicros::new(START + i64::try_from(rng.below(38 * 86_400_000_000)).unwrap()),
            first_byte_us: 1,
            total_us: 2,
            stages: vec![],
        }
    });
    made.collect()
}

fn october(record: &Record) -> bool {
    (START + 3 * DAY_US..START + 34 * DAY_US).contains(&record.started_at.get())
}

/// A database with these records, and a folder whose file names it.
async fn filled(engine: Engine, records: &[Record]) -> (Database, tempfile::TempDir, Db) {
    let database = Database::fresh(engine);
    let folder = tempfile::tempdir().unwrap();
    let yaml = format!("version: 1\nstorage: {{ url: \"{}\" }}\n", database.url());
    std::fs::write(folder.path().join("gateway.yaml"), yaml).unwrap();
    assert!(run(folder.path(), "db migrate").status.success());
    let db = Db::connect(database.url()).await.unwrap();
    for batch in records.chunks(500) {
        let (incarnation, node) = (Incarnation::from("incarnation-1"), NodeId::from("node-1"));
        db.ingest(&incarnation, &node, batch, &[], UnixMicros::new(START)).await.unwrap();
    }
    (database, folder, db)
}

fn run(folder: &Path, line: &str) -> Output {
    command(folder).args(line.split(' ')).output().unwrap()
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Rows of CSV by the names of its columns.
fn rows(csv: &str) -> Vec<BTreeMap<String, String>> {
    let mut lines = Vec::new();
    let (mut line, mut cell, mut is_quoted) = (Vec::new(), String::new(), false);
    let mut chars = csv.chars().peekable();
    while let Some(next) = chars.next() {
        match next {
            '"' if is_quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => line.push(std::mem::take(&mut cell)),
            '\r' if !is_quoted => {}
            '\n' if !is_quoted => {
                line.push(std::mem::take(&mut cell));
                lines.push(std::mem::take(&mut line));
            }
            other => cell.push(other),
        }
    }
    let names = lines.remove(0);
    lines.into_iter().map(|line| names.iter().cloned().zip(line).collect()).collect()
}

/// An amount of nine places, as an integer.
fn nano(text: &str) -> i64 {
    let (digits, sign) = text.strip_prefix('-').map_or((text, 1), |rest| (rest, -1));
    assert_eq!(digits.split_once('.').map(|(_, places)| places.len()), Some(9), "{text}");
    sign * digits.replace('.', "").parse::<i64>().unwrap()
}

fn cost_of(records: &[Record], wanted: impl Fn(&Record) -> bool) -> i64 {
    records.iter().filter(|record| wanted(record)).map(|record| record.cost.get()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_export_adds_up_to_the_ledger_on_every_database() {
    let names = ["team", "user", "key", "model", "provider", "cost_center"];
    let mut of_engines: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for engine in Engine::here() {
        let mut rng = Rng(20_261_124);
        let made = records(&mut rng, 900);
        let (_database, folder, db) = filled(engine, &made).await;
        for number in 0..8 {
            let grouped: Vec<&str> = names.into_iter().filter(|_| rng.below(2) == 0).collect();
            let group = if grouped.is_empty() { String::new() } else { format!(" --group-by {}", grouped.join(",")) };
            let every = ["", " --every day", " --every month"][number % 3];
            let line = format!("billing export --month 2026-10{group}{every}");
            let csv = text(&run(folder.path(), &format!("{line} --format csv")));
            let found = rows(&csv);
            let wanted = cost_of(&made, october);
            assert_eq!(found.iter().map(|row| nano(&row["cost_usd"])).sum::<i64>(), wanted, "{engine:?}: {line}");
            let requests: usize = found.iter().map(|row| row["requests"].parse::<usize>().unwrap()).sum();
            assert_eq!(requests, made.iter().filter(|record| october(record)).count(), "{engine:?}: {line}");
            let jsonl = text(&run(folder.path(), &format!("{line} --format jsonl")));
            let values: Vec<Value> = jsonl.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!(values.len(), found.len());
            assert_eq!(values.iter().map(|row| row["costNanoUsd"].as_i64().unwrap()).sum::<i64>(), wanted);
            assert_eq!(values.iter().map(|row| nano(row["costUsd"].as_str().unwrap())).sum::<i64>(), wanted);
            // a period that is over, asked again: the same bytes, on any of the databases
            assert_eq!(csv, text(&run(folder.path(), &format!("{line} --format csv"))));
            of_engines.entry(line).or_default().insert(csv);
        }
        // days and hours that stick out of months
        let from = START + 5 * DAY_US + 7 * 3_600_000_000;
        let line =
            format!("billing export --from {} --until 2026-11-02T03:00:00Z --group-by user", UnixMicros::new(from));
        let until = UnixMicros::parse("2026-11-02T03:00:00Z").unwrap().get();
        let inside = |record: &Record| (from..until).contains(&record.started_at.get());
        let found = rows(&text(&run(folder.path(), &line)));
        assert_eq!(found.iter().map(|row| nano(&row["cost_usd"])).sum::<i64>(), cost_of(&made, inside));
        db.close().await;
    }
    for (line, answers) in of_engines {
        assert_eq!(answers.len(), 1, "databases differ: {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exports_of_a_closed_month_are_the_same_bytes_for_ever_on_every_database() {
    for engine in Engine::here() {
        let all = records(&mut Rng(11), 600);
        let (early, late) = all.split_at(500);
        let (_database, folder, db) = filled(engine, early).await;
        let lines = ["--format csv --group-by team,user,key --every day", "--format jsonl", "--format focus"];
        let export = |line: &str| text(&run(folder.path(), &format!("billing export --month 2026-10 {line}")));
        let unclosed = run(folder.path(), "billing export --month 2026-10");
        let said = String::from_utf8_lossy(&unclosed.stderr).into_owned();
        assert!(said.contains("not closed") || said.contains("not over"), "{said}");
        // the clock of this machine may say another month: it is closed by hand, as if in November
        let november = UnixMicros::parse("2026-11-05T00:00:00Z").unwrap();
        let october = UnixMicros::parse("2026-10-01T00:00:00Z").unwrap();
        assert!(matches!(db.close_month(october, "jane", "billed", november).await.unwrap(), Closing::Done(_)));
        let before = lines.map(export);
        let (incarnation, node) = (Incarnation::from("incarnation-1"), NodeId::from("node-1"));
        db.ingest(&incarnation, &node, late, &[], november).await.unwrap();
        let correction = NewCorrection {
            id: "c-1".to_owned(),
            request_id: early[0].request_id.clone(),
            record: None,
            amount: NanoUsd::new(7),
            actor: "jane".to_owned(),
            reason: "price".to_owned(),
        };
        assert!(matches!(db.correct(&correction, november).await.unwrap(), Corrected::Booked { .. }));
        assert_eq!(lines.map(export), before, "{engine:?}");
        let closed = run(folder.path(), "billing export --month 2026-10");
        assert!(!String::from_utf8_lossy(&closed.stderr).contains("not closed"), "{closed:?}");
        // nothing is lost: what came late is in the open month, with a note of its own
        let months: Value = serde_json::from_str(&text(&run(folder.path(), "billing months --json"))).unwrap();
        let noted: i64 =
            months["late"].as_array().unwrap().iter().map(|one| one["costNanoUsd"].as_i64().unwrap()).sum();
        let is_closed = |record: &&Record| record.started_at < october.next_month_start();
        assert_eq!(noted, late.iter().filter(is_closed).map(|record| record.cost.get()).sum::<i64>());
        let whole = rows(&text(&run(folder.path(), "billing export --from 2026-09-01 --until 2026-12-01")));
        let sum: i64 = whole.iter().map(|row| nano(&row["cost_usd"])).sum();
        assert_eq!(sum, all.iter().map(|record| record.cost.get()).sum::<i64>() + 7);
        let again = run(folder.path(), "billing close --month 2026-10");
        assert!(String::from_utf8_lossy(&again.stderr).contains("closed already"), "{again:?}");
        assert!(db.verify_ledger().await.unwrap().is_clean());
        db.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn focus_has_its_mandatory_columns_words_and_the_ledgers_total() {
    let mandatory = [
        "BilledCost",
        "BillingAccountId",
        "BillingCurrency",
        "BillingPeriodEnd",
        "BillingPeriodStart",
        "ChargeCategory",
        "ChargeDescription",
        "ChargePeriodEnd",
        "ChargePeriodStart",
        "ContractedCost",
        "EffectiveCost",
        "InvoiceIssuerName",
        "ListCost",
        "ProviderName",
        "PublisherName",
        "ServiceCategory",
        "ServiceName",
        "BillingAccountName",
    ];
    for engine in Engine::here() {
        let made = records(&mut Rng(7), 300);
        let (_database, folder, db) = filled(engine, &made).await;
        let first = made.iter().find(|record| october(record)).unwrap();
        let correction = NewCorrection {
            id: "c-1".to_owned(),
            request_id: first.request_id.clone(),
            record: None,
            amount: NanoUsd::new(-first.cost.get() / 2 - 1),
            actor: "jane".to_owned(),
            reason: "refund".to_owned(),
        };
        let at = UnixMicros::new(START + 20 * DAY_US);
        assert!(matches!(db.correct(&correction, at).await.unwrap(), Corrected::Booked { .. }));
        let out = run(folder.path(), "billing export --month 2026-10 --format focus --output october.csv");
        let told: Value = serde_json::from_str(&text(&out)).unwrap();
        let found = rows(&std::fs::read_to_string(folder.path().join("october.csv")).unwrap());
        let wanted = cost_of(&made, october) + correction.amount.get();
        assert_eq!(
            (told["costNanoUsd"].as_i64(), told["rows"].as_u64()),
            (Some(wanted), u64::try_from(found.len()).ok())
        );
        let mut sums = BTreeMap::new();
        for row in &found {
            for column in mandatory {
                assert!(!row[column].is_empty(), "{column} of {row:?}");
            }
            for cost in ["BilledCost", "EffectiveCost", "ListCost", "ContractedCost"] {
                *sums.entry(cost).or_insert(0) += nano(&row[cost]);
            }
            assert!(["Usage", "Adjustment"].contains(&row["ChargeCategory"].as_str()));
            assert_eq!((row["ChargeClass"].as_str(), row["BillingCurrency"].as_str()), ("", "USD"));
            assert_eq!(row["ServiceCategory"], "AI and Machine Learning");
            assert_eq!(
                (row["BillingPeriodStart"].as_str(), row["BillingPeriodEnd"].as_str()),
                ("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z")
            );
            // what usage must have, and what a correction has not
            let is_usage = row["ChargeCategory"] == "Usage";
            for column in ["PricingQuantity", "PricingUnit", "ConsumedQuantity", "ConsumedUnit"] {
                assert_eq!(!row[column].is_empty(), is_usage, "{column} of {row:?}");
            }
            let tags: BTreeMap<String, String> = serde_json::from_str(&row["Tags"]).unwrap();
            assert_eq!(tags["team"], row["SubAccountId"]);
        }
        assert!(sums.values().all(|sum| *sum == wanted), "{engine:?}: {sums:?}, not {wanted}");
        assert_eq!(found.iter().filter(|row| row["ChargeCategory"] == "Adjustment").count(), 1);
        db.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_providers_report_stands_beside_the_ledger_and_too_far_apart_is_exit_1() {
    for engine in Engine::here() {
        let made = records(&mut Rng(3), 300);
        let (_database, folder, db) = filled(engine, &made).await;
        let gpt = |record: &Record| {
            record.served_model.starts_with("gpt") && record.backend_id == "openai" && october(record)
        };
        let others = |record: &Record| {
            !record.served_model.starts_with("gpt") && record.backend_id == "openai" && october(record)
        };
        let result = |line_item: &str, nano: i64| {
            let value = format!("{nano}e-9");
            format!(
                r#"{{"object":"organization.costs.result","amount":{{"value":{value},"currency":"usd"}},"line_item":"{line_item}","project_id":"proj_1"}}"#
            )
        };
        let names: BTreeSet<&str> = made.iter().filter(|r| others(r)).map(|r| r.served_model.as_str()).collect();
        let mut results = vec![result("gpt-5-2026-03-01, input", cost_of(&made, gpt) - 1), result("gpt-5, output", 1)];
        for name in names {
            let cost = cost_of(&made, |record| others(record) && record.served_model == name);
            // the comma ends the model's name in a line item
            let quoted = name.replace('"', "\\\"");
            results.push(result(&format!("{quoted}, input"), cost));
        }
        let (from, until) = (START / 1_000_000 + 3 * 86_400, START / 1_000_000 + 34 * 86_400);
        let page = |results: &[String]| {
            format!(
                r#"{{"object":"page","data":[{{"object":"bucket","start_time":{from},"end_time":{until},"results":[{}]}}],"has_more":false}}"#,
                results.join(",")
            )
        };
        std::fs::write(folder.path().join("costs.json"), page(&results)).unwrap();
        let line = "billing reconcile costs.json --provider openai --tolerance 0%";
        let same = run(folder.path(), line);
        let said: Value = serde_json::from_slice(&same.stdout).unwrap();
        assert_eq!((same.status.code(), said["ok"].as_bool()), (Some(0), Some(true)), "{engine:?}: {said}");
        assert_eq!(said["total"]["difference"], "0.000000000");
        // a nano-dollar apart
        results.push(result("gpt-5, cached input", 1));
        std::fs::write(folder.path().join("costs.json"), page(&results)).unwrap();
        let apart = run(folder.path(), line);
        let said: Value = serde_json::from_slice(&apart.stdout).unwrap();
        assert_eq!((apart.status.code(), &said["beyondTolerance"]), (Some(1), &json!(["gpt-5"])), "{said}");
        assert_eq!(said["total"]["difference"], "0.000000001");
        let near = run(folder.path(), "billing reconcile costs.json --provider openai --tolerance 0.000000001");
        assert_eq!(near.status.code(), Some(0));
        // the tokens of Anthropic
        let claude = |record: &&Record| record.backend_id == "anthropic" && october(record);
        let (mut input, mut output) = (0, 0);
        for record in made.iter().filter(claude) {
            input += record.usage.input_tokens;
            output += record.usage.output_tokens;
        }
        let usage = json!({"data": [{"starting_at": "2026-10-01T00:00:00Z", "ending_at": "2026-11-01T00:00:00Z", "results": [
            {"uncached_input_tokens": input, "cache_read_input_tokens": 0, "cache_creation": {"ephemeral_1h_input_tokens": 0,
             "ephemeral_5m_input_tokens": 0}, "output_tokens": output + 1, "model": null, "api_key_id": "apikey_1"}
        ]}], "has_more": false});
        std::fs::write(folder.path().join("usage.json"), usage.to_string()).unwrap();
        let told = run(folder.path(), "billing reconcile usage.json --provider anthropic");
        let said: Value = serde_json::from_slice(&told.stdout).unwrap();
        assert_eq!(
            (said["unit"].as_str(), said["total"]["difference"].as_str()),
            (Some("tokens"), Some("1")),
            "{said}"
        );
        let money = run(folder.path(), "billing reconcile usage.json --provider anthropic --tolerance 1000000");
        assert_eq!(money.status.code(), Some(1));
        assert!(
            money.stdout.is_empty() && String::from_utf8_lossy(&money.stderr).contains("counts tokens"),
            "{money:?}"
        );
        db.close().await;
    }
}

/// What a command that goes well answers.
fn told(gateway: &Gateway, line: &[&str]) -> Value {
    let output = gateway.command(line);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_belong_to_the_cost_centre_that_held_and_corrections_and_forecasts_follow() {
    let provider = FakeProvider::start("127.0.0.1:0".parse().unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let client = Client::new();
    let plain = first_request::yaml(&provider.url());
    let tagged = |center: &str| {
        plain.replace("\"*-preview\"] }", &format!("\"*-preview\"] }}, tags: {{ cost_center: {center} }}"))
    };
    let mut gateway = Gateway::serve(folder.path(), &tagged("CC-1"));
    let ask = async |gateway: &Gateway, id: &str| {
        let url = format!("{}/v1/chat/completions", gateway.url());
        let headers = [("authorization", &*format!("Bearer {KEY}")), ("x-request-id", id)];
        let answer = client.post(&url, &headers, chat("gpt-5-mini", "hi").to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    };
    ask(&gateway, "before-1").await;
    assert!(gateway.stop());
    gateway.write(&tagged("CC-2"));
    gateway.run();
    ask(&gateway, "after-1").await;
    ask(&gateway, "after-2").await;
    assert!(gateway.stop());
    let said = |line: &[&str]| told(&gateway, line);
    let report = said(&["ledger", "report", "--group-by", "cost_center,model,team"]);
    let rows: Vec<_> = report["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["costCenter"].clone(), row["requests"].as_u64()))
        .collect();
    assert_eq!(rows, [(json!("CC-1"), Some(1)), (json!("CC-2"), Some(2))], "{report}");
    let cost = report["total"]["costNanoUsd"].as_i64().unwrap();
    assert!(cost > 0, "{report}");
    let ledger = Ledger::read(&sqlite_in(folder.path())).await;
    for record in &ledger.records {
        let [attempt] = record.attempts.as_slice() else { panic!("{record:?}") };
        assert!(attempt.usage.output_tokens > 0 && attempt.usage == record.usage, "{record:?}");
        assert_eq!(attempt.price_version, Catalog::bundled().as_of());
    }

    let booked =
        said(&["ledger", "correct", "after-1", "--by-usd", "-0.000000001", "--reason", "refund", "--by", "jane"]);
    assert_eq!((booked["amountNanoUsd"].as_i64(), booked["by"].as_str()), (Some(-1), Some("jane")));
    let report = said(&["ledger", "report", "--filter", "cost_center=CC-2"]);
    assert_eq!(report["total"]["correctedNanoUsd"], -1);
    assert_eq!(said(&["ledger", "report"])["total"]["costNanoUsd"], cost - 1);
    let proof = gateway.verify();
    assert_eq!((proof["ok"].as_bool(), proof["corrections"].as_u64()), (Some(true), Some(1)), "{proof}");
    let refused = gateway.command(&["ledger", "correct", "nobody", "--by-usd", "1", "--reason", "x"]);
    assert_eq!(refused.status.code(), Some(1));

    // at such a pace none of them is spent before it resets
    let forecasts = said(&["ledger", "forecast"]);
    let forecasts = forecasts["forecasts"].as_array().unwrap();
    assert_eq!(forecasts.len(), 3);
    assert!(
        forecasts.iter().all(|one| one["exhaustedAt"].is_null() && one["spentNanoUsd"] == cost - 1),
        "{forecasts:?}"
    );

    // a running gateway takes a new cost centre up, though nothing else changed
    gateway.run();
    gateway.write(&tagged("CC-3"));
    gateway.reload();
    until("a request belongs to the new cost centre", async || {
        ask(&gateway, "reloaded").await;
        let output = gateway.command(&["ledger", "report", "--filter", "cost_center=CC-3"]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        (report["total"]["requests"].as_u64() > Some(0)).then_some(())
    })
    .await;
    assert!(gateway.stop());
    // no whole day is known: what today costs goes on, and says so
    let refused = gateway.command(&["ledger", "correct", "after-2", "--by-usd", "1000000", "--reason", "x"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no request can cost more"), "{refused:?}");
    told(&gateway, &["ledger", "correct", "after-2", "--by-usd", "1990", "--reason", "the whole month's"]);
    let forecasts = told(&gateway, &["ledger", "forecast"]);
    let team =
        forecasts["forecasts"].as_array().unwrap().iter().find(|one| one["scope"] == "team:engineering").unwrap();
    assert!(team["exhaustedAt"].is_string() && team["latest"].is_string(), "{team}");
    assert_eq!((team["daysKnown"].as_u64(), team["isOfTodaysPace"].as_bool()), (Some(0), Some(true)), "{team}");
    assert_eq!(gateway.verify()["ok"], true);
}
