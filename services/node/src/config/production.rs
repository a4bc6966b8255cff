//! What a configuration is refused for: in every profile what cannot work, in production also
//! what is unsafe on the open internet. Each sentence says what to do.

use std::{ops::RangeInclusive, time::Duration};

use super::{Config, Profile, secrets};

/// Below a minute honest clocks miss it; twelve hours are the most that any known server allows.
const SIGNATURE_WINDOWS: RangeInclusive<Duration> =
    Duration::from_mins(1)..=Duration::from_hours(12);

/// Everything that is wrong, as sentences; empty when the configuration may be used.
pub(crate) fn problems(config: &Config) -> Vec<String> {
    let mut problems = impossible(config);
    if config.profile == Profile::Production {
        problems.extend(unsafe_in_production(config));
    }
    problems
}

fn impossible(config: &Config) -> Vec<String> {
    let mut problems = Vec::new();
    let mut refuse = |wrong: bool, sentence: &str| {
        if wrong {
            problems.push(sentence.to_owned());
        }
    };
    refuse(
        config.instance.domain.is_empty(),
        "instance.domain is not set: give the right-hand side of handles, like example.org",
    );
    refuse(
        !is_web_origin(&config.instance.base_url),
        "instance.base_url must be an http or https URL without a path, like https://example.org",
    );
    refuse(
        config.database.max_connections < 2,
        "database.max_connections must be at least 2",
    );
    refuse(
        config.queue.shards == 0 || config.queue.shards > 1024,
        "queue.shards must be between 1 and 1024",
    );
    refuse(
        !SIGNATURE_WINDOWS.contains(&config.federation.signature_window.0),
        "federation.signature_window must be between 1m and 12h",
    );
    refuse(
        config.delivery.posts_in_flight == 0 || config.delivery.posts_in_flight > 65_536,
        "delivery.posts_in_flight must be between 1 and 65536",
    );
    refuse(
        config.delivery.hurry == 0,
        "delivery.hurry must be at least 1",
    );
    refuse(
        config.replicas > 1 && config.database.is_embedded(),
        "database.url is \"embedded\" but replicas is above 1: the private PostgreSQL serves one \
         process only; give the URL of a PostgreSQL that all can reach",
    );
    refuse(
        config.replicas > 1 && config.timelines.is_memory(),
        "timelines.url is \"memory\" but replicas is above 1: the processes would not see each \
         other's timelines; give the URL of a Redis",
    );
    problems
}

fn unsafe_in_production(config: &Config) -> Vec<String> {
    let mut problems = Vec::new();
    let mut refuse = |wrong: bool, sentence: &str| {
        if wrong {
            problems.push(format!("{sentence} (profile production)"));
        }
    };
    refuse(
        !config.instance.base_url.starts_with("https://"),
        "instance.base_url must be https",
    );
    refuse(
        config.instance.contact_email.is_empty(),
        "instance.contact_email is not set: people must be able to reach the operator",
    );
    refuse(
        !config.egress.allow_networks.is_empty(),
        "egress.allow_networks must be empty: only public addresses may be connected to",
    );
    refuse(
        !config.egress.host_map.is_empty(),
        "egress.host_map must be empty: names of remote servers are resolved",
    );
    refuse(
        config.egress.allow_plain_http,
        "egress.allow_plain_http must be false: remote servers are talked to over TLS",
    );
    refuse(
        config.delivery.hurry != 1,
        "delivery.hurry must be 1: remote servers would be tried far too often",
    );
    refuse(
        secrets::is_placeholder(config.secrets.key_encryption_key.expose()),
        "secrets.key_encryption_key must be set to at least 32 random characters: \
         `openssl rand -hex 32` makes some",
    );
    refuse(
        secrets::is_placeholder(config.rpc.token.expose()),
        "rpc.token must be set to at least 32 random characters: `openssl rand -hex 32` makes some",
    );
    refuse(
        config.mail.is_folder() && config.registrations.confirm_email,
        "mail.url is \"folder\", so nobody would get the confirmation mail: give an smtp URL",
    );
    problems.extend(
        unsafe_stores(config)
            .into_iter()
            .map(|sentence| format!("{sentence} (profile production)")),
    );
    problems
}

/// Passwords that everybody knows, and ways that show one to everybody on the network. A URL that
/// cannot be read is refused by who uses it.
fn unsafe_stores(config: &Config) -> Vec<String> {
    let mut problems = Vec::new();
    for (key, url, needs_password) in [
        // Certificates and sockets are ways into PostgreSQL without a password.
        ("database.url", &config.database.url, false),
        // Without one the client takes guest:guest.
        ("queue.url", &config.queue.url, true),
        ("timelines.url", &config.timelines.url, true),
        ("mail.url", &config.mail.url, false),
    ] {
        let Ok(url) = url::Url::parse(url.expose()) else {
            continue;
        };
        match url.password() {
            Some(password) if secrets::is_known_password(password) => problems.push(format!(
                "{key}: its password is one that everybody knows; `openssl rand -hex 32` makes a \
                 better one"
            )),
            None | Some("") if needs_password => problems.push(format!(
                "{key}: it has no password; give the store a user or a password of its own and \
                 write it into the URL"
            )),
            _ => {}
        }
        let demands_tls = url
            .query_pairs()
            .any(|(name, value)| name == "tls" && value == "required");
        if url.scheme() == "smtp" && !demands_tls {
            problems.push(format!(
                "{key}: mails and the password would travel in clear; write smtps://, or \
                 smtp://...?tls=required"
            ));
        }
    }
    problems
}

fn is_web_origin(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.host().is_some()
            && url.path() == "/"
            && url.query().is_none()
            && url.username().is_empty()
    })
}
