use tonic::Status;

use crate::Profile;

/// Refuses methods that the emulated release does not have, as a server without them does.
pub(super) fn offers(profile: Profile, path: &str) -> Result<(), Status> {
    if profile.has(path) {
        return Ok(());
    }
    let (service, method) = path.trim_start_matches('/').split_once('/').unwrap_or_default();
    Err(Status::unimplemented(format!("unknown method {method} for service {service}")))
}
