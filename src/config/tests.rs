//! The promises of the configuration, proven on whole files: `tests/it/config_fixtures/NAME.yaml` with the exact text of
//! its findings in `NAME.expected` (written anew with `UPDATE_EXPECT=1`).

use super::diagnostic::{Diagnostics, Severity};
use super::scalars::BasisPoints;
use super::show::{Origins, schema, show_json, show_text};
use super::special::Scope;
use super::watch::Watcher;
use super::words::{BudgetMode, Period, Role, Strategy};
use super::{Loaded, Origin, check, load};
use helix_shared::money::NanoUsd;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Every secret of the fixtures contains this word, which must never be seen.
const CANARY: &str = "CANARY";

fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("gateway.yaml");
    std::fs::write(&path, text).expect("a file");
    (folder, path)
}

fn loaded(text: &str, env: &[(&str, &str)]) -> Loaded {
    let (_folder, path) = file(text);
    load(Some(&path), &variables(env), &[]).unwrap_or_else(|diagnostics| panic!("{diagnostics}"))
}

fn codes(diagnostics: &Diagnostics) -> Vec<&'static str> {
    diagnostics.0.iter().map(|diagnostic| diagnostic.code).collect()
}

fn refused(path: Option<&Path>, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Vec<&'static str> {
    let flags: Vec<_> = flags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    codes(&load(path, &variables(env), &flags).expect_err("must be refused"))
}

/// The variables of a fixture stand in its head: `# env NAME=value`.
fn fixture_variables(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.strip_prefix("# env ")?.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn every_broken_file_is_told_exactly_what_is_wrong() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/config_fixtures");
    let mut names: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the fixtures")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    names.sort();
    assert!(names.len() >= 60, "only {} fixtures", names.len());
    let mut wrong = Vec::new();
    let mut seen_codes = BTreeSet::new();
    for path in names {
        let text = std::fs::read_to_string(&path).expect("a fixture");
        let diagnostics = check(Some(&path), &fixture_variables(&text), &[]);
        seen_codes.extend(codes(&diagnostics));
        let got = format!("{diagnostics}\n").replace(&format!("{}/", folder.display()), "");
        assert!(!got.contains(CANARY), "{} shows a secret:\n{got}", path.display());
        assert!(!diagnostics.to_json().to_string().contains(CANARY), "{} shows a secret in JSON", path.display());
        let located = diagnostics.0.iter().all(|diagnostic| diagnostic.place.is_some());
        assert!(located, "{}: a finding has no place:\n{got}", path.display());
        let expected_path = path.with_extension("expected");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&expected_path, &got).expect("written");
        }
        let expected = std::fs::read_to_string(&expected_path).unwrap_or_default();
        if got != expected {
            wrong.push(format!("{}\n--- got\n{got}--- expected\n{expected}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let in_a_file = [
        "E0002", "E0003", "E0004", "E0005", "E0006", "E0101", "E0102", "E0103", "E0104", "E0105", "E0107", "E0201",
        "E0203", "E0204", "E0205", "E0206", "E0207", "E0208", "E0209", "E0302", "E0310", "E0311", "E0312", "E0313",
        "E0314", "W0401", "W0402", "W0403", "W0406",
    ];
    for code in in_a_file {
        assert!(seen_codes.contains(code), "no fixture shows {code}");
    }
}

fn contract_variables() -> BTreeMap<String, String> {
    variables(&[
        ("ANTHROPIC_API_KEY", "sk-ant-CANARY-0001"),
        ("OPENAI_API_KEY", "sk-CANARY-0002"),
        ("HELIX_CI_KEY", "hx_p_CANARY000000000000000003"),
    ])
}

#[test]
fn a_variable_cannot_empty_an_allow_list_either() {
    let (_folder, path) = file("teams: { a: { models: { allow: [\"gpt-*\"] } } }\n");
    for empty in ["", "[]", " , "] {
        assert_eq!(refused(Some(&path), &[("HELIX__TEAMS__A__MODELS__ALLOW", empty)], &[]), ["E0105"], "{empty:?}");
    }
    let env = variables(&[("HELIX__TEAMS__A__MODELS__ALLOW", "claude-*")]);
    let loaded = load(Some(&path), &env, &[]).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    assert_eq!(loaded.settings.teams["a"].models.allow, ["claude-*"]);
}

#[test]
fn the_example_loads_and_says_what_is_not_enforced_yet() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/gateway.example.yaml");
    let loaded = load(Some(&path), &contract_variables(), &[]).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    let settings = &loaded.settings;
    assert_eq!(settings.models[0].backends[0].provider, "anthropic");
    assert_eq!(settings.models[2].backends[1].model.as_deref(), Some("claude-haiku-4-5"));
    assert_eq!(settings.models[2].strategy, Strategy::Weighted);
    assert_eq!(settings.users[0].roles, [Role::Member]);
    assert_eq!(settings.teams["engineering"].models.deny, ["*-preview"]);
    assert_eq!(settings.prices[0].cache_read.map(|price| price.0.get()), Some(10_000));
    let team_budget = &settings.budgets[1];
    assert_eq!(team_budget.scope, Scope::Team("engineering".to_owned()));
    assert_eq!((team_budget.period, team_budget.mode), (Period::Monthly, BudgetMode::Hard));
    assert_eq!(team_budget.alert_at, [BasisPoints(5000), BasisPoints(8000), BasisPoints(9500)]);
    assert_eq!(team_budget.limit_usd, NanoUsd::new(2_000_000_000_000));
    assert_eq!(settings.budgets[0].timezone, "Europe/Berlin");
    assert!(codes(&loaded.warnings).iter().all(|code| *code == "W0401"), "{}", loaded.warnings);
    for text in [show_text(&loaded, Origins::Shown), show_json(&loaded).to_string(), format!("{settings:?}")] {
        assert!(!text.contains(CANARY), "{text}");
    }
}

