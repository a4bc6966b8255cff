//! Requests of one attempt, against servers that break off at the worst moment.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidegate_federation::{keys, signature::body_digest};
use tidegate_model::{Clock, Instance, Lane};
use tidegate_store::KeyVault;
use tidegate_store::accounts::{self, NewLocalAccount};
use tidegate_testkit::{Postgres, TestDatabase};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use url::Url;

use super::*;
use crate::engine::Activity;
use crate::signer::Signer;
use crate::{EgressOptions, HttpClient};

const INBOX: &str = "http://a.raw.test/inbox";

/// A sender of one local author, led to one address.
struct Desk {
    sender: Sender,
    activity: Activity,
    _database: TestDatabase,
}

impl Desk {
    async fn towards(address: SocketAddr) -> Self {
        let database = Postgres::shared().await.fresh_database().await;
        let vault = KeyVault::new(b"a secret for tests of thirty-two bytes");
        let instance = Instance::new("us.test", &Url::parse("http://us.test").expect("a URL"));
        let pairs = keys::generate().expect("keys");
        let mut connection = database.pool.acquire().await.expect("a connection");
        let id = accounts::next_id(&mut *connection).await.expect("an id");
        let sealed = |secret: &[u8]| vault.encrypt(id, secret).expect("encrypts");
        let new = NewLocalAccount {
            id,
            username: "ada",
            actor_type: "Person",
            public_key_pem: &pairs.rsa_public_pem,
            rsa_private: &sealed(pairs.rsa_private.expose()),
            ed25519_private: &sealed(pairs.ed25519_private.expose()),
            ed25519_public: &pairs.ed25519_public,
        };
        let made = accounts::create_local(&mut connection, &instance, &new).await;
        made.expect("an account");
        drop(connection);
        let options = EgressOptions {
            allow_plain_http: true,
            host_map: vec![("raw.test".to_owned(), address)],
            ..EgressOptions::default()
        };
        let body = br#"{"type":"Create"}"#;
        Self {
            sender: Sender::new(
                HttpClient::new(options, instance.base()).expect("a client"),
                Signer::new(database.pool.clone(), vault, Clock::system()),
                Clock::system(),
            ),
            activity: Activity {
                id: 1,
                account_id: id,
                body: body.to_vec().into(),
                digest: body_digest(body).into(),
            },
            _database: database,
        }
    }

    /// One attempt through a gate that lets this many requests out.
    async fn attempt(&self, open_for: usize) -> Option<Attempted> {
        let turn = Arc::new(Semaphore::new(1)).acquire_owned().await;
        let asked = AtomicUsize::new(0);
        let gate = Gate::new(turn.expect("a turn"), move |stage| {
            stage == Stage::UnderWay || asked.fetch_add(1, Ordering::SeqCst) < open_for
        });
        self.sender
            .attempt(&self.activity, INBOX, Scheme::Cavage, Lane::Bulk, gate)
            .await
            .expect("the database is there")
    }
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// Takes a request in and says nothing.
async fn swallow(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().await.expect("a connection");
    let mut seen = Vec::new();
    while !seen.ends_with(br#"{"type":"Create"}"#) {
        let read = stream.read_buf(&mut seen).await.expect("a request");
        assert!(read > 0, "half a request");
    }
    stream
}

#[tokio::test]
async fn a_closed_gate_lets_nothing_out() {
    let (listener, address) = listener().await;
    let desk = Desk::towards(address).await;
    assert_eq!(desk.attempt(0).await, None);
    // Whoever connects now is the first.
    let watch = tokio::spawn(async move { swallow(&listener).await });
    let opened = desk.attempt(1);
    let closing = async { drop(watch.await.expect("a request")) };
    let (attempted, ()) = tokio::join!(opened, closing);
    assert!(attempted.is_some_and(|attempted| attempted.touched));
}

#[tokio::test]
async fn a_gate_that_closes_before_the_second_request_leaves_what_came_of_the_first() {
    let (listener, address) = listener().await;
    let desk = Desk::towards(address).await;
    let closing = async { drop(swallow(&listener).await) };
    let (attempted, ()) = tokio::join!(desk.attempt(1), closing);
    let attempted = attempted.expect("a request was made");
    assert_eq!(attempted.reply, Reply::Failed(EgressError::Broken));
    assert!(attempted.touched, "it may have arrived");
}

#[tokio::test]
async fn what_may_have_arrived_stays_so_when_the_second_request_finds_nobody() {
    let (listener, address) = listener().await;
    let desk = Desk::towards(address).await;
    let dying = async {
        let stream = swallow(&listener).await;
        drop(listener);
        drop(stream);
    };
    let (attempted, ()) = tokio::join!(desk.attempt(usize::MAX), dying);
    let attempted = attempted.expect("a request was made");
    assert_eq!(attempted.reply, Reply::Failed(EgressError::Connect));
    assert!(attempted.touched, "the first may have arrived");
}

#[tokio::test]
async fn a_request_that_lost_its_shard_on_its_way_is_not_driven_any_further() {
    let turn = Arc::new(Semaphore::new(1)).acquire_owned().await;
    let is_ours = Arc::new(AtomicUsize::new(1));
    let asked = Arc::clone(&is_ours);
    let gate = Gate::new(turn.expect("a turn"), move |_| {
        asked.load(Ordering::SeqCst) == 1
    });
    let steps = Arc::new(AtomicUsize::new(0));
    // Connects, stands still for longer than the lease, and would send.
    let request = async {
        steps.fetch_add(1, Ordering::SeqCst);
        is_ours.store(0, Ordering::SeqCst);
        tokio::task::yield_now().await;
        steps.fetch_add(1, Ordering::SeqCst);
    };
    assert_eq!(gate.drive(request).await, None);
    assert_eq!(steps.load(Ordering::SeqCst), 1);
    is_ours.store(1, Ordering::SeqCst);
    assert_eq!(gate.drive(async { 7 }).await, Some(7));
}
