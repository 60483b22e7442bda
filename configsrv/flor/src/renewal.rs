//! The next certificate: while the daemon runs, it asks for one when two thirds of the life of the one it has are over.

use std::{
    cmp::min,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use configsrv_fleet::pki::Certificate;
use holdfast_proto::iam::EnrollResponse;
use holdfast_service::Stop;
use rcgen::KeyPair;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use crate::{
    Error, certificate,
    chance::chance,
    cluster::Cluster,
    disk::{Attributes, Disk, RealDisk, save},
    home::Layout,
    server::{Credentials, HttpServer},
    trouble::Trouble,
    trust::Trust,
};

/// How often the certificate is looked at, however long it is still good: somebody may enrol again, and a machine that
/// slept wakes with another time.
const LOOK: Duration = Duration::from_secs(600);
/// How soon after a renewal the next may come, whatever the certificate says.
const PAUSE: Duration = Duration::from_secs(60);
/// After the first failure; doubled with each further one.
const FIRST_RETRY: Duration = Duration::from_secs(15);

pub(crate) struct Renewal {
    cluster: Cluster,
    layout: Layout,
    server: HttpServer,
    /// Why it failed, if it failed last.
    trouble: Trouble,
}

/// The certificate by which the servers know this node. The data plane has others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeCertificate {
    pub spiffe_id: String,
    pub until_ms: u64,
    /// Nothing renews it any more.
    pub ended: bool,
    /// Why the daemon has not renewed it, if it tried.
    #[serde(default)]
    pub not_renewed: Option<String>,
}

impl NodeCertificate {
    /// The one on disk; `None` on a node that the servers have not given one yet.
    pub(crate) fn load(
        disk: &dyn Disk,
        layout: &Layout,
        cluster: &Cluster,
        now_ms: u64,
    ) -> Result<Option<Self>, Error> {
        let credentials = Credentials::load(disk, layout, cluster)?;
        let Some(identity) = credentials.identity() else { return Ok(None) };
        let leaf = leaf_of(&identity.chain)?;
        let until_ms = u64::try_from(leaf.not_after.unix_timestamp()).unwrap_or_default().saturating_mul(1000);
        let spiffe_id = cluster.spiffe_id().to_string();
        Ok(Some(Self { spiffe_id, until_ms, ended: until_ms <= now_ms, not_renewed: None }))
    }
}

impl Renewal {
    pub(crate) fn new(cluster: Cluster, layout: Layout, server: HttpServer) -> Self {
        Self { cluster, layout, server, trouble: Trouble::default() }
    }

    /// Why the certificate is not renewed, at any time.
    pub(crate) fn trouble(&self) -> Trouble {
        self.trouble.clone()
    }

