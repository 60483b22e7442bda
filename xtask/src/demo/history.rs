//! Everything above was written down. Who did what, asked in SQL.

use anyhow::{Context as _, Result};

use super::{Step, screen::ensure, world::World};

pub(super) const STEPS: &[Step] = &[
    Step { title: "The same servers are an etcd", run: etcd },
    Step { title: "Every service answers grpcurl, without a .proto file", run: grpcurl },
    Step { title: "The history of everything, in SQL", run: history },
];

const KEY: &str = "demo/greeting";

fn etcd(world: &mut World) -> Result<()> {
    let api = world.endpoints()?.api;
    let etcdctl = |words: &str| format!("--endpoints http://{api} {words}");
    let put = world.with_token("etcdctl", "ETCDCTL_USER", "admin:", |program| {
        program.words(&etcdctl(&format!("put {KEY} hello")))
    })?;
    if put.is_none() {
        return Ok(());
    }
    let got = world
        .with_token("etcdctl", "ETCDCTL_USER", "admin:", |program| program.words(&etcdctl(&format!("get {KEY}"))))?;
    ensure(got.is_some_and(|got| got.output.lines().eq([KEY, "hello"])), "etcdctl reads what it wrote")
}

/// Every service describes itself, so that a general gRPC client needs nothing from us.
fn grpcurl(world: &mut World) -> Result<()> {
    let api = world.endpoints()?.api;
    world.with_token("grpcurl", "TOKEN", "", |program| {
        let program = program.words("-plaintext -expand-headers -H").argument("authorization: Bearer ${TOKEN}");
        program.words(&format!("{api} configsrv.v1.ConfigService/ListVersions"))
    })?;
    Ok(())
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
    let asked = world.with_token("psql", "PGPASSWORD", "", |psql| psql.argument(place).words("-c").argument(LATEST))?;
    if asked.is_some() {
        world.screen.fact("any PostgreSQL client asks the same questions");
    }
    Ok(())
}
