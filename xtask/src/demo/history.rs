//! Everything above was written down. Who did what, asked in SQL.

use anyhow::{Context as _, Result};

use super::{Step, screen::ensure, world::World};

pub(super) const STEPS: &[Step] = &[
    Step { title: "The same servers are an etcd", run: etcd },
    Step { title: "The history of everything, in SQL", run: history },
];

const KEY: &str = "demo/greeting";

fn etcd(world: &mut World) -> Result<()> {
    let api = world.endpoints()?.api;
    let user = format!("admin:{}", world.admin_token()?);
    let etcdctl =
        |world: &World| world.client("etcdctl").map(|client| client.environment("ETCDCTL_USER", user.as_str()));
    let Some(put) = etcdctl(world) else {
        world.screen.command(&format!("etcdctl --endpoints http://{api} put {KEY} hello"));
        world.screen.note("etcdctl is not installed here: not run");
        return Ok(());
    };
    world.tell_program(put.words(&format!("--endpoints http://{api} put {KEY} hello")), 0)?;
    let get = etcdctl(world).context("etcdctl is gone")?.words(&format!("--endpoints http://{api} get {KEY}"));
    let got = world.tell_program(get, 0)?;
    ensure(got.output.lines().eq([KEY, "hello"]), "etcdctl reads what it wrote")
}

fn history(world: &mut World) -> Result<()> {
    const LATEST: &str = "SELECT time, actor, action, resource, outcome FROM audit.events ORDER BY time DESC LIMIT 12";
    const COUNTS: &str = "SELECT action, count(*) AS times FROM audit.events GROUP BY action ORDER BY times DESC";
    world.wait("the history to catch up", || {
        let counted = world.florctl().words("history").argument(COUNTS).run()?.expect(0)?;
        let all = ["config.Publish", "lock.Acquire", "iam.SigningKeyActivate"];
        Ok(all.iter().all(|action| counted.output.contains(action)).then_some(()))
    })?;
    world.tell_program(world.florctl().words("history").argument(COUNTS), 0)?;
    world.tell_program(world.florctl().words("history").argument(LATEST), 0)?;

    let address = world.endpoints()?.sql;
    let (host, port) = address.rsplit_once(':').context("no port")?;
    let place = format!("host={host} port={port} user=admin dbname=holdfast");
    match world.client("psql") {
        Some(psql) => {
            let psql = psql.environment("PGPASSWORD", world.admin_token()?);
            world.tell_program(psql.argument(place).words("-c").argument(LATEST), 0)?;
            world.screen.fact("any PostgreSQL client asks the same questions");
        }
        None => {
            world.screen.command(&format!("psql '{place}' -c '{LATEST}'"));
            world.screen.note("psql is not installed here: not run");
        }
    }
    Ok(())
}
