//! A panic ends the service: its place and message are logged, then the kernel is told.

use core::panic::PanicInfo;

use crate::call::{self, reason};

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    match info.location() {
        Some(place) => crate::log!(
            "panic at {}:{}: {}",
            place.file(),
            place.line(),
            info.message()
        ),
        None => crate::log!("panic: {}", info.message()),
    }
    call::fail(reason::PANIC)
}
