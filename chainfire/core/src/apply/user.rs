//! Commands of the user keyspace: check everything, then change, then tell watchers and the journal.

use std::sync::Arc;

use holdfast_keyspace::{Overlay, Write};

use super::{LogPosition, replicated};
use crate::{
    Effect, Envelope, Failure, Halt, UserAnswer, UserCommand, UserError, UserRefusal, alarm,
    auth::{self, AuthCommand, Change, Demand, Ended, Judge, KeyAccess, Login},
    journal::{AuditPolicy, Entry, Recorder},
    kv::{self, Budget, Keys, RevisionEvents, TxnOp, Writer},
    lease::{self, LeaseExpire, LeaseGrant, LeaseId, LeaseRevoke},
};

pub(super) fn apply(
    state: &mut dyn Write,
    at: LogPosition,
    envelope: &Envelope,
    command: &UserCommand,
    recorder: &mut Recorder<'_>,
    effects: &mut Vec<Effect>,
) -> Result<Result<UserAnswer, UserRefusal>, Halt> {
    if let Some(error) = alarm::refusal(&alarm::alarms(&*state)?, command) {
        return Ok(Err(UserRefusal { error, revision: kv::current_revision(&*state)? }));
    }
    let judge = Judge::new(&*state, &envelope.origin)?;
    let mut call = Call { state, judge, at, time_ms: envelope.time_ms, recorder, effects };
    let outcome = match command {
        UserCommand::Put(put) => call.put(put),
        UserCommand::DeleteRange(delete) => call.delete_range(delete),
        UserCommand::Txn(txn) => call.txn(txn),
        UserCommand::Compact(request) => call.compact(*request),
        UserCommand::LeaseGrant(grant) => call.grant(*grant),
        UserCommand::LeaseRevoke(revoke) => call.revoke(*revoke),
        UserCommand::LeaseExpire(expire) => call.expire(expire),
        UserCommand::Auth(command) => call.auth(command),
        UserCommand::Login(login) => call.log_in(login),
    };
    match replicated(outcome)? {
        Ok(answer) => Ok(Ok(answer)),
        Err(error) => Ok(Err(UserRefusal { error, revision: kv::current_revision(&*call.state)? })),
    }
}

/// One command on its way.
struct Call<'a, 'r> {
    state: &'a mut dyn Write,
    /// Of the state before the command.
    judge: Judge,
    at: LogPosition,
    time_ms: u64,
    recorder: &'a mut Recorder<'r>,
    effects: &'a mut Vec<Effect>,
}

impl Call<'_, '_> {
    fn put(&mut self, put: &kv::Put) -> Result<UserAnswer, Failure> {
        kv::check_put(put)?;
        Demand::put(put, &mut |demand| self.judge.allows(&*self.state, demand))?;
        kv::check_put_state(&*self.state, put)?;
        self.check_journal(|policy| policy.touches(&Keys::One(put.key.clone())))?;
        let mut writer = Writer::new(self.state)?;
        let answer = kv::put(&mut writer, put)?;
        let changed = writer.finish()?;
        self.publish(changed)?;
        Ok(UserAnswer::Put(answer))
    }

    fn delete_range(&mut self, delete: &kv::DeleteRange) -> Result<UserAnswer, Failure> {
        kv::check_keys(&delete.keys)?;
        Demand::delete(delete, &mut |demand| self.judge.allows(&*self.state, demand))?;
        self.check_journal(|policy| policy.touches(&delete.keys))?;
        let mut writer = Writer::new(self.state)?;
        let answer = kv::delete_range(&mut writer, delete)?;
        let changed = writer.finish()?;
        self.publish(changed)?;
        Ok(UserAnswer::DeleteRange(answer))
    }

    fn txn(&mut self, txn: &kv::Txn) -> Result<UserAnswer, Failure> {
        // How many operations are allowed is the accepting server's setting; the rest must hold whoever proposed it.
        kv::check_txn(txn, usize::MAX)?;
        Demand::txn(txn, &mut |demand| self.judge.allows(&*self.state, demand))?;
        let mut budget = Budget::of_entry();
        let path = kv::choose(&*self.state, txn, &mut budget)?;
        kv::check_path(&*self.state, &path)?;
        self.check_journal(|policy| {
            path.ops().into_iter().any(|op| match op {
                TxnOp::Put(put) => policy.touches(&Keys::One(put.key.clone())),
                TxnOp::DeleteRange(delete) => policy.touches(&delete.keys),
                TxnOp::Range(_) | TxnOp::Txn(_) => false,
            })
        })?;
        let mut attempt = Overlay::new(&*self.state);
        let mut writer = Writer::new(&mut attempt)?;
        let answer = kv::run(&mut writer, &path, &mut budget)?;
        let changed = writer.finish()?;
        let changes: Vec<_> = attempt.into_changes().collect();
        changes.into_iter().for_each(|change| change.apply(self.state));
        self.publish(changed)?;
        Ok(UserAnswer::Txn(answer))
    }

