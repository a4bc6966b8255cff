//! Ids in paths. What is not a number cannot exist, and is answered like what does not.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;

use crate::error::{ApiError, ApiResult};

/// The `{id}` of a path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Id(pub(crate) i64);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::not_found())?;
        params
            .iter()
            .find(|(name, _)| *name == "id")
            .and_then(|(_, value)| value.parse().ok())
            .map(Self)
            .ok_or_else(ApiError::not_found)
    }
}

/// Ids given as a list of texts, without repeats, at most `max`; nonsense is passed over.
pub(crate) fn ids(texts: &[String], max: usize) -> Vec<i64> {
    let mut found = Vec::new();
    for id in texts.iter().filter_map(|text| text.parse().ok()) {
        if !found.contains(&id) {
            found.push(id);
        }
        if found.len() == max {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_and_nonsense_are_passed_over() {
        let texts: Vec<String> = ["3", "x", "3", "1", "2"].map(str::to_owned).into();
        assert_eq!(ids(&texts, 2), [3, 1]);
    }
}