    pub(crate) async fn run(self, stop: Stop) {
        let mut failures = 0;
        loop {
            let wait = match self.pass().await {
                Ok(wait) => {
                    failures = 0;
                    self.trouble.set(None);
                    wait
                }
                Err(error) => {
                    failures += 1;
                    self.trouble.set(Some(error.to_string()));
                    let wait = back_off(failures, chance());
                    tracing::warn!(%error, again_in_s = wait.as_secs(), "this node's certificate is not renewed yet");
                    wait
                }
            };
            tokio::select! {
                () = stop.requested() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Renews if it is time; says when to look again.
    async fn pass(&self) -> Result<Duration, Error> {
        let credentials = Credentials::load(&RealDisk, &self.layout, &self.cluster)?;
        let Some(identity) = credentials.identity() else { return Ok(LOOK) };
        let leaf = leaf_of(&identity.chain)?;
        let left = until_due(&leaf, now_s());
        if !left.is_zero() {
            return Ok(min(left, LOOK));
        }
        // The key stays: then the certificate is the only file to replace, and there is no moment without a pair.
        let key = KeyPair::try_from(identity.key()).map_err(|error| Error::Unexpected(error.to_string()))?;
        let answer = self.server.renew(certificate::request(&key)?).await.map_err(|error| over(&leaf, error))?;
        let before = Trust::load(&RealDisk, &self.layout)?;
        let bundle = self.believed_bundle(&answer, &before);
        let during = before.with(&bundle);
        let renewed = check(&answer, &leaf, &during.roots)?;
        let chain = certificates(&answer.certificate_chain);
        let pem: String = chain.iter().map(|der| certificate::pem(der)).collect();
        // Used once before it takes the place of one that works.
        self.server.try_out(credentials.with(chain, during.roots.clone())).await?;
        // The authorities first: there is no moment with a certificate whose authority this node does not know.
        during.save(&before, &RealDisk, &self.layout)?;
        let path = self.layout.certificate(self.cluster.node.as_str());
        save(&RealDisk, &path, pem.as_bytes(), Attributes::PUBLIC).map_err(|error| Error::file(&path, &error))?;
        if !bundle.is_empty() {
            during.without_dropped(&bundle).save(&during, &RealDisk, &self.layout)?;
        }
        tracing::info!(serial = renewed.serial, good_until = %renewed.not_after, "this node's certificate is renewed");
        Ok(until_due(&renewed, now_s()).clamp(PAUSE, LOOK))
    }

    /// The authorities that came with an answer, if they are to be believed: who reaches a server without TLS does not
    /// know who answered.
    fn believed_bundle(&self, answer: &EnrollResponse, before: &Trust) -> Vec<CertificateDer<'static>> {
        let secure = self.cluster.api.iter().all(|url| url.starts_with("https://"));
        let bundle = certificates(&answer.ca_bundle);
        let chain: Vec<&[u8]> = answer.certificate_chain.iter().map(AsRef::as_ref).collect();
        if secure && before.believes(&bundle, &chain) { bundle } else { Vec::new() }
    }
}

fn leaf_of(chain: &[CertificateDer<'_>]) -> Result<Certificate, Error> {
    let leaf = chain.first().ok_or_else(|| Error::Unexpected("the node's certificate is empty".into()))?;
    Certificate::from_der(leaf).map_err(|error| Error::Unexpected(error.to_string()))
}

fn certificates(list: &[Bytes]) -> Vec<CertificateDer<'static>> {
    list.iter().map(|der| CertificateDer::from(der.to_vec())).collect()
}

/// The new certificate, if it says the same of the same key, and no shorter, and an authority says so that this node trusts.
fn check(answer: &EnrollResponse, before: &Certificate, roots: &[CertificateDer<'_>]) -> Result<Certificate, Error> {
    let untrusted = |why: &str| Error::Untrusted(format!("the renewed certificate is not believed: {why}"));
    let chain: Vec<&[u8]> = answer.certificate_chain.iter().map(AsRef::as_ref).collect();
    let roots: Vec<&[u8]> = roots.iter().map(AsRef::as_ref).collect();
    let leaf = chain.first().ok_or_else(|| untrusted("the answer is empty"))?;
    let leaf = Certificate::from_der(leaf).map_err(|_| untrusted("no certificate"))?;
    if let Err(fault) = iam_ca::leads_to(&chain, &roots) {
        return Err(untrusted(&format!("its chain does not lead to an authority in ca.crt: {fault}")));
    }
    if leaf.uri != before.uri {
        return Err(untrusted("it names somebody else"));
    }
    if leaf.public_key.is_none() || leaf.public_key != before.public_key {
        return Err(untrusted("it is for another key"));
    }
    if leaf.not_after < before.not_after {
        return Err(untrusted("it ends before the one that it replaces"));
    }
    Ok(leaf)
}

/// An error that only a person can help with says so.
fn over(certificate: &Certificate, error: Error) -> Error {
    if certificate.not_after.unix_timestamp() > i64::try_from(now_s()).unwrap_or(i64::MAX) {
        return error;
    }
    Error::State(format!(
        "it ended at {}: enrol this machine again, with a new join token ({error})",
        certificate.not_after
    ))
}

/// How long a certificate is good enough.
fn until_due(certificate: &Certificate, now_s: u64) -> Duration {
    let seconds = |time: i64| u64::try_from(time).unwrap_or_default();
    let (from, until) =
        (seconds(certificate.not_before.unix_timestamp()), seconds(certificate.not_after.unix_timestamp()));
    let due = from.saturating_add(until.saturating_sub(from) / 3 * 2);
    Duration::from_secs(due.saturating_sub(now_s))
}

/// Twice as long with each failure, up to [`LOOK`], and by chance up to a half shorter: a fleet that lost its servers
/// does not come back at once.
fn back_off(failures: u32, chance: f64) -> Duration {
    let doubled = FIRST_RETRY.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    min(doubled, LOOK).mul_f64(1.0 - chance / 2.0)
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use configsrv_fleet::ca::Authority;
    use iam_ca::{KeyAlgorithm, PrivateKey};
    use time::{OffsetDateTime, macros::datetime};

    use super::*;
    use crate::disk::forgetful::ForgetfulDisk;

    const NOW: OffsetDateTime = datetime!(2024-01-05 08:00 UTC);

    fn authority() -> Authority {
        Authority::create(&"quay.test".parse().unwrap(), NOW, 36500).unwrap().0
    }

    fn new_key() -> KeyPair {
        KeyPair::from_pem(&PrivateKey::generate(KeyAlgorithm::Ed25519).unwrap().pem()).unwrap()
    }

    fn certify(authority: &Authority, key: &KeyPair, name: &str, days: u32) -> Certificate {
        let request = rcgen::CertificateParams::default().serialize_request(key).unwrap().pem().unwrap();
        authority.sign(&request, &name.parse().unwrap(), NOW, days).unwrap().1
    }

    #[test]
    fn a_third_of_its_life_is_left_to_renew_in() {
        // Its life begins five minutes before its issue.
        let leaf = certify(&authority(), &new_key(), "node/pier2", 1);
        let issued = u64::try_from(NOW.unix_timestamp()).unwrap();
        let due = 24 * 3600 / 3 * 2 - 100;
        assert_eq!(until_due(&leaf, issued), Duration::from_secs(due));
        assert_eq!(until_due(&leaf, issued + due - 1), Duration::from_secs(1));
        assert_eq!(until_due(&leaf, issued + due), Duration::ZERO);
        assert_eq!(until_due(&leaf, u64::MAX), Duration::ZERO);
    }

    #[test]
    fn whoever_reads_of_an_ended_certificate_knows_what_to_do() {
        let (authority, key) = (authority(), new_key());
        let refused = || Error::Untrusted("refused".to_owned());
        let ended = over(&certify(&authority, &key, "node/pier2", 1), refused());
        assert!(ended.to_string().contains("enrol this machine again, with a new join token (refused)"), "{ended}");
        assert_eq!(over(&certify(&authority, &key, "node/pier2", 36500), refused()), refused());
    }

    #[test]
    fn the_certificate_on_disk_is_shown_with_its_end() {
        let (disk, layout) = (ForgetfulDisk::default(), Layout::at("/node"));
        let cluster = Cluster {
            cluster: "quay.test".parse().unwrap(),
            node: "pier2".parse().unwrap(),
            urls: Vec::new(),
            api: Vec::new(),
            signers: Vec::new(),
        };
        let shown = |now_ms| NodeCertificate::load(&disk, &layout, &cluster, now_ms).unwrap();
        assert_eq!(shown(0), None);
        let key = new_key();
        let leaf = certify(&authority(), &key, "node/pier2", 1);
        disk.plant("/node/certs/pier2.crt", certificate::pem(leaf.der()).as_bytes());
        disk.plant("/node/certs/pier2.key", key.serialize_pem().as_bytes());
        let until_ms = u64::try_from(leaf.not_after.unix_timestamp()).unwrap() * 1000;
        let good = shown(until_ms - 1).unwrap();
        assert_eq!((good.spiffe_id.as_str(), good.until_ms), ("spiffe://quay.test/node/pier2", until_ms));
        assert!(!good.ended && shown(until_ms).unwrap().ended);
    }

    #[test]
    fn failures_wait_longer_and_not_all_alike() {
        let waits: Vec<u64> = (1..9).map(|failures| back_off(failures, 0.0).as_secs()).collect();
        assert_eq!(waits, [15, 30, 60, 120, 240, 480, 600, 600]);
        assert_eq!(back_off(u32::MAX, 0.0), LOOK);
        assert_eq!(back_off(1, 1.0), FIRST_RETRY / 2);
        assert!((0.0..=1.0).contains(&chance()));
    }

    #[test]
    fn a_renewed_certificate_says_the_same_of_the_same_key() {
        let (ours, other) = (authority(), authority());
        let (key, foreign) = (new_key(), new_key());
        let before = certify(&ours, &key, "node/pier2", 10);
        let roots = [CertificateDer::from(ours.certificate().der())];
        let judge = |chain: &[Vec<u8>]| {
            let chain = chain.iter().map(|der| der.clone().into()).collect();
            check(&EnrollResponse { certificate_chain: chain, ..EnrollResponse::default() }, &before, &roots)
        };
        let der = |authority: &Authority, key: &KeyPair, name: &str, days: u32| {
            certify(authority, key, name, days).der().to_vec()
        };
        let good = der(&ours, &key, "node/pier2", 11);
        assert_eq!(judge(std::slice::from_ref(&good)).unwrap().der(), good);
        for (what, chain) in [
            ("another authority", vec![der(&other, &key, "node/pier2", 11)]),
            (
                "another authority, which it brings along",
                vec![der(&other, &key, "node/pier2", 11), other.certificate().der().to_vec()],
            ),
            ("another key", vec![der(&ours, &foreign, "node/pier2", 11)]),
            ("another node", vec![der(&ours, &key, "node/pier3", 11)]),
            ("a shorter life", vec![der(&ours, &key, "node/pier2", 9)]),
            ("no certificate", vec![b"x".to_vec()]),
            ("nothing", vec![]),
        ] {
            assert!(matches!(judge(&chain), Err(Error::Untrusted(_))), "{what}");
        }
    }
}
