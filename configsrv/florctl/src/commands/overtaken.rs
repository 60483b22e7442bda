//! What others published meanwhile, for whoever is refused because of it.

use configsrv_fleet::Version;
use serde_json::json;

use super::versions;
use crate::{
    failure::{self, Failure},
    remote::{Changes, Http},
};

/// Published versions that are looked through for the one that was compiled on.
const VERSIONS: u32 = 200;
const LINES: usize = 40;
/// Characters of a line.
const WIDTH: usize = 400;
/// Of those who gain, and of those who lose.
const REACHES: usize = 100;

/// Adds to a refusal what changed from the version that `ours` was compiled on, which is `base` if that is known, to the
/// one that the servers have.
pub(super) async fn told(refused: Failure, http: &Http, ours: Version, base: Option<Version>) -> Failure {
    let Ok(page) = http.versions(VERSIONS).await else { return refused };
    // Newest first.
    let before = page.versions.iter().map(|published| published.version).find(|version| *version < ours);
    let to = page.current;
    match base.or(before).filter(|from| *from != to) {
        Some(from) => refused.changes(match http.changes(from, to).await {
            Ok(changes) => known(&changes),
            Err(why) => unknown(from, to, why.message()),
        }),
        None => refused,
    }
}

fn known(changes: &Changes) -> failure::Changes {
    let Changes { from, to, access, changed, added, removed, .. } = changes;
    let left_out = access.gained.len().saturating_sub(REACHES) + access.lost.len().saturating_sub(REACHES);
    let value = json!({
        "from": from,
        "to": to,
        "access": {
            "gained": access.gained.iter().take(REACHES).collect::<Vec<_>>(),
            "lost": access.lost.iter().take(REACHES).collect::<Vec<_>>(),
        },
        "left_out": left_out,
        "nodes": { "changed": changed.len(), "added": added.len(), "removed": removed.len() },
    });
    let all = versions::to_text(changes);
    let mut text: String = all.lines().take(LINES).map(line).collect();
    let more = all.lines().count().saturating_sub(LINES);
    if more > 0 {
        text += &format!("and {more} more lines: florctl versions diff {from} {to}\n");
    }
    failure::Changes { text, value }
}

fn unknown(from: Version, to: Version, why: &str) -> failure::Changes {
    failure::Changes {
        text: line(&format!("what changed from version {from} to {to} cannot be shown: {why}")),
        value: json!({ "from": from, "to": to, "unavailable": why }),
    }
}

/// What servers answer must not steer the terminal.
fn line(text: &str) -> String {
    let line: String = text.chars().take(WIDTH).map(|char| if char.is_control() { ' ' } else { char }).collect();
    let end = if text.chars().count() > WIDTH { "…" } else { "" };
    format!("{line}{end}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Code;

    fn changes(reaches: usize) -> Changes {
        let reach = |at: usize| {
            json!({
                "who": format!("spiffe://quay.test/user/u{at}"), "target": "spiffe://quay.test/service/stock", "at": "pier2",
            })
        };
        let gained: Vec<_> = (0..reaches).map(reach).collect();
        serde_json::from_value(json!({
            "from": 7, "to": 9, "access": { "gained": gained, "lost": [] }, "changed": {}, "added": [], "removed": [],
            "restarts": [],
        }))
        .unwrap()
    }

    #[test]
    fn little_is_shown_whole_and_much_is_cut_off() {
        let few = known(&changes(2));
        assert!(few.text.starts_with("from version 7 to 9:\n+ user/u0 gains service/stock on pier2\n"), "{}", few.text);
        assert!(!few.text.contains("more lines") && few.value["left_out"] == 0, "{}", few.value);
        let many = known(&changes(5_000));
        assert_eq!(many.text.lines().count(), LINES + 1);
        assert!(many.text.ends_with("more lines: florctl versions diff 7 9\n"), "{}", many.text);
        assert_eq!(many.value["access"]["gained"].as_array().unwrap().len(), REACHES);
        assert_eq!(many.value["left_out"], 5_000 - REACHES);
    }

    #[test]
    fn what_is_gone_is_said_to_be() {
        let version = |number| Version::new(number).unwrap();
        let gone = unknown(version(7), version(9), "version 7 is pruned\u{1b}[2J");
        let refused = Failure::new(Code::Conflict, "the servers have version 9").changes(gone);
        assert_eq!(
            refused.to_string(),
            "error: the servers have version 9\n\
             what changed from version 7 to 9 cannot be shown: version 7 is pruned [2J"
        );
        let value: serde_json::Value = serde_json::from_str(&refused.to_json()).unwrap();
        assert_eq!(value["changes"]["from"], 7);
        assert!(value["changes"]["unavailable"].as_str().unwrap().contains("pruned"));
    }
}
