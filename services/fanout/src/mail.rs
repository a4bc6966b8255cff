//! Mail: one message, one mail, into a folder or through SMTP.
//!
//! `mails_sent` absorbs repeats. A worker claims the key, sends holding no connection, and marks
//! it as sent; between sending and marking a crash can send a mail twice, which its Message-ID
//! (or, in a folder, its file name) makes the same mail. Losing one instead would lock somebody
//! out of their account.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use lettre::Message;
use lettre::message::header::ContentType;
use sqlx::PgPool;
use tidegate_federation::signature::body_digest;
use tidegate_model::{Mail, host_of};
use tidegate_queue::Decision;

use crate::metrics::MAILS;
use crate::smtp::Smtp;
use crate::trouble::{Trouble, doubled};
use crate::{FanoutDeps, MailOptions, MailRoute};

/// The longest that one mail may take with an SMTP server: RFC 5321 allows minutes per command,
/// but a server that needs more than this is down for us.
const SEND_LIMIT: Duration = Duration::from_mins(1);

/// How long a claim keeps others away: a send and some room.
const CLAIM: Duration = Duration::from_secs(90);

/// When a copy looks again whether the mail that another worker is sending was sent.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The first wait after the mail server refused or was away.
const FIRST_WAIT: Duration = Duration::from_secs(10);

/// The longest wait: people who wait for a confirmation mail look again about this often.
const LONGEST_WAIT: Duration = Duration::from_mins(10);

/// Why a mail did not leave.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The address, subject or sender cannot be written as a mail.
    #[error("the mail cannot be written: {0}")]
    Unwritable(String),
    /// The server refused this mail for good.
    #[error("the mail server refused: {0}")]
    Refused(String),
    /// The server or the folder is away, or busy.
    #[error("the mail did not leave: {0}")]
    Unavailable(String),
}

enum Route {
    Folder(PathBuf),
    Smtp(Box<Smtp>),
}

/// Sends mail.
pub(crate) struct Mailer {
    from: lettre::message::Mailbox,
    route: Route,
}

impl Mailer {
    /// Reads the options; opens nothing yet.
    pub(crate) fn new(options: &MailOptions) -> anyhow::Result<Self> {
        let from = options
            .from
            .parse()
            .with_context(|| format!("mail.from is not an address: {}", options.from))?;
        let route = match &options.route {
            MailRoute::Folder(folder) => Route::Folder(folder.clone()),
            MailRoute::Smtp(url) => {
                let server = Smtp::new(url.expose(), &options.extra_ca_files, SEND_LIMIT)?;
                Route::Smtp(Box::new(server))
            }
        };
        Ok(Self { from, route })
    }

    /// One `Mail` message.
    pub(crate) async fn message(
        &self,
        deps: &FanoutDeps,
        mail: &Mail,
        redeliveries: u32,
    ) -> Decision {
        match self.deliver(deps, mail).await {
            Ok(Outcome::Sent) => {
                MAILS.with_label_values(&["sent"]).inc();
                Decision::Done
            }
            Ok(Outcome::AlreadySent) => Decision::Done,
            Ok(Outcome::ClaimedByOther) => Decision::Retry(LOOK_AGAIN),
            Ok(Outcome::Failed(MailError::Unavailable(error))) => {
                MAILS.with_label_values(&["retried"]).inc();
                tracing::warn!(%error, redeliveries, "a mail waits for another try");
                Decision::Retry(doubled(FIRST_WAIT, redeliveries, LONGEST_WAIT))
            }
            Ok(Outcome::Failed(error)) => {
                MAILS.with_label_values(&["refused"]).inc();
                Decision::Bury(error.to_string())
            }
            Err(trouble) => trouble.decide("mail", redeliveries),
        }
    }

    async fn deliver(&self, deps: &FanoutDeps, mail: &Mail) -> Result<Outcome, Trouble> {
        let message = match self.write(deps, mail) {
            Ok(message) => message,
            Err(error) => return Ok(Outcome::Failed(error)),
        };
        match claim(&deps.pool, &mail.dedupe_key).await? {
            Claim::Ours => {}
            Claim::Sent => return Ok(Outcome::AlreadySent),
            Claim::Others => return Ok(Outcome::ClaimedByOther),
        }
        let sent = tokio::time::timeout(SEND_LIMIT, self.send(&mail.dedupe_key, message))
            .await
            .unwrap_or_else(|_| Err(MailError::Unavailable("no answer in time".to_owned())));
        match sent {
            Ok(()) => {
                finish(&deps.pool, &mail.dedupe_key).await?;
                Ok(Outcome::Sent)
            }
            Err(error) => {
                release(&deps.pool, &mail.dedupe_key).await?;
                Ok(Outcome::Failed(error))
            }
        }
    }

