use std::{collections::BTreeMap, sync::Arc, time::Duration};

use configsrv_fleet::{
    ClusterName, Digest, Envelope, NodeName, Payload, Sealed, Signer, Tree, Version, artifact::MAX_ARTIFACT,
};
use reqwest::{Certificate, Client, Proxy, RequestBuilder, Response, StatusCode, header, redirect};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::task::JoinSet;

use super::{
    fault::failed,
    place::{self, Named},
    tunnel::{self, Entry},
    wire::{Admitted, Changes, Events, LockGroup, LockGroups, Node, NodePage, Refusal, VersionPage},
};
use crate::{
    failure::{Code, Failure, REBASE},
    progress,
    settings::Settings,
};

const CONNECT: Duration = Duration::from_secs(5);
const REQUEST: Duration = Duration::from_secs(30);
/// A tree of ten thousand nodes over a thin line.
const UPLOAD: Duration = Duration::from_secs(300);
/// Requests under way at once when a whole tree is fetched.
const PARALLEL: usize = 16;
const PAGE: usize = 1000;
const LOCK_PAGE: usize = 500;

/// The HTTP interface of the servers.
#[derive(Clone)]
pub(crate) struct Http {
    client: Client,
    base: String,
    authorization: header::HeaderValue,
}

/// What a publish says beside the tree.
pub(crate) struct About<'a> {
    pub(crate) note: Option<&'a str>,
    pub(crate) git_commit: Option<&'a str>,
    /// Nodes whose reports of newer versions do not stop it.
    pub(crate) ignored: &'a [NodeName],
}

/// What the servers serve now.
pub(crate) struct Served {
    pub(crate) version: Version,
    pub(crate) payloads: Vec<Payload>,
    pub(crate) nodes: Vec<Node>,
}

impl Http {
    /// The servers that the settings name.
    pub(crate) fn new(settings: &Settings) -> Result<Self, Failure> {
        Self::of(settings, &Named::default())
    }

    /// The same interface at another of the servers, or at another of its doors.
    pub(crate) fn at(settings: &Settings, base: &str) -> Result<Self, Failure> {
        Self::of(settings, &Named { target: Some(base), ..Named::default() })
    }

    /// The servers that are named, by the way that the settings say.
    pub(crate) fn of(settings: &Settings, named: &Named<'_>) -> Result<Self, Failure> {
        let entry = tunnel::entry(&settings.tunnel, named.cluster)?;
        let base = place::base(settings, named, entry.as_ref())?;
        Self::by(settings, base, entry.as_ref())
    }

    fn by(settings: &Settings, base: String, entry: Option<&Entry>) -> Result<Self, Failure> {
        let mut authorization = header::HeaderValue::try_from(settings.authorization()?.as_str())
            .map_err(|_| Failure::usage("the token has characters that no token has"))?;
        authorization.set_sensitive(true);
        // A redirect would carry the token elsewhere.
        let mut builder =
            Client::builder().connect_timeout(CONNECT).timeout(REQUEST).redirect(redirect::Policy::none());
        if let Some(pem) = &settings.ca {
            let roots = Certificate::from_pem_bundle(pem)
                .map_err(|error| Failure::usage(format!("--ca: not PEM certificates: {error}")))?;
            builder = builder.tls_certs_only(roots);
        }
        if let Some(Entry { port, .. }) = entry {
            // Names are resolved in the data plane.
            builder = builder.proxy(Proxy::all(format!("socks5h://{port}")).map_err(Failure::unexpected)?);
        }
        let client = builder.build().map_err(Failure::unexpected)?;
        Ok(Self { client, base, authorization })
    }

    /// A page as it is.
    pub(crate) async fn text(&self, path: &str) -> Result<String, Failure> {
        let request = self.client.get(format!("{}{path}", self.base));
        self.send(request).await?.text().await.map_err(Failure::unexpected)
    }

    pub(crate) async fn versions(&self, limit: u32) -> Result<VersionPage, Failure> {
        self.get(&format!("/versions?limit={limit}")).await
    }

    pub(crate) async fn changes(&self, from: Version, to: Version) -> Result<Changes, Failure> {
        self.get(&format!("/versions/{from}/diff/{to}")).await
    }

    /// The history; `query` as `GET /audit` takes it.
    pub(crate) async fn audit(&self, query: &str) -> Result<Events, Failure> {
        self.get(&format!("/audit?{query}")).await
    }

    pub(crate) async fn node(&self, name: &NodeName) -> Result<Node, Failure> {
        self.get(&format!("/nodes/{name}")).await
    }

