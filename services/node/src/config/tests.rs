//! The configuration as an operator meets it.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn vars(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn load_with(flags: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<Config> {
    let sources = Sources {
        file: None,
        flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
    };
    load_from(&sources, vars(environment))
}

/// A production configuration that nothing is wrong with, except what `more` spoils.
fn production(more: &[&str]) -> anyhow::Result<Config> {
    let mut flags = vec![
        "profile=production",
        "instance.domain=example.org",
        "instance.base_url=https://example.org",
        "instance.contact_email=op@example.org",
        "secrets.key_encryption_key=0123456789abcdef0123456789abcdef",
        "rpc.token=fedcba9876543210fedcba9876543210",
        "mail.url=smtps://u:p@mail.example.org",
    ];
    flags.extend(more);
    load_with(&flags, &[])
}

#[test]
fn nothing_set_up_is_a_working_development_node() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = format!("data_dir={}", dir.path().join("data").display());
    let config = load_with(&[&data], &[]).expect("loads");
    assert_eq!(config.instance.domain, "localhost:3000");
    assert!(config.database.is_embedded() && config.queue.is_table());
    assert_eq!(config.egress.host_map[0].suffix, ".test");
    assert_eq!(config.secrets.key_encryption_key.expose().len(), 64);
    let again = load_with(&[&data], &[]).expect("loads");
    assert_eq!(
        again.secrets.key_encryption_key,
        config.secrets.key_encryption_key
    );
    let file = dir.path().join("data/secrets/key_encryption_key");
    let mode = std::fs::metadata(file)
        .expect("was made")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn links_follow_the_port_unless_they_were_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let data = format!("data_dir={}", dir.path().join("data").display());
    for (flags, environment, domain, base_url) in [
        (
            &["http.listen=127.0.0.1:3055"][..],
            &[][..],
            "localhost:3055",
            "http://localhost:3055",
        ),
        (
            &[],
            &[("TIDEGATE_HTTP__LISTEN", "0.0.0.0:80")],
            "localhost",
            "http://localhost",
        ),
        // The system chooses; nobody knows yet.
        (
            &["http.listen=127.0.0.1:0"],
            &[],
            "localhost:3000",
            "http://localhost:3000",
        ),
        (
            &[
                "http.listen=127.0.0.1:3055",
                "instance.base_url=http://box.lan:3055",
            ],
            &[("TIDEGATE_INSTANCE__DOMAIN", "box.lan:3055")],
            "box.lan:3055",
            "http://box.lan:3055",
        ),
    ] {
        let config = load_with(&[flags, &[&*data]].concat(), environment).expect("loads");
        assert_eq!(config.instance.domain, domain);
        assert_eq!(config.instance.base_url, base_url);
    }
    // In production nothing is guessed.
    let config = production(&["http.listen=0.0.0.0:3055"]).expect("nothing is wrong");
    assert_eq!(config.instance.base_url, "https://example.org");
}

#[test]
fn a_sound_production_configuration_is_taken() {
    let config = production(&[]).expect("nothing is wrong");
    assert!(config.egress.host_map.is_empty());
    assert_eq!(config.profile, Profile::Production);
}

#[test]
fn production_refuses_what_is_unsafe() {
    for (flag, named) in [
        ("instance.base_url=http://example.org", "instance.base_url"),
        ("instance.contact_email=", "instance.contact_email"),
        ("egress.allow_networks=127.0.0.0/8", "egress.allow_networks"),
        ("egress.host_map=.test=127.0.0.1:1", "egress.host_map"),
        ("egress.allow_plain_http=true", "egress.allow_plain_http"),
        ("secrets.key_encryption_key=", "secrets.key_encryption_key"),
        (
            "secrets.key_encryption_key=changeme-changeme-changeme-changeme",
            "secrets.key_encryption_key",
        ),
        ("rpc.token=short", "rpc.token"),
        ("mail.url=folder", "mail.url"),
        ("replicas=2", "timelines.url"),
        ("replicas=2", "database.url"),
        ("instance.domain=", "instance.domain"),
        ("database.url=postgres://t:changeme@db/t", "database.url"),
        ("database.url=postgres://t:password@db/t", "database.url"),
        ("queue.url=amqp://guest:guest@mq:5672/%2f", "queue.url"),
        ("queue.url=amqp://mq:5672/%2f", "queue.url"),
        ("timelines.url=redis://cache:6379", "timelines.url"),
        ("timelines.url=redis://:secret@cache:6379", "timelines.url"),
        ("mail.url=smtp://u:p@mail.example.org:587", "mail.url"),
    ] {
        let error = format!("{:#}", production(&[flag]).expect_err(flag));
        assert!(error.contains(named), "{flag}: {error}");
    }
}

