//! Parameters in every form that Mastodon's clients send them: query, JSON, url-encoded form,
//! multipart form; nested as Rails nests them; all merged into one tree and read leniently.

mod lenient;
mod tree;

use std::fmt;

use axum::{
    body::Bytes,
    extract::{FromRequest, Multipart, Request},
    http::{StatusCode, header},
};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;
use tidegate_federation::parse::has_nul;

use crate::{error::ApiError, state::App};

pub(crate) use tree::Tree;

/// The largest body of a request that is not a media upload: a long post or profile with all
/// its fields is a few dozen kilobytes.
pub(crate) const MAX_BODY_BYTES: usize = 1024 * 1024;

/// A request's parameters as a `T`. The body wins over the query.
///
/// - `id[]=1&id[]=2` is a list, `source[privacy]=x` a map, in every encoding.
/// - Numbers may come as strings and strings as numbers; booleans as Rails casts them.
/// - An empty value is an empty string; [`blank_as_none`] makes it nothing.
#[derive(Debug, Clone)]
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<App> for Params<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let tree = read(request, app).await?;
        from_tree(tree).map(Self)
    }
}

/// Reads `T` out of a tree of parameters.
pub(crate) fn from_tree<T: DeserializeOwned>(tree: Value) -> Result<T, ApiError> {
    T::deserialize(lenient::Lenient(tree))
        .map_err(|error| ApiError::unprocessable(error.to_string()))
}

/// For optional fields: an empty string counts as absent, whatever the type.
pub(crate) fn blank_as_none<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: DeserializeOwned,
    D: Deserializer<'de>,
{
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(None),
        Value::String(text) if text.is_empty() => Ok(None),
        value => T::deserialize(lenient::Lenient(value))
            .map(Some)
            .map_err(serde::de::Error::custom),
    }
}

async fn read(request: Request, app: &App) -> Result<Value, ApiError> {
    let mut tree = Tree::default();
    tree.add_pairs(request.uri().query().unwrap_or_default().as_bytes())?;
    let content_type = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    if content_type == "multipart/form-data" {
        read_multipart(request, app, &mut tree).await?;
        return without_nul(tree.into_value());
    }
    let body = Bytes::from_request(request, app)
        .await
        .map_err(|rejection| body_error(rejection.status()))?;
    match content_type.as_str() {
        _ if body.is_empty() => {}
        "application/json" => tree.merge_json(parse_json(&body)?)?,
        "application/x-www-form-urlencoded" => tree.add_pairs(&body)?,
        // Some clients name no type, or `text/plain`, for a form.
        _ if body.first() == Some(&b'{') => tree.merge_json(parse_json(&body)?)?,
        _ => tree.add_pairs(&body)?,
    }
    without_nul(tree.into_value())
}

/// Refuses U+0000, which no text of the database holds; everything else is text.
fn without_nul(tree: Value) -> Result<Value, ApiError> {
    if has_nul(&tree) {
        return Err(ApiError::validation(
            "Text holds characters that no text has",
        ));
    }
    Ok(tree)
}

fn parse_json(body: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(body).map_err(|_| malformed())
}

pub(crate) fn malformed() -> ApiError {
    ApiError::bad_request("There was a problem parsing the request parameters")
}

fn body_error(status: StatusCode) -> ApiError {
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        ApiError::too_large()
    } else {
        malformed()
    }
}

/// Text fields as they are. Of a file only its name is kept: whoever is sent one knows that, and
/// what it holds is nobody's yet.
async fn read_multipart(request: Request, app: &App, tree: &mut Tree) -> Result<(), ApiError> {
    let mut form = Multipart::from_request(request, app)
        .await
        .map_err(|_| malformed())?;
    loop {
        let field = form
            .next_field()
            .await
            .map_err(|error| body_error(error.status()))?;
        let Some(field) = field else {
            return Ok(());
        };
        let name = field.name().unwrap_or_default().to_owned();
        let file = field.file_name().map(str::to_owned);
        let bytes = field
            .bytes()
            .await
            .map_err(|error| body_error(error.status()))?;
        let text = match file {
            Some(file) => file,
            None => String::from_utf8(bytes.to_vec()).map_err(|_| malformed())?,
        };
        tree.add(&name, text)?;
    }
}

impl From<TooMuch> for ApiError {
    fn from(error: TooMuch) -> Self {
        Self::bad_request(error.to_string())
    }
}

/// Parameters that are nested too deep, too many, or contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMuch;

impl fmt::Display for TooMuch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("There was a problem parsing the request parameters")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Sample {
        status: String,
        sensitive: bool,
        locked: Option<bool>,
        media_ids: Vec<String>,
        #[serde(deserialize_with = "blank_as_none")]
        in_reply_to_id: Option<i64>,
        source: Source,
        fields_attributes: Vec<Field>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Source {
        privacy: Option<String>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Field {
        name: String,
        value: String,
    }

    fn form(text: &str) -> Sample {
        let mut tree = Tree::default();
        tree.add_pairs(text.as_bytes()).expect("a form");
        from_tree(tree.into_value()).expect("a sample")
    }

    fn json(value: Value) -> Sample {
        from_tree(value).expect("a sample")
    }

    #[test]
    fn a_form_and_json_say_the_same() {
        let from_form = form(
            "status=hi&sensitive=1&media_ids[]=4&media_ids[]=5&source[privacy]=private\
             &fields_attributes[0][name]=a&fields_attributes[0][value]=b\
             &fields_attributes[1][name]=c&fields_attributes[1][value]=d&in_reply_to_id=7",
        );
        let from_json = json(serde_json::json!({
            "status": "hi", "sensitive": true, "media_ids": [4, "5"],
            "source": {"privacy": "private"}, "in_reply_to_id": "7",
            "fields_attributes": [{"name": "a", "value": "b"}, {"name": "c", "value": "d"}],
        }));
        assert_eq!(from_form, from_json);
        assert_eq!(from_form.fields_attributes.len(), 2);
        assert_eq!(from_form.in_reply_to_id, Some(7));
    }

    #[test]
    fn booleans_are_cast_as_rails_does() {
        for text in ["0", "f", "F", "false", "FALSE", "off", "OFF", ""] {
            assert!(!form(&format!("sensitive={text}")).sensitive, "{text}");
        }
        for text in ["1", "t", "true", "on", "yes", "anything"] {
            assert!(form(&format!("sensitive={text}")).sensitive, "{text}");
        }
        assert_eq!(form("").locked, None);
        assert_eq!(form("locked=off").locked, Some(false));
        assert_eq!(json(serde_json::json!({"locked": null})).locked, None);
        assert!(json(serde_json::json!({"sensitive": 1})).sensitive);
    }

    #[test]
    fn an_empty_id_is_none() {
        assert_eq!(form("in_reply_to_id=").in_reply_to_id, None);
    }

    #[test]
    fn a_single_value_will_do_for_a_list() {
        assert_eq!(form("media_ids=4").media_ids, ["4"]);
        assert!(form("media_ids[]=").media_ids.is_empty());
    }

    #[test]
    fn what_does_not_fit_is_refused_without_a_panic() {
        let mut tree = Tree::default();
        tree.add_pairs(b"in_reply_to_id=abc").expect("a form");
        let error = from_tree::<Sample>(tree.into_value()).expect_err("refused");
        assert_eq!(error.status(), StatusCode::UNPROCESSABLE_ENTITY);
    }
}
