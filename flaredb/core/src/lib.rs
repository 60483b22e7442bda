//! Catalog, rows, migrations and commands of the replicated SQL store, pure.
