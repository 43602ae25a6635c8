//! The measured parameter page, checked against how the SVSM was built. An image that fails here was put together
//! wrongly; the launch digest vouches for the rest.

use boot_abi::{
    BOOT_PARAMS_MAGIC, BootParams, FLAG_DEBUGGER, GpaRange, PARAMS_VERSION, entry_mode, layout,
};
use snp_abi::PAGE_SIZE;
use zerocopy::FromBytes;

/// The only console there is.
pub const SERIAL_PORT: u16 = 0x3F8;

/// Why the parameters were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum BootParamsError {
    #[error("boot parameters: magic is {found:02x?}, not {BOOT_PARAMS_MAGIC:02x?}")]
    Magic { found: [u8; 8] },
    #[error("boot parameters: version {found}; this SVSM knows {PARAMS_VERSION}")]
    Version { found: u32 },
    #[error("boot parameters: {size} bytes; {} are expected", size_of::<BootParams>())]
    Size { size: u32 },
    #[error("boot parameters: {name} is {base:#x} with {size:#x} bytes; expected {expected}")]
    Range {
        name: &'static str,
        base: u64,
        size: u64,
        expected: &'static str,
    },
    #[error("boot parameters: {name} is {gpa:#x}; expected {expected}")]
    Address {
        name: &'static str,
        gpa: u64,
        expected: &'static str,
    },
    #[error(
        "boot parameters: flags {found:#x}; this SVSM {}: {expected:#x} is expected",
        if expected & FLAG_DEBUGGER != 0 { "has a debugger" } else { "has no debugger" }
    )]
    Flags { found: u32, expected: u32 },
}

/// Checks that the parameters say of the SVSM what is so.
pub fn check_flags(params: &BootParams, expected: u32) -> Result<(), BootParamsError> {
    match params.flags.get() {
        found if found == expected => Ok(()),
        found => Err(BootParamsError::Flags { found, expected }),
    }
}

/// First byte and one past the last of a range that does not wrap.
pub fn bounds(range: &GpaRange) -> Option<(u64, u64)> {
    let base = range.base.get();
    Some((base, base.checked_add(range.size.get())?))
}

/// Whether `inner` is whole pages within `outer`.
fn within(inner: &GpaRange, outer: &GpaRange) -> bool {
    match (bounds(inner), bounds(outer)) {
        (Some((start, end)), Some((outer_start, outer_end))) => {
            start.is_multiple_of(PAGE_SIZE)
                && end.is_multiple_of(PAGE_SIZE)
                && outer_start <= start
                && end <= outer_end
        }
        _ => false,
    }
}

