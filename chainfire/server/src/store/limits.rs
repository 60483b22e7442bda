/// What one request, and all of them together, may ask for at most; etcd's defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one proposal.
    pub request_bytes: usize,
    /// Compares, and operations of each branch, of one transaction.
    pub txn_ops: usize,
    /// Bytes of the user keyspace, as [`chainfire_core::quota`] counts them; no limit if none.
    pub quota_bytes: Option<u64>,
}

/// What a message may have beyond [`Limits::request_bytes`] before it is not even read.
const RECEIVE_SLACK: usize = 512 << 10;

impl Limits {
    /// The most that [`Limits::request_bytes`] can be. A log entry carries the request and its origin; the log has a
    /// limit of its own.
    pub const LARGEST_REQUEST: usize = 7 << 20;

    /// The largest message that is read from a client.
    pub(crate) fn receive_bytes(&self) -> usize {
        self.request_bytes + RECEIVE_SLACK
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { request_bytes: 3 << 19, txn_ops: 128, quota_bytes: Some(2 << 30) }
    }
}
