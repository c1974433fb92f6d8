//! The first-run pages: a link works once, whoever is quickest; without one there is nothing to find.

use crate::support::{Fixture, file};
use axum::body::Body;
use axum::response::Response;
use helix_control_plane::AppError;
use helix_control_plane::app::users::NewUser;
use helix_control_plane::settings::FileConfig;
use helix_shared::rbac::Role;
use http::{Request, StatusCode, header};
use std::time::Duration;
use tower::ServiceExt;

const HOUR: Duration = Duration::from_secs(3_600);

async fn get(fixture: &Fixture, path: &str) -> (Response, String) {
    read(fixture, Request::get(path).body(Body::empty()).unwrap()).await
}

async fn post(fixture: &Fixture, form: String, site: &str) -> (Response, String) {
    let request = Request::post("/setup")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header("sec-fetch-site", site)
        .body(Body::from(form))
        .unwrap();
    read(fixture, request).await
}

async fn read(fixture: &Fixture, request: Request<Body>) -> (Response, String) {
    let response = fixture.control.http_router().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, 1024 * 1024).await.unwrap();
    (Response::from_parts(parts, Body::empty()), String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_run_from_the_front_page_to_the_key() {
    let fixture = Fixture::new(FileConfig::default()).await;
    let app = fixture.control.app();
    let (front, _) = get(&fixture, "/").await;
    assert_eq!((front.status(), &front.headers()["location"]), (StatusCode::SEE_OTHER, &"/setup".parse().unwrap()));
    assert_eq!(get(&fixture, "/setup").await.0.status(), StatusCode::FORBIDDEN);
    assert_eq!(get(&fixture, "/setup?token=guessed").await.0.status(), StatusCode::FORBIDDEN);
    let link = app.create_setup_link(HOUR).await.unwrap().unwrap();
    assert_eq!(link.url("https://gateway.example/"), format!("https://gateway.example/setup?token={}", link.token));
    let (page, html) = get(&fixture, &format!("/setup?token={}", link.token)).await;
    assert_eq!(page.status(), StatusCode::OK);
    assert!(html.contains("name=\"email\"") && html.contains(&link.token));
    let policy = page.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'self' 'unsafe-inline'; form-action 'self'"), "{policy}");
    assert_eq!(page.headers()["cache-control"], "no-store");

    let form = |email: &str| format!("token={}&email={email}&name=Root", link.token);
    assert_eq!(post(&fixture, form("root%40corp.example"), "cross-site").await.0.status(), StatusCode::FORBIDDEN);
    let (again, html) = post(&fixture, form("no-address"), "same-origin").await;
    assert_eq!(again.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(html.contains("role=\"alert\"") && html.contains("no-address"));
    let (done, html) = post(&fixture, form("Root%40corp.example"), "same-origin").await;
    assert_eq!(done.status(), StatusCode::OK);
    assert!(html.contains("OPENAI_BASE_URL=https://gateway.example/v1") && html.contains("hx_p_"));
    assert!(html.contains("root@corp.example"));

    assert_eq!(post(&fixture, form("second%40corp.example"), "same-origin").await.0.status(), StatusCode::GONE);
    assert_eq!(get(&fixture, &format!("/setup?token={}", link.token)).await.0.status(), StatusCode::GONE);
    assert_eq!(get(&fixture, "/setup").await.0.status(), StatusCode::NOT_FOUND);
    assert_eq!(get(&fixture, "/").await.0.status(), StatusCode::OK);
    assert_eq!(get(&fixture, "/nowhere").await.0.status(), StatusCode::NOT_FOUND);
    assert_eq!(app.create_setup_link(HOUR).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_claims_at_once_one_succeeds() {
    let fixture = Fixture::new(file()).await;
    let app = fixture.control.app();
    let one = app.create_setup_link(HOUR).await.unwrap().unwrap();
    let two = app.create_setup_link(HOUR).await.unwrap().unwrap();
    let mut claims = tokio::task::JoinSet::new();
    for number in 0..50 {
        let (app, token) = (app.clone(), if number % 2 == 0 { one.token.clone() } else { two.token.clone() });
        claims.spawn(async move { app.claim_setup(&token, &format!("root{number}@corp.example"), "").await });
    }
    let outcomes = claims.join_all().await;
    let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 49));
    assert!(lost.iter().all(|lost| matches!(lost, Err(AppError::SpentLink))), "{lost:?}");
    let admins = app.list_users(&helix_control_plane::Actor::Operator).await.unwrap();
    assert_eq!(admins.len(), 2, "the file's user and one administrator");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persons_link_gives_that_person_a_key_whatever_is_typed() {
    let fixture = Fixture::new(file()).await;
    let app = fixture.control.app();
    let new = NewUser { email: "root@corp.example".to_owned(), name: "Root".to_owned(), role: Role::InstanceAdmin };
    let user = app.create_admin(&helix_control_plane::Actor::Operator, &new).await.unwrap();
    let same = app.create_admin(&helix_control_plane::Actor::Operator, &new).await.unwrap();
    assert_eq!(user.id, same.id);
    let link = app.create_sign_in_link(&user, HOUR).await.unwrap();
    let (page, html) = get(&fixture, &format!("/setup?token={}", link.token)).await;
    assert_eq!(page.status(), StatusCode::OK);
    assert!(html.contains("root@corp.example") && !html.contains("name=\"email\""));
    let form = format!("token={}&email=evil%40corp.example", link.token);
    let (done, html) = post(&fixture, form, "same-origin").await;
    assert_eq!(done.status(), StatusCode::OK);
    assert!(html.contains("root@corp.example") && !html.contains("evil"));
    let expired = app.create_sign_in_link(&user, Duration::ZERO).await.unwrap();
    assert_eq!(get(&fixture, &format!("/setup?token={}", expired.token)).await.0.status(), StatusCode::GONE);
}
