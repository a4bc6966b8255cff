//! Hosts and deliveries as other processes ask for them: over a socket, through the real server,
//! from the real database.

mod common;

use std::time::Duration;

use common::hosts::FLAKY;
use common::{Plan, Rig};
use futures::{StreamExt, TryStreamExt};
use tidegate_loadtest::{Fault, HostBehaviour, Script};
use tidegate_proto::delivery::v1 as proto;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Code;
use tonic::transport::{Channel, Server};

const INBOX: &str = "http://a.sim.test/inbox";
const OTHER: &str = "http://b.sim.test/inbox";

type Hosts = proto::hosts_client::HostsClient<Channel>;
type Deliveries = proto::deliveries_client::DeliveriesClient<Channel>;

/// The role's services behind a port.
async fn serve(rig: &Rig) -> (Hosts, Deliveries) {
    let role = rig.delivery();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = Server::builder()
        .add_service(role.hosts_server())
        .add_service(role.deliveries_server())
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    let endpoint = Channel::from_shared(format!("http://{address}")).expect("an address");
    let channel = endpoint.connect().await.expect("connects");
    (Hosts::new(channel.clone()), Deliveries::new(channel))
}

fn steer(host: &str) -> proto::SteerHostRequest {
    proto::SteerHostRequest {
        host: host.to_owned(),
        reason: "because".to_owned(),
        account_id: 7,
    }
}

fn at(host: &str) -> proto::DeliveryFilter {
    proto::DeliveryFilter {
        host: host.to_owned(),
        ..proto::DeliveryFilter::default()
    }
}

fn meaning(filter: Option<proto::DeliveryFilter>) -> proto::MoveRequest {
    proto::MoveRequest {
        filter,
        all: false,
        limit: 0,
        account_id: 7,
        reason: "because".to_owned(),
    }
}

async fn listed(
    deliveries: &mut Deliveries,
    request: proto::ListDeliveriesRequest,
) -> Vec<proto::Delivery> {
    let rows = deliveries.list(request).await.expect("a list");
    rows.into_inner().try_collect().await.expect("rows")
}

#[tokio::test]
async fn a_host_is_shown_paused_resumed_and_tried() {
    let mut rig = Rig::new().await.patient(Duration::from_secs(20));
    rig.options.probe_first = Duration::from_hours(1);
    let proxy = rig.flaky().await;
    proxy.cut();
    rig.start();
    let (mut hosts, _) = serve(&rig).await;
    for n in 0..8 {
        let key = format!("k{n}");
        rig.send(&Plan::new("Create", &key, 1, &[FLAKY])).await;
    }
    let waiting = "select count(*) from deliveries where reason = 'host'";
    rig.until_number(waiting, 8).await;
    let show = |host: &str| proto::ShowHostRequest {
        host: host.to_owned(),
    };
    let shown = hosts.show(show("A.flaky.test")).await.expect("shown");
    let shown = shown.into_inner();
    assert_eq!((&*shown.host, &*shown.state), ("a.flaky.test", "failing"));
    assert_eq!((shown.parked, shown.dead, shown.backlog), (8, 0, true));
    assert!(shown.failing_since.is_some() && shown.next_probe_at.is_some());
    let request = proto::ListHostsRequest {
        state: "failing".to_owned(),
        backlog: true,
        ..proto::ListHostsRequest::default()
    };
    let list = hosts.list(request).await.expect("a list").into_inner();
    let list: Vec<proto::Host> = list.try_collect().await.expect("hosts");
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].host, "a.flaky.test");

    let paused = hosts.pause(steer("a.flaky.test")).await.expect("paused");
    let paused = paused.into_inner().host.expect("a host");
    assert!(paused.paused_at.is_some(), "{paused:?}");
    assert_eq!(paused.paused_reason, "because");
    let refused = hosts.probe_now(steer("a.flaky.test")).await;
    assert_eq!(refused.expect_err("paused").code(), Code::AlreadyExists);
    let resumed = hosts.resume(steer("a.flaky.test")).await.expect("resumed");
    let resumed = resumed.into_inner().host.expect("a host");
    assert_eq!((resumed.paused_at, &*resumed.paused_reason), (None, ""));

    proxy.heal();
    let tried = hosts.probe_now(steer("a.flaky.test")).await.expect("tried");
    assert!(tried.into_inner().note.contains("is tried within seconds"));
    let delivered = "select count(*) from deliveries where state = 'delivered'";
    rig.until_number(delivered, 8).await;
    let acts = "select count(*) from operator_acts where account_id = 7 and reason = 'because'";
    assert_eq!(rig.number(acts).await, 3);
}

