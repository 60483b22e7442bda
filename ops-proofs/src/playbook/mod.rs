//! The operator's playbook for a change of a fleet, from an edit to five machines that run it, with a leader that is
//! killed in the middle and a bad version that goes back.

mod harbour;
mod rollout;
mod tunnel;

use anyhow::{Context as _, Result};
use holdfast_testkit::{Cluster, Desk, Node};

use self::harbour::{CLERKS, FIRST, HOOK, Harbour, LEDGER, LINES, NODES, STOCK, TOMAS};
use crate::{
    lane::{Check, Run},
    operator::{Step, Workplace},
};

pub(crate) const CHECK: Check = Check {
    id: "playbook",
    requirement: "A change goes from YAML through Git, a signed version and one guarded node to all machines, while the \
                  leader of three servers is killed; a bad version goes back by itself, and the fleet view says so.",
    run: prove,
};

const SERVERS: usize = 3;
const REPOSITORY_HAS_ERRORS: i32 = 3;
const UPDATE_AVAILABLE: i32 = 4;
const VERSION_CONFLICT: i32 = 5;
const ROLLED_BACK: i32 = 9;
/// The guard of a version that nobody confirms.
const SHORT_GUARD: &str = "3s";

/// All that takes part.
struct Playbook<'a> {
    run: &'a Run<'a>,
    place: Workplace,
    harbour: Harbour,
    nodes: Vec<Node>,
}

fn prove(run: &Run<'_>) -> Result<()> {
    run.in_folder(|folder| {
        let mut servers = Cluster::start_production_in(run.binaries, folder, SERVERS, &[])?;
        servers.wait_ready()?;
        let desk = Desk::of(&servers, run.binaries, folder)?;
        let harbour = Harbour::create(folder, tunnel::serve()?, tunnel::serve()?)?;
        let nodes = NODES.iter().map(|name| Node::new(run.binaries, folder, name)).collect();
        let mut playbook = Playbook { run, place: Workplace::new(servers, desk, folder)?, harbour, nodes };
        playbook.begin()?;
        playbook.author()?;
        playbook.publish()?;
        playbook.first_node()?;
        playbook.the_rest()?;
        playbook.bad_version()?;
        playbook.way_back()
    })
}

