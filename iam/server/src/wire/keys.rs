//! The signing-key half of the Admin service.

use holdfast_proto::iam::{AddSigningKeyRequest, SigningKeysResponse, StepSigningKeyRequest};
use iam_core::signing::{Algorithm, Step};
use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

use super::convert;
use crate::{
    Error, Iam,
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
    Ok(Response::new(convert::key_ring(kid, &ring, &iam.0.settings.timing())))
}

pub(super) async fn step(
    iam: &Iam,
    request: Request<StepSigningKeyRequest>,
    step: Step,
) -> Result<Response<SigningKeysResponse>, Status> {
    let by = convert::caller(&request)?;
    let StepSigningKeyRequest { kid, now, dry_run, expected_revision } = request.into_inner();
    let expected_revision = Some(expected_revision).filter(|revision| *revision != 0);
    let ring = iam.step_signing_key(&by, &kid, step, StepOptions { now, dry_run, expected_revision }).await?;
    Ok(Response::new(convert::key_ring(kid, &ring, &iam.0.settings.timing())))
}

pub(super) fn list(iam: &Iam) -> Result<Response<SigningKeysResponse>, Status> {
    let ring = iam.key_ring()?;
    Ok(Response::new(convert::key_ring(String::new(), &ring, &iam.0.settings.timing())))
}
