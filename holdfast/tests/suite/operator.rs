//! An operator with florctl, from an empty folder to a fleet that is watched.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use holdfast_testkit::{Binaries, Ended, Node, Process, Program, Signal, free_ports, wait_until};
use serde_json::Value;

use crate::{
    http::Request,
    lab::{Lab, SOON},
};

/// A repository beside a server.
struct Desk {
    florctl: PathBuf,
    lab: Lab,
    folder: tempfile::TempDir,
}

impl Desk {
    /// With a repository for the servers' cluster, and certificates for everybody; none where florctl is not built.
    fn start() -> Result<Option<Self>> {
        let florctl = Binaries::find()?.path("florctl");
        if !florctl.is_file() {
            eprintln!("SKIPPED: florctl is not built (cargo build -p florctl)");
            return Ok(None);
        }
        let desk = Self { florctl, lab: Lab::start()?, folder: tempfile::tempdir()? };
        fs::create_dir(desk.repo())?;
        for words in ["init . --name quay.test", "ca init", "ca issue --missing"] {
            desk.run(words)?.expect(0)?;
        }
        Ok(Some(desk))
    }

    fn repo(&self) -> PathBuf {
        self.folder.path().join("repo")
    }

    fn florctl(&self, words: &str) -> Program {
        Program::new(&self.florctl, &self.repo())
            .words(words)
            .environment("HOLDFAST_DEV_DIR", &self.lab.server.launch().data)
            .environment("FLORCTL_KEYS", self.folder.path().join("keys"))
    }

    fn run(&self, words: &str) -> Result<Ended> {
        self.florctl(words).run()
    }

    fn publish(&self) -> Result<()> {
        let key = self.folder.path().join("keys/management-plane-primary.key");
        self.run(&format!("compile --sign-key {}", key.display()))?.expect(0)?;
        self.run("publish --yes")?.expect(0)?;
        Ok(())
    }

    fn edit(&self, file: &str, from: &str, to: &str) -> Result<()> {
        let path = self.repo().join(file);
        let text = fs::read_to_string(&path)?;
        ensure!(text.contains(from), "{file} does not contain {from:?}");
        Ok(fs::write(&path, text.replacen(from, to, 1))?)
    }

    fn watch(&self, words: &str, logs: &Path) -> Result<Process> {
        let mut command = self.florctl(&format!("fleet --watch {words}")).into_command();
        Process::start("watch", &mut command, logs)
    }
}

#[test]
fn a_plan_says_what_a_publish_will_do() -> Result<()> {
    let Some(desk) = Desk::start()? else { return Ok(()) };
    let said = desk.run("plan --exit-code")?.expect(4)?.output;
    ensure!(said.contains("the first version, for 2 nodes"), "{said}");
    ensure!(said.contains("+ user/admin gains service/config-publisher on hub"), "{said}");
    ensure!(said.contains("rolls back by itself"), "{said}");
    desk.publish()?;
    let said = desk.run("plan --exit-code")?.expect(0)?.output;
    ensure!(said == "nothing to publish: the servers have this as version 1\n", "{said}");

    // A second operator at the same tablet.
    desk.edit("users.yaml", "users:", "users:\n  timo: { roles: [operator], nodes: [admin-laptop] }")?;
    desk.run("ca issue --missing")?.expect(0)?;
    let plan = desk.run("plan -o json")?.expect(0)?.json()?;
    ensure!(plan["on_top_of"] == 1 && plan["nodes"] == 2 && plan["unchanged"] == 0, "{plan:#}");
    ensure!(plan["restarts"] == serde_json::json!(["admin-laptop"]), "{plan:#}");
    ensure!(plan["access"]["gained"][0]["who"] == "spiffe://quay.test/user/timo", "{plan:#}");
    let turns: Vec<&Value> = plan["order"].as_array().context("turns")?.iter().map(|turn| &turn["nodes"][0]).collect();
    ensure!(turns == ["hub", "admin-laptop"], "{plan:#}");
    let said = desk.run("plan")?.expect(0)?.output;
    ensure!(said.contains("hub: swaps tables: +user/timo on service/config-publisher"), "{said}");
    ensure!(said.contains("order:\n  1. hub: "), "{said}");

    // What would lock everybody out is said before it is compiled.
    desk.edit("users.yaml", "[operator], nodes: [admin-laptop]", "[operator], nodes: []")?;
    desk.edit("users.yaml", "[operator], nodes: [admin-laptop]", "[operator], nodes: []")?;
    let said = desk.run("plan")?.expect(0)?.output;
    ensure!(said.contains("warning[V23]"), "{said}");
    Ok(())
}

