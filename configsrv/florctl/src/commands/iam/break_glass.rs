use std::{fs, path::Path};

use iam_ca::{Grant, KeyAlgorithm, MAX_GRANT_MS, PrivateKey, SignedGrant};
use serde_json::json;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::{
    cli::BreakGlass,
    failure::Failure,
    output::{Format, moment},
    workspace::write_private,
};

pub(super) fn run(command: BreakGlass, output: Format) -> Result<(), Failure> {
    match command {
        BreakGlass::Key { out } => key(&out, output),
        BreakGlass::Request { out, trust_domain, server, roles, ttl, reason } => {
            let now_ms = u64::try_from(OffsetDateTime::now_utc().unix_timestamp()).unwrap_or(0) * 1000;
            let life_ms = ttl.as_secs() * 1000;
            if life_ms == 0 || life_ms > MAX_GRANT_MS {
                return Err(Failure::usage("--ttl is at most 4h"));
            }
            let (not_before_ms, not_after_ms) = (now_ms, now_ms + life_ms);
            let id = Grant::new_id().map_err(Failure::unexpected)?;
            let grant = Grant { id, trust_domain, server, roles, reason, not_before_ms, not_after_ms };
            let unsigned = SignedGrant::new(&grant).map_err(|fault| Failure::usage(fault.to_string()))?;
            write_private(&out, &format!("{}\n", unsigned.text()))?;
            show(&unsigned, output)
        }
        BreakGlass::Sign { grant, key } => {
            let mut signed = read(&grant)?;
            let pem = Zeroizing::new(text(&key)?);
            let key = PrivateKey::from_pem(&pem).map_err(|error| Failure::usage(error.to_string()))?;
            signed.sign(&key).map_err(|error| Failure::usage(error.to_string()))?;
            let written = fs::write(&grant, format!("{}\n", signed.text()));
            written.map_err(|error| Failure::file(&grant, &error))?;
            show(&signed, output)
        }
        BreakGlass::Show { grant } => show(&read(&grant)?, output),
    }
}

fn key(out: &Path, output: Format) -> Result<(), Failure> {
    let key = PrivateKey::generate(KeyAlgorithm::Ed25519).map_err(Failure::unexpected)?;
    let mut public = out.as_os_str().to_owned();
    public.push(".pub");
    let public = Path::new(&public);
    write_private(out, &key.pem())?;
    write_private(public, &key.public_pem())?;
    let value = json!({ "key": out, "public": public });
    output.print(&value, || {
        format!("key in {}, to be kept offline; its public half in {}", out.display(), public.display())
    })
}

fn show(signed: &SignedGrant, output: Format) -> Result<(), Failure> {
    let grant = signed.unverified().map_err(|fault| Failure::usage(fault.to_string()))?;
    let signers: Vec<_> = signed.signers().collect();
    let value = json!({ "grant": grant, "signers": signers });
    output.print(&value, || {
        format!(
            "grant {} of {} at {} of {}\nfrom {} until {}\nbecause: {}\nsigned by {} keys{}",
            grant.id,
            grant.roles.join(" "),
            grant.server.as_deref().unwrap_or("every server"),
            grant.trust_domain,
            moment(Some(grant.not_before_ms)),
            moment(Some(grant.not_after_ms)),
            grant.reason,
            signers.len(),
            signers.iter().map(|signer| format!("\n  {signer}")).collect::<String>(),
        )
    })
}

fn read(path: &Path) -> Result<SignedGrant, Failure> {
    SignedGrant::parse(&text(path)?).map_err(|fault| Failure::usage(format!("{}: {fault}", path.display())))
}

fn text(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| Failure::file(path, &error))
}
