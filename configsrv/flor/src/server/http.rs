use std::{
    path::PathBuf,
    sync::{Arc, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use configsrv_fleet::{Payload, Sequence, Version};
use reqwest::{Client, RequestBuilder, Response, StatusCode, header};
use serde::Deserialize;
use tokio::{sync::Mutex, time::Instant};

use super::{
    Credentials, Intent, Offered, Report, Server,
    answer::{done, note, plain, problem, published, refusal, unreachable},
    door::{Door, REQUEST, Token},
    receipt::Receipt,
    route::{self, Distribution, Route},
    token::{self, Discovery, Grant},
};
use crate::{Error, cluster::Cluster, disk::RealDisk, home::Layout, machine::Target, plane::DataPlane};

/// Reports are worth little waiting: the next one says more.
const REPORT: Duration = Duration::from_secs(5);

/// A fetch that is only a look says so.
const INTENT: &str = "flor-sync-intent";
const DRY_RUN: &str = "dry-run";

/// The servers' own HTTP, over TLS with this node's certificate, or in plaintext with a token.
pub(crate) struct HttpServer {
    pub(super) cluster: Cluster,
    layout: Layout,
    /// A bearer token in a file takes the place of the certificate.
    pub(super) token_file: Option<PathBuf>,
    /// With the certificates that were read last.
    door: Mutex<Option<Arc<Door>>>,
    /// What the active artifact says about the way.
    active: std::sync::Mutex<Option<Distribution>>,
    plane: Arc<dyn DataPlane>,
}

/// A refusal in the words of the lock's protocol.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Locked {
    kind: String,
    value: String,
}

impl HttpServer {
    /// Certificates are read when the first request needs them: without them a node cannot sync, but it can go back.
    pub(crate) fn new(
        cluster: Cluster,
        layout: Layout,
        token_file: Option<PathBuf>,
        plane: Arc<dyn DataPlane>,
    ) -> Self {
        Self { cluster, layout, token_file, door: Mutex::new(None), active: std::sync::Mutex::default(), plane }
    }

    /// Connections with the certificates that are on disk now: enrolment and renewal replace them while this runs.
    /// Files that cannot be used change nothing for whoever has used others before.
    pub(super) async fn door(&self) -> Result<Arc<Door>, Error> {
        let mut door = self.door.lock().await;
        let now = Credentials::load(&RealDisk, &self.layout, &self.cluster).and_then(|credentials| match &*door {
            Some(open) if *open.credentials == credentials => Ok(Arc::clone(open)),
            _ => Door::new(Arc::new(credentials)).map(Arc::new),
        });
        match (now, &*door) {
            (Ok(now), _) => Ok(Arc::clone(door.insert(now))),
            (Err(error), Some(open)) => {
                tracing::warn!(%error, "the certificates on disk cannot be used; the ones before stay in use");
                Ok(Arc::clone(open))
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Every way to the servers, the active artifact's own first.
    fn routes(&self) -> Vec<Route> {
        let active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        route::every(active.as_ref(), &self.cluster.urls, self.plane.runs())
    }

    /// Asks one server after the other until one answers; any answer is one.
    async fn ask<F>(&self, door: &Door, routes: &[Route], prepare: F) -> Result<Response, Error>
    where
        F: Fn(&Client, &str) -> RequestBuilder + Send + Sync,
    {
        let mut last = Error::State("cluster.json names no server".into());
        for route in routes {
            match self.ask_one(door, route, &prepare).await {
                // A server that cannot answer now is as good as none while there are others.
                Ok(response) if response.status() == StatusCode::SERVICE_UNAVAILABLE => {
                    last = problem(response).await;
                }
                Ok(response) => return Ok(response),
                Err(error @ Error::Unreachable(_)) => last = error,
                // A way that must not be taken says less than one that leads nowhere now.
                Err(error @ Error::Usage(_)) => {
                    if !matches!(last, Error::Unreachable(_)) {
                        last = error;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// Asks one server; once more if it does not take a token that may be void by now.
    async fn ask_one<F>(&self, door: &Door, route: &Route, prepare: &F) -> Result<Response, Error>
    where
        F: Fn(&Client, &str) -> RequestBuilder + Send + Sync,
    {
        let (client, url) = (door.client(route)?, route.url.as_str());
        let attempt = |token: Option<String>| {
            let request = prepare(&client, url);
            let request = match token {
                Some(token) => request.bearer_auth(token),
                None => request,
            };
            send(url, request)
        };
        let shown = self.bearer(door, route).await?;
        let response = attempt(shown.clone()).await?;
        if response.status() == StatusCode::UNAUTHORIZED && self.forget(door, shown).await {
            return attempt(self.bearer(door, route).await?).await;
        }
        Ok(response)
    }

    /// The token to show, where no certificate is shown. A network without TLS would hear it, and the proof that it is given
    /// for.
    pub(super) async fn bearer(&self, door: &Door, route: &Route) -> Result<Option<String>, Error> {
        let url = route.url.as_str();
        if !route.keeps_secrets() {
            return Err(Error::Usage(format!("{url}: this node shows who it is over TLS only; use https://")));
        }
        if let Some(path) = &self.token_file {
            let text = std::fs::read_to_string(path).map_err(|error| Error::file(path, &error))?;
            return Ok(Some(text.trim().to_owned()));
        }
        if url.starts_with("https:") {
            return Ok(None);
        }
        let mut token = door.token.lock().await;
        let now = Instant::now();
        if let Some(token) = token.as_ref().filter(|token| token.url == url && now < token.good_until) {
            return Ok(Some(token.text.clone()));
        }
        let grant = self.grant(door, route).await?;
        let (text, good_until) = (grant.access_token.clone(), now + grant.good_for());
        *token = Some(Token { text: grant.access_token, url: url.to_owned(), good_until });
        Ok(Some(text))
    }

    /// Drops a token that a server did not take; whether another one can be had.
    pub(super) async fn forget(&self, door: &Door, shown: Option<String>) -> bool {
        let Some(void) = shown.filter(|_| self.token_file.is_none()) else { return false };
        door.forget(&void).await;
        true
    }

    async fn grant(&self, door: &Door, route: &Route) -> Result<Grant, Error> {
        let (client, url) = (door.client(route)?, route.url.as_str());
        let Some(identity) = door.credentials.identity() else {
            return Err(Error::State("this node has no certificate of the servers yet: hand in a join token of theirs (florctl iam join-token create; flor \
                 enroll --join-token-file)"
                    .into()));
        };
        let discovery = client.get(format!("{url}/.well-known/openid-configuration"));
        let discovery: Discovery = note(send(url, discovery).await?).await?;
        let form = token::form(identity, self.cluster.spiffe_id().as_str(), &discovery.issuer, now_s())?;
        let request = client
            .post(format!("{url}/oauth2/token"))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        note(send(url, request).await?).await
    }

    /// One request of the lock's protocol. Only 200 is success.
    pub(crate) async fn fleetlock(&self, path: &str, body: &serde_json::Value) -> Result<(), Error> {
        let response = self
            .ask(&*self.door().await?, &self.routes(), |client, url| {
                client.post(format!("{url}{path}")).header("fleet-lock-protocol", "true").json(body)
            })
            .await?;
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(());
        }
        let Locked { kind, value } = refusal(response).await;
        let text = plain(&format!("{kind}: {value}"));
        if status == StatusCode::LOCKED {
            Err(Error::State(text))
        } else {
            Err(Error::Unexpected(format!("{status} {text}")))
        }
    }

    async fn post_report(&self, door: &Door, routes: &[Route], report: &Report) -> Result<Receipt, Error> {
        let path = format!("/nodes/{}/status", self.cluster.node);
        let post = |client: &Client, url: &str| client.post(format!("{url}{path}")).timeout(REPORT).json(report);
        note(self.ask(door, routes, post).await?).await
    }
}

#[async_trait]
impl Server for HttpServer {
    async fn fetch(&self, have: Option<Version>, patience: Duration, intent: Intent) -> Result<Offered, Error> {
        let have = have.map(|have| format!("have={have}"));
        let wait = (!patience.is_zero()).then(|| format!("wait={}s", patience.as_secs()));
        let query: Vec<String> = have.into_iter().chain(wait).collect();
        let path = format!("/artifact/{}?{}", self.cluster.node, query.join("&"));
        let path = path.trim_end_matches('?');
        let response = self
            .ask(&*self.door().await?, &self.routes(), |client, url| {
                let request = client.get(format!("{url}{path}")).timeout(REQUEST + patience);
                match intent {
                    Intent::Sync => request,
                    Intent::DryRun => request.header(INTENT, DRY_RUN),
                }
            })
            .await?;
        if response.status() == StatusCode::NOT_MODIFIED {
            return Ok(Offered::Nothing);
        }
        Ok(Offered::Artifact(published(response).await?))
    }

    async fn exact(&self, version: Version) -> Result<Vec<u8>, Error> {
        let path = format!("/artifact/{}?version={version}", self.cluster.node);
        let get = |client: &Client, url: &str| client.get(format!("{url}{path}")).header(INTENT, DRY_RUN);
        published(self.ask(&*self.door().await?, &self.routes(), get).await?).await
    }

    async fn revocations(&self, have: Sequence, patience: Duration) -> Result<Option<Vec<u8>>, Error> {
        let wait = if patience.is_zero() { String::new() } else { format!("&wait={}s", patience.as_secs()) };
        let path = format!("/revocations?have={have}{wait}");
        let get = |client: &Client, url: &str| client.get(format!("{url}{path}")).timeout(REQUEST + patience);
        let response = self.ask(&*self.door().await?, &self.routes(), get).await?;
        if response.status() == StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        Ok(Some(published(response).await?))
    }

    async fn revoked(&self, sequence: Sequence) -> Result<(), Error> {
        let path = format!("/nodes/{}/revocations", self.cluster.node);
        let said = serde_json::json!({ "sequence": sequence });
        let post = |client: &Client, url: &str| client.post(format!("{url}{path}")).timeout(REPORT).json(&said);
        done(self.ask(&*self.door().await?, &self.routes(), post).await?).await
    }

    async fn report(&self, report: &Report) -> Result<(), Error> {
        self.post_report(&*self.door().await?, &self.routes(), report).await.map(|_| ())
    }

    fn follow(&self, active: Option<&Payload>) {
        *self.active.lock().unwrap_or_else(PoisonError::into_inner) = active.map(Distribution::of);
    }

    async fn prove(&self, target: Target, carried: bool, report: Report) -> Result<(), Error> {
        // A door of its own has no connection from before the activation.
        let fresh = Door::new(Arc::clone(&self.door().await?.credentials))?;
        let nonce = token::nonce()?;
        let report = Report { nonce: Some(nonce.clone()), ..report };
        let routes = {
            let active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
            route::own(active.as_ref(), &self.cluster.urls, self.plane.runs())?
        };
        self.post_report(&fresh, &routes, &report).await?.proves(&nonce, target, carried)
    }
}

async fn send(url: &str, request: RequestBuilder) -> Result<Response, Error> {
    request.send().await.map_err(|error| unreachable(url, &error))
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
