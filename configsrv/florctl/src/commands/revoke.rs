use std::collections::BTreeSet;

use configsrv_fleet::{
    AccessDelta, ClusterName, Payload, Revocations, SealedRevocations, Sequence, SpiffeId, Version,
    enrollment::Log,
    nearest,
    revocation::{FILE, Named, RevocationError, RevocationErrorKind, narrow},
    validate::principals,
};
use serde_json::json;
use time::OffsetDateTime;

use super::{ca, publish::confirm};
use crate::{
    cli::{Ignored, Revoke},
    failure::{Code, Failure},
    output::Format,
    remote::{Http, Node, highest},
    settings::Settings,
    workspace::Workspace,
};

pub(super) async fn run(options: &Revoke, settings: &Settings, output: Format) -> Result<Code, Failure> {
    let workspace = Workspace::open(&options.repository)?;
    let cluster = workspace.cluster()?;
    let ids = options.ids(&cluster)?;
    // Before the servers are asked: without a key nothing comes of it.
    let key = workspace.signing_key(&options.sign_key)?;
    let http = workspace.servers(settings, None)?;
    let known_last = previous(&workspace, &http).await?;
    let previous = known_last.as_ref().map(SealedRevocations::revocations);
    let served = http.published(&compiled(&workspace), &workspace.trusted()?).await?;
    let named = named(&served.payloads)?;
    if !options.unknown {
        refuse_unknown(&ids, &known(&workspace, &cluster, &named, previous))?;
    }
    let now = OffsetDateTime::now_utc();
    let next = Revocations::following(previous, &cluster, served.version, now, options.reason.clone());
    let mut next = next.ok_or_else(used_up)?;
    for id in &ids {
        next.revoke(id.clone());
        if options.allow_lockout {
            next.allow_lockout.insert(id.clone());
        }
    }
    let settled =
        if options.settle { settle(&mut next, &committed(&workspace, served.version)?) } else { BTreeSet::new() };
    if previous.is_some_and(|previous| (&previous.revoked, &previous.settled) == (&next.revoked, &next.settled)) {
        // The command that sent them may not have come to this.
        known_last.as_ref().map(|sealed| workspace.write_revocations(sealed)).transpose()?;
        ca::revoke_all(&workspace, &ids, &options.reason, &options.operator)?;
        let value = json!({ "sequence": previous.map(|previous| previous.sequence), "unchanged": true });
        output.print(&value, || "nothing to do: they are revoked already, and nobody can be settled".to_owned())?;
        return Ok(Code::Done);
    }
    next.sequence = beyond_reports(&next, &served.nodes, &options.ignored)?;
    if let Err(error) = named.keeps_an_operator(&next) {
        return Err(locked_out(error.into()));
    }
    let delta = delta(&served.payloads, previous, &next);
    let sealed = next.seal(&key).map_err(|error| match error.kind() {
        RevocationErrorKind::Lockout => locked_out(error.into()),
        _ => error.into(),
    })?;
    let (next, sequence) = (sealed.revocations(), sealed.revocations().sequence);
    eprint!("sequence {sequence} on every node, whatever version it runs:\n{delta}");
    for id in &settled {
        eprintln!("  {} may be named again from version {} on", id.subject(), next.base_version);
    }
    confirm(options.yes, "revoke")?;
    let taken = http.revoke(&sealed, &options.ignored.nodes).await?;
    workspace.write_revocations(&sealed)?;
    let logged = ca::revoke_all(&workspace, &ids, &options.reason, &options.operator)?;
    let value = json!({
        "sequence": taken.sequence,
        "revoked": next.revoked,
        "settled": next.settled,
        "base_version": next.base_version,
        "certificates": logged,
        "access": delta,
    });
    output.print(&value, || {
        let still: Vec<String> =
            ids.iter().filter(|id| named.contains(id)).map(|id| id.subject().to_string()).collect();
        let mut text = format!(
            "sequence {sequence} is with the servers; nodes apply it as soon as they hear of it: florctl revocations\n\
             {FILE} and enrollment.log changed: commit them"
        );
        if !still.is_empty() {
            text += &format!("\ntake {} out of the YAML; the next version compiles only then", still.join(", "));
        }
        text
    })?;
    Ok(Code::Done)
}

/// What the servers have, or what this repository knows to be newer. What is signed next holds on to all of it, so what
/// the repository does not know must be signed by a signer of cluster.yaml, and follow.
async fn previous(workspace: &Workspace, http: &Http) -> Result<Option<SealedRevocations>, Failure> {
    let known = workspace.repo.revocations.clone();
    let served = http.revocations().await?.map(|lane| lane.sealed);
    let Some(served) = served.filter(|served| Some(served) != known.as_ref()) else { return Ok(known) };
    if let Some(known) = known.filter(|known| known.revocations().sequence > served.revocations().sequence) {
        return Ok(Some(known));
    }
    let untrusted =
        |error: RevocationError| Failure::from(error).hint("it is what the servers have: git pull may bring it");
    served.verify(&workspace.cluster()?, &workspace.signers()?).map_err(untrusted)?;
    Ok(Some(served))
}

