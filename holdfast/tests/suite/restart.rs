//! What was acknowledged is there after the process has ended, however it ended.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context as _, Result, ensure};
use holdfast_testkit::{Binaries, Launch, Server, free_ports, wait_until};

use crate::{
    http::Request,
    lab::{Caller, Lab, SOON, eventually},
    tree,
};

const WRITERS: usize = 8;
const BEFORE_THE_KILL: usize = 150;

/// A server whose HTTP door keeps its port: the tokens' issuer is its address.
fn start(folder: &tempfile::TempDir) -> Result<Lab> {
    let [port] = free_ports()?;
    let mut launch = Launch::dev(&Binaries::find()?, folder.path());
    launch.arguments = vec!["--http".into(), format!("127.0.0.1:{port}")];
    let mut server = Server::start(launch)?;
    server.wait_ready()?;
    Lab::of(server)
}

fn again(mut lab: Lab) -> Result<Lab> {
    lab.server.start_again()?;
    lab.server.wait_ready()?;
    Lab::of(lab.server)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_clean_and_everything_is_kept() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut lab = start(&folder)?;
    let api = lab.api()?;
    for n in 0..20 {
        api.put(&format!("kept/{n}"), "value").await?;
    }
    let rita = api.principal("user/rita", "operator").await?;
    ensure!(lab.post("/publish", &tree::first()?)?.status == 200);
    let lock = r#"{"client_params":{"id":"a","group":"default"}}"#;
    let take =
        |lab: &Lab| Request::post("/v1/pre-reboot", lock).header("fleet-lock-protocol", "true").send(&lab.at.http);
    ensure!(take(&lab)?.status == 200);
    let keys = Request::get("/jwks.json").send(&lab.at.http)?.body;
    let revision = api.range("kept/", "kept0", false).await?.header.context("no header")?.revision;

    let ended = lab.server.terminate()?;
    ensure!(ended.code() == Some(0), "{ended}: {}", lab.server.log_tail());
    let lab = again(lab)?;

    let api = lab.api()?;
    let found = api.range("kept/", "kept0", false).await?;
    ensure!((found.count, found.header.context("no header")?.revision) == (20, revision));
    ensure!(Request::get("/jwks.json").send(&lab.at.http)?.body == keys);
    let versions = Request::get("/versions").bearer(&rita).send(&lab.at.http)?;
    ensure!(versions.status == 200 && versions.json()?["current"] == 1, "{versions:?}");
    ensure!(lab.get("/artifact/pier2?version=1")?.status == 200);
    let locks = lab.get("/locks")?.json()?;
    ensure!(locks["groups"][0]["holders"][0]["id"] == "a", "{locks}");
    eventually("all events in the history, once", || async {
        api.nothing_twice().await?;
        let puts = api.number("SELECT count(*) FROM audit.events WHERE action = 'kv.Put'").await?;
        ensure!(puts <= 20);
        Ok((puts == 20).then_some(()))
    })
    .await
}

/// A stop in the middle of work is as clean: what is in flight is answered or refused, never half done.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_is_clean() -> Result<()> {
    let mut lab = Lab::start()?;
    let load = Load::start(&lab)?;
    load.acknowledged(50)?;
    let ended = lab.server.terminate()?;
    ensure!(ended.code() == Some(0), "{ended}: {}", lab.server.log_tail());
    let acknowledged = load.end().await;
    let lab = again(lab)?;
    all_there(&lab.api()?, &acknowledged).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_loses_nothing_that_was_acknowledged() -> Result<()> {
    let mut lab = Lab::start()?;
    for round in 1..=2 {
        let load = Load::start(&lab)?;
        load.acknowledged(BEFORE_THE_KILL)?;
        lab.server.kill()?;
        let acknowledged = load.end().await;
        lab = again(lab)?;
        let api = lab.api()?;
        all_there(&api, &acknowledged).await.with_context(|| format!("round {round}"))?;
        eventually("every change in the history, once", || async {
            let sql = "SELECT count(*), count(DISTINCT resource) FROM audit.events WHERE action = 'kv.Put'";
            let rows = api.rows(sql).await?;
            let (puts, keys) = rows.first().map(|row| (&row[0], &row[1])).context("a count has a row")?;
            ensure!(puts == keys, "{puts} rows for {keys} keys");
            let stored = api.range("load/", "load0", false).await?.count;
            Ok((puts.as_i64() == Some(stored)).then_some(()))
        })
        .await?;
    }
    Ok(())
}

async fn all_there(api: &Caller, acknowledged: &BTreeSet<String>) -> Result<()> {
    let stored = api.range("load/", "load0", false).await?;
    let stored: BTreeSet<_> = stored.kvs.iter().map(|pair| String::from_utf8_lossy(&pair.key).into_owned()).collect();
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    ensure!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
    Ok(())
}

/// Writers that put new keys until the server does not answer any more.
struct Load {
    acknowledged: Arc<Mutex<BTreeSet<String>>>,
    stop: Arc<AtomicBool>,
    writers: tokio::task::JoinSet<()>,
}

impl Load {
    fn start(lab: &Lab) -> Result<Self> {
        let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let mut writers = tokio::task::JoinSet::new();
        let life = lab.at.api.replace([':', '.'], "-");
        for writer in 0..WRITERS {
            let (api, acknowledged, stop, life) =
                (lab.api()?, Arc::clone(&acknowledged), Arc::clone(&stop), life.clone());
            writers.spawn(async move {
                for n in 0_u64.. {
                    let key = format!("load/{life}/{writer}/{n}");
                    if stop.load(Ordering::Relaxed) || api.put(&key, "value").await.is_err() {
                        return;
                    }
                    acknowledged.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
                }
            });
        }
        Ok(Self { acknowledged, stop, writers })
    }

    fn acknowledged(&self, count: usize) -> Result<()> {
        tokio::task::block_in_place(|| {
            wait_until(SOON, "acknowledged writes", || {
                let known = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).len();
                Ok((known >= count).then_some(()))
            })
        })
    }

    async fn end(mut self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        while self.writers.join_next().await.is_some() {}
        std::mem::take(&mut self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
