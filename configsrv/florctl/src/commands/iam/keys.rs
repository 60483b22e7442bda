use holdfast_proto::iam::{
    AddSigningKeyRequest, ListSigningKeysRequest, SigningKeysResponse, StepSigningKeyRequest, admin_client::AdminClient,
};
use serde_json::{Value, json};

use crate::{
    cli::Key,
    failure::Failure,
    output::{Format, Table, moment},
    remote::{Channel, refused},
};

pub(super) async fn run(command: Key, channel: Channel, output: Format) -> Result<(), Failure> {
    let mut client = AdminClient::new(channel);
    let step = |kid, now, dry_run| StepSigningKeyRequest { kid, now, dry_run, expected_revision: 0 };
    let (answer, rehearsed) = match command {
        Key::List => (client.list_signing_keys(ListSigningKeysRequest {}).await, false),
        Key::Add { algorithm, dry_run } => {
            let request = AddSigningKeyRequest { algorithm, pkcs8_pem: String::new(), dry_run };
            (client.add_signing_key(request).await, dry_run)
        }
        Key::Activate { kid, now, dry_run } => (client.activate_signing_key(step(kid, now, dry_run)).await, dry_run),
        Key::Retire { kid, dry_run } => (client.retire_signing_key(step(kid, false, dry_run)).await, dry_run),
        Key::Purge { kid, dry_run } => (client.purge_signing_key(step(kid, false, dry_run)).await, dry_run),
    };
    show(&answer.map_err(refused)?.into_inner(), rehearsed, output)
}

fn show(answer: &SigningKeysResponse, rehearsed: bool, output: Format) -> Result<(), Failure> {
    let keys: Vec<Value> = answer
        .keys
        .iter()
        .map(|key| {
            json!({
                "kid": key.kid,
                "algorithm": key.algorithm,
                "state": key.state,
                "added_ms": key.added_ms,
                "activated_ms": key.activated_ms,
                "next_step_ms": key.next_step_ms,
            })
        })
        .collect();
    let value = json!({ "keys": keys, "kid": answer.kid, "revision": answer.revision, "dry_run": rehearsed });
    output.print(&value, || {
        let mut table = Table::new(&["KEY", "ALGORITHM", "STATE", "ADDED", "NEXT STEP FROM"]);
        for key in &answer.keys {
            let marked = if key.kid == answer.kid { "*" } else { "" };
            table.row([
                format!("{}{marked}", key.kid),
                key.algorithm.clone(),
                key.state.clone(),
                moment(Some(key.added_ms)),
                moment(Some(key.next_step_ms)),
            ]);
        }
        format!("{table}{}", if rehearsed { "nothing was changed: this was a rehearsal" } else { "" })
    })
}
