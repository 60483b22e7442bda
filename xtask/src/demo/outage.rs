//! With three servers: the leader dies in the middle, and nobody has to do anything.

use std::time::Instant;

use anyhow::{Context as _, Result};
use holdfast_testkit::Server;

use super::{Step, http, world::World};

pub(super) const DEATH: &[Step] = &[Step { title: "The leader is killed", run: kill }];
pub(super) const RETURN: &[Step] = &[Step { title: "The killed server comes back and catches up", run: come_back }];

fn kill(world: &mut World) -> Result<()> {
    let leader = world.wait("a leader", || leader(world))?;
    let server = world.servers.iter_mut().find(|server| server.name() == leader).context("no such server")?;
    let id = server.id().unwrap_or_default();
    server.kill()?;
    let dead = Instant::now();
    world.screen.command(&format!("kill -9 {id}  # {leader}"));
    let next = world.wait("another leader", || self::leader(world))?;
    world.screen.fact(&format!("{leader} is dead; {next} leads after {} ms", dead.elapsed().as_millis()));
    world.point_at_a_running_server()
}

fn come_back(world: &mut World) -> Result<()> {
    let mut returned = Vec::new();
    for server in &mut world.servers {
        if !server.is_running() {
            server.start_again()?;
            returned.push(server.name().to_owned());
        }
    }
    for name in returned {
        // Taken out for the wait, which looks at the world, and put back whatever comes of it.
        let mut servers = std::mem::take(&mut world.servers);
        let ready = world.wait(&format!("{name} to be ready"), || {
            servers.iter_mut().map(Server::ready).collect::<Result<Option<Vec<_>>>>()
        });
        world.servers = servers;
        ready?;
        world.screen.fact(&format!("{name} is back"));
    }
    Ok(())
}

/// The name of the running server whose metrics say that it leads.
fn leader(world: &World) -> Result<Option<String>> {
    let authorization = format!("Bearer {}", world.admin_token()?);
    for server in &world.servers {
        let Ok(endpoints) = server.endpoints() else { continue };
        // The one that was killed does not answer.
        let Ok(answer) = http::request(&endpoints.api, "GET", "/metrics", &[("authorization", &authorization)], "")
        else {
            continue;
        };
        if answer.body.lines().any(|line| line == "etcd_server_is_leader 1") {
            return Ok(Some(server.name().to_owned()));
        }
    }
    Ok(None)
}
