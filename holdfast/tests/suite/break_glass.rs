//! A grant that operators' offline keys have signed opens a server that has no quorum, as the runbook says.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use holdfast_testkit::{Binaries, wait_until};

use crate::{
    lab::SOON,
    plane::Plane,
    programs::{Said, run},
};

const RUNBOOK: &str = include_str!("../../../deploy/runbooks/break-glass.md");
const SHORT: Duration = Duration::from_secs(5);

/// An operators' desk: a folder with keys and grants.
struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    /// Runs the runbook's command that begins with `words`, after these replacements.
    fn offline(&self, words: &str, replaced: &[(&str, &str)]) -> Result<Said> {
        let mut command = Command::new(Binaries::find()?.path("florctl"));
        command.current_dir(self.folder.path()).args(runbook(words, replaced)?);
        run(command)
    }

    /// The same at server `at`, which takes the file that the command names for a token.
    fn online(&self, plane: &Plane, at: usize, words: &str, replaced: &[(&str, &str)]) -> Result<Said> {
        let mut command = plane.desk(at, "", "json")?;
        command.env_remove("HOLDFAST_TOKEN").current_dir(self.folder.path()).args(runbook(words, replaced)?);
        run(command)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn runbook(words: &str, replaced: &[(&str, &str)]) -> Result<Vec<String>> {
    let begin = format!("florctl {words}");
    let found = RUNBOOK.lines().map(str::trim).find(|line| line.starts_with(&begin));
    let line = found.with_context(|| format!("the runbook has no command that begins with {begin:?}"))?;
    let line = replaced.iter().fold(line.to_owned(), |line, (from, to)| line.replace(from, to));
    Ok(line.split_whitespace().skip(1).map(str::to_owned).collect())
}

#[test]
fn operators_open_a_server_without_a_quorum() -> Result<()> {
    if !Binaries::find()?.path("florctl").is_file() {
        eprintln!("SKIPPED: florctl is not built (cargo build -p florctl)");
        return Ok(());
    }
    let desk = Desk { folder: tempfile::tempdir()? };
    let operators = ["alice", "bob", "carol"];
    for operator in operators {
        desk.offline("iam break-glass key", &[("alice", operator)])?.good()?;
    }
    let keys = operators.map(|operator| format!("{:?}", desk.path(&format!("{operator}.pem.pub"))));
    let keys = format!("break_glass: {{keys: [{}], threshold: 2}}", keys.join(", "));
    let Some(mut plane) = Plane::start(3, &["stale_limit_s: 3", &keys])? else { return Ok(()) };
    plane.admin(0, "principal create service/ci")?;

    let request = |name: &str, more: &[(&str, &str)]| -> Result<()> {
        let own = [&[(" grant", name), ("TRUST-DOMAIN", "testkit")], more].concat();
        desk.offline("iam break-glass request", &own)?.good().map(drop)
    };
    let sign = |name: &str, operator: &str| -> Result<()> {
        let said = desk.offline("iam break-glass sign", &[(" grant", name), ("alice", operator)])?;
        said.good().map(drop)
    };
    let status =
        |plane: &Plane, name: &str| desk.online(plane, 0, "--token-file grant iam status", &[(" grant", name)]);
    request(" grant", &[])?;
    request(" elsewhere", &[("--role", "--server s2 --role")])?;
    for (name, operator) in [(" grant", "alice"), (" elsewhere", "alice"), (" elsewhere", "bob")] {
        sign(name, operator)?;
    }
    let shown = desk.offline("iam break-glass show", &[])?.good()?;
    ensure!(shown.contains("quorum-lost") && shown.contains("signed by 1 keys"), "{shown}");

    plane.kill(1)?;
    plane.kill(2)?;
    let admin = plane.administrator().to_owned();
    wait_until(SOON, "the server to let nobody in", || {
        let said = plane.iam(0, &admin, "status")?;
        Ok(said.err.contains("no contact to a quorum").then_some(()))
    })?;
    for short in [" grant", " elsewhere"] {
        let refused = status(&plane, short)?;
        ensure!(refused.code != Some(0) && refused.err.contains("authentication failed"), "{short}: {refused:?}");
    }
    sign(" grant", "carol")?;
    let answer = status(&plane, " grant")?.good()?;
    ensure!(answer.contains("a break-glass grant is in use") && answer.contains("no quorum for"), "{answer}");
    let grant = fs::read_to_string(desk.path("grant"))?;
    if let Some(metrics) = plane.page_as(0, grant.trim(), "/metrics")? {
        ensure!(metrics.contains("holdfast_iam_break_glass 1"), "{metrics}");
    }
    desk.online(&plane, 0, "--token-file grant backup", &[])?.good()?;
    ensure!(fs::metadata(desk.path("rescue.backup"))?.len() > 1000);
    ensure!(plane.iam(0, &admin, "status")?.code != Some(0), "nobody else is let in by that");

    // A server that starts without a quorum has nothing but its own disk to believe.
    plane.kill(0)?;
    plane.cluster.servers_mut().first_mut().context("no server")?.start_again()?;
    wait_until(SOON, "the server to take the grant again", || {
        Ok((status(&plane, " grant")?.code == Some(0)).then_some(()))
    })?;

    request(" short", &[("1h", "5s")])?;
    for operator in ["bob", "carol"] {
        sign(" short", operator)?;
    }
    status(&plane, " short")?.good()?;
    wait_until(SHORT + SOON, "the short grant to end", || {
        let said = status(&plane, " short")?;
        Ok(said.err.contains("authentication failed").then_some(()))
    })?;

    for at in [1, 2] {
        plane.start_again(at)?;
    }
    let sql = RUNBOOK.lines().find_map(|line| line.trim().strip_prefix("florctl history ")).context("a query")?;
    wait_until(SOON, "what was done in the history", || {
        let rows = plane.history(1, sql.trim_matches('"'))?;
        Ok((rows.contains("break-glass/") && rows.contains("quorum-lost")).then_some(()))
    })
}
