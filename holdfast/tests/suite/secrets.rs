//! Nothing secret is left behind: after a run in which everything secret is made, shown, mistyped, rotated and revoked,
//! everything that the servers wrote or said is searched for it, in every spelling.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use aho_corasick::AhoCorasick;
use anyhow::{Context as _, Result, bail, ensure};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use holdfast_testkit::{Binaries, wait_until};
use serde_json::Value;

use crate::{
    lab::SOON,
    plane::Plane,
    programs::{Etcdctl, run_with},
};

/// Far more than an operator would ask for.
const LOG: &str = "log: {filter: \"debug,iam_server=trace,iam_client=trace,iam_core=trace,holdfast=trace,holdfast_rpc=trace,\
                   chainfire_server=trace,configsrv_server=trace,flaredb_server=trace\"}\n";
const LIFETIMES: [&str; 5] =
    ["token_ttl_s: 20", "max_token_ttl_s: 20", "jwks_cache_s: 1", "stale_limit_s: 5", "key_retirement_s: 1"];
/// Shorter than that, something else could look like it.
const SHORTEST: usize = 16;

/// What must not be found, and what was said by those who must not say it.
#[derive(Default)]
struct Run {
    secrets: Vec<(String, Vec<u8>)>,
    said: Vec<(String, String)>,
}

impl Run {
    fn secret(&mut self, name: &str, secret: impl Into<Vec<u8>>) {
        self.secrets.push((name.to_owned(), secret.into()));
    }

    /// A token's claims are no secret; its signature is what makes it one.
    fn token(&mut self, name: &str, token: &str) -> Result<()> {
        let signature = token.rsplit('.').next().context("a signature")?;
        self.secret(name, signature);
        self.secret(&format!("{name}, raw"), URL_SAFE_NO_PAD.decode(signature)?);
        Ok(())
    }

    fn says(&mut self, who: &str, text: impl Into<String>) {
        self.said.push((who.to_owned(), text.into()));
    }
}

/// Everything by which a secret could be recognised.
struct Needles {
    search: AhoCorasick,
    names: Vec<String>,
}

impl Needles {
    fn new(secrets: &[(String, Vec<u8>)]) -> Result<Self> {
        let (mut names, mut patterns) = (Vec::new(), Vec::new());
        for (name, secret) in secrets {
            ensure!(secret.len() >= SHORTEST, "{name} is too short to be told from chance");
            for (spelling, text) in spellings(secret) {
                names.push(format!("{name}, {spelling}"));
                patterns.push(text);
            }
        }
        Ok(Self { search: AhoCorasick::new(patterns)?, names })
    }

    /// The name of what is in `bytes` first.
    fn first(&self, bytes: &[u8]) -> Option<&str> {
        let found = self.search.find(bytes)?;
        self.names.get(found.pattern().as_usize()).map(String::as_str)
    }
}

