//! The guest's calls: the core protocol on a machine with an RMP and a host that breaks its promises, the vTPM's
//! requests, and what becomes of calls for a service.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use snp_abi::{PAGE_SIZE, PageSize, RmpPermissions, SevFeatures, Vmpl};
use svsm_abi::{call_id, core_call, protocol, result};
use svsm_core::core_protocol::CoreProtocol;
use svsm_core::core_protocol::fake::{Fake, PAGES};
use svsm_core::machine::{GuestMemory, MemoryFault, PageOpError, PageOps, Validation};
use svsm_core::memory_map::RamMap;
use svsm_core::page_map::{PageMap, PageState};
use svsm_core::request::{Registers, Served};
use svsm_core::service::exchange::{Call, Decision, Exchange, KEPT_MS};
use svsm_core::service::vtpm::{self, HEADER_BYTES, Header};
use svsm_core::sync::CallLock;
use svsm_core::vcpu::{Vcpu, VcpuTable, VmsaAccess, call_registers, set_results, take_call};

use super::u64_at;
use crate::target::{Outcome, Target};

/// An input is a list of steps, 16 bytes each; see [`Guest::step`].
pub const CORE: Target = Target {
    record: STEP,
    words: &[
        &[1, 0, 0, 1, 2, 0, 0, 0],
        &[2, 0, 1, 4, 0x20, 0, 0, 0],
        &[0x0C, 0, 0, 0, 0, 0, 0, 0],
        &[0x0D, 0, 0x40, 0, 0, 0, 0, 0],
    ],
    ..Target::new("core-calls", 64 * STEP, run_core)
};

const STEP: usize = 16;
/// The guest's own pages at the start: a list for PVALIDATE, a calling area, others.
const OWN: u64 = 0x10_0000;
const OWN_PAGES: u64 = 16;
const CALLING_AREA: u64 = OWN + PAGE_SIZE;
/// A VMSA outside of RAM, as the image has it.
const BOOT_VMSA: u64 = 0x80_0000_1000;
/// RAM with a hole, in pages; the machine has more than that.
const RAM: [(u64, u64); 2] = [(0, 0xF00), (0x1000, 0x400)];

/// The machine, and a watch over it: no page is validated twice without having been rescinded, whatever host and guest
/// do (58019 §7.1), and instructions are for the guest's RAM only.
struct Watched<'a> {
    fake: &'a Fake,
    /// By page: validated by the SVSM, and not rescinded since.
    validated: RefCell<Vec<bool>>,
}

impl PageOps for Watched<'_> {
    fn pvalidate(
        &self,
        gpa: u64,
        size: PageSize,
        validate: bool,
    ) -> Result<Validation, PageOpError> {
        assert!((0..size.pages()).all(|page| is_ram(gpa + page * PAGE_SIZE)));
        let outcome = self.fake.pvalidate(gpa, size, validate);
        let mut validated = self.validated.borrow_mut();
        let first = (gpa / PAGE_SIZE) as usize;
        for page in &mut validated[first..first + size.pages() as usize] {
            if outcome == Ok(Validation::Changed) {
                assert!(!(validate && *page), "{gpa:#x} is validated twice");
                *page = validate;
            }
        }
        outcome
    }

    fn rmpadjust(
        &self,
        gpa: u64,
        size: PageSize,
        target: Vmpl,
        permissions: RmpPermissions,
        vmsa: bool,
    ) -> Result<(), PageOpError> {
        assert!((0..size.pages()).all(|page| is_ram(gpa + page * PAGE_SIZE)));
        self.fake.rmpadjust(gpa, size, target, permissions, vmsa)
    }

    fn flush_guest_tlbs(&self) {
        self.fake.flush_guest_tlbs();
    }
}

impl GuestMemory for Watched<'_> {
    fn read(&self, gpa: u64, buffer: &mut [u8]) -> Result<(), MemoryFault> {
        assert!(is_ram(gpa));
        self.fake.read(gpa, buffer)
    }

    fn write(&self, gpa: u64, bytes: &[u8]) -> Result<(), MemoryFault> {
        assert!(is_ram(gpa));
        self.fake.write(gpa, bytes)
    }

    fn zero(&self, gpa: u64, bytes: u64) -> Result<(), MemoryFault> {
        assert!(is_ram(gpa) && is_ram(gpa + bytes - 1));
        self.fake.zero(gpa, bytes)
    }
}

