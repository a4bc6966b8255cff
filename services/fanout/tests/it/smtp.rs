//! Mail through a real SMTP server with TLS and a password.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tidegate_fanout::MailRoute;
use tidegate_model::{Mail, Message, Secret};
use tidegate_testkit::Logs;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::{PATIENCE, World, eventually};

const USER: &str = "tide";
const PASSWORD: &str = "a-password-of-the-tests";

/// Mails that a failure put off.
const PUT_OFF: &str = "select count(*) from queue_messages
                       where visible_at > now() and holder is null and deliveries > 0";

/// A mail server's folder and certificate, and the authority that signed it.
struct Post {
    folder: TempDir,
    server: Option<Child>,
    port: u16,
}

impl Post {
    /// A running server whose certificate is for `name`.
    async fn start(name: &str) -> Self {
        let mut post = Self::away(name);
        post.open().await;
        post
    }

    /// The same with nobody at the port yet.
    fn away(name: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        certify(folder.path(), name);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        Self {
            folder,
            server: None,
            port: listener.local_addr().expect("an address").port(),
        }
    }

    async fn open(&mut self) {
        let mut server = Command::new(python())
            .arg(root().join("deploy/tests/clients/smtp_server.py"))
            .arg(self.port.to_string())
            .arg(self.folder.path())
            .args([self.file("server.pem"), self.file("server.key")])
            .args([USER, PASSWORD])
            .stdout(Stdio::piped())
            // It writes a page about every handshake that fails.
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("python starts");
        let output = server.stdout.take().expect("its output");
        let mut lines = BufReader::new(output).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await;
        let line = line.expect("in time").expect("readable");
        assert_eq!(line.as_deref(), Some("ready"));
        self.server = Some(server);
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn url(&self, password: &str) -> Secret<String> {
        let port = self.port;
        Secret::new(format!(
            "smtp://{USER}:{password}@127.0.0.1:{port}?tls=required"
        ))
    }

    /// What arrived.
    fn mails(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.folder.path()).expect("a folder");
        files
            .map(|file| file.expect("a file").path())
            .filter(|path| path.extension().is_some_and(|name| name == "eml"))
            .map(|path| std::fs::read_to_string(path).expect("text"))
            .collect()
    }
}

fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .nth(2)
        .expect("two folders below the workspace")
}

fn python() -> PathBuf {
    let path = root().join(".tidegate/clients/venv/bin/python");
    assert!(
        path.is_file(),
        "the mail server is not installed: deploy/scripts/install-clients installs it"
    );
    path
}

/// Writes `ca.pem`, and `server.pem` with its key for `name`.
fn certify(folder: &Path, name: &str) {
    let ca_key = KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::new(Vec::new()).expect("parameters");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_certificate = ca.self_signed(&ca_key).expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(vec![name.to_owned()])
        .expect("parameters")
        .signed_by(&key, &Issuer::new(ca, ca_key))
        .expect("a certificate");
    for (file, text) in [
        ("ca.pem", ca_certificate.pem()),
        ("server.pem", certificate.pem()),
        ("server.key", key.serialize_pem()),
    ] {
        std::fs::write(folder.join(file), text).expect("writes");
    }
}

/// A role that sends through this server and trusts its authority.
async fn world(post: &Post, password: &str) -> World {
    let mut world = World::stopped().await;
    world.options.mail.route = MailRoute::Smtp(post.url(password));
    world.options.mail.extra_ca_files = vec![post.file("ca.pem")];
    world
}

fn mail(to: &str) -> Message {
    Message::Mail(Mail {
        dedupe_key: format!("confirm:{to}"),
        to: to.to_owned(),
        subject: "Grüße aus dem Watt".to_owned(),
        text: "Follow the link: https://us.test/confirm/1\n".to_owned(),
    })
}

async fn put_off(world: &World) {
    eventually("a try that failed", async || {
        world.count(PUT_OFF).await == 1
    })
    .await;
}

/// Brings the next try forward.
async fn hurry(world: &World) {
    sqlx::query("update queue_messages set visible_at = now()")
        .execute(&world.deps.pool)
        .await
        .expect("hurried");
}

