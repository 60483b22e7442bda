use holdfast_proto::iam::{ListVerifiersRequest, Versions, verifiers_client::VerifiersClient};
use serde_json::{Value, json};

use crate::{
    failure::Failure,
    output::{Format, Table, moment},
    remote::{Channel, refused},
};

pub(super) async fn list(channel: Channel, output: Format) -> Result<(), Failure> {
    let answer = VerifiersClient::new(channel).list(ListVerifiersRequest {}).await.map_err(refused)?.into_inner();
    let current = answer.current.unwrap_or_default();
    let verifiers: Vec<Value> = answer
        .verifiers
        .iter()
        .map(|verifier| {
            json!({
                "name": verifier.name,
                "versions": verifier.versions.as_ref().map(versions),
                "acknowledged_ms": verifier.acknowledged_ms,
                "behind": verifier.behind,
                "signed_until_ms": verifier.signed_until_ms,
            })
        })
        .collect();
    output.print(&json!({ "current": versions(&current), "verifiers": verifiers }), || {
        let mut table = Table::new(&["VERIFIER", "STATE", "KEYS", "TRUST", "POLICY", "REVOCATIONS", "LAST WORD"]);
        let mut row = |name: &str, state: &str, of: &Versions, at_ms: u64| {
            let versions = [of.keys, of.trust, of.policy, of.revocations].map(|version| version.to_string());
            let [keys, trust, policy, revocations] = versions;
            table.row([name.to_owned(), state.to_owned(), keys, trust, policy, revocations, moment(Some(at_ms))]);
        };
        row("(to be enforced)", "", &current, 0);
        for verifier in &answer.verifiers {
            let state = if verifier.behind { "behind" } else { "current" };
            row(&verifier.name, state, &verifier.versions.unwrap_or_default(), verifier.acknowledged_ms);
        }
        table.to_string()
    })
}

fn versions(versions: &Versions) -> Value {
    json!({
        "keys": versions.keys,
        "trust": versions.trust,
        "policy": versions.policy,
        "revocations": versions.revocations,
    })
}