#[test]
fn production_takes_stores_with_passwords_of_their_own() {
    production(&[
        "database.url=postgres://t:5c1f9a@db/t",
        "queue.url=amqps://t:5c1f9b@mq/%2f",
        "timelines.url=rediss://:5c1f9c@cache",
        "mail.url=smtp://u:5c1f9d@mail.example.org:587?tls=required",
    ])
    .expect("nothing is wrong");
    let error = production(&["queue.url=amqp://t:changeme7@mq/%2f"]).expect_err("known");
    assert!(!format!("{error:#}").contains("changeme7"), "{error:#}");
}

#[test]
fn a_complaint_never_shows_the_secret() {
    let error = production(&["rpc.token=hunter2"]).expect_err("too short");
    assert!(!format!("{error:#}").contains("hunter2"));
    let config = production(&[]).expect("sound");
    let printed = format!("{config:?}");
    assert!(!printed.contains("fedcba") && !printed.contains("smtps://u:p"));
}

#[test]
fn a_wrong_type_names_the_key_and_the_place() {
    let error = load_with(&[], &[("TIDEGATE_HTTP__LISTEN", "localhost")]).expect_err("no address");
    let text = format!("{error:#}");
    assert!(
        text.starts_with("http.listen (environment variable TIDEGATE_HTTP__LISTEN): "),
        "{text}"
    );
    let error = load_with(&["database.acquire_timeout=soon"], &[]).expect_err("no duration");
    assert!(
        format!("{error:#}").contains("database.acquire_timeout (command line): `soon` is not a"),
        "{error:#}"
    );
}

#[test]
fn secrets_come_from_files_too_but_not_from_both() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("token");
    std::fs::write(&file, "fedcba9876543210fedcba98765432ff\n").expect("writes");
    let flag = format!("rpc.token_file={}", file.display());
    let config = production(&["rpc.token=", &flag]).expect("sound");
    assert_eq!(
        config.rpc.token.expose(),
        "fedcba9876543210fedcba98765432ff"
    );
    let error = production(&[&flag]).expect_err("both");
    assert!(error.to_string().contains("both set"), "{error}");
    let error = production(&["rpc.token=", "rpc.token_file=/nonexistent"]).expect_err("no file");
    assert!(format!("{error:#}").contains("rpc.token_file"), "{error:#}");
}

#[test]
fn every_default_is_explained_and_every_key_exists() {
    let base = Layers::with_defaults(DEFAULTS).expect("valid");
    for (key, _) in base.keys() {
        let mut table = base.table();
        let removed = match key.split_once('.') {
            None => table.remove(key),
            Some((section, name)) => table
                .get_mut(section)
                .and_then(toml::Value::as_table_mut)
                .and_then(|section| section.remove(name)),
        };
        assert!(removed.is_some());
        assert!(
            table.try_into::<Config>().is_err(),
            "{key} is in default.toml but no setting"
        );
    }
    let lines: Vec<&str> = DEFAULTS.lines().collect();
    for pair in lines.windows(2) {
        let is_setting = pair[1].contains(" = ") && !pair[1].starts_with('#');
        let explained = pair[0].starts_with('#') || pair[1].contains("_file = ");
        assert!(!is_setting || explained, "no comment above `{}`", pair[1]);
    }
}

#[test]
fn the_example_file_is_read_and_wins_over_defaults() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("my.toml");
    std::fs::write(&file, "[http]\nlisten = \"127.0.0.1:8080\"\n").expect("writes");
    let sources = Sources {
        file: Some(file),
        flags: vec![format!("data_dir={}", dir.path().display())],
    };
    let config = load_from(&sources, Vec::new()).expect("loads");
    assert_eq!(config.http.listen.port(), 8080);
    let missing = Sources {
        file: Some("/nonexistent/tidegate.toml".into()),
        flags: Vec::new(),
    };
    let error = load_from(&missing, Vec::new()).expect_err("no such file");
    assert!(error.to_string().contains("/nonexistent/tidegate.toml"));
}

#[test]
fn the_window_of_signatures_is_an_hour_and_five_minutes_and_has_bounds() {
    let config = production(&[]).expect("nothing is wrong");
    assert_eq!(
        config.federation.window(),
        tidegate_federation::signature::DEFAULT_WINDOW
    );
    let narrow = production(&["federation.signature_window=5m"]).expect("within bounds");
    assert_eq!(narrow.federation.window(), time::Duration::minutes(5));
    for value in ["1s", "13h", "400000000d"] {
        let flag = format!("federation.signature_window={value}");
        let error = production(&[&flag]).expect_err("out of bounds");
        assert!(
            format!("{error:#}").contains("between 1m and 12h"),
            "{error:#}"
        );
    }
}
