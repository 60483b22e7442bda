//! How the cluster's identity begins, and how a server finds out that it does not belong to it.

use std::{
    fs, io,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chainfire_core::Origin;
use holdfast_format::{decode, encode, kind};
use holdfast_service::Stop;
use iam_core::{
    master::Master,
    record::{Bootstrap, Genesis, key},
    rotation::{Item, Set},
    seal::Label,
    signing::KeyRing,
    trust::{Authorities, Root},
};
use secrecy::ExposeSecret as _;
use tokio::time::{sleep, timeout};

use crate::{Doors, Error, Iam, files, iam::Inner, issuer, records::Change};

/// The purpose under which the bootstrap token is hashed.
pub(crate) const ADMIN_TOKEN: &str = "holdfast bootstrap token";
/// Whose secrets the plane's own are.
pub(crate) const PLANE: &str = "system/iam";

const CHECK_FILE: &str = "master-key.check";
const TRUST_FILE: &str = "iam-ca.pem";
const CHECK_VERSION: u16 = 1;
/// How often contact to a quorum is looked for, at least.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// So many times it is looked for before the last contact is too long ago.
const LOOKS: u32 = 4;
/// Pause before an attempt is repeated.
const RETRY: Duration = Duration::from_millis(250);

/// The master key's check value that an earlier start left in the data folder. A server that has one has seen the
/// cluster's IAM genesis.
pub fn cached_check(data: &Path) -> io::Result<Option<String>> {
    let bytes = match fs::read(data.join(CHECK_FILE)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let invalid = |reason: String| io::Error::new(io::ErrorKind::InvalidData, format!("{CHECK_FILE}: {reason}"));
    let frame = decode(kind::MASTER_KEY_CHECK, &bytes).map_err(|error| invalid(error.to_string()))?;
    if frame.version > CHECK_VERSION {
        return Err(invalid(format!("version {} is newer than this release", frame.version)));
    }
    String::from_utf8(frame.payload.to_vec()).map(Some).map_err(|error| invalid(error.to_string()))
}

impl Iam {
    /// Opens the doors, and keeps looking whether this server still belongs and has a quorum.
    pub(crate) async fn keep_doors(&self, stop: &Stop) {
        let mut changes = self.0.records.store().changes();
        loop {
            let look = async {
                let open = self.0.settle().await;
                (open, open && self.0.look_for_quorum().await)
            };
            let (open, contact) = tokio::select! {
                () = stop.requested() => return,
                found = look => found,
            };
            tokio::select! {
                () = stop.requested() => return,
                () = sleep(if contact { self.0.heartbeat() } else { RETRY }) => {}
                // Whoever waits for a genesis looks at once; open doors look again at the next heartbeat.
                changed = changes.changed(), if !open => if changed.is_err() { return },
            }
        }
    }
}

impl Inner {
    /// One attempt; true if the doors are open after it.
    async fn settle(self: &Arc<Self>) -> bool {
        self.is_glass_broken();
        self.metrics.restore_waits.set(i64::from(self.is_suspended().unwrap_or(false)));
        // Before the genesis there is none.
        let _ = self.issuing_ends_soon();
        let doors = match self.evaluate().await {
            Ok(doors) => doors,
            Err(error) => Doors::Starting(Some(error.to_string())),
        };
        let open = doors == Doors::Open;
        if !matches!(doors, Doors::Starting(_)) {
            self.metrics.open.set(i64::from(open));
        }
        let changed = self.doors.send_if_modified(|current| {
            // A look that fails says nothing new: what was decided before stands.
            let decided = !matches!(current, Doors::Starting(_));
            let keep = *current == doors || (decided && matches!(doors, Doors::Starting(_)));
            if !keep {
                *current = doors.clone();
            }
            !keep
        });
        if changed {
            match &doors {
                Doors::Open => {
                    tracing::info!(issuer = self.settings.issuer, "identity is open");
                    self.publish_files();
                }
                Doors::Closed(reasons) => {
                    let reasons = reasons.join("; ");
                    tracing::error!(reasons, "identity is closed on this server: its environment differs");
                }
                Doors::Starting(_) => {}
            }
        }
        open
    }

    async fn evaluate(self: &Arc<Self>) -> Result<Doors, Error> {
        if !matches!(*self.doors.borrow(), Doors::Open) {
            // What this server knew when it ended may be long out of date: it may have acknowledged more than that.
            self.records.store().barrier().await?;
        }
        let genesis = match self.genesis.get(&self.records)? {
            Some(genesis) => genesis,
            None => {
                self.begin().await?;
                match self.genesis.get(&self.records)? {
                    Some(genesis) => genesis,
                    None => return Ok(Doors::Starting(Some("the genesis is not applied here yet".to_owned()))),
                }
            }
        };
        let reasons = self.differences(&genesis.value)?;
        if !matches!(*self.doors.borrow(), Doors::Open) {
            // Many policies take a while, which nobody who asks shall have to wait for.
            let inner = Arc::clone(self);
            let compiled = tokio::task::spawn_blocking(move || inner.policies().map(drop)).await;
            compiled.map_err(|error| Error::Corrupt(format!("policies were not compiled: {error}")))??;
        }
        if reasons.is_empty() && !self.notice_restore().await? {
            return Ok(Doors::Starting(Some("a restore is being noted".to_owned())));
        }
        Ok(if reasons.is_empty() { Doors::Open } else { Doors::Closed(reasons) })
    }

    /// Proposes this server's environment as the cluster's. Whoever is first wins; the others compare.
    async fn begin(&self) -> Result<(), Error> {
        let Some(first_key) = &self.first_key else {
            return Err(Error::Invalid("there is no genesis yet, and no signing key to begin with".to_owned()));
        };
        let now_ms = self.now_ms();
        let ring = KeyRing::genesis(first_key.public().clone(), now_ms)?;
        let first_kid = first_key.public().kid()?;
        let (authority, authority_key) = self.new_authority()?;
        let master = self.master_keys.current();
        let genesis = Genesis {
            created_ms: now_ms,
            trust_domain: self.settings.trust_domain.as_str().to_owned(),
            master_key_check: master.check(),
            admin_token_tag: master.tag(ADMIN_TOKEN, self.admin_token.expose_secret().as_bytes()),
            first_kid: first_kid.clone(),
        };
        let root = Root { certificate: STANDARD.encode(authority.der()), issuing: None, mapped_only: false };
        let authorities = Authorities { roots: Set::genesis(authority.id(), root, now_ms) };
        let signing = Label { kind: "signing-key", principal: PLANE, key: &first_kid };
        let authority_id = authority.id();
        let issuing = issuer::label(&authority_id);
        let change = Change::new("iam.Genesis", "iam/genesis")
            .create(key::GENESIS.to_vec(), &genesis)?
            .create(key::RING.to_vec(), &ring)?
            .create(key::AUTHORITIES.to_vec(), &authorities)?
            .put(key::sealed(signing.kind, signing.key), &master.seal(signing, first_key.pkcs8(), self.random()?)?)?
            .put(key::sealed(issuing.kind, issuing.key), &master.seal(issuing, &authority_key, self.random()?)?)?;
        let origin = Origin::system("iam", format!("genesis-{}", hex::encode(self.random::<8>()?)));
        match self.records.commit(origin, change).await {
            // Somebody else was first.
            Ok(_) | Err(Error::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Every way in which this server's environment is not the cluster's.
    fn differences(&self, genesis: &Genesis) -> Result<Vec<String>, Error> {
        let mut reasons = Vec::new();
        if genesis.trust_domain != self.settings.trust_domain.as_str() {
            reasons.push(format!(
                "the trust domain here is {}, the cluster's is {}",
                self.settings.trust_domain.as_str(),
                genesis.trust_domain
            ));
        }
        let known = self.known_masters()?;
        let holds = |key: &Item<Master>| self.master_keys.get(&key.id).is_some();
        let replaced = known.as_ref().is_some_and(|known| known.masters.value.keys.items.iter().any(holds));
        let Some(known) = known.filter(|known| known.masters.value.keys.active().is_some_and(holds)) else {
            reasons.push(match replaced {
                true => "IAM_CRED_MASTER_KEY is one that was replaced; give this server the cluster's present one"
                    .to_owned(),
                false => "IAM_CRED_MASTER_KEY is not the cluster's; give this server the same key".to_owned(),
            });
            // Everything else is hashed with that key and cannot be compared.
            return Ok(reasons);
        };
        if !known.masters.value.needed().all(holds) {
            reasons.push(
                "secrets are still sealed with the master key before; give it to this server as \
                 IAM_CRED_MASTER_KEY_PREVIOUS until its rotation has retired it"
                    .to_owned(),
            );
        }
        if self.bootstrap_enabled()? && !self.has_admin_token(known.active()?) {
            reasons.push("IAM_ADMIN_TOKEN is not the cluster's; give this server the same token".to_owned());
        }
        if let Some(first_key) = &self.first_key {
            let kid = first_key.public().kid()?;
            if kid != genesis.first_kid && self.key_ring()?.value.key(&kid).is_none() {
                reasons.push(
                    "the signing key here is neither the cluster's first one nor in its key ring; remove it".to_owned(),
                );
            }
        }
        Ok(reasons)
    }

    /// Whether this server's bootstrap token is the cluster's, as hashed with `master`.
    pub(crate) fn has_admin_token(&self, master: &Item<Master>) -> bool {
        let token = self.admin_token.expose_secret().as_bytes();
        let tag = master.value.admin_token_tag.as_ref().zip(self.master_keys.get(&master.id));
        tag.is_some_and(|(tag, key)| key.verify_tag(ADMIN_TOKEN, token, tag))
    }

    pub(crate) fn bootstrap_enabled(&self) -> Result<bool, Error> {
        let decided = self.records.get::<Bootstrap>(key::BOOTSTRAP)?;
        Ok(decided.is_none_or(|bootstrap| bootstrap.value.enabled))
    }

    /// Whether there is contact to a quorum.
    async fn look_for_quorum(&self) -> bool {
        let asked_ms = self.clock.steady_ms();
        let contact = matches!(timeout(self.heartbeat(), self.records.store().barrier()).await, Ok(Ok(_)));
        if contact {
            self.contact_ms.store(asked_ms, Ordering::Relaxed);
        }
        contact
    }

    fn heartbeat(&self) -> Duration {
        HEARTBEAT.min(self.settings.lifetimes.stale_limit / LOOKS)
    }

    /// Leaves in the data folder what the next start tests before Raft runs, and the roots for TLS listeners.
    fn publish_files(&self) {
        let written = self.publish_check().and_then(|()| self.publish_roots());
        if let Err(error) = written {
            let folder = self.settings.data.display();
            tracing::error!(error = %error, %folder, "cannot leave IAM's files for the next start");
        }
    }

    /// Leaves the check value of the master key that seals in the data folder, so that a start without it is refused.
    pub(crate) fn publish_check(&self) -> Result<(), Error> {
        let known = self.masters()?;
        let check = encode(kind::MASTER_KEY_CHECK, CHECK_VERSION, known.active()?.value.check.as_bytes());
        Ok(files::replace(&self.settings.data.join(CHECK_FILE), &check)?)
    }

    /// Leaves the roots that are trusted in the data folder.
    pub(crate) fn publish_roots(&self) -> Result<(), Error> {
        Ok(files::replace(&self.settings.data.join(TRUST_FILE), self.trust_pem()?.as_bytes())?)
    }
}
