//! The enrollment log: who holds which certificate, one JSON object a line, append-only.
//!
//! Each line carries the digest of the line before it, so that a line that is changed, removed or moved later shows.

mod rebase;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{
    artifact::{ArtifactError, PublicKey, Signature, SigningKey, to_canonical},
    digest::Digest,
    finding::Mark,
    spiffe::SpiffeId,
};

pub use rebase::{RebaseError, Rebased};

/// The log's place in a repository.
pub const FILE: &str = "enrollment.log";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// From 1, without gaps.
    pub seq: u64,
    #[serde(with = "time::serde::rfc3339")]
    pub ts: OffsetDateTime,
    pub event: Kind,
    pub spiffe_id: SpiffeId,
    /// SHA-256 of the certificate's DER form; for node enrolments that another authority signed, of the public key.
    pub fingerprint_sha256: Digest,
    pub serial: String,
    #[serde(with = "time::serde::rfc3339")]
    pub not_after: OffsetDateTime,
    /// Who did it.
    pub operator: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Digest of the line before, without its newline; absent in the first line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev: Option<Digest>,
    /// Of the signer who vouches for the line, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Sign,
    Revoke,
}

/// What is new in an event; the log itself adds number and chain.
#[derive(Clone, Debug)]
pub struct Entry {
    pub ts: OffsetDateTime,
    pub event: Kind,
    pub spiffe_id: SpiffeId,
    pub fingerprint_sha256: Digest,
    pub serial: String,
    pub not_after: OffsetDateTime,
    pub operator: String,
    pub reason: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Log {
    events: Vec<Event>,
    last_line: Option<Digest>,
}

impl Log {
    /// Reads every line that can be read, and says what is wrong with the others and with the chain.
    pub fn parse(bytes: &[u8]) -> (Self, Vec<(Mark, String)>) {
        let mut log = Self::default();
        let mut broken = Vec::new();
        for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
            if line.is_empty() {
                continue;
            }
            let at = Mark { line: number, column: 1 };
            match serde_json::from_slice::<Event>(line) {
                Ok(event) => {
                    let expected = log.events.last().map_or(0, |last| last.seq).saturating_add(1);
                    if event.seq != expected {
                        broken.push((
                            at,
                            format!("seq is {}, expected {expected}: lines are missing or moved", event.seq),
                        ));
                    }
                    if event.prev != log.last_line {
                        let message = "prev does not match the line before: the log was changed, or two sides were \
                            merged (`florctl enrollment rebase` makes them one chain)";
                        broken.push((at, message.to_owned()));
                    }
                    log.events.push(event);
                }
                Err(error) => broken.push((at, format!("not an event: {error}"))),
            }
            log.last_line = Some(Digest::of(line));
        }
        (log, broken)
    }

    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Adds `entry` and returns its line, with the newline, for the end of the file.
    pub fn append(&mut self, entry: Entry) -> Result<String, serde_json::Error> {
        self.add(self.event(entry))
    }

    /// The same with a signature of `key`.
    pub fn append_signed(&mut self, entry: Entry, key: &SigningKey) -> Result<String, ArtifactError> {
        let event = self.event(entry);
        let signature = Some(key.sign(&to_canonical(&event)?));
        self.add(Event { signature, ..event }).map_err(|error| ArtifactError::Malformed(error.to_string()))
    }

    fn event(&self, entry: Entry) -> Event {
        Event {
            seq: self.events.last().map_or(0, |last| last.seq).saturating_add(1),
            ts: whole_seconds(entry.ts),
            event: entry.event,
            spiffe_id: entry.spiffe_id,
            fingerprint_sha256: entry.fingerprint_sha256,
            serial: entry.serial,
            not_after: whole_seconds(entry.not_after),
            operator: entry.operator,
            reason: entry.reason,
            prev: self.last_line,
            signature: None,
        }
    }

    fn add(&mut self, event: Event) -> Result<String, serde_json::Error> {
        let line = serde_json::to_string(&event)?;
        self.last_line = Some(Digest::of(line.as_bytes()));
        self.events.push(event);
        Ok(line + "\n")
    }

    /// The newest certificate of `id` that is not revoked.
    pub fn valid(&self, id: &SpiffeId) -> Option<&Event> {
        self.unrevoked(id).pop()
    }

    /// The one of them that lasts longest: a certificate from the servers, which lasts a day, ends nothing.
    pub fn lasting(&self, id: &SpiffeId) -> Option<&Event> {
        self.unrevoked(id).into_iter().max_by_key(|event| event.not_after)
    }

