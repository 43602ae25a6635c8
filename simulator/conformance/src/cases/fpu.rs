//! x87, SSE and AVX state and XCR0 are kept apart across VMPLs, and saved in the VMSA (APM vol. 2 table B-4, where the
//! x87 stack is not in FXSAVE's order). AVX and XCR0 only where the CPUID page has XSAVE.

use core::arch::asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, Ordering};
use guest_rt::report::{check, check_that, skip};
use guest_rt::{cpu, levels, vmsa};
use snp_abi::Vmpl;
use snp_abi::vmsa::Vmsa;

const CR4_OSXSAVE: u64 = 1 << 18;
/// x87, SSE, AVX.
const COMPONENTS: u64 = 7;
/// Bytes of an XSAVE area with AVX.
const AREA: usize = 832;

/// An XSAVE area.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
struct State([u8; AREA]);

impl State {
    /// A state whose every register follows from `seed`.
    fn pattern(seed: u8) -> State {
        let mut area = [0; AREA];
        // FCW: exceptions masked, precision by seed; MXCSR: exceptions masked, rounding by seed.
        area[0..2].copy_from_slice(&(0x7F | ((seed as u16 & 1) << 10)).to_le_bytes());
        // Abridged tag word: all eight registers in use.
        area[4] = 0xFF;
        area[24..28].copy_from_slice(&(0x1F80u32 | (seed as u32 & 1) << 13).to_le_bytes());
        for register in 0..8 {
            for byte in 0..10 {
                area[32 + register * 16 + byte] = seed
                    .wrapping_mul(3)
                    .wrapping_add((register * 10 + byte) as u8);
            }
            // The integer bit: without it the value would be an unsupported one.
            area[32 + register * 16 + 7] |= 0x80;
        }
        for (i, byte) in area[160..416].iter_mut().enumerate() {
            *byte = seed.wrapping_mul(5).wrapping_add(i as u8);
        }
        area[512] = COMPONENTS as u8;
        for (i, byte) in area[576..].iter_mut().enumerate() {
            *byte = seed.wrapping_mul(7).wrapping_add(i as u8);
        }
        State(area)
    }

    /// The registers, without what XSAVE leaves open (last instruction and data pointers, reserved parts).
    fn registers(&self) -> ([u8; 2], [u8; 4], &[u8], &[u8]) {
        let a = &self.0;
        (
            [a[0], a[1]],
            [a[24], a[25], a[26], a[27]],
            &a[32..416],
            if xsave() { &a[576..] } else { &[] },
        )
    }

    fn load(&self) {
        if xsave() {
            // SAFETY: the area is aligned, well-formed and has the components that XCR0 enables; the compiler keeps
            // nothing in these registers on this target.
            unsafe {
                asm!("xrstor64 [{}]", in(reg) self.0.as_ptr(), in("eax") COMPONENTS, in("edx") 0)
            };
        } else {
            // SAFETY: as above, for x87 and SSE.
            unsafe { asm!("fxrstor64 [{}]", in(reg) self.0.as_ptr()) };
        }
    }

    fn save() -> State {
        let mut state = State([0; AREA]);
        if xsave() {
            // SAFETY: the area is aligned and large enough.
            unsafe {
                asm!("xsave64 [{}]", in(reg) state.0.as_mut_ptr(), in("eax") COMPONENTS, in("edx") 0)
            };
        } else {
            // SAFETY: as above.
            unsafe { asm!("fxsave64 [{}]", in(reg) state.0.as_mut_ptr()) };
        }
        state
    }
}

static XSAVE: AtomicBool = AtomicBool::new(false);

/// Whether AVX state is tested as well.
fn xsave() -> bool {
    XSAVE.load(Ordering::Relaxed)
}

/// Turns the extended state on, on the running VMPL.
fn enable() {
    if !xsave() {
        return;
    }
    // SAFETY: the bit only allows XSAVE; the components are those that the processor lists.
    unsafe {
        cpu::set_cr4(cpu::cr4() | CR4_OSXSAVE);
        cpu::xsetbv(COMPONENTS);
    }
}

fn load_job(seed: u64) -> u64 {
    enable();
    State::pattern(seed as u8).load();
    0
}

fn compare_job(seed: u64) -> u64 {
    let got = State::save();
    (got.registers() == State::pattern(seed as u8).registers()) as u64
}

