//! Rules about the text of files.

use std::path::Path;

use super::{File, Finding, word};

/// Past this, a file is split.
const MOST_LINES: usize = 800;
/// Past this, a file needs a reason.
const MANY_LINES: usize = 500;

/// Files that may be longer than [`MANY_LINES`], each with its reason.
const LONG: &[(&str, &str)] = &[];

/// These files have to name what they look for.
const OWN: &str = "xtask/src/tidy/";

/// What must not be left behind in code, and what to do about it.
const LEFTOVERS: &[(&str, &str)] = &[
    ("todo!", "write it, or return an error that says what is not supported"),
    ("unimplemented!", "write it, or return an error that says what is not supported"),
    ("dbg!", "remove it, or log it"),
    ("#[ignore", "run it, or delete it"),
    ("TODO", "do it, or put it where work is planned"),
    ("FIXME", "fix it, or put it where work is planned"),
    ("XXX", "say what is meant"),
];

/// Folders that exist on somebody's machine only.
const MACHINE_FOLDERS: &[&str] = &["/home/", "/root/", "/Users/"];

pub(crate) fn check(files: &[File], root: &Path) -> Vec<Finding> {
    let root = format!("{}/", root.display());
    let mut findings = Vec::new();
    for file in files {
        let code = file.path.ends_with(".rs");
        let lines = file.text.lines().count();
        if code && lines > MOST_LINES {
            findings.push(Finding::new(&file.path, format!("{lines} lines; split it, {MOST_LINES} is the most")));
        }
        if file.path.starts_with(OWN) {
            continue;
        }
        for (number, line) in (1..).zip(file.text.lines()) {
            let place = || format!("{}:{number}", file.path);
            if code {
                let left = LEFTOVERS.iter().filter(|(word, _)| word::occurs(line, word));
                findings.extend(left.map(|(word, remedy)| Finding::new(place(), format!("`{word}`: {remedy}"))));
            }
            if line.contains(&root) || MACHINE_FOLDERS.iter().any(|folder| names_machine_folder(line, folder)) {
                findings.push(Finding::new(place(), "names a folder of one machine"));
            }
        }
    }
    for (path, _) in LONG {
        let long =
            files.iter().find(|file| file.path == *path).is_some_and(|file| file.text.lines().count() > MANY_LINES);
        if !long {
            findings.push(Finding::new(*path, "is excused for its length, but is not long"));
        }
    }
    findings
}

/// Files that are long without a reason: worth a look, not a failure.
pub(crate) fn long_files(files: &[File]) -> Vec<Finding> {
    let code =
        files.iter().filter(|file| file.path.ends_with(".rs") && !LONG.iter().any(|(path, _)| *path == file.path));
    code.map(|file| (file, file.text.lines().count()))
        .filter(|(_, lines)| *lines > MANY_LINES)
        .map(|(file, lines)| Finding::new(&file.path, format!("{lines} lines")))
        .collect()
}

/// Not part of a longer path such as `/var/home/` or of a URL.
fn names_machine_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(place, _)| {
        let before = line.get(..place).and_then(|before| before.chars().next_back());
        !before.is_some_and(|character| character.is_alphanumeric() || "._-/~}".contains(character))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let files = [File { path: path.into(), text: text.into() }];
        check(&files, Path::new("/somewhere/tree")).iter().map(|finding| finding.place.clone()).collect()
    }

    #[test]
    fn leftovers_are_found_with_their_line() {
        for line in ["    todo!()", "// TODO: later", "/* FIXME */", "dbg!(x);", "#[ignore]", "#[ignore = \"slow\"]"] {
            assert_eq!(found("a/src/lib.rs", &format!("fn f() {{\n{line}\n}}")), ["a/src/lib.rs:2"], "{line}");
        }
    }

    #[test]
    fn words_inside_other_words_are_not_leftovers() {
        for line in ["let mastodon = 1;", "const MASTODON: u8 = 1;", "Kind::Unimplemented", "my_todo!()", "\"XXXX\""] {
            assert!(found("a/src/lib.rs", line).is_empty(), "{line}");
        }
        assert!(found("notes.md", "TODO").is_empty());
    }

    #[test]
    fn machine_folders_are_found_anywhere() {
        assert_eq!(found("a.md", "see /home/me/x"), ["a.md:1"]);
        assert_eq!(found("a.toml", "path = \"/somewhere/tree/x\""), ["a.toml:1"]);
        assert!(found("a.rs", "\"/var/home/core\" + \"https://h/home/\"").is_empty());
    }

    #[test]
    fn length_is_bounded() {
        let lines = "\n".repeat(MOST_LINES + 1);
        assert_eq!(found("a/src/lib.rs", &lines), ["a/src/lib.rs"]);
        assert!(found("a/README.md", &lines).is_empty());
        let long = [File { path: "a.rs".into(), text: "\n".repeat(MANY_LINES + 1) }];
        assert_eq!(long_files(&long).len(), 1);
    }
}
