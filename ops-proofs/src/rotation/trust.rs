//! The rotation of the authority that issues certificates, and the cut-over of a node to a certificate of the new one.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use holdfast_testkit::Node;
use serde::Serialize;
use serde_json::Value;

use super::{Entry, List, Plane, text};
use crate::{
    contract::Refusal,
    https::{Connection, Identity},
    lane::{Check, Run},
    members::PATIENCE,
};

pub(crate) const CHECK: Check = Check {
    id: "trust-cut-over",
    requirement: "While an authority overlaps with the next one, certificates of both are served by three servers; when \
                  it is removed, its certificate is refused by all of them, connections that it opened end within a \
                  second, and those of the new certificate go on.",
    run: prove,
};

const DOC: &str = "deploy/runbooks/trust-rotation.md#step-by-step";
const ROOTS: List = List { words: "trust list", rows: "roots", id: "id" };
const WINDOWS: [&str; 3] = ["jwks_cache_s: 2", "stale_limit_s: 10", "key_retirement_s: 2"];
const NODE: &str = "pier1";
/// How soon a connection ends after the change that ends it.
const CUT: Duration = Duration::from_secs(1);
/// A page that nobody may see without an identity. What a node is told of it does not matter here.
const PAGE: &str = "/nodes";
const UNAUTHENTICATED: u16 = 401;

#[derive(Debug, Serialize)]
struct Evidence<'a> {
    windows: &'a [&'a str],
    old_authority: &'a str,
    new_authority: &'a str,
    early: &'a str,
    /// What the removal said: by server, whether it is enforced and how many connections were cut.
    removed: &'a Value,
    removal_ms: u128,
    /// Connections of the old certificate, in milliseconds from the beginning of the removal.
    closed_ms: Vec<u128>,
    journal: &'a [Entry],
}

fn prove(run: &Run<'_>) -> Result<()> {
    run.in_folder(|folder| {
        let mut plane = Plane::start(run, folder, &WINDOWS)?;
        let first = text(&plane.told(0, ROOTS.words)?["roots"][0]["id"])?;
        let old = enroll(run, &plane, folder, "before")?;
        let second = text(&plane.told(1, "trust add")?["id"])?;
        plane.settled(&ROOTS, &[(&first, "active"), (&second, "trusted")])?;
        plane.step_in_time(1, &format!("trust activate {second}"), PATIENCE)?;
        plane.settled(&ROOTS, &[(&first, "overlap"), (&second, "active")])?;
        let new = enroll(run, &plane, folder, "after")?;
        for identity in [&old, &new] {
            plane.everywhere(true, |at| knows(&plane, at, identity))?;
        }
        plane.note("the new authority issues; certificates of both are served everywhere");

        let early = plane.refused(2, &format!("trust remove {first}"))?;
        ensure!(early.contains("becomes possible in"), "it does not say when: {early}");
        let closing: Vec<_> = open(&plane, &old)?.into_iter().map(|held| thread::spawn(|| held.closed())).collect();
        let mut staying = open(&plane, &new)?;
        plane.note(format!("{} connections are open with each certificate", staying.len()));

        let begun = Instant::now();
        let removed = plane.told(1, &format!("trust remove {first} --force"))?;
        let answered = Instant::now();
        let mut closed_ms = Vec::new();
        for closing in closing {
            let closed = closing.join().ok().context("a reader panicked")??;
            ensure!(closed <= answered + CUT, "it was open for {:?} after the answer", closed - answered);
            closed_ms.push(closed.duration_since(begun).as_millis());
        }
        let servers = removed["enforced"].as_array().context("what each server says")?;
        ensure!(servers.len() == plane.servers.len(), "{removed}");
        ensure!(
            servers.iter().all(|server| server["enforced"] == true && server["closed"].as_u64() >= Some(2)),
            "{removed}"
        );
        plane.note(format!("the old authority is removed: {} connections are closed", closed_ms.len()));
        plane.everywhere(false, |at| knows(&plane, at, &old))?;
        plane.everywhere(true, |at| knows(&plane, at, &new))?;
        for held in &mut staying {
            ensure!(held.get(PAGE)?.status != UNAUTHENTICATED, "a connection of the new certificate is nobody's");
        }
        plane.note("the old certificate is nobody's everywhere, and the new one's connections go on");
        plane.settled(&ROOTS, &[(&first, "removed"), (&second, "active")])?;
        plane.step_in_time(2, &format!("trust purge {first}"), PATIENCE)?;
        plane.settled(&ROOTS, &[(&second, "active")])?;

        contract(run, &early.replace(&first, "AUTHORITY"));
        run.keep(
            "trust-cut-over.json",
            &Evidence {
                windows: &WINDOWS,
                old_authority: &first,
                new_authority: &second,
                early: &early,
                removed: &removed,
                removal_ms: answered.duration_since(begun).as_millis(),
                closed_ms,
                journal: &plane.journal,
            },
        )
    })
}

/// A certificate of the authority that issues now, for the same node each time, in a home of its own.
fn enroll(run: &Run<'_>, plane: &Plane, folder: &Path, home: &str) -> Result<Identity> {
    let join_token = folder.join(format!("{home}.join"));
    plane.told(0, &format!("join-token create {NODE} --out {}", join_token.display()))?;
    let node = Node::new(run.binaries, folder, NODE).with_home(home);
    node.enrolling(&join_token, &plane.servers, Some(plane.desk.authority())).run()?.expect(0)?;
    let clusters = node.home().join("clusters");
    let cluster = fs::read_dir(&clusters)?.next().context("flor has joined no cluster")??.path();
    let file = |kind: &str| cluster.join("certs").join(format!("{NODE}.{kind}"));
    Ok(Identity { certificate: file("crt"), key: file("key") })
}

/// A connection to each door of each server that has been used once.
fn open(plane: &Plane, identity: &Identity) -> Result<Vec<Connection>> {
    let doors = plane.servers.iter().flat_map(|server| [&server.api, &server.http]);
    doors
        .map(|door| {
            let mut connection = Connection::open(door, plane.desk.authority(), Some(identity))?;
            ensure!(connection.get(PAGE)?.status != UNAUTHENTICATED, "{door} does not know the certificate");
            Ok(connection)
        })
        .collect()
}

/// Whether a server knows whose certificate it is, on a connection that is new.
fn knows(plane: &Plane, at: usize, identity: &Identity) -> Result<bool> {
    let mut connection = Connection::open(&plane.server(at)?.http, plane.desk.authority(), Some(identity))?;
    Ok(connection.get(PAGE)?.status != UNAUTHENTICATED)
}

fn contract(run: &Run<'_>, early: &str) {
    let mut contract = run.contract.borrow_mut();
    for step in ["add", "activate", "remove", "purge"] {
        contract.supports(run.line(&format!("iam.trust.{step}"), format!("florctl iam trust {step}"), DOC));
    }
    let line = run.line("iam.trust.remove-early", "florctl iam trust remove before its time", DOC);
    contract.refuses(line, Refusal::exit(super::WRONG_STATE, super::timeless(early)));
}
