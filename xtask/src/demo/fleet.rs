//! The fleet's repository: from YAML to a signed version that the servers have.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use holdfast_testkit::copy_folder;

use super::{Step, screen::ensure, world::World};

pub(super) const FIRST: &[Step] = &[
    Step {
        title: "The fleet: a repository of YAML, and a certificate authority that stays with its operator",
        run: begin,
    },
    Step { title: "Validate, compile and sign, publish: version 1", run: publish_first },
];

pub(super) const SECOND: &[Step] =
    &[Step { title: "Change who may do what, see what that means, publish: version 2", run: publish_second }];

const EXAMPLE: &str = "configsrv/fleet/examples/quay";
/// The change of the second version: which line of which file.
const EDIT: (&str, &str, &str) = ("roles.yaml", "clerk: { allow: [shop] }", "clerk: { allow: [shop, data] }");

fn begin(world: &mut World) -> Result<()> {
    let (from, to) = (world.tree.join(EXAMPLE), world.folder.join("fleet"));
    world.screen.command(&format!("cp -r {} fleet", from.display()));
    copy_folder(&from, &to)?;
    let elsewhere = world.folder.join("machine");
    world.screen.command("sed -i 's|path: /etc/|path: '$PWD'/machine/etc/|; /owner:/d; /activate:/d' fleet/*.yaml");
    for file in keep_off_this_machine(&to, &elsewhere)? {
        world.screen.note(&format!("{file}: its files go to machine/etc, not to /etc of this machine"));
    }
    world.tell("florctl", "ca init --repo fleet --keys keys")?;
    world.tell("florctl", "ca issue --missing --repo fleet --keys keys")?;
    Ok(())
}

fn publish_first(world: &mut World) -> Result<()> {
    world.tell("florctl", "validate --repo fleet")?;
    compile(world)?;
    publish(world, "the example fleet", 1)
}

fn publish_second(world: &mut World) -> Result<()> {
    let (file, before, after) = EDIT;
    let path = world.folder.join("fleet").join(file);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure(text.contains(before), &format!("{file} has the line that is to be changed"))?;
    world.screen.command(&format!("sed -i 's/{}/{}/' fleet/{file}", escaped(before), escaped(after)));
    fs::write(&path, text.replace(before, after))?;
    world.tell("florctl", "validate --repo fleet")?;
    compile(world)?;
    world.tell("florctl", "diff --published --repo fleet")?;
    publish(world, "clerks see the ledger", 2)
}

fn compile(world: &mut World) -> Result<()> {
    let keys = fs::read_dir(world.folder.join("keys")).context("florctl made no keys")?;
    let names = keys.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut signers = names.filter(|name| name.starts_with("management-plane-") && name.ends_with(".key"));
    let signer = signers.next().context("florctl made no signer")?;
    world.tell("florctl", &format!("compile --repo fleet --sign-key keys/{signer}"))?;
    Ok(())
}

fn publish(world: &mut World, note: &str, version: u64) -> Result<()> {
    let program = world.florctl().words("publish --yes --repo fleet --note").argument(note);
    world.tell_program(program, 0)?;
    let versions = world.florctl().words("versions").quietly("-o json").run()?.expect(0)?.json()?;
    ensure(versions["current"] == version, &format!("version {version} is the current one"))?;
    world.screen.fact(&format!("all servers have version {version}"));
    Ok(())
}

/// The example's nodes own their machines; ours share this one. Returns the files that were changed.
fn keep_off_this_machine(fleet: &Path, elsewhere: &Path) -> Result<Vec<String>> {
    let mut changed = Vec::new();
    for entry in fs::read_dir(fleet)? {
        let path: PathBuf = entry?.path();
        if path.extension().is_none_or(|kind| kind != "yaml") {
            continue;
        }
        let text = fs::read_to_string(&path)?;
        let redirected = redirect(&text, elsewhere);
        if redirected != text {
            fs::write(&path, redirected)?;
            changed.push(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
        }
    }
    changed.sort();
    Ok(changed)
}

fn redirect(text: &str, elsewhere: &Path) -> String {
    let folder = format!("path: {}/etc/", elsewhere.display());
    let ours = |line: &&str| !line.contains("owner:") && !line.contains("activate:");
    text.lines().filter(ours).flat_map(|line| [line.replace("path: /etc/", &folder), "\n".into()]).collect()
}

/// For the pattern and the replacement of `sed`.
fn escaped(text: &str) -> String {
    text.replace('[', r"\[").replace(']', r"\]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_kept_off_the_machine() {
        let text =
            "files:\n  - path: /etc/motd\n    owner: root:root\n    activate: { reload: x }\n    mode: \"0644\"\n";
        let expected = "files:\n  - path: /demo/machine/etc/motd\n    mode: \"0644\"\n";
        assert_eq!(redirect(text, Path::new("/demo/machine")), expected);
    }

    #[test]
    fn the_example_has_the_line_that_is_changed() {
        let path = Path::new("..").join(EXAMPLE).join(EDIT.0);
        assert!(fs::read_to_string(path).unwrap().contains(EDIT.1));
    }
}
