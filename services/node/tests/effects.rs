//! Time, settings and the network enter the services by argument, so that tests can steer them:
//! what fetches them from nowhere is called in one named place only.

use std::path::{Path, PathBuf};

/// A call, and the one place that may make it, below `services/`.
const ONLY_HERE: [(&str, &str); 7] = [
    // Dropped half-way it leaves its transaction open in the pool.
    ("pool.begin(", "nowhere"),
    ("pool.begin_with(", "lib/store/src/transaction.rs"),
    ("SystemTime::now(", "nowhere"),
    ("OffsetDateTime::now_utc(", "lib/model/src/clock.rs"),
    ("env::var", "node/src/config/mod.rs"),
    ("reqwest::Client::new(", "nowhere"),
    ("reqwest::Client::builder(", "delivery/src/egress/client.rs"),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or("");
        if path.is_dir() {
            // The kit of the tests may do as tests do.
            if !matches!(name, "tests" | "testkit" | "target") {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|ext| ext == "rs") && name != "tests.rs" {
            found.push(path);
        }
    }
}

#[test]
fn effects_enter_by_argument() {
    let services = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("below services");
    let mut files = Vec::new();
    sources(services, &mut files);
    assert!(files.len() > 50, "the sources were not found");
    let mut wrong = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a source");
        let shipped = text.split("#[cfg(test)]").next().unwrap_or_default();
        let place = file.strip_prefix(services).expect("below it");
        for (call, only) in ONLY_HERE {
            if place != Path::new(only) && shipped.contains(call) {
                wrong.push(format!("{} calls {call}...)", place.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
