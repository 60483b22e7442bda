use std::collections::{BTreeMap, BTreeSet};

use configsrv_fleet::{
    ClusterName, SealedRevocations, Sequence, Signer, SpiffeId, Version, revocation::RevocationError,
};
use serde::{Deserialize, Serialize};

use crate::Error;

/// What this node knows of the lane. Its sequence is the high-water mark.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LaneRecord {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<Taken>,
    /// Those of earlier envelopes whom later ones do not mention any more: they stay subtracted below this version.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub carried: BTreeMap<SpiffeId, Version>,
    /// What was refused last, until something is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedLane>,
}

/// An envelope that counts here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Taken {
    /// The exact bytes that were signed.
    pub envelope: String,
    pub at_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RefusedLane {
    pub reason: String,
    pub at_ms: u64,
}

impl LaneRecord {
    /// The envelope that counts.
    pub(crate) fn sealed(&self) -> Result<Option<SealedRevocations>, Error> {
        let sealed = self.taken.as_ref().map(|taken| SealedRevocations::parse(taken.envelope.as_bytes())).transpose();
        sealed.map_err(|error| Error::Unexpected(format!("the revocations that were written down: {error}")))
    }

    pub(crate) fn sequence(&self) -> Result<Sequence, Error> {
        Ok(self.sealed()?.map_or(Sequence::NONE, |sealed| sealed.revocations().sequence))
    }

    /// Who is subtracted while the node cannot go back behind `confirmed`.
    pub(crate) fn effective(&self, confirmed: Version) -> Result<BTreeSet<SpiffeId>, Error> {
        let mut ids = self.sealed()?.map(|sealed| sealed.revocations().effective(confirmed)).unwrap_or_default();
        ids.extend(self.carried.iter().filter(|(_, until)| confirmed < **until).map(|(id, _)| id.clone()));
        Ok(ids)
    }

    /// The record after `bytes`, if they may follow; `None` if they are what counts already.
    pub(crate) fn after(
        &self,
        bytes: &[u8],
        cluster: &ClusterName,
        signers: &[Signer],
        confirmed: Version,
        now_ms: u64,
    ) -> Result<Option<Self>, Error> {
        let next = SealedRevocations::parse(bytes)?;
        next.verify(cluster, signers)?;
        let previous = self.sealed()?;
        let (offered, known) = (next.revocations(), previous.as_ref().map(SealedRevocations::revocations));
        match known {
            Some(known) if offered.sequence < known.sequence => {
                let known = known.sequence;
                return Err(RevocationError::GoesBack { known, offered: offered.sequence }.into());
            }
            Some(known) if offered.sequence == known.sequence => {
                return match previous.as_ref().is_some_and(|previous| previous.bytes() == next.bytes()) {
                    true => Ok(None),
                    false => Err(RevocationError::SameSequence(known.sequence).into()),
                };
            }
            Some(_) | None => {}
        }
        // The servers let somebody go when all nodes have confirmed a version without them; this one may have missed what
        // lay between, so it waits for the version that it knows them to be gone from.
        let mut carried = self.carried.clone();
        if let Some(known) = known {
            let all = known.revoked.iter().map(|id| (id, offered.base_version));
            let settled = known.settled.iter().map(|(id, until)| (id, *until));
            carried.extend(all.chain(settled).map(|(id, until)| (id.clone(), until)));
        }
        let named = |id: &SpiffeId| offered.revoked.contains(id) || offered.settled.contains_key(id);
        carried.retain(|id, until| !named(id) && confirmed < *until);
        let envelope =
            String::from_utf8(next.bytes().to_vec()).map_err(|error| Error::Unexpected(error.to_string()))?;
        Ok(Some(Self { taken: Some(Taken { envelope, at_ms: now_ms }), carried, refused: None }))
    }
}

#[cfg(test)]
mod tests {
    use configsrv_fleet::{Revocations, SigningKey};
    use time::OffsetDateTime;

    use super::*;

    struct Case {
        cluster: ClusterName,
        key: SigningKey,
        signers: Vec<Signer>,
    }

    impl Case {
        fn new() -> Self {
            let pem = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
            let key = SigningKey::from_pem(id("management-plane/primary"), &pem).unwrap();
            let signers = vec![Signer { spiffe_id: key.id().clone(), pubkey: key.public_key().unwrap() }];
            Self { cluster: "quay.test".parse().unwrap(), key, signers }
        }

