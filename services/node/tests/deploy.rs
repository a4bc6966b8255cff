//! The files in `deploy/` name settings; the binary itself says whether it knows them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use tidegate_testkit::program;

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
        let output = program(env!("CARGO_BIN_EXE_tidegate"))
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

/// A stand-in for `apt-get`, which asks the policy as maintainer scripts do, and writes down the
/// answer.
const APT_GET: &str = r#"#!/bin/sh
[ "$1" = install ] || exit 0
"$TIDEGATE_APT_ROOT/usr/sbin/policy-rc.d" some-service start
echo "$?" >>"$TIDEGATE_APT_ROOT/asked"
exit "$(cat "$TIDEGATE_APT_ROOT/code")"
"#;

/// Runs `apt-quietly` below `root`; what the policy said, and whether the script succeeded.
fn install_quietly(root: &Path) -> (String, bool) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/scripts/apt-quietly");
    let path = format!(
        "{}:{}",
        root.join("bin").display(),
        std::env::var("PATH").expect("a path")
    );
    let _first = std::fs::remove_file(root.join("asked"));
    let status = Command::new("bash")
        .arg(script)
        .env("TIDEGATE_APT_ROOT", root)
        .env("TIDEGATE_MISSING", "a-package")
        .env("PATH", path)
        .status()
        .expect("runs");
    let asked = std::fs::read_to_string(root.join("asked")).unwrap_or_default();
    (asked, status.success())
}

#[test]
fn nothing_starts_while_installing_and_the_machines_own_policy_comes_back() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let sbin = root.join("usr/sbin");
    for place in [&sbin, &root.join("bin")] {
        std::fs::create_dir_all(place).expect("a folder");
    }
    let write = |path: &Path, text: &str, mode: u32| {
        std::fs::write(path, text).expect("written");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set");
    };
    write(&root.join("bin/apt-get"), APT_GET, 0o755);
    write(&root.join("code"), "0", 0o644);
    let policy = sbin.join("policy-rc.d");
    let only_policy = || {
        let names = std::fs::read_dir(&sbin).expect("a folder");
        names
            .map(|entry| entry.expect("one").file_name())
            .eq(["policy-rc.d"])
    };

    // Where there was none there is none afterwards.
    assert_eq!(install_quietly(root), ("101\n".to_owned(), true));
    assert!(std::fs::read_dir(&sbin).expect("a folder").next().is_none());

    // One that lets services start does not meanwhile, and is the same file afterwards; also
    // when the installation fails, which is tried twice.
    let own = "#!/bin/sh\nexit 0\n";
    write(&policy, own, 0o750);
    let before = std::fs::metadata(&policy).expect("there");
    for (code, asked, succeeds) in [("0", "101\n", true), ("1", "101\n101\n", false)] {
        write(&root.join("code"), code, 0o644);
        assert_eq!(install_quietly(root), (asked.to_owned(), succeeds));
        let after = std::fs::metadata(&policy).expect("there");
        assert_eq!(std::fs::read_to_string(&policy).expect("text"), own);
        assert_eq!(after.ino(), before.ino());
        assert_eq!(after.mode(), before.mode());
        assert_eq!(after.mtime_nsec(), before.mtime_nsec());
        assert!(only_policy());
    }

    // A run that was killed hard: ours in its place, the own one aside.
    write(&root.join("code"), "0", 0o644);
    std::fs::rename(&policy, sbin.join("policy-rc.d.before-tidegate")).expect("moved");
    write(&policy, "#!/bin/sh\nexit 101\n", 0o755);
    assert_eq!(install_quietly(root), ("101\n".to_owned(), true));
    assert_eq!(std::fs::read_to_string(&policy).expect("text"), own);
    assert!(only_policy());

    // A link stays one.
    let kept = root.join("kept");
    std::fs::rename(&policy, &kept).expect("moved");
    symlink(&kept, &policy).expect("linked");
    assert_eq!(install_quietly(root), ("101\n".to_owned(), true));
    assert_eq!(std::fs::read_link(&policy).expect("a link"), kept);
    assert_eq!(std::fs::read_to_string(&kept).expect("text"), own);
}

/// A stand-in for the instance, which writes down what signals it gets. Not in the shell's
/// language: a shell does not catch what was ignored when it started, the instance does.
const INSTANCE: &str = r#"#!/usr/bin/env python3
import os, signal, sys, time
if sys.argv[1] != "run":
    print("The configuration is sound: development as http://localhost:" + os.environ["PORT"] + ", all roles")
    sys.exit(0)
seen = open(os.environ["SEEN"], "a", buffering=1)
signal.signal(signal.SIGINT, lambda *_: seen.write("INT\n"))
signal.signal(signal.SIGTERM, lambda *_: (seen.write("TERM\n"), sys.exit(0)))
seen.write("started\n")
while True:
    time.sleep(0.05)
"#;

/// A stand-in for the neighbour.
const NEIGHBOUR: &str = "#!/bin/sh
echo 'follow @keeper@neighbour.test'
exec sleep 60
";

/// `make run` with stand-ins, until it is up and somebody types Ctrl-C; what it said, and what
/// the instance saw.
fn run_and_interrupt(neighbour: &str, awaited: &str) -> (String, String) {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    use std::time::{Duration, Instant};

    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let built = root.join("target/debug");
    for place in [&built, &root.join("bin")] {
        std::fs::create_dir_all(place).expect("a folder");
    }
    for (path, text) in [
        (built.join("tidegate"), INSTANCE),
        (built.join("tidegate-loadtest"), NEIGHBOUR),
        (root.join("bin/cargo"), "#!/bin/sh\nexit 0\n"),
    ] {
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("set");
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (seen, said) = (root.join("seen"), root.join("said"));
    let out = std::fs::File::create(&said).expect("a file");
    let path = std::env::var("PATH").expect("a path");
    let mut script = Command::new("bash")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/scripts/run"))
        .env("PATH", format!("{}:{path}", root.join("bin").display()))
        .env("CARGO_TARGET_DIR", root.join("target"))
        .env("TIDEGATE_STATE", root.join("state"))
        .env("TIDEGATE_DATABASE__URL", "postgres://somewhere.test/x")
        .env("NEIGHBOUR", neighbour)
        .env("PORT", port.to_string())
        .env("SEEN", &seen)
        .stdout(out.try_clone().expect("the same file"))
        .stderr(out)
        .process_group(0)
        .spawn()
        .expect("runs");
    let text = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let deadline = Instant::now() + Duration::from_mins(1);
    while !text(&seen).contains("started") || !text(&said).contains(awaited) {
        assert!(Instant::now() < deadline, "not up: {}", text(&said));
        std::thread::sleep(Duration::from_millis(20));
    }
    // As a terminal does: to everybody in the foreground.
    let group = nix::unistd::Pid::from_raw(script.id().cast_signed());
    nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGINT).expect("sent");
    let ended = loop {
        if let Some(status) = script.try_wait().expect("a child") {
            break status;
        }
        assert!(Instant::now() < deadline, "it goes on: {}", text(&said));
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(ended.code(), Some(0), "{}", text(&said));
    (text(&said), text(&seen))
}

#[test]
fn ctrl_c_reaches_what_make_run_started_once_and_the_neighbour_is_named() {
    let (_, seen) = run_and_interrupt("on", "@keeper@neighbour.test");
    assert_eq!(seen, "started\nTERM\n", "a second signal means at once");
    let (said, seen) = run_and_interrupt("off", "");
    assert_eq!(seen, "started\nTERM\n");
    assert!(!said.contains("neighbour"), "{said}");
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
