//! From a copied GHCB to a checked request.

use super::{ApAction, Event, IoRequest, Malformed, Request, Scratch};
use core::mem::offset_of;
use snp_abi::exit::{self, ioio};
use snp_abi::ghcb::{
    Ghcb, PscHeader, SHARED_BUFFER_OFFSET, SHARED_BUFFER_SIZE, USAGE_STANDARD, valid_bit,
};
use snp_abi::{LARGE_PAGE_SIZE, PAGE_SIZE, Vmpl};

/// Checks the copy `ghcb` of the page at `gpa`; `registered` is what the vCPU registered at this VMPL.
///
/// The order is KVM's: registered, usage, exit code and infos valid, then what the event needs. protocol_version is not
/// looked at, as Linux does not fill it in everywhere.
pub fn parse(ghcb: &Ghcb, gpa: u64, registered: Option<u64>) -> Result<Request, Malformed> {
    if registered != Some(gpa) {
        return Err(Malformed::NotRegistered { gpa, registered });
    }
    let usage = ghcb.ghcb_usage.get();
    if usage != USAGE_STANDARD {
        return Err(Malformed::Usage { usage });
    }
    let page = Page { ghcb, gpa };
    let exit_code = page.need(Field::ExitCode)?;
    let info_1 = page.need(Field::Info1)?;
    let info_2 = page.need(Field::Info2)?;
    Ok(Request {
        exit_code,
        info_1,
        info_2,
        event: page.event(exit_code, info_1, info_2)?,
    })
}

/// The fields that requests use.
#[derive(Clone, Copy)]
enum Field {
    Cpl,
    Xss,
    Rax,
    Rbx,
    Rcx,
    Rdx,
    Rsi,
    ExitCode,
    Info1,
    Info2,
    Scratch,
    Xcr0,
}

impl Field {
    const fn name_and_offset(self) -> (&'static str, usize) {
        match self {
            Field::Cpl => ("CPL", offset_of!(Ghcb, cpl)),
            Field::Xss => ("XSS", offset_of!(Ghcb, xss)),
            Field::Rax => ("RAX", offset_of!(Ghcb, rax)),
            Field::Rbx => ("RBX", offset_of!(Ghcb, rbx)),
            Field::Rcx => ("RCX", offset_of!(Ghcb, rcx)),
            Field::Rdx => ("RDX", offset_of!(Ghcb, rdx)),
            Field::Rsi => ("RSI", offset_of!(Ghcb, rsi)),
            Field::ExitCode => ("SW_EXITCODE", offset_of!(Ghcb, sw_exit_code)),
            Field::Info1 => ("SW_EXITINFO1", offset_of!(Ghcb, sw_exit_info_1)),
            Field::Info2 => ("SW_EXITINFO2", offset_of!(Ghcb, sw_exit_info_2)),
            Field::Scratch => ("SW_SCRATCH", offset_of!(Ghcb, sw_scratch)),
            Field::Xcr0 => ("XCR0", offset_of!(Ghcb, xcr0)),
        }
    }

    const fn value(self, ghcb: &Ghcb) -> u64 {
        match self {
            Field::Cpl => ghcb.cpl as u64,
            Field::Xss => ghcb.xss.get(),
            Field::Rax => ghcb.rax.get(),
            Field::Rbx => ghcb.rbx.get(),
            Field::Rcx => ghcb.rcx.get(),
            Field::Rdx => ghcb.rdx.get(),
            Field::Rsi => ghcb.rsi.get(),
            Field::ExitCode => ghcb.sw_exit_code.get(),
            Field::Info1 => ghcb.sw_exit_info_1.get(),
            Field::Info2 => ghcb.sw_exit_info_2.get(),
            Field::Scratch => ghcb.sw_scratch.get(),
            Field::Xcr0 => ghcb.xcr0.get(),
        }
    }
}

/// The copied page and where it was.
struct Page<'a> {
    ghcb: &'a Ghcb,
    gpa: u64,
}

