//! What people and servers do, told once and run in both modes.

use std::collections::BTreeSet;

use serde_json::json;
use tidegate_loadtest::{ActorRef, PostSpec, Sent, Sim, Visibility};

use crate::client::{Client, eventually, text};
use crate::cluster::{Cluster, Mode};

/// A post travels to followers elsewhere, and a post from elsewhere comes home.
pub(crate) async fn a_post_travels(cluster: &Cluster) -> anyhow::Result<()> {
    let sim = &cluster.sim;
    let ada = cluster.user("ada").await?;
    let far = sim.add_actor("alpha.sim.test", "bo", true);
    let shared = sim.add_actor("alpha.sim.test", "bea", true);
    let own = sim.add_actor("beta.sim.test", "cy", false);
    for actor in [&far, &shared, &own] {
        taken(sim.follow(actor, &cluster.actor("ada")).await?)?;
    }
    followers_are(&ada, 3).await?;

    let post = ada.say("Hello, fediverse! #first", "public").await?;
    let create = format!("{}/activity", text(&post, "uri")?);
    // Two followers share an inbox: it gets the activity once.
    arrives(sim, &create, &[&far.shared_inbox(), &own.inbox()]).await?;
    all_signed(sim, &create);

    // Their answer comes back as a notification and as a reply.
    ada.follow(&far.handle()).await?;
    let spec = PostSpec::public("<p>Hello yourself</p>")
        .mention(&cluster.actor("ada"))
        .reply_to(text(&post, "uri")?);
    let answer = sim.post(&far, &spec).await?;
    taken(answer.sent.clone())?;
    eventually("the answer on home", async || {
        Ok(ada
            .home()
            .await?
            .iter()
            .any(|status| status["uri"] == json!(answer.note)))
    })
    .await?;
    eventually("the mention", async || {
        let seen = ada.get("/api/v1/notifications?types[]=mention").await?;
        Ok(seen[0]["status"]["uri"] == json!(answer.note))
    })
    .await?;
    let id = text(&post, "id")?;
    let context = ada.get(&format!("/api/v1/statuses/{id}/context")).await?;
    anyhow::ensure!(context["descendants"][0]["uri"] == json!(answer.note));
    Ok(())
}

/// Every visibility reaches exactly whom it addresses.
async fn private_words_stay_private(cluster: &Cluster) -> anyhow::Result<()> {
    let sim = &cluster.sim;
    let eve = cluster.user("eve").await?;
    let follower = sim.add_actor("gamma.sim.test", "fay", true);
    let friend = sim.add_actor("delta.sim.test", "gil", true);
    taken(sim.follow(&follower, &cluster.actor("eve")).await?)?;
    followers_are(&eve, 1).await?;
    eve.find(&friend.handle()).await?;

    let for_followers = eve.say("for followers, canary-heron", "private").await?;
    let direct = eve
        .say(
            &format!("only you @{} canary-stork", friend.handle()),
            "direct",
        )
        .await?;
    arrives(sim, &activity(&for_followers)?, &[&follower.shared_inbox()]).await?;
    arrives(sim, &activity(&direct)?, &[&friend.shared_inbox()]).await?;
    let leaked = |host: &str, word: &str| {
        sim.ledger()
            .received(|entry| &*entry.host == host && contains(&entry.body, word))
            .len()
    };
    anyhow::ensure!(leaked("gamma.sim.test", "canary-stork") == 0);
    anyhow::ensure!(leaked("delta.sim.test", "canary-heron") == 0);

    // The posts themselves are shown to nobody without a right to them.
    for post in [&for_followers, &direct] {
        let seen = reqwest::Client::new()
            .get(text(post, "uri")?)
            .header("accept", "application/activity+json")
            .send()
            .await?;
        anyhow::ensure!(
            seen.status() == 404,
            "a stranger saw {}",
            text(post, "uri")?
        );
    }
    let stranger = cluster.user("sid").await?;
    let id = text(&for_followers, "id")?;
    let (status, _) = stranger
        .call(
            reqwest::Method::GET,
            &format!("/api/v1/statuses/{id}"),
            None,
            &[],
        )
        .await?;
    anyhow::ensure!(status == 404);
    Ok(())
}

