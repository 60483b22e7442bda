use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use chainfire_client::{Applied, SystemStore};
use holdfast_rpc::Sessions;
use holdfast_service::Stop;
use iam_client::{DecisionSource, Refusal};
use iam_core::{
    mapping::Mappings,
    master::{MasterKeys, Masters},
    record::{Genesis, key},
    restored::Restored,
    signing::{KeyRing, SigningKey},
    startup::{Lab, Secrets},
    trust::Authorities,
};
use parking_lot::Mutex;
use secrecy::SecretString;
use tokio::sync::watch;

use crate::{
    Error, Settings,
    assertions::SeenAssertions,
    clock::{Clock, Entropy},
    credentials::Decoy,
    guess_limit::GuessLimit,
    holdings::KnownHoldings,
    introspection::IntrospectionLimit,
    last_uses::UsesHere,
    metrics::Metrics,
    peers::{JudgedPeers, UndeniedPeers},
    policies::InForce,
    records::{Cached, Records, Versioned},
    recovery::WAITS,
    sessions::Guest,
    settings::millis,
    simulate::RecentDecisions,
    spool::{Budget, Measured, Spool, SpoolStatus},
    tokens::{GoodTokens, VerifiedTokens},
    verifiers::Signed,
};

/// Identity on this server. Clones share one state.
///
/// [`Iam::open`] never waits for the network; [`Iam::run`] brings it into service as soon as the cluster has its IAM
/// genesis, and until then every door answers that identity is not available.
#[derive(Clone)]
pub struct Iam(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) settings: Settings,
    pub(crate) records: Records,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) master_keys: MasterKeys,
    pub(crate) admin_token: SecretString,
    /// What the environment brought for genesis.
    pub(crate) first_key: Option<SigningKey>,
    pub(crate) lab: Lab,
    pub(crate) policies: InForce,
    pub(crate) recent: RecentDecisions,
    pub(crate) spool: Arc<Spool>,
    pub(crate) guesses: GuessLimit,
    pub(crate) introspections: IntrospectionLimit,
    pub(crate) decoy: Decoy,
    pub(crate) last_uses: UsesHere,
    pub(crate) assertions: SeenAssertions,
    pub(crate) verified: VerifiedTokens,
    pub(crate) holdings: KnownHoldings,
    pub(crate) peers: JudgedPeers,
    pub(crate) undenied: UndeniedPeers,
    pub(crate) sessions: Sessions<Guest>,
    /// Connections that were closed and that this server has not said so of yet.
    pub(crate) closed: AtomicU64,
    pub(crate) metrics: Metrics,
    pub(crate) ring: Cached<KeyRing>,
    pub(crate) authorities: Cached<Authorities>,
    pub(crate) genesis: Cached<Genesis>,
    pub(crate) mappings: Cached<Mappings>,
    pub(crate) masters: Cached<Masters>,
    pub(crate) restored: Cached<Restored>,
    /// The key that signs, unsealed, under its name.
    pub(crate) signer: Mutex<Option<(String, Arc<SigningKey>)>>,
    pub(crate) signed: Signed,
    pub(crate) doors: watch::Sender<Doors>,
    /// When this server last had contact to a quorum, on the steady clock.
    pub(crate) contact_ms: AtomicU64,
    pub(crate) good: GoodTokens,
    /// Held by whoever looks at the open connections.
    pub(crate) cutting: Mutex<()>,
    /// The end of the longest break-glass grant that was used here.
    pub(crate) break_glass_until_ms: AtomicU64,
}

/// Whether this server's doors of identity are open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doors {
    /// The cluster has no IAM genesis yet, as far as this server knows; with the reason, if there is one.
    Starting(Option<String>),
    Open,
    /// This server's environment differs from the cluster's. Its part in Raft goes on.
    Closed(Vec<String>),
}

/// What `status` says about identity.
#[derive(Clone, Debug)]
pub struct Status {
    pub doors: Doors,
    pub bootstrap_token_enabled: bool,
    pub lab: Lab,
    pub dev: bool,
    pub issuer: String,
    pub trust_domain: String,
    pub applied: Applied,
    /// Milliseconds since this server last had contact with a quorum.
    pub stale_ms: u64,
    pub decisions: SpoolStatus,
    /// What this server was told to be lax about, and whether its view may be old.
    pub warnings: Vec<String>,
}

/// Without contact to a quorum for so long, what a server shows may be old.
const OLD_MS: u64 = 30_000;

