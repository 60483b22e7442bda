use std::{
    collections::BTreeMap,
    convert::Infallible,
    io::{self, IsTerminal as _},
    sync::Arc,
    time::Duration,
};

use configsrv_fleet::Version;
use holdfast_proto::configsrv::{WatchRequest, config_service_client::ConfigServiceClient};
use serde_json::json;
use time::OffsetDateTime;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use super::fleet;
use crate::{
    cli::Fleet,
    failure::{Code, Failure},
    output::{self, Format, moment, or_dash},
    remote::{Http, Node, Status, connect},
    settings::Settings,
};

/// The shortest and the longest time between two looks.
const PAUSE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));
/// A look may take one part in so many of the time, so that the servers have little to do for whoever watches a large fleet.
const SHARE: u32 = 10;
/// Before the servers are asked again to tell of new versions.
const AGAIN: Duration = Duration::from_secs(10);

/// `florctl fleet --watch`. Servers tell of new versions; how far nodes are is looked at from time to time.
pub(super) async fn run(options: &Fleet, settings: &Settings, output: Format) -> Result<Code, Failure> {
    let news = Arc::new(Notify::new());
    tokio::select! {
        ended = looks(options, settings, output, &news) => ended,
        never = listen(settings, &news) => match never {},
        stopped = tokio::signal::ctrl_c() => stopped.map(|()| Code::Done).map_err(Failure::unexpected),
    }
}

/// Shows what changed until nobody reads any more.
async fn looks(options: &Fleet, settings: &Settings, output: Format, news: &Notify) -> Result<Code, Failure> {
    let http = Http::new(settings)?;
    let mut view = View::new(output, options.stale);
    let mut complained = false;
    loop {
        let begun = Instant::now();
        match http.nodes(options.version).await {
            Ok((version, nodes)) => {
                complained = false;
                if !view.show(version, nodes)? {
                    return Ok(Code::Done);
                }
            }
            // Servers come back; the first look tells somebody who mistyped an address.
            Err(failure) if failure.code() == Code::Unreachable && view.is_shown() => {
                if !complained {
                    eprintln!("{failure}");
                }
                complained = true;
            }
            Err(failure) => return Err(failure),
        }
        let pause = (begun.elapsed() * SHARE).clamp(PAUSE.0, PAUSE.1);
        // A new version is worth a look at once, though not in a row.
        if timeout(pause, news.notified()).await.is_ok() {
            sleep(PAUSE.0 / SHARE).await;
        }
    }
}

/// Never ends: where the API cannot be reached, looks from time to time have to do.
async fn listen(settings: &Settings, news: &Notify) -> Infallible {
    loop {
        if let Ok(channel) = connect(settings).await
            && let Ok(answer) = ConfigServiceClient::new(channel).watch(WatchRequest {}).await
        {
            let mut versions = answer.into_inner();
            while let Ok(Some(_)) = versions.message().await {
                news.notify_one();
            }
        }
        sleep(AGAIN).await;
    }
}

/// What was shown last.
struct View {
    output: Format,
    /// Draws the whole table anew.
    draws: bool,
    only_stale: bool,
    version: Option<Version>,
    nodes: BTreeMap<String, Node>,
}

impl View {
    fn new(output: Format, only_stale: bool) -> Self {
        let draws = output == Format::Table && io::stdout().is_terminal();
        Self { output, draws, only_stale, version: None, nodes: BTreeMap::new() }
    }

    fn is_shown(&self) -> bool {
        self.version.is_some()
    }

    /// Shows what differs from the last time. False when there is no reader any more.
    fn show(&mut self, version: Version, nodes: Vec<Node>) -> Result<bool, Failure> {
        let nodes: BTreeMap<String, Node> = nodes.into_iter().map(|node| (node.name.clone(), node)).collect();
        let changes = changes(&self.nodes, &nodes, self.only_stale);
        if changes.is_empty() && self.version == Some(version) {
            return Ok(true);
        }
        let now = OffsetDateTime::now_utc();
        let text: String = match (self.draws, self.output) {
            (true, _) => self.screen(version, &nodes),
            (false, Format::Table) => changes.iter().map(|change| change.line(version, now)).collect(),
            (false, Format::Json) => changes.iter().map(|change| change.json(version, now)).collect(),
        };
        (self.version, self.nodes) = (Some(version), nodes);
        output::write_if_read(text.as_bytes())
    }