/// Reads and checks the page. `base` is where the SVSM's memory is, `image_end` where its image ends by its own symbols.
pub fn check(page: &[u8], base: u64, image_end: u64) -> Result<BootParams, BootParamsError> {
    let Ok((params, _)) = BootParams::read_from_prefix(page) else {
        return Err(BootParamsError::Size {
            size: page.len() as u32,
        });
    };
    if params.magic != BOOT_PARAMS_MAGIC {
        return Err(BootParamsError::Magic {
            found: params.magic,
        });
    }
    if params.version.get() != PARAMS_VERSION {
        return Err(BootParamsError::Version {
            found: params.version.get(),
        });
    }
    if params.size.get() as usize != size_of::<BootParams>() {
        return Err(BootParamsError::Size {
            size: params.size.get(),
        });
    }
    let range = |name, range: &GpaRange, holds: bool, expected| {
        if holds {
            Ok(())
        } else {
            Err(BootParamsError::Range {
                name,
                base: range.base.get(),
                size: range.size.get(),
                expected,
            })
        }
    };
    if params.serial_port.get() != SERIAL_PORT {
        return Err(BootParamsError::Address {
            name: "serial port",
            gpa: params.serial_port.get().into(),
            expected: "0x3f8, the first one",
        });
    }
    let svsm = &params.svsm;
    range(
        "SVSM memory",
        svsm,
        *svsm == GpaRange::new(base, layout::SVSM_SIZE),
        "0x800000 bytes, where the SVSM was started",
    )?;
    let image = &params.kernel_image;
    let image_holds = within(image, svsm)
        && image.base == svsm.base
        && bounds(image)
            .is_some_and(|(_, end)| image_end <= end && end <= base + layout::SERVICES_OFFSET);
    range(
        "kernel image",
        image,
        image_holds,
        "all of the SVSM's image, and nothing of what lies above it",
    )?;
    range(
        "parameters",
        &params.parameters,
        within(&params.parameters, svsm)
            && bounds(&params.parameters).map(|b| b.1) == bounds(svsm).map(|b| b.1),
        "the end of the SVSM's memory",
    )?;
    let services = &params.services;
    let place = GpaRange::new(base + layout::SERVICES_OFFSET, layout::SERVICES_SIZE);
    range(
        "services",
        services,
        services.base == place.base && within(services, &place),
        "pages from their place to at most the parameters",
    )?;
    for (name, area) in [("memory map", &params.memory_map), ("MADT", &params.madt)] {
        range(
            name,
            area,
            within(area, &params.parameters),
            "pages within the parameters",
        )?;
    }
    let below = GpaRange::new(0, base);
    range(
        "boot stage",
        &params.boot_stage,
        within(&params.boot_stage, &below),
        "pages below the SVSM's memory",
    )?;
    range(
        "launched boot stage",
        &params.boot_stage_launched,
        within(&params.boot_stage_launched, &params.boot_stage),
        "pages within the boot stage",
    )?;
    let address = |name, gpa: u64, outer: &GpaRange, expected| {
        if within(&GpaRange::new(gpa, PAGE_SIZE), outer) {
            Ok(())
        } else {
            Err(BootParamsError::Address {
                name,
                gpa,
                expected,
            })
        }
    };
    address(
        "general parameters",
        params.general_params_gpa.get(),
        &params.parameters,
        "a page within the parameters",
    )?;
    for (name, gpa, expected) in [
        ("CPUID page", params.cpuid_gpa.get(), layout::CPUID_GPA),
        (
            "secrets page",
            params.secrets_gpa.get(),
            layout::SECRETS_GPA,
        ),
    ] {
        if gpa != expected {
            return Err(BootParamsError::Address {
                name,
                gpa,
                expected: "where the boot stage looks for it",
            });
        }
    }
    if params.guest.entry_mode.get() == entry_mode::NONE {
        return Ok(params);
    }
    let guest = &params.guest;
    range(
        "guest region",
        &guest.region,
        within(&guest.region, &below),
        "pages below the SVSM's memory",
    )?;
    range(
        "launched guest region",
        &guest.launched,
        within(&guest.launched, &guest.region),
        "pages within the guest's region",
    )?;
    range(
        "guest memory map",
        &guest.memory_map,
        within(&guest.memory_map, &guest.launched),
        "launched pages of the guest",
    )?;
    for (name, gpa) in [
        ("guest parameters", &guest.params_gpa),
        ("guest secrets page", &guest.secrets_gpa),
        ("guest CPUID page", &guest.cpuid_gpa),
        ("guest calling area", &guest.caa_gpa),
    ] {
        address(
            name,
            gpa.get(),
            &guest.launched,
            "a launched page of the guest",
        )?;
    }
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;
    use boot_abi::GuestImage;
    use std::string::ToString;
    use std::vec::Vec;
    use zerocopy::IntoBytes;

    const IMAGE_END: u64 = layout::SVSM_BASE + 0x4_1234;

    fn params() -> BootParams {
        BootParams {
            magic: BOOT_PARAMS_MAGIC,
            version: PARAMS_VERSION.into(),
            size: (size_of::<BootParams>() as u32).into(),
            svsm: GpaRange::new(layout::SVSM_BASE, layout::SVSM_SIZE),
            kernel_image: GpaRange::new(layout::SVSM_BASE, 0x4_2000),
            parameters: GpaRange::new(layout::PARAMETERS_GPA, layout::PARAMETERS_SIZE),
            services: GpaRange::new(layout::SERVICES_GPA, 0),
            boot_stage: GpaRange::new(layout::BOOT_STAGE_BASE, layout::BOOT_STAGE_SIZE),
            boot_stage_launched: GpaRange::new(layout::BOOT_STAGE_BASE, layout::BOOT_STAGE_SIZE),
            cpuid_gpa: layout::CPUID_GPA.into(),
            secrets_gpa: layout::SECRETS_GPA.into(),
            general_params_gpa: layout::GENERAL_PARAMS_GPA.into(),
            memory_map: GpaRange::new(layout::MEMORY_MAP_GPA, layout::MEMORY_MAP_SIZE),
            madt: GpaRange::new(layout::MADT_GPA, layout::MADT_SIZE),
            serial_port: 0x3F8.into(),
            reserved: [0; 2],
            flags: 0.into(),
            test_case: [0; 32],
            guest: GuestImage {
                entry_mode: entry_mode::FLAT_32.into(),
                reserved: 0.into(),
                entry: layout::GUEST_IMAGE_GPA.into(),
                region: GpaRange::new(layout::GUEST_BASE, layout::GUEST_SIZE),
                launched: GpaRange::new(layout::GUEST_BASE, 0x4_0000),
                params_gpa: layout::GUEST_PARAMS_GPA.into(),
                memory_map: GpaRange::new(layout::GUEST_MEMORY_MAP_GPA, 0x2000),
                secrets_gpa: layout::GUEST_SECRETS_GPA.into(),
                cpuid_gpa: layout::GUEST_CPUID_GPA.into(),
                caa_gpa: layout::GUEST_CAA_GPA.into(),
            },
        }
    }

    fn page(params: &BootParams) -> Vec<u8> {
        let mut page = params.as_bytes().to_vec();
        page.resize(4096, 0);
        page
    }

    #[test]
    fn the_builders_layout_is_accepted_with_and_without_a_guest() {
        assert!(check(&page(&params()), layout::SVSM_BASE, IMAGE_END).is_ok());
        let mut none = params();
        none.guest = zerocopy::FromZeros::new_zeroed();
        assert!(check(&page(&none), layout::SVSM_BASE, IMAGE_END).is_ok());
    }

    #[test]
    fn the_native_platform_has_the_same_elsewhere() {
        let mut native = params();
        native.guest = zerocopy::FromZeros::new_zeroed();
        for gpa in [
            &mut native.svsm.base,
            &mut native.kernel_image.base,
            &mut native.parameters.base,
            &mut native.services.base,
            &mut native.general_params_gpa,
            &mut native.memory_map.base,
            &mut native.madt.base,
        ] {
            *gpa = layout::native(gpa.get()).into();
        }
        let (base, end) = (layout::NATIVE_SVSM_BASE, layout::native(IMAGE_END));
        assert!(check(&page(&native), base, end).is_ok());
        assert!(check(&page(&native), layout::SVSM_BASE, IMAGE_END).is_err());
        assert!(check(&page(&params()), base, end).is_err());
    }

    #[test]
    fn services_have_their_place_and_may_fill_it() {
        for size in [0, 0x1000, layout::SERVICES_SIZE] {
            let mut params = params();
            params.services.size = size.into();
            assert!(
                check(&page(&params), layout::SVSM_BASE, IMAGE_END).is_ok(),
                "{size:#x}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        type Change = fn(&mut BootParams);
        let cases: [(Change, &str); 18] = [
            (|p| p.serial_port = 0x2F8.into(), "serial port is 0x2f8"),
            (|p| p.magic[0] = 0, "magic"),
            (|p| p.version = 1.into(), "version 1;"),
            (|p| p.size = 1.into(), "1 bytes"),
            (
                |p| p.svsm.base = 0x4000_0000.into(),
                "SVSM memory is 0x40000000",
            ),
            (|p| p.kernel_image.size = 0x1000.into(), "kernel image"),
            (|p| p.parameters.size = u64::MAX.into(), "parameters is"),
            (
                |p| p.kernel_image.size = (layout::SVSM_SIZE - layout::PARAMETERS_SIZE).into(),
                "kernel image",
            ),
            (
                |p| p.services.base = layout::PARAMETERS_GPA.into(),
                "services is 0x80007f0000",
            ),
            (|p| p.services.size = 0x800.into(), "services is"),
            (
                |p| p.services.size = (layout::SERVICES_SIZE + 0x1000).into(),
                "services is 0x8000670000 with 0x181000 bytes",
            ),
            (|p| p.services.size = u64::MAX.into(), "services is"),
            (|p| p.madt.base = 0x1000.into(), "MADT is 0x1000"),
            (
                |p| p.boot_stage_launched.size = 0x2_0000.into(),
                "launched boot stage",
            ),
            (|p| p.cpuid_gpa = 0x2000.into(), "CPUID page is 0x2000"),
            (
                |p| p.guest.launched.size = 0x40_0000.into(),
                "launched guest region",
            ),
            (
                |p| p.guest.caa_gpa = 0x80_F001.into(),
                "guest calling area is 0x80f001",
            ),
            (
                |p| p.guest.region.base = layout::SVSM_BASE.into(),
                "guest region",
            ),
        ];
        for (change, names) in cases {
            let mut params = params();
            change(&mut params);
            let error = check(&page(&params), layout::SVSM_BASE, IMAGE_END)
                .unwrap_err()
                .to_string();
            assert!(error.contains(names), "{error}");
        }
        assert!(check(&[0; 16], layout::SVSM_BASE, IMAGE_END).is_err());
    }
}
