//! A ring-3 service of the SVSM that does whatever wrong it is asked to (`cases.rs`), in the vTPM's place. No image but
//! those of tests may carry it.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![deny(unsafe_code)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
#[allow(unsafe_code)]
mod misdeed;

#[cfg(target_os = "none")]
fn main() -> ! {
    use service_abi::limit::MESSAGE_BYTES;
    use service_rt::{call, log, message};
    use svsm_broken::cases::{self, Misdeed};

    log!("a broken service, for tests only");
    let mut buffer = alloc::vec![0; MESSAGE_BYTES as usize];
    let mut answered = 0;
    loop {
        let request = call::reply(answered);
        let bytes = message::take(&mut buffer, request.length);
        // What is no misdeed comes back as it is.
        if let Some((number, argument)) = cases::parse(bytes)
            && let Some(misdeed) = Misdeed::from_number(number)
        {
            let value = misdeed::commit(misdeed, argument);
            let answer = cases::message(number, value);
            bytes[..answer.len()].copy_from_slice(&answer);
        }
        answered = message::write(bytes);
    }
}

#[cfg(target_os = "none")]
service_rt::entry!(main);

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("the broken service runs in the SVSM: cargo xtask build");
}
