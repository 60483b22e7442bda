use configsrv_fleet::Phase;
use serde::Serialize;

use crate::remote::Node;

/// What has to happen before the node has what is published.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Next {
    /// A sentence about who does what.
    pub(super) what: String,
    /// When it is too late, or the node does something else by itself.
    pub(super) until_ms: Option<u64>,
    pub(super) commands: Vec<Step>,
}

/// A command, and where it is typed.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Step {
    pub(super) at: Place,
    pub(super) command: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Place {
    /// In the fleet's repository.
    Desk,
    Node,
}

const COMPILE: &str = "florctl compile --sign-key FILE";
const REBASE: &str = "florctl rebase --sign-key FILE";
const PUBLISH: &str = "florctl publish";
const STATUS: &str = "flor status";
const SYNC: &str = "flor sync";

impl Next {
    /// `None` where nothing has to happen, or this release does not know the phase.
    pub(super) fn of(node: &Node) -> Option<Self> {
        let phase = Phase::named(&node.phase)?;
        let was = node.was.as_deref().and_then(Phase::named);
        let (what, commands) = step(node, phase, was)?;
        let until_ms = node.deadline_ms.filter(|_| phase.is_waiting());
        Some(Self { what, until_ms, commands })
    }
}

fn step(node: &Node, phase: Phase, was: Option<Phase>) -> Option<(String, Vec<Step>)> {
    let (name, version) = (&node.name, node.version);
    if is_frozen(node) && is_before_activation(phase, was) {
        return Some((
            format!(
                "somebody looks at the files that were changed on {name}, and has them written again or overwrites them: \
                 its policy is that it takes nothing newer before"
            ),
            vec![on_node("flor drift --diff"), on_node("flor drift --repair"), on_node(SYNC)],
        ));
    }
    Some(match phase {
        Phase::Confirmed => return None,
        Phase::Unpublished | Phase::Removed => (
            format!("an operator has {name} in nodes.yaml, compiles and publishes, if it is to take part"),
            vec![desk(COMPILE), desk(PUBLISH)],
        ),
        Phase::Offered | Phase::LookedAt => (
            format!(
                "somebody on {name} looks at version {version} and syncs; an agent with --sync watch or timer does so by \
                 itself"
            ),
            vec![on_node("flor sync --dry-run"), on_node(SYNC)],
        ),
        Phase::Fetched => (
            format!("{name} says what became of version {version}; until it does, only its own status knows"),
            vec![on_node(STATUS)],
        ),
        Phase::Activating => (format!("{name} activates version {version} and says so"), vec![on_node(STATUS)]),
        Phase::Pending => (
            format!(
                "somebody on {name} confirms version {version}, or its agent does when its policy is health and all has \
                 held; otherwise the node goes back to {} by itself",
                had(node)
            ),
            vec![on_node(&format!("flor sync --confirm={version}"))],
        ),
        Phase::RolledBack | Phase::Rejected => (
            format!(
                "an operator publishes another content; or, where the cause was elsewhere and is gone, somebody on {name} \
                 lets this one in again, which is recorded"
            ),
            vec![desk(COMPILE), desk(PUBLISH), on_node("flor sync --retry-rejected")],
        ),
        Phase::Refused => (
            format!(
                "what the reason names is put right, by an operator or on {name}; then somebody there syncs again, or \
                 takes the version that is published instead"
            ),
            vec![on_node(STATUS), on_node(SYNC)],
        ),
        Phase::Degraded => (
            format!(
                "somebody looks at {name}: what runs there may be of neither version; a version that works ends it"
            ),
            vec![on_node(STATUS), on_node(SYNC)],
        ),
        Phase::Paused => (
            format!(
                "an operator compiles above what the nodes have and publishes that; then somebody on {name} syncs. Until \
                 then the node goes on with what it has"
            ),
            vec![desk(REBASE), desk(PUBLISH), on_node(SYNC)],
        ),
        Phase::Overdue => match was {
            Some(before @ (Phase::Offered | Phase::LookedAt)) => return step(node, before, None),
            _ => (
                format!(
                    "somebody looks at {name}: it is off, does not reach the servers, or its agent ended over it. A sync \
                     there tells the servers how things are"
                ),
                vec![on_node(STATUS), on_node(SYNC)],
            ),
        },
    })
}

fn is_frozen(node: &Node) -> bool {
    let drift = node.reported.as_ref().and_then(|status| status.drift.as_ref());
    drift.is_some_and(|drift| drift.policy == "freeze")
}

/// Whether the node has done nothing yet about what is published.
fn is_before_activation(phase: Phase, was: Option<Phase>) -> bool {
    matches!(phase, Phase::Offered | Phase::LookedAt | Phase::Fetched)
        || (phase == Phase::Overdue && was.is_some_and(|was| is_before_activation(was, None)))
}

fn had(node: &Node) -> String {
    let confirmed = node.reported.as_ref().and_then(|status| status.confirmed);
    confirmed.map_or_else(|| "no configuration".to_owned(), |version| format!("version {version}"))
}

fn desk(command: &str) -> Step {
    Step { at: Place::Desk, command: command.to_owned() }
}

fn on_node(command: &str) -> Step {
    Step { at: Place::Node, command: command.to_owned() }
}
