//! Another server's actor, as it talks to our inbox.

use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rsa::{
    RsaPrivateKey, pkcs1v15,
    pkcs8::DecodePrivateKey,
    sha2::Sha256,
    signature::{SignatureEncoding, Signer},
};
use serde_json::{Value, json};
use tidegate_federation::{
    keys,
    signature::{SigningKey, body_digest, sign_cavage, sign_rfc9421},
};
use time::OffsetDateTime;
use url::Url;

use crate::common::{Answer, Server};

pub struct Peer {
    pub actor: String,
    pub key: SigningKey,
    pub pem: String,
    key_id: String,
    /// The same key for another library, so that what our own would never write can be signed,
    /// and that no mistake of it is on both sides.
    by_hand: pkcs1v15::SigningKey<Sha256>,
}

impl Peer {
    pub fn new(actor: &str) -> Self {
        let pairs = keys::generate().expect("keys");
        let key_id = format!("{actor}#main-key");
        let private = pairs.rsa_private.expose();
        let other = RsaPrivateKey::from_pkcs8_der(private).expect("PKCS#8");
        Self {
            key: SigningKey::rsa(&key_id, private).expect("a key"),
            actor: actor.to_owned(),
            pem: pairs.rsa_public_pem,
            by_hand: pkcs1v15::SigningKey::new(other),
            key_id,
        }
    }

    /// The same key under another name.
    pub fn named(mut self, key_id: &str) -> Self {
        key_id.clone_into(&mut self.key_id);
        self
    }

    /// A peer whose actor and key are stored.
    pub async fn known(server: &Server, actor: &str) -> Self {
        let peer = Self::new(actor);
        let url = Url::parse(actor).expect("a URL");
        sqlx::query(
            "insert into accounts (username, domain, uri, url, inbox_url, key_id, public_key_pem, fetched_at)
             values ($1, $2, $3, $3, $3 || '/inbox', $3 || '#main-key', $4, now())",
        )
        .bind(url.path().rsplit('/').next())
        .bind(url.host_str())
        .bind(actor)
        .bind(&peer.pem)
        .execute(&server.deps.pool)
        .await
        .expect("stored");
        peer
    }

    pub fn note(&self) -> Value {
        json!({
            "@context": "https://www.w3.org/ns/activitystreams",
            "id": format!("{}/notes/1/activity", self.actor),
            "type": "Create",
            "actor": self.actor,
            "to": ["https://www.w3.org/ns/activitystreams#Public"],
            "object": {"id": format!("{}/notes/1", self.actor), "type": "Note",
                       "attributedTo": self.actor, "content": "hello"},
        })
    }

    pub fn request(&self, path: &str, body: &[u8], at: OffsetDateTime) -> Request<Body> {
        let url = Url::parse(&format!("https://us.test{path}")).expect("a URL");
        let digest = body_digest(body);
        let headers =
            sign_cavage(&self.key, &Method::POST, &url, at, Some(&digest)).expect("signs");
        build(path, headers, body)
    }

    pub fn request_9421(&self, path: &str, body: &[u8], at: OffsetDateTime) -> Request<Body> {
        let url = Url::parse(&format!("https://us.test{path}")).expect("a URL");
        let digest = body_digest(body);
        let headers =
            sign_rfc9421(&self.key, &Method::POST, &url, at, Some(&digest)).expect("signs");
        build(path, headers, body)
    }

    /// Signs exactly these lines by draft-cavage; the body's digest is added. Lines
    /// that are no pseudo-headers are sent as headers, too. `parameters` are set before those of
    /// every signature, each with its comma.
    pub fn cavage_by_hand(
        &self,
        lines: &[(&str, &str)],
        parameters: &str,
        body: &[u8],
    ) -> Request<Body> {
        let digest = format!("SHA-256={}", body_digest(body));
        let mut lines = lines.to_vec();
        lines.push(("digest", &digest));
        let message: Vec<String> = lines
            .iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        let covered: Vec<&str> = lines.iter().map(|(name, _)| *name).collect();
        let signature = self.signature(&message.join("\n"));
        let signature = format!(
            "keyId=\"{}\",{parameters}headers=\"{}\",signature=\"{signature}\"",
            self.key_id,
            covered.join(" "),
        );
        sent(&lines, &[("signature", &signature)], body)
    }

