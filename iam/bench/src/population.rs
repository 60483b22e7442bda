use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use holdfast_bench::Plane;
use holdfast_proto::iam::{
    AddMemberRequest, Binding, CreatePrincipalRequest, GrantRequest, PutPolicyRequest, admin_client::AdminClient,
    policies_client::PoliciesClient,
};
use serde::Serialize;

/// Whose members may ask what is measured.
pub(crate) const GROUP: &str = "measured";
/// Administrators' calls under way at once.
const AT_ONCE: usize = 256;

/// How many of what the servers know.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Population {
    pub(crate) policies: usize,
    pub(crate) principals: usize,
}

pub(crate) fn name(number: usize) -> String {
    format!("service/s{number}")
}

impl Population {
    pub(crate) const NONE: Self = Self { policies: 0, principals: 0 };
    pub(crate) const FEW: Self = Self { policies: 0, principals: 100 };
    pub(crate) const MANY: Self = Self { policies: 10_000, principals: 100_000 };

    /// Makes what is not there yet. Every principal is in a group whose role lets it ask; the policies are about one of
    /// them each, with a condition that has to be evaluated.
    pub(crate) async fn settle(self, plane: &Plane, before: Self) -> Result<()> {
        let wire = plane.administrator(0).await?;
        let role = Binding { subject: format!("group/{GROUP}"), role: "auditor".to_owned(), ..Binding::default() };
        AdminClient::new(wire.clone()).grant(GrantRequest { binding: Some(role), ..Default::default() }).await?;
        let principals = stream::iter(before.principals..self.principals).map(|number| {
            let mut admin = AdminClient::new(wire.clone());
            async move {
                let id = name(number);
                admin.create_principal(CreatePrincipalRequest { id: id.clone(), ..Default::default() }).await?;
                admin.add_member(AddMemberRequest { group: GROUP.to_owned(), member: id }).await
            }
        });
        principals.buffer_unordered(AT_ONCE).try_for_each(|_| async { Ok(()) }).await?;
        let policies = stream::iter(before.policies..self.policies).map(|number| {
            let mut policies = PoliciesClient::new(wire.clone());
            let text = format!(
                "forbid (principal == Service::\"s{}\", action == Action::\"iam.Read\", resource is Iam)\n\
                 when {{ context.time < {number} }};",
                number % self.principals
            );
            let request = PutPolicyRequest { id: format!("p{number}"), text, ..PutPolicyRequest::default() };
            async move { policies.put(request).await }
        });
        policies.buffer_unordered(AT_ONCE).try_for_each(|_| async { Ok(()) }).await?;
        Ok(())
    }
}