    fn unrevoked(&self, id: &SpiffeId) -> Vec<&Event> {
        let mut valid: Vec<&Event> = Vec::new();
        for event in self.events.iter().filter(|event| event.spiffe_id == *id) {
            match event.event {
                Kind::Sign => valid.push(event),
                Kind::Revoke => valid.retain(|signed| signed.fingerprint_sha256 != event.fingerprint_sha256),
            }
        }
        valid
    }

    /// Whether `id` had certificates and none of them counts any more: somebody else may have the key.
    pub fn is_revoked(&self, id: &SpiffeId) -> bool {
        self.events.iter().any(|event| event.spiffe_id == *id) && self.valid(id).is_none()
    }

    /// What was said last about this certificate.
    pub fn last(&self, fingerprint: &Digest) -> Option<&Event> {
        self.events.iter().rfind(|event| event.fingerprint_sha256 == *fingerprint)
    }
}

impl Event {
    /// Whether its signature is this key's.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        let Some(signature) = &self.signature else { return false };
        let unsigned = Self { signature: None, ..self.clone() };
        to_canonical(&unsigned).is_ok_and(|bytes| key.verify(&bytes, signature))
    }
}

fn whole_seconds(at: OffsetDateTime) -> OffsetDateTime {
    let at = at.to_offset(time::UtcOffset::UTC);
    at.replace_nanosecond(0).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn entry(event: Kind, id: &str, certificate: &[u8]) -> Entry {
        Entry {
            ts: datetime!(2026-01-05 08:00:00.5 UTC),
            event,
            spiffe_id: id.parse().unwrap(),
            fingerprint_sha256: Digest::of(certificate),
            serial: "01".into(),
            not_after: datetime!(2026-04-05 08:00 UTC),
            operator: "mira".into(),
            reason: None,
        }
    }

    fn log() -> String {
        let mut log = Log::default();
        let mut text = String::new();
        text += &log.append(entry(Kind::Sign, "spiffe://quay.test/user/mira", b"1")).unwrap();
        text += &log.append(entry(Kind::Sign, "spiffe://quay.test/user/mira", b"2")).unwrap();
        text += &log.append(entry(Kind::Revoke, "spiffe://quay.test/user/mira", b"2")).unwrap();
        text
    }

    #[test]
    fn a_revocation_ends_one_certificate() {
        let (mut log, broken) = Log::parse(log().as_bytes());
        assert_eq!(broken, []);
        let mira = "spiffe://quay.test/user/mira".parse().unwrap();
        assert_eq!(log.valid(&mira).unwrap().fingerprint_sha256, Digest::of(b"1"));
        assert!(!log.is_revoked(&mira), "one counts");
        log.append(entry(Kind::Revoke, "spiffe://quay.test/user/mira", b"1")).unwrap();
        assert_eq!(log.valid(&mira), None);
        assert!(log.is_revoked(&mira));
        assert!(!log.is_revoked(&"spiffe://quay.test/user/tomas".parse().unwrap()), "who never had one");
    }

    #[test]
    fn a_signer_vouches_for_a_line() {
        let key = || {
            let pem = iam_ca::PrivateKey::generate(iam_ca::KeyAlgorithm::Ed25519).unwrap().pem();
            SigningKey::from_pem("spiffe://quay.test/management-plane/primary".parse().unwrap(), &pem).unwrap()
        };
        let (signer, other) = (key(), key());
        let mut log = Log::default();
        let line = log.append_signed(entry(Kind::Sign, "spiffe://quay.test/user/mira", b"1"), &signer).unwrap();
        let (read, broken) = Log::parse(line.as_bytes());
        assert_eq!((read.events(), broken), (log.events(), vec![]));
        let event = &read.events()[0];
        assert!(event.is_signed_by(&signer.public_key().unwrap()) && !event.is_signed_by(&other.public_key().unwrap()));
        let changed = Event { operator: "tomas".into(), ..event.clone() };
        assert!(!changed.is_signed_by(&signer.public_key().unwrap()));
    }

    #[test]
    fn every_tampering_shows() {
        let text = log();
        let lines: Vec<&str> = text.lines().collect();
        let changed = text.replacen("mira\",\"prev", "tomas\",\"prev", 1);
        assert_ne!(changed, text);
        for (what, tampered) in [
            ("changed", changed),
            ("removed", format!("{}\n{}\n", lines[0], lines[2])),
            ("swapped", format!("{}\n{}\n{}\n", lines[1], lines[0], lines[2])),
            ("garbage", format!("{}\nx\n{}\n", lines[0], lines[1])),
        ] {
            let (_, broken) = Log::parse(tampered.as_bytes());
            assert!(!broken.is_empty(), "{what}");
        }
    }
}
