//! Part 3 §30: capabilities.

use crate::audit;
use crate::codec::Writer;
use crate::command_table::COMMANDS;
use crate::context::Context;
use crate::limits::{MAX_CAP_DATA, PCR_COUNT, PCR_SELECT};
use crate::pcr;
use crate::properties;
use crate::rc::{Rc, Result};
use crate::state::Policy;
use crate::types::{Curve, Parameters, alg, cap, hr, rh};

/// Algorithms of the profile with their TPMA_ALGORITHM (Part 2 §8.2): 1 asymmetric, 2 symmetric, 4 hash, 8 object,
/// 0x100 signing, 0x200 encrypting, 0x400 method.
const ALGORITHMS: &[(u16, u32)] = &[
    (alg::RSA, 0x009),
    (alg::SHA1, 0x004),
    (alg::HMAC, 0x104),
    (alg::AES, 0x002),
    (alg::MGF1, 0x404),
    (alg::KEYEDHASH, 0x30C),
    (alg::XOR, 0x006),
    (alg::SHA256, 0x004),
    (alg::SHA384, 0x004),
    (alg::SHA512, 0x004),
    (alg::RSASSA, 0x101),
    (alg::RSAES, 0x201),
    (alg::RSAPSS, 0x101),
    (alg::OAEP, 0x201),
    (alg::ECDSA, 0x101),
    (alg::ECDH, 0x401),
    (alg::ECDAA, 0x101),
    (alg::ECSCHNORR, 0x101),
    (alg::KDF1_SP800_56A, 0x404),
    (alg::KDF1_SP800_108, 0x404),
    (alg::ECC, 0x009),
    (alg::SYMCIPHER, 0x008),
    (alg::CTR, 0x202),
    (alg::OFB, 0x202),
    (alg::CBC, 0x202),
    (alg::CFB, 0x202),
    (alg::ECB, 0x202),
];

/// Whether the profile has algorithm `id`.
pub(crate) fn is_known(id: u16) -> bool {
    ALGORITHMS.iter().any(|(known, _)| *known == id)
}

/// TPM_ECC_CURVE of the profile.
const CURVES: [Curve; 2] = [Curve::P256, Curve::P384];

