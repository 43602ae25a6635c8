//! What may differ between the engine and swtpm, each with its reason. The list is meant to stay short.

use crate::side::Exchange;

/// One permitted difference.
pub struct Exception {
    /// Which command.
    pub code: u32,
    /// The response code of the engine.
    pub engine: u32,
    /// The response code of swtpm.
    pub swtpm: u32,
    /// Why.
    pub reason: &'static str,
}

/// Permitted differences of response codes.
pub const RESPONSE_CODES: &[Exception] = &[];

/// The reason why `engine` and `swtpm` may differ, where they may.
pub fn excuse(engine: &Exchange, swtpm: &Exchange) -> Option<&'static str> {
    let code = engine.command.get(6..10)?;
    let code = u32::from_be_bytes(code.try_into().ok()?);
    RESPONSE_CODES
        .iter()
        .find(|it| it.code == code && it.engine == engine.rc() && it.swtpm == swtpm.rc())
        .map(|it| it.reason)
}

/// Whether two TPML_ALG (`G`) or TPMS_CAPABILITY_DATA (`K`) agree on what both profiles have.
pub fn same_capability(_command: &[u8], letter: char, one: &[u8], two: &[u8]) -> bool {
    let _ = letter;
    one == two
}
