use std::{fmt, sync::Arc};

use arrow::{array::RecordBatch, compute::SortOptions, datatypes::SchemaRef};
use datafusion::{
    common::tree_node::TreeNodeRecursion,
    error::{DataFusionError, Result},
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::{
        AcrossPartitions, ConstExpr, EquivalenceProperties, PhysicalExpr, PhysicalSortExpr, expressions::Column,
    },
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, SortOrderPushdownResult,
        execution_plan::{Boundedness, EmissionType, ReplaceChildrenOptions, SchedulingType},
        stream::RecordBatchStreamAdapter,
    },
};
use flaredb_core::{
    Damage, SqlState, Table,
    key::{self, Bounds},
    store::ROWS,
};
use futures::stream;
use holdfast_keyspace::{KeyRange, Order};

use crate::{Error, Snapshot, batch::BatchBuilder};

/// Rows of a batch at most; also ended by size, so that wide rows do not pile up.
const BATCH_ROWS: usize = 8_192;
const BATCH_BYTES: usize = 4 << 20;

/// Reads a key range of a stored table in key order, batch by batch.
#[derive(Clone)]
pub(crate) struct KeyScan {
    table: Arc<Table>,
    snapshot: Snapshot,
    /// Places of the columns that are read.
    projection: Arc<[usize]>,
    schema: SchemaRef,
    bounds: Arc<Bounds>,
    range: KeyRange,
    order: Order,
    limit: Option<usize>,
    properties: Arc<PlanProperties>,
}

impl KeyScan {
    pub(crate) fn new(
        table: Arc<Table>,
        schema: &SchemaRef,
        snapshot: Snapshot,
        projection: Vec<usize>,
        bounds: Bounds,
        limit: Option<usize>,
    ) -> Result<Self> {
        let schema = Arc::new(schema.project(&projection)?);
        // Filters that the bounds took over are checked nowhere else, so a wider range would be a wrong result.
        let range = key::range(&table, &bounds)
            .ok_or_else(|| Error::new(SqlState::InternalError, "the key's bounds are not of its types"))?;
        let order = Order::Ascending;
        let properties = Arc::new(properties(&table, &schema, &projection, &bounds, order));
        let (projection, bounds) = (projection.into(), Arc::new(bounds));
        Ok(Self { table, snapshot, projection, schema, bounds, range, order, limit, properties })
    }

    fn reversed(&self) -> Self {
        let order = match self.order {
            Order::Ascending => Order::Descending,
            Order::Descending => Order::Ascending,
        };
        let properties = Arc::new(properties(&self.table, &self.schema, &self.projection, &self.bounds, order));
        Self { order, properties, ..self.clone() }
    }

    /// Whether rows read backwards come in `wanted` order. Columns that the bounds fix to one value sort nothing.
    fn sorts_backwards(&self, wanted: &[PhysicalSortExpr]) -> bool {
        let descending = self.order == Order::Ascending;
        let mut keys = key_positions(&self.table, &self.projection).enumerate().peekable();
        wanted.iter().all(|sort| {
            let Some(column) = sort.expr.downcast_ref::<Column>() else { return false };
            while keys
                .next_if(|(at, (_, position))| *at < self.bounds.equal.len() && *position != Some(column.index()))
                .is_some()
            {}
            let next = keys.next().and_then(|(_, (_, position))| position);
            sort.options.descending == descending && next == Some(column.index())
        })
    }
}

/// Key columns in key order: their place, and their position in the output if they are in it.
fn key_positions<'a>(table: &'a Table, projection: &'a [usize]) -> impl Iterator<Item = (usize, Option<usize>)> + 'a {
    table.key_columns().map(|(place, _)| (place, projection.iter().position(|projected| *projected == place)))
}