#[test]
fn the_files_of_the_fleet_and_of_the_readme_need_only_their_secrets() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["deploy/control.yaml", "deploy/data.yaml"] {
        let diagnostics = check(Some(&root.join(name)), &contract_variables(), &[]);
        assert!(codes(&diagnostics).iter().all(|code| *code == "E0312"), "{name}: {diagnostics}");
    }
    let readme = std::fs::read_to_string(root.join("README.md")).expect("the readme");
    let blocks: Vec<&str> =
        readme.split("```yaml\n").skip(1).filter_map(|rest| rest.split_once("```")).map(|(block, _)| block).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        let (_folder, path) = file(block);
        let diagnostics = check(Some(&path), &contract_variables(), &[]);
        assert!(diagnostics.0.is_empty(), "{diagnostics}");
    }
}

#[test]
fn an_empty_file_and_no_file_are_the_same_defaults() {
    let with = loaded("# nothing\n", &[]);
    let without = load(None, &BTreeMap::new(), &[]).expect("valid");
    assert_eq!(with.settings, without.settings);
    let settings = with.settings;
    assert_eq!(settings.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.server.ops_listen.to_string(), "127.0.0.1:9090");
    assert_eq!(settings.server.plane_listen.to_string(), "127.0.0.1:8444");
    assert_eq!(settings.server.limits.body_mb, 32);
    assert_eq!(settings.storage.url.expose(), "sqlite://./helix-data/helix.db");
    assert_eq!(settings.auth.sessions.absolute, Duration::from_secs(7 * 86_400));
    assert!(with.origins.is_empty() && with.warnings.0.is_empty());
}

#[test]
fn the_default_database_is_in_the_data_folder() {
    assert_eq!(
        loaded("data_dir: /var/lib/helix\n", &[]).settings.storage.url.expose(),
        "sqlite:///var/lib/helix/helix.db"
    );
}

