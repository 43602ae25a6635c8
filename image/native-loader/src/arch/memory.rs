//! Physical memory, which is mapped as it is up to 4 GiB. Apart from the loader's own it belongs to firmware and to the
//! image, so it is only ever copied, by instructions that the compiler does not look into.

use core::arch::asm;

use igvm_loader::Page;

/// End of what the page tables of the entry map.
const MAPPED: u64 = 1 << 32;
const PAGE: u64 = 4096;

unsafe extern "C" {
    static __image_start: u8;
    static __image_end: u8;
}

/// The loader's own memory: code, data, stack, heap, page tables.
pub(super) fn own() -> (u64, u64) {
    (
        &raw const __image_start as u64,
        &raw const __image_end as u64,
    )
}

fn overlap(a: (u64, u64), b: (u64, u64)) -> bool {
    a.0 < b.1 && b.0 < a.1
}

/// All that is mapped, to be read.
pub struct Physical;

impl boot_info::Memory for Physical {
    fn read(&self, at: u64, to: &mut [u8]) -> Option<()> {
        at.checked_add(to.len() as u64)
            .filter(|&end| end <= MAPPED)?;
        // SAFETY: the source is mapped and read as plain bytes, whatever it is; the destination is the buffer.
        unsafe { copy(at, to.as_mut_ptr() as u64, to.len()) };
        Some(())
    }
}

/// Why a page cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Kept {
    /// The loader's own.
    #[error("the loader itself is there, at {0:#x} to {1:#x}")]
    Loader(u64, u64),
    /// The image file.
    #[error("the loader keeps the IGVM file there, at {0:#x} to {1:#x}")]
    Module(u64, u64),
    /// Not mapped.
    #[error("the loader reaches memory below 4 GiB only")]
    High,
}

/// The image, and the memory that it is loaded into.
pub struct Guest {
    image: &'static [u8],
}

impl Guest {
    /// Moves the module (address and size) to the top of RAM below 4 GiB, out of the way of what it is loaded to. `ram`
    /// is ascending. Nothing if there is no room.
    pub fn new(module: (u64, u64), ram: &[(u64, u64)]) -> Option<Guest> {
        let (from, size) = module;
        from.checked_add(size).filter(|&end| end <= MAPPED)?;
        let own = own();
        let to = ram.iter().rev().find_map(|&(start, end)| {
            let to = end.min(MAPPED).checked_sub(size)? & !(PAGE - 1);
            (to >= start && !overlap((to, to + size), own) && to != 0).then_some(to)
        })?;
        if overlap((from, from + size), own) {
            return None;
        }
        // SAFETY: both ranges are mapped, and neither is the loader's own. `copy` is right when they overlap.
        unsafe { copy(from, to, size as usize) };
        // SAFETY: the bytes are RAM, and from here on nobody writes them: `write` leaves them out.
        let image = unsafe { core::slice::from_raw_parts(to as *const u8, size as usize) };
        Some(Guest { image })
    }

    /// The image file.
    pub fn image(&self) -> &'static [u8] {
        self.image
    }

    /// Writes a page that is in RAM.
    pub fn write(&mut self, gpa: u64, page: &Page) -> Result<(), Kept> {
        let end = gpa.saturating_add(PAGE);
        if end > MAPPED {
            return Err(Kept::High);
        }
        let own = own();
        if overlap((gpa, end), own) {
            return Err(Kept::Loader(own.0, own.1));
        }
        let at = self.image.as_ptr() as u64;
        let module = (at, at + self.image.len() as u64);
        if overlap((gpa, end), module) {
            return Err(Kept::Module(module.0, module.1));
        }
        // SAFETY: the destination is mapped, and neither the loader's nor the module's, so no Rust value is there.
        unsafe { copy(page.as_ptr() as u64, gpa, page.len()) };
        Ok(())
    }
}

/// Copies bytes; the ranges may overlap.
///
/// # Safety
/// Both must be mapped, and the destination no Rust value's (or one that is borrowed exclusively).
unsafe fn copy(from: u64, to: u64, bytes: usize) {
    if bytes == 0 {
        return;
    }
    if to > from && to < from + bytes as u64 {
        // SAFETY: the caller's argument; backwards, so that nothing is overwritten before it is read, and DF is clear
        // again.
        unsafe {
            asm!("std", "rep movsb", "cld",
                inout("rdi") to + bytes as u64 - 1 => _, inout("rsi") from + bytes as u64 - 1 => _,
                inout("rcx") bytes => _, options(nostack));
        }
        return;
    }
    // SAFETY: the caller's argument; DF is clear in all Rust code.
    unsafe {
        asm!("rep movsq", "mov ecx, edx", "rep movsb",
            inout("rdi") to => _, inout("rsi") from => _, inout("rcx") bytes / 8 => _, in("edx") (bytes % 8) as u32,
            options(nostack));
    }
}
