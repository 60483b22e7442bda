//! Reboot coordination, spoken as the agents of unmodified machines speak it.

use anyhow::Result;

use super::{
    Step,
    http::{self, Answer},
    screen::ensure,
    world::World,
};

pub(super) const STEPS: &[Step] =
    &[Step { title: "Reboot locks: two machines want to reboot, one at a time", run: take_turns }];

const GROUP: &str = "default";
/// As a machine makes them from its machine id.
const FIRST: &str = "978a225b3d7b40e9acd7ce9b62f68444";
const SECOND: &str = "2f64a5cb3e7d4f0f8a53f9ab41f4d0c6";

fn take_turns(world: &mut World) -> Result<()> {
    let granted = ask(world, "pre-reboot", FIRST)?;
    ensure(granted.status == 200, "the first machine may reboot")?;
    world.screen.fact("the first machine may reboot");

    let refused = ask(world, "pre-reboot", SECOND)?;
    ensure(refused.status == 423, "the second machine has to wait")?;
    world.screen.fact("the second has to wait, and its log says why");

    world.tell("florctl", "lock who")?;
    let again = ask(world, "pre-reboot", FIRST)?;
    ensure(again.status == 200, "asking again is no harm")?;
    let released = ask(world, "steady-state", FIRST)?;
    ensure(released.status == 200, "the first machine is back")?;

    let granted = ask(world, "pre-reboot", SECOND)?;
    ensure(granted.status == 200, "the second machine may reboot now")?;
    let released = ask(world, "steady-state", SECOND)?;
    ensure(released.status == 200, "the second machine is back")?;
    world.screen.fact("after the first came back, the second had its turn");
    Ok(())
}

/// What a machine's agent sends: this header, no content type, and JSON over several lines.
fn ask(world: &mut World, operation: &str, id: &str) -> Result<Answer> {
    let address = world.endpoints()?.http;
    let path = format!("/v1/{operation}");
    let params = format!(r#"{{"client_params":{{"id":"{id}","group":"{GROUP}"}}}}"#);
    world.screen.command(&format!("curl -H 'fleet-lock-protocol: true' -d '{params}' http://{address}{path}"));
    let body = format!("{{\n  \"client_params\": {{\n    \"id\": \"{id}\",\n    \"group\": \"{GROUP}\"\n  }}\n}}");
    let answer = http::request(&address, "POST", &path, &[("fleet-lock-protocol", "true"), ("accept", "*/*")], &body)?;
    world.screen.answer(format!("{} {}", answer.status, answer.body).trim());
    Ok(answer)
}
