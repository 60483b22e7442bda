use anyhow::{Context as _, Result};
use holdfast_proto::etcdserverpb::{
    AuthenticateRequest, auth_client::AuthClient, kv_client::KvClient, lease_client::LeaseClient,
    maintenance_client::MaintenanceClient, watch_client::WatchClient,
};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

/// Larger than any answer that is asked for.
const MESSAGE: usize = 256 << 20;

/// Connections that a crowd of clients shares.
const CONNECTIONS: usize = 64;

/// Where the servers of a subject are, and how to be let in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entrance {
    /// URLs of all members.
    pub(crate) urls: Vec<String>,
    /// PEM of the authority of the servers' certificates.
    pub(crate) authority: Option<String>,
    /// Name and password.
    pub(crate) login: Option<(String, String)>,
}

/// One client's connection; cheap to clone, and clones share it.
pub(crate) type Wire = InterceptedService<Channel, Token>;

/// What every request of a client that logged in carries.
#[derive(Clone, Debug, Default)]
pub(crate) struct Token(Option<MetadataValue<Ascii>>);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("token", token.clone());
        }
        Ok(request)
    }
}

/// Open connections to all members of a subject.
#[derive(Clone, Debug)]
pub(crate) struct Doors {
    wires: Vec<Wire>,
}

impl Doors {
    /// Connections for `clients` callers, spread evenly over the members; the first are one to each member, in order.
    pub(crate) async fn open(entrance: &Entrance, clients: usize) -> Result<Self> {
        let endpoints = entrance.urls.iter().map(|url| endpoint(entrance, url)).collect::<Result<Vec<_>>>()?;
        let first = endpoints.first().context("a subject without members")?;
        let token = match &entrance.login {
            Some((name, password)) => log_in(first, name, password).await?,
            None => Token::default(),
        };
        let mut wires = Vec::new();
        for endpoint in endpoints.iter().cycle().take(clients.clamp(entrance.urls.len(), CONNECTIONS)) {
            wires.push(InterceptedService::new(endpoint.connect().await?, token.clone()));
        }
        Ok(Self { wires })
    }

    /// The connection of client `number`.
    pub(crate) fn wire(&self, number: usize) -> Wire {
        self.wires[number % self.wires.len()].clone()
    }

    pub(crate) fn kv(&self, number: usize) -> KvClient<Wire> {
        KvClient::new(self.wire(number)).max_decoding_message_size(MESSAGE)
    }

    pub(crate) fn watch(&self, number: usize) -> WatchClient<Wire> {
        WatchClient::new(self.wire(number)).max_decoding_message_size(MESSAGE)
    }

    pub(crate) fn lease(&self, number: usize) -> LeaseClient<Wire> {
        LeaseClient::new(self.wire(number)).max_decoding_message_size(MESSAGE)
    }

    pub(crate) fn maintenance(&self, number: usize) -> MaintenanceClient<Wire> {
        MaintenanceClient::new(self.wire(number))
    }
}

fn endpoint(entrance: &Entrance, url: &str) -> Result<Endpoint> {
    let endpoint = Endpoint::new(url.to_owned())?.tcp_nodelay(true);
    let Some(authority) = &entrance.authority else { return Ok(endpoint) };
    Ok(endpoint.tls_config(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority)))?)
}

async fn log_in(endpoint: &Endpoint, name: &str, password: &str) -> Result<Token> {
    let request = AuthenticateRequest { name: name.to_owned(), password: password.to_owned() };
    let answer = AuthClient::new(endpoint.connect().await?).authenticate(request).await?;
    Ok(Token(Some(answer.into_inner().token.parse().context("the token does not fit a header")?)))
}
