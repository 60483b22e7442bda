//! Machines that reboot by FleetLock, as an unmodified client has them do it, while the servers change leaders.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use holdfast_testkit::{
    Cluster, Server, wait_until,
    zincati::{History, Host, Lock, Mischief, Operation},
};
use serde_json::json;

use crate::{
    http::Request,
    lab::{Caller, eventually},
    three::{callers, leader},
};

/// For all machines to be through, on a busy computer.
const LONG: Duration = Duration::from_secs(180);
const REBOOTS: usize = 3;
const SLOTS: usize = 1;
const WHY: &str = "the machine burnt down";

/// What each of the machines does that servers have to bear. The last one vanishes with the slot in its hand.
const MACHINES: [Mischief; 5] = [
    Mischief { repeats: 0, abandons: 0, restarts: 0, sessions: 0 },
    Mischief { repeats: 2, abandons: 0, restarts: 0, sessions: 3 },
    Mischief { repeats: 0, abandons: 3, restarts: 0, sessions: 0 },
    Mischief { repeats: 3, abandons: 0, restarts: 2, sessions: 1 },
    Mischief { repeats: 0, abandons: 0, restarts: 0, sessions: 0 },
];

/// The machines' side of a run.
struct Fleet {
    history: Arc<History>,
    /// Machines that have reboots before them.
    busy: Arc<AtomicUsize>,
    vanished: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// As Zincati derives them: they say nothing about the machine.
fn id(machine: usize) -> String {
    format!("{:032x}", 0x978a_225b_0000_u64 + machine as u64)
}

fn lock(door: &str, machine: usize) -> Result<Lock> {
    Ok(Lock::new(format!("http://{door}/").parse()?, "default", &id(machine)))
}

impl Fleet {
    /// Every machine knows one server only.
    fn start(doors: &[String]) -> Result<Self> {
        let mut fleet = Self {
            history: Arc::default(),
            busy: Arc::new(AtomicUsize::new(MACHINES.len())),
            vanished: Arc::default(),
            threads: Vec::new(),
        };
        for (machine, mischief) in MACHINES.into_iter().enumerate() {
            let lock = lock(&doors[machine % doors.len()], machine)?;
            let mut host = Host::new(lock, machine as u64, mischief, Arc::clone(&fleet.history));
            let (busy, vanished) = (Arc::clone(&fleet.busy), Arc::clone(&fleet.vanished));
            let vanishes = machine + 1 == MACHINES.len();
            fleet.threads.push(thread::spawn(move || {
                if vanishes {
                    host.update_until_granted();
                    vanished.store(true, Ordering::SeqCst);
                    // Imaged anew, it is another machine.
                    host = host.imaged_anew(&id(machine + 1));
                    host.reboot(1);
                } else {
                    host.reboot(REBOOTS);
                }
                busy.fetch_sub(1, Ordering::SeqCst);
                while busy.load(Ordering::SeqCst) > 0 {
                    host.idle();
                }
            }));
        }
        Ok(fleet)
    }

    fn grants(&self) -> usize {
        (0..=MACHINES.len()).map(|machine| self.history.grants(&id(machine))).sum()
    }

    /// What each machine was told last.
    fn last_heard(&self) -> String {
        let asked = self.history.asked();
        let last = |machine| asked.iter().rev().find(|asked| asked.id == id(machine));
        (0..=MACHINES.len()).map(|machine| format!("{machine}: {:?}\n", last(machine))).collect()
    }

