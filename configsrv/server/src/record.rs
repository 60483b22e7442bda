//! The stored formats: framed JSON that grows by optional fields only. The payload's chunks are framed bytes.

use configsrv_fleet::{Digest, Sequence, Signer, Version};
use holdfast_format::{from_json, kind::CONFIG_RECORD, to_json};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::Error;

const FORMAT: u16 = 1;

/// What nodes may ask for now. It moves together with the tree's line of history and the trusted signers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Current {
    pub version: Version,
    /// Which artifacts: SHA-256 over their published bytes, hex.
    pub set: Digest,
    pub tree_digest: Digest,
}

/// One published version. It stays as history when its artifacts are pruned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    pub version: Version,
    /// Which artifacts: SHA-256 over their published bytes, hex.
    pub set: Digest,
    /// SHA-256 over node names and payload digests: equal trees say the same, whatever their version.
    pub tree_digest: Digest,
    pub base_version: Version,
    pub nodes: u32,
    /// Unix time in milliseconds.
    pub published_ms: u64,
    /// `kind/name` of the principal.
    pub published_by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_commit: Option<String>,
    #[serde(default)]
    pub pruned: bool,
}

/// One artifact without its payload: the published bytes are `before`, the payload, `after`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub before: String,
    pub after: String,
    pub payload_digest: Digest,
    pub payload_size: u64,
}

/// Says that all chunks of a payload are stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Payload {
    pub size: u64,
    pub chunks: u32,
    pub stored_ms: u64,
}

/// The keys whose signatures are admitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Signers {
    pub keys: Vec<Signer>,
    /// The version that brought this set.
    pub since: Version,
}

/// A publish that is under way. While it lies there nothing is collected, so that a payload which the publish found
/// stored cannot vanish before it is referred to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Staging {
    pub set: Digest,
    pub version: Version,
    pub by: String,
    pub started_ms: u64,
}

/// Who is revoked now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lane {
    pub sequence: Sequence,
    pub digest: Digest,
    /// The exact bytes that were signed.
    pub envelope: String,
    pub published_ms: u64,
    /// `kind/name` of the principal.
    pub published_by: String,
}

/// The revocations that count on a node, and since when the servers know that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    pub sequence: Sequence,
    pub at_ms: u64,
}

/// What was served to the node itself, by intent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    /// The highest version fetched to be activated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync: Option<Fetch>,
    /// The highest version fetched only for a look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<Fetch>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    pub version: Version,
    pub at_ms: u64,
}

/// What a node says about itself. Versions are absent while there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The newest version that the node has been offered and verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offered: Option<Version>,
    /// What runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<Version>,
    /// What runs under the guard, until `deadline_ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Version>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Version>,
    /// The last version that this node went back from, until it is released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_back: Option<Version>,
    /// What the node refused before anything was touched, until it takes something at least as new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<Version>,
    /// The last version that failed here and that somebody on the node let in again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<Released>,
    /// The payload digest of what runs, or is about to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// By the servers' clock where the node said how much time is left, else by its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    /// What happened last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<SyncResult>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What people brought to the node, past the servers; the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub carried: Vec<Carried>,
    /// Files of what runs that somebody else changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// Contents that failed here and were not let in again since, the newest last. The servers keep this for the node,
    /// also when it forgets; whatever the node says here is ignored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Failed>,
    /// When the server took the report; whatever the node says here is ignored.
    #[serde(default)]
    pub reported_ms: u64,
    /// When it took the first report of this transition, which later ones may only have added to. Ignored likewise.
    #[serde(default)]
    pub since_ms: u64,
}

/// A content that a node went back from, and the number that it had then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    pub version: Version,
    pub digest: Digest,
}

/// An artifact that a person brought to a node by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    pub version: Version,
    pub digest: Digest,
    /// By the node's clock.
    pub at_ms: u64,
    /// It was kept without showing that the servers are reached through it.
    #[serde(default)]
    pub unproven: bool,
}

/// Which files of a node are not as its version wrote them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// What the node does about them: `report`, `repair`, `freeze`, or a later word.
    pub policy: String,
    pub files: u32,
    /// The first of them, and what is the matter.
    #[serde(default)]
    pub first: Vec<String>,
}

/// When a version that failed was let in again, by the node's clock: the moment tells one release from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    pub version: Version,
    pub at_ms: u64,
}

/// The transition that a report tells about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncResult {
    /// Verified and about to be activated.
    Acknowledged,
    /// Active under the guard.
    Pending,
    Confirmed,
    /// The number was adopted; nothing else changed.
    Adopted,
    RolledBack,
    /// Refused before anything was touched.
    Rejected,
    /// The way back failed too.
    Degraded,
}

