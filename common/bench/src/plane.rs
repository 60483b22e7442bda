use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use holdfast_proto::iam::{IssueTokenRequest, tokens_client::TokensClient};
use holdfast_testkit::{Binaries, Cluster, Endpoints, Server};
use tempfile::TempDir;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use crate::Certified;

/// Servers with TLS on every door, and their administrator.
pub struct Plane {
    cluster: Cluster,
    ca: String,
    admin: String,
    // Dropped last: the servers' files are in it.
    _folder: TempDir,
}

/// A connection on which somebody calls.
pub type Wire = InterceptedService<Channel, Bearer>;

/// The token that every request carries; none for who calls by certificate.
#[derive(Clone, Debug)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

impl Bearer {
    pub fn token(token: &str) -> Result<Self> {
        Ok(Self(Some(format!("Bearer {token}").parse().context("the token does not fit a header")?)))
    }

    /// Who holds the token, on this connection.
    pub fn on(&self, channel: &Channel) -> Wire {
        InterceptedService::new(channel.clone(), self.clone())
    }
}

impl Plane {
    /// `count` servers with their data below `folder`.
    pub async fn start(count: usize, folder: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("servers-").tempdir_in(folder)?;
        let path = folder.path().to_owned();
        let cluster = tokio::task::spawn_blocking(move || {
            let mut cluster = Cluster::start_secured(&Binaries::find()?, &path, count)?;
            cluster.wait_ready()?;
            Ok::<_, anyhow::Error>(cluster)
        });
        let cluster = cluster.await??;
        let (admin, authority) = (cluster.admin_token()?, Cluster::authority(folder.path()));
        let ca = fs::read_to_string(&authority).with_context(|| format!("cannot read {}", authority.display()))?;
        Ok(Self { cluster, ca, admin, _folder: folder })
    }

    pub fn count(&self) -> usize {
        self.cluster.servers().len()
    }

    /// A new connection to server `at`.
    pub async fn connect(&self, at: usize) -> Result<Channel> {
        Ok(self.endpoint(at, None)?.connect().await?)
    }

    /// The same for who calls by certificate.
    pub async fn connect_as(&self, at: usize, node: &Certified) -> Result<Wire> {
        Ok(Bearer(None).on(&self.endpoint(at, Some(node))?.connect().await?))
    }

    pub async fn administrator(&self, at: usize) -> Result<Wire> {
        Ok(Bearer::token(&self.admin)?.on(&self.connect(at).await?))
    }

    pub async fn issue(&self, admin: &Wire, principal: &str) -> Result<Bearer> {
        let request = IssueTokenRequest { principal: principal.to_owned(), ttl_s: 0 };
        Bearer::token(&TokensClient::new(admin.clone()).issue(request).await?.into_inner().token)
    }

    /// The text of `/metrics` of server `at`.
    pub async fn metrics(&self, at: usize) -> Result<String> {
        let request = self.http()?.get(self.url(at, "/metrics")?).bearer_auth(&self.admin);
        Ok(request.send().await?.error_for_status()?.text().await?)
    }

    /// A client for the servers' HTTP doors.
    pub fn http(&self) -> Result<reqwest::Client> {
        let ca = reqwest::Certificate::from_pem(self.ca.as_bytes())?;
        Ok(reqwest::Client::builder().tls_certs_only([ca]).build()?)
    }

    /// Where `path` is at the HTTP door of server `at`.
    pub fn url(&self, at: usize, path: &str) -> Result<String> {
        Ok(format!("https://{}{path}", self.server(at)?.endpoints()?.http))
    }

    /// What the servers' certificates chain to, PEM.
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// The bootstrap token.
    pub fn admin(&self) -> &str {
        &self.admin
    }

    /// The server's process.
    pub fn process(&self, at: usize) -> Result<u32> {
        self.server(at)?.id().context("the server does not run")
    }

    /// Where the servers listen.
    pub fn endpoints(&self, at: usize) -> Result<Endpoints> {
        self.server(at)?.endpoints()
    }

    fn server(&self, at: usize) -> Result<&Server> {
        self.cluster.servers().get(at).context("no such server")
    }

    fn endpoint(&self, at: usize, certificate: Option<&Certified>) -> Result<Endpoint> {
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&self.ca));
        if let Some(node) = certificate {
            tls = tls.identity(Identity::from_pem(node.chain_pem(), node.key.serialize_pem()));
        }
        let url = format!("https://{}", self.server(at)?.endpoints()?.api);
        Ok(Endpoint::new(url)?.tcp_nodelay(true).tls_config(tls)?)
    }
}
