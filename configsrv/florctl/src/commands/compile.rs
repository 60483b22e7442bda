use std::{
    fs,
    path::{Path, PathBuf},
};

use configsrv_fleet::{Compiled, NodeName, Outcome, Payload, Stamp, Tree, TreeDiff, Version, compile::payloads};
use serde_json::json;

use crate::{
    cli::{Compile, Rebase},
    failure::{Code, Failure},
    output::{self, Format},
    progress,
    remote::highest,
    settings::Settings,
    workspace::{Workspace, check_lockout, generated_at},
};

/// What a tree is compiled on top of.
struct Ground {
    previous: Option<Tree>,
    above: Version,
    /// What the servers have, where they were asked: what changes is then what changes for them.
    served: Option<Vec<Payload>>,
}

pub(super) fn run(options: &Compile, output: Format) -> Result<Code, Failure> {
    let workspace = Workspace::open(&options.repository)?;
    let ground = Ground { previous: workspace.compiled()?, above: Version::NONE, served: None };
    compile_on(options, &workspace, &ground, output)
}

/// The same, with a number above what the servers have, and above what nodes have: after a restore of the servers that may
/// be more, and they take nothing that is not newer still. What is compiled already is only worth its number, so that it
/// need not be readable: two operators who compiled leave a conflict in every file.
pub(super) async fn rebase(options: &Rebase, settings: &Settings, output: Format) -> Result<Code, Failure> {
    let Rebase { compile: options, ignored } = options;
    let workspace = Workspace::open(&options.repository)?;
    let new: Vec<Payload> = payloads(&workspace.fleet()?)?.into_values().collect();
    let http = workspace.servers(settings, None)?;
    workspace.check_cluster(&http).await?;
    let (current, nodes) = http.nodes(None).await?;
    let heard = nodes.iter().filter(|node| !ignored.has(&node.name));
    let reports = heard.filter_map(|node| Some((node.name.as_str(), node.reported.as_ref()?.newest()?.get())));
    let above = highest(current.get(), reports)?.map_or(Ok(current), Version::new).map_err(Failure::unexpected)?;
    let served = http.published(&new, &workspace.trusted()?).await?.payloads;
    let ground = Ground { previous: workspace.compiled_if_readable(), above, served: Some(served) };
    compile_on(options, &workspace, &ground, output)
}

fn compile_on(options: &Compile, workspace: &Workspace, ground: &Ground, output: Format) -> Result<Code, Failure> {
    let Ground { previous, above, served } = ground;
    let folder = match &options.out {
        Some(folder) => elsewhere(folder)?,
        None => workspace.compiled_folder(),
    };
    let key = options.sign_key.as_deref().map(|path| workspace.signing_key(path)).transpose()?;
    let generated_at = generated_at(options.generated_at.as_deref())?;
    let stamp = Stamp { generated_at, key: key.as_ref(), above: *above };
    let working = progress::spinner("compiling");
    let compiled = workspace.compile(previous.as_ref(), &stamp);
    working.finish_and_clear();
    let mut compiled = compiled?;
    match (served, previous) {
        (Some(served), _) => {
            check_lockout(served, &compiled.tree, options.allow_lockout)?;
            compare(&mut compiled, served)?;
        }
        (None, Some(previous)) => check_lockout(&previous.payloads()?, &compiled.tree, options.allow_lockout)?,
        (None, None) => {}
    }
    if let Some(node) = &options.node {
        return print_one(&compiled.tree, node);
    }
    compiled.tree.write(&folder)?;
    report(&compiled, output)?;
    Ok(Code::Done)
}

/// Says what changes for the servers rather than for the tree that lay here.
fn compare(compiled: &mut Compiled, served: &[Payload]) -> Result<(), Failure> {
    let TreeDiff { changed, added, removed, .. } = TreeDiff::between(served, &compiled.tree.payloads()?);
    compiled.changed = changed.into_keys().chain(added).collect();
    compiled.changed.sort();
    compiled.removed = removed;
    Ok(())
}

/// A folder beside the ledger. Writing a tree removes what is not part of it, so that only a folder of its own will do.
fn elsewhere(folder: &Path) -> Result<PathBuf, Failure> {
    let has_files = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(Failure::file(folder, &error)),
    };
    if has_files && Tree::read(folder)?.is_none() {
        let message = format!("{} has files that are no compiled tree", folder.display());
        return Err(Failure::new(Code::State, message).hint("--out wants a folder of its own"));
    }
    Ok(folder.to_owned())
}

fn print_one(tree: &Tree, node: &NodeName) -> Result<Code, Failure> {
    let artifact = tree.artifacts().get(node).ok_or_else(|| Failure::usage(format!("there is no node \"{node}\"")))?;
    let mut bytes = artifact.bytes().to_vec();
    bytes.push(b'\n');
    output::write(&bytes)?;
    Ok(Code::Done)
}

fn report(compiled: &Compiled, output: Format) -> Result<(), Failure> {
    let tree = &compiled.tree;
    let manifest = tree.manifest()?;
    let value = json!({
        "version": tree.version(),
        "tree_digest": manifest.tree_digest,
        "nodes": tree.artifacts().len(),
        "outcome": match compiled.outcome {
            Outcome::Unchanged => "unchanged",
            Outcome::Signed => "signed",
            Outcome::Stamped => "stamped",
        },
        "changed": compiled.changed,
        "removed": compiled.removed,
        "signed_by": tree.signer(),
    });
    output.print(&value, || {
        let version = tree.version();
        let what = match compiled.outcome {
            Outcome::Unchanged => format!("version {version}, unchanged"),
            Outcome::Signed => format!("version {version}, now signed"),
            Outcome::Stamped => format!(
                "version {version} for {} nodes; {} changed, {} removed",
                tree.artifacts().len(),
                compiled.changed.len(),
                compiled.removed.len()
            ),
        };
        match tree.signer() {
            Some(signer) => format!("{what}\nsigned by {signer}"),
            None => format!("{what}\nnot signed: --sign-key signs it, and only a signed tree can be published"),
        }
    })
}
