//! x87, SSE and AVX state: between an XSAVE area (standard format) and the VMSA (APM vol. 2 §11.5.8, table B-4).
//!
//! Decisions where the public sources are silent:
//!
//! * The VMSA's tag word is the full one, two bits a register: Linux starts APs with 0x5555, the tag word at reset, and
//!   KVM's field is 16 bits wide. XSAVE has one bit a register ("not empty"), so the two bits are computed from the
//!   contents, as FSAVE does; back, everything but 11 (empty) is "not empty".
//! * The VMSA's eight registers are in XSAVE's order (ST0 first), split into mantissas and exponents (KVM).
//! * XSAVE64's instruction and data pointers are 64 bits; the VMSA's selectors are stored as zero.

use snp_abi::vmsa::{MXCSR_RESET, Vmsa};

/// Bytes of an XSAVE area with x87, SSE and AVX in standard format: legacy 512, header 64, YMM upper halves 256.
pub const XSAVE_AREA_SIZE: usize = 832;

/// x87 control word in the initial state.
const FCW_INITIAL: u16 = snp_abi::vmsa::FCW_INIT;
/// Tag word: all registers empty.
const ALL_EMPTY: u16 = 0xFFFF;

const FCW: usize = 0;
const FSW: usize = 2;
const ABRIDGED_FTW: usize = 4;
const FOP: usize = 6;
const FIP: usize = 8;
const FDP: usize = 16;
const MXCSR: usize = 24;
const ST: usize = 32;
const XMM: usize = 160;
const XSTATE_BV: usize = 512;
const YMM: usize = 576;

const X87_STATE: u64 = 1 << 0;
const SSE_STATE: u64 = 1 << 1;
const AVX_STATE: u64 = 1 << 2;

/// XSAVE64 area (RFBM 7, or 3 without AVX) into the VMSA. Components whose XSTATE_BV bit is clear are in their initial
/// state, whatever the area holds; MXCSR is always taken from the area.
pub fn xsave_to_vmsa(area: &[u8; XSAVE_AREA_SIZE], vmsa: &mut Vmsa) {
    let present = u64::from_le_bytes(get(area, XSTATE_BV));
    vmsa.mxcsr.set(u32::from_le_bytes(get(area, MXCSR)));
    vmsa.x87_ds.set(0);
    vmsa.x87_cs.set(0);
    if present & X87_STATE != 0 {
        vmsa.x87_fcw.set(get_u16(area, FCW));
        vmsa.x87_fsw.set(get_u16(area, FSW));
        vmsa.x87_fop.set(get_u16(area, FOP));
        vmsa.x87_rip.set(u64::from_le_bytes(get(area, FIP)));
        vmsa.x87_dp.set(u64::from_le_bytes(get(area, FDP)));
        for index in 0..8 {
            let register: [u8; 10] = get(area, ST + 16 * index);
            let (mantissa, exponent) = register.split_at(8);
            put(&mut vmsa.x87_registers, 8 * index, mantissa);
            put(&mut vmsa.x87_registers, 64 + 2 * index, exponent);
        }
        let [abridged] = get(area, ABRIDGED_FTW);
        vmsa.x87_ftw.set(full_tag_word(abridged, area));
    } else {
        vmsa.x87_fcw.set(FCW_INITIAL);
        vmsa.x87_fsw.set(0);
        vmsa.x87_fop.set(0);
        vmsa.x87_rip.set(0);
        vmsa.x87_dp.set(0);
        vmsa.x87_registers.fill(0);
        vmsa.x87_ftw.set(ALL_EMPTY);
    }
    vmsa.xmm = if present & SSE_STATE != 0 {
        get(area, XMM)
    } else {
        [0; 256]
    };
    vmsa.ymm_hi = if present & AVX_STATE != 0 {
        get(area, YMM)
    } else {
        [0; 256]
    };
}

/// VMSA into an XSAVE area that XRSTOR64 takes while XCR0 is 7 (and the host has AVX): XSTATE_BV is 7, XCOMP_BV 0, and MXCSR's reserved
/// bits are cleared, since a guest may have left anything in its VMSA and XRSTOR would fault.
pub fn vmsa_to_xsave(vmsa: &Vmsa, area: &mut [u8; XSAVE_AREA_SIZE]) {
    area.fill(0);
    put(area, FCW, &vmsa.x87_fcw.get().to_le_bytes());
    put(area, FSW, &vmsa.x87_fsw.get().to_le_bytes());
    put(area, ABRIDGED_FTW, &[abridged_tag_word(vmsa)]);
    put(area, FOP, &vmsa.x87_fop.get().to_le_bytes());
    put(area, FIP, &vmsa.x87_rip.get().to_le_bytes());
    put(area, FDP, &vmsa.x87_dp.get().to_le_bytes());
    let mxcsr = vmsa.mxcsr.get() & MXCSR_VALID;
    put(area, MXCSR, &mxcsr.to_le_bytes());
    for index in 0..8 {
        let mantissa: [u8; 8] = get(&vmsa.x87_registers, 8 * index);
        let exponent: [u8; 2] = get(&vmsa.x87_registers, 64 + 2 * index);
        put(area, ST + 16 * index, &mantissa);
        put(area, ST + 16 * index + 8, &exponent);
    }
    put(area, XMM, &vmsa.xmm);
    put(area, YMM, &vmsa.ymm_hi);
    let present = X87_STATE | SSE_STATE | AVX_STATE;
    put(area, XSTATE_BV, &present.to_le_bytes());
}

/// MXCSR bits that QEMU's and AMD's processors know: 15:0, and 17 (misaligned exceptions).
const MXCSR_VALID: u32 = 0x2_FFFF;
const _: () = assert!(MXCSR_RESET & !MXCSR_VALID == 0);

/// Two bits per physical register: 00 valid, 01 zero, 10 special, 11 empty (APM vol. 1 §6.2.4).
fn full_tag_word(abridged: u8, area: &[u8; XSAVE_AREA_SIZE]) -> u16 {
    let top = usize::from(get_u16(area, FSW) >> 11 & 7);
    let mut tags = 0;
    for physical in 0..8 {
        let tag = if abridged >> physical & 1 == 0 {
            3
        } else {
            let stack = (physical + 8 - top) % 8;
            let mantissa = u64::from_le_bytes(get(area, ST + 16 * stack));
            let exponent = get_u16(area, ST + 16 * stack + 8) & 0x7FFF;
            match (exponent, mantissa) {
                (0, 0) => 1,
                (0 | 0x7FFF, _) => 2,
                (_, mantissa) if mantissa >> 63 == 0 => 2,
                _ => 0,
            }
        };
        tags |= tag << (2 * physical);
    }
    tags
}

fn abridged_tag_word(vmsa: &Vmsa) -> u8 {
    let full = vmsa.x87_ftw.get();
    let mut abridged = 0;
    for physical in 0..8 {
        if full >> (2 * physical) & 3 != 3 {
            abridged |= 1 << physical;
        }
    }
    abridged
}

/// `N` bytes at `offset`; all offsets here are constants within the area.
fn get<const N: usize>(area: &[u8], offset: usize) -> [u8; N] {
    area.get(offset..)
        .and_then(|rest| rest.first_chunk())
        .copied()
        .unwrap_or([0; N])
}

fn get_u16(area: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes(get(area, offset))
}

fn put(area: &mut [u8], offset: usize, bytes: &[u8]) {
    if let Some(slot) = area.get_mut(offset..offset + bytes.len()) {
        slot.copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests;
