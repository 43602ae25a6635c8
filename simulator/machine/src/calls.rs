//! What SVSM calls cost, by the time stamp counter: the option `calls` prints it when the guest powers off or the run ends
//! otherwise, `calls=N` after every N calls as well, `calls=each` the last calls one by one at the end. With QEMU's
//! `-icount shift=0` a tick is an instruction.

use crate::arch::cpu;
use crate::arch::lock::SpinLock;
use core::sync::atomic::{AtomicU64, Ordering};
use snp_abi::Vmpl;
use snp_model::call_log::{Before, Log, Record};
use snp_model::calls::{Call, Table};

/// Off.
const NEVER: u64 = 0;
/// On, and printed at the end only.
const AT_END: u64 = u64::MAX;
/// On, and each of the last calls printed at the end.
const EACH: u64 = u64::MAX - 1;

static EVERY: AtomicU64 = AtomicU64::new(NEVER);
static TABLE: SpinLock<Table> = SpinLock::new(Table::new());
static LOG: SpinLock<Log> = SpinLock::new(Log::new());
static ENTRIES: [AtomicU64; Vmpl::COUNT] = [const { AtomicU64::new(0) }; Vmpl::COUNT];
static TICKS: [AtomicU64; Vmpl::COUNT] = [const { AtomicU64::new(0) }; Vmpl::COUNT];

/// Takes the option's value, a decimal number or `each`; `Err`: it is neither.
pub fn set(every: Option<&str>) -> Result<(), ()> {
    let every = match every {
        Some("each") => EACH,
        Some(text) => text.parse().ok().filter(|every| *every > 0).ok_or(())?,
        None => AT_END,
    };
    EVERY.store(every, Ordering::Relaxed);
    Ok(())
}

fn on() -> bool {
    EVERY.load(Ordering::Relaxed) != NEVER
}

/// One vCPU's part.
#[derive(Default)]
pub struct Account {
    /// The call being answered: its request, ticks and exits so far, and when it began.
    open: Option<(u64, u64, u64, u64)>,
    /// Since the last call.
    before: Before,
    /// When a VMPL was left last.
    left: u64,
    entered: u64,
}

impl Account {
    /// A VMPL asks for VMPL0; `request` is its RAX.
    pub fn begin(&mut self, request: u64) {
        if on() {
            self.open = Some((request, 0, 0, self.left));
        }
    }

    /// A VMPL whose RAX is this is about to be entered.
    pub fn enter(&mut self, vmpl: Vmpl, rax: u64) {
        if !on() {
            return;
        }
        if self.open.is_none() && self.left != 0 {
            self.before.machine += cpu::rdtsc() - self.left;
        }
        if vmpl != Vmpl::Vmpl0
            && let Some((request, ticks, exits, since)) = self.open.take()
        {
            let call = Call {
                request,
                result: rax,
                ticks,
                exits,
                machine: (cpu::rdtsc() - since).saturating_sub(ticks),
            };
            let before = core::mem::take(&mut self.before);
            if EVERY.load(Ordering::Relaxed) == EACH {
                LOG.lock().add(Record { before, call });
            }
            let calls = TABLE.lock().add(&call);
            if calls.is_multiple_of(EVERY.load(Ordering::Relaxed)) {
                print();
            }
        }
        self.entered = cpu::rdtsc();
        // Should it not be entered after all, what follows is not counted twice.
        self.left = self.entered;
    }

    /// It has been left.
    pub fn leave(&mut self, vmpl: Vmpl) {
        if !on() {
            return;
        }
        self.left = cpu::rdtsc();
        let ticks = self.left - self.entered;
        ENTRIES[vmpl.index()].fetch_add(1, Ordering::Relaxed);
        TICKS[vmpl.index()].fetch_add(ticks, Ordering::Relaxed);
        if vmpl != Vmpl::Vmpl0 {
            self.before.guest += ticks;
            self.before.exits += 1;
        } else if let Some((_, sum, exits, _)) = &mut self.open {
            *sum += ticks;
            *exits += 1;
        }
    }
}

/// Prints the figures.
pub fn print() {
    if !on() {
        return;
    }
    for vmpl in Vmpl::ALL {
        let entries = ENTRIES[vmpl.index()].load(Ordering::Relaxed);
        if entries != 0 {
            let ticks = TICKS[vmpl.index()].load(Ordering::Relaxed);
            crate::say!("calls: vmpl {} entries={entries} ticks={ticks}", vmpl as u8);
        }
    }
    // The run may end while another processor has the table.
    let Some(table) = TABLE.try_lock() else {
        return;
    };
    let (lines, others) = table.lines();
    for line in lines {
        crate::say!("calls: {line}");
    }
    if others != 0 {
        crate::say!("calls: {others} calls with other requests");
    }
    if let Some(log) = LOG.try_lock() {
        for record in log.records() {
            crate::say!("calls: each {record}");
        }
    }
}
