//! `docs/providers.md`, made of the table.
//!
//! Rule: the document is never edited by hand; this test fails when it does not say what the table says, and names the
//! command that writes it.

use super::*;
use std::path::Path;

const UPDATE: &str = "HELIX_UPDATE_DOCS=1 cargo test -p helix-shared provider";

const HEAD: &str = "\
# Providers

<!-- Made of shared/src/provider/table.rs by a test. Do not edit; run: HELIX_UPDATE_DOCS=1 cargo test -p helix-shared provider -->

Every kind that `providers:` in `gateway.yaml` may name, where it is reached, and in what it differs from the dialect it
speaks. Clients of either dialect, OpenAI's and Anthropic's, are served by each of them: where the dialects differ, the
gateway translates.

```yaml
providers:
  groq: { kind: groq, api_key: \"${GROQ_API_KEY}\" }
  vllm: { kind: vllm, base_url: \"http://vllm.ml:8000/v1\" }
  azure-eu: { kind: azure, base_url: \"https://corp-eu.openai.azure.com\", api_key: \"${AZURE_KEY}\", api_version: 2025-04-01-preview }
```

## Where

Without a file, a variable of the last column makes a provider of that kind. An address in the third column is used where
`base_url` is not given.

";

const AZURE: &str = "\
## Azure OpenAI

`model` of a backend is the name of a deployment. Which of the two generations of addresses is used follows from the
configuration:

| `base_url` | `api_version` | address |
| --- | --- | --- |
| ends in `/openai/v1` | any | `BASE/chat/completions`; `preview` and `v1` are passed on, a date is not |
| other | a date (`2025-04-01-preview`) | `BASE/openai/deployments/DEPLOYMENT/chat/completions?api-version=DATE` |
| other | none, `preview` or `v1` | `BASE/openai/v1/chat/completions` |

A deployment's price is looked up by its name; one that is not named after its model has a price under `prices`, or none,
and then a hard budget refuses it. Without a file, `AZURE_OPENAI_API_KEY` needs `AZURE_OPENAI_ENDPOINT` (or
`AZURE_RESOURCE_NAME`) beside it; `OPENAI_API_VERSION` is the version.

";

const BEDROCK: &str = "\
## Amazon Bedrock

It is asked through Converse and ConverseStream, at `https://bedrock-runtime.REGION.amazonaws.com` unless there is a
`base_url`, and through InvokeModel for embeddings of Titan, Cohere and Nova; moderations are refused. `region` is required. Who asks is known by the first of these:

- `api_key`: a bearer token of Bedrock's own
- `role_arn` with `web_identity_token_file`, a file on each data plane
- `access_key_id` and `secret_access_key`, with a `session_token` where the key is temporary: requests are signed
- `profile`, a section of the shared files (`profile_file`, and `config` beside it): keys, a role by `source_profile` or
  `credential_source`, a web identity, or a sign-on that `aws sso login` keeps; a `credential_process` is not run
- what the data plane's surroundings have, in the order of Amazon's tools: variables, a web identity, a profile, the
  container (ECS, EKS), the machine (IMDSv2)

With a `role_arn` (and an `external_id`, if its owner wants one) that role is assumed by the keys found so. What is not given
is taken from `AWS_REGION` or `AWS_DEFAULT_REGION`, and from `AWS_BEARER_TOKEN_BEDROCK`,
`AWS_ACCESS_KEY_ID` with `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`, or `AWS_PROFILE`, in this order. `model` of a backend
is a model's id, that of an inference profile, or an ARN.

";

const OLLAMA: &str = "\
## Ollama

With a base URL that names no path it is asked in its own API: `/api/chat` for conversations of every client's dialect, and
`/api/embed`. With one that ends in `/v1` it is asked in its OpenAI dialect, as any server of that family: requests pass as
they are, and `num_ctx`, `keep_alive` and `think` have no effect there.

In its own API a client may send, beside what its dialect has, `keep_alive`, `think`, `num_ctx` and the other options of
sampling, by themselves or in `options`; those of the server (`num_gpu`, `num_thread` and the like) are left out and named. A
prompt longer than `num_ctx` is cut by the server without a word: send `num_ctx`, or set `OLLAMA_CONTEXT_LENGTH` at the server.
`reasoning_effort` becomes `think` for models that are known to think. Images must be in base64.

