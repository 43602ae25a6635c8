//! Assertions about the state of the TPM: PCRs, the data of an NV index, time.

use core::cmp::Ordering;

use super::{extend, is_trial, read_digest, session, session_mut};
use crate::clock;
use crate::codec::{Reader, build, to_buf};
use crate::context::Context;
use crate::crypto::hash::digest;
use crate::nv;
use crate::rc::{Rc, Result};
use crate::types::{PcrSelections, cc};

/// Most bytes of a TPML_PCR_SELECTION.
const SELECTIONS: usize = 4 + 6 * crate::limits::HASH_COUNT;
/// Bytes of TPMS_TIME_INFO.
const TIME_INFO: usize = 25;

/// TPM2_PolicyPCR.
pub(crate) fn policy_pcr(cx: &mut Context<'_>) -> Result<()> {
    let expected = read_digest(cx)?;
    let mut selections: PcrSelections = cx.params.get()?;
    cx.params.end()?;
    cx.s.pcr.filter(&mut selections);
    let counter = cx.s.reset.pcr_counter;
    let trial = is_trial(session(cx, 0)?);
    let hash = session(cx, 0)?.hash;
    let known = session(cx, 0)?.policy.pcr_counter;
    let current = cx.s.pcr.composite(hash, &selections);
    if !trial {
        if known.is_some_and(|known| known != counter) {
            return Err(Rc::PCR_CHANGED);
        }
        if !expected.is_empty() && current != *expected {
            return Err(Rc::VALUE.param(1));
        }
    }
    let value = if trial && !expected.is_empty() {
        expected
    } else {
        &current
    };
    let selections = to_buf::<SELECTIONS>(&selections)?;
    let session = session_mut(cx, 0)?;
    extend(session, cc::POLICY_PCR, &[&selections, value]);
    if !trial {
        session.policy.pcr_counter = Some(counter);
    }
    Ok(())
}

/// TPM_EO.
#[derive(Clone, Copy)]
struct Operation(u16);

impl Operation {
    fn read(r: &mut Reader<'_>) -> Result<Operation> {
        match r.u16()? {
            code @ 0..=0x0B => Ok(Operation(code)),
            _ => Err(Rc::VALUE),
        }
    }

    /// Whether `a` and `b`, of one length, are as the operation says. The first byte is the highest.
    fn holds(self, a: &[u8], b: &[u8]) -> bool {
        let unsigned = a.cmp(b);
        // Part 2 §6.8 does not say how a negative number looks. Of two of them, TPMs in use call the one with the larger
        // rest the lesser, and tpm2-tools' own test of TPM2_PolicyNV wants that.
        let sign = |n: &[u8]| n.first().is_some_and(|byte| byte & 0x80 != 0);
        let signed = match (sign(a), sign(b)) {
            (true, true) => unsigned.reverse(),
            (a, b) => b.cmp(&a).then(unsigned),
        };
        let bits = |f: fn(u8, u8) -> bool| a.iter().zip(b).all(|(a, b)| f(*a, *b));
        match self.0 {
            0x00 => unsigned == Ordering::Equal,
            0x01 => unsigned != Ordering::Equal,
            0x02 => signed == Ordering::Greater,
            0x03 => unsigned == Ordering::Greater,
            0x04 => signed == Ordering::Less,
            0x05 => unsigned == Ordering::Less,
            0x06 => signed != Ordering::Less,
            0x07 => unsigned != Ordering::Less,
            0x08 => signed != Ordering::Greater,
            0x09 => unsigned != Ordering::Greater,
            0x0A => bits(|a, b| a & b == b),
            _ => bits(|a, b| a & b == 0),
        }
    }
}

/// Operand B, offset and operation, as both commands have them.
struct Condition<'a> {
    operand: &'a [u8],
    offset: u16,
    operation: Operation,
}

impl<'a> Condition<'a> {
    fn read(cx: &mut Context<'a>) -> Result<Condition<'a>> {
        let condition = Condition {
            operand: read_digest(cx)?,
            offset: cx.params.get()?,
            operation: cx.params.with(Operation::read)?,
        };
        cx.params.end()?;
        Ok(condition)
    }

    /// What of `data` is compared with operand B.
    fn operand_a<'d>(&self, data: &'d [u8], long: Rc) -> Result<&'d [u8]> {
        data.get(usize::from(self.offset)..)
            .ok_or(Rc::VALUE.param(2))?
            .get(..self.operand.len())
            .ok_or(long)
    }

    /// Whether it holds for `data`; `long` is for an operand that does not fit behind the offset.
    fn check(&self, data: &[u8], long: Rc) -> Result<()> {
        let a = self.operand_a(data, long)?;
        if self.operation.holds(a, self.operand) {
            Ok(())
        } else {
            Err(Rc::POLICY)
        }
    }

    /// Extends the digest of the session in handle `n`.
    fn extend(&self, cx: &mut Context<'_>, n: usize, code: u32, name: &[u8]) -> Result<()> {
        let session = session_mut(cx, n)?;
        let args = digest(
            session.hash,
            &[
                self.operand,
                &self.offset.to_be_bytes(),
                &self.operation.0.to_be_bytes(),
            ],
        );
        extend(session, code, &[&args, name]);
        Ok(())
    }
}

/// TPM2_PolicyNV.
pub(crate) fn policy_nv(cx: &mut Context<'_>) -> Result<()> {
    let condition = Condition::read(cx)?;
    let index = cx.handle(1);
    if !is_trial(session(cx, 2)?) {
        nv::read_access(cx.s, cx.handle(0), index)?;
        let data = cx.s.nv.data(index).ok_or(Rc::NV_UNINITIALIZED)?;
        condition.check(data, Rc::SIZE.param(1))?;
    }
    let name = cx.s.name(index);
    condition.extend(cx, 2, cc::POLICY_NV, &name)
}

/// TPM2_PolicyCounterTimer.
pub(crate) fn policy_counter_timer(cx: &mut Context<'_>) -> Result<()> {
    let condition = Condition::read(cx)?;
    let info = build::<TIME_INFO>(|w| clock::put_time_info(cx.s, w))?;
    // Unlike an index, what is compared has a size that a trial session can be held to as well.
    condition.operand_a(&info, Rc::RANGE)?;
    if !is_trial(session(cx, 0)?) {
        condition.check(&info, Rc::RANGE)?;
    }
    condition.extend(cx, 0, cc::POLICY_COUNTER_TIMER, &[])
}
