//! The way to a mail server: TLS as its URL asks for it, verified against the certificate
//! authorities of the system and the operator's own. There is no switch that turns verification
//! off (R17).

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::{AsyncSmtpTransport, Error};
use lettre::{AsyncTransport, Message, Tokio1Executor};
use url::Url;

use crate::MailError;

/// Answers about us rather than about a mail (RFC 4954, RFC 7504): no mail dies of a password
/// that somebody mistyped. They ask for encryption, authentication, another mechanism or a
/// password that is right, or come from a host that takes no mail at all.
const ABOUT_US: [u16; 6] = [521, 523, 530, 534, 535, 538];

/// A mail server. Connections are kept for the next mail.
pub(crate) struct Smtp(AsyncSmtpTransport<Tokio1Executor>);

impl Smtp {
    /// Reads the URL and the certificate authorities; connects to nobody yet.
    pub(crate) fn new(
        url: &str,
        extra_ca_files: &[PathBuf],
        limit: Duration,
    ) -> anyhow::Result<Self> {
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url)
            .context("the URL of the mail server cannot be read")?;
        let extra = authorities(extra_ca_files)?;
        if !extra.is_empty()
            && let Some(tls) = tls(url, extra)?
        {
            builder = builder.tls(tls);
        }
        Ok(Self(builder.timeout(Some(limit)).build()))
    }

    /// Hands over one mail.
    pub(crate) async fn send(&self, message: Message) -> Result<(), MailError> {
        match self.0.send(message).await {
            Ok(_) => Ok(()),
            Err(error) if is_about_us(&error) => Err(MailError::Unavailable(format!(
                "the mail server does not take what mail.url says about us: {error}"
            ))),
            Err(error) if error.is_permanent() => Err(MailError::Refused(error.to_string())),
            Err(error) => Err(MailError::Unavailable(error.to_string())),
        }
    }
}

fn is_about_us(error: &Error) -> bool {
    error
        .status()
        .is_some_and(|code| ABOUT_US.contains(&u16::from(code)))
}

/// What the URL's own TLS becomes when more authorities are trusted; `None` for a server without.
fn tls(url: &str, extra: Vec<Certificate>) -> anyhow::Result<Option<Tls>> {
    let url = Url::parse(url).context("the URL of the mail server cannot be read")?;
    let wanted = url.query_pairs().find(|(name, _)| name == "tls");
    let wanted = wanted.map(|(_, value)| value.into_owned());
    let how: fn(TlsParameters) -> Tls = match (url.scheme(), wanted.as_deref()) {
        ("smtps", _) => Tls::Wrapper,
        (_, Some("required")) => Tls::Required,
        (_, Some("opportunistic")) => Tls::Opportunistic,
        _ => return Ok(None),
    };
    let mut parameters = TlsParameters::builder(url.host_str().unwrap_or_default().to_owned());
    for authority in extra {
        parameters = parameters.add_root_certificate(authority);
    }
    let parameters = parameters
        .build()
        .context("setting up TLS with the mail server")?;
    Ok(Some(how(parameters)))
}

fn authorities(files: &[PathBuf]) -> anyhow::Result<Vec<Certificate>> {
    files
        .iter()
        .map(|file| {
            authority(file).with_context(|| {
                format!("reading the certificate authorities in {}", file.display())
            })
        })
        .collect()
}

/// All certificates of a file.
fn authority(file: &Path) -> anyhow::Result<Certificate> {
    let pem = std::fs::read(file)?;
    // A file of something else gives no certificate and no error.
    ensure!(
        String::from_utf8_lossy(&pem).contains("BEGIN CERTIFICATE"),
        "it holds no certificate"
    );
    Ok(Certificate::from_pem(&pem)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_says_how_tls_is_spoken() {
        let spoken = |url| tls(url, Vec::new()).expect("TLS");
        for url in ["smtps://mail.test", "smtps://mail.test?tls=opportunistic"] {
            assert!(matches!(spoken(url), Some(Tls::Wrapper(_))), "{url}");
        }
        let required = spoken("smtp://mail.test?tls=required");
        assert!(matches!(required, Some(Tls::Required(_))));
        let opportunistic = spoken("smtp://mail.test?tls=opportunistic");
        assert!(matches!(opportunistic, Some(Tls::Opportunistic(_))));
        assert!(spoken("smtp://mail.test").is_none());
    }

    #[test]
    fn a_file_without_a_certificate_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ca.pem");
        for content in ["", "-----BEGIN CERTIFICATE-----\n???"] {
            std::fs::write(&file, content).expect("writes");
            let limit = Duration::from_secs(1);
            let files = [file.clone()];
            let Err(error) = Smtp::new("smtps://mail.test", &files, limit) else {
                panic!("{content} was taken");
            };
            assert!(format!("{error:#}").contains("ca.pem"), "{error:#}");
        }
    }
}
