//! Every stored kind of frame. A number is never used twice, not even after its format is gone.

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind(pub u16);

// chainfire/core
pub const COMMAND: Kind = Kind(0x0101);
pub const ANSWER: Kind = Kind(0x0102);
pub const JOURNAL: Kind = Kind(0x0103);
pub const GENESIS: Kind = Kind(0x0104);
pub const LINEAGE: Kind = Kind(0x0105);
pub const SYSTEM_RECORD: Kind = Kind(0x0106);
pub const LOCK: Kind = Kind(0x0107);
pub const LEASE: Kind = Kind(0x0108);
pub const AUDIT_POLICY: Kind = Kind(0x0109);
pub const CLUSTER_STATE: Kind = Kind(0x010a);
pub const COMPACTION: Kind = Kind(0x010b);
pub const AUTH_STATUS: Kind = Kind(0x010c);
pub const AUTH_USER: Kind = Kind(0x010d);
pub const AUTH_ROLE: Kind = Kind(0x010e);
pub const ALARMS: Kind = Kind(0x0110);
pub const LEASE_REMAINING: Kind = Kind(0x0111);

pub const RESTORED: Kind = Kind(0x0120);

// chainfire/backup
pub const BACKUP_MANIFEST: Kind = Kind(0x0130);
pub const BACKUP_PART: Kind = Kind(0x0131);
pub const BACKUP_BODY: Kind = Kind(0x0132);

// chainfire/raft
pub const LOG_ENTRY: Kind = Kind(0x0201);
pub const VOTE: Kind = Kind(0x0202);
pub const LOG_ID: Kind = Kind(0x0203);
pub const MEMBERSHIP: Kind = Kind(0x0204);
pub const SNAPSHOT: Kind = Kind(0x0205);
pub const IDENTITY: Kind = Kind(0x0206);
pub const PEER_MESSAGE: Kind = Kind(0x0207);
pub const STATE_POINTER: Kind = Kind(0x0208);
pub const LOG_MARK: Kind = Kind(0x0209);

// flaredb
pub const SQL_COMMAND: Kind = Kind(0x0301);
pub const SQL_ANSWER: Kind = Kind(0x0302);
pub const SQL_TABLE: Kind = Kind(0x0303);
pub const SQL_ROW: Kind = Kind(0x0304);
pub const SQL_MIGRATION: Kind = Kind(0x0305);
pub const SQL_CURSOR: Kind = Kind(0x0306);
pub const SQL_SCHEMA: Kind = Kind(0x0307);
pub const SQL_HEAD: Kind = Kind(0x0308);

// iam
pub const IAM_RECORD: Kind = Kind(0x0401);
pub const IAM_SEALED: Kind = Kind(0x0402);
pub const DECISION: Kind = Kind(0x0403);
pub const MASTER_KEY_CHECK: Kind = Kind(0x0404);
pub const DECISION_CURSOR: Kind = Kind(0x0405);

// configsrv
pub const CONFIG_RECORD: Kind = Kind(0x0501);
pub const AGENT_PENDING: Kind = Kind(0x0502);
pub const AGENT_STATE: Kind = Kind(0x0503);
pub const AGENT_ORIGINALS: Kind = Kind(0x0504);
pub const AGENT_REVOCATIONS: Kind = Kind(0x0505);

// chainfire/server
pub const LEASE_QUESTION: Kind = Kind(0x0601);
pub const LEASE_ANSWER: Kind = Kind(0x0602);
pub const MEMBER_RECORD: Kind = Kind(0x0603);
pub const INTEGRITY_QUESTION: Kind = Kind(0x0608);
pub const INTEGRITY_ANSWER: Kind = Kind(0x0609);
