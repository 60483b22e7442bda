use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    artifact::{Activation, Content, File},
    finding::{Located, Rule},
    schema,
    yaml::{Items, Node},
};

use super::{FileSpec, Source};

/// The files that nodes write, with their content taken into the model.
pub(super) fn read_all(items: &mut Items<'_>, source: &dyn Source, node: Option<&Node>) -> Vec<FileSpec> {
    let Some(node) = node else { return Vec::new() };
    items.list(node, "files").iter().filter_map(|node| read(items, source, node)).collect()
}

fn read(items: &mut Items<'_>, source: &dyn Source, node: &Node) -> Option<FileSpec> {
    let fields = items.fields(node, &schema::FILE, Rule::V1)?;
    let path = items.required(&fields, "path").and_then(|node| items.text(node));
    if let Some(path) = &path
        && !is_plain_absolute(&path.value)
    {
        items.error(Rule::V1, &path.at, "a file's path is absolute, without . and .. and empty parts");
    }
    let mode = fields.get("mode").and_then(|node| items.text(node));
    if let Some(mode) = &mode
        && !is_mode(&mode.value)
    {
        items.error(Rule::V1, &mode.at, "a mode is four octal digits that begin with 0, like \"0644\"");
    }
    let owner = fields.get("owner").and_then(|node| items.text(node));
    if let Some(owner) = &owner
        && !is_owner(&owner.value)
    {
        items.error(Rule::V1, &owner.at, "an owner is USER or USER:GROUP");
    }
    let content = match (fields.get("content"), fields.get("from")) {
        (Some(inline), None) => items.text(inline).and_then(|text| embed(items, &text, text.value.as_bytes())),
        (None, Some(from)) => items.text(from).and_then(|path| match source.read(&path.value) {
            Ok(Some(bytes)) => embed(items, &path, &bytes),
            Ok(None) => {
                items.error(Rule::V2, &path.at, format!("the repository has no file {}", path.value));
                None
            }
            Err(error) => {
                items.error(Rule::V2, &path.at, error.to_string());
                None
            }
        }),
        _ => {
            items.error(Rule::V1, &fields.at, "a file has either \"content\" or \"from\"");
            None
        }
    };
    let activate = fields.get("activate").and_then(|node| activation(items, node));
    let file = File {
        path: path?.value,
        mode: mode.map_or_else(|| "0644".to_owned(), |mode| mode.value),
        owner: owner.map(|owner| owner.value),
        content: content?,
        activate,
    };
    Some(FileSpec { at: fields.at, file })
}

/// Refuses private keys: artifacts are committed, and every server stores them.
fn embed(items: &mut Items<'_>, from: &Located<String>, bytes: &[u8]) -> Option<Content> {
    const MARK: &[u8] = b"PRIVATE KEY-----";
    if bytes.windows(MARK.len()).any(|window| window == MARK) {
        items.error(Rule::S1, &from.at, "this is a private key; artifacts are committed and stored in the clear");
        return None;
    }
    Some(match std::str::from_utf8(bytes) {
        Ok(text) => Content::Text(text.to_owned()),
        Err(_) => Content::Base64(STANDARD.encode(bytes)),
    })
}

fn activation(items: &mut Items<'_>, node: &Node) -> Option<Activation> {
    let fields = items.fields(node, &schema::ACTIVATION, Rule::V1)?;
    match (fields.get("reload"), fields.get("restart"), fields.get("run")) {
        (Some(unit), None, None) => Some(Activation::Reload(items.text(unit)?.value)),
        (None, Some(unit), None) => Some(Activation::Restart(items.text(unit)?.value)),
        (None, None, Some(run)) => {
            let words: Vec<String> = items.texts(Some(run), "words").into_iter().map(|word| word.value).collect();
            match words.first() {
                Some(program) if program.starts_with('/') => Some(Activation::Run(words)),
                _ => {
                    items.error(Rule::V1, &fields.at, "\"run\" begins with the absolute path of a program");
                    None
                }
            }
        }
        _ => {
            items.error(Rule::V1, &fields.at, "\"activate\" has one of reload, restart, run");
            None
        }
    }
}

fn is_plain_absolute(path: &str) -> bool {
    path.len() <= 4096
        && !path.contains('\0')
        && path
            .strip_prefix('/')
            .is_some_and(|rest| rest.split('/').all(|part| !part.is_empty() && part != "." && part != ".."))
}

/// No setuid, setgid or sticky bit: the agent runs as root.
fn is_mode(mode: &str) -> bool {
    matches!(mode.as_bytes(), [b'0', rest @ ..] if rest.len() == 3 && rest.iter().all(|digit| (b'0'..=b'7').contains(digit)))
}

fn is_owner(owner: &str) -> bool {
    let name = |text: &str| {
        (1..=32).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.$".contains(&byte))
            && !text.starts_with('-')
    };
    match owner.split_once(':') {
        None => name(owner),
        Some((user, group)) => name(user) && name(group),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_modes_and_owners() {
        assert!(is_plain_absolute("/etc/x.conf"));
        for path in ["etc/x", "/", "/etc/../x", "/etc//x", "/etc/", "/./x"] {
            assert!(!is_plain_absolute(path), "{path}");
        }
        assert!(is_mode("0644") && is_mode("0600"));
        for mode in ["644", "4755", "0888", "00644"] {
            assert!(!is_mode(mode), "{mode}");
        }
        assert!(is_owner("root") && is_owner("www-data:www-data"));
        assert!(!is_owner("") && !is_owner("a:b:c") && !is_owner("-x") && !is_owner("a b"));
    }
}
