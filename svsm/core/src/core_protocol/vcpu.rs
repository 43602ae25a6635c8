//! REMAP_CA, CREATE_VCPU and DELETE_VCPU (58019 §7.1, §7.3, §7.4).

use super::CoreProtocol;
use super::pvalidate::{GUEST_VMPL, LESS_PRIVILEGED};
use crate::machine::{GuestMemory, MemoryFault, PageOpError, PageOps, adjust};
use crate::page_map::{Claim, PageState};
use crate::request::{CallResult, Registers};
use crate::sync::pause;
use crate::vcpu::{Vcpu, VmsaAccess, set_runnable};
use core::mem::offset_of;
use snp_abi::msr::EFER_SVME;
use snp_abi::rmp::result::FAIL_INUSE;
use snp_abi::vmsa::Vmsa;
use snp_abi::{PageSize, RmpPermissions};
use svsm_abi::{CallingArea, result};

/// DELETE_VCPU: the VMSA is being run.
const IN_USE: u64 = result::PROTOCOL_BASE + FAIL_INUSE;

/// RMPADJUST attempts on a VMSA that is being run, before the guest is told so: it leaves the processor at its next
/// exit and cannot come back, as EFER.SVME is clear.
const IN_USE_ATTEMPTS: u32 = 1000;

