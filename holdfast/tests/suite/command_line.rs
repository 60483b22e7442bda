//! `holdfast` as it is called: what cannot work ends at once, with exit code 2 for a wrong call, 78 for a
//! configuration that a supervisor must not restart into, 1 for what may pass; everything that is wrong is listed; no
//! secret is ever printed.

use std::{fs, net::TcpListener, path::Path, process::Command};

use anyhow::{Result, ensure};
use holdfast_proto::iam::{StatusRequest, admin_client::AdminClient};
use holdfast_testkit::{Binaries, Launch, Server};

use crate::{
    http::Request,
    lab::Lab,
    programs::{HOLDFAST, Said, run},
};

/// A file with which only the secrets are missing.
const SOUND: &str = "name: a
members: [{name: a, peer: '127.0.0.1:2380'}]
fleetlock: {client_auth: none}
iam: {trust_domain: quay.test}
";
const TOKEN: &str = "f00dfeed-0123456789-abcdefghijklmnop";
const OTHER_TOKEN: &str = "0th3r-t0ken-0123456789-abcdefghijkl";
/// RFC 8032's first test vector.
const SIGNING_KEY: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----
";

fn holdfast(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Said> {
    let mut command = Command::new(HOLDFAST);
    // What the environment of the test run holds must not decide.
    command.env_clear().args(arguments).envs(variables.iter().copied());
    run(command)
}

/// A production start with this configuration file, in a folder of its own.
fn production(config: &str, variables: &[(&str, &str)]) -> Result<Said> {
    let folder = tempfile::tempdir()?;
    let (file, data) = (folder.path().join("holdfast.yaml"), folder.path().join("data"));
    fs::write(&file, config)?;
    holdfast(&["serve", "--config", text(&file), "--data-dir", text(&data)], variables)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap_or_default()
}

#[track_caller]
fn refused(said: &Said, code: i32, words: &[&str]) {
    assert_eq!(said.code, Some(code), "{said:?}");
    assert_eq!(said.out, "", "a refusal is no output");
    for word in words {
        assert!(said.err.contains(word), "{word:?} is missing in {said:?}");
    }
}

#[test]
fn a_wrong_call_shows_how_it_is_done() -> Result<()> {
    refused(&holdfast(&[], &[])?, 2, &["Usage: holdfast <COMMAND>", "serve", "chainfire", "peer-ca"]);
    refused(&holdfast(&["serve", "--dvv"], &[])?, 2, &["'--dvv'", "Usage"]);
    refused(&holdfast(&["server"], &[])?, 2, &["'server'", "Usage"]);
    refused(&holdfast(&["serve"], &[])?, 2, &["--config <FILE>"]);
    refused(&holdfast(&["serve", "--dev"], &[])?, 2, &["--data-dir <DIR>"]);
    let version = holdfast(&["--version"], &[])?.good()?;
    assert_eq!(version.trim(), format!("holdfast {}", env!("CARGO_PKG_VERSION")));
    assert!(holdfast(&["serve", "--help"], &[])?.good()?.contains("--data-dir"));
    Ok(())
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_its_place() -> Result<()> {
    refused(
        &holdfast(&["serve", "--config", "/nowhere/holdfast.yaml"], &[])?,
        78,
        &["/nowhere/holdfast.yaml", "cannot be read"],
    );
    refused(
        &production("name: a\nmembers: [\n  {name: a\nlisten: }}\n", &[])?,
        78,
        &["holdfast.yaml", "line 2 column 10"],
    );
    let unknown = production("name: a\nmembrs: []\n", &[])?;
    refused(&unknown, 78, &["line 2 column 1", "unknown field `membrs`", "members"]);
    refused(&production("name: [a]\n", &[])?, 78, &["line 1"]);
    refused(&production("\u{0}\u{1}\u{2}", &[])?, 78, &["holdfast.yaml"]);
    Ok(())
}

/// One start, one list: nobody repairs a configuration by starting it eight times.
#[test]
fn everything_that_is_wrong_is_listed_at_once() -> Result<()> {
    let secrets = [
        "IAM_ADMIN_TOKEN: it is missing",
        "authn.internal_token.signing_key: it is missing",
        "IAM_CRED_MASTER_KEY: it is missing",
    ];
    let missing = production(SOUND, &[])?;
    refused(&missing, 78, &secrets);
    refused(&missing, 78, &["openssl rand -hex 32", "openssl genpkey -algorithm ed25519"]);

    let config = "name: d
members: [{name: a, peer: 'a:1'}, {name: b, peer: 'b:1'}, {name: b, peer: 'c:1'}]
listen: {api: '0.0.0.0:2379', http: 'everywhere'}
fleetlock: {client_auth: maybe}
raft: {heartbeat_ms: 100, election_ms: 200}
";
    let all = production(config, &[])?;
    let settings = [
        "listen.http: \"everywhere\"",
        "listen.api: 0.0.0.0:2379 is not loopback",
        "names must differ",
        "peer_tls:",
        "name: \"d\" is not one of",
        "fleetlock.client_auth: \"maybe\"",
        "iam.trust_domain:",
        "iam.issuer:",
        "raft:",
    ];
    refused(&all, 78, &settings);
    refused(&all, 78, &secrets);
    Ok(())
}

#[test]
fn what_is_for_the_laboratory_stays_there() -> Result<()> {
    let lax = format!("{SOUND}admin: {{allow_unauthenticated: true}}\n");
    refused(&production(&lax, &[])?, 78, &["admin.allow_unauthenticated", "--dev"]);
    let random = format!("{SOUND}authn: {{internal_token: {{random_signing_key: true}}}}\n");
    refused(&production(&random, &[])?, 78, &["authn.internal_token.random_signing_key", "--dev"]);
    let variable = production(SOUND, &[("IAM_ALLOW_UNAUTHENTICATED_ADMIN", "true")])?;
    refused(&variable, 78, &["IAM_ALLOW_UNAUTHENTICATED_ADMIN", "--dev"]);
    Ok(())
}

/// Whoever lets anybody in, in the laboratory, reads so wherever he looks.
#[tokio::test]
async fn callers_without_identity_are_administrators_where_that_is_said_aloud() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut launch = Launch::dev(&Binaries::find()?, folder.path());
    launch.environment = vec![("IAM_ALLOW_UNAUTHENTICATED_ADMIN".to_owned(), "true".to_owned())];
    let mut server = Server::start(launch)?;
    server.wait_ready()?;
    let log = server.log_tail();
    let lab = Lab::of(server)?;
    let status = AdminClient::new(lab.api()?.channel()).status(StatusRequest {}).await?.into_inner();
    let told = status.warnings.join("; ");
    ensure!(told.contains("callers without identity are administrators"), "{told}");
    ensure!(log.contains("anonymous callers are admins"), "{log}");
    let metrics = Request::get("/metrics").send(&lab.at.http)?;
    ensure!(metrics.status == 200 && metrics.body.contains("holdfast_iam_unauthenticated_admin 1"), "{metrics:?}");
    Ok(())
}

#[test]
fn bad_secrets_are_refused_and_never_shown() -> Result<()> {
    let master = "5a".repeat(32);
    let good = [("IAM_ADMIN_TOKEN", TOKEN), ("IAM_SIGNING_KEY", SIGNING_KEY), ("IAM_CRED_MASTER_KEY", master.as_str())];
    let with = |changed: (&'static str, &str), word: &str| -> Result<()> {
        let mut variables: Vec<_> = good.iter().copied().filter(|(name, _)| *name != changed.0).collect();
        variables.push(changed);
        let said = production(SOUND, &variables)?;
        refused(&said, 78, &[word]);
        for (_, secret) in variables.iter().filter(|(name, _)| !name.ends_with("_FILE")) {
            assert!(!said.err.contains(secret.trim()), "a secret was printed");
        }
        assert_eq!(said.err.lines().filter(|line| line.starts_with("  - ")).count(), 1, "{said:?}");
        Ok(())
    };
    with(("IAM_CRED_MASTER_KEY", &"5a".repeat(31)), "it is not exactly 32 bytes: 62 characters")?;
    with(("IAM_CRED_MASTER_KEY", &"5a".repeat(33)), "it is not exactly 32 bytes: 66 characters")?;
    with(
        ("PHOTON_IAM_ADMIN_TOKEN", OTHER_TOKEN),
        "IAM_ADMIN_TOKEN: it is given more than once, with different values",
    )?;
    with(("IAM_ADMIN_TOKEN", "f00dfeed-0123456789-abcdefghijk"), "it has 31 characters, fewer than 32")?;
    with(("IAM_ADMIN_TOKEN", &"abc".repeat(11)), "3 distinct characters")?;
    with(("IAM_SIGNING_KEY", "c29tZXRoaW5nIGVsc2U="), "it is not a PEM")?;
    with(("IAM_SIGNING_KEY_FILE", "/nowhere/key.pem"), "/nowhere/key.pem cannot be read")?;
    Ok(())
}

#[test]
fn a_raw_master_key_in_a_file_has_32_bytes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for length in [31_usize, 33] {
        let file = folder.path().join(length.to_string());
        fs::write(&file, vec![0xa5; length])?;
        let variables =
            [("IAM_ADMIN_TOKEN", TOKEN), ("IAM_SIGNING_KEY", SIGNING_KEY), ("IAM_CRED_MASTER_KEY_FILE", text(&file))];
        refused(&production(SOUND, &variables)?, 78, &["IAM_CRED_MASTER_KEY: it is not exactly 32 bytes"]);
    }
    Ok(())
}

