use std::{
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    path::Path,
    process::Command,
};

use configsrv_fleet::{Finding, Tree, TreeDiff, Version, compile::payloads};
use serde_json::json;

use super::{diff, overtaken};
use crate::{
    cli::Publish,
    failure::{Code, Failure, REBASE, REVOKED_ELSEWHERE},
    output::Format,
    remote::About,
    settings::Settings,
    workspace::{Workspace, check_lockout},
};

/// How a commit ends that is not all of what was published.
pub(super) const DIRTY: &str = "-dirty";

pub(super) async fn run(options: &Publish, settings: &Settings, output: Format) -> Result<Code, Failure> {
    let workspace = Workspace::open(&options.repository)?;
    let tree = publishable(&workspace)?;
    let new = tree.payloads()?;
    let http = workspace.servers(settings, options.target.as_deref())?;
    workspace.check_cluster(&http).await?;
    let served = http.versions(1).await?.current;
    let base = options.base_version.unwrap_or(served);
    if let Err(refused) = in_order(tree.version(), base, served) {
        return Err(overtaken::told(refused, &http, tree.version(), options.base_version).await);
    }
    let commit = git_commit(&workspace.root);
    let mut delta = None;
    // The same version again is either the same tree, which is fine, or a conflict, which the servers see.
    if tree.version() > served {
        refuse_revoked(&workspace.revoked(&http).await?)?;
        let before = http.published(&new, &workspace.trusted()?).await?.payloads;
        check_lockout(&before, &tree, options.allow_lockout)?;
        let found = TreeDiff::between(&before, &new);
        eprint!("version {} on top of {served}:\n{}", tree.version(), diff::to_text(&found));
        delta = Some(found);
        for ending in near_end(&workspace) {
            eprintln!("{ending}");
        }
        if commit.as_ref().is_some_and(|commit| commit.ends_with(DIRTY)) {
            eprintln!("warning: there are changes that are not committed, so that Git will not say what was published");
        }
        confirm(options.yes, "publish")?;
    }
    let about = About { note: options.note.as_deref(), git_commit: commit.as_deref(), ignored: &options.ignored.nodes };
    let admitted = match http.publish(&tree, base, &about).await {
        Err(refused) if refused.code() == Code::Conflict => {
            return Err(overtaken::told(refused, &http, tree.version(), options.base_version).await);
        }
        answer => answer?,
    };
    let value = json!({
        "published": admitted,
        "base_version": base,
        "diff": delta.map(|delta| diff::to_json(&format!("published version {served}"), &delta)),
    });
    output.print(&value, || {
        if admitted.unchanged {
            format!("version {} was published already", admitted.version)
        } else {
            format!(
                "published version {} for {} nodes; they take it at their next sync",
                admitted.version, admitted.nodes
            )
        }
    })?;
    Ok(Code::Done)
}

/// The compiled tree, if it is what the YAML says now and is signed.
fn publishable(workspace: &Workspace) -> Result<Tree, Failure> {
    let tree = workspace
        .compiled()?
        .ok_or_else(|| Failure::new(Code::State, "nothing is compiled").hint("run florctl compile --sign-key FILE"))?;
    let mut expected = payloads(&workspace.fleet()?)?;
    for (node, artifact) in tree.artifacts() {
        let same = match expected.remove(node) {
            Some(payload) => payload.digest()? == artifact.payload_digest(),
            None => false,
        };
        if !same {
            return Err(outdated());
        }
    }
    if !expected.is_empty() {
        return Err(outdated());
    }
    if !tree.is_signed() {
        return Err(Failure::new(Code::NotTrusted, "the compiled tree is not signed")
            .hint("run florctl compile --sign-key FILE"));
    }
    for artifact in tree.artifacts().values() {
        artifact.verify(&artifact.announced_signers()?)?;
    }
    Ok(tree)
}

fn outdated() -> Failure {
    Failure::new(Code::State, "the repository changed since it was compiled").hint("run florctl compile again")
}

fn in_order(ours: Version, base: Version, served: Version) -> Result<(), Failure> {
    if base != served {
        let message = format!("the servers have version {served}, not {base}");
        return Err(Failure::new(Code::Conflict, message).hint(REBASE));
    }
    if ours < served {
        let message = format!("the servers have version {served}; the compiled tree is version {ours}");
        return Err(Failure::new(Code::Conflict, message).hint(REBASE));
    }
    Ok(())
}

/// A version that names who is revoked would promise what no node does.
fn refuse_revoked(findings: &[Finding]) -> Result<(), Failure> {
    if findings.is_empty() {
        return Ok(());
    }
    for finding in findings {
        eprintln!("{finding}");
    }
    Err(Failure::new(Code::Findings, "the version names somebody who is revoked").hint(REVOKED_ELSEWHERE))
}

/// Warnings about certificates, which are easily forgotten until they end.
fn near_end(workspace: &Workspace) -> Vec<String> {
    let findings = workspace.findings();
    findings.iter().filter(|finding| finding.rule == configsrv_fleet::Rule::V22).map(ToString::to_string).collect()
}

/// Asks whether to do what `verb` says, which was shown before.
pub(super) fn confirm(yes: bool, verb: &str) -> Result<(), Failure> {
    decide(yes, io::stdin().is_terminal(), verb, || {
        eprint!("{verb}? [y/N] ");
        io::stderr().flush()?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        Ok(answer)
    })
}

/// The same, where `ask` brings the answer of whoever is at the terminal.
fn decide(yes: bool, is_terminal: bool, verb: &str, ask: impl FnOnce() -> io::Result<String>) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !is_terminal {
        return Err(Failure::usage("nobody is there to be asked").hint("--yes does it without asking"));
    }
    match ask().map_err(Failure::unexpected)?.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::new(Code::State, format!("nothing was done: {verb} was not confirmed"))),
    }
}

/// The commit that the repository is at, if it is in Git; one that is not all of what lies here is marked.
fn git_commit(root: &Path) -> Option<String> {
    let commit = git(root, &["rev-parse", "--verify", "HEAD"])?;
    match git(root, &["status", "--porcelain", "--", "."]) {
        Some(changes) if !changes.is_empty() => Some(commit + DIRTY),
        Some(_) | None => Some(commit),
    }
}

fn git(root: &Path, words: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(root).args(words).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_one() {
        let asked = |answer: &str| decide(false, true, "publish", || Ok(answer.to_owned()));
        for answer in ["y\n", "Y\n", " yes \n"] {
            assert!(asked(answer).is_ok(), "{answer:?}");
        }
        for answer in ["", "\n", "n\n", "no\n", "yes, but\n"] {
            let refused = asked(answer).unwrap_err();
            assert_eq!(refused.code(), Code::State, "{answer:?}");
            assert!(refused.message().contains("publish was not confirmed"), "{refused}");
        }
    }

    #[test]
    fn nobody_is_asked_who_is_not_there_or_has_said_yes() {
        let never = || -> io::Result<String> { panic!("nobody is asked") };
        assert!(decide(true, false, "revoke", never).is_ok() && decide(true, true, "revoke", never).is_ok());
        let refused = decide(false, false, "revoke", never).unwrap_err();
        assert!(refused.code() == Code::Usage && refused.to_string().contains("--yes"), "{refused}");
    }
}
