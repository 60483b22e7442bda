//! Rotations as jobs: every family at the same time, while the server that takes the steps and the leader are killed again
//! and again. The end is the same as without that.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, bail, ensure};

use super::{master_key, text};
use crate::{
    lab::SOON,
    node::Node,
    plane::{AccessKey, Plane, Token},
    runbook::Runbook,
};

/// Of a token and of a certificate.
const LIFE: Duration = Duration::from_secs(10);
/// What every verifier forgives of time.
const LEEWAY: Duration = Duration::from_secs(30);
/// Servers come back, again and again, and commands take their time.
const SLACK: Duration = Duration::from_secs(60);

const SETTINGS: [&str; 6] = [
    "token_ttl_s: 10",
    "max_token_ttl_s: 10",
    "certificate_ttl_s: 10",
    "jwks_cache_s: 3",
    "stale_limit_s: 10",
    "key_retirement_s: 3",
];

const CI: &str = "service/ci";
const FAMILIES: [&str; 3] = ["signing-key", "authority", "master-key"];

/// What a job replaces, and by what.
struct Job {
    from: String,
    to: String,
}

/// What somebody got at one time.
struct Belongings {
    token: Token,
    node: Node,
    certified_until: SystemTime,
    key: AccessKey,
}

impl Belongings {
    async fn get(plane: &Plane, at: usize, node: &str) -> Result<Self> {
        let certified_until = SystemTime::now() + LIFE;
        let node = Node::enroll(plane, at, node).await?;
        Ok(Self { token: plane.token(at, CI)?, node, certified_until, key: plane.access_key(at, CI)? })
    }

    /// That every server takes what has not ended.
    async fn are_good(&self, plane: &Plane) -> Result<()> {
        plane.logs_in_everywhere(&self.key)?;
        for at in 0..plane.count() {
            // Asked before, so that what has ended meanwhile is not demanded.
            let known = self.node.is_known(plane, at).await?;
            ensure!(known || SystemTime::now() >= self.certified_until, "server {at} refuses the certificate");
            let accepted = plane.accepts(at, &self.token)?;
            ensure!(accepted || SystemTime::now() >= self.token.expires, "server {at} refuses the token");
        }
        Ok(())
    }

    /// That no server takes what rotation has made void; the access key is as good as before.
    async fn are_void(&self, plane: &Plane) -> Result<()> {
        plane.logs_in_everywhere(&self.key)?;
        for at in 0..plane.count() {
            ensure!(!self.node.is_known(plane, at).await? && !plane.accepts(at, &self.token)?, "at server {at}");
        }
        Ok(())
    }
}

/// Three servers that hold the next master key, too.
fn start() -> Result<Option<Plane>> {
    let Some(mut plane) = Plane::start(3, &SETTINGS)? else { return Ok(None) };
    master_key::make_new(&plane, &Runbook::new(master_key::RUNBOOK))?;
    for at in 0..plane.count() {
        master_key::hold_both(&plane, at)?;
    }
    plane.kill_all_and_start_again()?;
    plane.admin(0, "principal create service/ci")?;
    Ok(Some(plane))
}

/// Gives every family's job this order, at one server after the other.
fn order(plane: &Plane, words: &str) -> Result<Vec<Job>> {
    let order = |(at, family): (usize, &&str)| {
        let job = plane.admin(at, &format!("rotate {words} --family {family}"))?;
        Ok(Job { from: text(&job["from"])?, to: text(&job["to"])? })
    };
    FAMILIES.iter().enumerate().map(order).collect()
}

/// Kills the server that looks first and the leader, together, until every job is where it is to be.
fn killed_until(plane: &mut Plane, state: &str, done: &str, within: Duration) -> Result<()> {
    let began = Instant::now();
    loop {
        let leader = plane.leader(0)?;
        let dead = if leader == 0 { vec![0] } else { vec![0, leader] };
        plane.kill_and_start_again(dead)?;
        let there = || {
            let mut jobs = FAMILIES.iter().map(|family| plane.rotation_is(1, family, state, done));
            jobs.try_fold(true, |all, there| Ok::<_, anyhow::Error>(all && there?))
        };
        // Long enough for a step to be taken, and short enough to be in the middle of one.
        let rest = Instant::now() + Duration::from_secs(2);
        while Instant::now() < rest {
            if there()? {
                return plane.leader(0).map(drop);
            }
        }
        if began.elapsed() > within {
            bail!(
                "not all are {state} after {done}: {:?}",
                FAMILIES.map(|family| {
                    plane.admin(1, &format!("rotate status --family {family}")).map(|job| job.to_string())
                })
            );
        }
    }
}

