//! What may be typed into a sign-up, and Mastodon's codes for what may not.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use tidegate_model::canonical_host;

use super::NewUser;
use crate::{error::ApiError, state::Registrations};

/// Mastodon's limits, in characters.
const MAX_USERNAME: usize = 30;
const MAX_EMAIL: usize = 320;
const PASSWORD: std::ops::RangeInclusive<usize> = 8..=72;

/// Ours: an operator reads it.
const MAX_REASON: usize = 1_000;

/// Names that a person could speak for the instance with, or that mail systems use.
const RESERVED: [&str; 20] = [
    "abuse",
    "actor",
    "admin",
    "administrator",
    "help",
    "hostmaster",
    "info",
    "mod",
    "moderator",
    "moderators",
    "noreply",
    "owner",
    "postmaster",
    "root",
    "security",
    "staff",
    "support",
    "system",
    "tidegate",
    "webmaster",
];

/// A code that apps look at, and the rest of a sentence for people.
pub(crate) type Problem = (&'static str, &'static str);

pub(super) const BLANK: Problem = ("ERR_BLANK", "can't be blank");
pub(super) const TAKEN: Problem = ("ERR_TAKEN", "has already been taken");
const RESERVED_NAME: Problem = ("ERR_RESERVED", "is reserved");
const INVALID: Problem = ("ERR_INVALID", "is invalid");
const INVALID_NAME: Problem = (
    "ERR_INVALID",
    "must contain only letters, numbers and underscores",
);
const TOO_LONG: Problem = ("ERR_TOO_LONG", "is too long");
const TOO_SHORT: Problem = ("ERR_TOO_SHORT", "is too short (minimum is 8 characters)");
const NOT_ACCEPTED: Problem = ("ERR_ACCEPTED", "must be accepted");

