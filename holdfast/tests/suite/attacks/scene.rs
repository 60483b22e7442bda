use std::sync::Arc;

use anyhow::{Result, ensure};
use holdfast_proto::{
    etcdserverpb::{LeaseGrantRequest, PutRequest, kv_client::KvClient, lease_client::LeaseClient},
    iam::{
        AddMemberRequest, Binding, GrantRequest, IssueTokenRequest, KeyGrant, StatusRequest, admin_client::AdminClient,
        tokens_client::TokensClient,
    },
};
use serde_json::Value;

use super::text;
use crate::{
    lab::Caller,
    node::{Node, channel},
    plane::Plane,
    tokens::{Forger, opened},
};

/// A lease of the administrator, with a key that is none of the attackers' business.
pub(super) const LEASE: i64 = 7001;

/// Who is there, and what attackers have got hold of.
pub(super) struct Scene {
    /// The administrator's own secret; no attacker has it.
    pub(super) admin: String,
    /// Of user/mira, a reader.
    pub(super) mira: String,
    /// One that she had issued by that.
    pub(super) derived: String,
    /// Header and claims of hers.
    pub(super) header: Value,
    pub(super) claims: Value,
    /// Of user/mallory, an operator in the group `crew`.
    pub(super) mallory: String,
    /// Of service/clerk, who reads and writes below `a/`.
    pub(super) clerk: String,
    /// Of service/writer, who only writes below `w/`.
    pub(super) writer: String,
    /// The access key of user/root, who is an admin, as the group `wheel` is.
    pub(super) root: (String, String),
    /// One of service/ci.
    pub(super) ci: (String, String),
    /// Of node/pier1, bound to its certificate.
    pub(super) bound: String,
    pub(super) pier1: Arc<Node>,
    pub(super) pier2: Arc<Node>,
    pub(super) insider: Forger,
}

impl Scene {
    pub(super) async fn set(plane: &Plane) -> Result<Self> {
        for (id, role) in [("user/mira", "reader"), ("user/mallory", "operator"), ("user/root", "admin")] {
            plane.admin(0, &format!("principal create {id}"))?;
            plane.admin(0, &format!("grant {id} {role}"))?;
        }
        for id in ["service/clerk", "service/writer", "service/ci"] {
            plane.admin(0, &format!("principal create {id}"))?;
        }
        plane.admin(0, "grant group/wheel admin")?;
        let admin = Caller::on(channel(plane, &plane.endpoints(0)?, None)?, plane.administrator());
        let key = |start: &'static str, end: &'static str, read| KeyGrant {
            start: start.into(),
            end: end.into(),
            read,
            write: true,
            forbid: false,
        };
        for (subject, grant) in [("service/clerk", key("a/", "a0", true)), ("service/writer", key("w/", "w0", false))] {
            let binding = Binding { subject: subject.into(), keys: vec![grant], ..Binding::default() };
            let grant = GrantRequest { binding: Some(binding), ..Default::default() };
            AdminClient::new(admin.channel()).grant(admin.with(grant)?).await?;
        }
        let member = AddMemberRequest { group: "crew".into(), member: "user/mallory".into() };
        AdminClient::new(admin.channel()).add_member(admin.with(member)?).await?;

        let lease = LeaseGrantRequest { id: LEASE, ttl: 3600 };
        LeaseClient::new(admin.channel()).lease_grant(admin.with(lease)?).await?;
        for (key, lease) in [("a/1", 0), ("b/1", 0), ("b/leased", LEASE)] {
            let put = PutRequest { key: key.into(), value: "value".into(), lease, ..PutRequest::default() };
            KvClient::new(admin.channel()).put(admin.with(put)?).await?;
        }

        let credential = |principal: &str| {
            let made = plane.admin(0, &format!("credential create {principal}"))?;
            Ok::<_, anyhow::Error>((text(&made, "access_key_id")?, text(&made, "secret")?))
        };
        let (pier1, pier2) = (Node::enroll(plane, 0, "pier1").await?, Node::enroll(plane, 1, "pier2").await?);
        let mut shown = TokensClient::new(channel(plane, &plane.endpoints(0)?, Some(&pier1))?);
        let bound = shown.issue(IssueTokenRequest::default()).await?.into_inner().token;
        let mira = plane.token(0, "user/mira")?.token;
        let own = Caller::on(admin.channel(), &mira);
        let derived = TokensClient::new(own.channel()).issue(own.with(IssueTokenRequest::default())?).await?;
        let (header, claims) = opened(&mira)?;
        Ok(Self {
            admin: plane.administrator().to_owned(),
            derived: derived.into_inner().token,
            mallory: plane.token(0, "user/mallory")?.token,
            clerk: plane.token(0, "service/clerk")?.token,
            writer: plane.token(0, "service/writer")?.token,
            root: credential("user/root")?,
            ci: credential("service/ci")?,
            bound,
            pier1: Arc::new(pier1),
            pier2: Arc::new(pier2),
            insider: Forger::of(&plane.signing_key()?)?,
            mira,
            header,
            claims,
        })
    }

    /// What nobody may find anywhere.
    pub(super) fn secrets(&self) -> [&str; 8] {
        let Self { admin, mira, mallory, clerk, bound, root, ci, pier1, .. } = self;
        [admin, mira, mallory, clerk, bound, &root.1, &ci.1, &pier1.join_token]
    }

    /// Whoever was attacked goes on as before, and so do those whose names were used.
    pub(super) async fn unharmed(&self, plane: &Plane) -> Result<()> {
        let endpoints = plane.endpoints(1)?;
        let shown = channel(plane, &endpoints, Some(&self.pier1))?;
        let plain = channel(plane, &endpoints, None)?;
        for (channel, token) in [(shown, &self.bound), (plain.clone(), &self.mira), (plain.clone(), &self.mallory)] {
            let caller = Caller::on(channel, token);
            caller.admin().status(caller.with(StatusRequest {})?).await.map(drop).or_else(|status| {
                // A node has no business with the status, but it is known.
                ensure!(status.code() == tonic::Code::PermissionDenied, "{status}");
                Ok(())
            })?;
        }
        let admin = Caller::on(plain, plane.administrator());
        for key in ["b/1", "b/leased"] {
            ensure!(admin.get(key).await?.as_deref() == Some("value"), "{key}");
        }
        Ok(())
    }
}
