//! Certificates, sound and not, and the servers that show them.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_RSA_SHA256};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::Rig;

/// A certificate and its key.
pub type Identity = (CertificateDer<'static>, KeyPair);

/// An authority of the test.
pub struct Authority {
    pem: String,
    /// Its private key, as PKCS#8.
    pub key: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// With RSA keys: those are what SHA-1 signatures are still found on.
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256).expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key).expect("an authority");
        Self {
            pem: certificate.pem(),
            key: key.serialize_der(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A server certificate as `change` makes it.
    pub fn certify(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.der().clone(), key)
    }
}

/// A server that shows this certificate.
pub fn server((certificate, key): Identity) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a server")
}

/// A rig that trusts this authority besides the system's.
pub async fn trusting(authority: &Authority) -> (Rig, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, &authority.pem).expect("writes");
    let mut rig = Rig::new().await;
    rig.options.egress.extra_ca_files = vec![file];
    // One attempt is enough.
    rig.options.probe_first = Duration::from_hours(1);
    (rig, folder)
}
