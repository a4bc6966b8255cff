//! Holds the house to its plan: which crate may know which, and a comment on every dependency.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The directions of `docs/architecture.md`: for each crate of ours, the crates of ours that its
/// shipped code may use. The node alone knows everything; no service knows another; the model
/// knows nobody.
const ALLOWED: [(&str, &[&str]); 13] = [
    ("model", &[]),
    ("proto", &["model"]),
    ("telemetry", &["model"]),
    ("federation", &["model"]),
    ("store", &["model"]),
    // Two arrows that the design does not draw: docs/adr/0010-the-relay-lives-with-the-queue.md.
    ("queue", &["model", "store", "telemetry"]),
    ("timeline", &["model"]),
    ("api", SERVICE),
    ("fanout", SERVICE),
    ("delivery", SERVICE),
    (
        "node",
        &[
            "api",
            "fanout",
            "delivery",
            "store",
            "queue",
            "timeline",
            "federation",
            "proto",
            "telemetry",
            "model",
        ],
    ),
    ("loadtest", &["proto", "model", "federation"]),
    // Only tests use it, so it may start whatever they need.
    ("testkit", SERVICE),
];

/// What a service crate may know.
const SERVICE: &[&str] = &[
    "store",
    "queue",
    "timeline",
    "federation",
    "proto",
    "telemetry",
    "model",
];

/// Libraries that reach the network or handle private keys, and the one crate below `services/`
/// whose shipped code may use each: one way out for HTTP (C5) and one for mail, and no key of ours
/// in the library whose private-key operations can be timed (A17).
const ONLY_IN: [(&str, &str); 3] = [
    ("reqwest", "delivery"),
    ("lettre", "fanout"),
    ("rsa", "nowhere"),
];

/// Dependencies of tests only, besides those that the crate's code may have.
const TESTS_MAY: [&str; 2] = ["testkit", "loadtest"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("the crate is two folders below the root")
}

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    metadata["packages"].as_array().expect("a list").clone()
}

fn short(name: &str) -> Option<&str> {
    name.strip_prefix("tidegate-")
}

#[test]
fn crates_know_only_whom_the_plan_lets_them_know() {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.into_iter().collect();
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for package in packages() {
        let name = package["name"].as_str().expect("a name");
        let name = short(name).unwrap_or_else(|| panic!("{name}: ours are called tidegate-..."));
        let Some(may) = allowed.get(name) else {
            panic!("tidegate-{name} is in no row of the table");
        };
        seen.insert(name.to_owned());
        for dependency in package["dependencies"].as_array().expect("a list") {
            let Some(used) = dependency["name"].as_str().and_then(short) else {
                continue;
            };
            let in_tests_only = dependency["kind"] == "dev";
            let permitted = may.contains(&used) || (in_tests_only && TESTS_MAY.contains(&used));
            if !permitted {
                wrong.push(format!("{name} -> {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "not in the plan: {}", wrong.join(", "));
    let listed: BTreeSet<String> = allowed.keys().map(|name| (*name).to_owned()).collect();
    assert_eq!(seen, listed, "the table and the workspace differ");
}

#[test]
fn what_reaches_out_is_used_in_one_crate_each() {
    let services = root().join("services");
    let mut wrong = Vec::new();
    let mut found = BTreeSet::new();
    for package in packages() {
        let path = package["manifest_path"].as_str().expect("a path");
        let name = package["name"].as_str().and_then(short).expect("ours");
        if !Path::new(path).starts_with(&services) || name == "testkit" {
            continue;
        }
        for dependency in package["dependencies"].as_array().expect("a list") {
            let used = dependency["name"].as_str().expect("a name");
            let Some((library, only)) = ONLY_IN.iter().find(|(library, _)| *library == used) else {
                continue;
            };
            if dependency["kind"] == "dev" {
                continue;
            }
            found.insert((*library, name.to_owned()));
            if name != *only {
                wrong.push(format!("{name} -> {library}"));
            }
        }
    }
    assert!(wrong.is_empty(), "not theirs: {}", wrong.join(", "));
    // A library that is gone leaves a row that holds nothing.
    for (library, only) in ONLY_IN.iter().filter(|(_, only)| *only != "nowhere") {
        let held = (*library, (*only).to_owned());
        assert!(found.contains(&held), "{only} does not use {library}");
    }
}

#[test]
fn every_dependency_says_what_it_is_for() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("the manifest");
    let mut in_section = false;
    let mut explained = false;
    let mut unexplained = Vec::new();
    let mut count = 0;
    for line in manifest.lines() {
        if line.starts_with('[') {
            in_section = line == "[workspace.dependencies]";
        } else if line.starts_with('#') {
            explained = true;
        } else if in_section && line.contains(" = ") {
            count += 1;
            if !explained {
                unexplained.push(line.to_owned());
            }
            // A comment covers one library; our own members have one for all of them.
            explained = line.starts_with("tidegate-");
        }
    }
    assert!(count > 50, "the section was not found");
    assert!(unexplained.is_empty(), "no comment above: {unexplained:?}");
}

#[test]
fn members_take_every_dependency_from_the_root() {
    // Otherwise it would have a version, and no comment, of its own.
    for package in packages() {
        let path = package["manifest_path"].as_str().expect("a path");
        let manifest = std::fs::read_to_string(path).expect("the manifest");
        let mut in_section = false;
        for line in manifest.lines() {
            if line.starts_with('[') {
                in_section = line.ends_with("dependencies]");
            } else if in_section && line.contains('=') && !line.starts_with('#') {
                assert!(
                    line.contains(".workspace = true") || line.contains("workspace = true"),
                    "{path}: {line}"
                );
            }
        }
    }
}