    fn write(&self, deps: &FanoutDeps, mail: &Mail) -> Result<Message, MailError> {
        let unwritable = |error: &dyn std::fmt::Display| MailError::Unwritable(error.to_string());
        let host = host_of(deps.instance.base()).unwrap_or_else(|_| "localhost".to_owned());
        Message::builder()
            .from(self.from.clone())
            .to(mail.to.parse().map_err(|error| unwritable(&error))?)
            .subject(mail.subject.clone())
            .date(SystemTime::from(deps.clock.now()))
            .message_id(Some(format!("<{}@{host}>", stem(&mail.dedupe_key))))
            .header(ContentType::TEXT_PLAIN)
            .body(mail.text.clone())
            .map_err(|error| unwritable(&error))
    }

    async fn send(&self, key: &str, message: Message) -> Result<(), MailError> {
        match &self.route {
            Route::Folder(folder) => put(folder, &stem(key), &message.formatted())
                .await
                .map_err(|error| MailError::Unavailable(error.to_string())),
            Route::Smtp(server) => server.send(message).await,
        }
    }
}

enum Outcome {
    Sent,
    AlreadySent,
    ClaimedByOther,
    Failed(MailError),
}

enum Claim {
    Ours,
    Sent,
    Others,
}

async fn claim(pool: &PgPool, key: &str) -> Result<Claim, Trouble> {
    let claimed: Option<String> = sqlx::query_scalar(
        "insert into mails_sent as m (dedupe_key, claimed_until)
         values ($1, now() + make_interval(secs => $2))
         on conflict (dedupe_key) do update set claimed_until = excluded.claimed_until
         where m.sent_at is null and m.claimed_until < now()
         returning dedupe_key",
    )
    .bind(key)
    .bind(CLAIM.as_secs_f64())
    .fetch_optional(pool)
    .await?;
    if claimed.is_some() {
        return Ok(Claim::Ours);
    }
    let sent: Option<bool> =
        sqlx::query_scalar("select sent_at is not null from mails_sent where dedupe_key = $1")
            .bind(key)
            .fetch_optional(pool)
            .await?;
    Ok(match sent {
        Some(true) => Claim::Sent,
        _ => Claim::Others,
    })
}

async fn finish(pool: &PgPool, key: &str) -> Result<(), Trouble> {
    sqlx::query("update mails_sent set sent_at = now() where dedupe_key = $1")
        .bind(key)
        .execute(pool)
        .await?;
    Ok(())
}

/// Lets the next try claim it at once.
async fn release(pool: &PgPool, key: &str) -> Result<(), Trouble> {
    sqlx::query(
        "update mails_sent set claimed_until = now() - interval '1 second'
         where dedupe_key = $1 and sent_at is null",
    )
    .bind(key)
    .execute(pool)
    .await?;
    Ok(())
}

/// A name that is the same for every try and safe in a path and in a Message-ID: what the mail
/// is for, and a digest of the whole key.
fn stem(key: &str) -> String {
    let kind: String = key
        .split(':')
        .next()
        .unwrap_or_default()
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(20)
        .collect();
    let digest: String = body_digest(key.as_bytes())
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(24)
        .collect();
    format!("{kind}-{digest}")
}

/// Writes the file under another name first, so that nobody reads half a mail.
async fn put(folder: &Path, stem: &str, bytes: &[u8]) -> std::io::Result<()> {
    tokio::fs::create_dir_all(folder).await?;
    let draft = folder.join(format!(".{stem}.part"));
    tokio::fs::write(&draft, bytes).await?;
    tokio::fs::rename(&draft, folder.join(format!("{stem}.eml"))).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_is_steady_and_holds_nothing_of_the_key_that_a_path_would_read() {
        let name = stem("confirm:7:../../etc/passwd");
        assert_eq!(name, stem("confirm:7:../../etc/passwd"));
        assert!(name.starts_with("confirm-"), "{name}");
        assert!(!name.contains(['/', '.']), "{name}");
        assert_ne!(name, stem("confirm:8:../../etc/passwd"));
    }
}
