//! Guest registers that VMRUN does not switch: FPU state, XCR0, PAT, TSC_AUX. They stay in the processor while one VMPL runs
//! and go to the VMSA when another is to.

use crate::arch::cpu;
use core::arch::asm;
use snp_abi::msr;
use snp_abi::vmsa::Vmsa;
use snp_model::fpu::{self, XSAVE_AREA_SIZE};

#[repr(C, align(64))]
struct Area([u8; XSAVE_AREA_SIZE]);

const X87_SSE: u64 = 3;
const AVX: u64 = 4;

/// State components of this processor that a VMSA has room for.
pub fn components() -> u64 {
    u64::from(cpu::cpuid(0xD, 0)[0]) & (X87_SSE | AVX)
}

fn xgetbv() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: CR4.OSXSAVE is on (arch::init_processor).
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags))
    };
    u64::from(low) | u64::from(high) << 32
}

/// # Safety
/// The value must be one that the processor takes.
unsafe fn xsetbv(value: u64) {
    // SAFETY: CR4.OSXSAVE is on; the value is good, says the caller.
    unsafe {
        asm!("xsetbv", in("ecx") 0, in("eax") value as u32, in("edx") (value >> 32) as u32, options(nostack))
    };
}

/// Moves them from the processor to `vmsa`. `components` is [`components`].
pub fn save(vmsa: &mut Vmsa, components: u64) {
    let mut area = Area([0; XSAVE_AREA_SIZE]);
    vmsa.xcr0.set(xgetbv());
    // SAFETY: the processor has these components; the area is large enough for them in standard format. The MSRs exist.
    unsafe {
        xsetbv(components);
        asm!("xsave64 [{}]", in(reg) &mut area, in("eax") components as u32, in("edx") 0, options(nostack));
        vmsa.g_pat.set(cpu::rdmsr(msr::PAT));
        vmsa.tsc_aux.set(cpu::rdmsr(msr::TSC_AUX) as u32);
    }
    fpu::xsave_to_vmsa(&area.0, vmsa);
}

/// Moves them from `vmsa` to the processor. XCR0 bits that the processor lacks are left out.
pub fn load(vmsa: &Vmsa, components: u64) {
    let mut area = Area([0; XSAVE_AREA_SIZE]);
    fpu::vmsa_to_xsave(vmsa, &mut area.0);
    if components & AVX == 0 {
        area.0[512] &= X87_SSE as u8;
    }
    let wanted = vmsa.xcr0.get() & components | 1;
    // AVX needs SSE (#GP otherwise).
    let xcr0 = if wanted & X87_SSE == X87_SSE {
        wanted
    } else {
        wanted & !AVX
    };
    let pat = vmsa.g_pat.get();
    // SAFETY: the processor has these components, XSTATE_BV is within them; XCR0 is a valid combination; PAT was checked.
    unsafe {
        xsetbv(components);
        asm!("xrstor64 [{}]", in(reg) &area, in("eax") components as u32, in("edx") 0, options(nostack));
        xsetbv(xcr0);
        if snp_model::msr_policy::pat_is_valid(pat) {
            cpu::wrmsr(msr::PAT, pat);
        }
        cpu::wrmsr(msr::TSC_AUX, vmsa.tsc_aux.get().into());
    }
}

/// Writes the guest's PAT, which is in the processor while the guest's VMPL is loaded.
pub fn set_pat(value: u64) {
    if snp_model::msr_policy::pat_is_valid(value) {
        // SAFETY: the register exists and takes the value; QEMU does not look at it, so the machine's own memory types
        // stay.
        unsafe { cpu::wrmsr(msr::PAT, value) };
    }
}

/// The guest's TSC_AUX, which is in the processor while the guest's VMPL is loaded.
pub fn tsc_aux() -> u32 {
    // SAFETY: the register exists.
    unsafe { cpu::rdmsr(msr::TSC_AUX) as u32 }
}
