//! The files in `deploy/` name settings; the binary itself says whether it knows them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Stands for every variable of the env file: long enough for a secret, a name for a domain.
const FILLED_IN: &str = "0123456789abcdef0123456789abcdef.tide.gate";

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("../../deploy").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// `NAME: value` and `NAME=value` lines whose name is one of ours.
fn settings(text: &str, separator: char) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| {
            let line = line
                .trim()
                .trim_start_matches("ENV ")
                .trim_end_matches('\\');
            let (name, value) = line.split_once(separator)?;
            let ours = name.starts_with("TIDEGATE_") && name != "TIDEGATE_CONFIG";
            ours.then(|| (name.to_owned(), fill_in(value.trim())))
        })
        .collect()
}

/// Replaces every `${...}`.
fn fill_in(value: &str) -> String {
    let mut text = value.to_owned();
    while let Some(start) = text.find("${") {
        let length = text[start..].find('}').expect("a closing brace") + 1;
        text.replace_range(start..start + length, FILLED_IN);
    }
    text
}

#[test]
fn the_compose_file_makes_a_configuration_that_production_takes() {
    let mut environment = settings(&read("Dockerfile"), '=');
    assert_eq!(environment["TIDEGATE_PROFILE"], "production");
    let compose = settings(&read("compose.yaml"), ':');
    assert!(compose.len() > 10, "{compose:?}");
    environment.extend(compose);
    for role in ["api", "fanout", "delivery"] {
        let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["check-config", "--role", role])
            .envs(&environment)
            .output()
            .expect("runs");
        assert!(
            output.status.success(),
            "{role}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn every_variable_of_the_compose_file_is_in_the_example() {
    let example = read("compose/example.env");
    let compose = read("compose.yaml");
    let mut rest = compose.as_str();
    let mut count = 0;
    while let Some(start) = rest.find("${") {
        rest = &rest[start + 2..];
        let end = rest.find([':', '}']).expect("an end");
        let name = &rest[..end];
        // Images have defaults that nobody has to think about.
        if !name.ends_with("_IMAGE") {
            count += 1;
            assert!(
                example
                    .lines()
                    .any(|line| line.starts_with(&format!("{name}="))),
                "{name} is not in example.env"
            );
        }
    }
    assert!(count > 10);
}
