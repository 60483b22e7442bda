use std::{process::Stdio, time::Duration};

use serde_json::json;
use tokio::{process::Command, time::sleep};

use crate::{Error, cli, cluster::Cluster, server::HttpServer};

const AGAIN: Duration = Duration::from_secs(15);
const FAILED_COMMAND: u8 = 1;

/// Holds a slot of the group while the command runs; its exit code is the command's.
pub(crate) async fn run(cluster: &Cluster, server: HttpServer, arguments: &cli::Lock) -> Result<u8, Error> {
    let id = arguments.id.clone().unwrap_or_else(|| cluster.node.to_string());
    let body = json!({ "client_params": { "group": arguments.group, "id": id } });
    loop {
        match server.fleetlock("/v1/pre-reboot", &body).await {
            Ok(()) => break,
            Err(error @ (Error::State(_) | Error::Unreachable(_))) if arguments.wait => {
                eprintln!("flor: waiting: {error}");
                sleep(AGAIN).await;
            }
            Err(error) => return Err(error),
        }
    }
    let code = command(&arguments.command).await;
    // A lock that nobody gives back stops the group: this is worth some patience.
    for attempt in 0.. {
        match server.fleetlock("/v1/steady-state", &body).await {
            Ok(()) => break,
            Err(error) if attempt >= 20 => return Err(error),
            Err(error) => {
                eprintln!("flor: the slot is not given back yet: {error}");
                sleep(AGAIN).await;
            }
        }
    }
    code
}

async fn command(words: &[String]) -> Result<u8, Error> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(Error::Usage("no command to run".into()));
    };
    let status = Command::new(program)
        .args(arguments)
        .stdin(Stdio::inherit())
        .status()
        .await
        .map_err(|error| Error::Unexpected(format!("{program}: {error}")))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED_COMMAND))
}