/// As it is, in hex, as a list of numbers, and in base64 wherever it begins in what is encoded.
fn spellings(secret: &[u8]) -> Vec<(String, Vec<u8>)> {
    let numbers: Vec<String> = secret.iter().map(u8::to_string).collect();
    let mut spellings = vec![
        ("as it is".to_owned(), secret.to_vec()),
        ("hex".to_owned(), hex(secret).into_bytes()),
        ("HEX".to_owned(), hex(secret).to_uppercase().into_bytes()),
        ("numbers".to_owned(), numbers.join(", ").into_bytes()),
    ];
    for before in 0..3usize {
        let shifted = [&vec![0; before], secret].concat();
        for (alphabet, text) in
            [("base64", STANDARD_NO_PAD.encode(&shifted)), ("base64url", URL_SAFE_NO_PAD.encode(&shifted))]
        {
            // The first characters hold bits of what comes before, the last one of what comes after.
            let begin = (before * 8).div_ceil(6);
            let middle = text.get(begin..text.len() - 1).unwrap_or_default();
            spellings.push((format!("{alphabet} after {before} bytes"), middle.as_bytes().to_vec()));
        }
    }
    spellings
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every file below `folder` but operators' own secrets: those that the servers were given.
fn files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        if name == "secrets" || name == "peer-ca" || name == "peer" {
            continue;
        }
        if path.is_dir() {
            files(&path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

/// The bytes of a private key in PKCS#8 (RFC 8410), which end with it.
fn seed(pem: &str) -> Result<Vec<u8>> {
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = STANDARD.decode(body)?;
    Ok(der.get(der.len() - 32..).context("a key")?.to_vec())
}

fn text(value: &Value, name: &str) -> Result<String> {
    value[name].as_str().map(str::to_owned).with_context(|| format!("no {name} in {value}"))
}

#[test]
fn nothing_secret_is_left_behind() -> Result<()> {
    let Some(mut plane) = Plane::start(3, &LIFETIMES)? else { return Ok(()) };
    let folder = plane.folder()?;
    for server in plane.cluster.servers() {
        let config = server.launch().config.as_ref().context("a configuration")?;
        OpenOptions::new().append(true).open(config)?.write_all(LOG.as_bytes())?;
    }
    plane.kill_all_and_start_again()?;

    let mut run = Run::default();
    let given = |name: &str| fs::read_to_string(folder.join("secrets").join(name));
    run.secret("the bootstrap token", given("admin.token")?.trim());
    run.secret("the master key", STANDARD.decode(given("master.key")?.trim())?);
    run.secret("the first signing key", seed(&given("signing-key.pem")?)?);
    everything(&mut plane, &mut run)?;

    let needles = Needles::new(&run.secrets)?;
    for (name, secret) in &run.secrets {
        let within = STANDARD.encode([b"HFAK:".as_slice(), secret, b"\n"].concat());
        ensure!(needles.first(within.as_bytes()).is_some(), "{name} would not be found");
    }
    for (who, words) in &run.said {
        ensure!(needles.first(words.as_bytes()).is_none(), "{who} says {:?}", needles.first(words.as_bytes()));
    }
    let mut all = Vec::new();
    files(&folder, &mut all)?;
    let known = Needles::new(&[("a name".to_owned(), NAMED.as_bytes().to_vec())])?;
    let mut names_found = 0;
    for path in &all {
        let bytes = match fs::read(path) {
            // The servers run: it has become another file since it was listed.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            read => read.with_context(|| path.display().to_string())?,
        };
        if let Some(found) = needles.first(&bytes) {
            bail!("{} has {found}", path.display());
        }
        names_found += usize::from(known.first(&bytes).is_some());
    }
    ensure!(names_found >= 3, "the files that were searched are those that the servers write: {names_found}");
    Ok(())
}

/// A principal whose name is easy to find again.
const NAMED: &str = "service/nightingale-of-the-harbour";

/// What a plane sees of secrets in its life.
fn everything(plane: &mut Plane, run: &mut Run) -> Result<()> {
    plane.admin(0, &format!("principal create {NAMED}"))?;
    plane.admin(0, &format!("grant {NAMED} operator"))?;

    credentials(plane, run)?;
    nodes(plane, run)?;
    signing_keys(plane, run)?;

    // What nobody has a right to is asked for with what nobody was given.
    let wrong = "hfak-mistyped-but-nearly-right-0123456789";
    run.secret("a wrong token", wrong);
    let refused = plane.iam(0, wrong, "whoami")?;
    ensure!(refused.code != Some(0));
    run.says("florctl, of a wrong token", format!("{}{}", refused.out, refused.err));

    for (at, server) in plane.cluster.servers_mut().iter_mut().enumerate() {
        let id = server.id().context("a process")?;
        for file in ["cmdline", "environ", "limits"] {
            let text = String::from_utf8_lossy(&fs::read(format!("/proc/{id}/{file}"))?).into_owned();
            let no_core = text.lines().any(|line| {
                line.strip_prefix("Max core file size")
                    .is_some_and(|limits| limits.split_whitespace().take(2).eq(["0", "0"]))
            });
            ensure!(file != "limits" || no_core, "s{} would leave an image of its memory: {text}", at + 1);
            run.says(file, text);
        }
    }
    for at in 0..3 {
        for words in ["status", "verifiers", "grants", "key list", "trust list"] {
            run.says(&format!("florctl iam {words}"), plane.admin(at, words)?.to_string());
        }
        if let Some(metrics) = plane.page(at, "/metrics")? {
            ensure!(metrics.contains("iam_"), "metrics: {metrics}");
            run.says("/metrics", metrics);
        }
        wait_until(SOON, "the last change in the history", || {
            let rows = plane.history(at, "SELECT * FROM audit.events")?;
            let complete = rows.contains("iam.SigningKeyPurge") && rows.contains(NAMED);
            Ok(complete.then(|| run.says("audit.events", rows)))
        })?;
    }
    plane.kill_all_and_start_again()
}

/// A second access key is minted, used at every door, read back; the first one is revoked.
fn credentials(plane: &Plane, run: &mut Run) -> Result<()> {
    let mut keys = Vec::new();
    for number in ["first", "second"] {
        let made = plane.admin(0, &format!("credential create {NAMED}"))?;
        let (id, secret) = (text(&made, "access_key_id")?, text(&made, "secret")?);
        run.secret(&format!("the secret of the {number} access key"), secret.as_str());
        keys.push((id, secret));
    }
    let [(first, _), (second, secret)] = keys.as_slice() else { bail!("two keys") };
    let read = plane.admin(1, &format!("credential secret {second}"))?;
    ensure!(read["secret"] == secret.as_str(), "read back");
    if let Some(answer) = plane.client_credentials(2, second, secret)? {
        run.token("a token of an access key", &text(&serde_json::from_str(&answer)?, "access_token")?)?;
    }
    let endpoint = format!("https://{}", plane.endpoints(1)?.api);
    for (password, right) in [(secret.as_str(), true), ("mistyped-secret-of-nobody", false)] {
        if let Some(etcdctl) = Etcdctl::find(&endpoint, Some(format!("{second}:{password}")))? {
            let mut get = etcdctl.command(&["get", "nothing"]);
            get.arg("--cacert").arg(&plane.ca);
            let said = run_with(get, "")?;
            run.says("etcdctl", format!("{}{}", said.out, said.err));
            ensure!(right || said.code != Some(0), "{said:?}");
        }
    }
    run.secret("a wrong secret", "mistyped-secret-of-nobody");
    if let Some(answer) = plane.client_credentials(2, second, "mistyped-secret-of-nobody")? {
        run.says("/oauth2/token, of a wrong secret", answer);
    }
    plane.admin(0, &format!("credential revoke {first}"))?;
    Ok(())
}

/// A node joins with a token, by the agent that is made for it; the token is tried again.
fn nodes(plane: &Plane, run: &mut Run) -> Result<()> {
    let token = text(&plane.admin(1, "join-token create pier2")?, "join_token")?;
    run.secret("a join token", token.rsplit(['.', ':']).next().context("its secret")?);
    let flor = Binaries::find()?.path("flor");
    if !flor.is_file() {
        eprintln!("SKIPPED: flor is not built (cargo build -p flor)");
        return Ok(());
    }
    let home = tempfile::tempdir()?;
    let endpoints = plane.endpoints(0)?;
    for home_name in ["home", "again"] {
        let mut enroll = Command::new(&flor);
        enroll.arg("enroll").arg("--home").arg(home.path().join(home_name)).env("FLOR_JOIN_TOKEN", &token);
        enroll.args([
            "--api",
            &format!("https://{}", endpoints.api),
            "--server",
            &format!("https://{}", endpoints.http),
        ]);
        enroll.arg("--ca-file").arg(&plane.ca);
        let said = run_with(enroll, "")?;
        ensure!((said.code == Some(0)) == (home_name == "home"), "{said:?}");
        run.says("flor enroll", format!("{}{}", said.out, said.err));
    }
    let mut own = Vec::new();
    files(&home.path().join("home"), &mut own)?;
    let key = own.iter().find(|path| path.extension().is_some_and(|end| end == "key"));
    let pem = fs::read_to_string(key.context("the node's key")?)?;
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    run.secret("a node's key", STANDARD.decode(body)?.get(16..48).context("a key")?.to_vec());
    Ok(())
}

/// A new key takes over, and the old one goes with what it signed.
fn signing_keys(plane: &Plane, run: &mut Run) -> Result<()> {
    let old = plane.token(0, NAMED)?;
    let key = plane.admin(1, "key add")?;
    let new = text(&key, "kid")?;
    plane.admin(2, &format!("key activate {new} --now"))?;
    let token = plane.token(1, NAMED)?;
    ensure!(token.kid == new && plane.accepts(2, &token)?);
    for (name, token) in [("an old token", &old), ("a new token", &token)] {
        run.token(name, &token.token)?;
    }
    plane.admin(0, &format!("key retire {} --revoke-population", old.kid))?;
    ensure!(!plane.accepts(1, &old)?);
    plane.admin(0, &format!("token revoke --principal {NAMED}"))?;
    plane.step_in_time(0, &format!("key purge {}", old.kid), SOON)
}
