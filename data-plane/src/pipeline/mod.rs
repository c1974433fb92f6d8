//! The life of a request: one call per stage, in order.
//!
//! Rule: authenticate, authorise, content, budget, route, upstream, meter, settle, record; every dialect and every door
//! goes through here. A request sees the one configuration that it pinned.

pub mod admit;
pub mod attempts;
pub mod authenticate;
pub mod authorize;
pub mod body_room;
pub mod broken;
mod calls;
mod capability;
pub mod counting;
pub mod exchange;
mod failure;
mod files;
mod first_frame;
pub mod headers;
pub mod inspect;
pub mod kept;
pub mod list_models;
pub mod media;
mod outgoing;
pub mod read_body;
pub mod refusal;
pub mod relay;
pub mod respond;
pub mod retry_after;
pub mod settle;
pub mod stored;
mod take_in;
pub mod unread;
mod whole;
pub mod wire;

use crate::body::GatewayBody;
use crate::config::Pinned;
use crate::gateway::Gateway;
use crate::records::draft::{Draft, record_or_count};
use attempts::Ask;
use helix_llm::{Dialect, Family};
use helix_proto::v1;
use helix_shared::error_code::ErrorCode;
use helix_shared::ids::{TeamId, UserId};
use helix_shared::rbac::Role;
use helix_shared::snapshot::Caller;
use http::{Request, Response};
use hyper::body::Incoming;
use refusal::Refusal;
use std::sync::Arc;

/// The longest model name that is looked at.
const MOST_MODEL_BYTES: usize = 256;
/// Default limit of a body while no settings are in force.
const DEFAULT_BODY_LIMIT_BYTES: u64 = 32 << 20;

/// A request that passed authentication and authorisation by role.
struct Admitted {
    pinned: Arc<Pinned>,
    caller: Arc<Caller>,
    role: Role,
}

/// Handles a request to a model.
pub async fn handle(gateway: &Arc<Gateway>, dialect: Dialect, request: Request<Incoming>) -> Response<GatewayBody> {
    let family = dialect.family();
    let request_id = match headers::inbound_request_id(request.headers()) {
        Some(id) => id.to_owned(),
        None => uuid::Uuid::now_v7().to_string(),
    };
    let Some(place) = gateway.enter() else {
        let message = "The gateway is at its limit of requests in flight; try again in a moment.";
        let refusal = Refusal::new("request", ErrorCode::Overloaded, message).with_retry_after(1);
        unread::throw_away_of(&gateway.drains, request);
        return shed(gateway, dialect, family, request_id, &refusal);
    };
    let mut draft = Draft::open(gateway, place, dialect.as_str(), operation(dialect), request_id);
    draft.span = gateway.spans.begin(request.headers());
    let (parts, body) = request.into_parts();
    let mut body = Some(body);
    let is_body_coming = unread::is_coming(&parts.headers);
    match run(gateway, dialect, parts, &mut body, &mut draft).await {
        Ok(ask) => {
            drop(body);
            Box::pin(attempts::run(draft, ask)).await
        }
        Err(refusal) => {
            if let Some(body) = body.filter(|_| is_body_coming) {
                unread::throw_away(&gateway.drains, body);
            }
            refuse(draft, family, &refusal)
        }
    }
}

/// Everything before the first backend is tried.
async fn run(
    gateway: &Arc<Gateway>,
    dialect: Dialect,
    mut parts: http::request::Parts,
    body: &mut Option<Incoming>,
    draft: &mut Draft,
) -> Result<Box<Ask>, Refusal> {
    let admitted = admit_caller(gateway, &parts.headers, draft)?;
    let Admitted { pinned, caller, role } = admitted;
    let settings = pinned.snapshot.settings.as_ref();
    let limit_bytes = settings.map_or(DEFAULT_BODY_LIMIT_BYTES, |settings| settings.body_limit_bytes);
    let bounds = take_in::Bounds { limit_bytes, limit: gateway.body_timeout, room: &gateway.body_room };
    let taken = take_in::take_in(dialect, &mut parts.headers, body, bounds).await?;
    let take_in::Taken { body, mut facts, room, upload } = taken;
    if dialect.is_upload() {
        // Nobody said how much comes: no more than may.
        facts.wish.upload_bytes.get_or_insert(limit_bytes);
    }
    if facts.model.len() > MOST_MODEL_BYTES || facts.model.is_empty() {
        let message = format!("The model's name must have 1 to {MOST_MODEL_BYTES} bytes.");
        return Err(Refusal::new("request", ErrorCode::InvalidRequest, message).with_param(Some("model")));
    }
    authorize::refuse_other_models(&facts)?;
    draft.record.requested_model.clone_from(&facts.model);
    draft.record.streaming = facts.is_stream;
    let Some(resolved) = pinned.resolve(&facts.model) else {
        return Err(list_models::not_found(&pinned, &caller, &facts.model));
    };
    let pattern = authorize::authorize_model(&caller, &facts.model, &resolved.places)?;
    match pattern {
        Some(pattern) => {
            draft.stage("rbac", "allowed", format_args!("{} may proxy, model by `{pattern}`", role.as_str()));
        }
        None => draft.stage("rbac", "allowed", format_args!("{} may proxy, no list", role.as_str())),
    }
    let inspect::Verdict::Passed { policies } = inspect::inspect_input(&facts, &body)?;
    draft.stage("policy", "passed", format_args!("{policies} policies"));
    let kept = match &facts.kept.previous {
        Some(previous) if wire::keeps_responses(&resolved) => Some(kept::find(&pinned, &caller, &previous.id)?),
        _ => None,
    };
    let path = admit::Path::of(&pinned, &caller, &facts.model, &resolved.places);
    let query = parts.uri.query().map(str::to_owned);
    Ok(Box::new(Ask {
        pinned,
        caller,
        resolved,
        path,
        headers: parts.headers,
        query,
        body,
        facts,
        room,
        kept,
        stored: None,
        upload,
    }))
}

