//! The control endpoints, and the way scripts are chosen.
//!
//! Rule: only what another process can do over HTTP.

use http::Method;
use serde_json::json;

use crate::client::{chat, control, send, start};

#[tokio::test]
async fn the_bill_is_read_and_cleared_over_http() {
    let fake = start();
    send(&fake, chat(&json!({"input_tokens": 4, "output_tokens": 1}), &json!({}))).await.unwrap();
    let (status, bill) = control(&fake, Method::GET, "/_fake/bill", "").await;
    assert_eq!((status, &bill["total_nano_usd"]), (200, &json!(3000)));
    assert_eq!(bill["entries"][0]["state"], "complete");
    control(&fake, Method::DELETE, "/_fake/bill", "").await;
    let (_, bill) = control(&fake, Method::GET, "/_fake/bill", "").await;
    assert_eq!(bill, json!({"total_nano_usd": 0, "entries": []}));
    send(&fake, chat(&json!({}), &json!({}))).await.unwrap();
    assert_eq!(fake.bill.entries()[0].seq, 2, "numbers are never used twice");
}

#[tokio::test]
async fn header_wins_over_marker_wins_over_default() {
    let fake = start();
    let script = r#"{"text":"default","output_tokens":3,"input_tokens":9}"#;
    assert_eq!(control(&fake, Method::PUT, "/_fake/script", script).await.0, 200);
    let (status, error) = control(&fake, Method::PUT, "/_fake/script", r#"{"txt":1}"#).await;
    assert!(status == 400 && error["error"].as_str().unwrap().contains("txt"));
    let mut request = chat(&json!({"text": "marker", "output_tokens": 4}), &json!({}));
    request.headers_mut().insert("x-fake-script", r#"{"text":"header"}"#.parse().unwrap());
    let body = send(&fake, request).await.unwrap().json();
    assert_eq!(body["choices"][0]["message"]["content"], "header");
    assert_eq!((&body["usage"]["completion_tokens"], &body["usage"]["prompt_tokens"]), (&json!(4), &json!(9)));
}

#[tokio::test]
async fn counters_can_be_waited_for_over_http() {
    let fake = start();
    let script = json!({"gate": "go"});
    let held = send(&fake, chat(&script, &json!({})));
    let steps = async {
        let (status, stats) = control(&fake, Method::GET, "/_fake/stats?accepted=1&in_flight=1", "").await;
        assert_eq!((status, &stats["peak_in_flight"]), (200, &json!(1)));
        assert_eq!(control(&fake, Method::POST, "/_fake/gate/go", "").await.0, 200);
        let (status, stats) = control(&fake, Method::GET, "/_fake/stats?complete=1&in_flight=0", "").await;
        assert_eq!((status, &stats["accepted"]), (200, &json!(1)));
    };
    let (answer, ()) = tokio::join!(held, steps);
    assert_eq!(answer.unwrap().status, 200);
    assert_eq!(control(&fake, Method::GET, "/_fake/stats?accepted=9&timeout_ms=1", "").await.0, 408);
    assert_eq!(control(&fake, Method::GET, "/_fake/stats?unknown=9", "").await.0, 400);
}
