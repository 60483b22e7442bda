//! The repository that a new cluster begins with: what every cluster must have, and comments that say what to do.

use crate::{
    names::ClusterName,
    schema::{Part, json_schema},
};

/// Where editors find the schema of the files, as the first line of each says.
pub const SCHEMA: &str = ".flor/schema.json";

const CLUSTER: &str = "{{cluster}}";

const FILES: &[(&str, &str)] = &[
    (".gitattributes", include_str!("../../templates/gitattributes")),
    (".gitignore", include_str!("../../templates/gitignore")),
    ("README.md", include_str!("../../templates/README.md")),
    ("cluster.yaml", include_str!("../../templates/cluster.yaml")),
    ("groups.yaml", include_str!("../../templates/groups.yaml")),
    ("nodes.yaml", include_str!("../../templates/nodes.yaml")),
    ("roles.yaml", include_str!("../../templates/roles.yaml")),
    ("services.yaml", include_str!("../../templates/services.yaml")),
    ("users.yaml", include_str!("../../templates/users.yaml")),
];

/// The files of a new repository, by their paths.
pub fn repository(cluster: &ClusterName) -> Vec<(&'static str, String)> {
    let mut files: Vec<(&str, String)> =
        FILES.iter().map(|(path, text)| (*path, text.replace(CLUSTER, cluster.as_str()))).collect();
    files.push((SCHEMA, format!("{:#}\n", json_schema(Part::All))));
    files
}