impl VmsaAccess for Watched<'_> {
    fn read_u64(&self, gpa: u64, offset: usize) -> Result<u64, MemoryFault> {
        self.fake.read_u64(gpa, offset)
    }

    fn write_u64(&self, gpa: u64, offset: usize, value: u64) -> Result<(), MemoryFault> {
        self.fake.write_u64(gpa, offset, value)
    }
}

fn is_ram(gpa: u64) -> bool {
    RAM.iter()
        .any(|(first, pages)| (*first..first + pages).contains(&(gpa / PAGE_SIZE)))
}

struct Guest<'a> {
    core: CoreProtocol<'a, Watched<'a>>,
    fake: &'a Fake,
    words: &'a [AtomicU64],
    vcpus: &'a [Vcpu],
    /// The host has taken pages away.
    broken: bool,
    results: Vec<u64>,
}

fn run_core(input: &[u8]) -> Outcome {
    let area: Vec<u8> = RAM
        .iter()
        .flat_map(|(first, pages)| [*first, *pages, 0].map(u64::to_le_bytes))
        .flatten()
        .collect();
    let ram = RamMap::parse(&area, 1 << 39).unwrap();
    let words: Vec<AtomicU64> = (0..ram.page_map_words())
        .map(|_| AtomicU64::new(0))
        .collect();
    let pages = PageMap::new(&ram, &words).unwrap();
    let fake = Fake::new();
    let mut validated = vec![false; PAGES as usize];
    for page in 0..OWN_PAGES {
        let gpa = OWN + page * PAGE_SIZE;
        fake.with_page(gpa, |page| {
            page.validated = true;
            page.permissions[2] = RmpPermissions::RWX;
            page.bytes.fill(0);
        });
        validated[(gpa / PAGE_SIZE) as usize] = true;
    }
    let machine = Watched {
        fake: &fake,
        validated: RefCell::new(validated),
    };
    pages.set_at_boot(OWN, OWN_PAGES, PageState::Validated);
    pages.set_at_boot(CALLING_AREA, 1, PageState::CallingArea);
    let vcpus = [0, 5, 9].map(Vcpu::new);
    vcpus[0].set_online();
    vcpus[1].set_online();
    vcpus[0].set_guest(Some((BOOT_VMSA, CALLING_AREA)));
    let (lock, served) = (CallLock::new(), Served::new());
    served.add(protocol::VTPM);
    let mut guest = Guest {
        core: CoreProtocol {
            pages: &pages,
            vcpus: VcpuTable(&vcpus),
            lock: &lock,
            machine: &machine,
            guest_features: SevFeatures::SNP_ACTIVE,
            served: &served,
        },
        fake: &fake,
        words: &words,
        vcpus: &vcpus,
        broken: false,
        results: Vec::new(),
    };
    let mut steps = input.chunks_exact(STEP);
    while let Some(step) = steps.next() {
        guest.step(step, &mut steps);
    }
    guest.check();
    let any = guest.results.contains(&result::SUCCESS);
    Outcome::new(any, guest.results)
}

