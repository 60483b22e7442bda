use holdfast_proto::iam::{
    AddSigningKeyRequest, ListSigningKeysRequest, SigningKeysResponse, StepSigningKeyRequest, admin_client::AdminClient,
};
use serde_json::{Value, json};

use crate::{
    cli::{Key, KeyStep},
    failure::Failure,
    output::{Format, Table, moment},
    remote::{Channel, refused},
};

pub(super) async fn run(command: Key, channel: Channel, output: Format) -> Result<(), Failure> {
    let mut client = AdminClient::new(channel);
    let step = |KeyStep { kid, dry_run, force }| StepSigningKeyRequest { kid, dry_run, force, ..Default::default() };
    let rehearsed = command.is_rehearsal();
    let answer = match command {
        Key::List => client.list_signing_keys(ListSigningKeysRequest {}).await,
        Key::Add { algorithm, dry_run } => {
            client.add_signing_key(AddSigningKeyRequest { algorithm, pkcs8_pem: String::new(), dry_run }).await
        }
        Key::Activate { key, now } => client.activate_signing_key(StepSigningKeyRequest { now, ..step(key) }).await,
        Key::Retire { key, revoke_population } => {
            client.retire_signing_key(StepSigningKeyRequest { revoke_population, ..step(key) }).await
        }
        Key::Purge(key) => client.purge_signing_key(step(key)).await,
        Key::Compromise(key) => client.compromise_signing_key(step(key)).await,
    };
    show(&answer.map_err(refused)?.into_inner(), rehearsed, output)
}

impl Key {
    fn is_rehearsal(&self) -> bool {
        match self {
            Self::List => false,
            Self::Add { dry_run, .. } => *dry_run,
            Self::Activate { key, .. } | Self::Retire { key, .. } | Self::Purge(key) | Self::Compromise(key) => {
                key.dry_run
            }
        }
    }
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
                "signed_until_ms": key.signed_until_ms,
            })
        })
        .collect();
    let value = json!({
        "keys": keys,
        "kid": answer.kid,
        "revision": answer.revision,
        "breaks": answer.breaks,
        "dry_run": rehearsed,
    });
    output.print(&value, || {
        let mut table = Table::new(&["KEY", "ALGORITHM", "STATE", "ADDED", "NEXT STEP FROM", "TOKENS UNTIL"]);
        for key in &answer.keys {
            let marked = if key.kid == answer.kid { "*" } else { "" };
            table.row([
                format!("{}{marked}", key.kid),
                key.algorithm.clone(),
                key.state.clone(),
                moment(Some(key.added_ms)),
                moment(Some(key.next_step_ms)),
                moment(Some(key.signed_until_ms)),
            ]);
        }
        let breaks = if answer.breaks.is_empty() { String::new() } else { format!("by force: {}\n", answer.breaks) };
        format!("{table}{breaks}{}", if rehearsed { "nothing was changed: this was a rehearsal" } else { "" })
    })
}
