//! The pages over HTTP: routes, security headers, the guard of forms.
//!
//! Rule: thin. A handler parses, asks the app, renders. Every answer carries the headers that make a page harmless: no
//! script, no framing, no caching, no address handed to other sites.

mod guard;
mod respond;
mod setup;

use crate::app::App;
use axum::Router;
use axum::extract::State;
use axum::middleware;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use helix_ui::StatusPage;
use std::sync::Arc;

/// What handlers share.
#[derive(Debug, Clone)]
pub(crate) struct Web {
    pub(crate) app: App,
    pub(crate) public_url: Arc<str>,
}

/// Largest form that is read.
const FORM_BYTES: usize = 16 * 1024;

/// Builds the routes of the pages. Paths that it does not know answer 404.
pub(crate) fn router(web: Web) -> Router {
    Router::new()
        .route("/", get(front))
        .route("/setup", get(setup::show).post(setup::claim))
        .fallback(respond::not_found)
        .layer(axum::extract::DefaultBodyLimit::max(FORM_BYTES))
        .layer(middleware::from_fn_with_state(web.clone(), guard::same_origin))
        .layer(middleware::map_response(respond::harden))
        .with_state(web)
}

async fn front(State(web): State<Web>) -> Response {
    match web.app.has_admin().await {
        Ok(true) => {
            respond::page(http::StatusCode::OK, StatusPage { public_url: web.public_url.to_string() }.to_html())
        }
        Ok(false) => Redirect::to("/setup").into_response(),
        Err(error) => respond::failed(&error),
    }
}
