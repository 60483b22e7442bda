use std::{collections::BTreeMap, fmt, sync::Arc};

use async_trait::async_trait;
use datafusion::{
    catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider},
    error::{DataFusionError, Result},
};
use flaredb_core::{Catalog, TableName, catalog::DATABASE};

use crate::{Snapshot, pg_catalog, table::StoredTable};

/// Everything that names can mean in one snapshot: the stored tables and `pg_catalog`.
pub(crate) struct Database {
    schemas: BTreeMap<String, Arc<Schema>>,
}

struct Schema {
    name: String,
    catalog: Arc<Catalog>,
    snapshot: Snapshot,
}

/// The list of databases, which is always the one.
#[derive(Debug)]
pub(crate) struct Databases(Arc<Database>);

impl Databases {
    pub(crate) fn new(catalog: &Arc<Catalog>, snapshot: &Snapshot) -> Self {
        let schema = |name: &str| {
            let schema = Schema { name: name.to_owned(), catalog: catalog.clone(), snapshot: snapshot.clone() };
            (name.to_owned(), Arc::new(schema))
        };
        let schemas = catalog.schemas().chain([pg_catalog::SCHEMA]).map(schema).collect();
        Self(Arc::new(Database { schemas }))
    }
}

impl CatalogProviderList for Databases {
    fn register_catalog(&self, _: String, _: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![DATABASE.to_owned()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        (name == DATABASE).then(|| self.0.clone() as Arc<dyn CatalogProvider>)
    }
}

impl CatalogProvider for Database {
    fn schema_names(&self) -> Vec<String> {
        self.schemas.keys().cloned().collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        self.schemas.get(name).map(|schema| schema.clone() as Arc<dyn SchemaProvider>)
    }
}

#[async_trait]
impl SchemaProvider for Schema {
    fn table_names(&self) -> Vec<String> {
        if self.name == pg_catalog::SCHEMA {
            return pg_catalog::TABLES.iter().map(|name| (*name).to_owned()).collect();
        }
        self.catalog
            .tables()
            .filter(|table| table.name.schema == self.name)
            .map(|table| table.name.name.clone())
            .collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        if self.name == pg_catalog::SCHEMA {
            return pg_catalog::table(name, &self.catalog);
        }
        let table = self.catalog.table(&TableName::new(self.name.as_str(), name));
        Ok(table
            .map(|table| Arc::new(StoredTable::new(table.clone(), self.snapshot.clone())) as Arc<dyn TableProvider>))
    }

    fn table_exist(&self, name: &str) -> bool {
        if self.name == pg_catalog::SCHEMA {
            return pg_catalog::TABLES.contains(&name);
        }
        self.catalog.table(&TableName::new(self.name.as_str(), name)).is_some()
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Database").field("schemas", &self.schemas.keys()).finish()
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Schema").field("name", &self.name).finish_non_exhaustive()
    }
}