impl Guest<'_> {
    /// Byte 0: what; 1: a detail; 2 and 3, 4 and 5: two pages; 8 to 15: a number.
    fn step<'s>(&mut self, step: &[u8], more: &mut impl Iterator<Item = &'s [u8]>) {
        let page = |at: usize| u64::from(u16::from_le_bytes([step[at], step[at + 1]])) * PAGE_SIZE;
        let (a, b) = (page(2), page(4));
        let (detail, number) = (step[1], u64_at(step, 8));
        match step[0] % 12 {
            // A call with pages for arguments, or with anything.
            0..=2 => {
                let call = u32::from(detail % 9);
                self.call(detail >> 7, call, a | number & 7, b, number >> 32);
            }
            3 => self.call(0, number as u32 & 0xF, number, a, b),
            // A list for PVALIDATE: the next steps are two entries each.
            4 | 5 => {
                let list = OWN + u64::from(detail % 4 / 3) * PAGE_SIZE;
                let entries: Vec<u64> = more
                    .take(1 + usize::from(detail >> 4))
                    .flat_map(|step| [u64_at(step, 0), u64_at(step, 8)])
                    .collect();
                let count = entries.len() as u64 + (number & 3);
                let header = count | u64::from(step[6]) << 16;
                self.guest_writes(list, header);
                for (at, entry) in (list + 8..).step_by(8).zip(&entries) {
                    // Mostly an entry for a page of the machine's.
                    let wanted = if entry >> 56 == 0 {
                        (entry & 0x3FFF) << 12 | entry >> 14 & 0xFF
                    } else {
                        *entry
                    };
                    self.guest_writes(at, wanted);
                }
                self.call(0, core_call::PVALIDATE, list, 0, 0);
            }
            6 => self.guest_writes(a + number % 512 * 8, u64_at(step, 8)),
            // A VMSA that is fit for the guest, or nearly.
            7 => {
                for (at, value) in [(0xC8, 2 << 16), (0xD0, 0x1000), (0x3B0, 1)] {
                    self.guest_writes(
                        a + at,
                        value ^ if at == number { 1 << (detail & 63) } else { 0 },
                    );
                }
            }
            8 => self.host(|page| page.running = page.vmsa && detail & 1 == 0, a),
            9 => {
                let later = self.fake.operations.get() + u64::from(detail);
                let what = match number & 3 {
                    0 | 2 => &self.fake.split_after,
                    1 => &self.fake.steal_after,
                    _ => &self.fake.swap_after,
                };
                what.set(later);
                self.broken |= number & 1 != 0;
            }
            10 => {
                self.broken = true;
                self.host(
                    |page| {
                        page.assigned = detail & 1 != 0;
                        page.validated = false;
                    },
                    a,
                );
            }
            // A call as it arrives: registers in a VMSA, the call in the calling area.
            _ => self.exit(usize::from(detail & 1), number),
        }
    }

    fn host(&self, change: impl FnOnce(&mut svsm_core::core_protocol::fake::Page), gpa: u64) {
        if gpa / PAGE_SIZE < PAGES {
            self.fake.with_page(gpa, change);
        }
    }

    /// A store by the guest: where the RMP lets it.
    fn guest_writes(&self, gpa: u64, value: u64) {
        if gpa / PAGE_SIZE >= PAGES {
            return;
        }
        let writable = {
            let page = &self.fake.pages.borrow()[(gpa / PAGE_SIZE) as usize];
            let may = page.permissions[2].contains(RmpPermissions::WRITE);
            page.validated && may && !page.vmsa
        };
        if writable {
            self.fake.put_u64(gpa, value);
        }
    }

    fn exit(&mut self, vcpu: usize, number: u64) {
        let vcpu = &self.vcpus[vcpu];
        let (Some(vmsa), Some(calling_area)) = (vcpu.vmsa(), vcpu.calling_area()) else {
            return;
        };
        if number & 1 != 0 {
            self.guest_writes(calling_area, 1);
        }
        let called = take_call(self.core.machine, calling_area);
        if vmsa == BOOT_VMSA {
            return;
        }
        if let Ok(Some(mut registers)) = call_registers(self.core.machine, vmsa)
            && called
        {
            self.core.call(vcpu, &mut registers);
            let _ = set_results(self.core.machine, vmsa, &registers);
        }
    }

    fn call(&mut self, vcpu: u8, call: u32, rcx: u64, rdx: u64, r8: u64) {
        let caller = &self.vcpus[usize::from(vcpu)];
        let mut registers = Registers {
            rax: call_id(protocol::CORE, call),
            rcx,
            rdx,
            r8,
        };
        let before = registers;
        let state = self.state();
        self.core.call(caller, &mut registers);
        let code = registers.rax;
        assert!(
            code == 0 || (0x8000_0000..0x8000_2000).contains(&code),
            "code {code:#x}"
        );
        assert!((registers.rdx, registers.r8) == (before.rdx, before.r8));
        // A call that is refused leaves all pages and vCPUs as they were; only a list may be done in part.
        if code != 0 && call != core_call::PVALIDATE && !self.broken {
            assert_eq!(
                self.state(),
                state,
                "refused with {code:#x}, but something changed"
            );
        }
        self.results.extend([code, registers.rcx]);
    }

    fn state(&self) -> (Vec<u64>, Vec<[Option<u64>; 2]>) {
        let words = self.words.iter().map(|word| word.load(Ordering::Relaxed));
        let vcpus = self
            .vcpus
            .iter()
            .map(|vcpu| [vcpu.vmsa(), vcpu.calling_area()]);
        (words.collect(), vcpus.collect())
    }

    /// The page map and the RMP say the same, if the host has kept its promises.
    fn check(&self) {
        let pages = self.fake.pages.borrow();
        let mut calling_areas = 0;
        for number in 0..PAGES + 0x100 {
            let gpa = number * PAGE_SIZE;
            let state = self.core.pages.state(gpa);
            assert_ne!(state, PageState::Busy, "{gpa:#x} has stayed claimed");
            assert_eq!(state == PageState::NotRam, !is_ram(gpa), "{gpa:#x}");
            calling_areas += usize::from(state == PageState::CallingArea);
            if self.broken || state == PageState::NotRam {
                continue;
            }
            let page = &pages[number as usize];
            let others = [1, 3].iter().all(|vmpl| page.permissions[*vmpl].is_empty());
            let guests = page.permissions[2];
            let holds = match state {
                PageState::Unvalidated => !page.validated && !page.vmsa,
                PageState::Validated | PageState::CallingArea => {
                    page.validated && !page.vmsa && guests == RmpPermissions::RWX
                }
                PageState::Vmsa => {
                    page.validated && page.vmsa && !guests.contains(RmpPermissions::WRITE)
                }
                _ => false,
            };
            assert!(
                holds && others,
                "{gpa:#x} is {state:?}, but validated {}, VMSA {}, {:?}",
                page.validated,
                page.vmsa,
                page.permissions
            );
        }
        let used: BTreeSet<u64> = self.vcpus.iter().filter_map(Vcpu::calling_area).collect();
        assert!(self.broken || calling_areas == used.len());
    }
}

