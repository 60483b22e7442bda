use std::time::Duration;

use futures::future::join_all;
use holdfast_service::Stop;
use tokio::time::{Instant, sleep};

use crate::{
    Error, GroupId, Slot,
    genesis::Known,
    network::{CallError, Dialer, FormedV1, RejoinAnswerV1, RejoinV1, decode, encode},
};

const PAUSE: Duration = Duration::from_millis(250);
const REMIND_EVERY: Duration = Duration::from_secs(10);

/// What one of the other servers has said.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Admitted,
    /// It does not lead.
    Follows,
    /// It leads or refuses, and says why this server must wait.
    Wait(String),
    Silent(String),
}

/// What a round of questions has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Round {
    Admitted,
    Wait(String),
}

/// Asks for this server's place in `group` until it has it as a learner: then it may run Raft there. It waits as long
/// as the others are not a majority, and says so.
pub(crate) async fn ask_back(
    known: &Known,
    dialer: &Dialer,
    group: GroupId,
    formed: &FormedV1,
    stop: &Stop,
) -> Result<(), Error> {
    let (mut remind, mut warned) = (Instant::now(), None);
    loop {
        let round = tokio::select! {
            () = stop.requested() => return Err(Error::Stopped),
            round = ask_all(known, dialer, group, formed) => round,
        };
        match round {
            Round::Admitted => {
                tracing::info!(%group, id = %known.id(), "this server may learn again");
                return Ok(());
            }
            Round::Wait(reason) => {
                let now = Instant::now();
                if now >= remind || warned.as_ref() != Some(&reason) {
                    tracing::warn!(%group, reason, "this server has not got its place back yet");
                    (remind, warned) = (now + REMIND_EVERY, Some(reason));
                }
            }
        }
        tokio::select! {
            () = stop.requested() => return Err(Error::Stopped),
            () = sleep(PAUSE) => {}
        }
    }
}

async fn ask_all(known: &Known, dialer: &Dialer, group: GroupId, formed: &FormedV1) -> Round {
    let others = known.cluster().slots().filter(|(slot, _)| *slot != known.id().slot());
    let questions = others.map(|(slot, member)| async move {
        let said = ask(known, dialer, group, formed, slot).await;
        (member.name.as_str(), said)
    });
    judge(known.cluster().members.len(), &join_all(questions).await)
}

async fn ask(known: &Known, dialer: &Dialer, group: GroupId, formed: &FormedV1, slot: Slot) -> Said {
    let body = match encode(&RejoinV1 { id: formed.cluster, cluster: known.cluster().clone() }) {
        Ok(body) => body,
        Err(error) => return Said::Wait(error.to_string()),
    };
    // The receiver's incarnation does not matter: whoever leads acts, with its quorum.
    let request = dialer.request(group, crate::RaftId::from_u64(0), body);
    let within = dialer.timing().request();
    let answer = dialer.call(slot, within, |mut client| async move { client.rejoin(request).await }).await;
    match answer {
        Ok(answer) => match decode(&answer) {
            Ok(RejoinAnswerV1::Admitted) => Said::Admitted,
            Ok(RejoinAnswerV1::NotLeader) => Said::Follows,
            Ok(RejoinAnswerV1::Wait(reason)) => Said::Wait(reason),
            Err(error) => Said::Wait(error.to_string()),
        },
        Err(CallError::Refused(reason)) => Said::Wait(reason),
        Err(CallError::NotSent(reason) | CallError::Lost(reason)) => Said::Silent(reason),
    }
}

/// What the answers of the others mean in a cluster of `members`.
fn judge(members: usize, answers: &[(&str, Said)]) -> Round {
    if answers.iter().any(|(_, said)| *said == Said::Admitted) {
        return Round::Admitted;
    }
    let needed = members / 2 + 1;
    let silent: Vec<String> = answers
        .iter()
        .filter_map(|(name, said)| match said {
            Said::Silent(reason) => Some(format!("{name}: {reason}")),
            _ => None,
        })
        .collect();
    let answering = answers.len() - silent.len();
    if answers.len() < needed || answering < needed {
        let silent = if silent.is_empty() { String::new() } else { format!(" ({})", silent.join("; ")) };
        return Round::Wait(format!(
            "{answering} of the other servers answer{silent}, and {needed} of them, a majority of all {members}, are \
             needed to give a lost disk its place back. If they cannot be brought back, only a restore helps; see \
             deploy/runbooks/restore-and-rejoin.md"
        ));
    }
    let reasons: Vec<String> = answers
        .iter()
        .filter_map(|(name, said)| match said {
            Said::Wait(reason) => Some(format!("{name}: {reason}")),
            _ => None,
        })
        .collect();
    Round::Wait(if reasons.is_empty() { "no server leads the group".into() } else { reasons.join("; ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(members: usize, answers: &[(&str, Said)]) -> String {
        match judge(members, answers) {
            Round::Wait(text) => text,
            Round::Admitted => panic!("admitted"),
        }
    }

    fn silent() -> Said {
        Said::Silent("connection refused".into())
    }

    /// §0 "Wiped member".
    #[test]
    fn without_a_majority_of_the_others_only_a_restore_helps() {
        for (members, answers) in [
            (3, vec![("a", Said::Follows), ("b", silent())]),
            (5, vec![("a", Said::Follows), ("b", Said::Follows), ("c", silent()), ("d", silent())]),
            // Of two, the other one alone never is a majority.
            (2, vec![("a", Said::Follows)]),
        ] {
            let text = text(members, &answers);
            assert!(text.contains("only a restore helps") && text.contains("restore-and-rejoin.md"), "{text}");
        }
    }

    #[test]
    fn the_leaders_reason_is_told() {
        let busy = Said::Wait("slot 2 is being given its place back; one server at a time".into());
        assert!(text(3, &[("a", Said::Follows), ("b", busy)]).starts_with("b: slot 2 is being given"));
        assert_eq!(text(3, &[("a", Said::Follows), ("b", Said::Follows)]), "no server leads the group");
    }

    #[test]
    fn one_admission_is_enough() {
        assert_eq!(judge(3, &[("a", silent()), ("b", Said::Admitted)]), Round::Admitted);
    }
}
