//! From nothing to servers that answer.

use std::path::Path;

use anyhow::Result;
use holdfast_testkit::{Cluster, Endpoints, Launch, Server};

use super::{Step, http, screen::ensure, world::World};

pub(super) const STEPS: &[Step] = &[Step { title: "Bootstrap: a control plane from an empty folder", run: bootstrap }];

fn bootstrap(world: &mut World) -> Result<()> {
    let (folder, binaries) = (world.folder.clone(), world.binaries.clone());
    world.screen.command(&format!("cd {}", folder.display()));
    world.screen.command(&format!("export PATH={}:$PATH", binaries.folder().display()));
    world.servers = match world.server_count {
        1 => vec![Server::start(Launch::dev(&binaries, &folder))?],
        count => Cluster::start_in(&binaries, &folder, count)?.into_servers(),
    };
    for server in &world.servers {
        world.screen.command(&typed(world, server));
    }
    // Taken out for the wait, which looks at the world, and put back whatever comes of it.
    let mut servers = std::mem::take(&mut world.servers);
    let what = if servers.len() == 1 { "the server" } else { "the servers to find each other" };
    let ready = world.wait(what, || servers.iter_mut().map(Server::ready).collect::<Result<Option<Vec<_>>>>());
    world.servers = servers;
    for (server, Endpoints { api, http, sql, .. }) in world.servers.iter().zip(ready?) {
        world.screen.fact(&format!("{} is ready: API {api}, HTTP {http}, SQL {sql}", server.name()));
    }

    world.point_at_a_running_server()?;
    let api = world.endpoints()?.api;
    world.screen.command(&format!("curl http://{api}/health"));
    let health = http::request(&api, "GET", "/health", &[], "")?;
    world.screen.answer(&health.body);
    ensure(health.status == 200, "the API door is healthy")?;
    world.tell("florctl", "iam status")
}

fn typed(world: &World, server: &Server) -> String {
    let launch = server.launch();
    let short = |path: &Path| world.short(path).display().to_string();
    let config = launch.config.as_deref().map_or_else(String::new, |config| format!(" --config {}", short(config)));
    format!("holdfast serve --dev{config} --data-dir {}", short(&launch.data))
}
