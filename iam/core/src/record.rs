//! What IAM keeps in the system keyspace: records as JSON in frames, under typed keys `iam/…`.

use holdfast_format::{Error, from_json, kind, to_json};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    PrincipalId, Scope, Subject,
    credential::{AccessKeyId, CredentialSet},
    enrol::JoinTokenRecord,
    policy::Role,
    rotation::Job,
    seal::Sealed,
    signing::KeyRing,
};

/// The prefix of every key of IAM.
pub const PREFIX: &[u8] = b"iam/";

/// A stored type.
pub trait Record: Serialize + DeserializeOwned {
    const KIND: kind::Kind = kind::IAM_RECORD;
    const VERSION: u16 = 1;

    fn encode(&self) -> Result<Vec<u8>, Error> {
        to_json(Self::KIND, Self::VERSION, self)
    }

    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        from_json(Self::KIND, Self::VERSION, bytes)
    }
}

/// How the plane's identity began; written once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Genesis {
    pub created_ms: u64,
    pub trust_domain: String,
    /// [`crate::seal::MasterKey::check`].
    pub master_key_check: String,
    /// [`crate::seal::MasterKey::tag`] of the bootstrap token.
    pub admin_token_tag: String,
    /// The key that signed first; a server that brings another one has a different environment.
    pub first_kid: String,
}

/// Exists once somebody has decided about the bootstrap token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bootstrap {
    pub enabled: bool,
    pub changed_ms: u64,
    pub changed_by: String,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    pub id: PrincipalId,
    pub display_name: String,
    pub created_ms: u64,
    pub disabled: bool,
    /// For good: whoever administers it may have its keys, tokens and certificates.
    #[serde(flatten)]
    pub scope: Scope,
}

/// A subject's place in a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    pub group: String,
    pub member: Subject,
    pub created_ms: u64,
}

/// What a subject may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    pub name: String,
    pub subject: Subject,
    pub role: Option<Role>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyGrant>,
    pub created_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scoped: Option<ScopedRole>,
}

impl Binding {
    /// Where it counts.
    pub fn scope(&self) -> Scope {
        let scoped = self.scoped.as_ref().filter(|_| self.role.is_none() && self.keys.is_empty());
        scoped.map(|scoped| scoped.scope.clone()).unwrap_or_default()
    }
}

/// A role that counts within an organisation or a project only. It is not where a binding's other role is: a server that
/// does not know of scopes would take it for one that counts everywhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ScopedRole {
    pub role: Role,
    #[serde(flatten)]
    pub scope: Scope,
}

/// Rights on `[start, end)`; hex, an absent end means to the end of the key space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyGrant {
    pub start: String,
    pub end: Option<String>,
    pub read: bool,
    pub write: bool,
    /// These rights are taken away instead, whatever else gives them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forbid: bool,
}

/// Where to find the principal of an access key, or that of the access keys that a bearer token made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    pub principal: PrincipalId,
}

/// A policy that somebody wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPolicy {
    /// Cedar's own syntax.
    pub text: String,
    /// What it is for, for people.
    pub note: String,
    pub created_ms: u64,
    pub changed_ms: u64,
    pub changed_by: String,
}

/// A certificate that was issued to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrollment {
    pub node: PrincipalId,
    pub serial: String,
    pub key_sha256: String,
    pub enrolled_ms: u64,
    pub expires_ms: u64,
    /// Absent for a renewal.
    pub join_token_id: Option<String>,
}

/// A token that is void before its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedToken {
    pub revoked_ms: u64,
    /// After this the token is expired anyway and the record may go.
    pub until_ms: u64,
}

/// Tokens that a principal got before this time are void.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedPrincipal {
    pub not_before_ms: u64,
}

/// Tokens that a signing key signed before this time are void.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedKey {
    pub not_before_ms: u64,
}

/// A client assertion that was used. Another use is a replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedAssertion {
    /// After this the assertion is expired anyway and the record may go.
    pub until_ms: u64,
}

impl Record for Genesis {}
impl Record for Bootstrap {}
impl Record for Principal {}
impl Record for Membership {}
impl Record for Binding {}
impl Record for StoredPolicy {}
impl Record for AccessKey {}
impl Record for Enrollment {}
impl Record for RevokedToken {}
impl Record for RevokedPrincipal {}
impl Record for RevokedKey {}
impl Record for UsedAssertion {}
impl Record for KeyRing {}
impl Record for Job {}
impl Record for CredentialSet {}
impl Record for JoinTokenRecord {}
impl Record for Sealed {
    const KIND: kind::Kind = kind::IAM_SEALED;
}

/// Where records are. Names cannot contain `/`, so that no two of these meet.
pub mod key {
    use super::{AccessKeyId, PrincipalId, Subject};

