//! A private certificate authority for servers that speak TLS, made for one test.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::home;

/// The authority's certificate, and a server's for 127.0.0.1 with its key: files, for the server
/// and for who is to trust it. They go with the value.
#[derive(Debug)]
pub struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// New ones that nobody trusts yet.
    pub fn new() -> Result<Self> {
        let certificates = Self {
            folder: home::private_folder("certificates")?,
        };
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "an authority of a test");
        fs::write(certificates.authority(), params.self_signed(&key)?.pem())?;
        let issuer = Issuer::new(params, key);

        let key = KeyPair::generate()?;
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let server = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
        fs::write(certificates.server(), server.pem())?;
        fs::write(certificates.key(), key.serialize_pem())?;
        Ok(certificates)
    }

    /// What is to be trusted.
    pub fn authority(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    pub(crate) fn server(&self) -> PathBuf {
        self.folder.join("server.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.folder.join("key.pem")
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.folder);
    }
}
