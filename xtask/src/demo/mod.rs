//! `cargo xtask demo`: a fleet's configuration from nothing to its history, with the real binaries.
//!
//! The walk is a list of [`Step`]s, grouped by file. A step drives the programs that a person would use, shows what
//! that person would type, and checks that what it tells is true.

mod bootstrap;
mod fleet;
mod history;
mod http;
mod keys;
mod locks;
mod nodes;
mod outage;
mod screen;
mod world;

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use holdfast_testkit::Binaries;
use signal_hook::consts::{SIGINT, SIGTERM};

use self::world::World;
use crate::{layout::Layout, native, test};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// End after the walk instead of staying until Ctrl-C.
    #[arg(long)]
    once: bool,
    /// One server, or three of which the leader is killed in the middle.
    #[arg(long, default_value = "1", value_parser = ["1", "3"])]
    servers: String,
}

/// One thing that is done and shown.
struct Step {
    title: &'static str,
    run: fn(&mut World) -> Result<()>,
}

/// The whole walk, in order.
fn steps(servers: usize) -> impl Iterator<Item = &'static Step> {
    let (death, back): (&[Step], &[Step]) = if servers > 1 { (outage::DEATH, outage::RETURN) } else { (&[], &[]) };
    let groups = [
        bootstrap::STEPS,
        fleet::FIRST,
        nodes::JOIN,
        death,
        fleet::SECOND,
        nodes::CHANGE,
        locks::STEPS,
        back,
        // Without waiting, a key is only activated while every server can say that it knows it.
        keys::STEPS,
        history::STEPS,
    ];
    groups.into_iter().flatten()
}

pub(crate) fn run(layout: &Layout, arguments: &Arguments) -> Result<()> {
    // Binaries of another build can be shown, too.
    if let Some(folder) = env::var_os("HOLDFAST_BIN_DIR") {
        return walk(layout, &Binaries::in_folder(folder), arguments);
    }
    native::ensure(layout)?;
    test::build(layout)?;
    walk(layout, &Binaries::in_folder(layout.binaries()), arguments)
}

/// The walk with binaries that are built already, ending after it.
pub(crate) fn once(layout: &Layout, servers: &str) -> Result<()> {
    let arguments = Arguments { once: true, servers: servers.to_owned() };
    walk(layout, &Binaries::in_folder(layout.binaries()), &arguments)
}

fn walk(layout: &Layout, binaries: &Binaries, arguments: &Arguments) -> Result<()> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted)).context("cannot watch for Ctrl-C")?;
    }
    let folder = tempfile::Builder::new().prefix("holdfast-demo-").tempdir()?;
    let mut world = World::new(layout, binaries, folder.path(), arguments.servers.parse()?, Arc::clone(&interrupted))?;
    for step in steps(world.server_count) {
        world.screen.step(step.title);
        if let Err(error) = (step.run)(&mut world) {
            if interrupted.load(Ordering::Relaxed) {
                return Ok(());
            }
            for tail in world.log_tails() {
                eprintln!("{tail}");
            }
            return Err(error.context(format!("the step `{}` failed", step.title)));
        }
    }
    let seconds = world.screen.elapsed().as_secs();
    let until = if arguments.once { "This ran, and ends now" } else { "It is all still running" };
    println!("\nEverything above happened in {seconds} s. {until}:\n");
    let places = world.places()?;
    world.screen.table(&places);
    if !arguments.once {
        println!("\nCtrl-C ends it and removes {}.", folder.path().display());
        while !interrupted.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(100));
        }
    }
    Ok(())
}
