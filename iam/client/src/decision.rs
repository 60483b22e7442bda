use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What IAM decided without changing any state: a login, a token issue, a secret read, a denial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionRecord {
    /// This server's sequence number; a missing number is a reported gap.
    pub sequence: u64,
    /// Unique event id (UUID text).
    pub event_id: String,
    pub time_ms: u64,
    pub principal: String,
    pub authenticated_by: String,
    pub source: Option<String>,
    pub token_id: Option<String>,
    pub request_id: String,
    /// E.g. `iam.Authenticate`, `iam.TokenIssue`, `kv.Put` for a denied write.
    pub action: String,
    pub resource: String,
    /// `done` or `denied`.
    pub outcome: String,
    pub reason: Option<String>,
    /// How many equal denials this record stands for; 1 for everything else.
    pub count: u64,
}

/// The local decision spool as its shipper sees it.
pub trait DecisionSource: Send + Sync + 'static {
    /// Names the spool, within which a sequence number means one record. It is kept with the records, so that a folder
    /// that was lost comes back under another one.
    fn id(&self) -> String;

    /// The last sequence that [`Self::shipped`] was told, in any life.
    fn position(&self) -> u64;

    /// Durable records with a sequence after `after`, in order, at most `limit`.
    fn read(&self, after: u64, limit: usize) -> Result<Vec<Arc<DecisionRecord>>, String>;

    /// Everything up to `sequence` is safe in flaredb and may be dropped here.
    fn shipped(&self, sequence: u64) -> Result<(), String>;

    /// Goes on under another id: this spool is an older copy of what was shipped under the present one, and has given
    /// its numbers to other records since.
    fn renew(&self) -> Result<(), String>;
}
