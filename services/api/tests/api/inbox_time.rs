//! The time of a signature at the inbox (A5, A6): judged before anything is written, also when the
//! key is not known, by what the signature covers and never by a header beside it.

use axum::http::{HeaderValue, header};
use time::{Duration, OffsetDateTime};

use tidegate_api::ApiOptions;

use crate::common::{Server, quick};
use crate::peer::{Peer, known_and_stranger, refused_from_anybody, taken};

/// Just outside the window, what other software allows, and the same to come.
const OUTSIDE: [i64; 4] = [-66, -13 * 60, 66, 24 * 60];

const TARGET: (&str, &str) = ("(request-target)", "post /inbox");
const HOST: (&str, &str) = ("host", "us.test");
const METHOD: (&str, &str) = ("@method", "POST");
const URI: (&str, &str) = ("@target-uri", "https://us.test/inbox");

fn http_date(at: OffsetDateTime) -> String {
    httpdate::fmt_http_date(at.into())
}

fn in_minutes(minutes: i64) -> i64 {
    (OffsetDateTime::now_utc() + Duration::minutes(minutes)).unix_timestamp()
}

#[tokio::test]
async fn what_is_put_together_by_hand_is_taken_when_its_time_is_right() {
    let server = Server::start().await;
    let (bob, stranger) = known_and_stranger(&server).await;
    let now = OffsetDateTime::now_utc();
    let created = now.unix_timestamp();
    for peer in [&bob, &stranger] {
        let note = peer.note().to_string();
        let body = note.as_bytes();
        let at = created.to_string();
        let lines = [TARGET, HOST, ("(created)", &at)];
        let parameters = format!("created={created},");
        taken(
            &server,
            peer.cavage_by_hand(&lines, &parameters, body),
            "created",
        )
        .await;
        let date = http_date(now);
        let dated = peer.cavage_by_hand(&[TARGET, HOST, ("date", &date)], "", body);
        taken(&server, dated, "date").await;
        let parameters = format!(";created={created};expires={}", created + 60);
        let modern = peer.rfc9421_by_hand(&[METHOD, URI], &parameters, body);
        taken(&server, modern, "rfc 9421").await;
    }
    assert_eq!(server.count("queue_messages").await, 3);
    assert_eq!(server.count("unverified_activities").await, 3);
}

#[tokio::test]
async fn a5_a_covered_time_outside_the_window_is_refused_without_a_trace() {
    let server = Server::start().await;
    let peers = known_and_stranger(&server).await;
    for minutes in OUTSIDE {
        let at = OffsetDateTime::now_utc() + Duration::minutes(minutes);
        let why = format!("{minutes} minutes");
        refused_from_anybody(&server, &peers, &why, |peer, body| {
            peer.request_9421("/inbox", body, at)
        })
        .await;
        refused_from_anybody(&server, &peers, &why, |peer, body| {
            // The date of now is beside the signature: it must not help.
            let mut request = peer.request_9421("/inbox", body, at);
            let now = http_date(OffsetDateTime::now_utc());
            let now = HeaderValue::from_str(&now).expect("a date");
            request.headers_mut().insert(header::DATE, now);
            request
        })
        .await;
        refused_from_anybody(&server, &peers, &why, |peer, body| {
            created_by_hand(peer, in_minutes(minutes), "", body)
        })
        .await;
    }
}

/// A cavage request whose only time is `(created)`.
fn created_by_hand(
    peer: &Peer,
    created: i64,
    more: &str,
    body: &[u8],
) -> axum::http::Request<axum::body::Body> {
    let at = created.to_string();
    let lines = [TARGET, HOST, ("(created)", at.as_str())];
    peer.cavage_by_hand(&lines, &format!("created={created},{more}"), body)
}

#[tokio::test]
async fn a5_what_its_sender_let_expire_is_refused_without_a_trace() {
    let server = Server::start().await;
    let peers = known_and_stranger(&server).await;
    // What expired outside the window was also signed outside it.
    let (created, expires) = (in_minutes(-70), in_minutes(-68));
    refused_from_anybody(&server, &peers, "cavage", |peer, body| {
        created_by_hand(peer, created, &format!("expires={expires},"), body)
    })
    .await;
    refused_from_anybody(&server, &peers, "rfc 9421", |peer, body| {
        let parameters = format!(";created={created};expires={expires}");
        peer.rfc9421_by_hand(&[METHOD, URI], &parameters, body)
    })
    .await;
    // The covered date is right, but it cannot be from after the end.
    let date = http_date(OffsetDateTime::now_utc());
    refused_from_anybody(&server, &peers, "date", |peer, body| {
        let lines = [TARGET, HOST, ("date", date.as_str())];
        peer.cavage_by_hand(&lines, &format!("expires={expires},"), body)
    })
    .await;
}

