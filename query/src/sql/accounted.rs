//! Counts what the engine keeps without counting it against the memory that queries may use, and ends a query for whose
//! answer nobody waits any more.
//!
//! Its window operators keep whole partitions twice and count none of it, nor what they add to each row. Its joins keep one side
//! and count its columns, but not the batches themselves: a cross join of tables of which no column is asked for has nothing
//! but those. Under both stands a node that reserves what passes it until the query ends.
//!
//! Joins and subqueries that stand for a value also copy text into as many rows as a batch has, before anybody can count it.
//! The same node bounds the text of a row that goes into them: 8,192 rows × 16 KiB = 128 MiB for each side of a join.
//!
//! A join can make rows for hours of one batch of its inputs, and what stands over it takes them without a pause: the
//! engine itself pauses only where tables are read. So the node stands over joins and tables too, and there it looks
//! whether to go on.
//!
//! Windows hand on all that they kept in one batch, and the bounds on what a function may make are for a batch of the usual size. So where
//! rows only pass, larger ones are cut into such.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt64Array},
    compute::take,
    datatypes::{Schema, SchemaRef},
};
use datafusion::{
    common::{
        Result, exec_err,
        tree_node::{Transformed, TreeNode},
    },
    execution::{
        SendableRecordBatchStream, TaskContext,
        memory_pool::{MemoryConsumer, MemoryReservation},
    },
    physical_expr::{
        PhysicalExpr,
        expressions::{Column, Literal},
        window::WindowExpr,
    },
    physical_plan::{
        ChildrenPropertiesMode, ExecutionPlan, RecordBatchStream, ReplaceChildrenOptions,
        coop::make_cooperative,
        joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, SortMergeJoinExec},
        scalar_subquery::ScalarSubqueryExec,
        windows::{BoundedWindowAggExec, WindowAggExec},
    },
};
use futures::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;

use super::{
    error::refused,
    functions::{MAX_SCALAR_BYTES, longest},
    pass::{self, Pass},
};

/// What a batch takes beside its columns.
const BATCH_BYTES: usize = 256;

/// What a window's value takes while it is one by itself, and what it takes in a column, text aside.
const SCALAR_BYTES: usize = 64;
const VALUE_BYTES: usize = 16;

/// The most text of a row that is copied into other rows.
const MAX_ROW_TEXT: u64 = 16 << 10;

/// Why a node stands where it does.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Below windows, which keep every row and add so many values to each, some of them texts.
    Window { values: usize, texts: usize },
    /// Below a join, on the side that is kept.
    Kept,
    /// Below a join, on another side.
    Joined,
    /// Over a query that stands for one value.
    Value,
    /// Where rows only pass.
    Passing,
}

impl Place {
    /// The most text that a row may have here.
    const fn widest(self) -> u64 {
        match self {
            Self::Kept | Self::Joined => MAX_ROW_TEXT,
            Self::Value => MAX_SCALAR_BYTES as u64,
            Self::Window { .. } | Self::Passing => u64::MAX,
        }
    }
}

/// The same plan with what its windows and joins keep counted, which ends when `gone` is cancelled.
pub(crate) fn accounted(plan: Arc<dyn ExecutionPlan>, gone: &CancellationToken) -> Result<Arc<dyn ExecutionPlan>> {
    let over = |input, place| pass::over(Account { place, gone: gone.clone() }, input);
    plan.transform_up(|node| {
        let inputs: Vec<_> = node.children().into_iter().map(Arc::clone).collect();
        // Of a join the first input is the one that is kept.
        let (first, others) = match kind(&node)? {
            Kind::Window { values, texts } => (Place::Window { values, texts }, Place::Passing),
            Kind::Join => (Place::Kept, Place::Joined),
            Kind::SortedJoin => (Place::Joined, Place::Joined),
            Kind::Values => (Place::Passing, Place::Value),
            Kind::Other if inputs.is_empty() => return Ok(Transformed::yes(over(node, Place::Passing))),
            Kind::Other => return Ok(Transformed::no(node)),
        };
        let places = std::iter::once(first).chain(std::iter::repeat(others));
        let inputs = inputs.into_iter().zip(places).map(|(input, place)| over(input, place)).collect();
        let node = node.replace_children(inputs, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep))?;
        Ok(Transformed::yes(over(node, Place::Passing)))
    })
    .map(|changed| changed.data)
}

