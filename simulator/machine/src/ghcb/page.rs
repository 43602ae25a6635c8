//! The GHCB page protocol: copy, check, act, write back.

use super::{io, mmio, msrs, state_change, vcpus};
use crate::arch::{guest, phys};
use crate::exit_status::ExitStatus;
use crate::memory;
use crate::vcpu::{LevelState, Vcpu};
use crate::{diagnosis, trace};
use snp_abi::ghcb::{Ghcb, SHARED_BUFFER_OFFSET};
use snp_model::ghcb::{self, Event, Malformed, Reply};
use snp_model::trace::Topic;
use zerocopy::IntoBytes;

/// What of the page is copied at once: the fields. The shared buffer follows when an event uses it.
const FIELDS: usize = 0x400;
/// Version and usage.
const TAIL: usize = 0xFF0;
/// Error of a guest request that the hypervisor cannot pass on (56421 §4.1.7; Linux `SNP_GUEST_VMM_ERR_GENERIC`).
const GUEST_REQUEST_GENERIC: u64 = 0xFFFF_FFFF << 32;

/// Whether a GHCB can be at `gpa`: guest memory.
pub fn may_be_ghcb(gpa: u64) -> bool {
    memory::lock().frame(gpa).is_some()
}

/// A GHCB of the guest's that is in hypervisor-owned memory.
#[derive(Clone, Copy)]
pub struct Shared {
    hpa: u64,
}

impl Shared {
    /// The page at `gpa`, if it is shared memory now.
    pub fn at(gpa: u64) -> Option<Shared> {
        let mut memory = memory::lock();
        let hpa = memory.frame(gpa)?;
        (!memory.entry(hpa).assigned()).then_some(Shared { hpa: hpa & !0xFFF })
    }

    /// Copies out of the page; what lies past its end is left alone.
    pub fn read(self, offset: usize, buffer: &mut [u8]) {
        let length = buffer.len().min(4096 - offset);
        phys::read(self.hpa + offset as u64, &mut buffer[..length]);
    }

    /// Copies into the page.
    pub fn write(self, offset: usize, bytes: &[u8]) {
        let length = bytes.len().min(4096 - offset);
        guest::write(self.hpa + offset as u64, &bytes[..length]);
    }
}

/// What is left to be done after an event.
pub enum After {
    /// Write the reply; the VMPL goes on.
    Reply(Reply),
    /// Write the reply; another VMPL or none runs then.
    ReplyAndLeave(Reply),
}

/// Handles the request in the GHCB at `gpa`.
pub fn handle(vcpu: &mut Vcpu, gpa: u64) {
    let Some(page) = Shared::at(gpa) else {
        diagnosis::stop(
            vcpu,
            ExitStatus::Diagnosis,
            format_args!("VMGEXIT with a GHCB at GPA {gpa:#x}, which is not shared memory"),
        );
    };
    let registered = vcpu.level().registered;
    let bytes = vcpu.ghcb.as_mut_bytes();
    page.read(0, &mut bytes[..FIELDS]);
    page.read(TAIL, &mut bytes[TAIL..]);
    let reply = match ghcb::parse(vcpu.ghcb, gpa, registered) {
        Ok(request) => {
            crate::trace::event(request.exit_code);
            trace!(
                vcpu,
                Topic::Ghcb,
                "NAE {:#x} info {:#x} {:#x}: {:x?}",
                request.exit_code,
                request.info_1,
                request.info_2,
                request.event
            );
            event(vcpu, page, request.event)
        }
        Err(why) => {
            trace!(vcpu, Topic::Ghcb, "malformed: {why}");
            if let Malformed::NotRegistered { .. } = why {
                crate::say!("vCPU {}: {why}", vcpu.index());
            }
            After::Reply(Reply::malformed(why))
        }
    };
    let (After::Reply(reply) | After::ReplyAndLeave(reply)) = reply;
    trace!(vcpu, Topic::Ghcb, "reply {reply:x?}");
    for write in reply.writes() {
        page.write(write.offset.into(), &write.value.to_le_bytes());
    }
}

