//! The start-up contract of identity: what may be missing or wrong is refused, all of it at once, before any data is
//! touched; what is right starts.

mod table;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use holdfast_testkit::{Process, free_ports, wait_until};
use ring::{rand::SystemRandom, signature::Ed25519KeyPair};
use serde::Serialize;

use self::table::{AGAIN, BAD, GOOD, Given, OTHER_KEY, SIGNING_KEY, SOUND, Start};
use crate::{
    contract::Refusal,
    lane::{Check, Run},
    members::PATIENCE,
};

pub(crate) const CHECK: Check = Check {
    id: "bootstrap-hardening",
    requirement: "Without a sound admin token, signing key and 32-byte master key, or with a laboratory setting, no \
                  server starts: exit 78, with everything that is wrong named at once, no secret shown and no data begun.",
    run: prove,
};

const DOC: &str = "deploy/runbooks/bootstrap.md#2-secrets-the-same-on-every-server";
/// `EX_CONFIG`: no supervisor should try again.
const REFUSED: i32 = 78;
/// A refusal needs nothing but the configuration.
const SOON: Duration = Duration::from_secs(10);
/// What a finding begins with when it is printed.
const BULLET: &str = "  - ";

#[derive(Debug, Serialize)]
struct Evidence {
    refused: Vec<Refused>,
    started: Vec<Started>,
}

#[derive(Debug, Serialize)]
struct Refused {
    with: &'static str,
    exit: i32,
    /// As they were printed.
    findings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Started {
    /// And again on its data without a signing key.
    with: &'static str,
    /// What a later start with another master key says.
    with_another_master_key: Vec<String>,
}

fn prove(run: &Run<'_>) -> Result<()> {
    run.in_folder(|folder| {
        let pem = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).ok().context("no key")?;
        let place = Place {
            binary: run.binaries.path("holdfast"),
            folder,
            pem: pem_text(pem.as_ref()),
            configuration: configuration()?,
        };
        let mut evidence = Evidence { refused: Vec::new(), started: Vec::new() };
        for start in &BAD {
            let refused = place.refused(start, "nothing").with_context(|| start.with)?;
            run.refuses(start, &refused.findings);
            evidence.refused.push(refused);
        }
        for start in &GOOD {
            evidence.started.push(place.started(start).with_context(|| start.with)?);
            run.supports(start);
        }
        run.supports(&AGAIN);
        if let Some(started) = evidence.started.first() {
            run.refuses(&OTHER_KEY, &started.with_another_master_key);
        }
        println!("  {} starts refused, {} accepted", evidence.refused.len(), evidence.started.len());
        run.keep("bootstrap-hardening.json", &evidence)
    })
}

impl Run<'_> {
    fn supports(&self, start: &Start) {
        self.contract.borrow_mut().supports(self.line(&id(start), call(start), DOC));
    }

    fn refuses(&self, start: &Start, findings: &[String]) {
        // The advice follows after a semicolon.
        let said = findings.iter().map(|finding| finding.split("; ").next().unwrap_or_default());
        let refusal = Refusal::exit(REFUSED, said.collect::<Vec<_>>().join("; "));
        self.contract.borrow_mut().refuses(self.line(&id(start), call(start), DOC), refusal);
    }
}

fn id(start: &Start) -> String {
    format!("iam.bootstrap.{}", start.id)
}

fn call(start: &Start) -> String {
    format!("holdfast serve with {}", start.with)
}

/// Where servers are started.
struct Place<'a> {
    binary: PathBuf,
    folder: &'a Path,
    pem: String,
    /// What a start adds to.
    configuration: String,
}