impl Playbook<'_> {
    fn node(&self, name: &str) -> Result<&Node> {
        self.nodes.iter().find(|node| node.name() == name).with_context(|| format!("no node {name}"))
    }

    /// The fleet as it is before the change: version 1, everywhere.
    fn begin(&mut self) -> Result<()> {
        let run = self.run;
        Step::of(run, "playbook-00-begin", "three servers, a repository, five machines at version 1", |step| {
            let Self { place, nodes, .. } = self;
            place.found(step, "The harbour")?;
            for node in nodes.iter_mut() {
                place.join(step, node)?;
                step.tell(node.flor().words("sync"), 0)?;
                step.tell(node.flor().words("sync --confirm"), 0)?;
            }
            place.all_run(step, &*nodes, 1)?;
            let mut ledger = tunnel::dial(self.harbour.mira, LEDGER)?.context("Mira may reach the ledger")?;
            ledger.ping()?;
            step.find(tunnel::dial(self.harbour.tomas, LEDGER)?.is_none(), "Tomas may not reach the ledger yet")
        })
    }

    /// Steps 1 to 4: nothing of it is seen by a server.
    fn author(&mut self) -> Result<()> {
        let Self { run, place, harbour, .. } = self;
        Step::of(
            run,
            "playbook-01-edit",
            "edit YAML: clerks see the ledger, the stock service has two lanes",
            |step| {
                harbour.repository.edit("roles.yaml", CLERKS.0, &CLERKS.1.replace("data", "dtaa"))?;
                harbour.repository.edit("services.yaml", LINES[0], LINES[1])?;
                step.tell(place.git("diff --stat"), 0).map(drop)
            },
        )?;
        Step::of(run, "playbook-02-validate", "a mistake is found on the operator's machine, and put right", |step| {
            let said = step.tell(place.florctl("validate --repo fleet")?, REPOSITORY_HAS_ERRORS)?.said();
            step.find(
                said.contains("roles.yaml") && said.contains("dtaa"),
                "the file and the unknown group are named",
            )?;
            harbour.repository.edit("roles.yaml", "dtaa", "data")?;
            step.tell(place.florctl("validate --repo fleet")?, 0).map(drop)
        })?;
        Step::of(run, "playbook-03-compile", "compile and sign", |step| {
            place.compile(step, "compile")?;
            for node in NODES {
                step.find(place.compiled(node)? == 2, format!("{node}'s artifact has version 2"))?;
            }
            step.tell(place.florctl("diff --published --repo fleet")?, 0).map(drop)
        })?;
        Step::of(run, "playbook-04-commit", "commit YAML and artifacts: the shipment log", |step| {
            place.commit(step, "Clerks see the ledger; two lanes of stock")?;
            let log = step.tell(place.git(&format!("log --format=%s -- .flor/compiled/{FIRST}.json")), 0)?;
            let told = log.output.lines().eq(["Clerks see the ledger; two lanes of stock", "The harbour"]);
            step.find(told, format!("Git says which versions {FIRST} was to have"))?;
            let current = place.look("versions")?["current"].clone();
            step.find(current == 1, "no server has seen anything of it")
        })
    }

    /// Step 5 and 6: nodes can fetch the version, and none does.
    fn publish(&mut self) -> Result<()> {
        let Self { run, place, nodes, .. } = self;
        Step::of(run, "playbook-05-publish", "publish, and nothing happens to any machine", |step| {
            place.publish(step, "clerks see the ledger", 2)?;
            for node in nodes.iter() {
                step.find(node.status()?["active"] == 1, format!("{} still runs version 1", node.name()))?;
            }
            let stale = place.fleet()?.iter().filter(|row| row["stale"] == true).count();
            step.find(stale == nodes.len(), "the fleet view has all of them as stale")?;
            step.tell(place.florctl("fleet --stale")?, 0).map(drop)
        })?;
        Step::of(run, "playbook-06-announce", "announce the window: nobody reboots meanwhile", |step| {
            step.tell(place.florctl("lock freeze default --reason")?.argument("clerks see the ledger"), 0)?;
            step.tell(place.florctl("lock status")?, 0).map(drop)
        })
    }

    /// Steps 7 to 10: one machine, under guard.
    fn first_node(&mut self) -> Result<()> {
        let Self { run, harbour, .. } = &*self;
        let node = self.node(FIRST)?;
        Step::of(run, "playbook-07-dry-run", "on one machine: what would be installed", |step| {
            let said = step.tell(node.flor().words("sync --dry-run --exit-code"), UPDATE_AVAILABLE)?.said();
            step.find(said.contains("version 2"), "it names version 2")?;
            step.find(node.status()?["active"] == 1, "nothing is installed")
        })?;
        let mut before = tunnel::dial(harbour.mira, LEDGER)?.context("Mira may reach the ledger")?;
        Step::of(run, "playbook-08-sync", "activate with a guard of five minutes", |step| {
            step.tell(node.flor().words("sync --commit-timeout 5m"), 0)?;
            let status = node.status()?;
            step.find(status["pending"]["version"] == 2 && status["confirmed"] == 1, "version 2 is on probation")
        })?;
        Step::of(run, "playbook-09-smoke-test", "the services of that machine answer", |step| {
            before.ping()?;
            step.find(true, "Mira's connection from before the change goes on")?;
            tunnel::dial(harbour.mira, LEDGER)?.context("Mira may reach the ledger")?.ping()?;
            step.find(true, "Mira reaches the ledger anew")?;
            step.find(
                tunnel::dial(harbour.tomas, LEDGER)?.is_none(),
                "Tomas's own machine does not know yet that he may",
            )
        })?;
        Step::of(run, "playbook-10-confirm", "finalise before the time is over", |step| {
            step.tell(node.flor().words("sync --confirm=2"), 0)?;
            let status = node.status()?;
            step.find(status["confirmed"] == 2 && status["pending"].is_null(), "version 2 is confirmed")
        })
    }

    /// Step 11: all others at the same time, and the leader dies.
    fn the_rest(&mut self) -> Result<()> {
        let run = self.run;
        Step::of(run, "playbook-11-rest", "the others in parallel, and the leader is killed in the middle", |step| {
            let rest: Vec<_> = self.nodes.iter().filter(|node| node.name() != FIRST).collect();
            let killed = rollout::together(step, &rest, 2, || self.place.kill_leader())?;
            step.find(true, format!("{killed}, which led, was killed while machines waited for their confirmation"))?;
            self.place.all_run(step, &self.nodes, 2)?;
            step.find(self.harbour.stock()?.contains(LINES[1]), "the stock service has its new file")?;
            tunnel::dial(self.harbour.tomas, LEDGER)?.context("Tomas may reach the ledger now")?.ping()?;
            step.find(true, "Tomas reaches the ledger")?;
            self.place.bring_back()?;
            step.find(true, format!("{killed} is back"))?;
            step.tell(self.place.florctl("lock unfreeze default --reason")?.argument("done"), 0).map(drop)
        })
    }

    /// A version whose file a program refuses, and in which clerks lose the ledger again.
    fn bad_version(&mut self) -> Result<()> {
        let run = self.run;
        Step::of(
            run,
            "playbook-12-bad-version",
            "a bad version goes back where it was tried, and nowhere else",
            |step| {
                let Self { place, harbour, .. } = self;
                harbour.repository.edit("services.yaml", LINES[1], LINES[2])?;
                harbour.repository.edit("services.yaml", HOOK.0, HOOK.1)?;
                harbour.repository.edit("roles.yaml", CLERKS.1, CLERKS.0)?;
                step.tell(place.florctl("validate --repo fleet")?, 0)?;
                place.compile(step, "compile")?;
                place.commit(step, "Many lanes")?;
                place.publish(step, "many lanes", 3)?;

                let stock = self.node(STOCK)?;
                let said = step.tell(stock.flor().words("sync --commit-timeout 5m"), ROLLED_BACK)?.said();
                step.find(said.contains("no such port"), format!("{STOCK} says why it goes back"))?;
                step.find(stock.status()?["active"] == 2, format!("{STOCK} runs version 2"))?;
                step.find(self.harbour.stock()?.contains(LINES[1]), "the stock service has the file of version 2")?;

                let pad = self.node(TOMAS)?;
                step.tell(pad.flor().words(&format!("sync --commit-timeout {SHORT_GUARD}")), 0)?;
                step.find(tunnel::dial(self.harbour.tomas, LEDGER)?.is_none(), "Tomas has lost the ledger")?;
                step.await_that(format!("{TOMAS}, which nobody confirmed, is back on version 2"), || {
                    let status = pad.status()?;
                    Ok(status["active"] == 2 && status["pending"].is_null())
                })?;
                tunnel::dial(self.harbour.tomas, LEDGER)?.context("Tomas may reach the ledger again")?.ping()?;
                step.find(true, "Tomas reaches the ledger again")?;
                self.is_seen_to_be_back(step)
            },
        )
    }

    /// What the fleet view says of the machines that went back, and of the others.
    fn is_seen_to_be_back(&mut self, step: &mut Step) -> Result<()> {
        self.place.sees_rolled_back(step, STOCK, 3, "no such port")?;
        self.place.sees_rolled_back(step, TOMAS, 3, "not confirmed in time")?;
        let shown = step.tell(self.place.florctl("fleet")?, 0)?.output;
        let back = shown.lines().filter(|line| line.contains("rolled back")).count();
        step.find(back == 2, "a person sees two machines that rolled back")?;
        for name in NODES.into_iter().filter(|name| ![STOCK, TOMAS].contains(name)) {
            step.find(self.node(name)?.status()?["active"] == 2, format!("{name} never had version 3"))?;
        }
        Ok(())
    }

    /// The bad commit is reverted; what the servers have is the ground for the next version.
    fn way_back(&mut self) -> Result<()> {
        let run = self.run;
        Step::of(
            run,
            "playbook-13-way-back",
            "the change is reverted in Git, and published as the next version",
            |step| {
                let place = &mut self.place;
                step.tell(place.git("revert --no-edit HEAD"), 0)?;
                step.find(place.compiled(STOCK)? == 2, "the compiled tree is that of version 2, too")?;
                step.tell(place.florctl("publish --yes --repo fleet")?, VERSION_CONFLICT)?;
                place.compile(step, "rebase")?;
                place.commit(step, "As before the many lanes")?;
                place.publish(step, "as before", 4)?;
                for node in &self.nodes {
                    step.tell(node.flor().words("sync --commit-timeout 5m"), 0)?;
                    step.find(node.status()?["pending"].is_null(), format!("nothing changes for {}", node.name()))?;
                }
                self.place.all_run(step, &self.nodes, 4)
            },
        )
    }
}