/// It may pass, so that a supervisor may try again; and no data is touched before the ports are there.
#[test]
fn a_port_in_use_is_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    for door in ["api", "http", "sql", "peer"] {
        let flag = format!("--{door}");
        let said = holdfast(&["serve", "--dev", "--data-dir", text(folder.path()), &flag, &address], &[])?;
        refused(&said, 1, &[&format!("the {door} door cannot listen on {address}")]);
    }
    assert!(!folder.path().join("log").exists());
    Ok(())
}

#[test]
fn the_effective_configuration_is_printed() -> Result<()> {
    let said = holdfast(&["serve", "--dev", "--data-dir", "lab", "--api", "127.0.0.1:4321", "--print-config"], &[])?;
    ensure!(said.code == Some(0) && said.out.contains("127.0.0.1:4321"), "{said:?}");
    ensure!(!Path::new("lab").exists(), "nothing is begun");
    Ok(())
}

/// Whoever runs a lax server reads so in its status, not in a file that somebody wrote long ago.
#[tokio::test]
async fn laxness_is_in_the_status() -> Result<()> {
    let lab = Lab::start()?;
    let api = lab.api()?;
    let status = AdminClient::new(api.channel()).status(api.with(StatusRequest {})?).await?.into_inner();
    let told = status.warnings.join("; ");
    ensure!(told.contains("made up") && told.contains("fleetlock.client_auth"), "{told}");
    ensure!(!told.contains("without identity are administrators"), "{told}");
    Ok(())
}
