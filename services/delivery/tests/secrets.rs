//! What must be seen nowhere but where it belongs is hunted with canary words: the private key,
//! the secret that encrypts it, the text of a direct post, and a token in an inbox's address. One
//! test, because it listens to the whole process.

mod common;

use std::time::Duration;

use common::raw::RawHost;
use common::{Plan, Rig};
use tidegate_federation::signature::body_digest;
use tidegate_loadtest::{Fault, HostBehaviour, Script};
use tidegate_model::Lane;
use tidegate_testkit::Logs;

const WELL: &str = "http://well.sim.test/users/bob/inbox?key=canary-token";
const TEXT: &str = "canary-words-of-a-direct-post";

/// What the rig encrypts keys with.
const KEY_ENCRYPTION_KEY: &str = "a secret for tests of thirty-two bytes";

/// Parts of the author's private key: of its PEM or DER, as text and as bytes print.
async fn private_key(rig: &Rig) -> Vec<String> {
    let encrypted: Vec<u8> =
        sqlx::query_scalar("select rsa_private from account_keys where account_id = $1")
            .bind(rig.author)
            .fetch_one(rig.pool())
            .await
            .expect("a key");
    let plain = rig
        .deps
        .vault
        .decrypt(rig.author, &encrypted)
        .expect("decrypts");
    let bytes = &plain[plain.len() / 2..plain.len() / 2 + 24];
    let printed = format!("{bytes:?}");
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    vec![
        String::from_utf8_lossy(bytes).into_owned(),
        printed.trim_matches(['[', ']']).to_owned(),
        hex.concat(),
    ]
}

/// Hosts that fail in every way there is, and one that is well.
async fn hosts(rig: &mut Rig) -> Vec<String> {
    rig.sim.add_host("well.sim.test", HostBehaviour::default());
    rig.sim.add_actor("well.sim.test", "bob", true);
    let mut inboxes = Vec::new();
    for (name, fault) in [
        ("gone", Fault::Status { code: 410 }),
        ("no", Fault::Status { code: 401 }),
        ("busy", Fault::Status { code: 503 }),
        ("reset", Fault::Reset),
        (
            "moved",
            Fault::Redirect {
                code: 302,
                to: WELL.to_owned(),
            },
        ),
    ] {
        let name = format!("{name}.sim.test");
        rig.sim
            .add_host(&name, HostBehaviour::inbox(Script::always(fault)));
        inboxes.push(format!("http://{name}/inbox?key=canary-token"));
    }
    let odd = RawHost::saying(b"canary-answer\r\n\r\n".to_vec()).await;
    rig.lead("odd.test", odd.address);
    inboxes.push("http://a.odd.test/inbox?key=canary-token".to_owned());
    inboxes.push("http://10.0.0.1/inbox?key=canary-token".to_owned());
    inboxes.push("http://user:canary-token@b.odd.test/inbox".to_owned());
    inboxes.push("ftp://c.odd.test/canary-token".to_owned());
    inboxes
}

/// All text of the tables through which work and errors travel.
async fn tables(rig: &Rig) -> String {
    sqlx::query_scalar(
        "select concat_ws(' ',
             (select string_agg(q::text, ' ') from queue_messages q),
             (select string_agg(o::text, ' ') from outbox o),
             (select string_agg(d::text, ' ') from dead_messages d),
             (select string_agg(concat_ws(' ', r.reason, r.last_error, r.order_key), ' ')
              from deliveries r),
             (select string_agg(h::text, ' ') from hosts h))",
    )
    .fetch_one(rig.pool())
    .await
    .expect("text")
}

#[tokio::test]
async fn secrets_stay_where_they_belong() {
    let logs = Logs::of_the_process();
    let mut rig = Rig::new().await.patient(Duration::from_secs(10));
    rig.options.measure_interval = Duration::from_millis(50);
    let key = private_key(&rig).await;
    let failing = hosts(&mut rig).await;
    let mut inboxes: Vec<&str> = failing.iter().map(String::as_str).collect();
    inboxes.push(WELL);
    let status = rig.post("direct").await;
    let id = rig
        .plan(&Plan {
            lane: Lane::Now,
            ..Plan::new("Create", "status:1", 1, &inboxes)
        })
        .await;
    // The audience check has tests of its own; here the text itself has to travel.
    let body = format!(
        r#"{{"id":"http://us.test/activities/canary","type":"Create","actor":"http://us.test/users/ada","object":{{"content":"{TEXT}"}}}}"#
    );
    sqlx::query("update activities set body = $2, digest = $3 where id = $1")
        .bind(id)
        .bind(body.as_bytes())
        .bind(body_digest(body.as_bytes()))
        .execute(rig.pool())
        .await
        .expect("the text");
    sqlx::query("update statuses set content = $2 where id = $1")
        .bind(status)
        .bind(TEXT)
        .execute(rig.pool())
        .await
        .expect("the text");
    rig.publish(id).await;
    let mut seen = tables(&rig).await;
    assert!(
        seen.contains(&id.to_string()),
        "the message is in the queue"
    );
    rig.start();
    rig.until(id, WELL, "delivered").await;
    for inbox in &failing {
        if inbox.contains(".sim.test") || inbox.contains("a.odd.test") {
            let deadline = tokio::time::Instant::now() + common::PATIENCE;
            while rig.row(id, inbox).await.attempts == 0 {
                assert!(
                    tokio::time::Instant::now() < deadline,
                    "{inbox} is not tried"
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        } else {
            rig.until(id, inbox, "dead").await;
        }
    }
    // A key that cannot be decrypted is our own fault, and is said loudly.
    sqlx::query("update account_keys set rsa_private = 'canary-token' where account_id = $1")
        .bind(rig.author)
        .execute(rig.pool())
        .await
        .expect("broken");
    seen += &tables(&rig).await;
    rig.stop().await;
    rig.start();
    let unsigned = rig.send(&Plan::new("Create", "status:2", 1, &[WELL])).await;
    let row = rig.until(unsigned, WELL, "parked").await;
    assert_eq!(row.reason.as_deref(), Some("own_key"), "nobody pays for it");
    seen += &tables(&rig).await;
    seen += &String::from_utf8(tidegate_telemetry::render()).expect("text");
    let written = logs.text();
    assert!(written.contains("cannot be decrypted"), "the log is caught");
    seen += &written;

    // The way the words were meant to take, and no other.
    let received = rig.sim.ledger().received(|entry| entry.effect);
    let body = received[0].json().expect("JSON").to_string();
    assert!(body.contains(TEXT), "{body}");
    let mut secrets = vec![KEY_ENCRYPTION_KEY.to_owned(), TEXT.to_owned()];
    secrets.extend(["canary-token", "canary-answer"].map(str::to_owned));
    secrets.push("PRIVATE KEY".to_owned());
    secrets.extend(key);
    for secret in &secrets {
        let at = seen.find(secret.as_str());
        let around = at.map(|at| &seen[at.saturating_sub(200)..at + secret.len()]);
        assert_eq!(around, None, "{secret} leaked");
    }
}
