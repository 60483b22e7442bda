//! Where configuration lies in the system keyspace. Versions are written with leading zeros, so that key order is
//! version order.

use configsrv_fleet::{Digest, NodeName, Version};

/// What nodes may ask for now.
pub(crate) const CURRENT: &[u8] = b"config/current";
/// Keys whose signatures are admitted.
pub(crate) const SIGNERS: &[u8] = b"config/signers";
/// The publish that is under way, if one is.
pub(crate) const STAGING: &[u8] = b"config/staging";
/// Who is revoked.
pub(crate) const REVOCATIONS: &[u8] = b"config/revocations";

/// The lines of history, in the order of their versions.
pub(crate) const TREES: &[u8] = b"config/tree/";
pub(crate) const SETS: &[u8] = b"config/set/";
pub(crate) const PAYLOADS: &[u8] = b"config/payload/";
pub(crate) const CHUNKS: &[u8] = b"config/chunk/";
pub(crate) const REVOKED: &[u8] = b"config/revoked/";
pub(crate) const STATUSES: &[u8] = b"config/status/";

/// The line of history of a version.
pub(crate) fn tree(version: Version) -> Vec<u8> {
    format!("config/tree/{:020}", version.get()).into_bytes()
}

/// Everything of one artifact but its payload.
pub(crate) fn head(set: &Digest, node: &NodeName) -> Vec<u8> {
    format!("config/set/{}/{node}", set.hex()).into_bytes()
}

/// All heads of a set.
pub(crate) fn heads(set: &Digest) -> Vec<u8> {
    format!("config/set/{}/", set.hex()).into_bytes()
}

/// That a payload is stored completely.
pub(crate) fn payload(digest: &Digest) -> Vec<u8> {
    format!("config/payload/{}", digest.hex()).into_bytes()
}

/// A part of a payload.
pub(crate) fn chunk(digest: &Digest, index: u32) -> Vec<u8> {
    format!("config/chunk/{}/{index:06}", digest.hex()).into_bytes()
}

/// All parts of a payload.
pub(crate) fn chunks(digest: &Digest) -> Vec<u8> {
    format!("config/chunk/{}/", digest.hex()).into_bytes()
}

/// What was served to a node.
pub(crate) fn fetched(node: &NodeName) -> Vec<u8> {
    format!("config/fetched/{node}").into_bytes()
}

/// What a node reported.
pub(crate) fn status(node: &NodeName) -> Vec<u8> {
    format!("config/status/{node}").into_bytes()
}

/// Which revocations a node has applied.
pub(crate) fn revoked(node: &NodeName) -> Vec<u8> {
    [REVOKED, node.as_str().as_bytes()].concat()
}

/// The part of `key` after `prefix`, if it has that prefix and the rest is text.
pub(crate) fn suffix<'a>(key: &'a [u8], prefix: &[u8]) -> Option<&'a str> {
    std::str::from_utf8(key.strip_prefix(prefix)?).ok()
}
