use std::{fs, path::Path};

use iam_ca::OperatorKey;
use iam_server::BreakGlass;

use super::{Finding, fragment::BreakGlassFragment};

/// Reads the operators' public keys.
pub(super) fn validate(file: Option<&BreakGlassFragment>, findings: &mut Vec<Finding>) -> Option<BreakGlass> {
    let BreakGlassFragment { keys: paths, threshold } = file?;
    let mut keys: Vec<OperatorKey> = Vec::new();
    for path in paths {
        match read(path) {
            Ok(key) if keys.iter().any(|known| known.id == key.id) => {
                findings.push(finding("keys", format!("{} holds a key that is listed already", path.display())));
            }
            Ok(key) => keys.push(key),
            Err(problem) => findings.push(finding("keys", format!("{} {problem}", path.display()))),
        }
    }
    if *threshold < 2 || *threshold > paths.len() {
        let problem = format!("{threshold} is not between 2 and the number of keys, which is {}", paths.len());
        findings.push(finding("threshold", problem));
    }
    Some(BreakGlass { keys, threshold: *threshold })
}

fn read(path: &Path) -> Result<OperatorKey, String> {
    let pem = fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    OperatorKey::from_pem(&pem).map_err(|error| format!("is not the public half of an Ed25519 key, PEM: {error}"))
}

fn finding(setting: &str, problem: String) -> Finding {
    Finding::new(format!("iam.break_glass.{setting}"), problem)
}

#[cfg(test)]
mod tests {
    use iam_ca::{KeyAlgorithm, PrivateKey};

    use super::*;

    #[test]
    fn operators_are_several_and_known() {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<_> = (0..3).map(|number| folder.path().join(format!("{number}.pem"))).collect();
        for path in &paths {
            let key = PrivateKey::generate(KeyAlgorithm::Ed25519).unwrap();
            fs::write(path, key.public_pem()).unwrap();
        }
        let judged = |keys: &[&std::path::PathBuf], threshold| {
            let mut findings = Vec::new();
            let keys = keys.iter().map(|path| (*path).clone()).collect();
            let found = validate(Some(&BreakGlassFragment { keys, threshold }), &mut findings);
            (found.unwrap().keys.len(), findings.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(judged(&[&paths[0], &paths[1], &paths[2]], 2), (3, Vec::new()));
        for (keys, threshold, word) in [
            (&paths[..2], 1, "iam.break_glass.threshold"),
            (&paths[..2], 3, "iam.break_glass.threshold"),
            (&[paths[0].clone(), paths[0].clone()][..], 2, "listed already"),
            (&[paths[0].clone(), folder.path().join("none")][..], 2, "cannot be read"),
        ] {
            let (_, findings) = judged(&keys.iter().collect::<Vec<_>>(), threshold);
            assert!(findings.len() == 1 && findings[0].contains(word), "{findings:?}");
        }
        assert!(validate(None, &mut Vec::new()).is_none());
    }
}