    /// The whole table on an empty screen.
    fn screen(&self, version: Version, nodes: &BTreeMap<String, Node>) -> String {
        const CLEAR: &str = "\x1b[H\x1b[2J\x1b[3J";
        let stale = nodes.values().filter(|node| node.stale).count();
        let shown = nodes.values().filter(|node| node.stale || !self.only_stale);
        format!("{CLEAR}{}{}\n", fleet::table(shown), fleet::summary(version, nodes.len(), stale))
    }
}

#[derive(Debug, PartialEq)]
enum Change<'n> {
    Now(&'n Node),
    Gone(&'n str),
}

/// Nodes that differ, by name. Of those who want to see stale nodes only, a node that is stale no more takes its leave.
fn changes<'n>(
    before: &'n BTreeMap<String, Node>,
    now: &'n BTreeMap<String, Node>,
    only_stale: bool,
) -> Vec<Change<'n>> {
    let wanted = |node: &Node| !only_stale || node.stale || before.get(&node.name).is_some_and(|before| before.stale);
    let mut changes: Vec<_> =
        now.values().filter(|node| before.get(&node.name) != Some(node) && wanted(node)).map(Change::Now).collect();
    changes.extend(before.keys().filter(|name| !now.contains_key(*name)).map(|name| Change::Gone(name)));
    changes
}

impl Change<'_> {
    fn line(&self, version: Version, now: OffsetDateTime) -> String {
        let text = match self {
            Self::Gone(name) => format!("{name}: gone"),
            Self::Now(node) => {
                let reported = node.reported.as_ref();
                let of = |pick: fn(&Status) -> Option<Version>| or_dash(reported.and_then(pick));
                format!(
                    "{}: {} (version {version}; active {}, pending {}, confirmed {})",
                    node.name,
                    fleet::phase(node),
                    of(|status| status.active),
                    of(|status| status.pending),
                    of(|status| status.confirmed)
                )
            }
        };
        // What servers answer must not steer the terminal.
        format!("{} {}\n", moment(Some(unix_ms(now))), text.replace(char::is_control, " "))
    }

    fn json(&self, version: Version, now: OffsetDateTime) -> String {
        let at_ms = unix_ms(now);
        let value = match self {
            Self::Now(node) => json!({ "at_ms": at_ms, "version": version, "node": node, "phase": fleet::phase(node) }),
            Self::Gone(name) => json!({ "at_ms": at_ms, "version": version, "gone": name }),
        };
        format!("{value}\n")
    }
}

fn unix_ms(moment: OffsetDateTime) -> u64 {
    u64::try_from(moment.unix_timestamp_nanos() / 1_000_000).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(nodes: &[(&str, bool)]) -> BTreeMap<String, Node> {
        let node = |name: &str, stale: bool| Node {
            name: name.to_owned(),
            published: true,
            stale,
            phase: if stale { "offered" } else { "confirmed" }.to_owned(),
            version: Version::NONE,
            since_ms: 0,
            deadline_ms: None,
            reason: String::new(),
            was: None,
            fetched: None,
            looked_at: None,
            reported: None,
            seen_ms: None,
            revocations: None,
        };
        nodes.iter().map(|(name, stale)| ((*name).to_owned(), node(name, *stale))).collect()
    }

    #[test]
    fn only_what_differs_is_told() {
        let (before, now) =
            (fleet(&[("a", true), ("b", true), ("c", false)]), fleet(&[("a", true), ("b", false), ("d", false)]));
        let told = |only_stale| -> Vec<String> {
            let changes = changes(&before, &now, only_stale);
            changes.iter().map(|change| change.line(Version::NONE, OffsetDateTime::UNIX_EPOCH)).collect()
        };
        let without_time = |lines: Vec<String>| -> Vec<String> {
            lines
                .iter()
                .map(|line| line.split_once("- ").unwrap().1.split(" (").next().unwrap().trim().to_owned())
                .collect()
        };
        assert_eq!(without_time(told(false)), ["b: confirmed", "d: confirmed", "c: gone"]);
        assert_eq!(without_time(told(true)), ["b: confirmed", "c: gone"]);
        assert!(changes(&now, &now, false).is_empty());
    }

    #[test]
    fn a_change_is_one_line_of_json() {
        let (before, now) = (fleet(&[("a", true)]), fleet(&[("b", true)]));
        let lines: Vec<String> = changes(&before, &now, false)
            .iter()
            .map(|change| change.json(Version::NONE, OffsetDateTime::UNIX_EPOCH))
            .collect();
        assert_eq!(lines.iter().map(|line| line.matches('\n').count()).sum::<usize>(), lines.len());
        let values: Vec<serde_json::Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&values[0]["node"]["name"], &values[0]["phase"]), (&"b".into(), &"offered".into()));
        assert_eq!(values[1]["gone"], "a");
    }
}
