use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::support::TestServer;

/// Certificates for a server and its clients.
pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let mut parameters = CertificateParams::new(Vec::new())?;
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let pem = parameters.self_signed(&key)?.pem();
        Ok(Self { pem, issuer: Issuer::new(parameters, key) })
    }

    /// A certificate and its key, for this machine and for who is called `name`.
    pub(crate) fn issue(&self, name: &str) -> anyhow::Result<(String, String)> {
        let mut parameters = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        parameters.distinguished_name.remove(DnType::CommonName);
        if !name.is_empty() {
            parameters.distinguished_name.push(DnType::CommonName, name);
        }
        let key = KeyPair::generate()?;
        Ok((parameters.signed_by(&key, &self.issuer)?.pem(), key.serialize_pem()))
    }

    /// A channel of who is called `name`.
    pub(crate) fn client(&self, server: &TestServer, name: &str) -> anyhow::Result<Channel> {
        let (certificate, key) = self.issue(name)?;
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&self.pem))
            .identity(Identity::from_pem(certificate, key));
        let endpoint = Endpoint::new(format!("https://localhost:{}", server.address.port()))?;
        Ok(endpoint.tls_config(tls)?.connect_lazy())
    }

    /// The flags of a server that shows a certificate of this authority and looks for it in those of clients; its files
    /// are put into `folder`.
    pub(crate) fn serve(&self, folder: &Path) -> anyhow::Result<[String; 3]> {
        let (certificate, key) = self.issue("")?;
        let file = |name: &str, pem: &str| {
            let path = folder.join(name);
            std::fs::write(&path, pem)?;
            anyhow::Ok(path.display().to_string())
        };
        Ok([
            format!("--trusted-ca-file={}", file("ca", &self.pem)?),
            format!("--cert-file={}", file("cert", &certificate)?),
            format!("--key-file={}", file("key", &key)?),
        ])
    }
}
