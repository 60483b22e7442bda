//! The certificate authorities in the system keyspace: one record, each step one compare-and-set; and the certificates
//! that are denied.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chainfire_core::system::Expect;
use iam_ca::{Anchor, certificates_pem};
use iam_client::Identity;
use iam_core::{
    enrol::PeerFault,
    mapping::Mappings,
    record::key,
    rotation::{Evidence, Item, Part, Rotates, State, Step, StepError, Waive, Windows},
    trust::{Authorities, Denied, Root, serial},
    verifier::Versions,
};
use tokio::time::{Instant, timeout_at};

use crate::{
    Error, Iam,
    iam::Inner,
    issuer,
    peers::Chain,
    records::{Change, Listing, Versioned},
    settings::millis,
    signing::{Judge, StepOptions},
    verifiers::PATIENCE,
};

const MAX_REASON: usize = 256;

/// The authorities after a change.
pub(crate) struct Changed {
    pub(crate) authorities: Versioned<Authorities>,
    pub(crate) id: String,
    pub(crate) breaks: String,
    pub(crate) enforced: Vec<Enforced>,
}

/// A new authority, and the change that adds it to those of this revision.
pub(crate) struct Added {
    pub(crate) id: String,
    pub(crate) next: Authorities,
    pub(crate) revision: u64,
    pub(crate) change: Change,
}

/// What one server says of a change.
pub(crate) struct Enforced {
    pub(crate) server: String,
    /// Connections that it closed since the change; none if it has not said in time that it enforces the change.
    pub(crate) closed: Option<u64>,
}

/// What is decided for a certificate.
pub(crate) struct Checked {
    pub(crate) verdicts: Vec<Verdict>,
    /// The leaf's serial number and end, if it names anybody now.
    pub(crate) serial: String,
    pub(crate) expires_ms: u64,
}

/// Whom a certificate would name.
pub(crate) struct Verdict {
    /// What is removed by then, and when that is possible; none for now.
    pub(crate) without: Option<(String, u64)>,
    pub(crate) found: Result<String, String>,
}

impl Inner {
    /// The certificates of all authorities that are trusted now, DER.
    pub(crate) fn roots(&self) -> Result<Vec<Vec<u8>>, Error> {
        self.trust()?.value.trusted().map(der).collect()
    }

    /// The trusted roots as PEM.
    pub(crate) fn trust_pem(&self) -> Result<String, Error> {
        Ok(certificates_pem(self.roots()?.iter().map(Vec::as_slice)))
    }

    /// What the next step with an authority or a rule in this state is judged by, of those that are at `version`.
    pub(crate) fn judge_trust(&self, state: State, version: u64) -> Result<Judge, Error> {
        let mut windows =
            Windows { life_ms: millis(self.settings.lifetimes.certificate), ..self.settings.key_windows() };
        let evidence = match state {
            State::Pending => self.evidence(version, |word| word.versions.trust)?,
            // A certificate is handed out in a change that demands the authorities as they are, so none is of an
            // authority that has been superseded, whichever server was cut off.
            State::Overlap => {
                windows.stale_ms = 0;
                Evidence::default()
            }
            State::Active | State::Retired | State::Compromised => Evidence::default(),
        };
        Ok(Judge { windows, evidence, now_ms: self.now_ms() })
    }

    /// When something that certificates are judged by can be removed; 0 while it is active and so cannot.
    fn removable_ms<T: Rotates>(&self, item: &Item<T>, version: u64) -> Result<u64, Error> {
        let judge = self.judge_trust(item.state, version)?;
        Ok(match item.state {
            State::Overlap => item.next_step_ms(&judge.terms(Waive::Nothing)).unwrap_or_default(),
            State::Active => 0,
            State::Pending | State::Retired | State::Compromised => self.now_ms(),
        })
    }

    /// Whether the key is here with which the authority issues.
    pub(crate) fn has_authority_key(&self, root: &Item<Root>) -> Result<bool, Error> {
        let label = issuer::label(root.signer());
        self.records.exists(&key::sealed(label.kind, label.key))
    }

