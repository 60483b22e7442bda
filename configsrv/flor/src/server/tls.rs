use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _},
};

use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::{Error, certificate, cluster::Cluster, disk::Disk, home::Layout};

/// Whom this node trusts, and what it shows of itself.
#[derive(PartialEq, Eq)]
pub(crate) struct Credentials {
    roots: Vec<CertificateDer<'static>>,
    identity: Option<NodeIdentity>,
}

#[derive(PartialEq, Eq)]
pub(crate) struct NodeIdentity {
    /// Leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    key: PrivatePkcs8KeyDer<'static>,
}

impl Credentials {
    pub(crate) fn load(disk: &dyn Disk, layout: &Layout, cluster: &Cluster) -> Result<Self, Error> {
        let roots = read_certificates(disk, &layout.authorities())?;
        let (certificate, key) = (layout.certificate(cluster.node.as_str()), layout.key(cluster.node.as_str()));
        let identity = match (pem(disk, &certificate)?, pem(disk, &key)?) {
            (Some(chain), Some(bytes)) => Some(NodeIdentity {
                chain: certificates(&certificate, &chain)?,
                key: PrivatePkcs8KeyDer::from_pem_slice(&bytes).map_err(|_| damaged(&key))?,
            }),
            _ => None,
        };
        Ok(Self { roots, identity })
    }

    pub(crate) fn identity(&self) -> Option<&NodeIdentity> {
        self.identity.as_ref()
    }

    /// The same with another certificate for the same key, and other authorities.
    pub(crate) fn with(&self, chain: Vec<CertificateDer<'static>>, roots: Vec<CertificateDer<'static>>) -> Self {
        let identity = self.identity.as_ref().map(|identity| NodeIdentity { chain, key: identity.key.clone_key() });
        Self { roots, identity }
    }

    /// The TLS settings of a gRPC channel.
    pub(crate) fn grpc_tls(&self) -> ClientTlsConfig {
        let roots = self.roots.iter().map(|root| Certificate::from_pem(certificate::pem(root)));
        let tls = ClientTlsConfig::new().ca_certificates(roots);
        match &self.identity {
            None => tls,
            Some(identity) => {
                let chain: String = identity.chain.iter().map(|der| certificate::pem(der)).collect();
                tls.identity(Identity::from_pem(chain, certificate::key_pem(identity.key())))
            }
        }
    }

    /// The TLS settings of one connection pool.
    pub(crate) fn tls(&self) -> Result<ClientConfig, Error> {
        let mut roots = RootCertStore::empty();
        for root in &self.roots {
            roots.add(root.clone()).map_err(|error| Error::Unexpected(format!("ca.crt: {error}")))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Unexpected(error.to_string()))?
            .with_root_certificates(roots);
        let mut tls = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder
                .with_client_auth_cert(identity.chain.clone(), PrivateKeyDer::Pkcs8(identity.key.clone_key()))
                .map_err(|error| Error::Unexpected(format!("this node's certificate: {error}")))?,
        };
        // Whatever waits for news and whatever is asked meanwhile share one connection.
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(tls)
    }
}

impl NodeIdentity {
    /// PKCS #8.
    pub(crate) fn key(&self) -> &[u8] {
        self.key.secret_pkcs8_der()
    }
}

/// The certificates of a PEM file; none if there is no file.
pub(crate) fn read_certificates(disk: &dyn Disk, path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    match pem(disk, path)? {
        Some(bytes) => certificates(path, &bytes),
        None => Ok(Vec::new()),
    }
}

fn pem(disk: &dyn Disk, path: &Path) -> Result<Option<Vec<u8>>, Error> {
    disk.read(path).map_err(|error| Error::file(path, &error))
}

fn certificates(path: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    CertificateDer::pem_slice_iter(bytes).collect::<Result<_, _>>().map_err(|_| damaged(path))
}

fn damaged(path: &Path) -> Error {
    Error::Unexpected(format!("{} is not PEM of the expected kind", path.display()))
}