    fn finish(&mut self) -> Result<()> {
        let busy = &self.busy;
        let through = || Ok((busy.load(Ordering::SeqCst) == 0).then_some(()));
        wait_until(LONG, "all machines to be through", through).with_context(|| self.last_heard())?;
        for thread in self.threads.drain(..) {
            thread.join().ok().context("a machine failed")?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_after_the_other_whoever_leads() -> Result<()> {
    let mut cluster = Cluster::start(3)?;
    let callers = callers(cluster.servers())?;
    let token = cluster.admin_token()?;
    let doors = cluster.servers().iter().map(|server| Ok(server.endpoints()?.http)).collect::<Result<Vec<_>>>()?;
    let mut fleet = Fleet::start(&doors)?;

    // The one that vanishes is missed by a person, who gives its slot back with a reason.
    let vanished = Arc::clone(&fleet.vanished);
    eventually("a machine vanishes", || async { Ok(vanished.load(Ordering::SeqCst).then_some(())) }).await?;
    let gone = id(MACHINES.len() - 1);
    fleet.history.note_release(&gone);
    let release = json!({ "id": gone, "reason": WHY }).to_string();
    let release = Request::post("/locks/default/release", release).bearer(&token);
    eventually("its slot is given back", || async { Ok((release.send(&doors[0])?.status == 200).then_some(())) })
        .await?;

    let before = fleet.grants();
    let dead = leader(&cluster, &callers[0]).await?;
    let killed: &mut Server = &mut cluster.servers_mut()[dead];
    killed.kill()?;
    killed.start_again()?;
    killed.wait_ready()?;
    fleet.finish()?;
    ensure!(fleet.grants() > before, "all grants were before the leader died");

    let violations = fleet.history.violations(SLOTS);
    ensure!(violations.is_empty(), "{violations:?}");
    for machine in 0..MACHINES.len() - 1 {
        ensure!(fleet.history.grants(&id(machine)) >= REBOOTS, "machine {machine} did not reboot");
    }
    // A request that nobody waited for may have been granted after all; the machine's next boot ends it.
    eventually("nobody holds", || async {
        for machine in 0..=MACHINES.len() {
            let _ = lock(&doors[machine % doors.len()], machine)?.ask(Operation::SteadyState);
        }
        let groups = Request::get("/locks").bearer(&token).send(&doors[0])?.json()?;
        Ok(groups["groups"].as_array().is_some_and(Vec::is_empty).then_some(()))
    })
    .await?;
    history_tells_the_same(&callers[0], &fleet.history, &gone).await
}

/// By the servers' own account: never more holders than slots, each grant ended by its id, or by the admin.
async fn history_tells_the_same(api: &Caller, seen: &History, gone: &str) -> Result<()> {
    let sql = "SELECT action, resource, reason FROM audit.events \
               WHERE service = 'lock' AND outcome = 'done' ORDER BY log_index, sub";
    let rows = eventually("the history has all grants and releases", || async {
        let rows = api.rows(sql).await?;
        let count = |action: &str| rows.iter().filter(|row| row[0] == action).count();
        let complete = count("lock.Acquire") > 0 && count("lock.Acquire") == count("lock.Release");
        Ok(complete.then_some(rows))
    })
    .await?;
    let mut holders: Vec<String> = Vec::new();
    for row in &rows {
        let holder = row[1].as_str().context("no resource")?.to_owned();
        if row[0] == "lock.Acquire" {
            ensure!(!holders.contains(&holder), "granted twice: {row}");
            holders.push(holder);
            ensure!(holders.len() <= SLOTS, "more holders than slots: {holders:?}");
        } else {
            ensure!(holders.contains(&holder), "released without being held: {row}");
            holders.retain(|held| *held != holder);
            let by_admin = row[2].as_str() == Some(WHY);
            ensure!(by_admin == (holder == format!("lock/default/{gone}")), "whoever released it: {row}");
        }
    }
    // Every grant that a machine was told is in the history; repeats are none of their own.
    for machine in 0..=MACHINES.len() {
        let resource = format!("lock/default/{}", id(machine));
        let granted = rows.iter().filter(|row| row[0] == "lock.Acquire" && row[1] == resource.as_str()).count();
        ensure!((granted > 0) == (seen.grants(&id(machine)) > 0), "machine {machine}: {granted} grants");
    }
    Ok(())
}