    /// Refuses to let an authority issue whose key is not here, or that has ended.
    pub(crate) fn check_may_issue(&self, root: &Item<Root>, step: Step) -> Result<(), Error> {
        if step != Step::Activate {
            return Ok(());
        }
        match self.has_authority_key(root)? {
            true => self.check_not_ended(root),
            false => {
                Err(Error::Precondition(format!("{} is trusted, but its key is not here: it cannot issue", root.id)))
            }
        }
    }

    /// The authority of `certificate` (DER), or a new one of the plane's own, and the change that trusts it. With
    /// `issuing` (DER) the plane issues below it. Somebody else's vouches for mapped names alone, unless it has `own_names`.
    pub(crate) fn new_root(
        &self,
        certificate: Option<Vec<u8>>,
        issuing: Option<&[u8]>,
        own_names: bool,
    ) -> Result<Added, Error> {
        let (certificate, own_key) = match certificate {
            Some(der) => (der, None),
            None => {
                let (authority, pkcs8) = self.new_authority()?;
                (authority.der().to_vec(), Some(pkcs8))
            }
        };
        let anchor = Anchor::parse(&certificate).map_err(|error| Error::Invalid(error.to_string()))?;
        if anchor.expires_ms <= self.now_ms() {
            return Err(Error::Invalid("the authority's certificate has ended".to_owned()));
        }
        let change = Change::new("iam.AuthorityAdd", format!("authority/{}", anchor.id));
        let (issuing, change) = match issuing {
            Some(_) if own_key.is_some() => {
                return Err(Error::Invalid("an issuing certificate stands below a root: give that, too".to_owned()));
            }
            Some(issuing) => {
                let (issuing, change) = self.take_into_use(change, &certificate, issuing, None)?;
                (Some(issuing), change)
            }
            None => (None, change),
        };
        let Versioned { value, revision } = &*self.trust()?;
        let mapped_only = own_key.is_none() && issuing.is_none() && !own_names;
        let root = Root { certificate: STANDARD.encode(&certificate), issuing, mapped_only };
        let next = Authorities { roots: value.roots.add(anchor.id.clone(), root, self.now_ms())? };
        let mut change = change.replace(key::AUTHORITIES.to_vec(), *revision, &next)?;
        if let Some(own_key) = own_key {
            change = self.seal(change, issuer::label(&anchor.id), &own_key)?;
        }
        Ok(Added { id: anchor.id, next, revision: *revision, change })
    }

    /// How many connections each server has said to have closed so far.
    pub(crate) fn closed_so_far(&self) -> Result<Vec<u64>, Error> {
        let servers = self.standings()?.into_iter().filter(|standing| standing.part == Part::Server);
        Ok(servers.map(|standing| standing.word.map_or(0, |word| word.closed)).collect())
    }

    /// Waits a moment until every server says that it enforces a change, and returns what each says.
    pub(crate) async fn enforced(
        &self,
        before: &[u64],
        covered: impl Fn(&Versions) -> bool,
    ) -> Result<Vec<Enforced>, Error> {
        let mut changes = self.records.store().changes();
        let patience = Instant::now() + PATIENCE;
        loop {
            changes.mark_unchanged();
            let servers = self.standings()?.into_iter().filter(|standing| standing.part == Part::Server);
            let said: Vec<_> = servers
                .zip(before)
                .map(|(standing, before)| {
                    let word = standing.word.filter(|word| covered(&word.versions));
                    Enforced { server: standing.name, closed: word.map(|word| word.closed.saturating_sub(*before)) }
                })
                .collect();
            let complete = said.iter().all(|server| server.closed.is_some());
            if complete || timeout_at(patience, changes.changed()).await.is_err() {
                return Ok(said);
            }
        }
    }
}

impl Iam {
    /// Trusts the authority of `certificate` (DER), or a new one of the plane's own. See [`Inner::new_root`].
    pub(crate) async fn add_root(
        &self,
        by: &Identity,
        certificate: Option<Vec<u8>>,
        issuing: Option<&[u8]>,
        own_names: bool,
        dry_run: bool,
    ) -> Result<Changed, Error> {
        let Added { id, next, revision, change } = self.0.new_root(certificate, issuing, own_names)?;
        if dry_run {
            return Ok(unchanged(Versioned { value: next, revision }, id, String::new()));
        }
        self.change_roots(by, change, next, id, String::new()).await
    }