    fn compact(&mut self, request: kv::Compact) -> Result<UserAnswer, Failure> {
        self.judge.admin()?;
        self.check_reserve()?;
        let revision = kv::compact(self.state, request)?;
        self.record("kv.Compact", format!("revision/{}", request.revision))?;
        self.effects.push(Effect::Compacted(request.revision));
        Ok(UserAnswer::Compact { revision })
    }

    fn grant(&mut self, grant: LeaseGrant) -> Result<UserAnswer, Failure> {
        self.judge.known()?;
        self.check_journal(|policy| !policy.is_silent())?;
        let ttl = lease::grant(self.state, grant, self.time_ms, self.at.index)?;
        self.record_lease("lease.Grant", grant.id)?;
        self.effects.push(Effect::LeaseGranted { id: grant.id, ttl });
        Ok(UserAnswer::LeaseGrant { revision: kv::current_revision(&*self.state)?, id: grant.id, ttl })
    }

    fn revoke(&mut self, revoke: LeaseRevoke) -> Result<UserAnswer, Failure> {
        self.judge.allows(&*self.state, Demand::Lease(KeyAccess::Write, revoke.id))?;
        if lease::lease(&*self.state, revoke.id)?.is_none() {
            return Err(UserError::LeaseNotFound.into());
        }
        self.check_journal(|policy| !policy.is_silent())?;
        self.end_lease("lease.Revoke", revoke.id)?;
        Ok(UserAnswer::LeaseRevoke { revision: kv::current_revision(&*self.state)? })
    }

    fn expire(&mut self, expire: &LeaseExpire) -> Result<UserAnswer, Failure> {
        self.judge.admin()?;
        let mut expired = 0;
        if expire.term == self.at.term {
            if !self.recorder.policy().is_silent() {
                self.check_reserve()?;
            }
            for over in &expire.leases {
                let lease = lease::lease(&*self.state, over.id)?;
                if lease.is_some_and(|lease| lease.granted_at == over.granted_at) {
                    self.end_lease("lease.Expire", over.id)?;
                    expired += 1;
                }
            }
        }
        Ok(UserAnswer::LeaseExpire { revision: kv::current_revision(&*self.state)?, expired })
    }

    fn auth(&mut self, command: &AuthCommand) -> Result<UserAnswer, Failure> {
        self.judge.admin()?;
        self.check_reserve()?;
        if let Some(Change { action, resource, ended }) = auth::manage(self.state, command)? {
            self.record(action, resource)?;
            match ended {
                Ended::Nothing => {}
                Ended::User(user) => self.effects.push(Effect::TokensEnded { user: Some(user) }),
                Ended::All => self.effects.push(Effect::TokensEnded { user: None }),
            }
        }
        Ok(UserAnswer::Auth { revision: kv::current_revision(&*self.state)? })
    }

    /// The one command that is for those who are not known yet: the password was its proof.
    fn log_in(&mut self, login: &Login) -> Result<UserAnswer, Failure> {
        auth::log_in(&*self.state, login)?;
        let Login { user, token, .. } = login.clone();
        self.effects.push(Effect::TokenIssued { token, user, index: self.at.index, issued_ms: self.time_ms });
        Ok(UserAnswer::Login { revision: kv::current_revision(&*self.state)?, index: self.at.index })
    }

    /// One lease and its keys, in one revision.
    fn end_lease(&mut self, action: &str, id: LeaseId) -> Result<(), Halt> {
        let mut writer = Writer::new(self.state)?;
        lease::end(&mut writer, id)?;
        let changed = writer.finish()?;
        self.record_lease(action, id)?;
        self.publish(changed)?;
        self.effects.push(Effect::LeaseRevoked { id });
        Ok(())
    }

    fn publish(&mut self, changed: Option<RevisionEvents>) -> Result<(), Halt> {
        let Some(changed) = changed else { return Ok(()) };
        kv::record_time(self.state, changed.revision, self.time_ms)?;
        self.recorder.record_events(self.state, &changed)?;
        self.effects.push(Effect::Revision(Arc::new(changed)));
        Ok(())
    }

    fn record_lease(&mut self, action: &str, id: LeaseId) -> Result<(), Halt> {
        if self.recorder.policy().is_silent() {
            return Ok(());
        }
        self.record(action, format!("lease/{:x}", id.0))
    }

    fn record(&mut self, action: &str, resource: String) -> Result<(), Halt> {
        self.recorder.record(self.state, Entry { action: action.into(), resource, ..Entry::default() })
    }

    /// A write that needs a record waits until the journal has room.
    fn check_journal(&self, needs_record: impl FnOnce(&AuditPolicy) -> bool) -> Result<(), UserError> {
        if self.recorder.is_full() && needs_record(self.recorder.policy()) {
            return Err(UserError::TooManyRequests);
        }
        Ok(())
    }

    /// The servers' own work and administration may use the reserve.
    fn check_reserve(&self) -> Result<(), UserError> {
        if self.recorder.is_exhausted() { Err(UserError::TooManyRequests) } else { Ok(()) }
    }
}
