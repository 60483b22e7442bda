use super::COMMIT_TIMEOUT;

/// Says plainly when nodes go back by themselves, and which have nothing to go back from.
pub(super) fn sentence(changed: usize, added: usize, unchanged: usize) -> String {
    let mut sentences = Vec::new();
    if changed + added > 0 {
        sentences.push(format!(
            "If nobody confirms the version on a node within {COMMIT_TIMEOUT} (or what flor's --commit-timeout says), that \
             node rolls back by itself, whatever the others do. Nodes that sync by themselves confirm when they reach the \
             servers through it and their probes have held."
        ));
    }
    if added > 0 {
        sentences.push("A new node goes back to having no configuration.".to_owned());
    }
    match unchanged {
        0 => {}
        1 => sentences.push("1 node adopts the number and has nothing to confirm.".to_owned()),
        many => sentences.push(format!("{many} nodes adopt the number and have nothing to confirm.")),
    }
    sentences.join(" ")
}