#[test]
fn a_watched_fleet_tells_each_change_and_ends_with_ctrl_c() -> Result<()> {
    let Some(desk) = Desk::start()? else { return Ok(()) };
    desk.publish()?;
    let logs = desk.folder.path().join("logs");
    let mut watch = desk.watch("-o json", &logs)?;
    let about = |line: &str, node: &str, version: u64, phase: &str| {
        serde_json::from_str::<Value>(line)
            .is_ok_and(|told| told["node"]["name"] == node && told["version"] == version && told["phase"] == phase)
    };
    watch.wait_for_line(SOON, |line| about(line, "hub", 1, "offered"))?;

    let path = "/nodes/hub/status";
    let report = r#"{"offered":1,"active":1,"pending":1,"result":"pending"}"#;
    let answer = Request::post(path, report).bearer(&desk.lab.token).send(&desk.lab.at.http)?;
    ensure!(answer.status == 200, "{answer:?}");
    watch.wait_for_line(SOON, |line| about(line, "hub", 1, "pending"))?;

    desk.edit("nodes.yaml", "  admin-laptop:", "  admin-laptop:\n  spare-laptop:")?;
    desk.run("ca issue --missing")?.expect(0)?;
    desk.publish()?;
    watch.wait_for_line(SOON, |line| about(line, "spare-laptop", 2, "offered"))?;
    ensure!(watch.printed()?.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{}", watch.printed()?);

    watch.signal(Signal::Interrupt)?;
    let ended = wait_until(SOON, "the end of the watch", || watch.ended())?;
    ensure!(ended.code() == Some(0), "{ended}");
    Ok(())
}

#[test]
fn a_publish_goes_through_the_data_plane() -> Result<()> {
    let Some(desk) = Desk::start()? else { return Ok(()) };
    let [udp, hub, laptop, admin, nobody] = free_ports()?;
    let (http, api) = (&desk.lab.at.http, &desk.lab.at.api);
    desk.edit("nodes.yaml", "203.0.113.10:4500\"", &format!("127.0.0.1:{udp}\", public: true"))?;
    desk.edit("nodes.yaml", "  hub:", &format!("  hub:\n    socks5: \"127.0.0.1:{hub}\""))?;
    desk.edit("nodes.yaml", "  admin-laptop:", &format!("  admin-laptop:\n    socks5: \"127.0.0.1:{laptop}\""))?;
    let device = format!("[{{ at: admin-laptop, socks5: \"127.0.0.1:{admin}\" }}]");
    desk.edit("users.yaml", "nodes: [admin-laptop]", &format!("nodes: {device}"))?;
    desk.edit("services.yaml", "127.0.0.1:9001", http)?;
    desk.publish()?;

    let (binaries, folder) = (Binaries::find()?, desk.folder.path());
    let mut nodes = Vec::new();
    for name in ["hub", "admin-laptop"] {
        let (join, bundle) = (format!("{name}.join"), folder.join(format!("{name}.bundle")));
        desk.run(&format!("iam join-token create {name} --out ../{join}"))?.expect(0)?;
        let issue = format!("issue-bundle --node {name} --join-token-file ../{join} --server http://{http}");
        let refused = desk.run(&issue)?.expect(2)?.said();
        ensure!(refused.contains("--api"), "{refused}");
        desk.florctl(&issue).words("--out").argument(&bundle).words(&format!("--api http://{api}")).run()?.expect(0)?;
        let mut node = Node::new(&binaries, folder, name);
        node.flor().words("enroll").argument(&bundle).run()?.expect(0)?;
        node.start(&folder.join("logs"))?;
        wait_until(SOON, "an agent", || Ok(node.is_running()?.then_some(())))?;
        for words in ["sync", "sync --confirm"] {
            node.flor().words(words).run()?.expect(0)?;
        }
        nodes.push(node);
    }

    desk.edit("groups.yaml", "groups:", "groups:\n  work:")?;
    desk.edit(
        "services.yaml",
        "services:",
        "services:\n  shop: { at: hub, addr: \"127.0.0.1:9002\", groups: [work] }",
    )?;
    desk.run("ca issue --missing")?.expect(0)?;
    let key = folder.join("keys/management-plane-primary.key");
    desk.run(&format!("compile --sign-key {}", key.display()))?.expect(0)?;
    // The laptop's agent knows which port is the person's.
    let laptop = nodes.last().context("the laptop")?.home();
    let path = binaries.path("flor").parent().context("a folder of programs")?.to_owned();
    let publish = |words: &str| {
        let words = format!("publish --yes {words}");
        desk.florctl(&words).environment("FLOR_HOME", &laptop).environment("PATH", &path).run()
    };
    let said = publish("--as nobody")?.expect(7)?.said();
    ensure!(said.contains("user/nobody has no port on this machine"), "{said}");
    publish(&format!("--socks5 127.0.0.1:{nobody}"))?.expect(7)?;
    publish("--as admin")?.expect(0)?;
    ensure!(desk.run("versions -o json")?.expect(0)?.json()?["current"] == 2);
    let said = desk.run("versions diff 1 2")?.expect(0)?.output;
    ensure!(said.starts_with("from version 1 to 2:") && said.contains("hub (structural)"), "{said}");
    desk.run("versions diff 1 7")?.expect(1)?;
    Ok(())
}