";

const FURTHER: &str = "
## Further APIs

Conversations are served by every kind: a responses request is passed as it is where the table says so, and translated
elsewhere; so is a legacy completion: its prompt becomes one message of the user, and `echo`, `suffix`, `logprobs` and
`best_of` are refused there. What a kind keeps is followed up by `previous_response_id`. What is not in this table is refused there.

| kind | responses as they are | keeps responses | legacy completions as they are | images | speech | transcription, translation |
| --- | --- | --- | --- | --- | --- | --- |
";

fn further(facts: &ProviderFacts) -> String {
    let has = |api: Api| match (facts.apis.contains(&api), facts.family, facts.paths) {
        (false, ..) => "",
        (true, _, PathForm::Azure) if matches!(api, Api::Responses | Api::StoredResponses) => "under `/openai/v1`",
        (true, _, PathForm::Ollama) => "under `/v1`",
        (true, ..) => "yes",
    };
    let [responses, stored, completions, images, speech, heard] =
        [Api::Responses, Api::StoredResponses, Api::Completions, Api::Images, Api::Speech, Api::Transcription].map(has);
    format!("| `{}` | {responses} | {stored} | {completions} | {images} | {speech} | {heard} |\n", facts.name)
}
const VERTEX: &str = "\
## Google Vertex AI

Conversations and embeddings. `project` and `region` are required; `region` is a location such as `europe-west4`, `global`, or `eu`. `model` of a backend is
a model of Google's (`gemini-2.5-pro`), one of Anthropic's with its date (`claude-sonnet-4-5@20250929`), or `endpoints/ID`
of the project's own. Who asks is known by the first of these:

- `api_key`: an access token that somebody else keeps fresh
- `credentials`, the content of a credentials file (`\"${file:/run/secrets/google.json}\"`), or `credentials_file`, the path
  of one on each data plane: of a service account, or of a person (`authorized_user`)
