//! Ring-3 services: started at boot from the measured image, then passive. A vCPU whose call is for one enters it for a slice
//! of time; see `docs/src/services.md`.

mod process;
mod vtpm;

pub use vtpm::call as vtpm_call;

use crate::arch::cpu;
use crate::arch::sync::{Exclusive, Hold};
use crate::clock;
use crate::console::log;
use crate::fatal::fatal;
use crate::mm;
use boot_abi::BootParams;
use process::{Pause, Process, Reason};
use snp_abi::PAGE_SIZE;
use svsm_abi::{result, termination};
use svsm_core::request::Served;
use svsm_core::service::elf::Image;
use svsm_core::service::exchange::Exchange;
use svsm_core::service::table::{self, Service as Entry};

/// How long a service runs for one call of the guest's.
const SLICE_MS: u64 = 2;
/// A slice counts for at least a part of its length, so that giving the vCPU back at once is no way around the limit; and
/// for a few at most, because the host may not have run the vCPU for all that time.
const LEAST_PART: u64 = 16;
/// As above.
const MOST_TIMES: u64 = 4;
/// How long it may take to get ready.
const START_MS: u64 = 20_000;

/// What only the CPU that holds a service may use.
struct Inner {
    process: Process,
    exchange: Exchange,
    /// The request that the service works on, and where the guest has it.
    request: Message,
    request_gpa: u64,
    /// The request of the call at hand.
    incoming: Message,
    /// Bytes of the response that waits in the message page.
    response: u64,
    /// Time-stamp counter ticks that the request has taken so far, and may take.
    spent: u64,
    longest: u64,
}

/// A copy of a guest's request.
struct Message {
    bytes: &'static mut [u8],
    length: usize,
}

impl Message {
    fn new() -> Result<Message, mm::OutOfMemory> {
        Ok(Message {
            bytes: mm::allocate_slice(PAGE_SIZE as usize, |_| 0)?,
            length: 0,
        })
    }

    /// Clears it.
    fn clear(&mut self) {
        if let Some(used) = self.bytes.get_mut(..self.length) {
            used.fill(0);
        }
        self.length = 0;
    }

    fn get(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// A service.
pub struct Service {
    protocol: u32,
    inner: Exclusive<Inner>,
}

/// All services of the image.
pub struct Services {
    list: &'static [Service],
    served: Served,
}

impl Services {
    /// The protocols that are served at this moment.
    pub fn served(&self) -> &Served {
        &self.served
    }

    /// What CR3 holds while each of them runs.
    #[cfg(feature = "tests")]
    pub fn tables(&self) -> impl Iterator<Item = u64> {
        let hold = |service: &Service| Some(service.inner.try_hold()?.process.space().cr3());
        self.list.iter().filter_map(hold)
    }

    /// Takes hold of the service for a protocol: UNSUPPORTED_PROTOCOL when there is none (any more), BUSY when another CPU
    /// has it.
    fn hold(&self, protocol: u32) -> Result<(&Service, Hold<'_, Inner>), u64> {
        let service = self
            .list
            .iter()
            .find(|service| service.protocol == protocol);
        let service = service.ok_or(result::UNSUPPORTED_PROTOCOL)?;
        let hold = service.inner.try_hold();
        // It may have ended before it was ours, so this is asked last.
        if self.served.has(protocol) {
            hold.map(|inner| (service, inner)).ok_or(result::BUSY)
        } else {
            Err(result::UNSUPPORTED_PROTOCOL)
        }
    }

    /// Takes a service's protocol back: it has ended, and is not started anew while the guest runs. A TPM that came back
    /// would have its PCRs at zero, and whoever can crash it could replay a good boot.
    fn withdraw(&self, service: &Service, inner: &mut Inner, reason: Reason) {
        self.served.withdraw(service.protocol);
        log!("service {}: killed: {reason}", inner.process.name());
        inner.process.wipe();
        inner.forget();
    }
}

impl Inner {
    /// Gives the service a slice.
    fn slice(&mut self, milliseconds: u64) -> Pause {
        let begun = cpu::tsc();
        let length = clock::ticks(milliseconds);
        let pause = self.process.run(begun + length);
        let took = cpu::tsc().wrapping_sub(begun);
        self.spent += took.clamp(length / LEAST_PART, length * MOST_TIMES);
        match pause {
            Pause::Sliced if self.spent > self.longest => Pause::Ended(Reason::TooLong),
            other => other,
        }
    }

    /// Forgets a request and its response: the guest has got it.
    fn forget(&mut self) {
        let longest = self.request.length.max(self.response as usize);
        self.process.clear_message(longest);
        self.request.clear();
        self.incoming.clear();
        self.response = 0;
    }
}

/// Starts all services of the image, one after the other, up to where each waits for its first request. One that cannot be
/// started stops the boot: the image is measured, so it is wrong for good.
pub fn start(params: &BootParams) -> Services {
    let area = mm::parameters(params.services.base.get(), params.services.size.get());
    let entries = match table::parse(area.unwrap_or_default()) {
        Ok(entries) => entries,
        Err(error) => fatal!(termination::Reason::BootParams, "{error}"),
    };
    let count = entries.iter().count();
    let mut entries = entries.iter();
    let served = Served::new();
    let list = mm::allocate_slice(count, |_| {
        let service = entries.next().and_then(|entry| launch(&entry).ok());
        let Some(service) = service else {
            fatal!(
                termination::Reason::OutOfMemory,
                "services: {}",
                mm::OutOfMemory
            );
        };
        served.add(service.protocol);
        service
    });
    let Ok(list) = list else {
        fatal!(
            termination::Reason::OutOfMemory,
            "services: {}",
            mm::OutOfMemory
        );
    };
    Services { list, served }
}

/// Makes a service's process and lets it get ready.
fn launch(entry: &Entry<'static>) -> Result<Service, mm::OutOfMemory> {
    let image = match Image::parse(entry.image) {
        Ok(image) => image,
        Err(error) => fatal!(
            termination::Reason::BootParams,
            "service {}: {error}",
            entry.name
        ),
    };
    let begun = clock::milliseconds();
    let mut inner = Inner {
        process: Process::new(entry.name, &image, entry.heap_pages as u64)?,
        exchange: Exchange::new(),
        request: Message::new()?,
        request_gpa: 0,
        incoming: Message::new()?,
        response: 0,
        spent: 0,
        longest: clock::ticks(entry.request_seconds as u64 * 1000),
    };
    loop {
        match inner.slice(START_MS) {
            Pause::Answered(_) => break,
            Pause::Sliced if clock::milliseconds() - begun < START_MS => {}
            Pause::Sliced => fatal!(
                termination::Reason::BootParams,
                "service {}: not ready after {} s",
                entry.name,
                START_MS / 1000
            ),
            Pause::Ended(reason) => fatal!(
                termination::Reason::BootParams,
                "service {}: ended at its start: {reason}",
                entry.name
            ),
        }
    }
    log!(
        "service {}: ready after {} ms, protocol {}, {} KiB, heap {} of {} KiB",
        entry.name,
        clock::milliseconds() - begun,
        entry.protocol,
        inner.process.space().pages() * PAGE_SIZE / 1024,
        inner.process.space().heap_mapped() * PAGE_SIZE / 1024,
        entry.heap_pages as u64 * PAGE_SIZE / 1024
    );
    Ok(Service {
        protocol: entry.protocol,
        inner: Exclusive::new(inner),
    })
}
