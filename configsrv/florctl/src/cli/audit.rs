use clap::Args;
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

/// `florctl audit`.
#[derive(Args, Debug)]
pub(crate) struct Audit {
    /// Only this action; `config.*` is everything that begins so, `*` everything.
    #[arg(long, default_value = "config.*", value_parser = action)]
    pub(crate) action: String,
    /// Only what happened from this moment on, RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) since: Option<String>,
    /// At most so many, the oldest first.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    /// Answer from one server, without a quorum.
    #[arg(long)]
    pub(crate) local: bool,
}

/// What can stand in a URL as it is.
fn action(text: &str) -> Result<String, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'*')) {
        Ok(text.to_owned())
    } else {
        Err("write config.Publish, or config.* for everything that begins so".to_owned())
    }
}

/// The same moment in UTC, which needs no escapes in a URL.
fn moment(text: &str) -> Result<String, String> {
    let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|error| format!("{error}; write 2026-01-05T08:00:00Z"))?;
    at.to_offset(UtcOffset::UTC).format(&Rfc3339).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_into_a_url_needs_no_escapes() {
        assert_eq!(action("config.*").unwrap(), "config.*");
        assert!(["", "a b", "a&b", "%"].into_iter().all(|text| action(text).is_err()));
        assert_eq!(moment("2026-01-05T08:00:00+02:00").unwrap(), "2026-01-05T06:00:00Z");
        assert!(moment("yesterday").is_err());
    }
}