/// What a step of a plan does with rows.
enum Kind {
    Window {
        values: usize,
        texts: usize,
    },
    Join,
    SortedJoin,
    /// All its inputs but the first stand for one value each.
    Values,
    Other,
}

fn kind(node: &Arc<dyn ExecutionPlan>) -> Result<Kind> {
    let windows = node.downcast_ref::<WindowAggExec>().map(WindowAggExec::window_expr);
    let windows =
        windows.or_else(|| node.downcast_ref::<BoundedWindowAggExec>().map(BoundedWindowAggExec::window_expr));
    let below = node.children().first().map_or_else(|| node.schema(), |below| below.schema());
    Ok(if let Some(windows) = windows {
        Kind::Window { values: windows.len(), texts: texts(windows, &below)? }
    } else if node.is::<CrossJoinExec>() || node.is::<NestedLoopJoinExec>() || node.is::<HashJoinExec>() {
        Kind::Join
    } else if node.is::<SortMergeJoinExec>() {
        Kind::SortedJoin
    } else if node.is::<ScalarSubqueryExec>() {
        Kind::Values
    } else {
        Kind::Other
    })
}

/// How many texts windows add to a row, or keep for it. Each is one that a row below has, so that its length is known before it is
/// copied.
fn texts(windows: &[Arc<dyn WindowExpr>], below: &Schema) -> Result<usize> {
    let mut texts = 0;
    for window in windows {
        let is_text = |of: &Arc<dyn PhysicalExpr>| Ok(of.data_type(below)?.is_string());
        let takes = window.expressions().iter().map(is_text).collect::<Result<Vec<_>>>()?;
        if !window.field()?.data_type().is_string() && !takes.contains(&true) {
            continue;
        }
        texts += 1;
        if !window.expressions().iter().all(|of| of.is::<Column>() || of.is::<Literal>()) {
            return refused(
                "a window function takes no text that is calculated in its call: calculate it in a subquery",
            );
        }
    }
    Ok(texts)
}

/// What looks at rows.
#[derive(Clone, Debug)]
struct Account {
    place: Place,
    gone: CancellationToken,
}

impl Pass for Account {
    const NAME: &'static str = "AccountedExec";

    fn pass(&self, input: SendableRecordBatchStream, context: &TaskContext) -> SendableRecordBatchStream {
        let kept = MemoryConsumer::new("kept").register(context.memory_pool());
        let cut = Cut { rows: context.session_config().batch_size(), rest: None };
        let (place, gone) = (self.place, self.gone.clone());
        make_cooperative(Box::pin(Accounted { input, place, kept, bytes: 0, rows: 0, widest: 0, cut, gone }))
    }
}

struct Accounted {
    input: SendableRecordBatchStream,
    place: Place,
    kept: MemoryReservation,
    /// Of the batches that passed.
    bytes: usize,
    /// In them.
    rows: usize,
    /// The most text that one of them has.
    widest: u64,
    cut: Cut,
    gone: CancellationToken,
}

/// Cuts batches into such of `rows`.
struct Cut {
    rows: usize,
    /// What is left of a larger one, and where it begins.
    rest: Option<(RecordBatch, usize)>,
}

impl Cut {
    /// The next piece of what is left.
    fn next(&mut self) -> Option<Result<RecordBatch>> {
        let (batch, begin) = self.rest.take()?;
        let end = batch.num_rows().min(begin + self.rows);
        let piece = own(&batch, begin, end);
        self.rest = (end < batch.num_rows()).then_some((batch, end));
        Some(piece)
    }
}