fn is_active(plane: &Plane, jobs: &[Job], which: impl Fn(&Job) -> &String) -> Result<()> {
    let keys = plane.keys(2)?;
    ensure!(keys.contains(&(which(&jobs[0]).clone(), "active".to_owned())), "{keys:?}");
    let roots = plane.admin(2, "trust list")?;
    let active = roots["roots"].as_array().into_iter().flatten().find(|root| root["state"] == "active");
    ensure!(active.is_some_and(|root| root["id"] == which(&jobs[1]).as_str()), "{roots}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rotation_ends_as_if_nobody_had_been_killed() -> Result<()> {
    let Some(mut plane) = start()? else { return Ok(()) };
    let jobs = order(&plane, "--until add")?;
    killed_until(&mut plane, "paused", "add", SLACK)?;
    is_active(&plane, &jobs, |job| &job.from)?;
    let old = Belongings::get(&plane, 0, "pier1").await?;
    ensure!(old.token.kid == jobs[0].from && old.node.answer.ca_bundle.len() == 2);
    old.are_good(&plane).await?;

    order(&plane, "resume --until activate")?;
    killed_until(&mut plane, "paused", "activate", SLACK)?;
    let activated = SystemTime::now();
    is_active(&plane, &jobs, |job| &job.to)?;
    let between = Belongings::get(&plane, 1, "pier2").await?;
    ensure!(between.token.kid == jobs[0].to);
    old.are_good(&plane).await?;
    between.are_good(&plane).await?;

    order(&plane, "resume --until retire")?;
    killed_until(&mut plane, "paused", "retire", LIFE + LEEWAY + SLACK)?;
    ensure!(SystemTime::now() >= old.token.expires + LEEWAY, "a token of the old key may still have been good");
    ensure!(activated.elapsed()? >= LEEWAY, "a certificate of the old authority may still have been good");
    old.are_void(&plane).await?;
    let new = Belongings::get(&plane, 2, "pier3").await?;
    new.are_good(&plane).await?;
    for family in FAMILIES {
        let late = plane.refused(1, &format!("rotate abort --family {family}"))?;
        ensure!(late.contains("it can only go on"), "{late}");
    }

    order(&plane, "resume")?;
    killed_until(&mut plane, "done", "purge", SLACK)?;
    plane.settled(&[(&jobs[0].to, "active")])?;
    // The master key before is not needed any more.
    for at in 0..plane.count() {
        master_key::hold_one(&plane, at)?;
    }
    plane.kill_all_and_start_again()?;
    plane.logs_in_everywhere(&old.key)?;
    plane.logs_in_everywhere(&between.key)?;
    Belongings::get(&plane, 0, "pier4").await?.are_good(&plane).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rotation_is_aborted_as_if_nobody_had_been_killed() -> Result<()> {
    let Some(mut plane) = start()? else { return Ok(()) };
    let first = Belongings::get(&plane, 0, "pier1").await?;
    order(&plane, "--until add")?;
    let jobs = order(&plane, "abort")?;
    killed_until(&mut plane, "aborted", "add", SLACK)?;
    is_active(&plane, &jobs, |job| &job.from)?;
    first.are_good(&plane).await?;

    // The servers still hold the same master keys; what the first attempt left goes with the second, in time.
    plane.step_in_time(0, "rotate --family master-key --until activate", SOON)?;
    for family in ["signing-key", "authority"] {
        plane.admin(0, &format!("rotate --family {family} --until activate"))?;
    }
    let old = Belongings::get(&plane, 1, "pier2").await?;
    killed_until(&mut plane, "paused", "activate", SLACK)?;
    let new = Belongings::get(&plane, 2, "pier3").await?;
    old.are_good(&plane).await?;
    new.are_good(&plane).await?;

    order(&plane, "abort")?;
    killed_until(&mut plane, "aborted", "add", LIFE + LEEWAY + SLACK)?;
    ensure!(SystemTime::now() >= new.token.expires + LEEWAY, "a token of the new key may still have been good");
    is_active(&plane, &jobs, |job| &job.from)?;
    new.are_void(&plane).await?;
    // As it was: with the old master key alone.
    for at in 0..plane.count() {
        master_key::hold_one(&plane, at)?;
        plane.configure(at, |text| text.replace("master.key", "master.key.previous"))?;
    }
    plane.kill_all_and_start_again()?;
    for key in [&first.key, &old.key, &new.key] {
        plane.logs_in_everywhere(key)?;
    }
    Belongings::get(&plane, 0, "pier4").await?.are_good(&plane).await
}
