//! Forms are taken from our own pages only.
//!
//! Rule: a browser says where a form comes from (`Sec-Fetch-Site`, else `Origin`); what comes from elsewhere is refused
//! before it is read. A client that is no browser sends neither header and holds no session that could be abused.

use super::{Web, respond};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use helix_ui::NoticePage;
use http::{HeaderMap, Method, StatusCode, header};

pub(super) async fn same_origin(State(web): State<Web>, request: Request, next: Next) -> Response {
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if is_safe || is_ours(request.headers(), &web.public_url) {
        return next.run(request).await;
    }
    let notice = NoticePage {
        title: "Not from here".to_owned(),
        message: "This form was sent by another site, so it was not used.".to_owned(),
        advice: "Open the page on this gateway and send the form there.".to_owned(),
        command: String::new(),
    };
    respond::page(StatusCode::FORBIDDEN, notice.to_html())
}

fn is_ours(headers: &HeaderMap, public_url: &str) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return matches!(site.as_bytes(), b"same-origin" | b"none");
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    if origin.eq_ignore_ascii_case(origin_of(public_url)) {
        return true;
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let origin_host = origin.split_once("://").map(|(_, host)| host);
    host.is_some() && host == origin_host
}

/// Scheme, host and port of a URL.
fn origin_of(url: &str) -> &str {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let end = url.bytes().enumerate().skip(after_scheme).find(|(_, byte)| *byte == b'/').map(|(at, _)| at);
    end.and_then(|end| url.get(..end)).unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_of_another_site_is_not_ours() {
        let check = |pairs: &[(&'static str, &'static str)], expected: bool| {
            let headers: HeaderMap =
                pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            assert_eq!(is_ours(&headers, "https://gateway.example/base"), expected, "{pairs:?}");
        };
        check(&[], true);
        check(&[("sec-fetch-site", "same-origin"), ("origin", "https://elsewhere")], true);
        check(&[("sec-fetch-site", "cross-site")], false);
        check(&[("sec-fetch-site", "same-site")], false);
        check(&[("origin", "https://gateway.example")], true);
        check(&[("origin", "http://127.0.0.1:8080"), ("host", "127.0.0.1:8080")], true);
        check(&[("origin", "http://evil.example"), ("host", "127.0.0.1:8080")], false);
        check(&[("origin", "null"), ("host", "127.0.0.1:8080")], false);
    }
}