impl<M: GuestMemory + PageOps + VmsaAccess> CoreProtocol<'_, M> {
    /// RCX: GPA of the page with the caller's new calling area.
    pub(super) fn remap_ca(&self, caller: &Vcpu, registers: &Registers) -> CallResult {
        let _alone = self.lock.write().ok_or(result::BUSY)?;
        let gpa = registers.rcx;
        Self::page_aligned(gpa)?;
        let vmsa = caller.vmsa().ok_or(result::INVALID_REQUEST)?;
        if caller.calling_area() == Some(gpa) {
            return Ok(());
        }
        let page = self.claim_calling_area(gpa)?;
        self.move_calling_area(caller, vmsa, gpa, Some(page));
        Ok(())
    }

    /// RCX: GPA of the VMSA, RDX: of its calling area, R8 31:0: APIC ID.
    pub(super) fn create_vcpu(&self, registers: &Registers) -> CallResult {
        let _alone = self.lock.write().ok_or(result::BUSY)?;
        let (vmsa, calling_area) = (registers.rcx, registers.rdx);
        Self::page_aligned(vmsa)?;
        Self::page_aligned(calling_area)?;
        if vmsa == calling_area {
            return Err(result::INVALID_ADDRESS);
        }
        let vcpu = self
            .vcpus
            .online(registers.r8 as u32)
            .ok_or(result::INVALID_PARAMETER)?;
        let vmsa_page = self
            .pages
            .claim(vmsa, PageSize::Size4K, PageState::Validated)
            .map_err(Self::refused)?;
        // A vCPU that is started anew may keep its calling area.
        let calling_area_page = if vcpu.calling_area() == Some(calling_area) {
            None
        } else {
            Some(self.claim_calling_area(calling_area)?)
        };
        match self.make_vmsa(vmsa) {
            Ok(()) => {
                vmsa_page.settle(PageState::Vmsa);
                self.move_calling_area(vcpu, vmsa, calling_area, calling_area_page);
                Ok(())
            }
            Err(code) => {
                // Give back what was taken away for the check.
                if adjust(
                    self.machine,
                    vmsa,
                    PageSize::Size4K,
                    GUEST_VMPL,
                    RmpPermissions::RWX,
                )
                .is_err()
                {
                    vmsa_page.settle(PageState::Lost);
                }
                Err(code)
            }
        }
    }

    /// RCX: GPA of the VMSA. The page becomes the guest's again.
    pub(super) fn delete_vcpu(&self, caller: &Vcpu, registers: &Registers) -> CallResult {
        let _alone = self.lock.write().ok_or(result::BUSY)?;
        let vmsa = registers.rcx;
        let page = match self.pages.claim(vmsa, PageSize::Size4K, PageState::Vmsa) {
            Ok(page) => page,
            Err(_) => return Err(result::INVALID_PARAMETER),
        };
        if caller.vmsa() == Some(vmsa) {
            return Err(IN_USE);
        }
        // From now on no VMRUN takes it. If it runs at this moment, the store waits for its exit, or RMPADJUST says so.
        let fault = |MemoryFault| result::INVALID_ADDRESS;
        set_runnable(self.machine, vmsa, false).map_err(fault)?;
        let mut freed = Err(PageOpError::Code(FAIL_INUSE));
        for _ in 0..IN_USE_ATTEMPTS {
            freed = adjust(
                self.machine,
                vmsa,
                PageSize::Size4K,
                GUEST_VMPL,
                RmpPermissions::READ,
            );
            if freed != Err(PageOpError::Code(FAIL_INUSE)) {
                break;
            }
            pause();
        }
        freed.map_err(Self::failed)?;
        if let Some(vcpu) = self.vcpus.running(vmsa) {
            let calling_area = vcpu.calling_area();
            vcpu.set_guest(None);
            self.release_calling_area(calling_area);
        }
        // It is memory now, and goes back as the vCPU left it.
        let given_back = set_runnable(self.machine, vmsa, true)
            .map_err(fault)
            .and_then(|()| {
                adjust(
                    self.machine,
                    vmsa,
                    PageSize::Size4K,
                    GUEST_VMPL,
                    RmpPermissions::RWX,
                )
                .map_err(Self::failed)
            });
        page.settle(match given_back {
            Ok(()) => PageState::Validated,
            Err(_) => PageState::Lost,
        });
        given_back
    }

    /// Takes all levels' access to the page, so that what is checked stays so, and makes it a VMSA if it is one that
    /// the guest may have.
    fn make_vmsa(&self, vmsa: u64) -> CallResult {
        for vmpl in LESS_PRIVILEGED {
            adjust(
                self.machine,
                vmsa,
                PageSize::Size4K,
                vmpl,
                RmpPermissions::empty(),
            )
            .map_err(Self::failed)?;
        }
        self.machine.flush_guest_tlbs();
        let field = |offset| {
            self.machine
                .read_u64(vmsa, offset)
                .map_err(|MemoryFault| result::INVALID_ADDRESS)
        };
        // The quadword at 0xC8 holds VMPL in its third byte.
        const VMPL_QUADWORD: usize = offset_of!(Vmsa, reserved_c8);
        let vmpl = field(VMPL_QUADWORD)? >> ((offset_of!(Vmsa, vmpl) - VMPL_QUADWORD) * 8) & 0xFF;
        let efer = field(offset_of!(Vmsa, efer))?;
        let features = field(offset_of!(Vmsa, sev_features))?;
        if vmpl != GUEST_VMPL as u64
            || efer & EFER_SVME == 0
            || features != self.guest_features.bits()
        {
            return Err(result::INVALID_PARAMETER);
        }
        // Linux reads SEV_FEATURES from the page after this call.
        self.machine
            .rmpadjust(
                vmsa,
                PageSize::Size4K,
                GUEST_VMPL,
                RmpPermissions::READ,
                true,
            )
            .map_err(Self::failed)
    }

    /// Claims a page of the guest's for a calling area and clears its header: no call is pending there.
    fn claim_calling_area(&self, gpa: u64) -> Result<Claim<'_>, u64> {
        let page = self
            .pages
            .claim(gpa, PageSize::Size4K, PageState::Validated)
            .map_err(Self::refused)?;
        self.machine
            .write(gpa, &[0; size_of::<CallingArea>()])
            .map_err(|MemoryFault| result::INVALID_ADDRESS)?;
        Ok(page)
    }

    /// Makes `gpa` the vCPU's calling area; the old one is ordinary memory again. No `page` means that it stays where
    /// it is.
    fn move_calling_area(&self, vcpu: &Vcpu, vmsa: u64, gpa: u64, page: Option<Claim<'_>>) {
        let old = vcpu.calling_area();
        vcpu.set_guest(Some((vmsa, gpa)));
        if let Some(page) = page {
            page.settle(PageState::CallingArea);
            self.release_calling_area(old);
        }
    }

    fn release_calling_area(&self, gpa: Option<u64>) {
        if let Some(gpa) = gpa
            && let Ok(page) = self
                .pages
                .claim(gpa, PageSize::Size4K, PageState::CallingArea)
        {
            page.settle(PageState::Validated);
        }
    }
}
