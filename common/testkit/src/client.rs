//! Public clients that a test drives our servers with: `etcdctl`, `psql`, `grpcurl`, `curl`.

use std::{env, path::PathBuf};

use anyhow::{Result, bail};

/// The program, or `None` after a word on standard error when it is not installed, upon which the test passes without
/// having tested anything. With `HOLDFAST_REQUIRE_TOOLS=1`, as in CI, a missing program is a failure.
///
/// # Errors
/// When the program is missing and required.
pub fn client(program: &str) -> Result<Option<PathBuf>> {
    let path = env::var_os("PATH").unwrap_or_default();
    let built = [
        env::var_os("XDG_CACHE_HOME").map(PathBuf::from),
        env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")),
    ];
    let built = built.into_iter().flatten().map(|cache| cache.join("holdfast/bin"));
    if let Some(found) =
        env::split_paths(&path).chain(built).map(|folder| folder.join(program)).find(|path| path.is_file())
    {
        return Ok(Some(found));
    }
    if env::var_os("HOLDFAST_REQUIRE_TOOLS").is_some_and(|value| value == "1") {
        bail!("{program} is not installed, and HOLDFAST_REQUIRE_TOOLS=1 demands it (`cargo xtask ci` installs it)");
    }
    eprintln!("SKIPPED: {program} is not installed");
    Ok(None)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_program_of_every_system_is_found() {
        let found = super::client("sh").unwrap().unwrap();
        assert!(found.is_absolute(), "{}", found.display());
    }
}