    /// Every node, and the version that staleness is relative to.
    pub(crate) async fn nodes(&self, version: Option<Version>) -> Result<(Version, Vec<Node>), Failure> {
        let mut all: Vec<Node> = Vec::new();
        loop {
            let mut path = format!("/nodes?limit={PAGE}");
            if let Some(version) = version {
                path += &format!("&version={version}");
            }
            if let Some(last) = all.last() {
                path += &format!("&after={}", last.name);
            }
            let page: NodePage = self.get(&path).await?;
            let progressed = !page.nodes.is_empty();
            all.extend(page.nodes);
            if !page.more || !progressed {
                return Ok((page.version, all));
            }
        }
    }

    pub(crate) async fn locks(&self) -> Result<Vec<LockGroup>, Failure> {
        let mut all: Vec<LockGroup> = Vec::new();
        loop {
            let mut path = format!("/locks?limit={LOCK_PAGE}");
            if let Some(last) = all.last() {
                path += &format!("&after={}", last.group);
            }
            let page: LockGroups = self.get(&path).await?;
            let full = page.groups.len() == LOCK_PAGE;
            all.extend(page.groups);
            if !full {
                return Ok(all);
            }
        }
    }

    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        let request = self.client.post(format!("{}{path}", self.base)).json(body);
        decode(self.send(request).await?).await
    }

    /// Whose nodes the servers have; `None` as long as nothing is published.
    pub(crate) async fn cluster(&self) -> Result<Option<ClusterName>, Failure> {
        let page: NodePage = self.get(&format!("/nodes?limit={PAGE}")).await?;
        let Some(node) = page.nodes.into_iter().find(|node| node.published) else { return Ok(None) };
        let artifact = self.artifact(&node.name, None).await?.map(|artifact| artifact.open()).transpose()?;
        Ok(artifact.map(|artifact| artifact.payload.local_node.spiffe_id.cluster().clone()))
    }

    /// What is published, compared with `ours`: payloads that are the same are not fetched.
    /// What `trusted` have not signed counts for nothing: servers distribute, they do not author.
    pub(crate) async fn published(&self, ours: &[Payload], trusted: &[Signer]) -> Result<Served, Failure> {
        let (_, nodes) = self.nodes(None).await?;
        let trusted: Arc<[Signer]> = trusted.into();
        let version = self.versions(1).await?.current;
        let known: BTreeMap<&str, (&Payload, Digest)> = ours
            .iter()
            .map(|payload| Ok((payload.node.as_str(), (payload, payload.digest()?))))
            .collect::<Result<_, Failure>>()?;
        let mut wanted: Vec<(String, Option<Digest>)> = nodes
            .iter()
            .filter(|node| node.published)
            .map(|node| (node.name.clone(), known.get(node.name.as_str()).map(|(_, digest)| *digest)))
            .collect();
        let bar = progress::bar(wanted.len(), "comparing");
        let mut payloads = Vec::with_capacity(wanted.len());
        let mut running: JoinSet<Result<(String, Option<Envelope>), Failure>> = JoinSet::new();
        loop {
            while running.len() < PARALLEL
                && let Some((name, digest)) = wanted.pop()
            {
                let (http, trusted) = (self.clone(), Arc::clone(&trusted));
                running.spawn(async move {
                    let artifact = http.artifact(&name, digest).await?;
                    let artifact = artifact.map(|artifact| believed(&name, &artifact, &trusted)).transpose()?;
                    Ok((name, artifact))
                });
            }
            let Some(done) = running.join_next().await else { break };
            let (name, fetched) = done.map_err(Failure::unexpected)??;
            let payload = match fetched {
                Some(envelope) => Some(envelope.payload),
                None => known.get(name.as_str()).map(|(payload, _)| (*payload).clone()),
            };
            payloads.extend(payload);
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(Served { version, payloads, nodes })
    }

    /// One node's current artifact; `None` if its payload has `digest`. A look, not a sync.
    async fn artifact(&self, node: &str, digest: Option<Digest>) -> Result<Option<Sealed>, Failure> {
        let mut request =
            self.client.get(format!("{}/artifact/{node}", self.base)).header("flor-sync-intent", "dry-run");
        if let Some(digest) = digest {
            request = request.header(header::IF_NONE_MATCH, format!("\"{digest}\""));
        }
        let response = self.send(request).await?;
        if response.status() == StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        let bytes = limited(response, MAX_ARTIFACT).await?;
        Ok(Some(Sealed::parse(&bytes)?))
    }

    /// Gives a tree to the servers. Its artifacts go as the exact bytes that were signed.
    pub(crate) async fn publish(&self, tree: &Tree, base: Version, about: &About<'_>) -> Result<Admitted, Failure> {
        let mut body = format!("{{\"base_version\":{base}").into_bytes();
        let ignored = serde_json::to_string(about.ignored)?;
        body.extend_from_slice(format!(",\"ignore_reports_of\":{ignored}").as_bytes());
        for (name, value) in [("note", about.note), ("git_commit", about.git_commit)] {
            if let Some(value) = value {
                body.extend_from_slice(format!(",\"{name}\":{}", Value::from(value)).as_bytes());
            }
        }
        body.extend_from_slice(b",\"artifacts\":[");
        for (at, artifact) in tree.artifacts().values().enumerate() {
            if at > 0 {
                body.push(b',');
            }
            body.extend_from_slice(artifact.bytes());
        }
        body.extend_from_slice(b"]}");
        let request = self
            .client
            .post(format!("{}/publish", self.base))
            .header(header::CONTENT_TYPE, "application/json")
            .timeout(UPLOAD)
            .body(body);
        let working = progress::spinner("publishing");
        let answer = async { decode(self.send(request).await?).await }.await;
        working.finish_and_clear();
        answer.map_err(perhaps_done)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        decode(self.send(self.client.get(format!("{}{path}", self.base))).await?).await
    }

    pub(super) fn request_get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.base))
    }

    pub(super) fn request_post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.base))
    }

    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.header(header::AUTHORIZATION, self.authorization.clone()).send().await;
        let response = response.map_err(|error| unreachable(&self.base, &error))?;
        let status = response.status();
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        let bytes = limited(response, 64 * 1024).await.unwrap_or_default();
        let refusal: Option<Refusal> = serde_json::from_slice(&bytes).ok();
        Err(refused(status, refusal))
    }
}