    /// Takes `step` with the authority `id`. A step that is done already changes nothing.
    pub(crate) async fn step_root(
        &self,
        by: &Identity,
        id: &str,
        step: Step,
        options: StepOptions,
    ) -> Result<Changed, Error> {
        let (trust, stepped) = self
            .0
            .given_a_moment(|| {
                let trust = self.0.trust()?;
                trust.expect(options.expected_revision)?;
                let Some(root) = trust.value.roots.get(id) else {
                    return match step {
                        // Purging what is gone is done already.
                        Step::Purge => Ok((Arc::clone(&trust), None)),
                        Step::Activate | Step::Retire | Step::Compromise => {
                            Err(StepError::NotFound { noun: "certificate authority", id: id.to_owned() }.into())
                        }
                    };
                };
                self.0.check_may_issue(root, step)?;
                let judge = self.0.judge_trust(root.state, trust.revision)?;
                let (roots, breaks) = judge.step(&trust.value.roots, root, step, options.waive)?;
                Ok((Arc::clone(&trust), Some((Authorities { roots }, breaks))))
            })
            .await?;
        let (next, breaks) = stepped.unwrap_or_else(|| (trust.value.clone(), String::new()));
        if next == trust.value || options.dry_run {
            return Ok(unchanged(Versioned { value: next, revision: trust.revision }, id.to_owned(), breaks));
        }
        let change = root_change(&trust, &next, id, step)?;
        self.change_roots(by, change, next, id.to_owned(), breaks).await
    }

    pub(crate) async fn change_roots(
        &self,
        by: &Identity,
        change: Change,
        next: Authorities,
        id: String,
        breaks: String,
    ) -> Result<Changed, Error> {
        let before = self.0.closed_so_far()?;
        let revision = self.0.records.commit(by.origin(), change).await?;
        let enforced = self.0.enforced(&before, |versions| versions.trust >= revision).await?;
        Ok(Changed { authorities: Versioned { value: next, revision }, id, breaks, enforced })
    }

    /// Lets the certificate of this serial number count no more, whoever issued it.
    pub(crate) async fn deny(
        &self,
        by: &Identity,
        number: &str,
        reason: String,
    ) -> Result<(u64, Vec<Enforced>), Error> {
        let serial = known_serial(number)?;
        if reason.is_empty() || reason.chars().count() > MAX_REASON || reason.chars().any(char::is_control) {
            return Err(Error::Invalid(format!("give a reason of at most {MAX_REASON} printable characters")));
        }
        let denied = Denied { serial, reason, denied_ms: self.0.now_ms(), denied_by: by.principal.to_string() };
        let change = Change::new("iam.CertificateDeny", format!("certificate/{}", denied.serial));
        let change = change.put(key::denied(&denied.serial), &denied)?;
        let before = self.0.closed_so_far()?;
        let revision = self.0.records.commit(by.origin(), change).await?;
        Ok((revision, self.0.enforced(&before, |versions| versions.revocations >= revision).await?))
    }

    pub(crate) async fn allow(&self, by: &Identity, number: &str) -> Result<u64, Error> {
        let serial = known_serial(number)?;
        let at = key::denied(&serial);
        let Some(found) = self.0.records.get::<Denied>(&at)? else {
            return Err(Error::NotFound(format!("denied certificate {serial}")));
        };
        let change = Change::new("iam.CertificateAllow", format!("certificate/{serial}"));
        let change = change.expect(at.clone(), Expect::Revision(found.revision)).delete(at);
        self.0.records.commit(by.origin(), change).await
    }

    pub(crate) fn list_denied(&self, after: Option<&[u8]>, limit: usize) -> Result<Listing<Denied>, Error> {
        self.0.records.list(key::DENIED.as_bytes(), after, limit)
    }

