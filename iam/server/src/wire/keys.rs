//! The signing-key half of the Admin service.

use holdfast_proto::iam::{AddSigningKeyRequest, SigningKeysResponse, StepSigningKeyRequest};
use iam_core::{
    rotation::{Step, Waive},
    signing::{Algorithm, KeyRing},
};
use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

use super::convert;
use crate::{
    Error, Iam,
    records::Versioned,
    signing::{NewKey, StepOptions},
};

pub(super) async fn add(
    iam: &Iam,
    request: Request<AddSigningKeyRequest>,
) -> Result<Response<SigningKeysResponse>, Status> {
    let by = convert::caller(&request)?;
    let AddSigningKeyRequest { algorithm, pkcs8_pem, dry_run } = request.into_inner();
    let pem = Zeroizing::new(pkcs8_pem);
    let new = match (algorithm.as_str(), pem.is_empty()) {
        ("", true) => NewKey::Generate(Algorithm::EdDsa),
        ("", false) => NewKey::Pem(pem),
        (_, false) => return Err(Error::Invalid("give an algorithm or a key, not both".to_owned()).into()),
        (text, true) => {
            let unknown = || Error::Invalid(format!("{text:?} is neither EdDSA nor ES256"));
            NewKey::Generate(Algorithm::parse(text).ok_or_else(unknown)?)
        }
    };
    let (kid, ring) = iam.add_signing_key(&by, new, dry_run).await?;
    answer(iam, kid, &ring, String::new())
}

pub(super) async fn step(
    iam: &Iam,
    request: Request<StepSigningKeyRequest>,
    step: Step,
) -> Result<Response<SigningKeysResponse>, Status> {
    let by = convert::caller(&request)?;
    let StepSigningKeyRequest { kid, now, dry_run, expected_revision, force, revoke_population } = request.into_inner();
    if revoke_population && step != Step::Retire {
        return Err(Error::Invalid("what a key signed is revoked when it is retired".to_owned()).into());
    }
    let options = convert::step_options(now, force, expected_revision);
    let options = StepOptions { dry_run, revoke_population, ..options };
    let stepped = iam.step_signing_key(&by, &kid, step, options).await?;
    answer(iam, kid, &stepped.ring, stepped.breaks)
}

pub(super) fn list(iam: &Iam) -> Result<Response<SigningKeysResponse>, Status> {
    let ring = iam.key_ring()?;
    answer(iam, String::new(), &ring, String::new())
}

fn answer(
    iam: &Iam,
    kid: String,
    ring: &Versioned<KeyRing>,
    breaks: String,
) -> Result<Response<SigningKeysResponse>, Status> {
    let judge = iam.0.judge_keys(ring.revision)?;
    let terms = judge.terms(Waive::Nothing);
    let keys = ring.value.keys.items.iter().map(|key| convert::signing_key(key, &terms)).collect();
    Ok(Response::new(SigningKeysResponse { keys, revision: ring.revision, kid, breaks }))
}
