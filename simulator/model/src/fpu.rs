//! x87, SSE and AVX state: between an XSAVE area (standard format) and the VMSA (APM vol. 2 §11.5.8, table B-4).

use snp_abi::vmsa::Vmsa;

/// Bytes of an XSAVE area with x87, SSE and AVX in standard format: legacy 512, header 64, YMM upper halves 256.
pub const XSAVE_AREA_SIZE: usize = 832;

/// XSAVE area (from XSAVE with RFBM 7, or 3 without AVX) into the VMSA. Components whose XSTATE_BV bit is clear are in
/// their initial state, whatever the area holds.
pub fn xsave_to_vmsa(area: &[u8; XSAVE_AREA_SIZE], vmsa: &mut Vmsa) {
    let _ = (area, vmsa);
    todo!()
}

/// VMSA into an XSAVE area that XRSTOR with RFBM 7 (or 3) takes: XSTATE_BV is 7, XCOMP_BV 0, MXCSR's reserved bits 0.
pub fn vmsa_to_xsave(vmsa: &Vmsa, area: &mut [u8; XSAVE_AREA_SIZE]) {
    let _ = (area, vmsa);
    todo!()
}
