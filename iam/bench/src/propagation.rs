use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use holdfast_bench::{Plane, Wire};
use holdfast_proto::iam::{
    AuthorizeRequest, Binding, CreatePrincipalRequest, GrantRequest, RevokeGrantRequest, admin_client::AdminClient,
    authz_client::AuthzClient,
};
use serde::Serialize;

const SUBJECT: &str = "user/mira";
const ROLE: &str = "operator";
const ACTION: &str = "config.Publish";
const RESOURCE: &str = "versions/*";
/// A change that is not there by then never will be.
const LONGEST: Duration = Duration::from_secs(30);

/// Milliseconds from the begin of a change to its effect on the last server.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Propagation {
    pub(crate) changes: usize,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) worst: f64,
}

/// Gives and takes a role, in turn at each server, and asks every server without pause until it knows.
pub(crate) async fn measure(plane: &Plane, changes: usize) -> Result<Propagation> {
    let mut servers = Vec::new();
    for at in 0..plane.count() {
        servers.push(plane.administrator(at).await?);
    }
    let Some(first) = servers.first() else { anyhow::bail!("no server") };
    let create = CreatePrincipalRequest { id: SUBJECT.to_owned(), ..Default::default() };
    AdminClient::new(first.clone()).create_principal(create).await?;
    let mut token_holders = Vec::new();
    let bearer = plane.issue(first, SUBJECT).await?;
    for at in 0..plane.count() {
        token_holders.push(bearer.on(&plane.connect(at).await?));
    }
    let mut took = Vec::with_capacity(changes);
    for (number, admin) in servers.iter().cycle().take(changes).enumerate() {
        let given = number % 2 == 0;
        let begun = Instant::now();
        change(admin, given).await?;
        try_join_all(token_holders.iter().map(|wire| known(wire, given))).await?;
        took.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    took.sort_by(f64::total_cmp);
    let at = |part: f64| took.get(((took.len() - 1) as f64 * part).round() as usize).copied().unwrap_or_default();
    Ok(Propagation { changes, p50: at(0.5), p99: at(0.99), worst: at(1.0) })
}

async fn change(admin: &Wire, given: bool) -> Result<()> {
    let mut admin = AdminClient::new(admin.clone());
    if given {
        let binding = Binding { subject: SUBJECT.to_owned(), role: ROLE.to_owned(), ..Binding::default() };
        admin.grant(GrantRequest { binding: Some(binding), ..Default::default() }).await?;
    } else {
        admin
            .revoke_grant(RevokeGrantRequest {
                subject: SUBJECT.to_owned(),
                name: ROLE.to_owned(),
                ..Default::default()
            })
            .await?;
    }
    Ok(())
}

/// Asks one server, as the one it is about, until it says what it should.
async fn known(wire: &Wire, expected: bool) -> Result<()> {
    let begun = Instant::now();
    let mut authz = AuthzClient::new(wire.clone());
    let question =
        AuthorizeRequest { principal: String::new(), action: ACTION.to_owned(), resource: RESOURCE.to_owned() };
    while authz.authorize(question.clone()).await?.into_inner().allowed != expected {
        ensure!(begun.elapsed() < LONGEST, "a server still says {}", !expected);
    }
    Ok(())
}
