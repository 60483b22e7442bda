//! The openraft adapter: log, group commit, network, snapshots, genesis.
