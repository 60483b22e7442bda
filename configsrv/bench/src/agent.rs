use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use holdfast_bench::{Plane, busy, memory};
use holdfast_proto::iam::{CreateJoinTokenRequest, enrollment_client::EnrollmentClient};
use holdfast_testkit::{Binaries, Process, Program};
use serde::Serialize;
use tokio::time::sleep;

/// For how long it is looked at.
const WATCHED: Duration = Duration::from_secs(30);
/// Until it has synced, and waits.
const SETTLED: Duration = Duration::from_secs(10);

/// A real agent that waits for the next version.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Idle {
    /// Bytes.
    pub(crate) memory: u64,
    /// Percent of one processor.
    pub(crate) processor: f64,
}

/// Enrols `node`, for which something is published, and looks at its agent.
pub(crate) async fn measure(plane: &Plane, node: &str, folder: &Path) -> Result<Idle> {
    let home = tempfile::Builder::new().prefix("flor-").tempdir_in(folder)?;
    let create = CreateJoinTokenRequest { node: node.to_owned(), ttl_s: 0 };
    let mut enrollment = EnrollmentClient::new(plane.administrator(0).await?);
    let token = enrollment.create_join_token(create).await?.into_inner().join_token;
    let (token_file, ca_file) = (home.path().join("join-token"), home.path().join("servers.crt"));
    fs::write(&token_file, token)?;
    fs::write(&ca_file, plane.ca())?;
    let endpoints = plane.endpoints(0)?;
    let flor = Binaries::find()?.path("flor");
    let program = |words: &str| Program::new(&flor, home.path()).environment("FLOR_HOME", home.path()).words(words);
    let enroll = program("enroll --join-token-file join-token --ca-file servers.crt")
        .words(&format!("--api https://{} --server https://{}", endpoints.api, endpoints.http));
    tokio::task::spawn_blocking(move || enroll.run()?.expect(0)).await?.context("the agent cannot join")?;
    let sync = program("sync --commit-timeout 0");
    tokio::task::spawn_blocking(move || sync.run()?.expect(0)).await?.context("the agent cannot sync")?;
    let mut command = program("agent run --sync watch --confirm-policy manual").into_command();
    let process = Process::start("flor", &mut command, &home.path().join("logs"))?;
    sleep(SETTLED).await;
    let before = busy(process.id()).context("the agent has ended")?;
    sleep(WATCHED).await;
    let computed = busy(process.id())?.saturating_sub(before);
    Ok(Idle { memory: memory(process.id())?, processor: 100.0 * computed.as_secs_f64() / WATCHED.as_secs_f64() })
}