/// Copies the shared buffer, for the events that use it.
pub fn copy_buffer(vcpu: &mut Vcpu, page: Shared) {
    let start = SHARED_BUFFER_OFFSET as usize;
    let ghcb: &mut Ghcb = vcpu.ghcb;
    page.read(start, &mut ghcb.shared_buffer);
}

fn event(vcpu: &mut Vcpu, page: Shared, event: Event) -> After {
    After::Reply(match event {
        Event::Cpuid {
            leaf,
            subleaf,
            xcr0,
            xss,
        } => Reply::cpuid(super::cpuid(vcpu, leaf, subleaf, xcr0, xss)),
        Event::Io(request) => io::handle(vcpu, page, request),
        Event::RdMsr { msr } => msrs::read(vcpu, msr),
        Event::WrMsr { msr, value } => msrs::write(vcpu, msr, value),
        Event::Rdtsc => Reply::value64(super::tsc()),
        Event::Rdtscp => Reply {
            rcx: Some(u64::from(crate::svm::registers::tsc_aux())),
            ..Reply::value64(super::tsc())
        },
        // No counters are offered.
        Event::Rdpmc { .. } => Reply::value64(0),
        Event::Invd | Event::Wbinvd | Event::Monitor | Event::Mwait => Reply::OK,
        // No hypercalls are offered: KVM's answer to an unknown one, -ENOSYS.
        Event::Vmmcall { .. } => Reply::rax(-1000i64 as u64),
        Event::ReadDr7 => Reply::rax(snp_abi::vmsa::DR7_RESET),
        // KVM without DebugSwap accepts the write and does nothing.
        Event::WriteDr7 { .. } => Reply::OK,
        Event::MmioRead { gpa, size, scratch } => mmio::read(vcpu, page, gpa, size, scratch),
        Event::MmioWrite { gpa, size, scratch } => mmio::write(vcpu, page, gpa, size, scratch),
        Event::NmiComplete => {
            vcpu.level().nmi_blocked = false;
            Reply::OK
        }
        Event::ApResetHold => {
            vcpu.level().set_state(LevelState::Held);
            // info2 is what the guest finds once it is started.
            return After::ReplyAndLeave(Reply::info2(1));
        }
        Event::ApJumpTable { .. } => Reply::OK,
        Event::PageStateChange { scratch } => state_change::list(vcpu, page, scratch),
        Event::GuestRequest { .. } | Event::ExtGuestRequest { .. } => {
            Reply::info2(GUEST_REQUEST_GENERIC)
        }
        Event::ApCreation {
            action,
            vmpl,
            apic_id,
            vmsa_gpa,
            features,
        } => vcpus::create(vcpu, action, vmpl, apic_id, vmsa_gpa, features),
        Event::GetApicIds { pages, list } => vcpus::apic_ids(pages, list),
        Event::RunVmpl { vmpl } => {
            if vcpu.run_vmpl(vmpl) {
                return After::ReplyAndLeave(Reply::OK);
            }
            Reply::malformed(Malformed::InvalidInput {
                exit_code: snp_abi::exit::RUN_VMPL,
                field: "VMPL",
                value: vmpl as u64,
            })
        }
        Event::HvDoorbell { operation, gpa } => vcpus::doorbell(vcpu, operation, gpa),
        Event::HvIpi { .. } => Reply::malformed(Malformed::InvalidEvent {
            exit_code: snp_abi::exit::HV_IPI,
        }),
        Event::HvFeatures => Reply::info2(super::HV_FEATURES),
        Event::Terminate {
            set,
            reason,
            info_2,
        } => super::terminated(vcpu, set, reason, Some(info_2)),
        Event::Unsupported { exit_code } => diagnosis::stop(
            vcpu,
            ExitStatus::GuestTerminated,
            format_args!("the guest's #VC handler does not support exit code {exit_code:#x}"),
        ),
    })
}