/// Authenticates and checks the role, noting both in the trace.
fn admit_caller(gateway: &Arc<Gateway>, headers: &http::HeaderMap, draft: &mut Draft) -> Result<Admitted, Refusal> {
    let Some(pinned) = gateway.current.load() else {
        let message = "The gateway has no configuration yet; try again in a moment.";
        return Err(Refusal::new("config", ErrorCode::NotReady, message).with_retry_after(1));
    };
    draft.record.config_revision = pinned.snapshot.revision;
    let now = gateway.clock.now();
    let caller = authenticate::authenticate(&pinned, headers, now)?;
    draft.record.actor = Some(v1::Actor {
        api_key_id: caller.key_id.as_str().to_owned(),
        user_id: caller.user_id.as_ref().map_or("", UserId::as_str).to_owned(),
        team_id: caller.team_id.as_ref().map_or("", TeamId::as_str).to_owned(),
    });
    draft.stage("auth", "ok", format_args!("key {}", caller.key_id));
    let role = authorize::authorize(&caller, now)?;
    Ok(Admitted { pinned, caller, role })
}

/// Answers the listing paths, with the same authentication as requests to models. They cost nothing and reach no
/// provider, so they leave no record.
pub fn list(
    gateway: &Arc<Gateway>,
    family: Family,
    request: &Request<Incoming>,
    one: Option<&str>,
) -> Response<GatewayBody> {
    let request_id =
        headers::inbound_request_id(request.headers()).map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned);
    let listed = gateway
        .current
        .load()
        .ok_or_else(|| {
            Refusal::new("config", ErrorCode::NotReady, "The gateway has no configuration yet.").with_retry_after(1)
        })
        .and_then(|pinned| {
            let now = gateway.clock.now();
            let caller = authenticate::authenticate(&pinned, request.headers(), now)?;
            authorize::authorize(&caller, now)?;
            list_models::respond(&pinned, &caller, family, one)
        });
    match listed {
        Ok(body) => {
            let mut response = Response::new(GatewayBody::from(body));
            let json = http::HeaderValue::from_static("application/json");
            response.headers_mut().insert(http::header::CONTENT_TYPE, json);
            refusal::identify(response.headers_mut(), family, &request_id);
            response
        }
        Err(refusal) => refusal.respond(family, &request_id),
    }
}

fn refuse(mut draft: Box<Draft>, family: Family, refusal: &Refusal) -> Response<GatewayBody> {
    draft.stage(refusal.stage, "refused", refusal.code.as_str());
    draft.denied(refusal.stage, refusal.code, refusal.status(family));
    draft.note_first_byte();
    let response = refusal.respond(family, draft.request_id());
    draft.finish();
    response
}

/// Refuses at once, with a record of its own.
fn shed(
    gateway: &Arc<Gateway>,
    dialect: Dialect,
    family: Family,
    request_id: String,
    refusal: &Refusal,
) -> Response<GatewayBody> {
    let response = refusal.respond(family, &request_id);
    let record = v1::UsageRecord {
        request_id,
        dialect: dialect.as_str().to_owned(),
        decision: Some(v1::Decision {
            kind: v1::decision::Kind::Denied.into(),
            stage: refusal.stage.to_owned(),
            code: refusal.code.as_str().to_owned(),
        }),
        http_status: u32::from(refusal.status(family)),
        basis: v1::CostBasis::Exact.into(),
        timing: Some(v1::Timing { started_at_us: gateway.clock.now().get(), first_byte_us: 0, total_us: 0 }),
        ..v1::UsageRecord::default()
    };
    record_or_count(gateway, &[], record, &[]);
    response
}

fn operation(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::OpenAiChat
        | Dialect::AnthropicMessages
        | Dialect::OpenAiResponses
        | Dialect::BedrockConverse
        | Dialect::Gemini
        | Dialect::Ollama => "chat",
        Dialect::OpenAiStoredResponses => "responses",
        Dialect::OpenAiImages => "image_generation",
        Dialect::OpenAiImageEdits => "image_edit",
        Dialect::OpenAiSpeech => "speech",
        Dialect::OpenAiTranscriptions => "transcription",
        Dialect::OpenAiTranslations => "translation",
        Dialect::OpenAiEmbeddings => "embeddings",
        Dialect::AnthropicCountTokens => "count_tokens",
        Dialect::OpenAiCompletions => "text_completion",
        Dialect::OpenAiModerations => "moderations",
    }
}
