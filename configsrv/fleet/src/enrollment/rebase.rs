//! Two operators who append to the same line make two chains, of which a merge keeps all lines. Those of the second chain get
//! new numbers behind the first. That hides nothing: a line whose predecessor is missing is refused, and so is one whose
//! signature is wrong.

use std::collections::BTreeMap;

use crate::{
    artifact::{ArtifactError, Signer, SigningKey, to_canonical},
    digest::Digest,
};

use super::{Event, Log};

/// How Git's lines between the sides of a conflict begin.
const MARKS: [&[u8]; 4] = [b"<<<<<<<", b"|||||||", b"=======", b">>>>>>>"];

/// A log of two sides in one chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebased {
    /// All of it: first the lines that fit, byte for byte, then the others.
    pub text: String,
    /// Those that have new numbers.
    pub moved: Vec<Event>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RebaseError {
    #[error("line {line} is not an event: {reason}")]
    NotAnEvent { line: usize, reason: String },
    #[error("line {line} follows one that is not before it: lines were changed, removed or moved, which no merge does")]
    Orphan { line: usize },
    #[error("line {line} is signed, and not by a signer of cluster.yaml")]
    Untrusted { line: usize },
    #[error("line {line} is signed, and a line with a new number needs a new signature")]
    NoKey { line: usize },
    #[error("a line cannot be written: {0}")]
    Unwritable(String),
}

impl From<ArtifactError> for RebaseError {
    fn from(error: ArtifactError) -> Self {
        Self::Unwritable(error.to_string())
    }
}

impl From<serde_json::Error> for RebaseError {
    fn from(error: serde_json::Error) -> Self {
        Self::Unwritable(error.to_string())
    }
}

