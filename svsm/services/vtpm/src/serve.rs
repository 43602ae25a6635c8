//! The engine behind the kernel's calls.

use service_abi::limit::MESSAGE_BYTES;
use service_abi::request::TPM_COMMAND;
use service_rt::call::{self, reason};
use service_rt::{log, message};
use svsm_vtpm::{Machine, Volatile};
use tpm_engine::Tpm;
use tpm_engine::limits::MAX_COMMAND_SIZE;
use zeroize::Zeroize;

/// The kernel, with entropy from `E`.
struct Kernel<E> {
    source: E,
    /// Whether the console knows that there is none.
    told: bool,
}

impl<E: FnMut() -> Option<u64>> Machine for Kernel<E> {
    fn entropy(&mut self) -> Option<u64> {
        let bits = (self.source)();
        if bits.is_none() && !self.told {
            self.told = true;
            log!("the processor gives no entropy: TPM failure mode");
        }
        bits
    }

    fn now_ms(&mut self) -> u64 {
        call::time_ms()
    }
}

/// Makes a TPM and answers commands at locality 0, the only one that the protocol lets through.
pub fn run(source: impl FnMut() -> Option<u64>) -> ! {
    let mut tpm = Tpm::new(Volatile::new(Kernel {
        source,
        told: false,
    }));
    let mut buffer = [0; MESSAGE_BYTES as usize];
    // As words, which are cleared eight times as fast as bytes. All of it is, each time: the engine may have written more
    // than what became the response.
    let mut words = [0u64; MAX_COMMAND_SIZE / size_of::<u64>()];
    let mut answered = 0;
    loop {
        let request = call::reply(answered);
        if request.kind != TPM_COMMAND {
            log!("a request of kind {} is not for a TPM", request.kind);
            call::fail(reason::REQUEST);
        }
        let command = message::take(&mut buffer, request.length);
        let response: &mut [u8; MAX_COMMAND_SIZE] = zerocopy::transmute_mut!(&mut words);
        answered = message::write(tpm.execute(0, command, response));
        // Both may hold what the caller wants kept secret, up to keys.
        command.zeroize();
        words.zeroize();
    }
}