/// Favourite, boost, delete, block: each does what it says on both sides.
async fn what_is_done_is_undone(cluster: &Cluster) -> anyhow::Result<()> {
    let sim = &cluster.sim;
    let kim = cluster.user("kim").await?;
    let lou = sim.add_actor("omega.sim.test", "lou", true);
    taken(sim.follow(&lou, &cluster.actor("kim")).await?)?;
    followers_are(&kim, 1).await?;
    let lou_id = kim.follow(&lou.handle()).await?;

    let note = sim
        .post(&lou, &PostSpec::public("<p>Look at this</p>"))
        .await?
        .note;
    let mut id = String::new();
    eventually("the post on home", async || {
        let home = kim.home().await?;
        let found = home.iter().find(|status| status["uri"] == json!(note));
        if let Some(known) = found.and_then(|status| status["id"].as_str()) {
            known.clone_into(&mut id);
        }
        Ok(found.is_some())
    })
    .await?;
    let path = |verb: &str| format!("/api/v1/statuses/{id}/{verb}");
    kim.post(&path("favourite"), json!({})).await?;
    came(sim, &lou, "Like").await?;
    kim.post(&path("unfavourite"), json!({})).await?;
    came(sim, &lou, "Undo").await?;
    kim.post(&path("reblog"), json!({})).await?;
    came(sim, &lou, "Announce").await?;

    // A post is deleted wherever it went, in the order in which things happened.
    let post = kim.say("never mind", "public").await?;
    arrives(sim, &activity(&post)?, &[&lou.shared_inbox()]).await?;
    let post_id = text(&post, "id")?;
    let (status, gone) = kim
        .call(
            reqwest::Method::DELETE,
            &format!("/api/v1/statuses/{post_id}"),
            None,
            &[],
        )
        .await?;
    anyhow::ensure!(status.is_success() && gone["text"] == "never mind");
    came(sim, &lou, "Delete").await?;

    // Their favourite and boost of ours are seen, and their delete takes theirs away.
    let ours = kim.say("like this one", "public").await?;
    arrives(sim, &activity(&ours)?, &[&lou.shared_inbox()]).await?;
    sim.like(&lou, text(&ours, "uri")?, &cluster.actor("kim"))
        .await?;
    eventually("the favourite", async || {
        let id = text(&ours, "id")?;
        let seen = kim.get(&format!("/api/v1/statuses/{id}")).await?;
        Ok(seen["favourites_count"] == 1)
    })
    .await?;
    sim.delete(&lou, &note).await?;
    eventually("the deleted post to be gone", async || {
        let (status, _) = kim
            .call(
                reqwest::Method::GET,
                &format!("/api/v1/statuses/{id}"),
                None,
                &[],
            )
            .await?;
        Ok(status == 404)
    })
    .await?;

    kim.post(&format!("/api/v1/accounts/{lou_id}/block"), json!({}))
        .await?;
    came(sim, &lou, "Block").await?;
    followers_are(&kim, 0).await
}

/// An edit from elsewhere is shown; one of somebody else's post is not.
async fn only_the_author_edits(cluster: &Cluster) -> anyhow::Result<()> {
    let sim = &cluster.sim;
    let reader = cluster.user("rex").await?;
    let author = sim.add_actor("author.sim.test", "ann", true);
    let thief = sim.add_actor("thief.sim.test", "tom", true);
    reader.follow(&author.handle()).await?;
    reader.follow(&thief.handle()).await?;
    let spec = PostSpec::with("<p>first</p>", Visibility::Public);
    let note = sim.post(&author, &spec).await?.note;
    let shown = async |words: &str| -> anyhow::Result<bool> {
        let home = reader.home().await?;
        let found = home.iter().find(|status| status["uri"] == json!(note));
        Ok(found.is_some_and(|status| {
            status["content"]
                .as_str()
                .is_some_and(|content| content.contains(words))
        }))
    };
    eventually("the post", async || shown("first").await).await?;
    sim.update(&author, &note, "<p>second</p>").await?;
    eventually("the edit", async || shown("second").await).await?;
    // The thief's own later post shows that everything it sent was taken in.
    let forged = json!({
        "@context": "https://www.w3.org/ns/activitystreams",
        "id": format!("{}#updates/1", thief.uri),
        "type": "Update",
        "actor": thief.uri,
        "to": ["https://www.w3.org/ns/activitystreams#Public"],
        "object": {
            "id": note, "type": "Note", "attributedTo": thief.uri,
            "content": "<p>forged</p>", "published": "2026-01-01T00:00:00Z",
            "updated": "2026-12-01T00:00:00Z",
            "to": ["https://www.w3.org/ns/activitystreams#Public"],
        },
    });
    sim.hit_inbox_as(&thief, &format!("{}/inbox", cluster.base), &forged)
        .await?;
    let marker = sim
        .post(&thief, &PostSpec::public("<p>marker</p>"))
        .await?
        .note;
    eventually("the marker", async || {
        Ok(reader
            .home()
            .await?
            .iter()
            .any(|status| status["uri"] == json!(marker)))
    })
    .await?;
    anyhow::ensure!(shown("second").await?, "a stranger edited a post");
    Ok(())
}