#[tokio::test]
async fn a6_a_time_that_is_missing_or_said_twice_is_refused_without_a_trace() {
    let server = Server::start().await;
    let peers = known_and_stranger(&server).await;
    let date = http_date(OffsetDateTime::now_utc());
    let value = HeaderValue::from_str(&date).expect("a date");
    let dated = [TARGET, HOST, ("date", date.as_str())];
    refused_from_anybody(&server, &peers, "no time at all", |peer, body| {
        peer.cavage_by_hand(&[TARGET, HOST], "", body)
    })
    .await;
    refused_from_anybody(
        &server,
        &peers,
        "a date that is not covered",
        |peer, body| {
            let mut request = peer.cavage_by_hand(&[TARGET, HOST], "", body);
            request.headers_mut().insert(header::DATE, value.clone());
            request
        },
    )
    .await;
    refused_from_anybody(
        &server,
        &peers,
        "a covered date that is absent",
        |peer, body| {
            let mut request = peer.cavage_by_hand(&dated, "", body);
            request.headers_mut().remove(header::DATE);
            request
        },
    )
    .await;
    refused_from_anybody(&server, &peers, "two dates", |peer, body| {
        let mut request = peer.cavage_by_hand(&dated, "", body);
        request.headers_mut().append(header::DATE, value.clone());
        request
    })
    .await;
    refused_from_anybody(&server, &peers, "two dates under rfc 9421", |peer, body| {
        let components = [METHOD, URI, ("date", date.as_str())];
        let parameters = format!(";created={}", in_minutes(0));
        let mut request = peer.rfc9421_by_hand(&components, &parameters, body);
        request.headers_mut().append(header::DATE, value.clone());
        request
    })
    .await;
    refused_from_anybody(&server, &peers, "rfc 9421 without created", |peer, body| {
        let components = [METHOD, URI, ("date", date.as_str())];
        peer.rfc9421_by_hand(&components, "", body)
    })
    .await;
}

#[tokio::test]
async fn a6_a_time_that_is_none_or_lies_ahead_is_refused_without_a_trace() {
    let server = Server::start().await;
    let peers = known_and_stranger(&server).await;
    for date in ["2026-11-25T13:00:00Z", "yesterday", "0", ""] {
        refused_from_anybody(&server, &peers, date, |peer, body| {
            peer.cavage_by_hand(&[TARGET, HOST, ("date", date)], "", body)
        })
        .await;
    }
    for created in [in_minutes(66), in_minutes(24 * 60), i64::MAX, i64::MIN] {
        let why = format!("created={created}");
        refused_from_anybody(&server, &peers, &why, |peer, body| {
            created_by_hand(peer, created, "", body)
        })
        .await;
        refused_from_anybody(&server, &peers, &why, |peer, body| {
            peer.rfc9421_by_hand(&[METHOD, URI], &format!(";created={created}"), body)
        })
        .await;
    }
    let (created, expires) = (in_minutes(0), in_minutes(-1));
    refused_from_anybody(&server, &peers, "expires before created", |peer, body| {
        created_by_hand(peer, created, &format!("expires={expires},"), body)
    })
    .await;
    refused_from_anybody(&server, &peers, "and under rfc 9421", |peer, body| {
        let parameters = format!(";created={created};expires={expires}");
        peer.rfc9421_by_hand(&[METHOD, URI], &parameters, body)
    })
    .await;
}

#[tokio::test]
async fn a5_the_window_is_the_operators() {
    let window_of = |minutes| ApiOptions {
        signature_window: Duration::minutes(minutes),
        ..quick()
    };
    let at = OffsetDateTime::now_utc() - Duration::minutes(70);
    let narrow = Server::with(window_of(69)).await;
    let peers = known_and_stranger(&narrow).await;
    refused_from_anybody(&narrow, &peers, "narrow", |peer, body| {
        peer.request("/inbox", body, at)
    })
    .await;
    let wide = Server::with(window_of(75)).await;
    let (bob, stranger) = known_and_stranger(&wide).await;
    for peer in [&bob, &stranger] {
        let body = peer.note().to_string();
        taken(&wide, peer.request("/inbox", body.as_bytes(), at), "wide").await;
    }
}
