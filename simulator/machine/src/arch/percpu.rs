//! What each processor knows about itself, reached through GS. All of it is atomics: interrupt handlers write it, and
//! other processors read some of it.

use super::lock::SpinLock;
use super::{cpu, frames};
use core::arch::asm;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use snp_model::shootdown::Presence;

const GS_BASE: u32 = 0xC000_0101;
/// Most processors the machine can use.
pub const MAX_CPUS: usize = 64;

/// One processor.
#[repr(C)]
pub struct PerCpu {
    this: *const PerCpu,
    index: AtomicUsize,
    apic_id: AtomicU32,
    /// Vectors that arrived and that the guest has not been given.
    pending: [AtomicU64; 4],
    /// Set by whoever wants this processor to look at its requests.
    kicked: AtomicU32,
    presence: Presence,
}

// SAFETY: the pointer is its own address and never changes after creation; the rest is atomic.
unsafe impl Sync for PerCpu {}

static ALL: [AtomicPtr<PerCpu>; MAX_CPUS] =
    [const { AtomicPtr::new(core::ptr::null_mut()) }; MAX_CPUS];
static COUNT: SpinLock<usize> = SpinLock::new(0);

/// Makes the area of the next processor; `None` without memory.
pub fn create(apic_id: u32) -> Option<&'static PerCpu> {
    let mut count = COUNT.lock();
    if *count == MAX_CPUS {
        return None;
    }
    // SAFETY: zero bytes are a valid `PerCpu`: null pointer and zero atomics.
    let area = &mut unsafe { frames::allocate_slice::<PerCpu>(1) }?[0];
    area.this = area;
    area.index = AtomicUsize::new(*count);
    area.apic_id = AtomicU32::new(apic_id);
    ALL[*count].store(area, Ordering::Release);
    *count += 1;
    Some(area)
}

/// Makes `area` this processor's.
pub fn install(area: &'static PerCpu) {
    // SAFETY: the machine uses GS for nothing else.
    unsafe { cpu::wrmsr(GS_BASE, area as *const PerCpu as u64) };
}

/// This processor's area.
pub fn this() -> &'static PerCpu {
    let area: *const PerCpu;
    // SAFETY: GS points to the area since `install`, which runs before anything that calls this.
    unsafe {
        asm!("mov {}, gs:[0]", out(reg) area, options(nostack, preserves_flags, readonly));
        &*area
    }
}

/// This processor's area, if its GS is set up.
pub fn try_this() -> Option<&'static PerCpu> {
    // SAFETY: the register exists in every 64-bit processor.
    (unsafe { cpu::rdmsr(GS_BASE) } != 0).then(this)
}

/// Processors so far.
pub fn count() -> usize {
    *COUNT.lock()
}

/// The processor with this number.
pub fn get(index: usize) -> Option<&'static PerCpu> {
    let area = ALL.get(index)?.load(Ordering::Acquire);
    // SAFETY: null or an area that `create` leaked.
    unsafe { area.as_ref() }
}

/// All processors.
pub fn all() -> impl Iterator<Item = &'static PerCpu> {
    (0..MAX_CPUS).map_while(get)
}

impl PerCpu {
    /// Its number, from 0 (boot processor) on.
    pub fn index(&self) -> usize {
        self.index.load(Ordering::Relaxed)
    }

    /// Its local APIC's ID.
    pub fn apic_id(&self) -> u32 {
        self.apic_id.load(Ordering::Relaxed)
    }

    /// Notes an interrupt; called by its handler.
    pub fn note_interrupt(&self, vector: u8) {
        self.pending[usize::from(vector >> 6)].fetch_or(1 << (vector & 63), Ordering::Relaxed);
    }

    /// The highest noted vector.
    pub fn pending_interrupt(&self) -> Option<u8> {
        (0..4).rev().find_map(|i| {
            let bits = self.pending[i].load(Ordering::Relaxed);
            (bits != 0).then(|| (i as u32 * 64 + 63 - bits.leading_zeros()) as u8)
        })
    }

    /// Forgets a noted vector: it has been given to the guest.
    pub fn clear_interrupt(&self, vector: u8) {
        self.pending[usize::from(vector >> 6)].fetch_and(!(1 << (vector & 63)), Ordering::Relaxed);
    }

    /// The flag that `idt::wait` watches.
    pub fn kick_flag(&self) -> &AtomicU32 {
        &self.kicked
    }

    /// Takes the kick.
    pub fn take_kick(&self) -> bool {
        self.kicked.swap(0, Ordering::AcqRel) != 0
    }

    /// Whether it was kicked and has not noticed.
    pub fn kicked(&self) -> bool {
        self.kicked.load(Ordering::SeqCst) != 0
    }

    /// Makes this processor itself look at its requests.
    pub fn kick_self(&self) {
        self.kicked.store(1, Ordering::Release);
    }

    /// Asks the processor to look at its requests and makes it leave guest or sleep.
    pub fn kick(&self) {
        self.kicked.store(1, Ordering::Release);
        super::lapic::send_nmi(self.apic_id());
    }

    /// Whether it is in the guest.
    pub fn presence(&self) -> &Presence {
        &self.presence
    }
}
