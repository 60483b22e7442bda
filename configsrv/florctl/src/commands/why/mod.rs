//! Why a node does not have what is published: the servers' record of it, in sentences.

mod next;

use std::fmt::Write as _;

use configsrv_fleet::{NodeName, Phase, Version};
use serde_json::json;

use crate::{
    failure::{Code, Failure},
    output::{Format, moment},
    remote::{Carried, Drift, Http, Node, Published},
    settings::Settings,
};
use next::{Next, Place};

pub(super) async fn run(name: &NodeName, settings: &Settings, output: Format) -> Result<Code, Failure> {
    let http = Http::new(settings)?;
    let node = http.node(name).await?;
    let published = http.versions(1).await?.versions.into_iter().next();
    let (sentences, next) = (sentences(&node, published.as_ref()), Next::of(&node));
    let value = json!({ "node": node, "published": published, "sentences": sentences, "next": next });
    output.print(&value, || text(&node, &sentences, next.as_ref()))?;
    Ok(Code::Done)
}

/// The decision first, then what it rests on.
fn sentences(node: &Node, published: Option<&Published>) -> Vec<String> {
    let mut said = vec![decision(node)];
    said.push(match published {
        None => "Nothing has been published.".to_owned(),
        Some(tree) => {
            let offer = if node.published { "offer it" } else { "have nothing for it in" };
            let note = tree.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
            let at = moment(Some(tree.published_ms));
            format!(
                "The servers {offer} version {}, which {} published at {at}{note}.",
                tree.version, tree.published_by
            )
        }
    });
    said.push(match &node.fetched {
        Some(fetch) => format!("It fetched version {} at {}.", fetch.version, moment(Some(fetch.at_ms))),
        None => "It has never fetched anything to activate it.".to_owned(),
    });
    if let Some(look) = node.looked_at.as_ref().filter(|look| Some(look.version) > fetched(node)) {
        let at = moment(Some(look.at_ms));
        said.push(format!("Somebody there looked at version {} at {at}, without activating it.", look.version));
    }
    said.extend(node.seen_ms.map(|seen| {
        format!("It spoke to the server that answers this last at {}; others are not asked.", moment(Some(seen)))
    }));
    let Some(status) = &node.reported else {
        said.push("It has never said anything about itself.".to_owned());
        return clean(said);
    };
    said.push(match (status.active, status.confirmed) {
        (None, _) => "It runs no configuration.".to_owned(),
        (Some(active), confirmed) if confirmed == Some(active) => format!("It runs version {active}, for good."),
        (Some(active), Some(confirmed)) => format!("It runs version {active}; confirmed is version {confirmed}."),
        (Some(active), None) => format!("It runs version {active}; nothing is confirmed."),
    });
    let (result, at) = (status.result.as_deref().unwrap_or("how things are"), moment(Some(status.reported_ms)));
    let reason = status.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    said.push(format!("It said last, at {at}: {}{reason}.", result.replace('_', " ")));
    if let Some(failed) = status.rolled_back {
        said.push(format!("It went back from version {failed}, and does not try that content again by itself."));
    }
    if let Some(refused) = status.rejected {
        said.push(format!("It refused version {refused} before anything was touched."));
    }
    said.extend(status.carried.iter().map(by_hand));
    said.extend(status.drift.as_ref().map(drifted));
    if let Some(release) = &status.released {
        let at = moment(Some(release.at_ms));
        said.push(format!("Version {}, which had failed, was let in again at {at}.", release.version));
    }
    clean(said)
}

fn decision(node: &Node) -> String {
    let mut line = format!("{} is {}", node.name, node.phase.replace('_', " "));
    if let Some(was) = &node.was {
        line += &format!(" ({})", was.replace('_', " "));
    }
    if node.since_ms > 0 {
        line += &format!(" since {}", moment(Some(node.since_ms)));
    }
    line + ": " + &node.reason + "."
}

