use configsrv_fleet::Sequence;
use serde_json::json;

use crate::{
    failure::{Code, Failure},
    output::{Format, Table, moment},
    remote::{Http, Node},
    settings::Settings,
};

/// How far a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// After so many milliseconds, if that is known.
    After(Option<u64>),
    /// It has an earlier sequence, or none.
    Waiting,
}

pub(super) async fn run(settings: &Settings, output: Format) -> Result<Code, Failure> {
    let http = Http::new(settings)?;
    let Some(lane) = http.revocations().await? else {
        output.print(&json!({ "sequence": 0, "revoked": [], "settled": {}, "nodes": [] }), || {
            "nobody has been revoked".to_owned()
        })?;
        return Ok(Code::Done);
    };
    let now = lane.sealed.revocations();
    let (_, nodes) = http.nodes(None).await?;
    let nodes: Vec<(Node, Effect)> = nodes
        .into_iter()
        .filter(|node| node.published)
        .map(|node| {
            let effect = effect(&node, now.sequence, lane.published_ms);
            (node, effect)
        })
        .collect();
    let waiting = nodes.iter().filter(|(_, effect)| *effect == Effect::Waiting).count();
    let rows: Vec<_> = nodes
        .iter()
        .map(|(node, effect)| {
            let after = match effect {
                Effect::After(after) => *after,
                Effect::Waiting => None,
            };
            json!({
                "node": node.name,
                "sequence": node.revocations.as_ref().map(|reached| reached.sequence),
                "at_ms": node.revocations.as_ref().map(|reached| reached.at_ms),
                "effective": *effect != Effect::Waiting,
                "effective_after_ms": after,
            })
        })
        .collect();
    let value = json!({
        "sequence": now.sequence,
        "published_ms": lane.published_ms,
        "base_version": now.base_version,
        "reason": now.reason,
        "signed_by": now.signature.as_ref().map(|signature| &signature.key_id),
        "revoked": now.revoked,
        "settled": now.settled,
        "nodes": rows,
        "waiting": waiting,
        "total": nodes.len(),
    });
    output.print(&value, || {
        let mut text =
            format!("sequence {} at {}: {}\n", now.sequence, moment(lane.published_ms), printable(&now.reason));
        for id in &now.revoked {
            text += &format!("  {} is revoked\n", id.subject());
        }
        for (id, until) in &now.settled {
            text += &format!("  {} is revoked in versions below {until}\n", id.subject());
        }
        let mut table = Table::new(&["NODE", "SEQUENCE", "EFFECTIVE"]);
        for (node, effect) in &nodes {
            let sequence = node.revocations.as_ref().map_or("-".to_owned(), |reached| reached.sequence.to_string());
            table.row([node.name.clone(), sequence, word(*effect)]);
        }
        format!("{text}{table}{} of {} nodes apply it", nodes.len() - waiting, nodes.len())
    })?;
    Ok(Code::Done)
}

fn effect(node: &Node, sequence: Sequence, published_ms: Option<u64>) -> Effect {
    match &node.revocations {
        // A node that is ahead was told by a server that has since been restored.
        Some(reached) if reached.sequence >= sequence => {
            Effect::After(published_ms.map(|published| reached.at_ms.saturating_sub(published)))
        }
        Some(_) | None => Effect::Waiting,
    }
}

fn word(effect: Effect) -> String {
    match effect {
        Effect::After(Some(milliseconds)) => format!("after {}.{:03} s", milliseconds / 1000, milliseconds % 1000),
        Effect::After(None) => "yes".to_owned(),
        Effect::Waiting => "waiting".to_owned(),
    }
}

/// What servers answer must not steer the terminal.
fn printable(text: &str) -> String {
    text.replace(char::is_control, " ")
}