impl Place<'_> {
    /// A start that has to be refused, on the data in `data`.
    fn refused(&self, start: &Start, data: &str) -> Result<Refused> {
        let data = self.folder.join(data);
        let had = entries(&data);
        let environment = self.environment(start)?;
        let mut process = self.start(start, &environment, &data)?;
        let ended = wait_until(SOON, "the refusal", || process.ended())?;
        let exit = ended.code().context("it was ended by a signal")?;
        ensure!(exit == REFUSED, "it ended with {exit}: {}", process.log_tail());
        let said = process.log_tail();
        for secret in environment.values().filter(|value| value.len() > 16 && !Path::new(value).is_absolute()) {
            ensure!(!said.contains(secret.trim()), "it shows a secret: {said}");
        }
        let findings: Vec<_> = said.lines().filter_map(|line| line.strip_prefix(BULLET)).map(str::to_owned).collect();
        let named = findings.iter().zip(start.findings).all(|(found, begin)| found.starts_with(begin));
        ensure!(named && findings.len() == start.findings.len(), "it says {findings:#?}");
        ensure!(entries(&data) == had, "it has begun data: {:?}", entries(&data));
        Ok(Refused { with: start.with, exit, findings })
    }

    /// A start that has to work, and later ones on its data.
    fn started(&self, start: &Start) -> Result<Started> {
        let data = self.folder.join(start.id);
        self.becomes_ready(start, &self.environment(start)?, &data)?;
        let mut without_key = self.environment(start)?;
        without_key.remove(SIGNING_KEY);
        self.becomes_ready(start, &without_key, &data)?;
        let other = self.refused(&OTHER_KEY, start.id)?;
        Ok(Started { with: start.with, with_another_master_key: other.findings })
    }

    fn becomes_ready(&self, start: &Start, environment: &BTreeMap<String, String>, data: &Path) -> Result<()> {
        let mut process = self.start(start, environment, data)?;
        process.wait_for_line(PATIENCE, |line| line.split_whitespace().next() == Some("ready"))?;
        process.terminate(PATIENCE).map(drop)
    }

    /// With nothing in its environment but what the start says.
    fn start(&self, start: &Start, environment: &BTreeMap<String, String>, data: &Path) -> Result<Process> {
        let name = format!("{}-{}", data.file_name().unwrap_or_default().display(), start.id);
        let config = self.folder.join(format!("{name}.yaml"));
        fs::write(&config, format!("{}{}", self.configuration, start.config))?;
        let mut command = Command::new(&self.binary);
        command.env_clear().envs(environment);
        command.arg("serve").arg("--config").arg(config).arg("--data-dir").arg(data);
        Process::start(&name, &mut command, &self.folder.join("logs"))
    }

    fn environment(&self, start: &Start) -> Result<BTreeMap<String, String>> {
        let mut environment = BTreeMap::new();
        for (name, given) in SOUND.iter().chain(start.environment) {
            match self.value(*given)? {
                Some(value) => environment.insert((*name).to_owned(), value),
                None => environment.remove(*name),
            };
        }
        Ok(environment)
    }

    fn value(&self, given: Given) -> Result<Option<String>> {
        Ok(match given {
            Given::Nothing => None,
            Given::Text(text) => Some(text.to_owned()),
            Given::Hex(digits) => Some("5a".chars().cycle().take(digits).collect()),
            Given::Base64(bytes) => Some(STANDARD.encode(vec![0xc3; bytes])),
            Given::Raw(bytes) => {
                let file = self.folder.join(format!("{bytes}.key"));
                fs::write(&file, vec![0xa5; bytes])?;
                Some(file.display().to_string())
            }
            Given::Pem => Some(self.pem.clone()),
        })
    }
}

/// Names of what is in a folder, none where there is no folder.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.path()).collect();
    names.sort();
    names
}

/// A server alone.
fn configuration() -> Result<String> {
    let [api, http, sql, peer] = free_ports()?;
    Ok(format!(
        "name: a\nmembers: [{{name: a, peer: '127.0.0.1:{peer}'}}]\n\
         listen: {{api: '127.0.0.1:{api}', http: '127.0.0.1:{http}', sql: '127.0.0.1:{sql}', peer: '127.0.0.1:{peer}'}}\n\
         fleetlock: {{client_auth: none}}\niam: {{trust_domain: proof.test}}\n"
    ))
}

fn pem_text(der: &[u8]) -> String {
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der))
}
