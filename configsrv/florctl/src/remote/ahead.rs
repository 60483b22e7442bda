use crate::failure::{Code, Failure};

/// Servers do not believe that a node is further ahead of them; a report of an earlier release may say so all the same.
const FAR: u64 = 1_000;

/// The highest number that nodes report, if it is above what the servers have: they were restored, and what is made next
/// has to go past it.
pub(crate) fn highest<'n>(
    served: u64,
    reports: impl IntoIterator<Item = (&'n str, u64)>,
) -> Result<Option<u64>, Failure> {
    let newest = reports.into_iter().filter(|(_, number)| *number > served).max_by_key(|(_, number)| *number);
    match newest {
        Some((node, number)) if number - served > FAR => {
            let message =
                format!("node {node} reports number {number}, the servers have {served}: it cannot know that");
            Err(Failure::new(Code::State, message).hint(format!("--ignore-reports-of {node} goes past it")))
        }
        newest => Ok(newest.map(|(_, number)| number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_past_what_nodes_can_know_and_no_further() {
        assert_eq!(highest(7, []).unwrap(), None);
        assert_eq!(highest(7, [("hub", 7), ("pier2", 3)]).unwrap(), None);
        assert_eq!(highest(7, [("hub", 9), ("pier2", 12)]).unwrap(), Some(12));
        assert_eq!(highest(7, [("hub", 1_007)]).unwrap(), Some(1_007));
        let lie = highest(7, [("hub", 9), ("pier2", 1_008)]).unwrap_err();
        assert!(lie.code() == Code::State && lie.message().contains("pier2"), "{lie}");
    }
}
