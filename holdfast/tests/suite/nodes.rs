//! What becomes of a version on a node: `florctl why` says it at every step, and the history has a word for each.

use std::{path::Path, slice};

use anyhow::{Context as _, Result, ensure};
use holdfast_testkit::{Binaries, Node, Program};
use serde_json::Value;

use crate::{
    http::Request,
    lab::{Lab, eventually},
    tree,
};

/// What `florctl why pier2` says once the node is in this phase: fetches are noted beside their answers.
async fn why(florctl: impl Fn(&str) -> Program, phase: &str, next: &str) -> Result<Value> {
    let ask = || florctl("why pier2 -o json").run()?.expect(0)?.json();
    let said = eventually(&format!("a node that is {phase}"), || async {
        let said = ask()?;
        Ok((said["node"]["phase"] == phase).then_some(said))
    })
    .await?;
    let text = florctl("why pier2").run()?.expect(0)?.said();
    ensure!(text.contains(&format!("pier2 is {}", phase.replace('_', " "))) && text.contains(next), "{text}");
    ensure!(florctl("fleet").run()?.expect(0)?.said().contains(&phase.replace('_', " ")));
    Ok(said)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_is_explained_and_in_the_history() -> Result<()> {
    let lab = Lab::start()?;
    let (api, folder, binaries) = (lab.api()?, tempfile::tempdir()?, Binaries::find()?);
    let florctl = |words: &str| {
        Program::new(&binaries.path("florctl"), folder.path())
            .environment("HOLDFAST_API", format!("http://{}", lab.at.api))
            .environment("HOLDFAST_HTTP", format!("http://{}", lab.at.http))
            .environment("HOLDFAST_TOKEN", &lab.token)
            .words(words)
    };
    ensure!(lab.post("/publish", &tree::first()?)?.status == 200);
    florctl("iam join-token create pier2 --out pier2.join").run()?.expect(0)?;
    let node = Node::new(&binaries, folder.path(), "pier2");
    node.enrolling(Path::new("pier2.join"), slice::from_ref(&lab.at), None).run()?.expect(0)?;
    let flor = |words: &str, code: i32| node.flor().words(words).run()?.expect(code);

    let offered = why(florctl, "offered", "flor sync --dry-run").await?;
    ensure!(offered["next"]["until_ms"] == offered["node"]["deadline_ms"], "{offered}");
    flor("sync --dry-run", 0)?;
    why(florctl, "looked_at", "flor sync").await?;
    flor("sync --commit-timeout 1s", 9)?;
    let failed = why(florctl, "rolled_back", "flor sync --retry-rejected").await?;
    ensure!(failed["node"]["reason"] == "not confirmed in time", "{failed}");
    flor("sync", 8)?;
    flor("sync --retry-rejected --commit-timeout 0", 0)?;
    why(florctl, "confirmed", "Nothing has to be done.").await?;
    // As if this server had been restored from a backup of long ago.
    let ahead = r#"{"active":9,"confirmed":9,"rejected":1,"result":"rejected","reason":"a replay"}"#;
    ensure!(lab.post("/nodes/pier2/status", ahead)?.status == 200);
    why(florctl, "paused", "florctl rebase --sign-key FILE").await?;

    let words = eventually("all words in the history", || async {
        let sql = "SELECT action, actor, outcome FROM audit.events WHERE resource = 'node/pier2' \
                   AND action LIKE 'config.%' ORDER BY time, log_index";
        let rows = api.rows(sql).await?;
        Ok((rows.iter().any(|row| row[0] == "config.Reject")).then_some(rows))
    })
    .await?;
    for word in ["config.Fetch", "config.Activate", "config.Rollback", "config.ReleaseRejected", "config.Confirm"] {
        let row = words.iter().find(|row| row[0] == word).with_context(|| format!("{word} is not in {words:?}"))?;
        ensure!(row[1] == "node/pier2" && row[2] == "done", "{row}");
    }
    let once = ["config.Activate", "config.Rollback", "config.ReleaseRejected", "config.Confirm", "config.Reject"];
    let steps: Vec<_> = words.iter().filter_map(|row| row[0].as_str()).filter(|word| once.contains(word)).collect();
    ensure!(steps == once, "{steps:?}");
    let published = "SELECT count(*) FROM audit.events WHERE action = 'config.Publish' AND resource = 'versions/1'";
    ensure!(api.number(published).await? == 1);
    let page = Request::get("/audit?action=config.Publish").bearer(&lab.token).send(&lab.at.http)?.json()?;
    let said = page["events"][0]["reason"].as_str().with_context(|| format!("no reason: {page:#}"))?;
    let is_said = said.starts_with("tree sha256:") && said.ends_with("; made from version 0; note: first");
    ensure!(is_said, "{said}");
    Ok(())
}