/// Writes a list of at most `wanted` of `items`, each `size` bytes long, and returns whether more are there.
fn list<T>(
    w: &mut Writer<'_>,
    wanted: u32,
    size: usize,
    mut items: impl Iterator<Item = T>,
    write: impl Fn(&mut Writer<'_>, T),
) -> bool {
    // MAX_CAP_DATA holds the capability and the count too.
    let most = MAX_CAP_DATA
        .saturating_sub(8)
        .checked_div(size)
        .unwrap_or(0);
    let most = most.min(wanted as usize);
    let start = w.len();
    w.u32(0);
    let mut count = 0u32;
    for item in items.by_ref().take(most) {
        write(w, item);
        count = count.saturating_add(1);
    }
    if let Some(place) = w.written_mut().get_mut(start..start.saturating_add(4)) {
        place.copy_from_slice(&count.to_be_bytes());
    }
    items.next().is_some()
}

/// TPM2_GetCapability. It works in failure mode too.
pub(crate) fn get_capability(cx: &mut Context<'_>) -> Result<()> {
    let capability = cx.params.with(|r| match r.u32()? {
        capability @ (cap::ALGS..=cap::ACT | cap::VENDOR_PROPERTY) => Ok(capability),
        _ => Err(Rc::VALUE),
    })?;
    let property: u32 = cx.params.get()?;
    let wanted: u32 = cx.params.get()?;
    cx.params.end()?;
    let start = cx.out.len();
    // moreData is known once the list is written.
    cx.out.put(&false);
    cx.out.u32(capability);
    let s = &*cx.s;
    let w = &mut cx.out;
    let more = match capability {
        cap::ALGS => {
            let items = ALGORITHMS
                .iter()
                .filter(|(id, _)| u32::from(*id) >= property);
            list(w, wanted, 6, items, |w, (id, attributes)| {
                w.u16(*id);
                w.u32(*attributes);
            })
        }
        cap::HANDLES => handles(s, w, property, wanted)?,
        cap::COMMANDS => {
            let items = COMMANDS.iter().filter(|info| info.cc >= property);
            list(w, wanted, 4, items, |w, info| w.u32(info.attributes()))
        }
        cap::PP_COMMANDS | cap::AUDIT_COMMANDS => {
            let set = match capability {
                cap::PP_COMMANDS => &s.perm.pp_commands,
                _ => &s.perm.audit_commands,
            };
            let items = COMMANDS
                .iter()
                .filter(|info| info.cc >= property && audit::bit(set, info.cc));
            list(w, wanted, 4, items, |w, info| w.u32(info.cc))
        }
        cap::PCRS => {
            if property != 0 {
                return Err(Rc::VALUE.param(2));
            }
            if wanted == 0 {
                w.u32(0);
            } else {
                s.pcr.write_allocation(w);
            }
            wanted == 0
        }
        cap::TPM_PROPERTIES => {
            let items = properties::group(property)
                .filter_map(|tag| Some((tag, properties::value(s, tag)?)));
            list(w, wanted, 8, items, |w, (tag, value)| {
                w.u32(tag);
                w.u32(value);
            })
        }
        cap::PCR_PROPERTIES => {
            let items = pcr::PROPERTIES
                .iter()
                .filter(|tag| **tag >= property)
                .filter_map(|tag| Some((*tag, pcr::property(*tag)?)));
            list(w, wanted, 8, items, |w, (tag, mask)| {
                w.u32(tag);
                w.u8(PCR_SELECT as u8);
                for octet in mask.to_le_bytes().iter().take(PCR_SELECT) {
                    w.u8(*octet);
                }
            })
        }
        cap::ECC_CURVES => {
            let items = CURVES
                .iter()
                .filter(|curve| u32::from(curve.id()) >= property);
            list(w, wanted, 2, items, |w, curve| w.put(curve))
        }
        cap::AUTH_POLICIES => {
            if hr::of(property) != hr::PERMANENT {
                return Err(Rc::VALUE.param(2));
            }
            let items = [rh::OWNER, rh::LOCKOUT, rh::ENDORSEMENT, rh::PLATFORM]
                .into_iter()
                .filter(|handle| *handle >= property)
                .filter_map(|handle| Some((handle, &s.authorization(handle)?.policy)));
            list(
                w,
                wanted,
                70,
                items,
                |w, (handle, policy): (u32, &Policy)| {
                    w.u32(handle);
                    w.put(&policy.hash);
                    w.bytes(&policy.digest);
                },
            )
        }
        // TPM_RH_ACT_0 to TPM_RH_ACT_F: no authenticated countdown timer exists.
        cap::ACT if (0x4000_0110..=0x4000_011F).contains(&property) => {
            w.u32(0);
            false
        }
        cap::ACT => return Err(Rc::VALUE.param(2)),
        _ => return Err(Rc::VALUE.param(1)),
    };
    if let Some(place) = w.written_mut().get_mut(start) {
        *place = u8::from(more);
    }
    Ok(())
}

/// The handles of one type, from `from` on.
fn handles(s: &crate::state::State, w: &mut Writer<'_>, from: u32, wanted: u32) -> Result<bool> {
    /// TPM_HT_LOADED_SESSION and TPM_HT_SAVED_SESSION have the octets of HMAC and policy sessions.
    const LOADED: u32 = hr::HMAC_SESSION;
    const SAVED: u32 = hr::POLICY_SESSION;
    let write = |w: &mut Writer<'_>, handle: u32| w.u32(handle);
    Ok(match hr::of(from) {
        hr::PCR => list(w, wanted, 4, from..PCR_COUNT as u32, write),
        hr::PERMANENT => {
            let all = [
                rh::OWNER,
                rh::NULL,
                rh::PW,
                rh::LOCKOUT,
                rh::ENDORSEMENT,
                rh::PLATFORM,
                rh::PLATFORM_NV,
            ];
            let items = all.into_iter().filter(|handle| *handle >= from);
            list(w, wanted, 4, items, write)
        }
        hr::TRANSIENT => {
            let items = s.objects.transient_handles();
            list(w, wanted, 4, items.filter(|handle| *handle >= from), write)
        }
        hr::PERSISTENT => {
            let items = s.objects.persistent.iter().map(|(handle, _)| *handle);
            list(w, wanted, 4, items.filter(|handle| *handle >= from), write)
        }
        hr::NV_INDEX => {
            let items = s.nv.handles();
            list(w, wanted, 4, items.filter(|handle| *handle >= from), write)
        }
        LOADED => {
            let items = s.sessions.loaded_handles();
            let from = hr::index(from);
            list(
                w,
                wanted,
                4,
                items.filter(|handle| hr::index(*handle) >= from),
                write,
            )
        }
        SAVED => {
            let items = s.sessions.saved_handles();
            let from = hr::index(from);
            list(
                w,
                wanted,
                4,
                items.filter(|handle| hr::index(*handle) >= from),
                write,
            )
        }
        _ => return Err(Rc::HANDLE.param(2)),
    })
}

/// TPM2_TestParms: reading the parameters is the test.
pub(crate) fn test_parms(cx: &mut Context<'_>) -> Result<()> {
    let _: Parameters = cx.params.get()?;
    cx.params.end()
}
