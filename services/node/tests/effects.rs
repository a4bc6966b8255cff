//! Time, settings and the network enter the services by argument, so that tests can steer them:
//! what fetches them from nowhere is called in one named place only.

use std::path::{Path, PathBuf};

/// A call, and the one place that may make it, below `services/`.
const ONLY_HERE: [(&str, &str); 15] = [
    // Dropped half-way it leaves its transaction open in the pool.
    ("pool.begin(", "nowhere"),
    ("pool.begin_with(", "lib/store/src/transaction.rs"),
    // SQL that is put together: the names of partitions, which are ours (E7).
    ("AssertSqlSafe(", "delivery/src/partitions.rs"),
    ("SystemTime::now(", "nowhere"),
    ("OffsetDateTime::now_utc(", "lib/model/src/clock.rs"),
    ("env::var", "node/src/config/mod.rs"),
    ("reqwest::Client::new(", "nowhere"),
    ("reqwest::Client::builder(", "delivery/src/egress/client.rs"),
    // Other ways to the network, past the guard of the one client (C5).
    ("reqwest::get(", "nowhere"),
    ("reqwest::blocking", "nowhere"),
    ("ClientBuilder", "nowhere"),
    // Whose certificate is wrong is not talked to, and nothing switches that off (C17).
    ("accept_invalid", "nowhere"),
    (".dangerous(", "nowhere"),
    ("ServerCertVerifier", "nowhere"),
    // The library whose private-key operations can be timed (A17); its tests make keys with it.
    ("RsaPrivateKey", "nowhere"),
];

/// What runs: a file without the tests at its end. Other items that only tests have stay in, or
/// whatever stands below the first of them would not be looked at.
fn shipped(text: &str) -> &str {
    let end = text.find("\n#[cfg(test)]\nmod tests {");
    end.map_or(text, |end| &text[..end])
}

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
        } else if path.extension().is_some_and(|ext| ext == "rs")
            // Tests in files of their own.
            && !matches!(name, "tests.rs" | "plans.rs")
        {
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
        let shipped = shipped(&text);
        let place = file.strip_prefix(services).expect("below it");
        for (call, only) in ONLY_HERE {
            if place != Path::new(only) && shipped.contains(call) {
                wrong.push(format!("{} calls {call}...)", place.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_the_tests_at_the_end_of_a_file_are_left_out() {
    let text = "#[cfg(test)]\nmod testing;\nfn a() {}\n\n#[cfg(test)]\nmod tests {\n    b();\n}\n";
    let shipped = shipped(text);
    assert!(shipped.contains("fn a()") && !shipped.contains("b()"));
}
