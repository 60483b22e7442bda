use std::{fs, io::Write as _, path::Path};

use configsrv_fleet::template;
use serde_json::json;

use crate::{
    cli::Init,
    failure::{Code, Failure},
    output::Format,
};

/// Writes a new repository, or nothing at all if a file of it is there already.
pub(super) fn run(options: &Init, output: Format) -> Result<Code, Failure> {
    let Init { dir, name } = options;
    let files = template::repository(name);
    let there: Vec<&str> = files.iter().map(|(path, _)| *path).filter(|path| dir.join(path).exists()).collect();
    if !there.is_empty() {
        let message = format!("{} has {} already", dir.display(), there.join(", "));
        return Err(Failure::new(Code::State, message).hint("nothing is overwritten: choose another folder"));
    }
    for (path, text) in &files {
        write_new(&dir.join(path), text)?;
    }
    let paths: Vec<&str> = files.iter().map(|(path, _)| *path).collect();
    let next = [
        format!("cd {} && git init", dir.display()),
        format!("florctl ca init --keys ../{name}-keys"),
        format!("florctl ca issue --missing --keys ../{name}-keys"),
        "florctl validate".to_owned(),
    ];
    output.print(&json!({ "cluster": name, "folder": dir, "files": paths, "next": next }), || {
        let steps: String = next.iter().map(|step| format!("  {step}\n")).collect();
        format!(
            "{}: a repository for {name}\nReplace the hub's address in nodes.yaml. Then, once (README.md says more):\n{steps}",
            dir.display()
        )
    })?;
    Ok(Code::Done)
}

fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let write = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::OpenOptions::new().write(true).create_new(true).open(path)?.write_all(text.as_bytes())
    };
    write().map_err(|error| Failure::file(path, &error))
}
