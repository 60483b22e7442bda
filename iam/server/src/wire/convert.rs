use holdfast_proto::iam as wire;
use iam_client::{Identity, identity};
use iam_core::{
    PrincipalId, Scope, Subject,
    credential::Credential,
    credential_use::Use,
    policy::Role,
    record::{Binding, Enrollment, KeyGrant, Membership, Principal, ScopedRole},
    rotation::{Item, Terms, Waive},
    signing::PublicKey,
};
use tonic::Request;

use crate::{Error, Iam, signing::StepOptions};

const DEFAULT_PAGE: u32 = 100;

/// Who calls, as the layer in front established it.
pub(super) fn caller<T>(request: &Request<T>) -> Result<Identity, Error> {
    Ok(identity(request.extensions())?.clone())
}

/// The principal that a request names; the caller itself if it names none.
pub(super) fn principal_or_caller(text: &str, by: &Identity) -> Result<PrincipalId, Error> {
    if !text.is_empty() {
        return Ok(text.parse()?);
    }
    let own = by.principal.principal().cloned();
    own.ok_or_else(|| Error::Invalid("name a principal: this caller is none itself".to_owned()))
}

/// Where a listing goes on and how many it wants.
pub(super) fn page(page: Option<wire::Page>) -> Result<(Option<Vec<u8>>, usize), Error> {
    let page = page.unwrap_or_default();
    let after = match page.token.as_str() {
        "" => None,
        token => Some(hex::decode(token).map_err(|_| Error::Invalid("the page token is malformed".to_owned()))?),
    };
    let size = if page.size == 0 { DEFAULT_PAGE } else { page.size };
    Ok((after, usize::try_from(size).unwrap_or(usize::MAX)))
}

pub(super) fn next_page(next: Option<Vec<u8>>) -> String {
    next.map(hex::encode).unwrap_or_default()
}

/// What a request names; the whole system, if it names nothing.
pub(super) fn scope(org: String, project: String) -> Result<Scope, Error> {
    let name = |name: String| Some(name).filter(|name| !name.is_empty());
    Ok(Scope::new(name(org), name(project))?)
}

/// Organisation and project, empty where there is none.
pub(super) fn names(scope: &Scope) -> (String, String) {
    let name = |name: Option<&str>| name.unwrap_or_default().to_owned();
    (name(scope.org()), name(scope.project()))
}

pub(super) fn principal(iam: &Iam, principal: Principal, revision: u64) -> wire::Principal {
    let (org, project) = names(&principal.scope);
    wire::Principal {
        spiffe_id: iam.0.settings.trust_domain.spiffe_id(&principal.id),
        id: principal.id.to_string(),
        created_ms: principal.created_ms,
        disabled: principal.disabled,
        display_name: principal.display_name,
        revision,
        org,
        project,
    }
}

/// The subject that a request names, if it names one.
pub(super) fn subject(text: &str) -> Result<Option<Subject>, Error> {
    Ok(if text.is_empty() { None } else { Some(text.parse()?) })
}

pub(super) fn membership(membership: Membership) -> wire::Membership {
    wire::Membership {
        group: membership.group,
        member: membership.member.to_string(),
        created_ms: membership.created_ms,
    }
}

pub(super) fn binding(binding: Binding, revision: u64) -> Result<wire::Binding, Error> {
    let (org, project) = names(&binding.scope());
    let keys = binding.keys.into_iter().map(|grant| {
        let bytes = |text: &str| hex::decode(text).map_err(|error| Error::Corrupt(error.to_string()));
        Ok(wire::KeyGrant {
            start: bytes(&grant.start)?.into(),
            end: bytes(grant.end.as_deref().unwrap_or_default())?.into(),
            read: grant.read,
            write: grant.write,
            forbid: grant.forbid,
        })
    });
    let role = binding.role.or(binding.scoped.map(|scoped| scoped.role));
    Ok(wire::Binding {
        subject: binding.subject.to_string(),
        role: role.map(|role| role.to_string()).unwrap_or_default(),
        org,
        project,
        keys: keys.collect::<Result<_, Error>>()?,
        created_ms: binding.created_ms,
        name: binding.name,
        revision,
    })
}