impl SyncResult {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Acknowledged => "acknowledged",
            Self::Pending => "pending",
            Self::Confirmed => "confirmed",
            Self::Adopted => "adopted",
            Self::RolledBack => "rolled_back",
            Self::Rejected => "rejected",
            Self::Degraded => "degraded",
        }
    }
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    to_json(CONFIG_RECORD, FORMAT, value).map_err(|error| Error::Internal(error.to_string()))
}

pub(crate) fn decode<T: DeserializeOwned>(key: &[u8], bytes: &[u8]) -> Result<T, Error> {
    from_json(CONFIG_RECORD, FORMAT, bytes).map_err(|error| corrupt(key, &error))
}

/// A part of a payload, framed.
pub(crate) fn encode_chunk(bytes: &[u8]) -> Vec<u8> {
    holdfast_format::encode(CONFIG_RECORD, FORMAT, bytes)
}

pub(crate) fn decode_chunk<'a>(key: &[u8], bytes: &'a [u8]) -> Result<&'a [u8], Error> {
    let frame = holdfast_format::decode(CONFIG_RECORD, bytes).map_err(|error| corrupt(key, &error))?;
    Ok(frame.payload)
}

fn corrupt(key: &[u8], error: &holdfast_format::Error) -> Error {
    Error::Corrupt(format!("{}: {error}", String::from_utf8_lossy(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const D1: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
    const D2: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";

    /// Release 1 wrote these; every later release must read them.
    #[test]
    fn the_first_release_still_reads() {
        let current: Current = read(&format!(r#"{{"version":7,"set":"{D1}","tree_digest":"{D2}"}}"#));
        assert_eq!((current.version, current.set), (version(7), D1.parse().unwrap()));

        let tree: Tree = read(&format!(
            r#"{{"version":7,"set":"{D1}","tree_digest":"{D2}","base_version":6,"nodes":2,"published_ms":9,
                "published_by":"user/mira","note":"open the shop","pruned":false}}"#
        ));
        assert_eq!(
            (tree.base_version, tree.note.as_deref(), tree.git_commit),
            (version(6), Some("open the shop"), None)
        );

        let head: Head =
            read(&format!(r#"{{"before":"{{\"payload\":","after":"}}","payload_digest":"{D1}","payload_size":2}}"#));
        assert_eq!((head.before.as_str(), head.after.as_str()), ("{\"payload\":", "}"));

        let payload: Payload = read(r#"{"size":2,"chunks":1,"stored_ms":9}"#);
        assert_eq!(payload.chunks, 1);

        let signers: Signers = read(
            r#"{"keys":[{"spiffe_id":"spiffe://quay.test/management-plane/a",
                "pubkey":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}],"since":1}"#,
        );
        assert_eq!(signers.keys.len(), 1);

        let staging: Staging = read(&format!(r#"{{"set":"{D1}","version":7,"by":"user/mira","started_ms":9}}"#));
        assert_eq!(staging.version, version(7));

        let fetched: Fetched = read(r#"{"sync":{"version":7,"at_ms":9}}"#);
        assert_eq!(fetched, Fetched { sync: Some(Fetch { version: version(7), at_ms: 9 }), dry_run: None });

        let lane: Lane = read(&format!(
            r#"{{"sequence":3,"digest":"{D1}","envelope":"{{}}","published_ms":9,"published_by":"user/mira"}}"#
        ));
        assert_eq!((lane.sequence, lane.envelope.as_str()), (Sequence::new(3).unwrap(), "{}"));

        let reached: Reached = read(r#"{"sequence":3,"at_ms":9}"#);
        assert_eq!((reached.sequence, reached.at_ms), (Sequence::new(3).unwrap(), 9));

        let status: Status = read(r#"{"active":7,"pending":7,"deadline_ms":10,"result":"pending","reported_ms":9}"#);
        assert_eq!((status.pending, status.result), (Some(version(7)), Some(SyncResult::Pending)));
        assert_eq!((status.released, status.failed), (None, Vec::new()));
    }

    #[test]
    fn the_frame_is_frozen() {
        let bytes = encode(&Payload { size: 2, chunks: 1, stored_ms: 9 }).unwrap();
        assert_eq!(&bytes[..6], b"HF\x05\x01\x00\x01");
        assert_eq!(&bytes[14..], br#"{"size":2,"chunks":1,"stored_ms":9}"#);
    }

    fn version(number: u64) -> Version {
        Version::new(number).unwrap()
    }

    fn read<T: DeserializeOwned>(json: &str) -> T {
        decode(b"fixture", &holdfast_format::encode(CONFIG_RECORD, 1, json.as_bytes())).unwrap()
    }
}
