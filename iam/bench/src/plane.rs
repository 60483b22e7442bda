use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use holdfast_proto::iam::{IssueTokenRequest, tokens_client::TokensClient};
use holdfast_testkit::{Binaries, Cluster};
use tempfile::TempDir;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

/// Servers with TLS on every door, and their administrator.
pub(crate) struct Plane {
    cluster: Cluster,
    ca: String,
    admin: String,
    // Dropped last: the servers' files are in it.
    _folder: TempDir,
}

/// A connection on which somebody calls.
pub(crate) type Wire = InterceptedService<Channel, Bearer>;

/// The token that every request carries; none for who calls by certificate.
#[derive(Clone, Debug)]
pub(crate) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

impl Bearer {
    pub(crate) fn token(token: &str) -> Result<Self> {
        Ok(Self(Some(format!("Bearer {token}").parse().context("the token does not fit a header")?)))
    }

    /// Who holds the token, on this connection.
    pub(crate) fn on(&self, channel: &Channel) -> Wire {
        InterceptedService::new(channel.clone(), self.clone())
    }
}

impl Plane {
    /// `count` servers with their data below `folder`.
    pub(crate) async fn start(count: usize, folder: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("iam-").tempdir_in(folder)?;
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

    pub(crate) fn count(&self) -> usize {
        self.cluster.servers().len()
    }

    /// A new connection to server `at`.
    pub(crate) async fn connect(&self, at: usize) -> Result<Channel> {
        Ok(self.endpoint(at, None)?.connect().await?)
    }

    /// The same for who calls by certificate: the chain and its key, PEM.
    pub(crate) async fn connect_as(&self, at: usize, certificate: &(String, String)) -> Result<Wire> {
        Ok(Bearer(None).on(&self.endpoint(at, Some(certificate))?.connect().await?))
    }

    pub(crate) async fn administrator(&self, at: usize) -> Result<Wire> {
        Ok(Bearer::token(&self.admin)?.on(&self.connect(at).await?))
    }

    pub(crate) async fn issue(&self, admin: &Wire, principal: &str) -> Result<Bearer> {
        let request = IssueTokenRequest { principal: principal.to_owned(), ttl_s: 0 };
        Bearer::token(&TokensClient::new(admin.clone()).issue(request).await?.into_inner().token)
    }

    /// The text of `/metrics` of server `at`.
    pub(crate) async fn metrics(&self, at: usize) -> Result<String> {
        let ca = reqwest::Certificate::from_pem(self.ca.as_bytes())?;
        let client = reqwest::Client::builder().tls_certs_only([ca]).build()?;
        let url = format!("https://{}/metrics", self.server(at)?.endpoints()?.http);
        Ok(client.get(url).bearer_auth(&self.admin).send().await?.error_for_status()?.text().await?)
    }

    fn server(&self, at: usize) -> Result<&holdfast_testkit::Server> {
        self.cluster.servers().get(at).context("no such server")
    }

    fn endpoint(&self, at: usize, certificate: Option<&(String, String)>) -> Result<Endpoint> {
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&self.ca));
        if let Some((chain, key)) = certificate {
            tls = tls.identity(Identity::from_pem(chain, key));
        }
        let url = format!("https://{}", self.server(at)?.endpoints()?.api);
        Ok(Endpoint::new(url)?.tcp_nodelay(true).tls_config(tls)?)
    }
}