impl Log {
    /// Puts what another side appended behind what this one did. Lines that one of `signers` signed are signed by `key` anew.
    pub fn rebase(bytes: &[u8], signers: &[Signer], key: Option<&SigningKey>) -> Result<Rebased, RebaseError> {
        let mut log = Self::default();
        let (mut text, mut others) = (String::new(), Vec::new());
        // Each line's number in the chain that it came with.
        let mut seen: BTreeMap<Digest, u64> = BTreeMap::new();
        for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
            let digest = Digest::of(line);
            // What both sides have is one line.
            if line.is_empty() || MARKS.iter().any(|mark| line.starts_with(mark)) || seen.contains_key(&digest) {
                continue;
            }
            let event: Event = serde_json::from_slice(line)
                .map_err(|error| RebaseError::NotAnEvent { line: number, reason: error.to_string() })?;
            let before = event.prev.map_or(Some(0), |prev| seen.get(&prev).copied());
            if before.is_none() || before != event.seq.checked_sub(1) {
                return Err(RebaseError::Orphan { line: number });
            }
            seen.insert(digest, event.seq);
            if event.prev == log.last_line {
                text.push_str(&String::from_utf8_lossy(line));
                text.push('\n');
                log.last_line = Some(digest);
                log.events.push(event);
            } else {
                others.push((number, event));
            }
        }
        let mut moved = Vec::new();
        for (line, event) in others {
            let event = log.renumbered(line, event, signers, key)?;
            text += &log.add(event.clone())?;
            moved.push(event);
        }
        Ok(Rebased { text, moved })
    }

    fn renumbered(
        &self,
        line: usize,
        event: Event,
        signers: &[Signer],
        key: Option<&SigningKey>,
    ) -> Result<Event, RebaseError> {
        let signature = event.signature.clone();
        let renumbered = |event: Event| Event {
            seq: self.events.last().map_or(0, |last| last.seq).saturating_add(1),
            prev: self.last_line,
            signature: None,
            ..event
        };
        let Some(signature) = signature else { return Ok(renumbered(event)) };
        let trusted = signers.iter().find(|signer| signer.spiffe_id == signature.key_id);
        if trusted.is_none_or(|signer| !event.is_signed_by(&signer.pubkey)) {
            return Err(RebaseError::Untrusted { line });
        }
        let key = key.ok_or(RebaseError::NoKey { line })?;
        let event = renumbered(event);
        Ok(Event { signature: Some(key.sign(&to_canonical(&event)?)), ..event })
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::enrollment::{Entry, Kind};

    fn entry(user: &str) -> Entry {
        Entry {
            ts: datetime!(2026-01-05 08:00 UTC),
            event: Kind::Sign,
            spiffe_id: format!("spiffe://quay.test/user/{user}").parse().unwrap(),
            fingerprint_sha256: Digest::of(user.as_bytes()),
            serial: "01".into(),
            not_after: datetime!(2026-04-05 08:00 UTC),
            operator: "mira".into(),
            reason: None,
        }
    }

    fn lines(log: &mut Log, users: &[&str]) -> String {
        users.iter().map(|user| log.append(entry(user)).unwrap()).collect()
    }

    /// What both sides had, and what each added.
    fn sides() -> (String, String, String) {
        let mut log = Log::default();
        let base = lines(&mut log, &["mira", "tomas"]);
        let ours = lines(&mut log.clone(), &["timo", "ada"]);
        (base, ours, lines(&mut log, &["zoe", "ben"]))
    }

    fn users(log: &Log) -> Vec<String> {
        log.events().iter().map(|event| event.spiffe_id.subject().to_string()).collect()
    }

    #[test]
    fn both_sides_lines_end_in_one_chain() {
        let (base, ours, theirs) = sides();
        let conflict = format!("{base}<<<<<<< HEAD\n{ours}=======\n{theirs}>>>>>>> theirs\n");
        for merged in [format!("{base}{ours}{theirs}"), conflict, format!("{base}{ours}{base}{theirs}")] {
            let rebased = Log::rebase(merged.as_bytes(), &[], None).unwrap();
            assert!(rebased.text.starts_with(&format!("{base}{ours}")), "{}", rebased.text);
            let (log, broken) = Log::parse(rebased.text.as_bytes());
            assert_eq!(broken, []);
            assert_eq!(users(&log), ["user/mira", "user/tomas", "user/timo", "user/ada", "user/zoe", "user/ben"]);
            assert_eq!(rebased.moved, log.events()[4..]);
            assert_eq!(Log::rebase(rebased.text.as_bytes(), &[], None).unwrap().moved, []);
        }
    }

    #[test]
    fn no_tampering_is_tidied_away() {
        let (base, ours, theirs) = sides();
        let text = format!("{base}{ours}{theirs}");
        let lines: Vec<&str> = text.lines().collect();
        let without = |gone: usize| -> String {
            lines.iter().enumerate().filter(|(at, _)| *at != gone).map(|(_, line)| format!("{line}\n")).collect()
        };
        let orphan = |text: &str| matches!(Log::rebase(text.as_bytes(), &[], None), Err(RebaseError::Orphan { .. }));
        for gone in [0, 1, 2, 4] {
            assert!(orphan(&without(gone)), "{gone}");
        }
        assert!(orphan(&text.replacen("user/timo", "user/nora", 1)));
        assert!(orphan(&format!("{}\n{}\n", lines[1], lines[0])));
        assert!(matches!(Log::rebase(b"x\n", &[], None), Err(RebaseError::NotAnEvent { line: 1, .. })));
    }

    #[test]
    fn a_signed_line_is_signed_anew_by_who_may() {
        let pem = iam_ca::PrivateKey::generate(iam_ca::KeyAlgorithm::Ed25519).unwrap().pem();
        let id: crate::spiffe::SpiffeId = "spiffe://quay.test/management-plane/primary".parse().unwrap();
        let key = SigningKey::from_pem(id.clone(), &pem).unwrap();
        let signers = [Signer { spiffe_id: id, pubkey: key.public_key().unwrap() }];
        let mut log = Log::default();
        let base = lines(&mut log, &["mira"]);
        let ours = lines(&mut log.clone(), &["timo"]);
        let theirs = log.append_signed(entry("zoe"), &key).unwrap();
        let merged = format!("{base}{ours}{theirs}");
        let rebased = Log::rebase(merged.as_bytes(), &signers, Some(&key)).unwrap();
        assert!(rebased.moved[0].seq == 3 && rebased.moved[0].is_signed_by(&signers[0].pubkey));
        assert_eq!(Log::rebase(merged.as_bytes(), &signers, None), Err(RebaseError::NoKey { line: 3 }));
        let forged = merged.replace("user/zoe", "user/eve");
        assert_eq!(Log::rebase(forged.as_bytes(), &signers, Some(&key)), Err(RebaseError::Untrusted { line: 3 }));
        assert_eq!(Log::rebase(merged.as_bytes(), &[], Some(&key)), Err(RebaseError::Untrusted { line: 3 }));
    }
}