/// A binding without name gets its role's and its scope's, so that granting a role twice is one binding.
pub(super) fn new_binding(binding: Option<wire::Binding>) -> Result<Binding, Error> {
    let binding = binding.ok_or_else(|| Error::Invalid("binding is missing".to_owned()))?;
    let subject: Subject = binding.subject.parse()?;
    let role = match binding.role.as_str() {
        "" => None,
        text => Some(Role::parse(text).ok_or_else(|| Error::Invalid(format!("there is no role {text:?}")))?),
    };
    let scope = scope(binding.org, binding.project)?;
    if scope != Scope::System && (role.is_none() || !binding.keys.is_empty()) {
        return Err(Error::Invalid("what counts in an organisation only is a role, without keys".to_owned()));
    }
    let name = match (binding.name.as_str(), role) {
        ("", Some(role)) => name(role, &scope),
        ("", None) => "keys".to_owned(),
        (name, _) => name.to_owned(),
    };
    let keys = binding.keys.into_iter().map(|grant| KeyGrant {
        start: hex::encode(grant.start),
        end: Some(hex::encode(grant.end)).filter(|end| !end.is_empty()),
        read: grant.read,
        write: grant.write,
        forbid: grant.forbid,
    });
    let (role, scoped) = match (role, scope) {
        (role, Scope::System) => (role, None),
        (role, scope) => (None, role.map(|role| ScopedRole { role, scope })),
    };
    Ok(Binding { name, subject, role, keys: keys.collect(), created_ms: 0, scoped })
}

/// `admin`, `admin@acme` or `admin@acme+web`.
fn name(role: Role, scope: &Scope) -> String {
    let org = scope.org().map(|org| format!("@{org}")).unwrap_or_default();
    let project = scope.project().map(|project| format!("+{project}")).unwrap_or_default();
    format!("{role}{org}{project}")
}

pub(super) fn signing_key(key: &Item<PublicKey>, terms: &Terms<'_>) -> wire::SigningKey {
    wire::SigningKey {
        kid: key.id.clone(),
        algorithm: key.value.algorithm.as_str().to_owned(),
        state: key.word().to_owned(),
        added_ms: key.added_ms,
        activated_ms: key.activated_ms.unwrap_or_default(),
        superseded_ms: key.superseded_ms.unwrap_or_default(),
        retired_ms: key.retired_ms.unwrap_or_default(),
        next_step_ms: key.next_step_ms(terms).unwrap_or_default(),
        signed_until_ms: terms.evidence.longest(&key.id).map_or(0, |(_, until_ms)| until_ms),
    }
}

pub(super) fn last_word((verifier, acknowledged_ms): (String, Option<u64>)) -> wire::LastWord {
    wire::LastWord { verifier, acknowledged_ms: acknowledged_ms.unwrap_or_default() }
}

pub(super) fn credential(principal: &str, credential: Credential, used: Option<Use>) -> wire::Credential {
    let used = used.unwrap_or_default();
    wire::Credential {
        access_key_id: credential.id.as_str().to_owned(),
        principal: principal.to_owned(),
        created_ms: credential.created_ms,
        revoked: credential.revoked_ms.is_some(),
        note: credential.note,
        last_used_ms: used.at_ms,
        last_used_from: used.from,
        last_used_server: used.server,
    }
}

pub(super) fn enrollment(enrollment: Enrollment, revoked: Option<String>) -> wire::EnrollmentEvent {
    wire::EnrollmentEvent {
        node: enrollment.node.name().to_owned(),
        serial: enrollment.serial,
        key_sha256: enrollment.key_sha256,
        enrolled_ms: enrollment.enrolled_ms,
        expires_ms: enrollment.expires_ms,
        join_token_id: enrollment.join_token_id.unwrap_or_default(),
        revoked: revoked.unwrap_or_default(),
    }
}

/// What a step does not wait for, and the revision that it is meant for.
pub(super) fn step_options(now: bool, force: bool, expected_revision: u64) -> StepOptions {
    let waive = match (force, now) {
        (true, _) => Waive::Everything,
        (false, true) => Waive::Caches,
        (false, false) => Waive::Nothing,
    };
    StepOptions { waive, expected_revision, ..StepOptions::default() }
}