/// Some rows as a batch of their own: a slice would count as the whole that it is of wherever it is kept.
fn own(batch: &RecordBatch, begin: usize, end: usize) -> Result<RecordBatch> {
    let rows = UInt64Array::from_iter_values(begin as u64..end as u64);
    let column = |column: &ArrayRef| match column.as_string_view_opt() {
        Some(texts) => Ok(Arc::new(texts.slice(begin, end - begin).gc()) as ArrayRef),
        None => take(column, &rows, None),
    };
    let columns = batch.columns().iter().map(column).collect::<Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(end - begin));
    Ok(RecordBatch::try_new_with_options(batch.schema(), columns, &options)?)
}

impl Accounted {
    /// Takes note of what passes, or says why it may not.
    fn take_note(&mut self, batch: &RecordBatch) -> Result<()> {
        if matches!(self.place, Place::Passing) {
            return Ok(());
        }
        let columns = batch.columns().iter();
        self.widest = self.widest.max(columns.map(longest).fold(0, u64::saturating_add));
        let most = self.place.widest();
        if self.widest > most {
            return refused(format!(
                "text of {} bytes would be copied into many rows, and {most} are allowed: shorten it before it is joined \
                 or compared, as left(raw_usage, 1000) does",
                self.widest
            ));
        }
        self.rows = self.rows.saturating_add(batch.num_rows());
        self.bytes = self.bytes.saturating_add(BATCH_BYTES);
        let added = match self.place {
            Place::Window { values, texts } => {
                self.bytes = self.bytes.saturating_add(batch.get_array_memory_size().saturating_mul(2));
                let widest = usize::try_from(self.widest).unwrap_or(usize::MAX);
                let row = SCALAR_BYTES + values.saturating_mul(VALUE_BYTES) + texts.saturating_mul(widest);
                self.rows.saturating_mul(row)
            }
            Place::Kept => 0,
            Place::Joined | Place::Value | Place::Passing => return Ok(()),
        };
        self.kept.try_resize(self.bytes.saturating_add(added))
    }
}

impl Stream for Accounted {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.gone.is_cancelled() {
            return Poll::Ready(Some(exec_err!("nobody waits for the answer")));
        }
        if let Some(piece) = self.cut.next() {
            return Poll::Ready(Some(piece));
        }
        let next = futures::ready!(self.input.poll_next_unpin(context));
        let Some(Ok(batch)) = next else { return Poll::Ready(next) };
        self.take_note(&batch)?;
        if matches!(self.place, Place::Passing) && batch.num_rows() > self.cut.rows {
            self.cut.rest = Some((batch, 0));
            return Poll::Ready(self.cut.next());
        }
        Poll::Ready(Some(Ok(batch)))
    }
}

impl RecordBatchStream for Accounted {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringViewArray};
    use datafusion::{physical_plan::collect, prelude::SessionContext};

    use super::{super::provider::in_memory, *};

    #[tokio::test]
    async fn what_windows_hand_on_is_cut_and_takes_no_more_room() {
        let context = SessionContext::new();
        let rows = 50_000;
        let text: ArrayRef =
            Arc::new(StringViewArray::from_iter_values((0..rows).map(|row| format!("a long text {row:09}"))));
        let number: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        let all = RecordBatch::try_from_iter([("text", text), ("number", number)]).unwrap();
        let whole = all.get_array_memory_size();
        context.register_table("t", in_memory(all).unwrap()).unwrap();
        let sql = "SELECT text, number, sum(number) OVER () AS total FROM t";
        let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        let plan = accounted(plan, &CancellationToken::new()).unwrap();
        let batches = collect(plan, context.task_ctx()).await.unwrap();
        assert!(batches.iter().all(|batch| batch.num_rows() <= 8_192));
        let numbers =
            batches.iter().flat_map(|batch| batch.column(1).as_primitive::<arrow::datatypes::Int64Type>().values());
        assert!(numbers.copied().eq(0..rows));
        let sizes = batches.iter().map(RecordBatch::get_array_memory_size);
        assert!(sizes.sum::<usize>() < 3 * whole, "slices count as the whole");
    }
}
