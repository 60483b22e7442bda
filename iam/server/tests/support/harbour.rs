//! Two organisations with their admins, and what these are refused.

use std::{collections::BTreeSet, fmt::Debug};

use holdfast_proto::iam::{
    AddMemberRequest, AuthorizeRequest, Binding, CreateCredentialRequest, CreateJoinTokenRequest,
    CreatePrincipalRequest, GetCredentialSecretRequest, GrantRequest, IssueTokenRequest, KeyGrant,
    ListPrincipalsRequest, Page, RevokeCredentialRequest, RevokeGrantRequest, RevokeTokenRequest, SetPrincipalRequest,
    revoke_token_request::What,
};
use tonic::{Code, Status};

use super::{ADMIN_TOKEN, Environment, Plane, open, with};

pub(crate) fn names(scope: &str) -> (String, String) {
    let (org, project) = scope.split_once('/').unwrap_or((scope, ""));
    (org.to_owned(), project.to_owned())
}

/// `scope` is `acme` or `acme/web`, or empty.
pub(crate) fn new(id: &str, scope: &str) -> CreatePrincipalRequest {
    let (org, project) = names(scope);
    CreatePrincipalRequest { id: id.into(), org, project, ..CreatePrincipalRequest::default() }
}

pub(crate) fn role(subject: &str, role: &str, scope: &str) -> GrantRequest {
    let (org, project) = names(scope);
    let binding = Binding { subject: subject.into(), role: role.into(), org, project, ..Binding::default() };
    GrantRequest { binding: Some(binding), ..Default::default() }
}

pub(crate) fn keys(subject: &str) -> GrantRequest {
    let keys = vec![KeyGrant { start: "a".into(), end: "b".into(), read: true, ..KeyGrant::default() }];
    let binding = Binding { subject: subject.into(), keys, ..Binding::default() };
    GrantRequest { binding: Some(binding), ..Default::default() }
}

pub(crate) fn member(group: &str, member: &str) -> AddMemberRequest {
    AddMemberRequest { group: group.into(), member: member.into() }
}

/// Two organisations, one of them with a project, in a plane of its own.
pub(crate) struct Harbour {
    pub(crate) plane: Plane,
    /// Of `user/chef`, who is an admin within acme.
    pub(crate) chef: String,
    /// Of `user/lead`, who is an admin within acme's project web.
    pub(crate) lead: String,
}

impl Harbour {
    pub(crate) async fn new() -> Self {
        let plane = Plane::start().await;
        let all = [
            ("user/chef", "acme"),
            ("user/mira", "acme"),
            ("service/ci", "acme"),
            ("node/pier1", "acme"),
            ("user/lead", "acme/web"),
            ("user/wim", "acme/web"),
            ("user/zoe", "zeta"),
            ("node/pier9", "zeta"),
            ("user/root", ""),
        ];
        for (id, scope) in all {
            plane.admin().create_principal(with(ADMIN_TOKEN, new(id, scope))).await.unwrap();
        }
        for grant in [
            role("user/chef", "admin", "acme"),
            role("user/lead", "admin", "acme/web"),
            role("user/zoe", "admin", "zeta"),
            role("user/root", "admin", ""),
        ] {
            plane.admin().grant(with(ADMIN_TOKEN, grant)).await.unwrap();
        }
        let (chef, lead) = (plane.token("user/chef").await, plane.token("user/lead").await);
        Self { plane, chef, lead }
    }

    pub(crate) async fn create(&self, token: &str, request: CreatePrincipalRequest) -> Result<String, Status> {
        let principal = self.plane.admin().create_principal(with(token, request)).await?.into_inner().principal;
        let principal = principal.unwrap();
        Ok(format!("{}/{}", principal.org, principal.project))
    }

    pub(crate) async fn set(&self, token: &str, id: &str, disabled: bool) -> Result<(), Status> {
        self.plane
            .admin()
            .set_principal(with(token, SetPrincipalRequest { id: id.into(), disabled, ..Default::default() }))
            .await
            .map(drop)
    }

    pub(crate) async fn grant(&self, token: &str, request: GrantRequest) -> Result<String, Status> {
        let granted = self.plane.admin().grant(with(token, request)).await?.into_inner();
        Ok(granted.binding.unwrap().name)
    }

