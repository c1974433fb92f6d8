//! `/setup`: the one-time link of the first run, and of a link made for a person.
//!
//! Rule: whoever holds a valid link may use it once. Without a link the page says where to find it while the instance is
//! unclaimed, and does not exist afterwards.

use super::{Web, respond};
use crate::app::AppError;
use crate::app::setup::LinkState;
use axum::extract::{Form, Query, State};
use axum::response::Response;
use helix_ui::{FirstKeyPage, SetupPage};
use http::StatusCode;

/// The command that makes a link.
const MAKE_A_LINK: &str = "helixgateway admin create --email you@example.com";

/// The link's query.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Link {
    #[serde(default)]
    token: String,
}

/// The form.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Claim {
    #[serde(default)]
    token: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    name: String,
}

pub(super) async fn show(State(web): State<Web>, Query(link): Query<Link>) -> Response {
    if link.token.is_empty() {
        return without_link(&web).await;
    }
    match web.app.link_state(&link.token).await {
        Ok(LinkState::FirstAdmin) => form(StatusCode::OK, link.token, (String::new(), String::new()), ""),
        Ok(LinkState::ForUser { email, name }) => {
            let page = SetupPage { token: link.token, email, name, problem: String::new(), is_first: false };
            respond::page(StatusCode::OK, page.to_html())
        }
        Ok(LinkState::Unknown) => unknown(),
        Ok(LinkState::Spent) => spent(),
        Err(error) => respond::failed(&error),
    }
}

pub(super) async fn claim(State(web): State<Web>, Form(claim): Form<Claim>) -> Response {
    match web.app.claim_setup(&claim.token, &claim.email, &claim.name).await {
        Ok((user, key)) => {
            let page = FirstKeyPage { email: user.email, key: key.secret, public_url: web.public_url.to_string() };
            respond::page(StatusCode::OK, page.to_html())
        }
        Err(AppError::UnknownLink) => unknown(),
        Err(AppError::SpentLink) => spent(),
        Err(error @ (AppError::Invalid { .. } | AppError::Exists { .. })) => {
            form(StatusCode::UNPROCESSABLE_ENTITY, claim.token, (claim.email, claim.name), &error.to_string())
        }
        Err(error) => respond::failed(&error),
    }
}

fn form(status: StatusCode, token: String, (email, name): (String, String), problem: &str) -> Response {
    let page = SetupPage { token, email, name, problem: problem.to_owned(), is_first: true };
    respond::page(status, page.to_html())
}

async fn without_link(web: &Web) -> Response {
    match web.app.has_admin().await {
        Ok(true) => respond::not_found().await,
        Ok(false) => respond::notice(
            StatusCode::FORBIDDEN,
            "This gateway has no administrator yet",
            "Whoever started it finds a one-time setup link on its terminal.",
            ("Open that link, or make another one:", MAKE_A_LINK),
        ),
        Err(error) => respond::failed(&error),
    }
}

fn unknown() -> Response {
    let message = "This gateway did not make this setup link.";
    respond::notice(StatusCode::FORBIDDEN, "Not a valid link", message, ("Check that it was copied whole.", ""))
}

fn spent() -> Response {
    let message = "This setup link was used already, or its time is over.";
    let advice = "Whoever runs the gateway makes another one:";
    respond::notice(StatusCode::GONE, "The link is spent", message, (advice, MAKE_A_LINK))
}
