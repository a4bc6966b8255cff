//! The neighbour server, with a simulator in the place of the Tidegate instance.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use serde_json::json;
use tidegate_loadtest::{
    ActorRef, Ledger, PostSpec, Sim, SimConfig, Visibility,
    neighbour::{Neighbour, NeighbourConfig},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(30);
const MOG: &str = "http://neighbour.test/users/mog";

struct Running {
    neighbour: Neighbour,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn start(tide: SocketAddr, state: &Path, every: Duration) -> Self {
        let neighbour = Neighbour::start(&NeighbourConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            tidegate: format!("http://tide.test:{}", tide.port())
                .parse()
                .expect("a URL"),
            name: "neighbour.test".to_owned(),
            resolve: [("tide.test".to_owned(), tide)].into(),
            state: Some(state.to_owned()),
        })
        .await
        .expect("starts");
        let (stop, living) = (CancellationToken::new(), neighbour.clone());
        let stopped = stop.clone().cancelled_owned();
        let task = tokio::spawn(async move { living.live(every, stopped).await });
        Self {
            neighbour,
            stop,
            task,
        }
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.expect("no panic");
    }
}

async fn came(tide: &Sim, what: &str, condition: impl Fn(&Ledger) -> bool) {
    assert!(
        tide.ledger().wait_until(condition, PATIENCE).await,
        "{what} did not come"
    );
}

fn created(ledger: &Ledger, has: &str) -> bool {
    let posts = ledger.activities("Create");
    posts
        .iter()
        .any(|entry| entry.effect && String::from_utf8_lossy(&entry.body).contains(has))
}

async fn followed(tide: &Sim, running: &Running, ada: &ActorRef) {
    tide.resolve_to("neighbour.test", running.neighbour.sim().address());
    assert!(tide.follow(ada, MOG).await.expect("delivered").all_taken());
    came(tide, "the Accept", |ledger| {
        !ledger.activities("Accept").is_empty()
    })
    .await;
    came(tide, "the welcome", |ledger| {
        created(ledger, "You may also bring fish")
    })
    .await;
}

#[tokio::test]
async fn a_neighbour_accepts_welcomes_answers_and_likes() {
    let folder = tempfile::tempdir().expect("a folder");
    let tide = Arc::new(Sim::start(SimConfig::default()).await.expect("a free port"));
    let ada = tide.add_actor("tide.test", "ada", true);
    let hour = Duration::from_hours(1);
    let running = Running::start(tide.address(), &folder.path().join("n.json"), hour).await;
    assert_eq!(running.neighbour.handles().len(), 3);
    followed(&tide, &running, &ada).await;

    let welcome = tide.ledger().activities("Create")[0].json().expect("JSON");
    let welcome_note = welcome["object"]["id"].as_str().expect("an id");
    let mut reply = PostSpec::with("<p>fish is here</p>", Visibility::Direct).mention(MOG);
    // As Fedify writes it: one tag, no list.
    reply.extra = [("tag".to_owned(), json!({ "type": "Mention", "href": MOG }))]
        .into_iter()
        .collect();
    let posted = tide
        .post(&ada, &reply.reply_to(welcome_note))
        .await
        .expect("posted");
    assert!(posted.sent.all_taken(), "{posted:?}");
    came(&tide, "the like", |ledger| {
        !ledger.activities("Like").is_empty()
    })
    .await;
    came(&tide, "the answer", |ledger| created(ledger, &posted.note)).await;
    let answers = tide.ledger().activities("Create");
    let answer = answers.last().expect("came").json().expect("JSON");
    assert_eq!(
        answer["to"],
        json!([ada.uri]),
        "a direct question is answered directly"
    );
    running.end().await;
    tide.shutdown().await;
}

#[tokio::test]
async fn followers_and_key_survive_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("n.json");
    let tide = Arc::new(Sim::start(SimConfig::default()).await.expect("a free port"));
    let ada = tide.add_actor("tide.test", "ada", true);
    let first = Running::start(tide.address(), &state, Duration::from_hours(1)).await;
    followed(&tide, &first, &ada).await;
    let mog = first
        .neighbour
        .sim()
        .actor("neighbour.test", "mog")
        .expect("lives there");
    let key = first.neighbour.sim().public_key(&mog).await.expect("known");
    first.end().await;

    let before = tide.ledger().activities("Create").len();
    let second = Running::start(tide.address(), &state, Duration::from_millis(200)).await;
    tide.resolve_to("neighbour.test", second.neighbour.sim().address());
    assert_eq!(
        second
            .neighbour
            .sim()
            .public_key(&mog)
            .await
            .expect("known"),
        key
    );
    came(&tide, "a post to the remembered follower", |ledger| {
        let posts = ledger.activities("Create");
        posts.len() > before && posts.iter().all(|entry| entry.verdict.is_valid())
    })
    .await;
    second.end().await;
    tide.shutdown().await;
}
