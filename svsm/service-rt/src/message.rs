//! The message page: the only memory that kernel and service both write. It is copied, never referred to.

use core::ptr;

use service_abi::layout::MESSAGE;
use service_abi::limit::MESSAGE_BYTES;

/// Moves the first `length` bytes into `buffer`, as many as fit, and returns them. The page keeps nothing of them.
pub fn take(buffer: &mut [u8], length: usize) -> &mut [u8] {
    let length = length.min(MESSAGE_BYTES as usize);
    let page = ptr::with_exposed_provenance_mut::<u8>(MESSAGE as usize);
    let taken = length.min(buffer.len());
    let buffer = &mut buffer[..taken];
    // SAFETY: the message page is mapped as long as the service runs, `taken` and `length` are within it, no reference to
    // it exists (the buffer is somewhere else), and the kernel writes it only in a call.
    unsafe {
        ptr::copy_nonoverlapping(page, buffer.as_mut_ptr(), taken);
        ptr::write_bytes(page, 0, length);
    }
    buffer
}

/// Copies `bytes` to the page's start; as many as fit. Returns how many.
pub fn write(bytes: &[u8]) -> usize {
    let length = bytes.len().min(MESSAGE_BYTES as usize);
    let page = ptr::with_exposed_provenance_mut::<u8>(MESSAGE as usize);
    // SAFETY: as in `take`.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), page, length) };
    length
}
