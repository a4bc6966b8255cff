//! What the documentation tells operators to write is what the binary takes.

use std::path::Path;

use tidegate_testkit::program;

/// Every block of settings of a page, put together in its order.
fn settings(page: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let text = std::fs::read_to_string(root.join(page)).expect("the page");
    let mut settings = String::new();
    for block in text.split("```toml\n").skip(1) {
        settings.push_str(block.split("```").next().expect("an end"));
    }
    settings
}

/// A file per secret that the settings name, with something that production takes.
fn write_secrets(settings: &str, folder: &Path) {
    for line in settings.lines() {
        let Some((key, rest)) = line.split_once("_file = \"/run/secrets/") else {
            continue;
        };
        let name = rest.split('"').next().expect("a name");
        let content = match name {
            "database_url" => "postgres://tidegate:5c1f9a@db.internal/tidegate",
            "amqp_url" => "amqp://tidegate:5c1f9b@mq.internal:5672/%2f",
            "redis_url" => "redis://:5c1f9c@redis.internal:6379/0",
            "smtp_url" => "smtps://tidegate:5c1f9d@mail.example.org",
            _ => "0123456789abcdef0123456789abcdef",
        };
        std::fs::write(folder.join(name), content).unwrap_or_else(|error| panic!("{key}: {error}"));
    }
}

#[test]
fn the_settings_of_going_public_are_a_configuration_that_production_takes() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = settings("going-public.md");
    assert!(settings.contains("profile = \"production\""), "{settings}");
    write_secrets(&settings, folder.path());
    let secrets = format!("{}/", folder.path().display());
    let file = folder.path().join("tidegate.toml");
    std::fs::write(&file, settings.replace("/run/secrets/", &secrets)).expect("writes");
    for role in ["api", "fanout", "delivery"] {
        let output = program(env!("CARGO_BIN_EXE_tidegate"))
            .args(["check-config", "--role", role, "--config"])
            .arg(&file)
            .current_dir(folder.path())
            .output()
            .expect("runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{role}: {said}");
        // Everything the chapter is about is set: nothing is left at what is for trying out.
        let said = String::from_utf8_lossy(&output.stdout);
        for way in [
            "PostgreSQL by URL",
            "RabbitMQ by URL",
            "Redis by URL",
            "by SMTP",
        ] {
            assert!(said.contains(way), "{said}");
        }
    }
}
