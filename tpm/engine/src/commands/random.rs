//! Part 3 §16: random numbers.

use crate::buf::{Buf, Secret};
use crate::context::Context;
use crate::crypto::drbg::Rng;
use crate::limits::MAX_DIGEST;
use crate::rc::Result;

/// TPM2_GetRandom: at most as many bytes as the largest digest has.
pub(crate) fn get_random(cx: &mut Context<'_>) -> Result<()> {
    let wanted: u16 = cx.params.get()?;
    cx.params.end()?;
    let mut random: Buf<MAX_DIGEST> = Buf::zeroed(usize::from(wanted));
    cx.rng()?.fill(random.as_mut_slice());
    cx.out.put(&random);
    Ok(())
}

/// TPM2_StirRandom.
pub(crate) fn stir_random(cx: &mut Context<'_>) -> Result<()> {
    let data: Secret<128> = cx.params.get()?;
    cx.params.end()?;
    cx.rng()?.stir(&data);
    Ok(())
}
