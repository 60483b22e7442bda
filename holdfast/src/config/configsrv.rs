use std::time::Duration;

use configsrv_server::Waits;

use super::{Finding, fragment::ConfigsrvFragment};

const YEAR: u64 = 366 * 24 * 3_600;

pub(super) fn validate(file: &ConfigsrvFragment, findings: &mut Vec<Finding>) -> Waits {
    let defaults = Waits::default();
    let mut within = |setting: &str, given: Option<u64>, default: Duration| {
        let seconds = given.unwrap_or(default.as_secs());
        if seconds == 0 || seconds > YEAR {
            let problem = format!("{seconds} is not between 1 and {YEAR}: no node may be waited for for ever");
            findings.push(Finding::new(format!("configsrv.{setting}"), problem));
        }
        Duration::from_secs(seconds)
    };
    Waits {
        fetched: within("fetch_within_s", file.fetch_within_s, defaults.fetched),
        reported: within("report_within_s", file.report_within_s, defaults.reported),
    }
}

impl From<&Waits> for ConfigsrvFragment {
    fn from(waits: &Waits) -> Self {
        Self { fetch_within_s: Some(waits.fetched.as_secs()), report_within_s: Some(waits.reported.as_secs()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Waits, Vec<String>) {
        let mut findings = Vec::new();
        let waits = validate(&serde_saphyr::from_str(text).unwrap(), &mut findings);
        (waits, findings.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_wait_can_be_set_and_none_is_endless() {
        assert_eq!(read("{}"), (Waits::default(), Vec::new()));
        let [fetched, reported] = [1, 2].map(Duration::from_secs);
        assert_eq!(read("{fetch_within_s: 1, report_within_s: 2}"), (Waits { fetched, reported }, Vec::new()));
        let (_, findings) = read("{fetch_within_s: 0, report_within_s: 99999999}");
        assert_eq!(
            findings,
            [
                "configsrv.fetch_within_s: 0 is not between 1 and 31622400: no node may be waited for for ever",
                "configsrv.report_within_s: 99999999 is not between 1 and 31622400: no node may be waited for for ever",
            ]
        );
    }
}