    pub const GENESIS: &[u8] = b"iam/genesis";
    /// The last restore, if there was one.
    pub const RESTORED: &[u8] = b"iam/restored";
    pub const BOOTSTRAP: &[u8] = b"iam/bootstrap";
    pub const RING: &[u8] = b"iam/ring";
    pub const AUTHORITIES: &[u8] = b"iam/authorities";
    pub const MAPPINGS: &[u8] = b"iam/mappings";
    pub const MASTERS: &[u8] = b"iam/masters";
    pub const RESEALING: &[u8] = b"iam/resealing";
    pub const PRINCIPALS: &str = "iam/principal/";
    pub const BINDINGS: &str = "iam/binding/";
    pub const ENROLLMENTS: &str = "iam/enrollment/";
    pub const REVOKED: &str = "iam/revoked/";
    pub const DENIED: &str = "iam/denied/";
    pub const REVOKED_TOKENS: &str = "iam/revoked/token/";
    pub const JOIN_TOKENS: &str = "iam/join-token/";
    pub const USED_ASSERTIONS: &str = "iam/assertion/";
    pub const IDEMPOTENCY: &str = "iam/idempotency/";
    pub const MEMBERS: &str = "iam/member/";
    /// Those of [`MEMBERS`] that are groups themselves.
    pub const MEMBERS_OF_KIND_GROUP: &str = "iam/member/group/";
    pub const SERVERS: &str = "iam/verifier/server/";
    /// Verifiers that are no servers: agents and libraries.
    pub const CLIENTS: &str = "iam/verifier/client/";
    pub const POLICIES: &str = "iam/policy/";
    pub const SEALED: &str = "iam/sealed/";
    /// The version of [`PRINCIPALS`], [`MEMBERS`], [`BINDINGS`] and [`POLICIES`].
    pub const POLICY_VERSION: &[u8] = b"iam/version/policy";
    /// The version of [`POLICIES`] alone.
    pub const POLICIES_VERSION: &[u8] = b"iam/version/policies";
    /// The version of [`REVOKED`].
    pub const REVOCATIONS_VERSION: &[u8] = b"iam/version/revocations";

    pub fn principal(id: &PrincipalId) -> Vec<u8> {
        format!("{PRINCIPALS}{id}").into_bytes()
    }

    /// The groups that `member` is in, each with its own record below this prefix.
    pub fn memberships(member: &Subject) -> Vec<u8> {
        format!("{MEMBERS}{member}/").into_bytes()
    }

    pub fn membership(member: &Subject, group: &str) -> Vec<u8> {
        format!("{MEMBERS}{member}/{group}").into_bytes()
    }

    pub fn bindings(subject: &Subject) -> Vec<u8> {
        format!("{BINDINGS}{subject}/").into_bytes()
    }

    pub fn binding(subject: &Subject, name: &str) -> Vec<u8> {
        format!("{BINDINGS}{subject}/{name}").into_bytes()
    }

    pub fn policy(id: &str) -> Vec<u8> {
        format!("{POLICIES}{id}").into_bytes()
    }

    pub fn credentials(principal: &PrincipalId) -> Vec<u8> {
        format!("iam/credentials/{principal}").into_bytes()
    }

    /// When the access keys of `principal` were used last.
    pub fn last_uses(principal: &PrincipalId) -> Vec<u8> {
        format!("iam/last-use/{principal}").into_bytes()
    }

    pub fn access_key(id: &AccessKeyId) -> Vec<u8> {
        format!("iam/access-key/{}", id.as_str()).into_bytes()
    }

    /// The access keys that tokens of one lineage made for their own principal.
    pub fn lineage(lin: &str) -> Vec<u8> {
        format!("iam/lineage/{lin}").into_bytes()
    }

    /// `kind` as in [`crate::seal::Label`].
    pub fn sealed(kind: &str, id: &str) -> Vec<u8> {
        format!("{SEALED}{kind}/{id}").into_bytes()
    }

    pub fn join_token(id: &str) -> Vec<u8> {
        format!("{JOIN_TOKENS}{id}").into_bytes()
    }

    pub fn enrollment(node: &PrincipalId, serial: &str) -> Vec<u8> {
        format!("{ENROLLMENTS}{node}/{serial}").into_bytes()
    }

    pub fn denied(serial: &str) -> Vec<u8> {
        format!("{DENIED}{serial}").into_bytes()
    }

    pub fn revoked_token(jti: &str) -> Vec<u8> {
        format!("{REVOKED_TOKENS}{jti}").into_bytes()
    }

    pub fn revoked_principal(id: &PrincipalId) -> Vec<u8> {
        format!("{REVOKED}principal/{id}").into_bytes()
    }

    pub fn revoked_key(kid: &str) -> Vec<u8> {
        format!("{REVOKED}key/{kid}").into_bytes()
    }

    /// `id` is the hash of whose assertion it is, and of its `jti`.
    pub fn used_assertion(id: &str) -> Vec<u8> {
        format!("{USED_ASSERTIONS}{id}").into_bytes()
    }

    /// `id` as in [`crate::idempotency::IdempotencyKey::id`].
    pub fn idempotency(id: &str) -> Vec<u8> {
        format!("{IDEMPOTENCY}{id}").into_bytes()
    }

    /// The last job of this family.
    pub fn rotation(family: &str) -> Vec<u8> {
        format!("iam/rotation/{family}").into_bytes()
    }

    /// What the server `member` says that it enforces.
    pub fn server(member: &str) -> Vec<u8> {
        format!("{SERVERS}{member}").into_bytes()
    }

    /// The same of an agent or a library.
    pub fn client(id: &PrincipalId) -> Vec<u8> {
        format!("{CLIENTS}{id}").into_bytes()
    }
}