/// An artifact as it was signed for `node`, by one of `trusted`.
fn believed(node: &str, artifact: &Sealed, trusted: &[Signer]) -> Result<Envelope, Failure> {
    let doubt = |why: String| {
        Failure::new(Code::NotTrusted, format!("what the servers have for {node} is not believed: {why}"))
            .hint("only what signers of cluster.yaml, or of the tree compiled here last, have signed is compared with")
    };
    if artifact.node().as_str() != node {
        return Err(doubt(format!("it is for {}", artifact.node())));
    }
    artifact.verify(trusted).map_err(|error| doubt(error.to_string()))?;
    Ok(artifact.open()?)
}

/// Whoever gets no answer does not know what was done.
pub(super) fn perhaps_done(failure: Failure) -> Failure {
    match failure.code() {
        Code::Unreachable => failure.hint(
            "if a server was reached, it may have been done: run the same command again, a repetition changes nothing; --http \
             (or HOLDFAST_HTTP) says where the servers are",
        ),
        _ => failure,
    }
}

pub(super) async fn decode<T: DeserializeOwned>(response: Response) -> Result<T, Failure> {
    const LARGEST_ANSWER: usize = 64 * 1024 * 1024;
    let url = response.url().clone();
    let bytes = limited(response, LARGEST_ANSWER).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Failure::unexpected(format!("{url}: the answer is not understood: {error}")))
}

pub(super) async fn limited(mut response: Response, limit: usize) -> Result<Vec<u8>, Failure> {
    let url = response.url().to_string();
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(&url, &error))? {
        if bytes.len() + chunk.len() > limit {
            return Err(Failure::unexpected(format!("{url}: the answer is larger than {limit} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn unreachable(url: &str, error: &reqwest::Error) -> Failure {
    failed(url, error, "--http (or HOLDFAST_HTTP) says where the servers are, --ca whose certificates they have")
}

fn refused(status: StatusCode, refusal: Option<Refusal>) -> Failure {
    match refusal {
        Some(Refusal { error, message }) => meaning(status, &error, message).refusal(error),
        None => meaning(status, "", format!("the servers answered {status}")),
    }
}

/// What a refusal means for the caller of this program.
fn meaning(status: StatusCode, word: &str, message: String) -> Failure {
    match (status, word) {
        (_, "not_published") => Failure::new(Code::State, message).hint("florctl publish gives them a first tree"),
        (_, "untrusted_signature") => Failure::new(Code::NotTrusted, message)
            .hint("sign with a key that the servers trust: one that the current version announces"),
        (_, "revocation_conflict") => Failure::new(Code::Conflict, message)
            .hint("florctl revocations shows what the servers have; git pull brings what others have signed"),
        (_, "lockout") => Failure::new(Code::Findings, message).hint("--allow-lockout revokes nevertheless"),
        (_, "no_revocations") => Failure::new(Code::State, message),
        (StatusCode::CONFLICT, _) => Failure::new(Code::Conflict, message).hint(REBASE),
        (StatusCode::UNAUTHORIZED, _) => {
            Failure::unexpected(message).hint("the token is wrong or has ended: HOLDFAST_TOKEN or --token-file")
        }
        (StatusCode::FORBIDDEN, _) => Failure::unexpected(message).hint("florctl iam whoami says who you are here"),
        (StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS, _) => {
            Failure::new(Code::Unreachable, message)
        }
        _ => Failure::unexpected(message),
    }
}
