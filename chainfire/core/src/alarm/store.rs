use holdfast_format::kind;
use holdfast_keyspace::{Read, Write};

use super::Alarm;
use crate::{
    Halt,
    format::{decode_record, encode_record},
    meta, table,
};

/// All alarms, by member and kind.
pub fn alarms(read: &dyn Read) -> Result<Vec<Alarm>, Halt> {
    let bytes = read.get(table::META, meta::ALARMS.as_bytes())?;
    Ok(bytes.map(|bytes| decode_record(kind::ALARMS, &bytes)).transpose()?.unwrap_or_default())
}

/// Whether the alarm was not active before.
pub(crate) fn raise(state: &mut dyn Write, alarm: Alarm) -> Result<bool, Halt> {
    let mut active = alarms(&*state)?;
    let Err(place) = active.binary_search(&alarm) else { return Ok(false) };
    active.insert(place, alarm);
    set(state, &active)?;
    Ok(true)
}

/// Whether the alarm was active before.
pub(crate) fn clear(state: &mut dyn Write, alarm: Alarm) -> Result<bool, Halt> {
    let mut active = alarms(&*state)?;
    let Ok(place) = active.binary_search(&alarm) else { return Ok(false) };
    active.remove(place);
    set(state, &active)?;
    Ok(true)
}

fn set(state: &mut dyn Write, alarms: &[Alarm]) -> Result<(), Halt> {
    let key = meta::ALARMS.as_bytes().to_vec();
    if alarms.is_empty() {
        state.delete(table::META, key);
    } else {
        state.put(table::META, key, encode_record(kind::ALARMS, &alarms)?);
    }
    Ok(())
}
