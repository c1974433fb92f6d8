//! When an upload is whole: at its last byte where the client said how much comes, at its end where not.

use super::*;
use helix_llm::Form;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;

const PART: &str = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nRIFF\r\n";
const END: &str = "--b--\r\n";

/// Sends the pieces as a request's body and gives what `look` sees of the upload at the other end.
async fn upload<T: Send + 'static, F: Future<Output = T> + Send>(
    head: &str,
    pieces: Vec<String>,
    look: impl Fn(Upload) -> F + Send + Sync + Copy + 'static,
) -> T {
    let (mut client, server) = tokio::io::duplex(64 << 10);
    let (tell, mut told) = tokio::sync::mpsc::channel(1);
    let declared = head.strip_prefix("content-length: ").map(|length| length.parse().unwrap());
    let service = service_fn(move |request: Request<Incoming>| {
        let tell = tell.clone();
        async move {
            let upload = Upload::new(request.into_body(), Form::new("b"), BytesMut::new(), declared, 1 << 20);
            tell.send(look(upload).await).await.unwrap();
            Ok::<_, std::convert::Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(server), service);
    let head = format!("POST / HTTP/1.1\r\nhost: h\r\n{head}\r\n\r\n");
    let sending = async {
        client.write_all(head.as_bytes()).await.unwrap();
        for piece in pieces {
            client.write_all(piece.as_bytes()).await.unwrap();
            client.flush().await.unwrap();
        }
        let seen = told.recv().await.unwrap();
        drop(client);
        seen
    };
    // A connection whose request was not read to its end may close before what was seen is heard.
    tokio::join!(sending, serving).0
}

/// Reads so many bytes, and not on to the end.
async fn take(upload: &Upload, bytes: usize) -> Vec<u8> {
    let mut pieces = Pieces::default().and_then(Some(upload.clone()));
    let mut taken = Vec::new();
    while taken.len() < bytes {
        let Some(frame) = pieces.frame().await else { break };
        taken.extend_from_slice(&frame.unwrap().into_data().unwrap());
    }
    taken
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

#[tokio::test]
async fn an_upload_of_a_declared_length_is_whole_with_its_last_byte() {
    let whole = format!("{PART}{END}");
    let length = whole.len();
    let head = format!("content-length: {length}");
    let seen = upload(&head, vec![whole.clone()], move |upload| async move {
        let before = upload.is_whole();
        // Nobody reads on who has counted the bytes.
        let taken = take(&upload, PART.len() + END.len()).await;
        (before, taken.len(), upload.is_whole(), upload.is_begun())
    });
    assert_eq!(seen.await, (false, length, true, true));
}

#[tokio::test]
async fn an_upload_of_unknown_length_is_whole_where_its_end_was_read() {
    let pieces = vec![chunk(PART), chunk(END), "0\r\n\r\n".to_owned()];
    let seen = upload("transfer-encoding: chunked", pieces, |upload| async move {
        let all = take(&upload, usize::MAX).await;
        (all.len(), upload.is_whole())
    });
    assert_eq!(seen.await, (PART.len() + END.len(), true));
}

#[tokio::test]
async fn an_upload_that_is_not_read_to_its_end_is_not_whole() {
    let pieces = vec![chunk(PART), chunk(END), "0\r\n\r\n".to_owned()];
    let seen = upload("transfer-encoding: chunked", pieces, |upload| async move {
        drop(take(&upload, 1).await);
        (upload.is_begun(), upload.is_whole())
    });
    assert_eq!(seen.await, (true, false));
}

#[tokio::test]
async fn an_upload_whose_form_does_not_end_is_never_whole() {
    let seen = upload("transfer-encoding: chunked", vec![chunk(PART), "0\r\n\r\n".to_owned()], |upload| async move {
        let mut pieces = Pieces::default().and_then(Some(upload.clone()));
        let mut last = None;
        while let Some(frame) = pieces.frame().await {
            if let Err(error) = frame {
                last = Some(error.to_string());
                break;
            }
        }
        (last, upload.is_whole(), upload.form_error().is_some())
    });
    assert_eq!(seen.await, (Some("the client's upload cannot be forwarded".to_owned()), false, true));
}