- what the data plane's machine has: the file that `GOOGLE_APPLICATION_CREDENTIALS` names, the one that `gcloud auth
  application-default login` writes, the metadata server

What is not given is taken from `GOOGLE_CLOUD_PROJECT` or `ANTHROPIC_VERTEX_PROJECT_ID`, from `GOOGLE_CLOUD_LOCATION` or
`CLOUD_ML_REGION`, and from `GOOGLE_APPLICATION_CREDENTIALS`.

";

const TOKENS: &str = "\
## Tokens and keys that are issued for a time

A data plane holds what it was issued and renews it in the background, five minutes before its end (a life shorter than ten
minutes: at its half). A request waits for an issuer only when nothing valid is held, and all that wait get one answer. What
a provider calls over is forgotten, and the request tried once more with a new one. Issuers are asked over TLS, except for
those on the machine itself. When none can be had the client gets `upstream_credential`, and the log says why.

";

fn render() -> String {
    let mut text = HEAD.to_owned();
    text += "| kind | service | base URL | credential | variables |\n| --- | --- | --- | --- | --- |\n";
    for facts in ProviderKind::ALL.iter().map(|kind| kind.facts()) {
        let is_regional = matches!(facts.paths, PathForm::Bedrock | PathForm::Vertex);
        let url = match (facts.base_url, facts.family) {
            (Some(url), _) => format!("`{url}`"),
            (None, _) if is_regional => "that of its `region`".to_owned(),
            (None, _) => "must be given".to_owned(),
        };
        let header = match facts.auth {
            AuthScheme::Bearer => "Authorization: Bearer",
            AuthScheme::XApiKey => "x-api-key",
            AuthScheme::ApiKey => "api-key",
            AuthScheme::XGoogApiKey => "x-goog-api-key",
        };
        let need = match facts.family {
            WireFamily::Bedrock => ", or a signature",
            _ if facts.paths == PathForm::Azure => ", or a token of Microsoft Entra ID",
            _ if facts.needs_key => "",
            _ => ", optional",
        };
        let variables: Vec<String> =
            facts.key_variables.iter().chain(facts.url_variables).map(|name| format!("`{name}`")).collect();
        let (name, title) = (facts.name, facts.title);
        text += &format!("| `{name}` | {title} | {url} | `{header}`{need} | {} |\n", variables.join(" "));
    }
    text += "\n## What the gateway minds\n\n";
    text += "A client that leaves in the middle of an answer leaves its cost behind. Where the provider generates on and bills it\n\
             anyway, the gateway reads to the end and books what was counted; where it stops, or nobody knows, it reads on for two\n\
             seconds, then cuts and books an estimate (`basis: estimated`); a server of one's own is cut at once.\n\n";
    text += "| kind | output cap | asks for the usage of a stream | bills by | `top_k` | earlier thinking | when a client leaves | models without a route |\n";
    text += "| --- | --- | --- | --- | --- | --- | --- | --- |\n";
    for facts in ProviderKind::ALL.iter().map(|kind| kind.facts()) {
        text += &minded(facts);
    }
    text += FURTHER;
    for facts in ProviderKind::ALL.iter().map(|kind| kind.facts()).filter(|facts| !facts.apis.is_empty()) {
        text += &further(facts);
    }
    text += "\n";
    text += AZURE;
    text += BEDROCK;
    text += VERTEX;
    text += OLLAMA;
    text += TOKENS;
    text += "## Differences and their sources\n\n";
    text += "A source names what was read on that day: a provider's SDK, the code of another gateway, an issue, or a page.\n";
    for facts in ProviderKind::ALL.iter().map(|kind| kind.facts()).filter(|facts| !facts.quirks.is_empty()) {
        text += &format!("\n### {}\n\n", facts.title);
        for quirk in facts.quirks {
            text += &format!("- {} ({}; {})\n", quirk.what, quirk.source, quirk.as_of);
        }
    }
    text
}

fn minded(facts: &ProviderFacts) -> String {
    let cap = match (facts.family, facts.cap_field) {
        (WireFamily::Gemini, _) => "`maxOutputTokens`",
        (WireFamily::Bedrock, _) => "`maxTokens`",
        (WireFamily::Ollama, _) => "`num_predict`",
        (_, CapField::MaxTokens) => "`max_tokens`",
        (_, CapField::MaxCompletionTokens) => "`max_completion_tokens`",
    };
    let usage = match (facts.family, facts.takes_stream_options) {
        (WireFamily::Anthropic | WireFamily::Bedrock | WireFamily::Gemini | WireFamily::Ollama, _) => "always there",
        (WireFamily::OpenAi, true) => "yes",
        (WireFamily::OpenAi, false) => "no: `stream_options` is kept back",
    };
    let mut bill = vec![if facts.has_cost { "its own cost" } else { "tokens" }];
    if facts.has_reasoning_outside {
        bill.push("reasoning beside the output");
    }
    if facts.is_local {
        bill.push("free unless priced");
    }
    let yes = |is_so: bool| if is_so { "yes" } else { "" };
    let top_k = match facts.family {
        WireFamily::Bedrock => "by model",
        WireFamily::OpenAi | WireFamily::Ollama => yes(facts.takes_top_k),
        WireFamily::Anthropic | WireFamily::Gemini => "yes",
    };
    let thinking = match facts.family {
        WireFamily::Gemini => "by signature",
        WireFamily::Bedrock => "by model",
        WireFamily::Ollama => "yes",
        WireFamily::Anthropic | WireFamily::OpenAi => {
            yes(facts.takes_reasoning_content || facts.family == WireFamily::Anthropic)
        }
    };
    let names = match facts.names {
        ModelNames::Own(prefixes) => format!("`{}*`", prefixes.join("*` `")),
        ModelNames::Hosted(_) if facts.maker == ModelMaker::OpenAi => {
            "those of OpenAI, where `openai` is not configured".to_owned()
        }
        ModelNames::Hosted(prefixes) => format!("`{}*`, where their maker is not configured", prefixes.join("*` `")),
        ModelNames::Any => "any other name".to_owned(),
    };
    let leave = match facts.on_leave {
        OnLeave::Cancel => "cut",
        OnLeave::DrainBriefly => "read on briefly",
        OnLeave::Drain => "read to the end",
    };
    format!("| `{}` | {cap} | {usage} | {} | {top_k} | {thinking} | {leave} | {names} |\n", facts.name, bill.join(", "))
}

#[test]
fn the_document_says_what_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/providers.md");
    let made = render();
    if std::env::var_os("HELIX_UPDATE_DOCS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == made, "docs/providers.md is not what the table says; run: {UPDATE}");
}