async fn ledger_is_whole(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.command(&["admin", "verify-deliveries"]).await?;
    Ok(())
}

async fn every_story(mode: Mode, extra: &[(&str, &str)]) -> anyhow::Result<()> {
    let cluster = Cluster::start(mode, extra).await?;
    let told = async {
        a_post_travels(&cluster).await?;
        private_words_stay_private(&cluster).await?;
        what_is_done_is_undone(&cluster).await?;
        only_the_author_edits(&cluster).await?;
        crate::strangers::a_repeat_is_applied_once(&cluster).await?;
        crate::strangers::an_upload_is_nobody(&cluster).await?;
        ledger_is_whole(&cluster).await
    };
    if let Err(error) = told.await {
        anyhow::bail!("{error:#}\n{}", cluster.logs());
    }
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_in_one_process() -> anyhow::Result<()> {
    every_story(Mode::Embedded, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_split_over_the_real_servers() -> anyhow::Result<()> {
    every_story(Mode::Split, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_connections_are_enough() -> anyhow::Result<()> {
    every_story(
        Mode::Embedded,
        &[("TIDEGATE_DATABASE__MAX_CONNECTIONS", "2")],
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_connections_are_enough_for_each_split_role() -> anyhow::Result<()> {
    every_story(Mode::Split, &[("TIDEGATE_DATABASE__MAX_CONNECTIONS", "2")]).await
}

fn activity(post: &serde_json::Value) -> anyhow::Result<String> {
    Ok(format!("{}/activity", text(post, "uri")?))
}

fn contains(body: &[u8], word: &str) -> bool {
    body.windows(word.len())
        .any(|window| window == word.as_bytes())
}

/// Every inbox of ours answered 2xx.
pub(crate) fn taken(sent: Sent) -> anyhow::Result<()> {
    anyhow::ensure!(sent.all_taken(), "not taken: {sent:?}");
    Ok(())
}

async fn followers_are(client: &Client, count: u64) -> anyhow::Result<()> {
    eventually("the followers", async || {
        let path = format!("/api/v1/accounts/{}", client.account_id);
        Ok(client.get(&path).await?["followers_count"] == json!(count))
    })
    .await
}

/// Waits until the activity took effect at exactly these inboxes.
async fn arrives(sim: &Sim, activity: &str, inboxes: &[&str]) -> anyhow::Result<()> {
    let wanted: BTreeSet<String> = inboxes.iter().map(|&inbox| inbox.to_owned()).collect();
    let there = || -> BTreeSet<String> {
        sim.ledger()
            .effects()
            .into_iter()
            .filter(|arrival| &*arrival.activity == activity)
            .map(|arrival| format!("http://{}{}", arrival.host, arrival.inbox))
            .collect()
    };
    eventually(&format!("{activity} at {wanted:?}"), async || {
        Ok(there() == wanted)
    })
    .await
}

async fn came(sim: &Sim, to: &ActorRef, kind: &str) -> anyhow::Result<()> {
    eventually(&format!("{kind} at {}", to.host), async || {
        let seen = sim
            .ledger()
            .received(|entry| *entry.host == *to.host && entry.is_activity(kind) && entry.effect);
        Ok(!seen.is_empty())
    })
    .await
}

fn all_signed(sim: &Sim, activity: &str) {
    for entry in sim.ledger().received(|entry| {
        entry
            .activity
            .as_ref()
            .is_some_and(|head| &*head.id == activity)
    }) {
        assert!(entry.verdict.is_valid(), "{:?}", entry.verdict);
    }
}