    /// Whom a chain names now, after the removal of each authority that is trusted, and after that of each mapping rule
    /// without which it names somebody else, or nobody.
    pub(crate) fn check_certificate(&self, chain: &Chain) -> Result<Checked, Error> {
        let inner = &self.0;
        let text = |found: Result<String, PeerFault>| found.map_err(|fault| fault.to_string());
        let now = inner.verify_peer(chain)?;
        let (serial, expires_ms) =
            now.as_ref().map_or_else(|_| Default::default(), |peer| (peer.serial.clone(), peer.expires_ms));
        let found = now.map(|peer| peer.principal.to_string());
        let denied = found == Err(PeerFault::Denied);
        let mut verdicts = vec![Verdict { without: None, found: text(found.clone()) }];
        if denied {
            return Ok(Checked { verdicts, serial, expires_ms });
        }
        let (trust, mappings) = (inner.trust()?, inner.mappings()?);
        let would_be = |authorities: &Authorities, mappings: &Mappings| {
            let found = inner.judge_peer(chain, authorities, mappings)?;
            Ok::<_, Error>(found.map(|peer| peer.principal.to_string()))
        };
        for removed in trust.value.trusted() {
            let mut rest = trust.value.clone();
            rest.roots.items.retain(|root| root.id != removed.id);
            let possible_ms = inner.removable_ms(removed, trust.revision)?;
            let without = Some((removed.id.clone(), possible_ms));
            verdicts.push(Verdict { without, found: text(would_be(&rest, &mappings.value)?) });
        }
        for (mapped, rules) in &mappings.value.0 {
            for removed in rules.items.iter().filter(|rule| rule.state.verifies()) {
                let mut rest = mappings.value.clone();
                if let Some(rules) = rest.0.get_mut(mapped) {
                    rules.items.retain(|rule| rule.id != removed.id);
                }
                let then = would_be(&trust.value, &rest)?;
                if then != found {
                    let possible_ms = inner.removable_ms(removed, mappings.revision)?;
                    let without = Some((format!("{mapped} by {}", removed.id), possible_ms));
                    verdicts.push(Verdict { without, found: text(then) });
                }
            }
        }
        Ok(Checked { verdicts, serial, expires_ms })
    }

    pub(crate) fn authorities(&self) -> Result<Arc<Versioned<Authorities>>, Error> {
        self.0.trust()
    }
}

/// The change from `trust` to `next`, which is `trust` after `step`.
pub(crate) fn root_change(
    trust: &Versioned<Authorities>,
    next: &Authorities,
    id: &str,
    step: Step,
) -> Result<Change, Error> {
    let change = Change::new(root_action(step), format!("authority/{id}"));
    let change = change.replace(key::AUTHORITIES.to_vec(), trust.revision, next)?;
    Ok(match (step, trust.value.roots.get(id)) {
        (Step::Purge, Some(root)) => {
            let label = issuer::label(root.signer());
            change.delete(key::sealed(label.kind, label.key))
        }
        (Step::Purge | Step::Activate | Step::Retire | Step::Compromise, _) => change,
    })
}

/// As the history names a step.
pub(crate) fn root_action(step: Step) -> &'static str {
    match step {
        Step::Activate => "iam.AuthorityActivate",
        Step::Retire => "iam.AuthorityRemove",
        Step::Compromise => "iam.AuthorityDistrust",
        Step::Purge => "iam.AuthorityPurge",
    }
}

pub(crate) fn unchanged(authorities: Versioned<Authorities>, id: String, breaks: String) -> Changed {
    Changed { authorities, id, breaks, enforced: Vec::new() }
}

fn known_serial(text: &str) -> Result<String, Error> {
    serial(text).ok_or_else(|| Error::Invalid(format!("{text:?} is no serial number: hex, at most 20 bytes")))
}

pub(crate) fn der(root: &Item<Root>) -> Result<Vec<u8>, Error> {
    decoded(&root.value.certificate)
}

/// A stored certificate.
pub(crate) fn decoded(certificate: &str) -> Result<Vec<u8>, Error> {
    STANDARD.decode(certificate).map_err(|error| Error::Corrupt(format!("a stored certificate: {error}")))
}
