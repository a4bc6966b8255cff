//! Paging by id, as Mastodon's clients do it.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, header, request::Parts},
};
use tidegate_model::Instance;
use url::form_urlencoded;

use crate::error::{ApiError, ApiResult};

/// Where in a list, and how much: taken from the query.
#[derive(Debug, Clone, Default)]
pub(crate) struct Paging {
    /// Strictly below.
    pub(crate) max_id: Option<i64>,
    /// Strictly above, the newest first.
    pub(crate) since_id: Option<i64>,
    /// Strictly above, those that follow immediately.
    pub(crate) min_id: Option<i64>,
    limit: Option<i64>,
    /// Elements to pass over, for the few lists that page so.
    pub(crate) offset: i64,
    path: String,
    carried: Vec<(String, String)>,
}

/// What a page's links depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// `next` only when the page was full: most lists.
    WhenFull,
    /// Both whenever there is anything: timelines and notifications.
    Always,
}

impl Paging {
    /// Elements to return: `default` when nothing was asked for, at most `max`.
    pub(crate) fn limit(&self, default: i64, max: i64) -> i64 {
        self.limit.unwrap_or(default).min(max)
    }

    /// Whether the list is read upwards from `min_id`; the result is then turned round.
    pub(crate) fn is_ascending(&self) -> bool {
        self.min_id.is_some()
    }

    /// The lower bound, whichever way the list is read.
    pub(crate) fn above(&self) -> Option<i64> {
        self.min_id.or(self.since_id)
    }

    /// The `Link` header of a page that holds the ids `newest..=oldest`. `full` tells whether it
    /// has as many elements as were asked for. An empty page has no links.
    pub(crate) fn links(
        &self,
        instance: &Instance,
        kind: Links,
        newest: Option<i64>,
        oldest: Option<i64>,
        full: bool,
    ) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let (Some(newest), Some(oldest)) = (newest, oldest) else {
            return headers;
        };
        let mut links = Vec::new();
        // `next` comes first: a client matches it at the start of the header.
        if full || kind == Links::Always {
            links.push(self.link(instance, "max_id", oldest, "next"));
        }
        links.push(self.link(instance, "min_id", newest, "prev"));
        if let Ok(value) = HeaderValue::from_str(&links.join(", ")) {
            headers.insert(header::LINK, value);
        }
        headers
    }

    fn link(&self, instance: &Instance, param: &str, id: i64, rel: &str) -> String {
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&self.carried)
            .append_pair(param, &id.to_string())
            .finish();
        format!("<{}{}?{query}>; rel=\"{rel}\"", instance.base(), self.path)
    }
}

impl<S: Sync> FromRequestParts<S> for Paging {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        let mut paging = Self {
            path: parts.uri.path().to_owned(),
            ..Self::default()
        };
        let query = parts.uri.query().unwrap_or_default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "max_id" => paging.max_id = number("max_id", &value)?,
                "since_id" => paging.since_id = number("since_id", &value)?,
                "min_id" => paging.min_id = number("min_id", &value)?,
                "limit" => {
                    paging.limit = positive("limit", &value)?;
                    paging.carried.push((name.into_owned(), value.into_owned()));
                }
                "offset" => paging.offset = positive("offset", &value)?.unwrap_or(0),
                _ => paging.carried.push((name.into_owned(), value.into_owned())),
            }
        }
        Ok(paging)
    }
}

/// A number, or nothing when the parameter is empty.
fn number(name: &str, value: &str) -> ApiResult<Option<i64>> {
    if value.is_empty() {
        return Ok(None);
    }
    value
        .parse()
        .map(Some)
        .map_err(|_| ApiError::bad_request(format!("{name} must be a number")))
}

fn positive(name: &str, value: &str) -> ApiResult<Option<i64>> {
    match number(name, value)? {
        Some(number) if number < 0 => {
            Err(ApiError::bad_request(format!("{name} must be positive")))
        }
        other => Ok(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{Request, StatusCode};
    use url::Url;

    async fn paging(uri: &str) -> ApiResult<Paging> {
        let (mut parts, ()) = Request::get(uri).body(()).expect("a request").into_parts();
        Paging::from_request_parts(&mut parts, &()).await
    }

    fn instance() -> Instance {
        Instance::new("a.test", &Url::parse("https://a.test").expect("a URL"))
    }

    #[tokio::test]
    async fn next_comes_first_and_filters_are_carried() {
        let paging = paging("/api/v1/x?limit=2&only_media=1&max_id=9&id[]=3")
            .await
            .expect("reads");
        let headers = paging.links(&instance(), Links::WhenFull, Some(8), Some(7), true);
        assert_eq!(
            headers[header::LINK],
            "<https://a.test/api/v1/x?limit=2&only_media=1&id%5B%5D=3&max_id=7>; rel=\"next\", \
             <https://a.test/api/v1/x?limit=2&only_media=1&id%5B%5D=3&min_id=8>; rel=\"prev\""
        );
    }

    #[tokio::test]
    async fn an_empty_page_has_no_links_and_a_short_one_no_next() {
        let paging = paging("/x").await.expect("reads");
        assert!(
            paging
                .links(&instance(), Links::Always, None, None, false)
                .is_empty()
        );
        let short = paging.links(&instance(), Links::WhenFull, Some(2), Some(1), false);
        let text = short[header::LINK].to_str().expect("text");
        assert!(!text.contains("next") && text.contains("prev"));
    }

    #[tokio::test]
    async fn limits_are_capped_and_nonsense_is_refused() {
        let paging_of = paging("/x?limit=500").await.expect("reads");
        assert_eq!(paging_of.limit(20, 40), 40);
        assert_eq!(paging("/x").await.expect("reads").limit(20, 40), 20);
        for uri in ["/x?limit=-1", "/x?max_id=abc", "/x?offset=-5"] {
            let error = paging(uri).await.expect_err("refused");
            assert_eq!(error.status(), StatusCode::BAD_REQUEST, "{uri}");
        }
    }
}
