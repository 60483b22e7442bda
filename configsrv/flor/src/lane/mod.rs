//! The fast lane of revocation: who is subtracted from every allow list here, whatever version runs. It only narrows, so
//! it takes neither a turn nor a guard: it is written down first, and counts at once.

mod keeper;
mod record;
mod view;
mod watch;

pub(crate) use keeper::Lane;
pub(crate) use record::LaneRecord;
pub(crate) use view::LaneView;
pub(crate) use watch::run;
