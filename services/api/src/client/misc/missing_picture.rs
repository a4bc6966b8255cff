//! `GET /avatars/missing.png`: the picture of everybody who has none, a plain grey square.

use axum::http::header;
use axum::response::IntoResponse;

/// 96 by 96 pixels of one grey.
const PICTURE: &[u8] = include_bytes!("missing.png");

pub(crate) async fn missing_picture() -> impl IntoResponse {
    (
        [
            (header::CONTENT_TYPE, "image/png"),
            // It never changes.
            (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        ],
        PICTURE,
    )
}