        fn envelope(&self, sequence: u64, base: u64, revoked: &[&str]) -> Revocations {
            let now = OffsetDateTime::UNIX_EPOCH;
            let mut made = Revocations::following(None, &self.cluster, version(base), now, "stolen".into()).unwrap();
            made.sequence = Sequence::new(sequence).unwrap();
            revoked.iter().for_each(|text| made.revoke(id(text)));
            made
        }

        fn take(&self, record: &LaneRecord, revocations: Revocations) -> Result<Option<LaneRecord>, Error> {
            let sealed = revocations.seal(&self.key).unwrap();
            record.after(sealed.bytes(), &self.cluster, &self.signers, version(1), 7)
        }
    }

    fn id(text: &str) -> SpiffeId {
        format!("spiffe://quay.test/{text}").parse().unwrap()
    }

    fn version(number: u64) -> Version {
        Version::new(number).unwrap()
    }

    fn ids(texts: &[&str]) -> BTreeSet<SpiffeId> {
        texts.iter().map(|text| id(text)).collect()
    }

    #[test]
    fn only_what_is_newer_and_signed_is_taken() {
        let case = Case::new();
        let second = case.take(&LaneRecord::default(), case.envelope(2, 1, &["user/tomas"])).unwrap().unwrap();
        assert_eq!(second.sequence().unwrap().get(), 2);
        assert_eq!(case.take(&second, case.envelope(2, 1, &["user/tomas"])), Ok(None));
        for (sequence, who) in [(2, "user/ada"), (1, "user/tomas")] {
            let refused = case.take(&second, case.envelope(sequence, 1, &[who]));
            assert!(matches!(refused, Err(Error::Replay(_))), "{sequence} {who}: {refused:?}");
        }
        let stranger = Case::new().envelope(3, 1, &["user/tomas"]).seal(&Case::new().key).unwrap();
        let foreign = second.after(stranger.bytes(), &case.cluster, &case.signers, version(1), 7);
        assert!(matches!(foreign, Err(Error::Untrusted(_))), "{foreign:?}");
        let nobody = second.after(stranger.bytes(), &case.cluster, &[], version(1), 7);
        assert!(matches!(nobody, Err(Error::Untrusted(_))), "{nobody:?}");
        assert!(case.take(&second, case.envelope(9, 1, &["user/tomas"])).unwrap().is_some(), "gaps are no harm");
    }

    #[test]
    fn whoever_is_left_out_stays_out_of_the_versions_before() {
        let case = Case::new();
        let mut record = LaneRecord::default();
        for revocations in [case.envelope(1, 1, &["user/ada", "user/tomas"]), case.envelope(5, 9, &["user/tomas"])] {
            record = case.take(&record, revocations).unwrap().unwrap();
        }
        assert_eq!(record.effective(version(8)), Ok(ids(&["user/ada", "user/tomas"])));
        assert_eq!(record.effective(version(9)), Ok(ids(&["user/tomas"])));
        // A later one that does not mention them, either, changes nothing about it.
        record = case.take(&record, case.envelope(6, 12, &["user/tomas"])).unwrap().unwrap();
        assert_eq!(record.effective(version(8)), Ok(ids(&["user/ada", "user/tomas"])));
        assert_eq!(record.effective(version(9)), Ok(ids(&["user/tomas"])));
        // What this node cannot go back behind is not written down any longer.
        let later = case.envelope(7, 12, &["user/tomas"]).seal(&case.key).unwrap();
        let later = record.after(later.bytes(), &case.cluster, &case.signers, version(9), 7).unwrap().unwrap();
        assert!(later.carried.is_empty());
        // Named again, it is the envelope that counts.
        record = case.take(&record, case.envelope(7, 12, &["user/ada"])).unwrap().unwrap();
        assert_eq!(record.effective(version(11)), Ok(ids(&["user/ada", "user/tomas"])));
        assert_eq!(record.effective(version(12)), Ok(ids(&["user/ada"])));
    }

    /// The release that brought the lane wrote this; every later release must read it.
    #[test]
    fn the_first_release_still_reads() {
        let text = r#"{"taken":{"envelope":"{}","at_ms":1},"carried":{"spiffe://quay.test/user/ada":9},
            "refused":{"reason":"r","at_ms":2}}"#;
        let record: LaneRecord = serde_json::from_str(text).unwrap();
        assert_eq!(record.carried[&id("user/ada")], version(9));
        assert_eq!(serde_json::from_str::<LaneRecord>("{}").unwrap(), LaneRecord::default());
    }
}
