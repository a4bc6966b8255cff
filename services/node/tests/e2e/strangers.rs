//! What remote servers send twice (A4), and what they pass off as something else (B2), through a
//! whole node.

use anyhow::ensure;
use futures::future::join_all;
use serde_json::json;
use tidegate_loadtest::{Fault, HostBehaviour, PostSpec, Script};

use crate::client::{eventually, text};
use crate::cluster::Cluster;

/// How often each activity is sent, all at once.
const TIMES: usize = 30;

/// The same activities at the node's inbox many times at once: each is answered as taken, and
/// takes effect once.
pub(crate) async fn a_repeat_is_applied_once(cluster: &Cluster) -> anyhow::Result<()> {
    let sim = &cluster.sim;
    let rae = cluster.user("rae").await?;
    let us = cluster.actor("rae");
    let far = sim.add_actor("echo.sim.test", "ned", true);
    let post = rae.say("say it once", "public").await?;
    let uri = text(&post, "uri")?;
    let inbox = format!("{us}/inbox");

    let spec = PostSpec::public("<p>again and again</p>")
        .mention(&us)
        .reply_to(uri);
    let answer = sim.post(&far, &spec).await?;
    crate::stories::taken(answer.sent)?;
    let repeats = (0..TIMES).map(|_| sim.repeat(&far, &answer.note, vec![inbox.clone()]));
    for sent in join_all(repeats).await {
        crate::stories::taken(sent?)?;
    }
    let like = json!({
        "@context": "https://www.w3.org/ns/activitystreams",
        "id": "http://echo.sim.test/likes/once",
        "type": "Like",
        "actor": far.uri,
        "object": uri,
    });
    let likes = (0..TIMES).map(|_| sim.hit_inbox_as(&far, &inbox, &like));
    for answer in join_all(likes).await {
        let answer = answer?;
        ensure!(answer.is_success(), "a repeat met {}", answer.status);
    }

    let id = text(&post, "id")?;
    let path = format!("/api/v1/statuses/{id}");
    eventually("the answer and the favourite", async || {
        let seen = rae.get(&path).await?;
        Ok(seen["replies_count"] != json!(0) && seen["favourites_count"] != json!(0))
    })
    .await?;
    // What is sent last comes after everything that was repeated, on a broker too.
    let last = PostSpec::public("<p>that is all</p>").mention(&us);
    crate::stories::taken(sim.post(&far, &last).await?.sent)?;
    eventually("the last word", async || {
        let told = rae.get("/api/v1/notifications?types[]=mention").await?;
        Ok(told.to_string().contains("that is all"))
    })
    .await?;
    let pool = &cluster.database()?.pool;
    eventually("an empty queue", async || {
        let waiting: i64 = sqlx::query_scalar(
            "select (select count(*) from queue_messages) + (select count(*) from outbox)",
        )
        .fetch_one(pool)
        .await?;
        Ok(waiting == 0)
    })
    .await?;
    let seen = rae.get(&path).await?;
    ensure!(seen["replies_count"] == json!(1), "{seen}");
    ensure!(seen["favourites_count"] == json!(1), "{seen}");
    for (kind, times) in [("mention", 2), ("favourite", 1)] {
        let told = rae
            .get(&format!("/api/v1/notifications?types[]={kind}"))
            .await?;
        ensure!(
            told.as_array().is_some_and(|told| told.len() == times),
            "{told}"
        );
    }
    let copies: i64 = sqlx::query_scalar("select count(*) from statuses where uri = $1")
        .bind(&answer.note)
        .fetch_one(pool)
        .await?;
    ensure!(copies == 1, "{copies} copies of one post");
    Ok(())
}

/// A person or a post that is served as an upload would be: nobody is found, and nothing of it
/// is kept.
pub(crate) async fn an_upload_is_nobody(cluster: &Cluster) -> anyhow::Result<()> {
    let sim = &cluster.sim;
    let una = cluster.user("una").await?;
    let thief = sim.add_actor("uploads.sim.test", "eve", true);
    let pool = &cluster.database()?.pool;
    for value in ["application/json", "text/plain", "application/ld+json"] {
        let habits = HostBehaviour::documents(Script::always(Fault::ContentType {
            value: value.to_owned(),
        }));
        sim.set_behaviour("uploads.sim.test", habits);
        for asked in [thief.uri.clone(), format!("@{}", thief.handle())] {
            let asked: String = url::form_urlencoded::byte_serialize(asked.as_bytes()).collect();
            let found = una
                .get(&format!("/api/v2/search?resolve=true&q={asked}"))
                .await?;
            ensure!(found["accounts"] == json!([]), "{value}: {found}");
            ensure!(found["statuses"] == json!([]), "{value}: {found}");
        }
    }
    let kept: i64 = sqlx::query_scalar(
        "select (select count(*) from accounts where uri like '%uploads.sim.test%')
              + (select count(*) from statuses where uri like '%uploads.sim.test%')
              + (select count(*) from inboxes where url like '%uploads.sim.test%')",
    )
    .fetch_one(pool)
    .await?;
    ensure!(kept == 0, "{kept} rows of what was refused");
    // The same host is believed when it says what it serves: the refusals were for the type.
    sim.set_behaviour("uploads.sim.test", HostBehaviour::default());
    Ok(())
}
