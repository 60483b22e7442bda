//! Identity on a store in memory, with a clock that stands still.
#![allow(dead_code, reason = "each test uses a part")]
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

pub(crate) mod harbour;
pub(crate) mod node;
pub(crate) mod open;

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Extension, Router};
use chainfire_client::{SystemStore, memory::MemoryStore};
use holdfast_proto::iam::{
    Binding, CreatePrincipalRequest, GrantRequest, IssueTokenRequest, admin_client::AdminClient,
    authz_client::AuthzClient, credentials_client::CredentialsClient, enrollment_client::EnrollmentClient,
    rotation_client::RotationClient, tokens_client::TokensClient, trust_client::TrustClient,
    verifiers_client::VerifiersClient,
};
use holdfast_rpc::Connection;
use holdfast_service::Stop;
use iam_client::{Authority, IamLayer, Identity, Presented, Refusal};
use iam_core::{
    TrustDomain,
    startup::{Config, Inputs, evaluate},
};
use iam_server::{ACCESS_GRPC, ACCESS_HTTP, Clock, Doors, Iam, Settings, SystemEntropy};
use tempfile::TempDir;
use tonic::{Request, service::Routes};

pub(crate) const ADMIN_TOKEN: &str = "bootstrap-token-0123456789-abcdef";
pub(crate) const MASTER_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
pub(crate) const SIGNING_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
pub(crate) const ISSUER: &str = "https://holdfast.example";

/// A clock that moves when told to.
pub(crate) struct TestClock {
    pub(crate) now_ms: AtomicU64,
    pub(crate) steady_ms: AtomicU64,
}

impl TestClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { now_ms: AtomicU64::new(1_800_000_000_000), steady_ms: AtomicU64::new(0) })
    }
}

impl Clock for TestClock {
    fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    fn steady_ms(&self) -> u64 {
        self.steady_ms.load(Ordering::Relaxed)
    }
}

/// What a server's environment says.
#[derive(Clone)]
pub(crate) struct Environment {
    pub(crate) admin_token: String,
    pub(crate) signing_key: Option<String>,
    pub(crate) master_key: String,
    pub(crate) previous_master_key: Option<String>,
    pub(crate) dev: bool,
    pub(crate) allow_unauthenticated: bool,
}

impl Default for Environment {
    fn default() -> Self {
        Self {
            admin_token: ADMIN_TOKEN.into(),
            signing_key: Some(SIGNING_KEY.into()),
            master_key: MASTER_KEY.into(),
            previous_master_key: None,
            dev: false,
            allow_unauthenticated: false,
        }
    }
}

/// A server's part in the background.
pub(crate) struct Running {
    stop: Stop,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    pub(crate) async fn end(self) {
        self.stop.request();
        self.task.await.unwrap();
    }
}

pub(crate) struct Plane {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) folder: TempDir,
    pub(crate) iam: Iam,
    pub(crate) running: Running,
}

impl Plane {
    pub(crate) async fn start() -> Self {
        Self::with(Environment::default()).await
    }

    pub(crate) async fn with(environment: Environment) -> Self {
        Self::set_up(environment, |_| {}).await
    }

    pub(crate) async fn set_up(environment: Environment, change: impl FnOnce(&mut Settings)) -> Self {
        let store = Arc::new(MemoryStore::new().unwrap());
        let clock = TestClock::new();
        let folder = TempDir::new().unwrap();
        let (iam, running) = open(&store, &clock, folder.path(), &environment, change).unwrap();
        assert_eq!(iam.settled().await, Doors::Open);
        Self { store, clock, folder, iam, running }
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.clock.now_ms.fetch_add(u64::try_from(by.as_millis()).unwrap(), Ordering::Relaxed);
    }

    pub(crate) fn api(&self) -> Router {
        api(&self.iam)
    }

    pub(crate) fn admin(&self) -> AdminClient<Router> {
        AdminClient::new(self.api())
    }

    pub(crate) fn tokens(&self) -> TokensClient<Router> {
        TokensClient::new(self.api())
    }

    pub(crate) fn credentials(&self) -> CredentialsClient<Router> {
        CredentialsClient::new(self.api())
    }

    pub(crate) fn authz(&self) -> AuthzClient<Router> {
        AuthzClient::new(self.api())
    }

