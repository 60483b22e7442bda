//! A disk that hangs: every sync waits, none fails. The server that leads with such a disk lets another one lead, says
//! what is wrong, and goes on by itself once the disk does.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use holdfast_testkit::wait_until;
use serde_json::Value;

use crate::{
    drop_in::DropIn,
    faults::Faults,
    http::Request,
    lab::SOON,
    members::{MEMBERS, Members},
    programs::{Etcdctl, run},
};

/// etcd's own default, which no flag of the test changes.
const ELECTION: Duration = Duration::from_secs(1);

/// Three time-outs make it a stall; then a write, an election, and what a busy machine takes for them.
const HANDED_OVER: u32 = 10;

/// What a server says of itself.
fn status(etcdctl: &Etcdctl) -> Result<Option<Value>> {
    let said = run(etcdctl.command(&["endpoint", "status", "-w", "json"]))?;
    Ok(serde_json::from_str::<Value>(&said.out).ok().map(|all| all[0]["Status"].clone()))
}

/// Which member leads in the eyes of one that knows.
fn leader(each: &[Etcdctl]) -> Result<Option<usize>> {
    let statuses = each.iter().map(status).collect::<Result<Vec<_>>>()?;
    let named = |at: usize| statuses[at].as_ref().and_then(|status| status["leader"].as_u64()).filter(|id| *id != 0);
    let is = |at: usize, id: u64| statuses[at].as_ref().is_some_and(|status| status["header"]["member_id"] == id);
    let leaders: Vec<_> = (0..statuses.len()).filter_map(named).collect();
    Ok(leaders.first().and_then(|id| (0..statuses.len()).find(|at| is(*at, *id))))
}

fn metric(address: &str, name: &str) -> Result<f64> {
    let page = Request::get("/metrics").send(address)?.body;
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.with_context(|| format!("no {name}"))
}

const STALLED: &str = "holdfast_raft_disk_stalled_seconds";

#[test]
fn a_leader_whose_disk_hangs_lets_another_lead_and_comes_back() -> Result<()> {
    let faults = [Faults::new()?, Faults::new()?, Faults::new()?];
    let mut members = Members::start(|at| faults[at].command())?;
    let Some(all) = Etcdctl::find(&members.endpoints(|_| true), None)? else { return Ok(()) };
    members.wait_healthy(&all)?;
    let to = |wanted: &dyn Fn(usize) -> bool| Etcdctl::find(&members.endpoints(wanted), None)?.context("etcdctl");
    let each = (0..MEMBERS).map(|at| to(&|other| other == at)).collect::<Result<Vec<_>>>()?;
    let slow = wait_until(SOON, "a leader", || leader(&each))?;
    let (address, others) = (members.address(slow), to(&|at| at != slow)?);
    let others_each: Vec<Etcdctl> =
        (0..MEMBERS).filter(|at| *at != slow).map(|at| to(&|other| other == at)).collect::<Result<_>>()?;
    assert_eq!(metric(&address, STALLED)?, 0.0);

    let mut acknowledged = BTreeMap::new();
    let mut write = || -> Result<bool> {
        let (key, value) = (format!("k{:03}", acknowledged.len()), format!("v{}", acknowledged.len()));
        let mut put = others.command(&["put", &key, &value]);
        put.env("ETCDCTL_COMMAND_TIMEOUT", "10s");
        let done = run(put)?.code == Some(0);
        if done {
            acknowledged.insert(key, value);
        }
        Ok(done)
    };
    ensure!(write()?);
    faults[slow].hang_syncs(true)?;
    let begun = Instant::now();
    wait_until(ELECTION * HANDED_OVER, "another leader", || {
        write()?;
        leader(&others_each)
    })?;
    let handed_over = begun.elapsed();
    wait_until(ELECTION * HANDED_OVER, "an acknowledged write", || Ok(write()?.then_some(())))?;
    println!("another one led after {handed_over:?}; writes were acknowledged after {:?}", begun.elapsed());

    // The one with the disk says what is wrong with it.
    wait_until(SOON, "words about the disk", || {
        let health = Request::get("/health").send(&address)?;
        Ok((health.status == 503 && health.body.contains("DISK STALLED")).then_some(()))
    })?;
    ensure!(metric(&address, STALLED)? >= 10.0);
    let errors = status(&each[slow])?.context("a status")?["errors"].to_string();
    ensure!(errors.contains("the disk has not synced the log for"), "{errors}");
    let words = members.process(slow)?.log_tail();
    ensure!(words.contains("the disk does not sync the log"), "{words}");
    ensure!(write()?, "two of three");

    faults[slow].hang_syncs(false)?;
    members.wait_healthy(&all)?;
    ensure!(metric(&address, STALLED)? == 0.0);
    let now = wait_until(SOON, "a leader that all know", || leader(&each))?;
    ensure!(now != slow, "nothing has happened to the others' disks");
    let found = each[slow].says(&["get", "--prefix", "k"])?;
    let lines: Vec<&str> = found.lines().collect();
    let found: BTreeMap<String, String> =
        lines.chunks_exact(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect();
    for (key, value) in &acknowledged {
        ensure!(found.get(key) == Some(value), "{key} was acknowledged and is {:?}", found.get(key));
    }
    let hashes: Value = serde_json::from_str(&all.says(&["endpoint", "hashkv", "-w", "json"])?)?;
    let hashes: Vec<_> = hashes.as_array().context("hashes")?.iter().map(|one| &one["HashKV"]["hash"]).collect();
    ensure!(hashes.windows(2).all(|pair| pair[0] == pair[1]), "{hashes:?}");
    Ok(())
}

#[test]
fn a_server_alone_waits_for_its_disk() -> Result<()> {
    let (faults, folder) = (Faults::new()?, tempfile::tempdir()?);
    let server = DropIn::start_on(folder.path(), &mut faults.command())?;
    let Some(etcdctl) = Etcdctl::find(&server.address, None)? else { return Ok(()) };
    etcdctl.says(&["put", "before", "1"])?;
    faults.hang_syncs(true)?;
    let mut put = etcdctl.command(&["put", "while", "1"]);
    put.env("ETCDCTL_COMMAND_TIMEOUT", "1s");
    ensure!(run(put)?.code != Some(0), "acknowledged without having been synced");
    wait_until(SOON, "a stall", || Ok((metric(&server.address, STALLED)? > 0.0).then_some(())))?;
    faults.hang_syncs(false)?;
    etcdctl.says(&["put", "after", "1"])?;
    // What was not acknowledged was not refused either.
    assert_eq!(etcdctl.says(&["get", "while"])?, "while\n1\n");
    ensure!(metric(&server.address, STALLED)? == 0.0);
    Ok(())
}
