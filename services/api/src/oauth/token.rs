//! Exchanging a code, or an app's own credentials, for a token.

use aws_lc_rs::digest::{SHA256, digest};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde::{Deserialize, Serialize};
use sqlx::PgExecutor;
use tidegate_store::StoreError;
use time::OffsetDateTime;

use super::{OAuthApp, app_by_secret};
use crate::{
    auth::{hash_token, is_subset, parse_list, random_token},
    error::{ApiResult, OAuthError},
    params::Params,
    state::App,
};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TokenRequest {
    grant_type: String,
    client_id: String,
    client_secret: String,
    code: String,
    redirect_uri: String,
    code_verifier: Option<String>,
    scope: Option<String>,
}

/// A token as clients get it, this once.
#[derive(Debug, Serialize)]
pub(crate) struct TokenBody {
    access_token: String,
    token_type: &'static str,
    scope: String,
    created_at: i64,
}

impl TokenBody {
    /// Stores a new token for the app, and for the user if there is one.
    pub(crate) async fn issue(
        executor: impl PgExecutor<'_>,
        app_id: i64,
        user_id: Option<i64>,
        scopes: &[String],
        now: OffsetDateTime,
    ) -> Result<Self, StoreError> {
        let token = random_token();
        sqlx::query(
            "insert into tokens (token_hash, app_id, user_id, scopes, created_at)
             values ($1, $2, $3, $4, $5)",
        )
        .bind(&hash_token(&token)[..])
        .bind(app_id)
        .bind(user_id)
        .bind(scopes)
        .bind(now)
        .execute(executor)
        .await?;
        Ok(Self {
            access_token: token,
            token_type: "Bearer",
            scope: scopes.join(" "),
            created_at: now.unix_timestamp(),
        })
    }
}

impl IntoResponse for TokenBody {
    fn into_response(self) -> Response {
        ([(header::CACHE_CONTROL, "no-store")], Json(self)).into_response()
    }
}

/// The app's name and secret: from a Basic header if there is one, else from the body.
pub(super) fn credentials(headers: &HeaderMap, id: String, secret: String) -> (String, String) {
    basic(headers).unwrap_or((id, secret))
}

fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    // RFC 6749 has both parts form-encoded; ours need no escapes, so decoding does no harm.
    let decode = |part: &str| {
        percent_encoding::percent_decode_str(part)
            .decode_utf8_lossy()
            .into_owned()
    };
    Some((decode(id), decode(secret)))
}

/// `POST /oauth/token`.
pub(super) async fn issue(
    State(app): State<App>,
    headers: HeaderMap,
    Params(given): Params<TokenRequest>,
) -> ApiResult<TokenBody> {
    // Checked first, so that a client that tries the password grant falls over to another one.
    if !matches!(
        given.grant_type.as_str(),
        "authorization_code" | "client_credentials"
    ) {
        return Err(match given.grant_type.as_str() {
            "" => OAuthError::invalid_request("Missing required parameter: grant_type.").into(),
            _ => OAuthError::unsupported_grant_type().into(),
        });
    }
    let (client_id, secret) = credentials(
        &headers,
        given.client_id.clone(),
        given.client_secret.clone(),
    );
    let client = app_by_secret(&app.deps.pool, &client_id, &secret)
        .await?
        .ok_or_else(OAuthError::invalid_client)?;
    if given.grant_type == "client_credentials" {
        own_token(&app, &client, given.scope.as_deref()).await
    } else {
        exchange(&app, &client, &given).await
    }
}

async fn own_token(app: &App, client: &OAuthApp, scope: Option<&str>) -> ApiResult<TokenBody> {
    let scopes = parse_list(scope.unwrap_or_default()).ok_or_else(OAuthError::invalid_scope)?;
    if !is_subset(&scopes, &client.scopes) {
        return Err(OAuthError::invalid_scope().into());
    }
    let now = app.deps.clock.now();
    Ok(TokenBody::issue(&app.deps.pool, client.id, None, &scopes, now).await?)
}

#[derive(sqlx::FromRow)]
struct UsedCode {
    user_id: i64,
    scopes: Vec<String>,
    code_challenge: Option<String>,
}

async fn exchange(app: &App, client: &OAuthApp, given: &TokenRequest) -> ApiResult<TokenBody> {
    let now = app.deps.clock.now();
    let mut transaction = tidegate_store::begin(&app.deps.pool).await?;
    // Taking the code and marking it as used is one statement: of two at once one finds it.
    let code: Option<UsedCode> = sqlx::query_as(
        "update oauth_codes set used_at = $4
         where code_hash = $1 and app_id = $2 and redirect_uri = $3
           and used_at is null and expires_at > $4
         returning user_id, scopes, code_challenge",
    )
    .bind(&hash_token(&given.code)[..])
    .bind(client.id)
    .bind(&given.redirect_uri)
    .bind(now)
    .fetch_optional(&mut *transaction)
    .await?;
    let code = code.ok_or_else(OAuthError::invalid_grant)?;
    if !proves(
        code.code_challenge.as_deref(),
        given.code_verifier.as_deref(),
    ) {
        // Somebody else may hold the code: it stays used.
        transaction.commit().await?;
        return Err(OAuthError::invalid_grant().into());
    }
    let token = TokenBody::issue(
        &mut *transaction,
        client.id,
        Some(code.user_id),
        &code.scopes,
        now,
    )
    .await?;
    transaction.commit().await?;
    Ok(token)
}

/// Whether `verifier` is what `challenge` was made from (RFC 7636, S256). Without a challenge
/// none is needed, but one that is sent anyway betrays a mix-up.
fn proves(challenge: Option<&str>, verifier: Option<&str>) -> bool {
    match (challenge, verifier.filter(|text| !text.is_empty())) {
        (None, None) => true,
        (Some(challenge), Some(verifier)) => {
            URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes())) == challenge
        }
        (Some(_), None) | (None, Some(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn the_verifier_of_rfc_7636_proves_its_challenge() {
        let challenge = Some("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        assert!(proves(
            challenge,
            Some("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
        ));
        assert!(!proves(challenge, Some("another")));
        assert!(!proves(challenge, None));
        assert!(!proves(None, Some("another")));
        assert!(proves(None, None));
    }

    #[test]
    fn credentials_in_the_header_win() {
        let mut headers = HeaderMap::new();
        let from_body = credentials(&headers, "a".to_owned(), "b".to_owned());
        assert_eq!(from_body, ("a".to_owned(), "b".to_owned()));
        headers.insert(
            header::AUTHORIZATION,
            HeaderValue::from_static("Basic eDp5"),
        );
        let from_header = credentials(&headers, "a".to_owned(), "b".to_owned());
        assert_eq!(from_header, ("x".to_owned(), "y".to_owned()));
    }
}
