//! Hosts that come and go, and questions to the database.

use tidegate_loadtest::{HostBehaviour, SignaturePolicy};
use tidegate_model::ManualClock;
use tidegate_testkit::BreakableProxy;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::{PATIENCE, Plan, Rig};

/// The shared inbox of [`Rig::flaky`] and [`Rig::nobody`].
pub const FLAKY: &str = "http://a.flaky.test/inbox";

/// The same host whatever the time is: signatures of another day are not refused.
pub fn timeless(habits: HostBehaviour) -> HostBehaviour {
    HostBehaviour {
        signatures: SignaturePolicy::RecordOnly,
        ..habits
    }
}

/// A host that takes everything, for [`Rig::look`].
const WATCHED: &str = "http://watched.sim.test/inbox";

impl Rig {
    /// A host behind a proxy that can be cut.
    pub async fn flaky(&mut self) -> BreakableProxy {
        let proxy = BreakableProxy::start(self.sim.address().to_string()).await;
        let map = ("flaky.test".to_owned(), proxy.address);
        self.options.egress.host_map.push(map);
        self.sim.add_host("a.flaky.test", HostBehaviour::default());
        self.sim.add_actor("a.flaky.test", "bob", true);
        proxy
    }

    /// A host on whose port nobody listens.
    pub async fn nobody(&mut self) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        let map = ("flaky.test".to_owned(), address);
        self.options.egress.host_map.push(map);
    }

    /// Its clock stands still from now on, until these hands are moved.
    pub fn hands(&mut self) -> ManualClock {
        let hands = ManualClock::at(OffsetDateTime::now_utc());
        self.deps.clock = hands.clock();
        hands
    }

    /// What the database answers.
    pub async fn number(&self, question: &'static str) -> i64 {
        sqlx::query_scalar(question)
            .fetch_one(self.pool())
            .await
            .expect("a number")
    }

    /// Waits until the database answers this.
    pub async fn until_number(&self, question: &'static str, wanted: i64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.number(question).await;
            if found == wanted {
                return;
            }
            if Instant::now() >= deadline {
                let left: Vec<String> = sqlx::query_scalar(
                    "select to_jsonb(d)::text from deliveries d where state in ('queued', 'parked')
                     union all select to_jsonb(h)::text from hosts h",
                )
                .fetch_all(self.pool())
                .await
                .expect("rows");
                panic!("{question}: {found}; {left:#?}");
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// What somebody else writes.
    pub async fn run(&self, statement: &'static str) {
        let done = sqlx::query(statement).execute(self.pool()).await;
        done.expect("the statement runs");
    }

    /// What an operator changes of all hosts, or whoever else knows more than the engine.
    pub async fn steer(&self, columns: &str) {
        let statement = format!("update hosts set {columns}, steered_at = clock_timestamp()");
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .execute(self.pool())
            .await
            .expect("steered");
    }

    /// Waits until the role has looked for what is due at the present time of its clock: a row
    /// that is due now, of another host, was found and sent.
    pub async fn look(&self, name: &str) {
        self.sim
            .add_host("watched.sim.test", timeless(HostBehaviour::default()));
        let id = self.plan(&Plan::new("Create", name, 1, &[WATCHED])).await;
        sqlx::query(
            "update deliveries set state = 'parked', reason = 'status_500', not_before = $2
             where activity_id = $1",
        )
        .bind(id)
        .bind(self.deps.clock.now())
        .execute(self.pool())
        .await
        .expect("due");
        self.until(id, WATCHED, "delivered").await;
    }
}