async fn until_sent(world: &World, mails: i64) {
    eventually("the mails are sent", async || {
        let sent = "select count(*) from mails_sent where sent_at is not null";
        world.count(sent).await == mails
    })
    .await;
}

#[tokio::test]
async fn a_mail_arrives_once_with_its_headers() {
    let post = Post::start("127.0.0.1").await;
    let mut world = world(&post, PASSWORD).await;
    world.run();
    world.publish(vec![mail("ada@example.org"); 3]).await;
    until_sent(&world, 1).await;
    world.settled().await;
    let mails = post.mails();
    assert_eq!(mails.len(), 1, "{mails:?}");
    for line in [
        "X-From: noreply@us.test\r\n",
        "X-To: ada@example.org\r\n",
        "To: ada@example.org\r\n",
        "Subject: =?utf-8?b?",
        "Content-Type: text/plain; charset=utf-8\r\n",
        "Message-ID: <confirm-",
        "@us.test>\r\n",
        "Date: ",
        "Follow the link: https://us.test/confirm/1\r\n",
    ] {
        assert!(mails[0].contains(line), "no {line:?} in {}", mails[0]);
    }
}

#[tokio::test]
async fn a_wrong_password_kills_no_mail_and_the_log_says_what_to_mend() {
    let (logs, _guard) = Logs::of_this_thread();
    let post = Post::start("127.0.0.1").await;
    let mut world = world(&post, "hunter2-hunter2").await;
    world.run();
    world.publish(vec![mail("ada@example.org")]).await;
    put_off(&world).await;
    hurry(&world).await;
    eventually("a second try", async || {
        let tries = "select deliveries::bigint from queue_messages";
        world.count(tries).await >= 2 && world.count(PUT_OFF).await == 1
    })
    .await;
    assert_eq!(world.count("select count(*) from dead_messages").await, 0);
    let text = logs.text();
    assert!(text.contains("mail.url") && text.contains("535"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    world.crash().await;
    world.options.mail.route = MailRoute::Smtp(post.url(PASSWORD));
    world.run();
    hurry(&world).await;
    until_sent(&world, 1).await;
    assert_eq!(post.mails().len(), 1);
}

#[tokio::test]
async fn a_certificate_of_a_stranger_or_for_another_name_gets_no_mail() {
    for (name, trusted) in [("127.0.0.1", false), ("other.test", true)] {
        let (logs, _guard) = Logs::of_this_thread();
        let post = Post::start(name).await;
        let mut world = world(&post, PASSWORD).await;
        if !trusted {
            world.options.mail.extra_ca_files.clear();
        }
        world.run();
        world.publish(vec![mail("ada@example.org")]).await;
        put_off(&world).await;
        assert_eq!(post.mails().len(), 0, "{name}");
        let text = logs.text();
        assert!(text.contains("certificate"), "{name}: {text}");
    }
}

#[tokio::test]
async fn a_mailbox_that_is_refused_is_dead_and_holds_up_nobody() {
    let post = Post::start("127.0.0.1").await;
    let mut world = world(&post, PASSWORD).await;
    world.run();
    let both = vec![mail("refused@example.org"), mail("ada@example.org")];
    world.handle(both).await;
    until_sent(&world, 1).await;
    let reason: String = sqlx::query_scalar("select reason from dead_messages")
        .fetch_one(&world.deps.pool)
        .await
        .expect("one is dead");
    assert!(reason.contains("550"), "{reason}");
    let mails = post.mails();
    assert_eq!(mails.len(), 1);
    assert!(mails[0].contains("X-To: ada@example.org"), "{}", mails[0]);
}

#[tokio::test]
async fn a_mail_waits_while_the_server_is_away() {
    let mut post = Post::away("127.0.0.1");
    let mut world = world(&post, PASSWORD).await;
    world.run();
    world.publish(vec![mail("ada@example.org")]).await;
    put_off(&world).await;
    post.open().await;
    hurry(&world).await;
    until_sent(&world, 1).await;
    assert_eq!(post.mails().len(), 1);
    assert_eq!(world.count("select count(*) from dead_messages").await, 0);
}