#[test]
fn a_flag_beats_a_variable_beats_the_file_beats_the_default() {
    let (_folder, path) =
        file("server:\n  listen: 127.0.0.1:1\n  ops_listen: 127.0.0.1:2\n  plane_listen: 127.0.0.1:3\n");
    let env = variables(&[("HELIX__SERVER__LISTEN", "127.0.0.1:11"), ("HELIX__SERVER__OPS_LISTEN", ":12")]);
    let flags = [("server.listen".to_owned(), "127.0.0.1:111".to_owned())];
    let loaded = load(Some(&path), &env, &flags).expect("valid");
    let server = &loaded.settings.server;
    assert_eq!((server.listen.port(), server.ops_listen.port(), server.plane_listen.port()), (111, 12, 3));
    assert_eq!(loaded.origin("server.listen"), Origin::Flag("server.listen".to_owned()));
    assert_eq!(loaded.origin("server.ops_listen"), Origin::Env("HELIX__SERVER__OPS_LISTEN".to_owned()));
    assert_eq!(loaded.origin("server.plane_listen"), Origin::File { path, line: 4, column: 17 });
    assert_eq!(loaded.origin("server.allow_unclaimed"), Origin::Default);
}

#[test]
fn variables_nest_and_carry_lists_and_json() {
    let env = variables(&[
        ("HELIX__PROVIDERS__BEDROCK_LIKE__KIND", "openai_compatible"),
        ("HELIX__PROVIDERS__BEDROCK_LIKE__BASE_URL", "http://10.0.0.1/v1"),
        ("HELIX__PROVIDERS__SECOND", r#"{"kind":"ollama","timeout":{"connect":"1s"}}"#),
        ("HELIX__TEAMS__ENG__MODELS__ALLOW", "gpt-*, claude-*"),
        ("HELIX__TEAMS__ENG__MODELS__DENY", r#"["*-preview"]"#),
        ("HELIX__BUDGETS__0__SCOPE", "team:eng"),
        ("HELIX__BUDGETS__0__LIMIT_USD", "12.5"),
        ("HELIX__BUDGETS__0__PERIOD", "daily"),
        ("HELIX__BUDGETS__0__MODE", "hard"),
        ("HELIX__BUDGETS__0__ALERT_AT", "0.5,0.95"),
        ("HELIX__MODELS", r#"[{"match":"a","backends":["second",{"provider":"bedrock_like","model":"m"}]}]"#),
        ("HELIX_CI_KEY", "not a setting"),
    ]);
    let loaded = load(None, &env, &[]).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    let settings = &loaded.settings;
    assert_eq!(settings.providers["second"].timeout.connect, Duration::from_secs(1));
    assert_eq!(settings.teams["eng"].models.allow, ["gpt-*", "claude-*"]);
    assert_eq!(settings.teams["eng"].models.deny, ["*-preview"]);
    assert_eq!(settings.budgets[0].limit_usd, NanoUsd::new(12_500_000_000));
    assert_eq!(settings.budgets[0].alert_at, [BasisPoints(5000), BasisPoints(9500)]);
    assert_eq!(settings.models[0].backends[1].provider, "bedrock_like");
    assert_eq!(loaded.origin("models[0].backends[0].provider"), Origin::Env("HELIX__MODELS".to_owned()));
}

#[test]
fn a_variable_reaches_an_entry_of_the_file_with_a_dash_in_its_name() {
    let (_folder, path) = file("providers:\n  my-llm: { kind: vllm, base_url: http://a/v1 }\n");
    let env = variables(&[("HELIX__PROVIDERS__MY_LLM__BASE_URL", "http://b/v1")]);
    let loaded = load(Some(&path), &env, &[]).expect("valid");
    assert_eq!(loaded.settings.providers["my-llm"].base_url.as_str(), "http://b/v1");
    assert_eq!(loaded.settings.providers.len(), 1);
}

#[test]
fn a_variable_may_name_a_file() {
    let (_folder, path) = file("from a file\n");
    let name = path.display().to_string();
    let env = variables(&[("HELIX__SECRETS__MASTER_KEY__FILE", &name), ("HELIX__PLANE__JOIN_TOKEN", "${LITERAL}")]);
    let settings = load(None, &env, &[]).expect("valid").settings;
    assert_eq!(settings.secrets.master_key.expect("set").expose_str(), Some("from a file"));
    assert_eq!(settings.plane.join_token.expect("set").expose_str(), Some("${LITERAL}"), "variables are final");
    assert_eq!(refused(None, &[("HELIX__SECRETS__MASTER_KEY__FILE", "/nowhere")], &[]), ["E0312"]);
    let both = [("HELIX__SECRETS__MASTER_KEY__FILE", name.as_str()), ("HELIX__SECRETS__MASTER_KEY", "x")];
    assert_eq!(refused(None, &both, &[]), ["E0109"]);
}

#[test]
fn a_misspelt_variable_is_refused_with_the_right_name() {
    let env = variables(&[("HELIX__SERVER__LISTN", ":9"), ("HELIX__SERVR__LISTEN", ":9"), ("HELIX__", "x")]);
    let diagnostics = load(None, &env, &[]).expect_err("must be refused");
    assert_eq!(codes(&diagnostics), ["E0108", "E0107", "E0108"]);
    let text = diagnostics.to_string();
    assert!(text.contains("did you mean `HELIX__SERVER__LISTEN`?"), "{text}");
    assert!(text.contains("did you mean `server`?"), "{text}");
    assert_eq!(refused(None, &[], &[("server.listn", ":1")]), ["E0107"]);
}

#[test]
fn without_a_file_the_usual_variables_make_providers() {
    let env = variables(&[
        ("OPENAI_API_KEY", "sk-CANARY"),
        ("ANTHROPIC_API_KEY", "sk-ant-CANARY"),
        ("ANTHROPIC_BASE_URL", "https://proxy.corp.example"),
        ("HF_TOKEN", "hf_CANARY"),
        ("GROQ_API_KEY", ""),
        ("OLLAMA_HOST", "0.0.0.0"),
        ("DATABASE_URL", "postgres://helix:CANARY@db.corp/helix"),
        ("PORT", "9000"),
    ]);
    let loaded = load(None, &env, &[]).expect("valid");
    let settings = &loaded.settings;
    let names: Vec<&str> = settings.providers.keys().map(String::as_str).collect();
    assert_eq!(names, ["anthropic", "huggingface", "ollama", "openai"]);
    assert_eq!(settings.providers["anthropic"].base_url.as_str(), "https://proxy.corp.example/");
    assert_eq!(settings.providers["openai"].base_url.as_str(), "https://api.openai.com/v1");
    assert_eq!(settings.providers["ollama"].base_url.as_str(), "http://127.0.0.1:11434/");
    assert_eq!(settings.storage.url.expose(), "postgres://helix:CANARY@db.corp/helix");
    assert_eq!(settings.server.listen.to_string(), "127.0.0.1:9000");
    let text = show_text(&loaded, Origins::Shown);
    assert!(!text.contains(CANARY), "{text}");
    assert!(text.contains("postgres://helix:[redacted]@db.corp/helix"), "{text}");

    let (_folder, path) = file("version: 1\n");
    let with_file = load(Some(&path), &env, &[]).expect("valid");
    assert!(with_file.settings.providers.is_empty(), "a file is the whole truth");
}

#[test]
fn azures_variables_make_a_provider_when_they_say_where() {
    let key = ("AZURE_OPENAI_API_KEY", "az-CANARY");
    let version = ("OPENAI_API_VERSION", "2025-04-01-preview");
    let endpoint = ("AZURE_OPENAI_ENDPOINT", "https://corp-eu.openai.azure.com/");
    let loaded_with = |env: &[(&str, &str)]| load(None, &variables(env), &[]).expect("valid");
    let full = loaded_with(&[key, version, endpoint]);
    let azure = &full.settings.providers["azure"];
    assert_eq!(azure.base_url.as_str(), "https://corp-eu.openai.azure.com/");
    assert_eq!(azure.api_version.as_deref(), Some("2025-04-01-preview"));
    assert_eq!(codes(&full.warnings), [""; 0]);
    let by_name = loaded_with(&[("AZURE_API_KEY", "az-CANARY"), ("AZURE_RESOURCE_NAME", "corp-eu")]);
    assert_eq!(by_name.settings.providers["azure"].base_url.as_str(), "https://corp-eu.openai.azure.com/");
    assert_eq!(by_name.settings.providers["azure"].api_version, None);
    let nowhere = loaded_with(&[key]);
    assert!(nowhere.settings.providers.is_empty());
    assert_eq!(codes(&nowhere.warnings), ["W0405"]);
    // The version alone is no provider, and nobody else's.
    let others = loaded_with(&[version, ("OPENAI_API_KEY", "sk-CANARY"), ("COHERE_API_KEY", "co-CANARY")]);
    assert_eq!(others.settings.providers.keys().collect::<Vec<_>>(), ["cohere", "openai"]);
    assert_eq!(others.settings.providers["openai"].api_version, None);
}

#[test]
fn a_version_of_the_api_is_one_and_has_an_effect() {
    let env = [("K", "k")];
    let with = |rest: &str| format!("providers:\n  a: {{ kind: azure, api_key: \"${{K}}\", {rest} }}\n");
    let url = "base_url: \"https://a.openai.azure.com";
    for (rest, expected) in [
        (format!("{url}\", api_version: 2025-04-01-preview"), &[][..]),
        (format!("{url}\", api_version: preview"), &[]),
        (format!("{url}\""), &[]),
        (format!("{url}/openai/v1\", api_version: 2024-10-21"), &["W0403"]),
        (format!("{url}\", api_version: 2024-02-01"), &["W0403"]),
    ] {
        assert_eq!(codes(&loaded(&with(&rest), &env).warnings), expected, "{rest}");
    }
    for rest in [format!("{url}\", api_version: \"2024&x=1\""), format!("{url}\", api_version: newest")] {
        let (_folder, path) = file(&with(&rest));
        assert_eq!(refused(Some(&path), &env, &[]), ["E0103"], "{rest}");
    }
    let keyless = format!("providers:\n  a: {{ kind: azure, {url}\" }}\n");
    let (_folder, path) = file(&keyless);
    assert_eq!(refused(Some(&path), &env, &[]), ["E0102"]);
    let other = "providers:\n  a: { kind: groq, api_key: \"${K}\", api_version: 2024-10-21 }\n";
    assert_eq!(codes(&loaded(other, &env).warnings), ["W0403"]);
}

#[test]
fn a_base_url_meant_for_clients_is_noticed() {
    let env = [("OPENAI_API_KEY", "sk-x"), ("OPENAI_BASE_URL", "http://localhost:8080/v1")];
    assert_eq!(refused(None, &env, &[]), ["E0208"]);
}

#[test]
fn the_key_of_gemini_has_two_names() {
    for (set, expected) in
        [(vec![("GOOGLE_API_KEY", "a")], "a"), (vec![("GEMINI_API_KEY", "b"), ("GOOGLE_API_KEY", "a")], "b")]
    {
        let loaded = load(None, &variables(&set), &[]).expect("valid");
        let provider = &loaded.settings.providers["gemini"];
        assert_eq!(provider.api_key.as_ref().and_then(|key| key.expose_str()), Some(expected));
        assert_eq!(provider.base_url.as_str(), "https://generativelanguage.googleapis.com/");
    }
}

#[test]
fn the_variables_of_clouds_make_providers_when_they_say_where() {
    let found = |env: &[(&str, &str)]| load(None, &variables(env), &[]).expect("valid");
    let named = ("GOOGLE_APPLICATION_CREDENTIALS", "/run/google.json");
    let nowhere = found(&[named]);
    assert!(nowhere.settings.providers.is_empty());
    assert_eq!(codes(&nowhere.warnings), ["W0405"]);
    let loaded = found(&[named, ("GOOGLE_CLOUD_PROJECT", "p"), ("CLOUD_ML_REGION", "eu")]);
    let vertex = &loaded.settings.providers["vertex"];
    assert_eq!(vertex.base_url.as_str(), "https://aiplatform.eu.rep.googleapis.com/");
    assert_eq!((vertex.project.as_deref(), vertex.credentials_file.as_deref()), (Some("p"), Some("/run/google.json")));
    let loaded = found(&[("AWS_WEB_IDENTITY_TOKEN_FILE", "/t"), ("AWS_ROLE_ARN", "r"), ("AWS_REGION", "eu-west-3")]);
    let bedrock = &loaded.settings.providers["bedrock"];
    assert!(bedrock.role_arn.is_none() && bedrock.access_key_id.is_none(), "that is for the data plane to find");
    let entra = [("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "c"), ("AZURE_CLIENT_SECRET", "CANARY")];
    let (_folder, path) = file("providers:\n  a: { kind: azure, base_url: \"https://a.openai.azure.com\" }\n");
    let azure = load(Some(&path), &variables(&entra), &[]).expect("valid");
    assert!(azure.settings.providers["a"].client_secret.is_some());
    assert!(!show_text(&azure, Origins::Shown).contains(CANARY));
}

#[test]
fn a_key_that_may_be_missing_is_no_key() {
    let text = "providers:\n  local: { kind: vllm, base_url: http://a/v1, api_key: \"${VLLM_KEY:-}\" }\n";
    assert_eq!(loaded(text, &[]).settings.providers["local"].api_key, None);
    let with = loaded(text, &[("VLLM_KEY", "x")]);
    assert_eq!(with.settings.providers["local"].api_key.as_ref().and_then(|key| key.expose_str()), Some("x"));
}

#[test]
fn money_is_read_from_its_text() {
    for (text, nano) in [("500", 500_000_000_000), ("\"5000\"", 5_000_000_000_000), ("0.1", 100_000_000)] {
        let text = format!("budgets: [ {{ scope: instance, limit_usd: {text}, period: daily, mode: soft }} ]");
        assert_eq!(loaded(&text, &[]).settings.budgets[0].limit_usd, NanoUsd::new(nano));
    }
}

#[test]
fn what_cannot_be_read_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(refused(Some(&folder.path().join("missing.yaml")), &[], &[]), ["E0001"]);
    assert_eq!(refused(Some(folder.path()), &[], &[]), ["E0001"]);
    let path = folder.path().join("latin1.yaml");
    std::fs::write(&path, b"version: \xe9").expect("written");
    assert_eq!(refused(Some(&path), &[], &[]), ["E0001"]);
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
    let (_folder, path) = file(bomb);
    assert!(refused(Some(&path), &[], &[]).contains(&"E0006"));
}

#[test]
fn the_schema_and_the_reader_know_the_same_keys() {
    let schema = schema();
    let loaded = loaded("providers: { a: { kind: openai, api_key: \"${K}\" } }\n", &[("K", "x")]);
    for row in super::show::show(&loaded) {
        let mut place = &schema;
        for part in row.key.replace(['['], ".").replace(']', "").split('.') {
            let is_optional = place.get("anyOf").and_then(|any| any.get(0));
            place = is_optional.unwrap_or(place);
            let is_name = place["additionalProperties"].is_object();
            let is_index = place["type"] == "array";
            place = match (is_name, is_index) {
                (true, _) => &place["additionalProperties"],
                (_, true) => &place["items"],
                _ => &place["properties"][part],
            };
        }
        assert!(place.is_object(), "{} is not in the schema", row.key);
    }
    assert_eq!(
        schema["properties"]["providers"]["additionalProperties"]["required"],
        serde_json::json!(["kind", "base_url"])
    );
    assert_eq!(schema["properties"]["server"]["properties"]["limits"]["properties"]["body_mb"]["default"], 32);
    let key = &schema["properties"]["keys"]["items"]["properties"]["secret"];
    assert_eq!(key["x-secret"], true);
}

#[test]
fn a_change_of_the_file_or_of_a_secret_is_noticed_once() {
    let (folder, path) = file("");
    let secret = folder.path().join("key");
    std::fs::write(&secret, "one").expect("written");
    let text = format!("secrets: {{ master_key: \"${{file:{}}}\" }}\n", secret.display());
    std::fs::write(&path, &text).expect("written");
    let first = load(Some(&path), &BTreeMap::new(), &[]).expect("valid");
    let mut watcher = Watcher::new(&first, BTreeMap::new(), Vec::new());
    assert!(watcher.changed().is_none());

    std::fs::write(&secret, "two").expect("written");
    let second = watcher.changed().expect("noticed").expect("valid");
    assert_eq!(second.settings.secrets.master_key.expect("set").expose_str(), Some("two"));
    assert!(watcher.changed().is_none());

    std::fs::write(&path, "version: 2\n").expect("written");
    assert!(watcher.changed().expect("noticed").is_err());
    assert!(watcher.changed().is_none(), "an invalid file is told once");

    std::fs::write(&path, text.replace("/key}", "/late}")).expect("written");
    assert!(watcher.changed().expect("noticed").is_err());
    std::fs::write(folder.path().join("late"), "three").expect("written");
    assert!(watcher.changed().expect("a late secret is noticed").is_ok());

    std::fs::remove_file(&path).expect("removed");
    assert!(watcher.changed().expect("noticed").is_err());
    assert!(watcher.reload().is_err());
}

#[test]
fn warnings_alone_do_not_refuse() {
    let (_folder, path) = file("teams: { a: { limits: { rpm: 5 } } }\n");
    let diagnostics = check(Some(&path), &BTreeMap::new(), &[]);
    assert!(!diagnostics.has_errors());
    assert!(diagnostics.0.iter().all(|diagnostic| diagnostic.severity == Severity::Warning));
    assert_eq!(diagnostics.to_json()["ok"], true);
}

#[test]
fn bedrock_takes_what_the_usual_variables_say_and_the_file_does_not() {
    let env = [
        ("AWS_REGION", "eu-west-3"),
        ("AWS_ACCESS_KEY_ID", "AKID"),
        ("AWS_SECRET_ACCESS_KEY", "CANARY"),
        ("AWS_SESSION_TOKEN", "CANARY-2"),
    ];
    let text = "providers:\n  a: { kind: bedrock }\n  b: { kind: bedrock, region: us-east-1, api_key: x }\n";
    let settings = loaded(text, &env).settings;
    let (a, b) = (&settings.providers["a"], &settings.providers["b"]);
    assert_eq!(a.base_url.as_str(), "https://bedrock-runtime.eu-west-3.amazonaws.com/");
    assert!(a.secret_access_key.is_some() && a.session_token.is_some() && a.api_key.is_none());
    assert_eq!(b.base_url.as_str(), "https://bedrock-runtime.us-east-1.amazonaws.com/");
    assert!(b.secret_access_key.is_none() && b.api_key.is_some(), "a key of the file stands alone");
    let found = loaded("providers:\n  a: { kind: bedrock, region: eu-west-3, profile: work }\n", &[("HOME", "/h")]);
    assert_eq!(found.settings.providers["a"].profile_file.as_deref(), Some("/h/.aws/credentials"));
    let variables = variables(&[("AWS_REGION", "eu-west-3"), ("AWS_BEARER_TOKEN_BEDROCK", "CANARY")]);
    let without_file = load(None, &variables, &[]).expect("valid");
    assert!(without_file.settings.providers["bedrock"].api_key.is_some());
    assert!(!show_text(&without_file, Origins::Shown).contains(CANARY));
}

#[test]
fn every_seed_that_was_fuzzed_is_read_or_refused_with_words() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/config");
    let mut seeds = 0;
    for seed in std::fs::read_dir(folder).expect("seeds") {
        let seed = seed.expect("a seed").path();
        if let Err(found) = load(Some(&seed), &variables(&[("SET", "value")]), &[]) {
            assert!(!found.to_string().is_empty(), "{}", seed.display());
        }
        seeds += 1;
    }
    assert!(seeds > 0);
}
