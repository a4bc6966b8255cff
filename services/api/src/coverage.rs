//! The page of what is covered: every route of the role in one table, with the scopes of which
//! a token needs one and how far it is built. The client API's rows are the table that its
//! router is made from; the rest is listed here and compared with the routers by a test.

use std::fmt::Write;

use crate::client;

/// Method, path, who may call it.
type Row = (&'static str, &'static str, &'static str);

/// Everything that is not the client API proper.
const OTHERS: &[(&str, &[Row])] = &[
    (
        "OAuth and sign-up",
        &[
            ("POST", "/api/v1/apps", "anybody"),
            ("GET", "/api/v1/apps/verify_credentials", "any token"),
            ("GET", "/oauth/authorize", "a signed-in browser"),
            ("POST", "/oauth/authorize", "a signed-in browser"),
            ("DELETE", "/oauth/authorize", "a signed-in browser"),
            ("GET", "/oauth/authorize/native", "anybody"),
            ("POST", "/oauth/token", "an app's secret"),
            ("POST", "/oauth/revoke", "an app's secret"),
            ("GET", "/oauth/userinfo", "`profile`"),
            ("POST", "/oauth/userinfo", "`profile`"),
            ("GET", "/.well-known/oauth-authorization-server", "anybody"),
            (
                "POST",
                "/api/v1/accounts",
                "an app's own token with `write:accounts`",
            ),
            ("POST", "/api/v1/emails/confirmations", "`write:accounts`"),
            (
                "GET",
                "/api/v1/emails/check_confirmation",
                "`read:accounts`",
            ),
        ],
    ),
    (
        "Federation",
        &[
            ("GET", "/.well-known/webfinger", "anybody"),
            ("GET", "/.well-known/host-meta", "anybody"),
            ("GET", "/.well-known/host-meta.json", "anybody"),
            ("GET", "/.well-known/nodeinfo", "anybody"),
            ("GET", "/nodeinfo/2.0", "anybody"),
            ("GET", "/actor", "anybody"),
            ("POST", "/actor/inbox", "a signature"),
            ("GET", "/actor/outbox", "anybody"),
            ("POST", "/inbox", "a signature"),
            ("GET", "/users/{name}", "anybody"),
            ("POST", "/users/{name}/inbox", "a signature"),
            ("GET", "/users/{name}/outbox", "anybody"),
            ("GET", "/users/{name}/followers", "anybody"),
            ("GET", "/users/{name}/following", "anybody"),
            (
                "GET",
                "/users/{name}/statuses/{id}",
                "anybody, or a signature",
            ),
            (
                "GET",
                "/users/{name}/statuses/{id}/activity",
                "anybody, or a signature",
            ),
            (
                "GET",
                "/users/{name}/statuses/{id}/replies",
                "anybody, or a signature",
            ),
        ],
    ),
    (
        "Pages and health",
        &[
            ("GET", "/", "anybody"),
            ("GET", "/about", "anybody"),
            ("GET", "/privacy-policy", "anybody"),
            ("GET", "/style.css", "anybody"),
            ("GET", "/auth/sign_in", "anybody"),
            ("POST", "/auth/sign_in", "anybody"),
            ("POST", "/auth/sign_out", "a signed-in browser"),
            ("GET", "/auth/sign_up", "anybody"),
            ("POST", "/auth/sign_up", "anybody"),
            ("GET", "/auth/confirmation", "anybody"),
            ("POST", "/auth/confirmation", "anybody"),
            ("GET", "/auth/confirmation/new", "anybody"),
            ("GET", "/@{name}", "anybody"),
            ("GET", "/@{name}/{id}", "anybody"),
            ("GET", "/health", "anybody"),
        ],
    ),
];

/// Method and path of everything that is not the client API proper.
#[cfg(test)]
pub(crate) fn others() -> impl Iterator<Item = (&'static str, &'static str)> {
    OTHERS
        .iter()
        .flat_map(|(_, rows)| rows.iter().map(|(method, path, _)| (*method, *path)))
}

/// The page, as it is committed in `docs/api-coverage.md`.
pub fn page() -> String {
    let mut out = String::from(
        "# API coverage\n\n\
         Generated from the tables that the router is made from and tested against; to renew it:\n\
         `TIDEGATE_UPDATE_DOCS=1 cargo test -p tidegate-api coverage`.\n\n\
         *built*: does what it says. *empty*: nothing of the kind can exist here yet, and the\n\
         answer says so truthfully. *not built*: answers 501.\n\n\
         ## Client API\n\n| method | path | needs | state |\n|---|---|---|---|\n",
    );
    for entry in client::ROUTES {
        let scopes: Vec<String> = entry
            .scopes
            .iter()
            .map(|scope| format!("`{}`", scope.as_str()))
            .collect();
        let who = match (entry.needs_user, scopes.is_empty()) {
            (false, true) => "anybody".to_owned(),
            (false, false) => format!("anybody, or {}", scopes.join(" or ")),
            (true, true) => "a person".to_owned(),
            (true, false) => scopes.join(" or "),
        };
        let state = entry.answer.as_str().replace('_', " ");
        row(&mut out, entry.method.as_str(), entry.path, &who, &state);
    }
    for (heading, rows) in OTHERS {
        let _infallible = write!(
            out,
            "\n## {heading}\n\n| method | path | needs | state |\n|---|---|---|---|\n"
        );
        for (method, path, who) in *rows {
            row(&mut out, method, path, who, "built");
        }
    }
    out
}

fn row(out: &mut String, method: &str, path: &str, who: &str, state: &str) {
    let _infallible = writeln!(out, "| {method} | `{path}` | {who} | {state} |");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Method and path of every route that a source file adds to a router.
    fn routes_in(source: &str) -> Vec<(String, String)> {
        let route = regex::Regex::new(r#"\.route\(\s*"([^"]+)",\s*"#).expect("a pattern");
        let method = regex::Regex::new(r"\b(get|post|put|patch|delete)\(").expect("a pattern");
        let mut found = Vec::new();
        for one in route.captures_iter(source) {
            let handlers = &source[one.get(0).expect("the whole").end()..];
            for method in method.captures_iter(until_closed(handlers)) {
                found.push((method[1].to_uppercase(), one[1].to_owned()));
            }
        }
        found
    }

    /// What stands before the parenthesis that closes the one before.
    fn until_closed(source: &str) -> &str {
        let mut open = 1;
        for (at, one) in source.char_indices() {
            match one {
                '(' => open += 1,
                ')' => open -= 1,
                _ => {}
            }
            if open == 0 {
                return &source[..at];
            }
        }
        source
    }

    /// Every source file below a folder.
    fn sources(folder: &std::path::Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                if !path.ends_with("tests") {
                    sources(&path, found);
                }
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(std::fs::read_to_string(&path).expect("text"));
            }
        }
    }

    #[test]
    fn the_committed_page_is_fresh() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api-coverage.md");
        if std::env::var_os("TIDEGATE_UPDATE_DOCS").is_some() {
            std::fs::write(path, page()).expect("writes the page");
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == page(),
            "docs/api-coverage.md is stale: run TIDEGATE_UPDATE_DOCS=1 cargo test -p tidegate-api coverage"
        );
    }

    #[test]
    fn the_tables_and_the_routers_name_the_same_routes() {
        let mut files = Vec::new();
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        sources(&folder, &mut files);
        let mut routed: Vec<(String, String)> =
            files.iter().flat_map(|source| routes_in(source)).collect();
        let built = client::ROUTES
            .iter()
            .filter(|entry| entry.answer.as_str() == "built")
            .map(|entry| (entry.method.as_str(), entry.path));
        let mut listed: Vec<(String, String)> = others()
            .chain(built)
            .map(|(method, path)| (method.to_owned(), path.to_owned()))
            .collect();
        routed.sort();
        listed.sort();
        assert_eq!(routed, listed);
    }
}