impl Page<'_> {
    /// The field's value if it is marked valid.
    fn get(&self, field: Field) -> Option<u64> {
        let bit = valid_bit(field.name_and_offset().1);
        let byte = self.ghcb.valid_bitmap.get(bit / 8)?;
        (byte >> (bit % 8) & 1 != 0).then(|| field.value(self.ghcb))
    }

    /// The field's value, or zero as KVM takes it.
    fn or_zero(&self, field: Field) -> u64 {
        self.get(field).unwrap_or(0)
    }

    fn need(&self, field: Field) -> Result<u64, Malformed> {
        self.get(field).ok_or(Malformed::MissingInput {
            exit_code: self.ghcb.sw_exit_code.get(),
            field: field.name_and_offset().0,
        })
    }

    fn invalid(&self, field: Field, value: u64) -> Malformed {
        Malformed::InvalidInput {
            exit_code: self.ghcb.sw_exit_code.get(),
            field: field.name_and_offset().0,
            value,
        }
    }

    fn event(&self, exit_code: u64, info_1: u64, info_2: u64) -> Result<Event, Malformed> {
        Ok(match exit_code {
            exit::CPUID => self.cpuid()?,
            exit::IOIO => Event::Io(self.io(info_1, info_2)?),
            exit::MSR => self.msr(info_1)?,
            exit::RDTSC => Event::Rdtsc,
            exit::RDTSCP => Event::Rdtscp,
            exit::RDPMC => Event::Rdpmc {
                counter: self.need(Field::Rcx)? as u32,
            },
            exit::INVD => Event::Invd,
            exit::WBINVD => Event::Wbinvd,
            exit::MONITOR => {
                self.need(Field::Rax)?;
                self.need(Field::Rcx)?;
                self.need(Field::Rdx)?;
                Event::Monitor
            }
            exit::MWAIT => {
                self.need(Field::Rax)?;
                self.need(Field::Rcx)?;
                Event::Mwait
            }
            exit::VMMCALL => Event::Vmmcall {
                rax: self.need(Field::Rax)?,
                cpl: self.need(Field::Cpl)? as u8,
                rbx: self.or_zero(Field::Rbx),
                rcx: self.or_zero(Field::Rcx),
                rdx: self.or_zero(Field::Rdx),
                rsi: self.or_zero(Field::Rsi),
            },
            exit::READ_DR7 => Event::ReadDr7,
            exit::WRITE_DR7 => Event::WriteDr7 {
                value: self.need(Field::Rax)?,
            },
            exit::MMIO_READ => {
                let (size, scratch) = self.mmio(info_2)?;
                Event::MmioRead {
                    gpa: info_1,
                    size,
                    scratch,
                }
            }
            exit::MMIO_WRITE => {
                let (size, scratch) = self.mmio(info_2)?;
                Event::MmioWrite {
                    gpa: info_1,
                    size,
                    scratch,
                }
            }
            exit::NMI_COMPLETE => Event::NmiComplete,
            exit::AP_RESET_HOLD => Event::ApResetHold,
            exit::AP_JUMP_TABLE => Event::ApJumpTable { info_1, info_2 },
            exit::PAGE_STATE_CHANGE => Event::PageStateChange {
                scratch: self.scratch(size_of::<PscHeader>() as u64)?,
            },
            exit::GUEST_REQUEST => {
                self.message_pages(info_1, info_2)?;
                Event::GuestRequest {
                    request: info_1,
                    response: info_2,
                }
            }
            exit::EXTENDED_GUEST_REQUEST => self.extended_guest_request(info_1, info_2)?,
            exit::AP_CREATION => self.ap_creation(info_1, info_2)?,
            exit::HV_DOORBELL => Event::HvDoorbell {
                operation: info_1,
                gpa: info_2,
            },
            exit::HV_IPI => Event::HvIpi { info_1 },
            exit::GET_APIC_IDS => Event::GetApicIds {
                pages: self.need(Field::Rax)?,
                list: info_1,
            },
            exit::RUN_VMPL => Event::RunVmpl {
                vmpl: self.vmpl(info_1)?,
            },
            exit::HV_FEATURES => Event::HvFeatures,
            // Set in 3:0 and reason in 11:4, the MSR protocol's fields without its code (Linux `sev_es_terminate`).
            exit::TERMINATE => Event::Terminate {
                set: (info_1 & 0xF) as u8,
                reason: (info_1 >> 4) as u8,
                info_2,
            },
            exit::UNSUPPORTED => Event::Unsupported { exit_code: info_1 },
            _ => return Err(Malformed::InvalidEvent { exit_code }),
        })
    }

    fn cpuid(&self) -> Result<Event, Malformed> {
        let leaf = self.need(Field::Rax)? as u32;
        let subleaf = self.need(Field::Rcx)? as u32;
        let xcr0 = if leaf == 0xD {
            Some(self.need(Field::Xcr0)?)
        } else {
            self.get(Field::Xcr0)
        };
        Ok(Event::Cpuid {
            leaf,
            subleaf,
            xcr0,
            xss: self.get(Field::Xss),
        })
    }

    fn io(&self, info_1: u64, info_2: u64) -> Result<IoRequest, Malformed> {
        let size = match info_1 & (ioio::SIZE_8 | ioio::SIZE_16 | ioio::SIZE_32) {
            ioio::SIZE_8 => 1,
            ioio::SIZE_16 => 2,
            ioio::SIZE_32 => 4,
            _ => return Err(self.invalid(Field::Info1, info_1)),
        };
        let input = info_1 & ioio::IN != 0;
        let mut request = IoRequest {
            port: (info_1 >> ioio::PORT_SHIFT) as u16,
            input,
            size,
            rax: 0,
            string: None,
        };
        if info_1 & ioio::STRING != 0 {
            let count = u32::try_from(info_2).map_err(|_| self.invalid(Field::Info2, info_2))?;
            let scratch = self.scratch(u64::from(count) * u64::from(size))?;
            request.string = Some((scratch, count));
        } else if input {
            request.rax = self.or_zero(Field::Rax);
        } else {
            let mask = u64::MAX >> (64 - 8 * u32::from(size));
            request.rax = self.need(Field::Rax)? & mask;
        }
        Ok(request)
    }

    fn msr(&self, info_1: u64) -> Result<Event, Malformed> {
        let msr = self.need(Field::Rcx)? as u32;
        if info_1 == 0 {
            return Ok(Event::RdMsr { msr });
        }
        let low = self.need(Field::Rax)? & 0xFFFF_FFFF;
        let high = self.need(Field::Rdx)? & 0xFFFF_FFFF;
        Ok(Event::WrMsr {
            msr,
            value: high << 32 | low,
        })
    }

    fn mmio(&self, length: u64) -> Result<(u8, Scratch), Malformed> {
        self.need(Field::Scratch)?;
        if length > 8 {
            return Err(self.invalid(Field::Info2, length));
        }
        Ok((length as u8, self.scratch(length)?))
    }

    /// The scratch area, which must lie in this page's shared buffer with `length` bytes (protocol version 2).
    fn scratch(&self, length: u64) -> Result<Scratch, Malformed> {
        let scratch = self.need(Field::Scratch)?;
        let error = Malformed::Scratch {
            gpa: self.gpa,
            scratch,
            length,
        };
        let end = SHARED_BUFFER_OFFSET + SHARED_BUFFER_SIZE as u64;
        let offset = scratch.checked_sub(self.gpa).ok_or(error)?;
        if offset < SHARED_BUFFER_OFFSET || offset > end || length > end - offset {
            return Err(error);
        }
        Ok(Scratch {
            offset: offset as u16,
            available: (end - offset) as u16,
        })
    }

    fn message_pages(&self, request: u64, response: u64) -> Result<(), Malformed> {
        if !request.is_multiple_of(PAGE_SIZE) {
            return Err(self.invalid(Field::Info1, request));
        }
        if !response.is_multiple_of(PAGE_SIZE) || request == response {
            return Err(self.invalid(Field::Info2, response));
        }
        Ok(())
    }

    fn extended_guest_request(&self, request: u64, response: u64) -> Result<Event, Malformed> {
        let data = self.need(Field::Rax)?;
        let data_pages = self.need(Field::Rbx)?;
        self.message_pages(request, response)?;
        if !data.is_multiple_of(PAGE_SIZE) {
            return Err(self.invalid(Field::Rax, data));
        }
        Ok(Event::ExtGuestRequest {
            request,
            response,
            data,
            data_pages,
        })
    }

    fn ap_creation(&self, info_1: u64, vmsa_gpa: u64) -> Result<Event, Malformed> {
        let action = match info_1 & 0xFFFF {
            exit::AP_CREATE_ON_INIT => ApAction::CreateOnInit,
            exit::AP_CREATE => ApAction::Create,
            exit::AP_DESTROY => ApAction::Destroy,
            _ => return Err(self.invalid(Field::Info1, info_1)),
        };
        let vmpl = Vmpl::new((info_1 >> 16 & 0xF) as u8)
            .filter(|_| info_1 >> 20 & 0xFFF == 0)
            .ok_or(self.invalid(Field::Info1, info_1))?;
        let features = if action == ApAction::Destroy {
            0
        } else {
            let features = self.need(Field::Rax)?;
            // KVM refuses a VMSA at the start of a large page, because of an erratum of the RMP check.
            if !vmsa_gpa.is_multiple_of(PAGE_SIZE) || vmsa_gpa.is_multiple_of(LARGE_PAGE_SIZE) {
                return Err(self.invalid(Field::Info2, vmsa_gpa));
            }
            features
        };
        Ok(Event::ApCreation {
            action,
            vmpl,
            apic_id: (info_1 >> 32) as u32,
            vmsa_gpa,
            features,
        })
    }

    fn vmpl(&self, info_1: u64) -> Result<Vmpl, Malformed> {
        u8::try_from(info_1)
            .ok()
            .and_then(Vmpl::new)
            .ok_or(self.invalid(Field::Info1, info_1))
    }
}
