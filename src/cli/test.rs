//! `test "prompt" -m MODEL`: one governed request through the running gateway, and its trace.
//!
//! Rule: the request takes the same way as everybody's, with a key of its own that lives for minutes; nothing is bypassed.

use super::context::{block_on, load_instance, open, paint};
use super::{Common, trace};
use crate::http_client::{self, Answer};
use crate::{mapping, output};
use anyhow::Context;
use clap::Args;
use helix_control_plane::{Actor, App};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

/// How long the key of the command lives.
const KEY_LIFETIME: Duration = Duration::from_secs(5 * 60);
/// How often something that arrives soon is looked for, and how many times.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const LOOKS: u32 = 100;

#[derive(Debug, Args)]
pub(super) struct TestArgs {
    #[command(flatten)]
    common: Common,
    /// What to ask.
    prompt: String,
    /// The model.
    #[arg(short, long)]
    model: String,
    /// Whom to act as; without it, the first administrator.
    #[arg(long = "as", value_name = "EMAIL")]
    email: Option<String>,
    /// Show what each stage said.
    #[arg(long)]
    explain: bool,
    /// The gateway's address, when it is not the one of the configuration (a data plane of a fleet).
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The most tokens of the answer.
    #[arg(long, default_value_t = 256)]
    max_tokens: u32,
}

pub(super) fn run(args: &TestArgs) -> anyhow::Result<ExitCode> {
    let loaded = load_instance(&args.common)?;
    let address =
        args.url.as_deref().map_or_else(|| mapping::local_url(&loaded), |url| url.trim_end_matches('/').to_owned());
    block_on(async {
        let app = open(&loaded).await?;
        let email = match &args.email {
            Some(email) => email.clone(),
            None => first_admin(&app).await?,
        };
        let minted = app.mint_short_lived_key(&email, KEY_LIFETIME).await?;
        let key = minted.secret.expose_str().unwrap_or_default();
        let asked = ask(args, &address, key).await;
        // The key has done its work, whatever came of it.
        app.revoke_key(&Actor::Operator, &minted.row.id).await?;
        let answer =
            asked.with_context(|| format!("no gateway answers at {address}; start it with `helixgateway serve`"))?;
        let code = show(args, &app, &email, &answer).await?;
        app.close().await;
        Ok(code)
    })
}

/// Who pays without `--as`: somebody who may, not whoever comes first in the alphabet.
async fn first_admin(app: &App) -> anyhow::Result<String> {
    let admin = app.first_admin(&Actor::Operator).await?;
    let admin = admin.context(
        "nobody administers this instance: say whom to act as with --as EMAIL, or use the setup link, or `helixgateway admin create --email YOU`",
    )?;
    Ok(admin.email)
}

/// Asks in the OpenAI dialect, and in Anthropic's where the model only speaks that.
async fn ask(args: &TestArgs, address: &str, key: &str) -> anyhow::Result<Answer> {
    let message = json!([{ "role": "user", "content": args.prompt }]);
    let openai = json!({ "model": args.model, "messages": message, "max_completion_tokens": args.max_tokens });
    let anthropic = json!({ "model": args.model, "messages": message, "max_tokens": args.max_tokens });
    wait_until_known(address, key).await?;
    let mut answer = http_client::post_json(&format!("{address}/v1/chat/completions"), key, openai.to_string()).await?;
    if answer.header("x-helix-error-code") == "unsupported_backend" {
        answer = http_client::post_json(&format!("{address}/v1/messages"), key, anthropic.to_string()).await?;
    }
    Ok(answer)
}

/// Waits until the key has reached the proxy. Listing models costs nothing and leaves no record.
async fn wait_until_known(address: &str, key: &str) -> anyhow::Result<()> {
    let url = format!("{address}/v1/models");
    for _ in 0..LOOKS {
        if http_client::get(&url, Some(key)).await?.status != 401 {
            break;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

async fn show(args: &TestArgs, app: &App, email: &str, answer: &Answer) -> anyhow::Result<ExitCode> {
    let reply: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    let is_ok = (200..300).contains(&answer.status);
    let said = if is_ok { text_of(&reply) } else { error_of(&reply, answer.status) };
    let mut text = said.clone();
    let mut value = json!({ "status": answer.status, "text": said, "requestId": answer.header("x-request-id") });
    if args.explain {
        match arrived(app, answer.header("x-request-id")).await? {
            Some(record) => {
                text = format!("{said}\n\n{}", trace::text(&record, email, paint()));
                value["trace"] = trace::value(&record);
            }
            None => text.push_str("\n\nThe record of this request has not arrived yet; it is in the proxy's journal."),
        }
    }
    output::answer(args.common.json(), &text, &value);
    Ok(if is_ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn arrived(app: &App, request_id: &str) -> anyhow::Result<Option<helix_shared::record::Record>> {
    for _ in 0..LOOKS {
        if let Some(record) = app.request_trace(&Actor::Operator, request_id).await? {
            return Ok(Some(record));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(None)
}

fn text_of(reply: &Value) -> String {
    let openai = reply.pointer("/choices/0/message/content").and_then(Value::as_str);
    let anthropic = || {
        let blocks = reply.get("content").and_then(Value::as_array)?;
        Some(blocks.iter().filter_map(|block| block.get("text").and_then(Value::as_str)).collect::<String>())
    };
    openai.map(str::to_owned).or_else(anthropic).unwrap_or_else(|| "(an answer without text)".to_owned())
}

fn error_of(reply: &Value, status: u16) -> String {
    let message = reply.pointer("/error/message").and_then(Value::as_str).unwrap_or("an answer that is not JSON");
    format!("refused ({status}): {message}")
}
