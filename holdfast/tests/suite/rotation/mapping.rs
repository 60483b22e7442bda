//! The rotation of the name by which a node is known whose certificates are somebody else's.

use std::{fs, time::Instant};

use anyhow::{Context as _, Result, ensure};
use holdfast_testkit::wait_until;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType};
use serde_json::Value;
use tempfile::NamedTempFile;

use super::open::{CUT, Open};
use crate::{lab::SOON, node::Node, plane::Plane, runbook::Runbook};

const RUNBOOK: &str = include_str!("../../../../deploy/runbooks/mapping-rotation.md");

/// An authority that knows nothing of SPIFFE.
fn authority() -> Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn certified(authority: &CertifiedIssuer<'static, KeyPair>, name: &str) -> Result<Node> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::DnsName(name.try_into()?)];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, authority)?.der().to_vec();
    Ok(Node::of(key, certificate))
}

fn states(answer: &Value) -> Vec<String> {
    let rules = answer["rules"].as_array().map(Vec::as_slice).unwrap_or_default();
    rules.iter().filter_map(|rule| rule["state"].as_str().map(str::to_owned)).collect()
}

async fn known(plane: &Plane, node: &Node) -> Result<Vec<bool>> {
    let mut known = Vec::new();
    for at in 0..3 {
        known.push(node.is_known(plane, at).await?);
    }
    Ok(known)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_rotated_and_its_removal_closes_connections_on_every_server() -> Result<()> {
    let lifetimes = ["jwks_cache_s: 2", "stale_limit_s: 10", "key_retirement_s: 2"];
    let Some(plane) = Plane::start(3, &lifetimes)? else { return Ok(()) };
    let runbook = Runbook::new(RUNBOOK);
    let authority = authority()?;
    let (old, new) = (certified(&authority, "pier7.old.example")?, certified(&authority, "pier7.new.example")?);
    plane.admin(0, "principal create node/pier7")?;
    let (root, leaf) = (NamedTempFile::new()?, NamedTempFile::new()?);
    fs::write(root.path(), authority.pem())?;
    runbook.run(&plane, 0, "trust add", &[("root.pem", &root.path().display().to_string())])?;
    ensure!(known(&plane, &old).await? == [false; 3], "it has a name that stands for nobody");

    runbook.run(&plane, 1, "trust mapping add node/pier7 dns:pier7.old.example", &[])?;
    let rules = runbook.run(&plane, 2, "trust mapping list", &[])?;
    ensure!(states(&rules) == ["active"], "{rules}");
    ensure!(known(&plane, &old).await? == [true; 3] && known(&plane, &new).await? == [false; 3]);
    runbook.run(&plane, 2, "trust mapping add node/pier7 dns:pier7.new.example", &[])?;
    ensure!(known(&plane, &old).await? == [true; 3] && known(&plane, &new).await? == [true; 3], "both are served");
    plane.step_in_time(0, &runbook.iam("trust mapping activate", &[])?, SOON)?;
    ensure!(known(&plane, &old).await? == [true; 3] && known(&plane, &new).await? == [true; 3]);

    fs::write(leaf.path(), old.pem())?;
    let check = runbook.run(&plane, 1, "trust check", &[("pier7.crt", &leaf.path().display().to_string())])?;
    let verdicts = check["verdicts"].as_array().context("verdicts")?;
    let without = verdicts.iter().find(|verdict| verdict["when"] == "remove node/pier7 by dns:pier7.old.example");
    let without = without.with_context(|| format!("what its removal does: {check}"))?;
    ensure!(verdicts[0]["principal"] == "node/pier7" && without["principal"] == "", "{check}");

    let early = plane.refused(1, "trust mapping remove node/pier7 dns:pier7.old.example")?;
    ensure!(early.contains("is overlap; to retire it becomes possible in"), "{early}");
    let (mut gone, mut staying) = (Vec::new(), Vec::new());
    for at in 0..3 {
        gone.push(tokio::spawn(Open::at(&plane, at, &old).await?.ended()));
        staying.push(Open::at(&plane, at, &new).await?);
    }
    let removed = runbook.run(&plane, 2, "trust mapping remove", &[])?;
    let answered_at = Instant::now();
    for gone in gone {
        ensure!(gone.await?? <= answered_at + CUT, "{removed}");
    }
    for server in removed["enforced"].as_array().context("what each server says")? {
        ensure!(server["enforced"] == true && server["closed"].as_u64() >= Some(3), "{removed}");
    }
    ensure!(known(&plane, &old).await? == [false; 3] && known(&plane, &new).await? == [true; 3]);
    plane.step_in_time(0, &runbook.iam("trust mapping purge", &[])?, SOON)?;

    runbook.run(&plane, 1, "trust mapping add node/pier7 dns:pier7.third.example", &[])?;
    let distrusted = runbook.run(&plane, 1, "trust mapping distrust", &[])?;
    ensure!(states(&distrusted) == ["active", "distrusted"], "{distrusted}");
    runbook.run(&plane, 0, "trust mapping drop", &[])?;
    let answered_at = Instant::now();
    for open in staying {
        ensure!(open.ended().await? <= answered_at + CUT);
    }
    let steps = wait_until(SOON, "the history of the rules", || {
        let shown = runbook.history(&plane)?;
        Ok(shown.contains("iam.MappingDrop").then_some(shown))
    })?;
    ensure!(steps.contains("iam.MappingRemove") && steps.contains("iam.MappingPurge"), "{steps}");
    runbook.is_done()
}
