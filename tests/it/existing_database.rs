//! Commands that look or edit open a database that is there, at this release's schema: none of them makes one, migrates
//! one, or proves that an empty one is whole.

use crate::first_request;
use crate::support::databases::{Database, Engine};
use crate::support::gateway::{ANY_PORT, command};
use crate::support::patience::logged;
use crate::support::world::World;
use helix_control_plane::Db;
use helix_shared::ids::UserId;
use serde_json::Value;
use std::path::Path;
use std::process::Output;

/// Every command that opens a database and must find it.
const LOOKING: [&str; 17] = [
    "ledger verify",
    "ledger report",
    "ledger forecast",
    "ledger alerts",
    "ledger suspense",
    "ledger correct nobody --by-usd 1 --reason x",
    "ledger release nobody --spent-usd 0 --reason x",
    "ledger restored --reason x",
    "billing export --from 2026-10-01 --until 2026-10-02",
    "budgets list",
    "budgets entries",
    "keys list",
    "keys rotate nothing",
    "keys revoke nothing",
    "test hi -m gpt-5",
    "db status",
    "doctor",
];

fn run(folder: &Path, line: &str) -> Output {
    command(folder).args(line.split(' ')).output().unwrap()
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs every command, and returns what it said; none of them may have gone well, but for `doctor`, which warns.
fn all_refuse(folder: &Path, remedy: &str) {
    for line in LOOKING {
        let output = run(folder, line);
        let said = told(&output);
        if line != "doctor" {
            assert_eq!(output.status.code(), Some(1), "{line}: {said}");
        }
        // the status of a database that is there is a list of what is missing
        let is_told = said.contains(remedy) || (line == "db status" && said.contains("\"appliedAt\":null"));
        assert!(is_told && !said.contains("is whole"), "{line}: {said}");
    }
}

#[test]
fn in_the_wrong_folder_nothing_is_made_and_nothing_is_proven() {
    let folder = tempfile::tempdir().unwrap();
    all_refuse(folder.path(), "there is no database at ./helix-data/helix.db");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was made");
    // what may come before the first start makes it
    let made = run(folder.path(), "admin create --email root@corp.example");
    assert!(made.status.success(), "{}", told(&made));
    let proven = run(folder.path(), "ledger verify");
    assert!(proven.status.success(), "{}", told(&proven));
}

#[test]
fn a_data_folder_without_its_key_is_named_and_no_other_key_is_made() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let url = format!("sqlite://{}", folder.path().join("helix.db").display());
    let file = format!("version: 1\n{ANY_PORT}storage: {{ url: \"{url}\" }}\n");
    for place in [&folder, &elsewhere] {
        std::fs::write(place.path().join("gateway.yaml"), &file).unwrap();
    }
    assert!(run(folder.path(), "keys create --team nobody --name x").status.code() == Some(1), "there is no such team");
    assert!(run(folder.path(), "ledger verify").status.success());
    let refused = run(elsewhere.path(), "ledger verify");
    assert_eq!(refused.status.code(), Some(1));
    assert!(told(&refused).contains("there is no key file ./helix-data/master.key"), "{}", told(&refused));
    assert!(!elsewhere.path().join("helix-data").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_nobody_migrated_is_left_as_it_is_until_somebody_does() {
    for engine in Engine::here() {
        let (database, folder) = (Database::fresh(engine), tempfile::tempdir().unwrap());
        let file = format!("version: 1\n{ANY_PORT}storage: {{ url: \"{}\" }}\n", database.url());
        std::fs::write(folder.path().join("gateway.yaml"), file).unwrap();
        let db = Db::connect(database.url()).await.unwrap();
        let steps = async || {
            let steps = db.schema_steps().await.unwrap();
            steps.iter().filter(|step| step.applied_at.is_some()).count()
        };
        all_refuse(folder.path(), "helixgateway db migrate");
        assert_eq!(steps().await, 0, "{engine:?}");
        assert!(run(folder.path(), "db migrate").status.success());
        assert!(steps().await > 0);
        let proven = run(folder.path(), "ledger verify");
        assert!(proven.status.success(), "{engine:?}: {}", told(&proven));
        db.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn test_without_a_name_acts_as_an_administrator_and_not_as_the_first_of_the_alphabet() {
    let others = "users:\n  - { email: aaron@corp.example, teams: [engineering] }\n  - { email: zoe@corp.example, roles: [model_admin] }";
    let world = World::start(|provider| first_request::yaml(provider).replace("users:", others));
    let gateway = &world.gateway;
    let output = gateway.command(&["test", "hi", "-m", "gpt-5-mini", "--url", &gateway.url()]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", told(&output)));
    assert_eq!(answer["status"], 200, "{answer}");
    let record = world.record(answer["requestId"].as_str().unwrap()).await;
    assert_eq!(record.actor.user_id.as_ref().map(UserId::as_str), Some("jane@corp.example"));
    // nobody administers: then nobody is charged
    let yaml = first_request::yaml(&world.provider.url()).replace("roles: [instance_admin]", "roles: [member]");
    gateway.write(&format!("version: 1\n{ANY_PORT}{}", yaml.replace("users:", others)));
    gateway.reload();
    logged(gateway, "configuration reloaded").await;
    let output = gateway.command(&["test", "hi", "-m", "gpt-5-mini", "--url", &gateway.url()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("--as EMAIL"), "{}", told(&output));
}