/// Runs the group.
pub fn run() {
    let leaf1 = cpu::cpuid(1, 0);
    let components = cpu::cpuid(0xD, 0).eax as u64;
    let avx = leaf1.ecx & 1 << 26 != 0 && components & COMPONENTS == COMPONENTS;
    XSAVE.store(avx, Ordering::Relaxed);
    if !avx {
        skip("fpu-avx", "the CPUID page has no XSAVE with AVX");
    }
    enable();
    let own = State::pattern(1);
    own.load();
    check(
        "fpu-load-vmpl2",
        Ok(0),
        levels::run(Vmpl::Vmpl2, load_job, 2),
    );
    same("fpu-vmpl0-kept", &own);
    check(
        "fpu-load-vmpl1",
        Ok(0),
        levels::run(Vmpl::Vmpl1, load_job, 3),
    );
    same("fpu-vmpl0-kept-again", &own);
    check(
        "fpu-vmpl2-kept",
        Ok(1),
        levels::run(Vmpl::Vmpl2, compare_job, 2),
    );
    check(
        "fpu-vmpl1-kept",
        Ok(1),
        levels::run(Vmpl::Vmpl1, compare_job, 3),
    );
    same("fpu-vmpl0-kept-at-last", &own);
    saved();
    if avx {
        control();
    }
}

fn same(name: &str, expected: &State) {
    let got = State::save();
    let (fcw, mxcsr, legacy, high) = got.registers();
    let (efcw, emxcsr, elegacy, ehigh) = expected.registers();
    check_that(
        name,
        fcw == efcw && mxcsr == emxcsr && legacy == elegacy && high == ehigh,
        "what was loaded",
        (
            fcw == efcw,
            mxcsr == emxcsr,
            legacy[..128] == elegacy[..128],
            legacy[128..] == elegacy[128..],
            high == ehigh,
        ),
    );
}

/// The VMSA of the level that ran last with pattern 2.
fn saved() {
    let Some(page) = levels::vmsa_page(Vmpl::Vmpl2) else {
        return;
    };
    let pattern = State::pattern(2);
    let byte = |offset: usize| (vmsa::read_field(page, offset) >> (offset % 8 * 8)) as u8;
    let differs = |range: usize, bytes: &[u8]| {
        bytes
            .iter()
            .enumerate()
            .find(|(i, b)| byte(range + i) != **b)
            .map(|(i, _)| i)
    };
    check(
        "fpu-vmsa-xmm",
        None,
        differs(offset_of!(Vmsa, xmm), &pattern.0[160..416]),
    );
    check(
        "fpu-vmsa-mxcsr",
        None,
        differs(offset_of!(Vmsa, mxcsr), &pattern.0[24..28]),
    );
    check(
        "fpu-vmsa-fcw",
        None,
        differs(offset_of!(Vmsa, x87_fcw), &pattern.0[0..2]),
    );
    let mut stack = [0; 80];
    for register in 0..8 {
        let from = &pattern.0[32 + register * 16..];
        stack[register * 8..register * 8 + 8].copy_from_slice(&from[..8]);
        stack[64 + register * 2..66 + register * 2].copy_from_slice(&from[8..10]);
    }
    check(
        "fpu-vmsa-x87",
        None,
        differs(offset_of!(Vmsa, x87_registers), &stack),
    );
    if !xsave() {
        return;
    }
    check(
        "fpu-vmsa-ymm",
        None,
        differs(offset_of!(Vmsa, ymm_hi), &pattern.0[576..832]),
    );
    check(
        "fpu-vmsa-xcr0",
        COMPONENTS,
        vmsa::read_field(page, offset_of!(Vmsa, xcr0)),
    );
}

fn control() {
    let lower = levels::run(
        Vmpl::Vmpl2,
        |_| {
            // SAFETY: x87 and SSE stay on.
            unsafe { cpu::xsetbv(3) };
            cpu::xgetbv()
        },
        0,
    );
    check("fpu-xcr0-vmpl2", Ok(3), lower);
    check("fpu-xcr0-vmpl0-kept", COMPONENTS, cpu::xgetbv());
    check(
        "fpu-xcr0-vmpl2-kept",
        Ok(3),
        levels::run(Vmpl::Vmpl2, |_| cpu::xgetbv(), 0),
    );
}
