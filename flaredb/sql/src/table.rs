use std::{fmt, sync::Arc};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::{Constraint, Constraints},
    error::Result,
    logical_expr::{Expr, TableProviderFilterPushDown, TableType},
    physical_plan::ExecutionPlan,
};
use flaredb_core::Table;

use crate::{Snapshot, bounds, columns::table_schema, scan::KeyScan};

/// A stored table in one snapshot.
pub(crate) struct StoredTable {
    table: Arc<Table>,
    schema: SchemaRef,
    constraints: Constraints,
    snapshot: Snapshot,
}

impl StoredTable {
    pub(crate) fn new(table: Arc<Table>, snapshot: Snapshot) -> Self {
        let schema = table_schema(&table);
        let key = table.key_columns().map(|(place, _)| place).collect();
        let constraints = Constraints::new_unverified(vec![Constraint::PrimaryKey(key)]);
        Self { table, schema, constraints, snapshot }
    }
}

impl fmt::Debug for StoredTable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("StoredTable").field("name", &self.table.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for StoredTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn constraints(&self) -> Option<&Constraints> {
        Some(&self.constraints)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let places = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let bounds = bounds::of(&self.table, filters);
        let scan = KeyScan::new(self.table.clone(), &self.schema, self.snapshot.clone(), places, bounds, limit)?;
        Ok(Arc::new(scan))
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(bounds::support(&self.table, filters))
    }
}
