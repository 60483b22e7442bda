/// Why a call does not go on. Callers see one text for every cause of `Unauthenticated`; the precise cause is in the
/// audit log only.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing was presented.
    #[error("authentication is required")]
    Anonymous,
    #[error("authentication failed")]
    Unauthenticated,
    #[error("not permitted: {action} on {resource}")]
    Denied { action: String, resource: String },
    #[error("too many failed attempts; try again in {retry_after_s} s")]
    SlowDown { retry_after_s: u32 },
    #[error("identity is not available: {0}")]
    Unavailable(String),
}

impl Refusal {
    /// The machine-readable word, with few values: it becomes a metric label.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Anonymous => "authentication_required",
            Self::Unauthenticated => "authentication_failed",
            Self::Denied { .. } => "permission_denied",
            Self::SlowDown { .. } => "slow_down",
            Self::Unavailable(_) => "identity_unavailable",
        }
    }
}
