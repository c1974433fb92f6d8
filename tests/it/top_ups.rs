//! Top-ups made at the same moment beside two control planes of one database: both are kept, in one chain, and every data
//! plane learns of both.

use crate::support::client::Client;
use crate::support::databases::{Database, Engine};
use crate::support::fleet::{JOIN_TOKEN, control_plane, data_plane};
use crate::support::gateway::{Gateway, command};
use crate::support::patience::until;
use crate::support::purse::{self, Dialect, WORST, budget, send, usd};
use helix_fake_provider::FakeProvider;
use serde_json::{Value, json};

/// At each moment, one top-up and one increase beside each control plane.
const MOMENTS: i64 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn two_control_planes_keep_both_of_two_top_ups_at_one_moment_and_both_data_planes_learn_it() {
    for engine in Engine::here().into_iter().filter(|engine| *engine != Engine::Sqlite) {
        let database = Database::fresh(engine);
        let provider =
            FakeProvider::new().with_script(purse::at_the_worst_case()).run("127.0.0.1:0".parse().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let master = "secrets: { master_key: \"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\" }\n";
        let storage = format!("storage: {{ url: \"{}\" }}\n", database.url());
        let yaml = format!("{master}{storage}{}", purse::yaml(&provider.url(), &budget("instance", WORST, "hard")));
        let mut controls = ["first", "second"].map(|name| control_plane(&folder.path().join(name), &yaml));
        let mut planes = [("one", 0), ("two", 1)]
            .map(|(name, control)| data_plane(&folder.path().join(name), &controls[control].plane_url(), JOIN_TOKEN));
        let client = Client::new();
        let ask = async |plane: &Gateway| {
            send(&client, &plane.url(), Dialect::OpenAi, &Dialect::OpenAi.body("hi", &json!({}))).await
        };
        assert_eq!(ask(&planes[0]).await.status, 200);
        assert_eq!(ask(&planes[1]).await.status, 429);
        for _ in 0..MOMENTS {
            let amount = usd(WORST);
            let words = ["instance/monthly", "--amount-usd", &amount, "--reason", "the fair", "--by", "carol"];
            let verbs: [&[&str]; 2] = [&["top-up"], &["increase", "--until", "2999-01-01T00:00:00Z"]];
            let mut running = Vec::new();
            for control in &controls {
                for verb in verbs {
                    let mut command = command(&control.folder);
                    command.arg("budgets").args(verb).args(words);
                    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
                    running.push(command.spawn().unwrap());
                }
            }
            for child in running {
                let output = child.wait_with_output().unwrap();
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            }
        }
        let raised = MOMENTS * 4;
        let output = controls[1].command(&["budgets", "entries"]);
        let entries: Value = serde_json::from_slice(&output.stdout).unwrap();
        let seqs: Vec<i64> =
            entries["entries"].as_array().unwrap().iter().map(|entry| entry["seq"].as_i64().unwrap()).collect();
        assert_eq!(seqs, (1..=raised).collect::<Vec<_>>(), "{engine:?}: one chain, and nothing of it lost");
        let limit = format!("of {} USD", usd((raised + 1) * WORST));
        let admitted = std::cell::Cell::new(1);
        for plane in &planes {
            until("each data plane learns of all of them, and refuses when they are spent", async || {
                let answer = ask(plane).await;
                if answer.status == 200 {
                    admitted.set(admitted.get() + 1);
                    return None;
                }
                assert_eq!(answer.status, 429, "{}", answer.text());
                answer.text().contains(&limit).then_some(())
            })
            .await;
        }
        assert_eq!(admitted.get(), raised + 1, "{engine:?}");
        assert_eq!(provider.bill.settled().await.len(), usize::try_from(raised + 1).unwrap());
        for plane in &mut planes {
            assert!(plane.stop(), "an orderly end");
        }
        for control in &mut controls {
            assert!(control.stop(), "an orderly end");
        }
        let report = controls[0].verify();
        assert_eq!(report["ok"].as_bool(), Some(true), "{report}");
        let head = report["entriesHead"].as_str().unwrap();
        assert!(head.starts_with(&format!("{raised}:")), "{head}");
        let verified = controls[1].command(&["ledger", "verify", "--entries-head", head]);
        assert!(verified.status.success(), "{verified:?}");
        let other = format!("{raised}:{}", "0".repeat(64));
        let verified = controls[1].command(&["ledger", "verify", "--entries-head", &other]);
        assert_eq!(verified.status.code(), Some(1), "a head that was never noted of this chain");
    }
}
