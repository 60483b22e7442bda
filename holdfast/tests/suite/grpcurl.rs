//! Every gRPC service can be found and called with nothing but the address: by reflection. The calls are README's, so
//! that README is right.

use std::{collections::BTreeSet, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use holdfast_testkit::client;

use crate::{lab::Lab, programs::run};

/// What `grpcurl` says when the time of a stream that it was told to watch is over: 64 and gRPC's DEADLINE_EXCEEDED.
const TIME_IS_OVER: i32 = 64 + 4;

/// README's lines that begin with `grpcurl`, with those that they go on in.
fn calls() -> Result<Vec<String>> {
    let readme = Path::new("../README.md");
    let text = std::fs::read_to_string(readme)?.replace("\\\n", " ");
    Ok(text.lines().filter(|line| line.starts_with("grpcurl ")).map(str::to_owned).collect())
}

/// As a reader would: in a shell, with the variables that the README sets.
fn shell(lab: &Lab, line: &str) -> Result<Command> {
    let grpcurl = client("grpcurl")?.context("it was there")?;
    let folder = grpcurl.parent().context("a program is in a folder")?;
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("sh");
    command.args(["-c", line]).env("PATH", format!("{}:{path}", folder.display()));
    command.env("API", &lab.at.api).env("TOKEN", &lab.token);
    Ok(command)
}

fn services(lab: &Lab) -> Result<BTreeSet<String>> {
    let listed = run(shell(lab, "grpcurl -plaintext $API list")?)?.good()?;
    Ok(listed.lines().filter(|name| !name.starts_with("grpc.reflection.")).map(str::to_owned).collect())
}

#[test]
fn every_service_is_listed_and_described() -> Result<()> {
    if client("grpcurl")?.is_none() {
        return Ok(());
    }
    let lab = Lab::start()?;
    let services = services(&lab)?;
    ensure!(services.len() == 23, "{services:?}");
    for service in services {
        let described = run(shell(&lab, &format!("grpcurl -plaintext $API describe {service}"))?)?.good()?;
        ensure!(
            described.starts_with(&format!("{service} is a service:")) && described.contains("rpc "),
            "{described}"
        );
    }
    Ok(())
}

#[test]
fn the_calls_in_the_readme_work_and_leave_no_service_out() -> Result<()> {
    if client("grpcurl")?.is_none() {
        return Ok(());
    }
    let lab = Lab::start()?;
    let calls = calls()?;
    for service in services(&lab)? {
        let called = calls.iter().any(|call| call.contains(&format!(" {service}/")));
        ensure!(called, "README.md calls no method of {service}");
    }
    for call in calls {
        let said = run(shell(&lab, &call)?)?;
        let watched = call.contains("-max-time") && said.code == Some(TIME_IS_OVER) && !said.out.is_empty();
        ensure!(said.code == Some(0) || watched, "{call}: {said:?}");
    }
    Ok(())
}
