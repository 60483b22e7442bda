//! Service life-cycle: stop signals, supervised tasks.