    pub(crate) fn enrollment(&self) -> EnrollmentClient<Router> {
        EnrollmentClient::new(self.api())
    }

    pub(crate) fn rotation(&self) -> RotationClient<Router> {
        RotationClient::new(self.api())
    }

    pub(crate) fn verifiers(&self) -> VerifiersClient<Router> {
        VerifiersClient::new(self.api())
    }

    pub(crate) fn trust(&self) -> TrustClient<Router> {
        TrustClient::new(self.api())
    }

    pub(crate) async fn bearer(&self, token: &str) -> Result<Identity, Refusal> {
        bearer(&self.iam, token).await
    }

    /// A new principal with `role`, and a token of its own.
    pub(crate) async fn principal(&self, id: &str, role: &str) -> String {
        let request = CreatePrincipalRequest { id: id.into(), ..Default::default() };
        self.admin().create_principal(with(ADMIN_TOKEN, request)).await.unwrap();
        if !role.is_empty() {
            let binding = Binding { subject: id.into(), role: role.into(), ..Binding::default() };
            self.admin()
                .grant(with(ADMIN_TOKEN, GrantRequest { binding: Some(binding), ..Default::default() }))
                .await
                .unwrap();
        }
        self.token(id).await
    }

    pub(crate) async fn token(&self, id: &str) -> String {
        let request = IssueTokenRequest { principal: id.into(), ttl_s: 0 };
        self.tokens().issue(with(ADMIN_TOKEN, request)).await.unwrap().into_inner().token
    }
}

/// One more server with its own data folder on the same store.
pub(crate) fn open<S: SystemStore>(
    store: &Arc<S>,
    clock: &Arc<TestClock>,
    folder: &Path,
    environment: &Environment,
    change: impl FnOnce(&mut Settings),
) -> Result<(Iam, Running), iam_server::Error> {
    let variable = |name: &str| match name {
        "IAM_ADMIN_TOKEN" => Some(environment.admin_token.clone()),
        "IAM_SIGNING_KEY" => environment.signing_key.clone(),
        "IAM_CRED_MASTER_KEY" => Some(environment.master_key.clone()),
        "IAM_CRED_MASTER_KEY_PREVIOUS" => environment.previous_master_key.clone(),
        "IAM_ALLOW_UNAUTHENTICATED_ADMIN" => Some(environment.allow_unauthenticated.to_string()),
        _ => None,
    };
    let has_genesis = environment.signing_key.is_none();
    let inputs = Inputs::gather(environment.dev, has_genesis, Config::default(), variable, |path| std::fs::read(path));
    let secrets = evaluate(&inputs).unwrap();
    let mut settings = Settings::new(ISSUER, TrustDomain::new("harbour.example").unwrap(), folder);
    settings.dev = environment.dev;
    change(&mut settings);
    let iam = Iam::open(store.clone(), secrets, settings, clock.clone(), Arc::new(SystemEntropy))?;
    let stop = Stop::new();
    let task = tokio::spawn(iam.clone().run(stop.clone()));
    Ok((iam, Running { stop, task }))
}

/// Both listeners' routes behind the layer, called from one address.
pub(crate) fn api(iam: &Iam) -> Router {
    api_with(iam, &[])
}

/// The same, called with client certificates.
pub(crate) fn api_with(iam: &Iam, certificates: &[Vec<u8>]) -> Router {
    let source: SocketAddr = "192.0.2.7:40000".parse().unwrap();
    let certificates = certificates.iter().map(|der| Arc::from(der.as_slice())).collect();
    routes(iam).layer(Extension(Connection { source, certificates }))
}

/// Both listeners' routes behind the layer.
pub(crate) fn routes(iam: &Iam) -> Router {
    let rules = ACCESS_GRPC.iter().chain(ACCESS_HTTP).copied();
    iam.add_to(Routes::default())
        .into_axum_router()
        .merge(iam.http())
        .layer(IamLayer::new(Arc::new(iam.clone()), rules))
}

pub(crate) async fn bearer(iam: &Iam, token: &str) -> Result<Identity, Refusal> {
    iam.authenticate(Presented { bearer: Some(token.into()), ..Presented::default() }).await
}

pub(crate) fn with<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}
