//! Starts the SVSM of an IGVM file in an ordinary virtual machine: no QEMU that is packaged knows IGVM.
//!
//! It is started as a PVH kernel (QEMU's `-kernel`) or by multiboot 2 (GRUB), with the IGVM file as its module
//! (`-initrd`) and options as its command line (`-append`). It loads the headers of the native platform into RAM, fills
//! the parameters with what firmware says of memory and processors, and enters VP 0's context. Nothing of it stays.
//!
//! | option | what |
//! |---|---|
//! | `madt=...` | a MADT other than firmware's, for tests of who reads it |
//! | `fault` | execute what is no instruction, to see what the loader says of it |
//!
//! What it says goes to COM1, in lines that start with `loader: `. When it cannot go on, it says `loader: fatal: ` and
//! ends QEMU by isa-debug-exit (see [`exit`]).
#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

#[allow(unsafe_code)]
mod arch;
mod console;
mod exit;
mod host;
mod load;

use arch::memory::{Guest, Physical};
use boot_info::StartInfo;
use exit::ExitStatus;

/// The first Rust code. `magic` and `info` are EAX and EBX at the entry.
extern "sysv64" fn loader_main(magic: u32, info: u32) -> ! {
    console::init();
    arch::fault::catch();
    let info = match StartInfo::read(&Physical, magic, info.into()) {
        Ok(info) => info,
        Err(error) => fatal!(ExitStatus::BadPlatform, "{error}"),
    };
    say!(
        "native loader {}, started by {}",
        env!("CARGO_PKG_VERSION"),
        info.protocol.name()
    );
    let host = host::Host::find(&info);
    let Some(module) = info.module.filter(|&(_, size)| size != 0) else {
        fatal!(
            ExitStatus::BadImage,
            "there is no IGVM file: give one as the module (QEMU's -initrd)"
        );
    };
    let Some(mut guest) = Guest::new(module, &host.ram) else {
        fatal!(
            ExitStatus::BadPlatform,
            "no RAM below 4 GiB has room for the IGVM file's {:#x} bytes",
            module.1
        );
    };
    say!(
        "RAM {} MiB, {} CPUs, IGVM file {} KiB",
        host.ram_bytes() >> 20,
        host.vp_count,
        module.1 >> 10
    );
    let context = load::load(&host, &mut guest);
    console::flush();
    arch::enter::enter(&context)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    fatal!(ExitStatus::Internal, "internal error: {info}")
}