fn by_hand(carried: &Carried) -> String {
    let Carried { version, at_ms, unproven, .. } = carried;
    let proof = if *unproven { ", and kept it without reaching the servers through it" } else { "" };
    format!(
        "Somebody brought version {version} to it at {} by its clock, past the servers{proof}.",
        moment(Some(*at_ms))
    )
}

fn drifted(drift: &Drift) -> String {
    let Drift { policy, files, first } = drift;
    let some = if first.is_empty() { String::new() } else { format!(": {}", first.join(", ")) };
    match files {
        1 => format!("One file there is not as its version wrote it (policy {policy}){some}."),
        files => format!("{files} files there are not as its version wrote them (policy {policy}){some}."),
    }
}

fn fetched(node: &Node) -> Option<Version> {
    node.fetched.as_ref().map(|fetch| fetch.version)
}

/// What servers and nodes say must not steer the terminal.
fn clean(said: Vec<String>) -> Vec<String> {
    said.into_iter().map(|line| line.replace(char::is_control, " ")).collect()
}

fn text(node: &Node, sentences: &[String], next: Option<&Next>) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    for (at, sentence) in sentences.iter().enumerate() {
        let _ = writeln!(text, "{sentence}{}", if at == 0 { "\n" } else { "" });
    }
    let Some(next) = next else {
        let done = Phase::named(&node.phase).is_some();
        let rest = if done { "Nothing has to be done." } else { "This florctl is too old to say what comes next." };
        return format!("{text}\n{rest}");
    };
    let until = next.until_ms.map(|until| format!(", until {}", moment(Some(until)))).unwrap_or_default();
    let _ = writeln!(text, "\nNext{until}: {}.", next.what);
    for step in &next.commands {
        let place = match step.at {
            Place::Desk => "in the fleet's repository".to_owned(),
            Place::Node => format!("on {}", node.name),
        };
        let _ = writeln!(text, "    {:<34} # {place}", step.command);
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// 2026-01-05 08:00:00Z.
    const MORNING: u64 = 1_767_600_000_000;

    fn node(facts: &Value) -> Node {
        let mut value = json!({
            "name": "pier2", "published": true, "stale": true, "phase": "offered", "version": 8,
            "since_ms": MORNING, "deadline_ms": null, "reason": "because",
        });
        for (key, fact) in facts.as_object().unwrap() {
            value[key] = fact.clone();
        }
        serde_json::from_value(value).unwrap()
    }

    fn published() -> Published {
        serde_json::from_value(json!({
            "version": 8, "tree_digest": format!("sha256:{}", "0".repeat(64)), "nodes": 1, "published_ms": MORNING,
            "published_by": "user/mira", "note": "open the shop", "git_commit": null,
        }))
        .unwrap()
    }

    fn answer(node: &Node) -> String {
        text(node, &sentences(node, Some(&published())), Next::of(node).as_ref())
    }

    #[test]
    fn a_version_that_waits() {
        let node = node(&json!({
            "phase": "pending", "deadline_ms": MORNING + 300_000,
            "reason": "version 8 is active and waits for its confirmation",
            "fetched": { "version": 8, "at_ms": MORNING }, "looked_at": { "version": 7, "at_ms": MORNING },
            "reported": { "active": 8, "pending": 8, "confirmed": 7, "result": "pending", "reported_ms": MORNING },
        }));
        assert_eq!(
            answer(&node),
            "pier2 is pending since 2026-01-05 08:00:00Z: version 8 is active and waits for its confirmation.\n\
             \n\
             The servers offer it version 8, which user/mira published at 2026-01-05 08:00:00Z (open the shop).\n\
             It fetched version 8 at 2026-01-05 08:00:00Z.\n\
             It runs version 8; confirmed is version 7.\n\
             It said last, at 2026-01-05 08:00:00Z: pending.\n\
             \n\
             Next, until 2026-01-05 08:05:00Z: somebody on pier2 confirms version 8, or its agent does when its policy is \
             health and all has held; otherwise the node goes back to version 7 by itself.\n    \
             flor sync --confirm=8              # on pier2\n"
        );
    }

    #[test]
    fn servers_that_forgot() {
        let node = node(&json!({
            "phase": "paused", "version": 9, "reason": "the node has version 9, the servers know 8",
            "seen_ms": MORNING,
            "reported": {
                "active": 9, "confirmed": 9, "result": "rejected", "rejected": 8, "rolled_back": 6, "reason": "a\u{1b}[2J",
                "released": { "version": 5, "at_ms": MORNING }, "reported_ms": MORNING,
                "carried": [{
                    "version": 9, "digest": format!("sha256:{}", "0".repeat(64)), "at_ms": MORNING, "unproven": true,
                }],
                "drift": { "policy": "freeze", "files": 2, "first": ["/etc/shop: changed", "/etc/till: missing"] },
            },
        }));
        let said = answer(&node);
        for part in [
            "pier2 is paused since",
            "It runs version 9, for good.",
            "It refused version 8 before anything was touched.",
            "It went back from version 6,",
            "Version 5, which had failed, was let in again at 2026-01-05",
            "rejected (a [2J).",
            "answers this last at 2026-01-05",
            "Somebody brought version 9 to it at 2026-01-05 08:00:00Z by its clock, past the servers, and kept it without",
            "2 files there are not as its version wrote them (policy freeze): /etc/shop: changed, /etc/till: missing.",
            "    florctl rebase --sign-key FILE     # in the fleet's repository\n    florctl publish ",
            "    flor sync                          # on pier2\n",
        ] {
            assert!(said.contains(part), "{part} is not in {said}");
        }
    }

    #[test]
    fn every_phase_but_the_last_has_a_next_step() {
        for phase in Phase::ALL {
            let waits = phase.is_waiting();
            let node = node(&json!({ "phase": phase.as_str(), "deadline_ms": waits.then_some(MORNING) }));
            let next = Next::of(&node);
            assert_eq!(next.is_some(), phase != Phase::Confirmed, "{phase}");
            assert_eq!(next.as_ref().is_some_and(|next| next.until_ms.is_some()), waits, "{phase}");
            assert!(next.is_none_or(|next| !next.commands.is_empty()), "{phase}");
            assert!(answer(&node).starts_with(&format!("pier2 is {phase} since ")), "{}", answer(&node));
        }
        assert_eq!(Next::of(&node(&json!({ "phase": "a_newer_one" }))), None);
    }

    #[test]
    fn a_frozen_node_is_thawed_first() {
        let drift = json!({ "policy": "freeze", "files": 1, "first": ["/etc/shop: changed"] });
        for (phase, was) in [("offered", None), ("fetched", None), ("overdue", Some("fetched"))] {
            let said = answer(&node(&json!({
                "phase": phase, "was": was,
                "reported": { "active": 7, "confirmed": 7, "drift": drift, "reported_ms": MORNING },
            })));
            assert!(
                said.contains("One file there is not as its version wrote it (policy freeze): /etc/shop"),
                "{said}"
            );
            assert!(said.contains("takes nothing newer before") && said.contains("flor drift --repair"), "{said}");
        }
    }

    #[test]
    fn what_is_overdue_asks_for_what_did_not_happen() {
        let overdue = |was: &str| node(&json!({ "phase": "overdue", "was": was, "deadline_ms": MORNING }));
        let said = answer(&overdue("offered"));
        assert!(said.contains("pier2 is overdue (offered) since") && said.contains("flor sync --dry-run"), "{said}");
        assert!(!said.contains("until"), "{said}");
        for was in ["fetched", "activating", "pending"] {
            assert!(answer(&overdue(was)).contains("does not reach the servers"), "{was}");
        }
    }
}
