//! Redirect URIs: which may be registered, and how an answer is put on one.

use url::Url;

/// "Show the code on a page": the redirect of programs without a browser of their own.
pub(super) const OUT_OF_BAND: &str = "urn:ietf:wg:oauth:2.0:oob";

/// Mastodon's limit.
const MAX_BYTES: usize = 2_000;

/// Schemes with which a browser would run or show what the app says, in our name.
const FORBIDDEN_SCHEMES: [&str; 5] = ["javascript", "data", "vbscript", "file", "blob"];

/// Whether an app may register this.
pub(super) fn may_register(uri: &str) -> bool {
    if uri == OUT_OF_BAND {
        return true;
    }
    if uri.is_empty() || uri.len() > MAX_BYTES || uri.chars().any(char::is_control) {
        return false;
    }
    match Url::parse(uri) {
        Ok(url) => {
            !FORBIDDEN_SCHEMES.contains(&url.scheme())
                && url.fragment().is_none()
                && (!matches!(url.scheme(), "http" | "https") || url.has_host())
        }
        Err(_) => false,
    }
}

/// `uri` with `pairs` added to its query, leaving the rest as the app wrote it.
pub(super) fn with_query(uri: &str, pairs: &[(&str, &str)]) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish();
    let separator = if !uri.contains('?') {
        "?"
    } else if uri.ends_with(['?', '&']) {
        ""
    } else {
        "&"
    };
    format!("{uri}{separator}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dangerous_redirects_cannot_be_registered() {
        for uri in [
            "",
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            "data:text/html,x",
            "vbscript:x",
            "/relative",
            "https://app.test/cb#fragment",
            "https://app.test/\nx",
        ] {
            assert!(!may_register(uri), "{uri}");
        }
        for uri in [
            OUT_OF_BAND,
            "https://app.test/cb?x=1",
            "http://localhost:3000/cb",
            "tusky://oauth",
            "com.example.app:/cb",
        ] {
            assert!(may_register(uri), "{uri}");
        }
    }

    #[test]
    fn an_answer_leaves_the_apps_own_query_alone() {
        assert_eq!(
            with_query("tusky://oauth", &[("code", "a b")]),
            "tusky://oauth?code=a+b"
        );
        assert_eq!(
            with_query("https://a.test/cb?x=1", &[("code", "y"), ("state", "&")]),
            "https://a.test/cb?x=1&code=y&state=%26"
        );
    }
}