/// The output is sorted by the key columns, up to the first one that is not in it. Columns that the bounds fix to one
/// value are constants instead.
fn properties(
    table: &Table,
    schema: &SchemaRef,
    projection: &[usize],
    bounds: &Bounds,
    order: Order,
) -> PlanProperties {
    let options = SortOptions { descending: order == Order::Descending, nulls_first: false };
    let column = |(place, position): (usize, Option<usize>)| -> Option<Arc<dyn PhysicalExpr>> {
        let name = &table.columns.get(place)?.name;
        Some(Arc::new(Column::new(name, position?)))
    };
    let fixed = bounds.equal.len();
    let constants = key_positions(table, projection).take(fixed).filter_map(column);
    let constants: Vec<_> = constants.map(|column| ConstExpr::new(column, AcrossPartitions::Uniform(None))).collect();
    let sorted = key_positions(table, projection).skip(fixed).map_while(column);
    let ordering: Vec<_> = sorted.map(|column| PhysicalSortExpr::new(column, options)).collect();
    let mut equivalence = EquivalenceProperties::new(schema.clone());
    equivalence.add_ordering(ordering);
    // Whether there is a row at all is not known, but all rows have the same value.
    if let Err(error) = equivalence.add_constants(constants) {
        tracing::debug!(%error, "constant columns not told to the engine");
    }
    PlanProperties::new(
        equivalence,
        Partitioning::UnknownPartitioning(1),
        EmissionType::Incremental,
        Boundedness::Bounded,
    )
    .with_scheduling_type(SchedulingType::Cooperative)
}

impl fmt::Debug for KeyScan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("KeyScan").field("table", &self.table.name).finish_non_exhaustive()
    }
}

impl DisplayAs for KeyScan {
    fn fmt_as(&self, _: DisplayFormatType, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "KeyScan: table={}, key columns fixed={}", self.table.name, self.bounds.equal.len())?;
        if self.bounds.lower.is_some() || self.bounds.upper.is_some() {
            write!(out, ", next column bounded")?;
        }
        if self.order == Order::Descending {
            write!(out, ", backwards")?;
        }
        match self.limit {
            Some(limit) => write!(out, ", limit={limit}"),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for KeyScan {
    fn name(&self) -> &'static str {
        "KeyScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let batch_rows = context.session_config().batch_size().clamp(1, BATCH_ROWS);
        let batches = Batches { scan: self.clone(), rest: Some(self.range.clone()), left: self.limit, batch_rows };
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), stream::iter(batches))))
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        Some(Arc::new(Self { limit, ..self.clone() }))
    }

    fn fetch(&self) -> Option<usize> {
        self.limit
    }

    fn try_pushdown_sort(
        &self,
        wanted: &[PhysicalSortExpr],
    ) -> Result<SortOrderPushdownResult<Arc<dyn ExecutionPlan>>> {
        // A limit counts from the side where the scan begins, so it must not be turned around.
        if self.limit.is_none() && self.sorts_backwards(wanted) {
            return Ok(SortOrderPushdownResult::Exact { inner: Arc::new(self.reversed()) });
        }
        Ok(SortOrderPushdownResult::Unsupported)
    }
}

/// The scan in progress. Each batch seeks anew behind the last key, so nothing is held open between batches but the
/// snapshot. It reads where it is polled: on the threads that do nothing but run queries.
struct Batches {
    scan: KeyScan,
    rest: Option<KeyRange>,
    left: Option<usize>,
    batch_rows: usize,
}

impl Batches {
    fn batch(&mut self, mut range: KeyRange) -> Result<Option<RecordBatch>, Error> {
        let scan = &self.scan;
        let rows = self.left.unwrap_or(self.batch_rows).min(self.batch_rows);
        let mut builder = BatchBuilder::new(scan.table.clone(), scan.schema.clone(), &scan.projection);
        let (mut count, mut bytes, mut last) = (0, 0, None);
        for pair in scan.snapshot.scan(ROWS, range.clone(), scan.order).take(rows) {
            let (key, value) = pair.map_err(Damage::from)?;
            builder.push(&key, &value)?;
            count += 1;
            bytes += key.len() + value.len();
            last = Some(key);
            if bytes >= BATCH_BYTES {
                break;
            }
        }
        let Some(mut last) = last else { return Ok(None) };
        match scan.order {
            Order::Ascending => {
                last.push(0);
                range.start = last;
            }
            Order::Descending => range.end = Some(last),
        }
        self.rest = Some(range);
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(count);
        }
        builder.finish().map(Some)
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let range = self.rest.take().filter(|_| self.left != Some(0))?;
        self.batch(range).map_err(DataFusionError::from).transpose()
    }
}