/// Everything that is wrong with a sign-up, by field.
#[derive(Debug, Default, Clone)]
pub(crate) struct Problems(Vec<(&'static str, Problem)>);

impl Problems {
    pub(crate) fn add(&mut self, field: &'static str, problem: Problem) {
        self.0.push((field, problem));
    }

    /// Whether nothing is wrong.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One sentence per problem, for pages and the command line.
    pub(crate) fn sentences(&self) -> Vec<String> {
        self.0
            .iter()
            .map(|(field, (_, text))| format!("{} {text}", label(field)))
            .collect()
    }

    /// 422 with Mastodon's `details`.
    pub(super) fn into_error(self) -> ApiError {
        let mut details = Map::new();
        for (field, (code, text)) in &self.0 {
            let list = details.entry((*field).to_owned()).or_insert(json!([]));
            if let Value::Array(list) = list {
                list.push(json!({ "error": code, "description": text }));
            }
        }
        ApiError::with_body(
            StatusCode::UNPROCESSABLE_ENTITY,
            json!({
                "error": format!("Validation failed: {}", self.sentences().join(", ")),
                "details": details,
            }),
        )
    }
}

fn label(field: &str) -> &'static str {
    match field {
        "username" => "Username",
        "email" => "E-mail address",
        "password" => "Password",
        "agreement" => "Service agreement",
        "reason" => "Reason",
        _ => "Locale",
    }
}

/// Checks what needs no database.
pub(super) fn check(new: &NewUser, mode: Registrations) -> Problems {
    let mut problems = Problems::default();
    if let Err(problem) = check_username(&new.username) {
        problems.add("username", problem);
    } else if RESERVED.contains(&new.username.to_ascii_lowercase().as_str()) {
        problems.add("username", RESERVED_NAME);
    }
    if let Err(problem) = check_email(new.email.trim()) {
        problems.add("email", problem);
    }
    let length = new.password.chars().count();
    if length == 0 {
        problems.add("password", BLANK);
    } else if length < *PASSWORD.start() {
        problems.add("password", TOO_SHORT);
    } else if length > *PASSWORD.end() {
        problems.add("password", TOO_LONG);
    }
    if !new.agreement {
        problems.add("agreement", NOT_ACCEPTED);
    }
    if mode == Registrations::Approval && new.reason.trim().is_empty() {
        problems.add("reason", BLANK);
    } else if new.reason.chars().count() > MAX_REASON {
        problems.add("reason", TOO_LONG);
    }
    problems
}

/// Letters, digits and underscores, at most 30.
pub(crate) fn check_username(username: &str) -> Result<(), Problem> {
    if username.is_empty() {
        return Err(BLANK);
    }
    if username.chars().count() > MAX_USERNAME {
        return Err(TOO_LONG);
    }
    let is_plain = username
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_plain { Ok(()) } else { Err(INVALID_NAME) }
}

/// A plain address: one `@`, a local part without quotes or comments, a domain with a dot. What
/// mail systems read differently from one another is refused (rule R16).
pub(crate) fn check_email(email: &str) -> Result<(), Problem> {
    if email.is_empty() {
        return Err(BLANK);
    }
    if email.chars().count() > MAX_EMAIL {
        return Err(TOO_LONG);
    }
    let (local, domain) = email.split_once('@').ok_or(INVALID)?;
    let is_atom = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$&'*+-/=^_`{|}~".contains(&byte))
    };
    let local_is_plain = local.len() <= 64 && local.split('.').all(is_atom);
    let domain_is_plain = domain.contains('.')
        && !domain.ends_with('.')
        && !domain.contains(':')
        && domain.parse::<std::net::Ipv4Addr>().is_err()
        && canonical_host(domain).is_ok_and(|host| host.eq_ignore_ascii_case(domain));
    if local_is_plain && domain_is_plain {
        Ok(())
    } else {
        Err(INVALID)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(username: &str, email: &str, password: &str) -> NewUser {
        NewUser {
            username: username.to_owned(),
            email: email.to_owned(),
            password: password.to_owned(),
            agreement: true,
            locale: "en".to_owned(),
            reason: String::new(),
            app_id: None,
        }
    }

    fn codes(new: &NewUser, mode: Registrations) -> Vec<(&'static str, &'static str)> {
        check(new, mode)
            .0
            .iter()
            .map(|(field, (code, _))| (*field, *code))
            .collect()
    }

    #[test]
    fn each_rule_has_its_code() {
        let cases = [
            (new("", "a@b.test", "12345678"), ("username", "ERR_BLANK")),
            (
                new("a b", "a@b.test", "12345678"),
                ("username", "ERR_INVALID"),
            ),
            (
                new("ädä", "a@b.test", "12345678"),
                ("username", "ERR_INVALID"),
            ),
            (
                new("instance.actor", "a@b.test", "12345678"),
                ("username", "ERR_INVALID"),
            ),
            (
                new(&"a".repeat(31), "a@b.test", "12345678"),
                ("username", "ERR_TOO_LONG"),
            ),
            (
                new("Admin", "a@b.test", "12345678"),
                ("username", "ERR_RESERVED"),
            ),
            (new("ada", "", "12345678"), ("email", "ERR_BLANK")),
            (new("ada", "nobody", "12345678"), ("email", "ERR_INVALID")),
            (new("ada", "a@b.test", ""), ("password", "ERR_BLANK")),
            (
                new("ada", "a@b.test", "1234567"),
                ("password", "ERR_TOO_SHORT"),
            ),
            (
                new("ada", "a@b.test", &"x".repeat(73)),
                ("password", "ERR_TOO_LONG"),
            ),
        ];
        for (new, expected) in cases {
            assert_eq!(codes(&new, Registrations::Open), [expected], "{new:?}");
        }
        let mut unsure = new("ada", "a@b.test", "12345678");
        assert!(codes(&unsure, Registrations::Open).is_empty());
        assert_eq!(
            codes(&unsure, Registrations::Approval),
            [("reason", "ERR_BLANK")]
        );
        unsure.agreement = false;
        assert_eq!(
            codes(&unsure, Registrations::Open),
            [("agreement", "ERR_ACCEPTED")]
        );
    }

    #[test]
    fn addresses_that_can_be_read_in_two_ways_are_refused() {
        for email in [
            "a@b@c.test",
            "\"a@b\"@c.test",
            "a@[127.0.0.1]",
            "a@127.0.0.1",
            "a@localhost",
            "a..b@c.test",
            "a@c.test\r\nBcc: x@y.test",
            "a b@c.test",
            "a(comment)@c.test",
            "a@c.test.",
            "a@c.test:25",
            "<a@c.test>",
            "a%b@c.test",
        ] {
            assert!(check_email(email).is_err(), "{email}");
        }
        for email in [
            "ada@example.org",
            "a.b+tag@sub.example.org",
            "A@Example.org",
        ] {
            assert!(check_email(email).is_ok(), "{email}");
        }
    }
}
