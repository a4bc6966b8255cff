//! Whose signature on a store's certificate is believed: the system's certificate authorities and
//! the operator's own. There is no switch that turns verification off (R17).

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// All of them in PEM, for a store that is reached by `url`; empty when that asks for no TLS.
pub(super) fn for_url(url: &str, extra_ca_files: &[PathBuf]) -> anyhow::Result<String> {
    if !url.starts_with("amqps://") && !url.starts_with("rediss://") {
        return Ok(String::new());
    }
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::warn!(%error, "a certificate authority of the system could not be read");
    }
    // The clients refuse the whole list for one that they cannot use, as old systems have.
    let mut certificates: Vec<_> = native.certs.into_iter().filter(is_usable).collect();
    for file in extra_ca_files {
        let own = read(file).with_context(|| {
            format!(
                "reading the certificate authorities in {} (extra_ca_files)",
                file.display()
            )
        })?;
        certificates.extend(own);
    }
    Ok(certificates.iter().map(pem).collect())
}

fn is_usable(certificate: &CertificateDer<'static>) -> bool {
    RootCertStore::empty().add(certificate.clone()).is_ok()
}

fn read(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_file_iter(file)?.collect::<Result<Vec<_>, _>>()?;
    // A file of something else gives no certificate and no error.
    ensure!(!found.is_empty(), "it holds no certificate");
    ensure!(
        found.iter().all(is_usable),
        "it holds a certificate that cannot be read"
    );
    Ok(found)
}

fn pem(certificate: &CertificateDer<'static>) -> String {
    let body = STANDARD.encode(certificate);
    format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_holds_no_certificate_is_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("ca.pem");
        std::fs::write(&file, "nothing of the kind").expect("written");
        let missing = dir.path().join("none.pem");
        for path in [file, missing] {
            let error = for_url("rediss://h", std::slice::from_ref(&path)).expect_err("refused");
            assert!(format!("{error:#}").contains(&path.display().to_string()));
            // Without TLS nobody looks at them.
            assert_eq!(for_url("redis://h", &[path]).expect("unread"), "");
        }
    }
}
