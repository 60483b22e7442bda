use std::time::Duration;

use iam_server::Lifetimes;

use super::{Finding, fragment::IamFragment};

/// No token and no certificate lives longer, so that what nobody revokes ends by itself.
const DAY: u64 = 24 * 3_600;
/// Longer, a server that was cut off would show a world that is long gone.
const LONGEST_STALE: u64 = 3_600;
const YEAR: u64 = 366 * DAY;

pub(super) fn validate(file: &IamFragment, findings: &mut Vec<Finding>) -> Lifetimes {
    let defaults = Lifetimes::default();
    let mut within = |setting: &str, given: Option<u64>, default: Duration, most: u64| {
        let seconds = given.unwrap_or(default.as_secs());
        if seconds == 0 || seconds > most {
            let problem = format!("{seconds} is not between 1 and {most}");
            findings.push(Finding::new(format!("iam.{setting}"), problem));
        }
        Duration::from_secs(seconds)
    };
    let longest_token = within("max_token_ttl_s", file.max_token_ttl_s, defaults.longest_token, DAY);
    let usual = defaults.token.min(longest_token);
    Lifetimes {
        token: within("token_ttl_s", file.token_ttl_s, usual, longest_token.as_secs().min(DAY)),
        longest_token,
        certificate: within("certificate_ttl_s", file.certificate_ttl_s, defaults.certificate, DAY),
        jwks_cache: within("jwks_cache_s", file.jwks_cache_s, defaults.jwks_cache, DAY),
        stale_limit: within("stale_limit_s", file.stale_limit_s, defaults.stale_limit, LONGEST_STALE),
        retirement: within("key_retirement_s", file.key_retirement_s, defaults.retirement, YEAR),
    }
}

impl From<&Lifetimes> for IamFragment {
    fn from(lifetimes: &Lifetimes) -> Self {
        Self {
            token_ttl_s: Some(lifetimes.token.as_secs()),
            max_token_ttl_s: Some(lifetimes.longest_token.as_secs()),
            certificate_ttl_s: Some(lifetimes.certificate.as_secs()),
            jwks_cache_s: Some(lifetimes.jwks_cache.as_secs()),
            stale_limit_s: Some(lifetimes.stale_limit.as_secs()),
            key_retirement_s: Some(lifetimes.retirement.as_secs()),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Lifetimes, Vec<String>) {
        let mut findings = Vec::new();
        let lifetimes = validate(&serde_saphyr::from_str(text).unwrap(), &mut findings);
        (lifetimes, findings.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_key_is_taken() {
        assert_eq!(read("{}"), (Lifetimes::default(), Vec::new()));
        let text = "{token_ttl_s: 1, max_token_ttl_s: 2, certificate_ttl_s: 3, jwks_cache_s: 4, stale_limit_s: 5,
                     key_retirement_s: 6}";
        let [token, longest_token, certificate, jwks_cache, stale_limit, retirement] =
            [1, 2, 3, 4, 5, 6].map(Duration::from_secs);
        let lifetimes = Lifetimes { token, longest_token, certificate, jwks_cache, stale_limit, retirement };
        assert_eq!(read(text), (lifetimes, Vec::new()));
    }

    #[test]
    fn the_usual_token_is_never_longer_than_the_longest() {
        let (lifetimes, findings) = read("{max_token_ttl_s: 60}");
        assert_eq!((lifetimes.token, findings.len()), (Duration::from_secs(60), 0));
        let (_, findings) = read("{token_ttl_s: 61, max_token_ttl_s: 60}");
        assert_eq!(findings, ["iam.token_ttl_s: 61 is not between 1 and 60"]);
    }

    #[test]
    fn what_cannot_be_meant_is_told_with_what_can() {
        let (_, findings) = read("{max_token_ttl_s: 86401, stale_limit_s: 0, key_retirement_s: 99999999}");
        assert_eq!(
            findings,
            [
                "iam.max_token_ttl_s: 86401 is not between 1 and 86400",
                "iam.stale_limit_s: 0 is not between 1 and 3600",
                "iam.key_retirement_s: 99999999 is not between 1 and 31622400",
            ]
        );
    }
}
