use crate::{AuthorityError, anchor::authority, certificate_id, chain::end_ms, constraints::permitted_uris};

/// What the certificate of an authority below a root says of itself, if it may certify clients and no further authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intermediate {
    /// See [`certificate_id`].
    pub id: String,
    pub subject: String,
    /// Hex.
    pub serial: String,
    /// The hosts of URIs that it may vouch for; without any, it is not constrained to some.
    pub hosts: Vec<String>,
    pub expires_ms: u64,
}

impl Intermediate {
    pub fn parse(der: &[u8]) -> Result<Self, AuthorityError> {
        let no = |why: &str| AuthorityError::Unusable(why.to_owned());
        let certificate = authority(der)?;
        let below = certificate.basic_constraints().map_err(AuthorityError::unusable)?;
        if below.and_then(|constraints| constraints.value.path_len_constraint) != Some(0) {
            return Err(no("it may have authorities below itself: its path length has to be 0"));
        }
        let usage = certificate.extended_key_usage().map_err(AuthorityError::unusable)?;
        if usage.is_some_and(|usage| !usage.value.client_auth) {
            return Err(no("it may not certify clients"));
        }
        Ok(Self {
            id: certificate_id(certificate.public_key().raw),
            subject: certificate.subject().to_string(),
            serial: hex::encode(certificate.raw_serial()),
            hosts: permitted_uris(&certificate).map_err(AuthorityError::unusable)?,
            expires_ms: end_ms(&certificate),
        })
    }
}
