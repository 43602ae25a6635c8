//! Tests of the FPU conversion. Expectations: APM vol. 2 §11.4.4 (FXSAVE layout), §11.5 (XSAVE), APM vol. 1 §6.2.4 (tag
//! word); the VMSA's order of mantissas and exponents is KVM's.

use super::*;
use proptest::prelude::*;
use zerocopy::FromZeros;

const ONE: [u8; 10] = [0, 0, 0, 0, 0, 0, 0, 0x80, 0xFF, 0x3F];
const INFINITY: [u8; 10] = [0, 0, 0, 0, 0, 0, 0, 0x80, 0xFF, 0x7F];

fn area_with(present: u64) -> [u8; XSAVE_AREA_SIZE] {
    let mut area = core::array::from_fn(|index| index as u8);
    area[XSTATE_BV..XSTATE_BV + 8].copy_from_slice(&present.to_le_bytes());
    area[MXCSR..MXCSR + 4].copy_from_slice(&0x1FA0u32.to_le_bytes());
    area
}

#[test]
fn x87_registers_are_split_into_mantissas_and_exponents() {
    let mut vmsa = Vmsa::new_zeroed();
    let area = area_with(7);
    xsave_to_vmsa(&area, &mut vmsa);
    for index in 0..8 {
        let register = &area[32 + 16 * index..][..10];
        assert_eq!(&vmsa.x87_registers[8 * index..][..8], &register[..8]);
        assert_eq!(&vmsa.x87_registers[64 + 2 * index..][..2], &register[8..]);
    }
    assert_eq!(vmsa.x87_fcw.get(), 0x0100);
    assert_eq!(vmsa.x87_fsw.get(), 0x0302);
    assert_eq!(vmsa.x87_fop.get(), 0x0706);
    assert_eq!(vmsa.x87_rip.get(), 0x0F0E_0D0C_0B0A_0908);
    assert_eq!(vmsa.x87_dp.get(), 0x1716_1514_1312_1110);
    assert_eq!(vmsa.mxcsr.get(), 0x1FA0);
    assert_eq!(vmsa.xmm[..], area[160..416]);
    assert_eq!(vmsa.ymm_hi[..], area[576..832]);
}

#[test]
fn the_tag_word_describes_the_contents_of_physical_registers() {
    let mut area = [0; XSAVE_AREA_SIZE];
    area[XSTATE_BV] = 7;
    // TOP = 6: ST0 is physical 6, ST1 is 7, ST2 is 0.
    area[FSW..FSW + 2].copy_from_slice(&(6u16 << 11).to_le_bytes());
    area[ABRIDGED_FTW] = 0b1100_0011;
    area[32..42].copy_from_slice(&ONE);
    area[48..58].copy_from_slice(&INFINITY);
    // ST2 is zero, ST3 (physical 1) is denormal.
    area[80] = 1;
    let mut vmsa = Vmsa::new_zeroed();
    xsave_to_vmsa(&area, &mut vmsa);
    // Physical 7 to 0: special, valid, four empty, special, zero.
    assert_eq!(vmsa.x87_ftw.get(), 0b10_00_11_11_11_11_10_01);
}

#[test]
fn states_that_are_not_present_are_initial() {
    let mut vmsa = Vmsa::new_zeroed();
    xsave_to_vmsa(&area_with(7), &mut vmsa);
    xsave_to_vmsa(&area_with(0), &mut vmsa);
    assert_eq!(vmsa.x87_fcw.get(), 0x37F);
    assert_eq!((vmsa.x87_fsw.get(), vmsa.x87_ftw.get()), (0, 0xFFFF));
    assert_eq!(vmsa.x87_registers, [0; 80]);
    assert_eq!((vmsa.xmm, vmsa.ymm_hi), ([0; 256], [0; 256]));
    // MXCSR is not part of the decision.
    assert_eq!(vmsa.mxcsr.get(), 0x1FA0);
}

#[test]
fn reset_tag_words_of_linux_and_fninit() {
    let mut vmsa = Vmsa::new_zeroed();
    let mut area = [0xAA; XSAVE_AREA_SIZE];
    for (full, abridged) in [(0x5555, 0xFF), (0xFFFF, 0), (0x3FFF, 0x80)] {
        vmsa.x87_ftw.set(full);
        vmsa_to_xsave(&vmsa, &mut area);
        assert_eq!(area[ABRIDGED_FTW], abridged);
    }
}

#[test]
fn xrstor_takes_the_area_whatever_the_guest_left_in_its_vmsa() {
    let mut vmsa = Vmsa::new_zeroed();
    vmsa.mxcsr.set(u32::MAX);
    let mut area = [0xAA; XSAVE_AREA_SIZE];
    vmsa_to_xsave(&vmsa, &mut area);
    assert_eq!(area[MXCSR..MXCSR + 4], 0x2_FFFFu32.to_le_bytes());
    // Header: XSTATE_BV 7, the rest (XCOMP_BV and reserved) zero.
    assert_eq!(area[512..520], 7u64.to_le_bytes());
    assert_eq!(area[520..576], [0; 56]);
}

proptest! {
    #[test]
    fn state_survives_the_round_trip(
        bytes in proptest::collection::vec(any::<u8>(), XSAVE_AREA_SIZE), mxcsr in 0u32..0x1_0000,
    ) {
        let mut area: [u8; XSAVE_AREA_SIZE] = bytes.try_into().unwrap();
        area[XSTATE_BV..576].fill(0);
        area[XSTATE_BV] = 7;
        area[MXCSR..MXCSR + 4].copy_from_slice(&mxcsr.to_le_bytes());
        let mut vmsa = Vmsa::new_zeroed();
        xsave_to_vmsa(&area, &mut vmsa);
        let mut back = [0; XSAVE_AREA_SIZE];
        vmsa_to_xsave(&vmsa, &mut back);
        // Not part of the state: MXCSR_MASK, bytes above each 80-bit register, above XMM15, byte 5.
        area[5] = 0;
        area[28..32].fill(0);
        for index in 0..8 {
            area[ST + 16 * index + 10..ST + 16 * index + 16].fill(0);
        }
        area[416..512].fill(0);
        prop_assert_eq!(back, area);
    }
}
