//! The authority that issues stands below an operator's offline root, on three servers as operators run them.

use std::{fs, path::Path};

use anyhow::{Result, ensure};
use holdfast_testkit::{Cluster, copy_folder, wait_until};

use super::text;
use crate::{lab::SOON, node::Node, plane::Plane, runbook::Runbook};

const RUNBOOK: &str = include_str!("../../../../deploy/runbooks/offline-root.md");

/// A fleet's repository for the trust domain of the servers, as the root's holder has it.
fn repository(folder: &Path) -> Result<()> {
    copy_folder(Path::new("../configsrv/fleet/examples/quay"), folder)?;
    let cluster = folder.join("cluster.yaml");
    fs::write(&cluster, fs::read_to_string(&cluster)?.replace("quay.test", Cluster::TRUST_DOMAIN))?;
    fs::write(folder.join("root.password"), "correct horse battery\n")?;
    Ok(fs::write(folder.join("next.password"), "another horse battery\n")?)
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_certified_below_an_offline_root() -> Result<()> {
    let Some(plane) = Plane::start(3, &["jwks_cache_s: 2", "stale_limit_s: 10"])? else { return Ok(()) };
    let (runbook, folder) = (Runbook::new(RUNBOOK), tempfile::tempdir()?);
    let desk = folder.path().join("repository");
    repository(&desk)?;
    let at_desk = |begin: &str, root: &str| runbook.at_desk(&plane, &desk, begin, &[("ROOT", root)]);
    let before = Node::enroll(&plane, 0, "pier1").await?;

    at_desk("florctl ca init", "")?;
    at_desk("florctl ca password", "")?;
    at_desk("florctl iam trust request --out issuing.csr", "")?;
    at_desk("florctl ca intermediate issuing.csr", "")?;
    at_desk("florctl iam trust add", "")?;
    let added = plane.admin(1, "trust list")?;
    let root = text(&added["roots"][1]["id"])?;
    ensure!(added["roots"][1]["state"] == "trusted" && added["roots"][1]["own"] == true, "{added}");
    let activate = runbook.iam("trust activate ROOT", &[("ROOT", &root)])?;
    plane.step_in_time(2, &activate, SOON)?;

    let first = Node::enroll(&plane, 1, "pier2").await?;
    ensure!(first.answer.certificate_chain.len() == 2 && first.answer.ca_bundle.len() == 2, "leaf and intermediate");
    for at in 0..plane.count() {
        ensure!(first.is_known(&plane, at).await? && before.is_known(&plane, at).await?, "at server {at}");
    }
    let refused = plane.refused(0, "rotate --family authority")?;
    ensure!(refused.contains("stands below an offline root"), "{refused}");

    let status = runbook.run(&plane, 0, "status", &[])?;
    ensure!(!status["warnings"].to_string().contains("issued with ends"), "{status}");
    let listed = runbook.run(&plane, 0, "trust list", &[])?;
    let serial = text(&listed["roots"][1]["issuing_serial"])?;
    at_desk("florctl iam trust request --out next.csr", "")?;
    at_desk("florctl ca intermediate next.csr", "")?;
    at_desk("florctl iam trust issue-with", &root)?;
    wait_until(SOON, "every server to issue with the next one", || {
        for at in 0..plane.count() {
            if plane.admin(at, "trust list")?["roots"][1]["issuing_serial"] == serial.as_str() {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })?;
    let second = Node::enroll(&plane, 2, "pier3").await?;
    ensure!(second.answer.certificate_chain[1] != first.answer.certificate_chain[1], "by the next one");
    for at in 0..plane.count() {
        ensure!(first.is_known(&plane, at).await? && second.is_known(&plane, at).await?, "at server {at}");
    }
    runbook.run(&plane, 1, "trust deny", &[("SERIAL", &serial)])?;
    for at in 0..plane.count() {
        ensure!(!first.is_known(&plane, at).await? && second.is_known(&plane, at).await?, "at server {at}");
    }

    let steps = wait_until(SOON, "the history of the authorities", || {
        let shown = runbook.history(&plane)?;
        Ok(shown.contains("iam.AuthorityIssueWith").then_some(shown))
    })?;
    ensure!(steps.contains("iam.AuthorityRequest"), "{steps}");
    runbook.is_done()
}
