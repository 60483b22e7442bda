use chainfire_core::alarm::{Alarm, AlarmKind};
use holdfast_proto::etcdserverpb::{AlarmMember, AlarmType};

/// How clients and monitors call an alarm.
pub(crate) const fn alarm_name(kind: AlarmKind) -> &'static str {
    match kind {
        AlarmKind::NoSpace => "NOSPACE",
        AlarmKind::Corrupt => "CORRUPT",
    }
}

/// The alarm of a request; none is meant by 0, and by what later releases may add.
pub(crate) fn alarm_kind(wire: i32) -> Option<AlarmKind> {
    match AlarmType::try_from(wire) {
        Ok(AlarmType::Nospace) => Some(AlarmKind::NoSpace),
        Ok(AlarmType::Corrupt) => Some(AlarmKind::Corrupt),
        Ok(AlarmType::None) | Err(_) => None,
    }
}

pub(crate) fn alarm_member(alarm: Alarm) -> AlarmMember {
    let kind = match alarm.kind {
        AlarmKind::NoSpace => AlarmType::Nospace,
        AlarmKind::Corrupt => AlarmType::Corrupt,
    };
    AlarmMember { member_id: alarm.member, alarm: kind.into() }
}

/// An alarm among the errors of a status, as etcd's text form of the message has it.
pub(crate) fn alarm_text(alarm: Alarm) -> String {
    format!("memberID:{} alarm:{} ", alarm.member, alarm_name(alarm.kind))
}
