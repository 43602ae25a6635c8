//! Power on (_TPM_Init): the state is read from the store, or made where there is none.

use alloc::boxed::Box;

use zeroize::Zeroizing;

use super::{NV_DATA, ORDERLY, PERMANENT, SCRATCH, commit, layout};
use crate::codec::Reader;
use crate::crypto::drbg::Drbg;
use crate::nv::NvIndex;
use crate::object::Object;
use crate::platform::Platform;
use crate::rc::{Rc, Result};
use crate::state::{Mode, Seeds, Shutdown, State};
use crate::types::hr;

/// What is there after _TPM_Init: a TPM that waits for TPM2_Startup, or one in failure mode where the platform or its store
/// is at fault.
pub(crate) fn power_on(platform: &mut dyn Platform) -> Box<State> {
    // A constant: built where it stands in the heap, not on a stack that may be small.
    let mut s = Box::new(const { State::blank() });
    if fill(&mut s, platform).is_err() {
        s.mode = Mode::Failure;
        s.dirty.clear();
    }
    s
}

fn fill(s: &mut State, platform: &mut dyn Platform) -> Result<()> {
    s.scratch
        .try_reserve_exact(SCRATCH)
        .map_err(|_| Rc::MEMORY)?;
    s.scratch.resize(SCRATCH, 0);
    let mut entropy = Zeroizing::new([0; 64]);
    platform
        .entropy(entropy.as_mut())
        .map_err(|_| Rc::FAILURE)?;
    s.drbg = Drbg::instantiate(entropy.as_ref(), b"TPM");
    s.clock.power_on(platform.now_ms());
    s.clock.epoch = crate::clock::new_epoch(&mut s.drbg);
    if read(s, platform)? {
        Ok(())
    } else {
        manufacture(s);
        commit(s, platform)
    }
}

/// Reads the store. Whether there is a TPM in it.
fn read(s: &mut State, platform: &mut dyn Platform) -> Result<bool> {
    let mut any = false;
    let mut permanent = false;
    let mut result = Ok(());
    // Records come in any order: data of indices once all indices are there.
    for data in [false, true] {
        platform
            .load(&mut |key, value| {
                any = true;
                permanent |= key == PERMANENT;
                if result.is_ok() && data == (hr::of(key) == NV_DATA) {
                    let mut r = Reader::new(value);
                    result = record(s, key, &mut r)
                        .and_then(|()| if r.is_empty() { Ok(()) } else { Err(Rc::SIZE) });
                }
            })
            .map_err(|_| Rc::FAILURE)?;
    }
    result?;
    if !any {
        return Ok(false);
    }
    let whole = permanent
        && s.nv.is_whole()
        && (s.perm.shutdown == Shutdown::State) == s.orderly_record
        && s.perm.derivation_version == crate::object::primary::VERSION;
    if !whole {
        return Err(Rc::FAILURE);
    }
    s.pcr.allocated = s.perm.pcr_allocated;
    s.clock.clock = s.perm.clock;
    Ok(true)
}

fn record(s: &mut State, key: u32, r: &mut Reader<'_>) -> Result<()> {
    match (key, hr::of(key)) {
        (PERMANENT, _) => layout::take_permanent(&mut s.perm, r),
        (ORDERLY, _) => {
            s.orderly_record = true;
            layout::take_orderly(s, r)
        }
        (_, NV_DATA) => s.nv.load_data(hr::NV_INDEX | hr::index(key), r),
        (_, hr::NV_INDEX) => s.nv.insert(NvIndex::restore(key, r)?),
        (_, hr::PERSISTENT) => {
            let object = Object::restore(r)?;
            let list = &mut s.objects.persistent;
            let Err(at) = list.binary_search_by_key(&key, |(handle, _)| *handle) else {
                return Err(Rc::VALUE);
            };
            list.try_reserve(1).map_err(|_| Rc::MEMORY)?;
            list.insert(at, (key, object));
            Ok(())
        }
        _ => Err(Rc::VALUE),
    }
}

/// A TPM that nobody has owned yet.
fn manufacture(s: &mut State) {
    for seeds in [
        &mut s.perm.endorsement_seeds,
        &mut s.perm.owner_seeds,
        &mut s.perm.platform_seeds,
    ] {
        new_seeds(seeds, &mut s.drbg);
    }
    s.dirty.permanent();
}

/// A new seed and a new proof value.
pub(crate) fn new_seeds(seeds: &mut Seeds, drbg: &mut Drbg) {
    new_secret(&mut seeds.seed, drbg);
    new_secret(&mut seeds.proof, drbg);
}

/// As many random bytes as a seed or proof value has.
pub(crate) fn new_secret(
    secret: &mut crate::buf::Secret<{ crate::limits::MAX_AUTH }>,
    drbg: &mut Drbg,
) {
    *secret = crate::buf::Secret::zeroed(crate::limits::MAX_AUTH);
    drbg.generate(secret.as_mut_slice());
}
