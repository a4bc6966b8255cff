//! The `Link` header of lists that are paged by a name instead of a number.

use axum::http::{HeaderMap, HeaderValue, Uri, header};
use tidegate_model::Instance;
use url::form_urlencoded;

/// The link to the page after `last`; none when there is nothing after it.
pub(super) fn next_page(instance: &Instance, uri: &Uri, last: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let Some(last) = last else { return headers };
    let asked = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(asked.filter(|(name, _)| name != "after"))
        .append_pair("after", last)
        .finish();
    let link = format!("<{}{}?{query}>; rel=\"next\"", instance.base(), uri.path());
    if let Ok(value) = HeaderValue::from_str(&link) {
        headers.insert(header::LINK, value);
    }
    headers
}