    /// Signs exactly these components by RFC 9421; the body's digest is added. `parameters`
    /// follow the list, each with its semicolon.
    pub fn rfc9421_by_hand(
        &self,
        components: &[(&str, &str)],
        parameters: &str,
        body: &[u8],
    ) -> Request<Body> {
        let digest = format!("sha-256=:{}:", body_digest(body));
        let mut lines = components.to_vec();
        lines.push(("content-digest", &digest));
        let message: Vec<String> = lines
            .iter()
            .map(|(name, value)| format!("\"{name}\": {value}"))
            .collect();
        let covered: Vec<String> = lines
            .iter()
            .map(|(name, _)| format!("\"{name}\""))
            .collect();
        let input = format!(
            "({}){parameters};keyid=\"{}\"",
            covered.join(" "),
            self.key_id
        );
        let message = format!("{}\n\"@signature-params\": {input}", message.join("\n"));
        let signature = format!("sig1=:{}:", self.signature(&message));
        let input = format!("sig1={input}");
        sent(
            &lines,
            &[("signature-input", &input), ("signature", &signature)],
            body,
        )
    }

    fn signature(&self, message: &str) -> String {
        STANDARD.encode(self.by_hand.sign(message.as_bytes()).to_bytes())
    }

    pub async fn post(&self, server: &Server, body: &Value) -> Answer {
        let now = OffsetDateTime::now_utc();
        server
            .send(self.request("/inbox", body.to_string().as_bytes(), now))
            .await
    }
}

/// A request to the shared inbox with the lines that are headers, and those that sign them.
fn sent(lines: &[(&str, &str)], signature: &[(&str, &str)], body: &[u8]) -> Request<Body> {
    let headers = lines
        .iter()
        .filter(|(name, _)| !name.starts_with(['(', '@']))
        .chain(signature)
        .map(|(name, value)| (name.parse().expect("a name"), (*value).to_owned()))
        .collect();
    build("/inbox", headers, body)
}

pub fn build(path: &str, headers: Vec<(header::HeaderName, String)>, body: &[u8]) -> Request<Body> {
    let mut request = Request::post(path).header(header::CONTENT_TYPE, "application/activity+json");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.body(Body::from(body.to_vec())).expect("a request")
}

/// The answer is 401 and nothing whatever is left behind.
pub async fn refused_without_a_trace(server: &Server, request: Request<Body>, why: &str) {
    let before = server.dump().await;
    let answer = server.send(request).await;
    assert_eq!(
        answer.status,
        StatusCode::UNAUTHORIZED,
        "{why}: {}",
        answer.text()
    );
    assert_eq!(server.dump().await, before, "{why}");
    assert!(!server.fetched().await, "{why}");
}

/// What an honest request answers: 202, and a stranger's waits for its key.
pub async fn taken(server: &Server, request: Request<Body>, why: &str) {
    let answer = server.send(request).await;
    assert_eq!(
        answer.status,
        StatusCode::ACCEPTED,
        "{why}: {}",
        answer.text()
    );
}

/// Refused without a trace, whether we know the key or not.
pub async fn refused_from_anybody(
    server: &Server,
    (known, stranger): &(Peer, Peer),
    why: &str,
    request: impl Fn(&Peer, &[u8]) -> Request<Body>,
) {
    for (peer, who) in [(known, "known"), (stranger, "a stranger")] {
        let body = peer.note().to_string();
        let request = request(peer, body.as_bytes());
        refused_without_a_trace(server, request, &format!("{why}, {who}")).await;
    }
}

/// One whose key is stored, and one nobody heard of.
pub async fn known_and_stranger(server: &Server) -> (Peer, Peer) {
    (
        Peer::known(server, "https://p.test/users/bob").await,
        Peer::new("https://new.test/users/x"),
    )
}
