//! Machines of the fleet: joining, taking over a version, going back by themselves.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use holdfast_testkit::{Node, Program};

use super::{Step, screen::ensure, world::World};

pub(super) const JOIN: &[Step] = &[
    Step { title: "Two machines join with a token each", run: join },
    Step { title: "Each takes version 1 over, on probation, and is confirmed", run: take_over },
];

pub(super) const CHANGE: &[Step] = &[
    Step { title: "What would version 2 change? A dry run tells, and touches nothing", run: dry_run },
    Step { title: "Version 2 under a guard of three seconds, and nobody confirms", run: roll_back },
    Step { title: "Once more, and this time somebody looks and confirms", run: confirm },
];

/// Machines of the example fleet. The second one's permissions change with version 2, the first one's do not.
const NODES: [&str; 2] = ["pier2", "pier3"];
const CHANGED: &str = NODES[1];
const GUARD: &str = "3s";

fn join(world: &mut World) -> Result<()> {
    let servers = world.running()?;
    fs::create_dir_all(world.folder.join("join"))?;
    for name in NODES {
        world.tell("florctl", &format!("iam join-token create {name} --out join/{name}"))?;
        let mut node = Node::new(&world.binaries, &world.folder, name);
        world.tell_program(node.enrolling(&Path::new("join").join(name), &servers, None), 0)?;
        world.screen.command(&format!("{} &", node.running().shown()));
        node.start(&world.folder.join("logs"))?;
        world.wait(&format!("{name}'s agent"), || Ok(node.is_running()?.then_some(())))?;
        world.nodes.push(node);
        world.screen.fact(&format!("{name} has a certificate of its own, and its agent runs"));
    }
    Ok(())
}

fn take_over(world: &mut World) -> Result<()> {
    for node in &world.nodes {
        world.tell_program(node.flor().words("sync --commit-timeout 5m"), 0)?;
        ensure(node.status()?["pending"]["version"] == 1, "version 1 is on probation")?;
        world.tell_program(node.flor().words("sync --confirm"), 0)?;
        let status = node.status()?;
        ensure(status["confirmed"] == 1 && status["pending"].is_null(), "version 1 is confirmed")?;
    }
    // Whatever the version wrote lies under this folder; see the step that began the fleet.
    let written = files(&world.folder.join("machine"))?;
    ensure(!written.is_empty(), "the version's files are written")?;
    for file in written {
        let program = Program::new(Path::new("/bin/cat"), &world.folder);
        world.tell_program(program.argument(world.short(&file)), 0)?;
    }
    world.tell("florctl", "fleet")?;
    world.screen.fact("both run version 1, and the servers know it");
    Ok(())
}

fn dry_run(world: &mut World) -> Result<()> {
    const UPDATE_AVAILABLE: i32 = 4;
    world.tell_program(changed(world)?.flor().words("sync --dry-run --exit-code"), UPDATE_AVAILABLE)?;
    ensure(changed(world)?.status()?["active"] == 1, "the node still runs version 1")
}

fn roll_back(world: &mut World) -> Result<()> {
    world.tell_program(changed(world)?.flor().words(&format!("sync --commit-timeout {GUARD}")), 0)?;
    ensure(changed(world)?.status()?["active"] == 2, "version 2 is active")?;
    world.wait(&format!("{CHANGED} to go back by itself"), || {
        let status = changed(world)?.status()?;
        Ok((status["active"] == 1 && status["pending"].is_null()).then_some(()))
    })?;
    world.tell_program(changed(world)?.flor().words("status"), 0)?;
    world.screen.fact(&format!("{CHANGED} is back on version 1: a change that cuts a node off ends by itself"));
    world.tell("florctl", &format!("node {CHANGED}"))
}

fn confirm(world: &mut World) -> Result<()> {
    world.tell_program(changed(world)?.flor().words("sync --retry-rejected --commit-timeout 5m"), 0)?;
    world.tell_program(changed(world)?.flor().words("sync --confirm=2"), 0)?;
    ensure(changed(world)?.status()?["confirmed"] == 2, "version 2 is confirmed")?;
    for node in world.nodes.iter().filter(|node| node.name() != CHANGED) {
        world.tell_program(node.flor().words("sync"), 0)?;
        let status = node.status()?;
        ensure(status["active"] == 2 && status["pending"].is_null(), "what does not change needs no confirmation")?;
    }
    world.tell("florctl", "fleet")
}

/// Every file under a folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(files(&entry.path())?);
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

fn changed(world: &World) -> Result<&Node> {
    world.nodes.iter().find(|node| node.name() == CHANGED).context("it has not joined")
}