#[tokio::test]
async fn who_asks_wrongly_is_told_which_way() {
    let rig = Rig::new().await;
    let (mut hosts, mut deliveries) = serve(&rig).await;
    let unknown = proto::ShowHostRequest {
        host: "never.test".to_owned(),
    };
    let error = hosts.show(unknown).await.expect_err("unknown");
    assert_eq!(error.code(), Code::NotFound);
    let error = hosts.pause(steer("https://a.test/")).await;
    assert_eq!(error.expect_err("no name").code(), Code::InvalidArgument);
    let nobody = proto::SteerHostRequest {
        account_id: 0,
        ..steer("a.test")
    };
    let error = hosts.pause(nobody).await.expect_err("nobody");
    assert_eq!(error.code(), Code::InvalidArgument);
    // Everything is meant only when that is said.
    let steps = deliveries.purge(meaning(None)).await;
    let error = match steps {
        Ok(steps) => steps.into_inner().try_collect::<Vec<_>>().await.err(),
        Err(error) => Some(error),
    };
    let error = error.expect("refused");
    assert_eq!(error.code(), Code::InvalidArgument, "{error}");
}

#[tokio::test]
async fn deliveries_are_listed_replayed_and_purged() {
    let mut rig = Rig::new().await;
    let gone = Script::first(3, Fault::Status { code: 410 });
    rig.sim.add_host("a.sim.test", HostBehaviour::inbox(gone));
    rig.sim.add_actor("a.sim.test", "bob", true);
    let never = Script::always(Fault::Status { code: 422 });
    rig.sim.add_host("b.sim.test", HostBehaviour::inbox(never));
    rig.sim.add_actor("b.sim.test", "bob", true);
    rig.start();
    let (_, mut deliveries) = serve(&rig).await;
    let mut ids = Vec::new();
    for n in 0..3 {
        let key = format!("k{n}");
        let id = rig
            .send(&Plan::new("Create", &key, 1, &[INBOX, OTHER]))
            .await;
        for inbox in [INBOX, OTHER] {
            rig.until(id, inbox, "dead").await;
        }
        ids.push(id);
    }
    // In pages of two, each row once.
    let page = |after| proto::ListDeliveriesRequest {
        filter: Some(at("a.sim.test")),
        limit: 2,
        after,
    };
    let first = listed(&mut deliveries, page(None)).await;
    assert_eq!(first.len(), 2);
    let row = &first[0];
    assert_eq!((row.activity_id, row.account_id), (ids[0], rig.author));
    assert_eq!((&*row.state, &*row.reason), ("dead", "status_410"));
    assert_eq!((&*row.inbox_url, row.last_status), (INBOX, 410));
    let after = first.last().map(|row| proto::DeliveryCursor {
        activity_id: row.activity_id,
        inbox_id: row.inbox_id,
    });
    let rest = listed(&mut deliveries, page(after)).await;
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].activity_id, ids[2]);

    let steps = deliveries.replay(meaning(Some(at("a.sim.test")))).await;
    let mut steps = steps.expect("begins").into_inner();
    let mut last = None;
    while let Some(step) = steps.next().await {
        last = Some(step.expect("a step"));
    }
    let last = last.expect("at least one");
    assert_eq!((last.moved, last.left, last.finished), (3, 0, true));
    assert!(last.note.contains("3 deliveries are to be sent again"));
    for id in &ids {
        rig.until(*id, INBOX, "delivered").await;
    }
    let steps = deliveries.purge(meaning(Some(at("b.sim.test")))).await;
    let steps = steps.expect("begins").into_inner();
    let steps: Vec<proto::Progress> = steps.try_collect().await.expect("steps");
    let last = steps.last().expect("at least one");
    assert_eq!((last.moved, last.finished), (3, true));
    let counts = deliveries.count(proto::CountRequest {}).await;
    let counts = counts.expect("counts").into_inner();
    assert_eq!((counts.planned, counts.delivered), (6, 3));
    assert_eq!((counts.cancelled, counts.dead), (3, 0));
}

#[tokio::test]
async fn a_post_tells_where_it_went() {
    let mut rig = Rig::new().await;
    rig.sim.add_host("a.sim.test", HostBehaviour::default());
    rig.sim.add_actor("a.sim.test", "bob", true);
    let refusing = Script::always(Fault::Status { code: 403 });
    rig.sim
        .add_host("b.sim.test", HostBehaviour::inbox(refusing));
    rig.start();
    let (_, mut deliveries) = serve(&rig).await;
    let status_id = rig.post("public").await;
    let plan = Plan {
        status_id: Some(status_id),
        ..Plan::new("Create", "k", 1, &[INBOX, OTHER])
    };
    let id = rig.send(&plan).await;
    rig.until(id, INBOX, "delivered").await;
    rig.until(id, OTHER, "dead").await;
    let request = proto::PerStatusRequest { status_id };
    let found = deliveries.per_status(request).await.expect("found");
    let found = found.into_inner();
    assert_eq!((found.delivered, found.dead, found.hosts_total), (1, 1, 1));
    assert_eq!(found.hosts[0].host, "b.sim.test");
    assert_eq!(found.hosts[0].last_status, 403);
}
