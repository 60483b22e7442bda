//! What the C++ part of the build needs: a C++ compiler and libclang with its headers from the system, and RocksDB's
//! library.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

use crate::{
    layout::Layout,
    programs, rocksdb,
    tools::{self, Package},
};

/// Makes sure of everything.
pub(crate) fn ensure(layout: &Layout) -> Result<()> {
    ensure_packages()?;
    rocksdb::ensure(layout)
}

/// Checks the system and, as root on Debian or Ubuntu, installs what is missing.
fn ensure_packages() -> Result<()> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    tools::install(&missing)?;
    let still: Vec<_> = self::missing().iter().map(|package| package.purpose).collect();
    if !still.is_empty() {
        bail!("still missing after the installation: {}", still.join(", "));
    }
    Ok(())
}

fn missing() -> Vec<Package> {
    let mut missing = Vec::new();
    if !["c++", "g++", "clang++"].iter().any(|name| programs::find(name).is_some()) {
        missing.push(Package { purpose: "a C++ compiler (RocksDB)", names: &[&["g++"]] });
    }
    let folders = library_folders();
    if !folders.iter().any(|folder| has_libclang(folder)) || !has_clang_headers() {
        // The first choice is 7 MB, the second pulls in the whole compiler.
        let names = &[&["libclang1-14", "libclang-common-14-dev"] as &[_], &["libclang-dev"]];
        missing.push(Package { purpose: "libclang and its headers (RocksDB's bindings)", names });
    }
    missing
}

/// Where the bindings' generator looks for libclang, too.
fn library_folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = env::var_os("LIBCLANG_PATH").into_iter().map(PathBuf::from).collect();
    folders.extend(llvm_folders().into_iter().map(|llvm| llvm.join("lib")));
    let machine = env::consts::ARCH;
    folders.push(format!("/usr/lib/{machine}-linux-gnu").into());
    folders.extend(["/usr/lib64", "/usr/lib", "/usr/local/lib", "/opt/homebrew/opt/llvm/lib"].map(PathBuf::from));
    folders
}

fn llvm_folders() -> Vec<PathBuf> {
    entries(Path::new("/usr/lib"))
        .into_iter()
        .filter(|(name, _)| name.starts_with("llvm"))
        .map(|(_, path)| path)
        .collect()
}

fn has_libclang(folder: &Path) -> bool {
    folder.is_file() || entries(folder).iter().any(|(name, _)| is_libclang(name))
}

/// `libclang.so`, `libclang.so.1`, `libclang-14.so.1`, but not `libclang-cpp.so.14`.
fn is_libclang(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("libclang") else { return false };
    let versioned =
        rest.strip_prefix('-').is_some_and(|version| version.starts_with(|first: char| first.is_ascii_digit()));
    (rest.starts_with(".so") || rest.starts_with(".dylib")) || (versioned && rest.contains(".so"))
}

/// libclang without its own `stddef.h` cannot read any header.
fn has_clang_headers() -> bool {
    let mut resources: Vec<PathBuf> = llvm_folders().into_iter().map(|llvm| llvm.join("lib/clang")).collect();
    resources.extend(["/usr/lib/clang", "/usr/lib64/clang", "/usr/local/lib/clang"].map(PathBuf::from));
    let found = resources
        .iter()
        .flat_map(|folder| entries(folder))
        .any(|(_, version)| version.join("include/stddef.h").is_file());
    found || env::var_os("LIBCLANG_PATH").is_some() || cfg!(target_os = "macos")
}

fn entries(folder: &Path) -> Vec<(String, PathBuf)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::is_libclang;

    #[test]
    fn libclang_is_told_from_its_neighbours() {
        for name in ["libclang.so", "libclang.so.1", "libclang-14.so", "libclang-14.so.1", "libclang.dylib"] {
            assert!(is_libclang(name), "{name}");
        }
        for name in ["libclang-cpp.so.14", "libclangAST.a", "libclang_rt.asan.so", "libLLVM-14.so", "libclang-14.a"] {
            assert!(!is_libclang(name), "{name}");
        }
    }
}
