use std::time::Duration;

/// What queries may use. A query that exceeds a limit fails alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Memory of one query for sorts, joins and groups.
    pub memory_bytes: usize,
    /// Queries at a time, each on a thread of its own; more wait within their time.
    pub concurrent: usize,
    pub statement_bytes: usize,
    /// What a query may use that asks for nothing less.
    pub budget: Budget,
}

/// What one query may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    pub rows: u64,
    /// Bytes of all rows in memory.
    pub bytes: u64,
    /// From the start of planning to the last row taken.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            concurrent: 4,
            statement_bytes: 256 << 10,
            budget: Budget { rows: 10_000_000, bytes: 2 << 30, time: Duration::from_secs(30) },
        }
    }
}

impl Budget {
    /// This budget, made smaller where the caller wants less; zero asks for nothing.
    #[must_use]
    pub fn at_most(mut self, rows: u64, time: Duration) -> Self {
        if rows > 0 {
            self.rows = self.rows.min(rows);
        }
        if !time.is_zero() {
            self.time = self.time.min(time);
        }
        self
    }
}
