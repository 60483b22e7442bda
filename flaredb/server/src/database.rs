use std::{
    io,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use chainfire_core::Origin;
use chainfire_raft::{Group, Status, View};
use datafusion::sql::sqlparser::ast;
use flaredb_core::{
    Answer, Author, Command, Envelope, Migrate, MigrationFile, MigrationSet, SqlState, apply, catalog::Alteration,
    store,
};
use flaredb_sql::{Budget, Described, Engine, Error, MakeValues, Rows, Snapshot, ddl};
use holdfast_keyspace::Overlay;
use tokio::time::{Instant, timeout_at};

use crate::{
    Config, FlaredbMachine,
    answer::{not_proposed, not_readable},
};

/// What a read waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// Everything acknowledged anywhere before the read began is visible; needs a quorum.
    #[default]
    Strong,
    /// What this server has applied.
    Local,
}

/// flaredb on this server. Clones share it.
#[derive(Clone)]
pub struct Flaredb {
    inner: Arc<Inner>,
}

struct Inner {
    group: Group<FlaredbMachine>,
    engine: Engine,
    config: Config,
}

/// A migration that was planned or applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    pub file: MigrationFile,
    pub outcome: Outcome,
    /// One line for each statement.
    pub steps: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A dry run found nothing against it.
    Planned,
    Applied,
    /// The same file was applied before.
    AlreadyApplied,
}

/// How often a number that somebody else takes at the same moment is followed by another try.
const NUMBERS_TRIED: usize = 8;

impl Flaredb {
    /// Fails only if the system gives no threads.
    pub fn new(group: Group<FlaredbMachine>, config: Config) -> io::Result<Self> {
        let engine = Engine::new(config.limits)?;
        Ok(Self { inner: Arc::new(Inner { group, engine, config }) })
    }

    pub fn config(&self) -> &Config {
        &self.inner.config
    }

    pub fn raft_status(&self) -> Status {
        self.inner.group.status()
    }

    pub(crate) fn group(&self) -> &Group<FlaredbMachine> {
        &self.inner.group
    }

    /// A view of the state that satisfies `consistency`.
    pub async fn view(&self, consistency: Consistency) -> Result<View, Error> {
        if consistency == Consistency::Strong {
            self.inner.group.read_index().await.map_err(not_readable)?;
        }
        Ok(self.inner.group.state().snapshot())
    }

    /// What a statement takes and gives, by this server's catalog.
    pub(crate) async fn describe(&self, statement: &ast::Statement) -> Result<Described, Error> {
        let snapshot: Snapshot = Arc::new(self.inner.group.state().snapshot());
        self.inner.engine.describe(snapshot, statement).await
    }

    /// Runs a query; returns its rows and the log index of the state that they come from.
    pub(crate) async fn query(
        &self,
        statement: &ast::Statement,
        values: MakeValues,
        consistency: Consistency,
        budget: Budget,
    ) -> Result<(Rows, u64), Error> {
        let deadline = Instant::now() + budget.time;
        let waited = timeout_at(deadline, self.view(consistency)).await;
        let view =
            waited.map_err(|_| Error::new(SqlState::QueryCanceled, "no quorum answered within the query's time"))??;
        let index = view.applied().map_err(flaredb_core::Damage::from)?;
        let budget = Budget { time: deadline.saturating_duration_since(Instant::now()), ..budget };
        let rows = self.inner.engine.query(Arc::new(view), statement, values, budget).await?;
        Ok((rows, index))
    }

    /// Plans (`dry_run`) or applies a migration file.
    pub async fn migrate(
        &self,
        origin: &Origin,
        set: MigrationSet,
        file: MigrationFile,
        dry_run: bool,
    ) -> Result<Migration, Error> {
        let statements = ddl::parse(&file.sql)?;
        let steps = statements.iter().map(Alteration::describe).collect();
        let command = Command::Migrate(Migrate {
            set,
            number: file.number,
            name: file.name.clone(),
            checksum: file.checksum,
            phase: file.phase,
            statements,
        });
        let answer =
            if dry_run { self.rehearse(origin, command).await? } else { self.propose(origin, command).await? };
        match answer {
            Answer::Migrated { already, .. } => {
                let outcome = match (already, dry_run) {
                    (true, _) => Outcome::AlreadyApplied,
                    (false, true) => Outcome::Planned,
                    (false, false) => Outcome::Applied,
                };
                Ok(Migration { file, outcome, steps })
            }
            Answer::Refused(refusal) => Err(refusal.into()),
            other => Err(unexpected(&other)),
        }
    }

    /// Runs data definition as the operator's next migration.
    pub async fn execute(&self, origin: &Origin, sql: &str) -> Result<Migration, Error> {
        // Refused before anything is numbered.
        ddl::parse(sql)?;
        for _ in 0..NUMBERS_TRIED {
            let view = self.view(Consistency::Strong).await?;
            let number = store::last_migration(&view, MigrationSet::Operator)?.saturating_add(1);
            let file = MigrationFile::parse(&format!("{number:04}_execute.sql"), &format!("-- phase: expand\n{sql}"))?;
            match self.migrate(origin, MigrationSet::Operator, file, false).await {
                // Somebody else took the number meanwhile.
                Err(error) if error.state == SqlState::ObjectNotInPrerequisiteState => {}
                Ok(Migration { outcome: Outcome::AlreadyApplied, .. }) => {}
                ended => return ended,
            }
        }
        Err(Error::new(SqlState::ObjectNotInPrerequisiteState, "others keep taking the next migration's number"))
    }

    pub(crate) async fn propose(&self, origin: &Origin, command: Command) -> Result<Answer, Error> {
        let bytes = envelope(origin, command)?;
        let committed = self.inner.group.propose(bytes).await.map_err(not_proposed)?;
        Answer::decode(&committed.answer).map_err(|error| {
            Error::new(SqlState::InternalError, format!("the leader's answer is not understood: {error}"))
        })
    }

    /// What applying `command` now would answer.
    async fn rehearse(&self, origin: &Origin, command: Command) -> Result<Answer, Error> {
        let bytes = envelope(origin, command)?;
        let view = self.view(Consistency::Strong).await?;
        let index = view.applied().map_err(flaredb_core::Damage::from)?;
        Ok(apply::apply(&mut Overlay::new(&view), index.saturating_add(1), &bytes)?.answer)
    }
}

fn envelope(origin: &Origin, command: Command) -> Result<Vec<u8>, Error> {
    let author = author(origin);
    Envelope { time_ms: now_ms(), author, command }
        .encode()
        .map_err(|error| Error::new(SqlState::InternalError, format!("the command cannot be written: {error}")))
}

pub(crate) fn author(origin: &Origin) -> Author {
    Author {
        principal: origin.principal.clone(),
        authenticated_by: origin.authenticated_by.as_str().to_owned(),
        source: origin.source.clone(),
        token_id: origin.token_id.clone(),
        request_id: origin.request_id.clone(),
    }
}

pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn unexpected(answer: &Answer) -> Error {
    Error::new(SqlState::InternalError, format!("unexpected answer {answer:?}"))
}