    pub(crate) async fn revoke_grant(&self, token: &str, subject: &str, name: &str) -> Result<(), Status> {
        let request = RevokeGrantRequest { subject: subject.into(), name: name.into(), ..Default::default() };
        self.plane.admin().revoke_grant(with(token, request)).await.map(drop)
    }

    pub(crate) async fn credential(&self, token: &str, principal: &str) -> Result<String, Status> {
        let request = CreateCredentialRequest { principal: principal.into(), note: String::new() };
        let created = self.plane.credentials().create(with(token, request)).await?.into_inner();
        Ok(created.credential.unwrap().access_key_id)
    }

    pub(crate) async fn secret(&self, token: &str, access_key_id: &str) -> Result<(), Status> {
        let request = GetCredentialSecretRequest { access_key_id: access_key_id.into() };
        self.plane.credentials().get_credential_secret(with(token, request)).await.map(drop)
    }

    pub(crate) async fn revoke_credential(&self, token: &str, access_key_id: &str) -> Result<(), Status> {
        let request = RevokeCredentialRequest { access_key_id: access_key_id.into(), force: true };
        self.plane.credentials().revoke(with(token, request)).await.map(drop)
    }

    pub(crate) async fn issue(&self, token: &str, principal: &str) -> Result<String, Status> {
        let request = IssueTokenRequest { principal: principal.into(), ttl_s: 0 };
        Ok(self.plane.tokens().issue(with(token, request)).await?.into_inner().token)
    }

    pub(crate) async fn revoke_tokens(&self, token: &str, principal: &str) -> Result<(), Status> {
        let request = RevokeTokenRequest { what: Some(What::Principal(principal.into())), wait_s: 0 };
        self.plane.tokens().revoke(with(token, request)).await.map(drop)
    }

    pub(crate) async fn join(&self, token: &str, node: &str) -> Result<(), Status> {
        let request = CreateJoinTokenRequest { node: node.into(), ttl_s: 0 };
        self.plane.enrollment().create_join_token(with(token, request)).await.map(drop)
    }

    /// All pages of one principal each.
    pub(crate) async fn list(&self, token: &str) -> Result<BTreeSet<String>, Status> {
        let (mut found, mut next) = (BTreeSet::new(), String::new());
        loop {
            let page = Some(Page { size: 1, token: next });
            let request = ListPrincipalsRequest { page, kind: String::new() };
            let answer = self.plane.admin().list_principals(with(token, request)).await?.into_inner();
            found.extend(answer.principals.into_iter().map(|principal| principal.id));
            next = answer.next_page_token;
            if next.is_empty() {
                return Ok(found);
            }
            let after = hex::decode(&next).unwrap();
            assert!(found.iter().any(|id| after.ends_with(id.as_bytes())), "pages tell of what was listed only");
        }
    }

    pub(crate) async fn may(&self, token: &str, action: &str, resource: &str) -> bool {
        let request = AuthorizeRequest { principal: String::new(), action: action.into(), resource: resource.into() };
        self.plane.authz().authorize(with(token, request)).await.unwrap().into_inner().allowed
    }

    /// Ends the server and says what it was that it denied to `principal`.
    pub(crate) async fn denied(self, principal: &str) -> BTreeSet<(String, String)> {
        let Plane { store, clock, folder, iam, running } = self.plane;
        running.end().await;
        drop(iam);
        let (iam, _running) = open(&store, &clock, folder.path(), &Environment::default(), |_| {}).unwrap();
        let records = iam.decisions().read(0, 10_000).unwrap();
        let denied = records.iter().filter(|row| row.outcome == "denied" && row.principal == principal);
        denied.map(|row| (row.action.clone(), row.resource.clone())).collect()
    }
}

/// What was refused, and what the history says of it.
#[derive(Default)]
pub(crate) struct Refused(pub(crate) BTreeSet<(String, String)>);

impl Refused {
    #[track_caller]
    pub(crate) fn check<T: Debug>(&mut self, tried: Result<T, Status>, action: &str, resource: &str) {
        let refused = tried.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{action} {resource}: {refused}");
        assert_eq!(refused.message(), format!("not permitted: {action} on {resource}"));
        self.0.insert((action.to_owned(), resource.to_owned()));
    }
}
