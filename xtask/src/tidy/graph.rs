//! The packages that the lock file names and which of them depend on which, as `cargo metadata` tells it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anyhow::{Context as _, Result};
use serde::Deserialize;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<MetadataPackage>,
    workspace_members: Vec<String>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct MetadataPackage {
    id: String,
    name: String,
    version: String,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    /// `None` is a normal dependency, the rest are `build` and `dev`.
    kind: Option<String>,
}

/// One version of one package.
#[derive(Debug)]
struct Package {
    name: String,
    version: String,
    member: bool,
    /// What it needs to run, by index.
    runs_with: Vec<usize>,
}

#[derive(Debug)]
pub(crate) struct Graph {
    packages: Vec<Package>,
}

impl Graph {
    /// From the output of `cargo metadata --format-version 1`.
    pub(crate) fn parse(json: &[u8]) -> Result<Self> {
        let metadata: Metadata = serde_json::from_slice(json).context("cargo metadata is not as expected")?;
        let members: BTreeSet<_> = metadata.workspace_members.iter().collect();
        let places: BTreeMap<_, _> =
            metadata.packages.iter().enumerate().map(|(place, package)| (package.id.clone(), place)).collect();
        let mut packages: Vec<_> = metadata
            .packages
            .iter()
            .map(|package| Package {
                name: package.name.clone(),
                version: package.version.clone(),
                member: members.contains(&package.id),
                runs_with: Vec::new(),
            })
            .collect();
        for node in metadata.resolve.nodes {
            let normal = |dependency: &&Dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none());
            let found = node.deps.iter().filter(normal).filter_map(|dependency| places.get(&dependency.pkg).copied());
            if let Some(package) = places.get(&node.id).and_then(|place| packages.get_mut(*place)) {
                package.runs_with = found.collect();
            }
        }
        Ok(Self { packages })
    }

    pub(crate) fn len(&self) -> usize {
        self.packages.len()
    }

    /// The workspace's own crates.
    pub(crate) fn members(&self) -> impl Iterator<Item = &str> {
        self.packages.iter().filter(|package| package.member).map(|package| package.name.as_str())
    }

    /// All versions of a package in the graph.
    pub(crate) fn versions<'a>(&'a self, name: &'a str) -> Vec<&'a str> {
        self.named(name).map(|(_, package)| package.version.as_str()).collect()
    }

    /// The names of what a member itself depends on to run.
    pub(crate) fn direct<'a>(&'a self, member: &'a str) -> Vec<&'a str> {
        let own = self.named(member).filter(|(_, package)| package.member);
        own.flat_map(|(_, package)| &package.runs_with)
            .filter_map(|place| self.packages.get(*place))
            .map(|package| package.name.as_str())
            .collect()
    }

    /// The shortest way from a member to a package, as `a → b → c`.
    pub(crate) fn path(&self, member: &str, name: &str) -> Option<String> {
        let (start, _) = self.named(member).find(|(_, package)| package.member)?;
        let mut from: BTreeMap<usize, usize> = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(place) = queue.pop_front() {
            let package = self.packages.get(place)?;
            if place != start && package.name == name {
                return Some(self.walk_back(place, start, &from));
            }
            for next in &package.runs_with {
                if *next != start && !from.contains_key(next) {
                    from.insert(*next, place);
                    queue.push_back(*next);
                }
            }
        }
        None
    }

    fn walk_back(&self, end: usize, start: usize, from: &BTreeMap<usize, usize>) -> String {
        let mut places = vec![end];
        let mut place = end;
        while place != start {
            let Some(before) = from.get(&place) else { break };
            place = *before;
            places.push(place);
        }
        let names: Vec<_> = places
            .iter()
            .rev()
            .filter_map(|place| self.packages.get(*place))
            .map(|package| package.name.as_str())
            .collect();
        names.join(" → ")
    }

    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (usize, &'a Package)> {
        self.packages.iter().enumerate().filter(move |(_, package)| package.name == name)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// A graph from `("name version", ["dependency", "dev:dependency", …])`; a name without a version has 1.0.0.
    pub(crate) fn graph(members: &[&str], packages: &[(&str, &[&str])]) -> Graph {
        let id = |package: &str| package.replace(' ', "@");
        let metadata = json!({
            "packages": packages.iter().map(|(package, _)| {
                let (name, version) = package.split_once(' ').unwrap_or((package, "1.0.0"));
                json!({"id": id(package), "name": name, "version": version})
            }).collect::<Vec<_>>(),
            "workspace_members": members,
            "resolve": {"nodes": packages.iter().map(|(package, dependencies)| json!({
                "id": id(package),
                "deps": dependencies.iter().map(|dependency| {
                    let (kind, name) = match dependency.split_once(':') {
                        Some((kind, name)) => (Some(kind), name),
                        None => (None, *dependency),
                    };
                    json!({"pkg": id(name), "dep_kinds": [{"kind": kind}]})
                }).collect::<Vec<_>>(),
            })).collect::<Vec<_>>()},
        });
        Graph::parse(metadata.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn paths_follow_what_runs_and_are_the_shortest() {
        let graph = graph(
            &["a"],
            &[("a", &["b", "c", "dev:tokio"]), ("b", &["c"]), ("c", &["rocksdb"]), ("rocksdb", &[]), ("tokio", &[])],
        );
        assert_eq!(graph.path("a", "rocksdb").as_deref(), Some("a → c → rocksdb"));
        assert_eq!(graph.path("a", "tokio"), None);
        assert_eq!(graph.direct("a"), ["b", "c"]);
        assert_eq!(graph.members().collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn each_version_is_a_package() {
        let graph = graph(&["a"], &[("a", &["tonic 0.14.0"]), ("tonic 0.14.0", &[]), ("tonic 0.13.0", &[])]);
        assert_eq!(graph.versions("tonic"), ["0.14.0", "0.13.0"]);
    }
}
