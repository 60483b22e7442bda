//! One `--dev` server with everything that a test asks of it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use holdfast_proto::{
    etcdserverpb::{PutRequest, RangeRequest, RangeResponse, kv_client::KvClient},
    flaredb::{QueryRequest, flaredb_client::FlaredbClient, query_response::Part},
    iam::{
        Binding, CreatePrincipalRequest, GrantRequest, IssueTokenRequest, admin_client::AdminClient,
        tokens_client::TokensClient,
    },
};
use holdfast_testkit::{Endpoints, Server, wait_until};
use serde_json::Value;
use tonic::transport::{Channel, Endpoint};

use crate::http::{Answer, Request};

/// For what follows from something that was acknowledged: shipping, watching, catching up.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A server that is ready, and its admin.
pub(crate) struct Lab {
    pub(crate) server: Server,
    pub(crate) at: Endpoints,
    pub(crate) token: String,
}

impl Lab {
    pub(crate) fn start() -> Result<Self> {
        Self::of(Server::dev()?)
    }

    pub(crate) fn of(server: Server) -> Result<Self> {
        let (at, token) = (server.endpoints()?, server.admin_token()?);
        Ok(Self { server, at, token })
    }

    pub(crate) fn login(&self) -> Option<String> {
        Some(format!("admin:{}", self.token))
    }

    pub(crate) fn api(&self) -> Result<Caller> {
        Caller::new(&self.at.api, &self.token)
    }

    /// As the admin, on the HTTP door.
    pub(crate) fn get(&self, path: &str) -> Result<Answer> {
        Request::get(path).bearer(&self.token).send(&self.at.http)
    }

    /// As the admin, on the HTTP door.
    pub(crate) fn post(&self, path: &str, body: &str) -> Result<Answer> {
        Request::post(path, body).bearer(&self.token).send(&self.at.http)
    }
}

/// Somebody with a token, at one server's API door.
#[derive(Clone)]
pub(crate) struct Caller {
    channel: Channel,
    token: String,
}

impl Caller {
    /// Must be called in a runtime; connects when it is used.
    pub(crate) fn new(address: &str, token: &str) -> Result<Self> {
        let endpoint = Endpoint::new(format!("http://{address}"))?.timeout(Duration::from_secs(15));
        Ok(Self::on(endpoint.connect_lazy(), token))
    }

    pub(crate) fn on(channel: Channel, token: &str) -> Self {
        Self { channel, token: token.to_owned() }
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub(crate) fn with<T>(&self, message: T) -> Result<tonic::Request<T>> {
        let mut request = tonic::Request::new(message);
        request.metadata_mut().insert("authorization", format!("Bearer {}", self.token).parse()?);
        Ok(request)
    }

    pub(crate) async fn put(&self, key: &str, value: &str) -> Result<()> {
        let put = PutRequest { key: key.to_owned().into(), value: value.to_owned().into(), ..Default::default() };
        KvClient::new(self.channel()).put(self.with(put)?).await?;
        Ok(())
    }

    /// Everything from `key` to `end`; only `key` if `end` is empty.
    pub(crate) async fn range(&self, key: &str, end: &str, local: bool) -> Result<RangeResponse> {
        let range = RangeRequest {
            key: key.to_owned().into(),
            range_end: end.to_owned().into(),
            serializable: local,
            ..Default::default()
        };
        Ok(KvClient::new(self.channel()).range(self.with(range)?).await?.into_inner())
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Option<String>> {
        let found = self.range(key, "", false).await?.kvs.into_iter().next();
        Ok(found.map(|pair| String::from_utf8_lossy(&pair.value).into_owned()))
    }

    /// The rows of a query, each an array.
    pub(crate) async fn rows(&self, sql: &str) -> Result<Vec<Value>> {
        let query = self.with(QueryRequest { sql: sql.into(), ..Default::default() })?;
        let mut answers = FlaredbClient::new(self.channel()).query(query).await?.into_inner();
        let mut rows = Vec::new();
        while let Some(answer) = answers.message().await? {
            if let Some(Part::Json(part)) = answer.part {
                for row in part.rows {
                    rows.push(serde_json::from_str(&row)?);
                }
            }
        }
        Ok(rows)
    }

    /// The number that a query gives.
    pub(crate) async fn number(&self, sql: &str) -> Result<u64> {
        let rows = self.rows(sql).await?;
        rows.first().and_then(|row| row[0].as_u64()).with_context(|| format!("{sql}: {rows:?}"))
    }

    /// That no event is in the history twice; one query, since the history grows meanwhile.
    pub(crate) async fn nothing_twice(&self) -> Result<()> {
        let rows = self.rows("SELECT count(*), count(DISTINCT event_id) FROM audit.events").await?;
        ensure!(rows.iter().all(|row| row[0] == row[1]), "rows and events: {rows:?}");
        Ok(())
    }

    pub(crate) fn admin(&self) -> AdminClient<Channel> {
        AdminClient::new(self.channel())
    }

    pub(crate) async fn create_principal(&self, id: &str) -> Result<()> {
        let create = CreatePrincipalRequest { id: id.into(), ..Default::default() };
        self.admin().create_principal(self.with(create)?).await?;
        Ok(())
    }

    /// A new principal with a role, and a token of its own.
    pub(crate) async fn principal(&self, id: &str, role: &str) -> Result<String> {
        self.create_principal(id).await?;
        let binding = Binding { subject: id.into(), role: role.into(), ..Default::default() };
        self.admin().grant(self.with(GrantRequest { binding: Some(binding), ..Default::default() })?).await?;
        let issue = IssueTokenRequest { principal: id.into(), ttl_s: 0 };
        Ok(TokensClient::new(self.channel()).issue(self.with(issue)?).await?.into_inner().token)
    }
}

/// Calls until the condition gives a value, as [`wait_until`] does.
pub(crate) async fn eventually<T, F: Future<Output = Result<Option<T>>>>(
    what: &str,
    mut condition: impl FnMut() -> F,
) -> Result<T> {
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| wait_until(SOON, what, || runtime.block_on(condition())))
}
