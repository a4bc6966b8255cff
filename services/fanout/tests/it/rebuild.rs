//! The rebuild service.

use std::time::Duration;

use tidegate_fanout::TimelinesService;
use tidegate_model::Visibility;
use tidegate_proto::fanout::v1::RebuildRequest;
use tidegate_proto::fanout::v1::rebuild_response::State;
use tidegate_proto::fanout::v1::timelines_server::Timelines as _;
use tidegate_timeline::{List, TRIM_TO, Timelines as _};
use tonic::Request;

use crate::support::{World, eventually};

fn ask(account_id: i64, wait: bool) -> Request<RebuildRequest> {
    Request::new(RebuildRequest { account_id, wait })
}

async fn rebuild(service: &TimelinesService, account_id: i64, wait: bool) -> State {
    let answer = service.rebuild(ask(account_id, wait)).await;
    answer.expect("is answered").into_inner().state()
}

#[tokio::test]
async fn a_rebuilt_list_is_complete_down_to_its_floor() {
    let world = World::stopped().await;
    let me = world.local(100, "me").await;
    let friend = world.local(101, "friend").await;
    world.follow(&me, &friend).await;
    let last = TRIM_TO as i64 + 5;
    for id in 1..=last {
        world.post(id, &friend, Visibility::Public, &[]).await;
    }
    let service = TimelinesService::new(world.deps.clone(), &world.options);
    let state = rebuild(&service, me.id, true).await;
    assert_eq!(state, State::Done);
    let list = world.timelines.read(me.id).await.expect("reads");
    let List::Complete { floor, mut ids } = list else {
        panic!("not complete: {list:?}");
    };
    ids.sort_unstable();
    assert_eq!(floor, 5);
    assert_eq!(ids, (6..=last).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_rebuild_without_waiting_answers_at_once_and_finishes() {
    let world = World::stopped().await;
    let me = world.local(100, "me").await;
    world.post(1, &me, Visibility::Public, &[]).await;
    let service = TimelinesService::new(world.deps.clone(), &world.options);
    for _ in 0..20 {
        assert_eq!(rebuild(&service, me.id, false).await, State::Running);
    }
    eventually("the list", async || {
        world.timelines.ids(me.id).await == Some(vec![1])
    })
    .await;
}

#[tokio::test]
async fn what_another_replica_builds_is_waited_for() {
    let world = World::stopped().await;
    let me = world.local(100, "me").await;
    let nonce = world
        .timelines
        .begin(me.id, Duration::from_secs(30))
        .await
        .expect("answers")
        .expect("is free");
    let service = TimelinesService::new(world.deps.clone(), &world.options);
    let (state, ()) = tokio::join!(rebuild(&service, me.id, true), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        world
            .timelines
            .finish(me.id, &nonce, 0, &[7])
            .await
            .expect("finishes");
    });
    assert_eq!(state, State::Done);
    assert_eq!(world.timelines.ids(me.id).await, Some(vec![7]));
}

#[tokio::test]
async fn too_many_waiting_rebuilds_are_refused() {
    let mut world = World::stopped().await;
    world.options.rebuilds.waiting = 0;
    let service = TimelinesService::new(world.deps.clone(), &world.options);
    let refused = service.rebuild(ask(100, false)).await.expect_err("is full");
    assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
}
