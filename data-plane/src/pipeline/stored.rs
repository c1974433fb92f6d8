//! Reading and deleting a response that a provider keeps.
//!
//! Rule: the same life as any request's, with a record; it costs nothing, and only its owner gets there.

use super::attempts::{self, Ask, StoredAsk};
use super::{admit, admit_caller, authorize, headers, kept, refuse, unread};
use crate::body::GatewayBody;
use crate::config::current::{Place, Resolved};
use crate::gateway::Gateway;
use crate::http::StoredPath;
use crate::records::draft::Draft;
use bytes::Bytes;
use helix_llm::{Dialect, Family, RequestFacts};
use helix_shared::error_code::ErrorCode;
use helix_shared::routing::{Params, Strategy};
use http::{Request, Response};
use hyper::body::Incoming;
use std::sync::Arc;

use super::refusal::Refusal;

const DIALECT: Dialect = Dialect::OpenAiStoredResponses;

/// Handles a request for one response.
pub async fn handle(gateway: &Arc<Gateway>, path: StoredPath, request: Request<Incoming>) -> Response<GatewayBody> {
    let request_id = match headers::inbound_request_id(request.headers()) {
        Some(id) => id.to_owned(),
        None => uuid::Uuid::now_v7().to_string(),
    };
    let Some(place) = gateway.enter() else {
        let message = "The gateway is at its limit of requests in flight; try again in a moment.";
        let refusal = Refusal::new("request", ErrorCode::Overloaded, message).with_retry_after(1);
        unread::throw_away_of(&gateway.drains, request);
        return super::shed(gateway, DIALECT, Family::OpenAi, request_id, &refusal);
    };
    let mut draft = Draft::open(gateway, place, DIALECT.as_str(), "responses", request_id);
    draft.span = gateway.spans.begin(request.headers());
    let (parts, body) = request.into_parts();
    unread::throw_away(&gateway.drains, body);
    match ask(gateway, path, parts, &mut draft) {
        Ok(ask) => Box::pin(attempts::run(draft, ask)).await,
        Err(refusal) => refuse(draft, Family::OpenAi, &refusal),
    }
}

fn ask(
    gateway: &Arc<Gateway>,
    path: StoredPath,
    parts: http::request::Parts,
    draft: &mut Draft,
) -> Result<Box<Ask>, Refusal> {
    let admitted = admit_caller(gateway, &parts.headers, draft)?;
    let query = parts.uri.query().map(str::to_owned);
    // A name is either plain, with the brackets of a list, or meant to be read otherwise elsewhere.
    let may_stream = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let name = name.trim_end_matches("%5B%5D").trim_end_matches("%5b%5d");
        name.contains('%') || (name == "stream" && value != "false")
    };
    if query.as_deref().is_some_and(|query| query.split('&').any(may_stream)) {
        let message = "A response is read whole here: only one that runs without its client can be streamed again.";
        return Err(Refusal::new("request", ErrorCode::InvalidRequest, message).with_param(Some("stream")));
    }
    let found = kept::find(&admitted.pinned, &admitted.caller, &path.id)?;
    draft.record.requested_model.clone_from(&found.model);
    let place = Place::of_kept(found.upstream, &found.model);
    authorize::authorize_model(&admitted.caller, &found.model, std::slice::from_ref(&place))?;
    let resolved = Resolved { strategy: Strategy::Priority, params: Params::Drop, places: vec![place] };
    let budgets = admit::Path::of(&admitted.pinned, &admitted.caller, &found.model, &resolved.places);
    Ok(Box::new(Ask {
        path: budgets,
        pinned: admitted.pinned,
        caller: admitted.caller,
        resolved: Arc::new(resolved),
        headers: parts.headers,
        query,
        body: Bytes::new(),
        facts: RequestFacts::of_stored(found.model),
        room: gateway.body_room.claim(),
        kept: None,
        stored: Some(StoredAsk {
            method: parts.method,
            upstream_id: found.upstream_id,
            given: path.id,
            suffix: path.suffix,
        }),
        upload: None,
    }))
}
