//! Page state change: the guest asks that pages become private or shared.

use super::page::{Shared, copy_buffer};
use crate::memory;
use crate::trace;
use crate::vcpu::Vcpu;
use snp_abi::ghcb::SHARED_BUFFER_OFFSET;
use snp_abi::{PAGE_SIZE, PageSize, Vmpl};
use snp_model::ghcb::{Reply, Scratch};
use snp_model::psc::{self, Operation, Stop};
use snp_model::trace::Topic;

/// Whether a VMPL may have this page's state changed. The host could do it at any time; refusing what can only do harm (the
/// SVSM's memory, VMSAs) keeps a guest's mistakes visible.
fn allowed(memory: &mut memory::Memory, vmpl: Vmpl, gpa: u64, size: PageSize) -> bool {
    if vmpl == Vmpl::Vmpl0 {
        return true;
    }
    (gpa..gpa + size.bytes())
        .step_by(PAGE_SIZE as usize)
        .all(|page| {
            !memory.is_extra(page) && memory.entry_at(page).is_some_and(|entry| !entry.vmsa())
        })
}

fn change(
    memory: &mut memory::Memory,
    vcpu: &Vcpu,
    gpa: u64,
    size: PageSize,
    private: bool,
) -> bool {
    let result = if allowed(memory, vcpu.vmpl(), gpa, size) {
        memory.change_state(gpa, size, private).map_err(Some)
    } else {
        Err(None)
    };
    trace!(
        vcpu,
        Topic::Psc,
        "{gpa:#x} {size:?} private {private}: {result:?}"
    );
    result.is_ok()
}

/// Changes one page.
pub fn one(vcpu: &mut Vcpu, gpa: u64, size: PageSize, private: bool) -> bool {
    let mut memory = memory::lock();
    let done = change(&mut memory, vcpu, gpa, size, private);
    memory::finish(memory);
    done
}

/// Changes the pages listed in the shared buffer.
pub fn list(vcpu: &mut Vcpu, page: Shared, scratch: Scratch) -> Reply {
    copy_buffer(vcpu, page);
    let start = usize::from(scratch.offset) - SHARED_BUFFER_OFFSET as usize;
    let end = start + usize::from(scratch.available);
    let mut buffer = vcpu.ghcb.shared_buffer;
    let Some(list) = buffer.get_mut(start..end) else {
        return Reply::info2(psc::ERROR_INVALID_HEADER);
    };
    let mut memory = memory::lock();
    let result = psc::run(list, |wanted| {
        let private = wanted.operation == Operation::Private;
        if change(&mut memory, vcpu, wanted.gpa, wanted.size, private) {
            Ok(())
        } else {
            Err(Stop::Failed)
        }
    });
    memory::finish(memory);
    page.write(scratch.offset.into(), list);
    Reply::info2(result)
}