pub const VTPM: Target = Target {
    words: &[b"\x08\0\0\0\0\x0c\0\0\0", b"\xf7\x0f\0\0"],
    ..Target::new("vtpm-request", HEADER_BYTES + 4, run_vtpm)
};

/// 58019 §8, table 16, read once more.
fn run_vtpm(input: &[u8]) -> Outcome {
    let mut header = [0; HEADER_BYTES];
    for (to, from) in header.iter_mut().zip(input) {
        *to = *from;
    }
    let found = Header::parse(&header);
    let size = u32::from_le_bytes([header[5], header[6], header[7], header[8]]);
    let good = header[..5] == [8, 0, 0, 0, 0] && (10..=4096 - 9).contains(&size);
    assert_eq!(
        found,
        if good {
            Ok(size)
        } else {
            Err(result::INVALID_PARAMETER)
        }
    );
    if let Ok(size) = found {
        assert!(size <= vtpm::MAX_COMMAND && HEADER_BYTES as u32 + size <= 4096);
        assert_eq!(vtpm::response_header(size), size.to_le_bytes());
    }
    Outcome::new(found.is_ok(), found)
}

pub const EXCHANGE: Target = Target {
    record: 2,
    ..Target::new("exchange", 200, run_exchange)
};

/// Calls of three vCPUs for one service, two bytes a call, against what the guest was promised: one request at a time, a
/// response for whom it is, and nobody waits for ever.
fn run_exchange(input: &[u8]) -> Outcome {
    let mut exchange = Exchange::new();
    let (mut owner, mut working, mut done) = (None::<(u8, u8)>, false, false);
    let (mut since, mut now) = (0, 0);
    let (mut delivered, mut log) = (0, Vec::new());
    for step in input.as_chunks::<2>().0 {
        now += u64::from(step[1]) * 20;
        let (who, request) = (step[0] & 3, step[0] >> 2 & 1);
        let call = match owner {
            Some(own) if own == (who, request) => Call::Same,
            Some((other, _)) if other == who => Call::Replaced,
            _ => Call::Other,
        };
        let decision = exchange.admit(call, now);
        match decision {
            Decision::Start => {
                assert!(!working, "a second request");
                let kept = now < since + KEPT_MS;
                assert!(
                    !(done && kept && call == Call::Other),
                    "a response was thrown away too early"
                );
                assert!(!(done && call == Call::Same), "a response is not delivered");
                (owner, working, done) = (Some((who, request)), true, false);
            }
            Decision::Continue => assert!(working && call == Call::Same),
            Decision::Lend => assert!(working && call != Call::Same),
            Decision::Deliver => {
                assert!(done && call == Call::Same);
                (owner, done) = (None, false);
                delivered += 1;
            }
            Decision::Busy => assert!(done && call == Call::Other && now < since + KEPT_MS),
        }
        let slice = matches!(
            decision,
            Decision::Start | Decision::Continue | Decision::Lend
        );
        if slice && step[0] & 0x10 != 0 {
            let own = exchange.finished(decision, now);
            assert_eq!(own, call == Call::Same || decision == Decision::Start);
            (working, done, since) = (false, !own, now);
            if own {
                owner = None;
                delivered += 1;
            }
        }
        log.push(step[0] ^ decision as u8);
    }
    Outcome::new(delivered > 0, log)
}