impl Iam {
    /// Opens the decision log and compiles the policies.
    pub fn open(
        store: Arc<dyn SystemStore>,
        secrets: Secrets,
        settings: Settings,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, Error> {
        let policies = InForce::new()?;
        let budget = Budget { decisions: settings.decision_budget, denials: settings.denial_budget };
        let spool = Spool::open(&settings.data.join("decisions"), budget, Arc::clone(&clock), Arc::clone(&entropy))?;
        let contact_ms = AtomicU64::new(clock.steady_ms());
        let metrics = Metrics::default();
        let decoy = Decoy::new(secrets.master_keys.current(), entropy.as_ref())?;
        if secrets.lab.allow_unauthenticated {
            metrics.unauthenticated_admin.set(1);
            tracing::warn!("anonymous callers are admins: a laboratory setting");
        }
        let introspections = IntrospectionLimit::new(settings.introspections);
        Ok(Self(Arc::new(Inner {
            settings,
            records: Records::new(store),
            clock,
            entropy,
            master_keys: secrets.master_keys,
            admin_token: secrets.admin_token,
            first_key: secrets.signing_key,
            lab: secrets.lab,
            policies,
            recent: RecentDecisions::default(),
            spool: Arc::new(spool),
            guesses: GuessLimit::default(),
            introspections,
            decoy,
            last_uses: UsesHere::default(),
            assertions: SeenAssertions::default(),
            verified: VerifiedTokens::default(),
            holdings: KnownHoldings::default(),
            peers: JudgedPeers::default(),
            undenied: UndeniedPeers::default(),
            sessions: Sessions::default(),
            closed: AtomicU64::new(0),
            metrics,
            ring: Cached::new(key::RING),
            authorities: Cached::new(key::AUTHORITIES),
            genesis: Cached::new(key::GENESIS),
            mappings: Cached::new(key::MAPPINGS),
            masters: Cached::new(key::MASTERS),
            restored: Cached::new(key::RESTORED),
            signer: Mutex::new(None),
            signed: Signed::default(),
            doors: watch::Sender::new(Doors::Starting(None)),
            contact_ms,
            good: GoodTokens::default(),
            cutting: Mutex::default(),
            break_glass_until_ms: AtomicU64::new(0),
        })))
    }

    /// Brings identity into service and keeps it there until `stop`: looks whether this server still belongs and has a
    /// quorum, closes connections whose callers may not go on, says what is enforced here, takes steps of rotations, and stores
    /// when access keys were used.
    pub async fn run(self, stop: Stop) {
        let (doors, sessions) = (self.keep_doors(&stop), self.keep_sessions(stop.clone()));
        let (acknowledged, rotating) = (self.keep_acknowledged(&stop), self.keep_rotating(&stop));
        tokio::join!(doors, sessions, acknowledged, rotating, self.keep_last_uses(&stop));
    }

    /// Completes when the doors are open, or closed for good.
    pub async fn settled(&self) -> Doors {
        let mut doors = self.0.doors.subscribe();
        let settled = doors.wait_for(|doors| !matches!(doors, Doors::Starting(_))).await;
        // The sender lives as long as `self`.
        settled.map_or(Doors::Starting(None), |doors| doors.clone())
    }

    pub fn status(&self) -> Result<Status, Error> {
        let inner = &self.0;
        Ok(Status {
            doors: inner.doors.borrow().clone(),
            bootstrap_token_enabled: inner.bootstrap_enabled()?,
            lab: inner.lab,
            dev: inner.settings.dev,
            issuer: inner.settings.issuer.clone(),
            trust_domain: inner.settings.trust_domain.as_str().to_owned(),
            applied: inner.records.applied(),
            stale_ms: inner.stale_ms(),
            decisions: inner.spool.status(),
            warnings: inner.warnings()?,
        })
    }

    /// How new the state is that this server decides on.
    pub fn applied(&self) -> Applied {
        self.0.records.applied()
    }

    /// The decision log, for its shipper.
    pub fn decisions(&self) -> Arc<dyn DecisionSource> {
        Arc::clone(&self.0.spool) as Arc<dyn DecisionSource>
    }

    /// Adds IAM's metrics to the process's registry.
    pub fn register_metrics(&self, registry: &mut prometheus_client::registry::Registry) {
        self.0.metrics.register(registry);
        registry.register_collector(Box::new(Measured(Arc::downgrade(&self.0.spool))));
    }
}

impl Inner {
    fn warnings(&self) -> Result<Vec<String>, Error> {
        let stale_ms = self.stale_ms();
        let stale = format!("no quorum for {} s: this is what this server knew then", stale_ms / 1000);
        let own = [
            (self.lab.allow_unauthenticated, "callers without identity are administrators".to_owned()),
            (self.lab.random_secrets, "secrets were made up at the first start".to_owned()),
            (stale_ms > OLD_MS.min(millis(self.settings.lifetimes.stale_limit)), stale),
            (self.is_glass_broken(), "a break-glass grant is in use".to_owned()),
            (self.is_suspended()?, WAITS.to_owned()),
            self.issuing_ends_soon()?,
        ];
        let own = own.into_iter().filter_map(|(applies, warning)| applies.then_some(warning));
        Ok(own.chain(self.spool.warning()).chain(self.settings.warnings.iter().cloned()).collect())
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    pub(crate) fn stale_ms(&self) -> u64 {
        self.clock.steady_ms().saturating_sub(self.contact_ms.load(Ordering::Relaxed))
    }

    pub(crate) fn random<const N: usize>(&self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// Refuses while this server cannot answer about identity.
    pub(crate) fn check_doors(&self) -> Result<(), Refusal> {
        match &*self.doors.borrow() {
            Doors::Open => {}
            Doors::Starting(None) => return Err(Refusal::Unavailable("IAM is starting".to_owned())),
            Doors::Starting(Some(reason)) => {
                return Err(Refusal::Unavailable(format!("IAM is starting: {reason}")));
            }
            Doors::Closed(reasons) => {
                return Err(Refusal::Unavailable(format!(
                    "this server's identity doors are closed: {}",
                    reasons.join("; ")
                )));
            }
        }
        let stale_ms = self.stale_ms();
        if stale_ms > millis(self.settings.lifetimes.stale_limit) {
            let seconds = stale_ms / 1000;
            return Err(Refusal::Unavailable(format!("no contact to a quorum for {seconds} s")));
        }
        Ok(())
    }

    pub(crate) fn key_ring(&self) -> Result<Arc<Versioned<KeyRing>>, Error> {
        let ring = self.ring.get(&self.records)?;
        ring.ok_or_else(|| Error::Corrupt("the key ring is missing".to_owned()))
    }

    pub(crate) fn trust(&self) -> Result<Arc<Versioned<Authorities>>, Error> {
        let authorities = self.authorities.get(&self.records)?;
        authorities.ok_or_else(|| Error::Corrupt("the certificate authorities are missing".to_owned()))
    }
}
