//! Coding agents that people point at the gateway, unmodified and without a terminal: a task with a tool call, each on a
//! backend of the other company's dialect.
//!
//! Rule: the agents are the real ones; where they cannot be installed the test says so loudly, and fails where
//! `HELIX_TEST_REQUIRE_CLIENTS=1` (as under `./test`). Their home is a folder of the test's own.

use crate::first_request;
use crate::support::clients::{Part, set_up};
use crate::support::gateway::KEY;
use crate::support::world::World;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tokio::process::Command;

/// Far beyond what a run takes; an agent that waits for somebody must not hold the tests up.
const LIMIT: Duration = Duration::from_secs(120);

/// Claude Code's model at OpenAI, Codex's at Anthropic.
fn crossed(provider: &str) -> String {
    first_request::yaml(provider)
        + r#"
models:
  - { match: "claude-*", backends: [{ provider: openai, model: gpt-5-mini }] }
  - { match: "gpt-*", backends: [{ provider: anthropic, model: claude-haiku-4-5 }] }
"#
}

/// An agent that knows nothing of the machine's own settings.
fn agent(installed: &Path, name: &str, home: &Path) -> Command {
    let mut command = Command::new(installed.join("node_modules/.bin").join(name));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", home).current_dir(home);
    command.env("NO_PROXY", "127.0.0.1").env("DISABLE_AUTOUPDATER", "1").env("DISABLE_TELEMETRY", "1");
    command.stdin(std::process::Stdio::null()).kill_on_drop(true);
    command
}

async fn finished(mut command: Command) -> (String, String) {
    let output = tokio::time::timeout(LIMIT, command.output()).await.expect("an end within two minutes").unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    (stdout.into_owned(), stderr.into_owned())
}

/// A task whose first answer is a call of a tool that writes a file, and whose second says that it is done.
fn task(tool: &str, arguments: &Value) -> String {
    let script = json!({
        "tool_call": { "name": tool, "arguments": arguments },
        "after_tool": { "text": "The proof is written." },
    });
    format!("Write the proof. [[fake:{script}]]")
}

/// Proves that every request of an agent is answered, recorded and billed alike.
async fn assert_books(world: World, requests_at_least: usize) {
    let entries = world.provider.bill.settled().await;
    assert!(entries.len() >= requests_at_least, "{} requests", entries.len());
    let ids: Vec<String> = entries.iter().map(|entry| entry.request_id.clone().unwrap()).collect();
    for (record, entry) in world.records(&ids).await.iter().zip(&entries) {
        assert_eq!(record.cost.get(), i64::try_from(entry.cost_nano_usd).unwrap(), "{entry:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_code_runs_a_tool_on_a_model_of_openai() {
    let Some(installed) = set_up(Part::Agents) else { return };
    let world = World::start(crossed);
    let home = tempfile::tempdir().unwrap();
    let mut claude = agent(&installed, "claude", home.path());
    claude.env("ANTHROPIC_BASE_URL", world.gateway.url()).env("ANTHROPIC_API_KEY", KEY);
    claude.env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1");
    let command = json!({ "command": "echo proof > proof.txt", "description": "Writes the proof" });
    claude.args(["-p", &task("Bash", &command), "--model", "claude-haiku-4-5"]);
    claude.args(["--allowedTools", "Bash", "--output-format", "json"]);
    let (stdout, _) = finished(claude).await;
    let result: Value = serde_json::from_str(stdout.trim()).unwrap_or_else(|_| panic!("{stdout}"));
    assert_eq!(result["result"], "The proof is written.", "{result}");
    assert_eq!(std::fs::read_to_string(home.path().join("proof.txt")).unwrap(), "proof\n");
    assert_books(world, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn codex_runs_a_tool_on_a_model_of_anthropic() {
    let Some(installed) = set_up(Part::Agents) else { return };
    let world = World::start(crossed);
    let home = tempfile::tempdir().unwrap();
    let mut codex = agent(&installed, "codex", home.path());
    codex.env("CODEX_API_KEY", KEY).env("CODEX_HOME", home.path());
    let command = json!({ "cmd": "echo proof > proof.txt" });
    codex.args(["exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "-m", "gpt-5-mini"]);
    codex.args(["-c", &format!("openai_base_url=\"{}/v1\"", world.gateway.url())]);
    codex.arg(task("exec_command", &command));
    let (stdout, stderr) = finished(codex).await;
    assert!(stdout.contains("The proof is written."), "{stdout}\n{stderr}");
    assert_eq!(std::fs::read_to_string(home.path().join("proof.txt")).unwrap(), "proof\n");
    assert_books(world, 2).await;
}
