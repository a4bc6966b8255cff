//! SIGKILL between publish, consume and ack. The victim is this very test program, started again
//! as a process of its own, which tells on standard output what it has done.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::backend::{Backend, consume, drain, id_of, open, outgoing, publish};

/// The victim's part: publishes or consumes for ever, as its environment says.
#[tokio::test]
#[ignore = "only runs as the victim of the kill tests"]
async fn victim() {
    let read = |name: &str| std::env::var(name).expect("the parent says what to do");
    let queue = open(
        &read("VICTIM_KIND"),
        &read("VICTIM_URL"),
        &read("VICTIM_PREFIX"),
    )
    .await;
    let name = read("VICTIM_QUEUE");
    // The pipe is a line each, unbuffered: what was said is said, killed or not.
    let say = |what: &str, id: i64| {
        let mut out = std::io::stderr().lock();
        writeln!(out, "{what} {id}").expect("the parent listens");
    };
    if read("VICTIM_TASK") == "publish" {
        let first: i64 = read("VICTIM_FIRST").parse().expect("a number");
        for start in (first..).step_by(20) {
            let ids = start..start + 20;
            let batch = ids.clone().map(|id| outgoing(&name, id)).collect();
            for (id, result) in ids.zip(queue.publish(batch).await) {
                result.expect("publishes");
                say("confirmed", id);
            }
        }
    }
    let mut consumer = consume(&*queue, &name, 20).await;
    while let Some(message) = consumer.next().await {
        let id = id_of(&message);
        say("handled", id);
        if read("VICTIM_TASK") == "hold" {
            std::mem::forget(message);
        } else {
            message.ack().await;
        }
    }
}

fn start(backend: &Backend, queue: &str, task: &str, first: i64) -> Child {
    let (kind, url, prefix) = backend.address();
    Command::new(std::env::current_exe().expect("this test runs from a file"))
        .args(["--exact", "kills::victim", "--ignored", "--nocapture"])
        .env("VICTIM_KIND", kind)
        .env("VICTIM_URL", url)
        .env("VICTIM_PREFIX", prefix)
        .env("VICTIM_QUEUE", queue)
        .env("VICTIM_TASK", task)
        .env("VICTIM_FIRST", first.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the victim starts")
}

/// Kills the victim once it has said `after` lines; returns every id that it spoke of.
async fn kill_after(mut victim: Child, word: &'static str, after: usize) -> BTreeSet<i64> {
    tokio::task::spawn_blocking(move || {
        let pid = Pid::from_raw(victim.id().cast_signed());
        let lines = BufReader::new(victim.stderr.take().expect("piped")).lines();
        let mut ids = BTreeSet::new();
        for line in lines.map_while(Result::ok) {
            let Some(id) = line.strip_prefix(word) else {
                continue;
            };
            // The last line may have been cut short; then it is no number of a whole line.
            let Ok(id) = id.trim().parse() else { continue };
            ids.insert(id);
            if ids.len() == after {
                kill(pid, Signal::SIGKILL).expect("it lives");
            }
        }
        let status = victim.wait().expect("it ended");
        assert!(
            !status.success() && ids.len() >= after,
            "{status} {}",
            ids.len()
        );
        ids
    })
    .await
    .expect("the reader does not panic")
}

async fn every_confirmed_message_survives_its_publisher(backend: Backend) {
    let (queue, name) = backend.queue("q").await;
    let mut confirmed = BTreeSet::new();
    for round in 0..3 {
        let victim = start(&backend, &name, "publish", round * 1_000_000);
        confirmed.extend(kill_after(victim, "confirmed ", 150).await);
    }
    assert!(confirmed.len() >= 450);
    let mut consumer = consume(&*queue, &name, 50).await;
    drain(&mut consumer, &confirmed).await;
}

async fn what_a_killed_consumer_did_not_ack_comes_again(backend: Backend) {
    let (queue, name) = backend.queue("q").await;
    publish(&*queue, &name, 0..600).await;
    let mut handled = BTreeSet::new();
    for _ in 0..3 {
        let victim = start(&backend, &name, "consume", 0);
        handled.extend(kill_after(victim, "handled ", 60).await);
    }
    let wanted: BTreeSet<i64> = (0..600).collect();
    let missing: BTreeSet<i64> = wanted.difference(&handled).copied().collect();
    assert!(missing.len() >= 100, "the victims left something to do");
    let mut consumer = consume(&*queue, &name, 50).await;
    drain(&mut consumer, &missing).await;
}

async fn what_a_killed_consumer_held_comes_again(backend: Backend) {
    let (queue, name) = backend.queue("q").await;
    publish(&*queue, &name, 0..20).await;
    let victim = start(&backend, &name, "hold", 0);
    let held = kill_after(victim, "handled ", 20).await;
    assert_eq!(held.len(), 20);
    let mut consumer = consume(&*queue, &name, 50).await;
    let seen = drain(&mut consumer, &held).await;
    assert_eq!(seen.len(), 20);
    tokio::time::sleep(Duration::from_millis(10)).await;
}

#[tokio::test]
async fn table_keeps_what_a_killed_publisher_confirmed() {
    every_confirmed_message_survives_its_publisher(Backend::table().await).await;
}

#[tokio::test]
async fn rabbit_keeps_what_a_killed_publisher_confirmed() {
    every_confirmed_message_survives_its_publisher(Backend::rabbit().await).await;
}

#[tokio::test]
async fn table_gives_again_what_a_killed_consumer_did_not_ack() {
    what_a_killed_consumer_did_not_ack_comes_again(Backend::table().await).await;
}

#[tokio::test]
async fn rabbit_gives_again_what_a_killed_consumer_did_not_ack() {
    what_a_killed_consumer_did_not_ack_comes_again(Backend::rabbit().await).await;
}

#[tokio::test]
async fn table_gives_again_what_a_killed_consumer_held() {
    what_a_killed_consumer_held_comes_again(Backend::table().await).await;
}

#[tokio::test]
async fn rabbit_gives_again_what_a_killed_consumer_held() {
    what_a_killed_consumer_held_comes_again(Backend::rabbit().await).await;
}