/// Payloads that need not be fetched again, if they are the published ones. Nobody stays in because they cannot be read.
fn compiled(workspace: &Workspace) -> Vec<Payload> {
    workspace.compiled_if_readable().and_then(|tree| tree.payloads().ok()).unwrap_or_default()
}

/// Everybody who is or was somebody: in the published version, the YAML, enrollment.log or the revocations.
fn known(
    workspace: &Workspace,
    cluster: &ClusterName,
    named: &Named,
    previous: Option<&Revocations>,
) -> BTreeSet<SpiffeId> {
    let written = principals(&workspace.repo).into_iter().map(|(subject, _)| SpiffeId::new(cluster, subject));
    let logged = workspace.repo.log.iter().flat_map(Log::events).map(|event| event.spiffe_id.clone());
    let revoked = previous.into_iter().flat_map(|previous| previous.revoked.iter().chain(previous.settled.keys()));
    named.ids().chain(revoked).cloned().chain(written).chain(logged).collect()
}

/// A name that is nobody's is a slip, and whoever was meant would stay in.
fn refuse_unknown(ids: &[SpiffeId], known: &BTreeSet<SpiffeId>) -> Result<(), Failure> {
    let Some(unknown) = ids.iter().find(|id| !known.contains(*id)) else { return Ok(()) };
    let message = format!("nobody is called {unknown}: not in the published version, the YAML or enrollment.log");
    let names: Vec<String> = known.iter().map(|id| id.subject().to_string()).collect();
    let near = nearest(&unknown.subject().to_string(), names.iter().map(String::as_str)).join(", ");
    Err(Failure::new(Code::Findings, message)
        .hint(format!("the nearest names are {near}; --unknown revokes nevertheless")))
}

fn named(payloads: &[Payload]) -> Result<Named, Failure> {
    let mut named = Named::default();
    for payload in payloads {
        named.note(&serde_json::to_vec(payload)?)?;
    }
    Ok(named)
}

/// What the published version names, by the tree that was compiled here and that signers vouch for: by what servers say alone
/// they could bring somebody back.
fn committed(workspace: &Workspace, published: Version) -> Result<Named, Failure> {
    let bring = "git pull brings the tree that is published; it shows whom that does not name any more";
    let tree = workspace.compiled()?.filter(|tree| tree.version() == published);
    let tree = tree.ok_or_else(|| {
        Failure::new(Code::State, format!("version {published} is published, and is not what is compiled here"))
            .hint(bring)
    })?;
    let signers = workspace.signers()?;
    for artifact in tree.artifacts().values() {
        artifact.verify(&signers)?;
    }
    named(&tree.payloads()?)
}

/// A sequence above what the servers have, and above what nodes have: after a restore of the servers that may be more.
fn beyond_reports(next: &Revocations, nodes: &[Node], ignored: &Ignored) -> Result<Sequence, Failure> {
    // Whoever is cut off has no say in it.
    let is_revoked = |node: &Node| {
        let name = node.name.parse().ok();
        name.is_some_and(|name| next.revoked.contains(&SpiffeId::node(&next.cluster, &name)))
    };
    let heard = nodes.iter().filter(|node| node.published && !ignored.has(&node.name) && !is_revoked(node));
    let reports = heard.filter_map(|node| Some((node.name.as_str(), node.revocations.as_ref()?.sequence.get())));
    match highest(next.sequence.get().saturating_sub(1), reports)? {
        Some(number) => Sequence::new(number).ok().and_then(Sequence::next).ok_or_else(used_up),
        None => Ok(next.sequence),
    }
}

fn used_up() -> Failure {
    Failure::new(Code::State, "the sequences are used up")
}

/// Settles everybody whom the published version does not name, and says whom.
fn settle(next: &mut Revocations, named: &Named) -> BTreeSet<SpiffeId> {
    let gone: BTreeSet<SpiffeId> = next.revoked.iter().filter(|id| !named.contains(id)).cloned().collect();
    gone.iter().for_each(|id| next.settle(id));
    gone
}

/// Who reaches what no longer.
fn delta(payloads: &[Payload], previous: Option<&Revocations>, next: &Revocations) -> AccessDelta {
    let none = BTreeSet::new();
    let before = previous.map_or(&none, |previous| &previous.revoked);
    let without = |ids: &BTreeSet<SpiffeId>| payloads.iter().map(|payload| narrow(payload, ids)).collect::<Vec<_>>();
    AccessDelta::between(&without(before), &without(&next.revoked))
}

fn locked_out(failure: Failure) -> Failure {
    failure.hint("--allow-lockout revokes nevertheless; what is lost cannot be given back from afar")
}
