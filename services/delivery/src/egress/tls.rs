//! TLS of the way out: one crypto provider, the system's certificate authorities and the
//! operator's own. There is no switch that turns verification off (R17).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// The configuration of every connection.
pub(super) fn client_config(extra_ca_files: &[PathBuf]) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::warn!(%error, "a certificate authority of the system could not be read");
    }
    roots.add_parsable_certificates(native.certs);
    for file in extra_ca_files {
        add_file(&mut roots, file).with_context(|| {
            format!("reading the certificate authorities in {}", file.display())
        })?;
    }
    if roots.is_empty() {
        tracing::warn!(
            "no certificate authority is known, so every https request will fail; \
             install the package ca-certificates"
        );
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn add_file(roots: &mut RootCertStore, file: &Path) -> anyhow::Result<()> {
    let before = roots.len();
    for certificate in CertificateDer::pem_file_iter(file)? {
        roots.add(certificate?)?;
    }
    // A file of something else gives no certificate and no error.
    anyhow::ensure!(roots.len() > before, "it holds no certificate");
    Ok(())
}
