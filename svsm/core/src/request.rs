//! An SVSM call as it arrives: which protocol, which call, which registers (58019 §5).

use core::ops::Range;

use crate::sync::{AtomicU32, Ordering};

/// The registers that carry a call and its results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// In: `protocol << 32 | call`. Out: result code.
    pub rax: u64,
    /// First argument or result.
    pub rcx: u64,
    /// Second argument or result.
    pub rdx: u64,
    /// Third argument or result.
    pub r8: u64,
}

impl Registers {
    /// Number of the protocol.
    pub const fn protocol(&self) -> u32 {
        (self.rax >> 32) as u32
    }

    /// Number of the call within its protocol.
    pub const fn call(&self) -> u32 {
        self.rax as u32
    }
}

/// A call's outcome: the code for RAX when it is not success.
pub type CallResult = Result<(), u64>;

/// The only version of every protocol that is served.
const VERSION: u32 = 1;

/// The protocols that a service can have: not the core protocol, and a bit of [`Served`] each.
pub const SERVICE_PROTOCOLS: Range<u32> = svsm_abi::protocol::CORE + 1..u32::BITS;

/// The protocols that services serve now. One goes when its service is withdrawn, and does not come back.
#[derive(Debug)]
pub struct Served(AtomicU32);

impl Served {
    /// None.
    #[cfg(not(loom))]
    pub const fn new() -> Served {
        Served(AtomicU32::new(0))
    }

    /// None.
    #[cfg(loom)]
    pub fn new() -> Served {
        Served(AtomicU32::new(0))
    }

    fn bit(protocol: u32) -> u32 {
        if SERVICE_PROTOCOLS.contains(&protocol) {
            1 << protocol
        } else {
            0
        }
    }

    /// From now on there is a service for this protocol.
    pub fn add(&self, protocol: u32) {
        self.0.fetch_or(Served::bit(protocol), Ordering::Release);
    }

    /// From now on there is none.
    pub fn withdraw(&self, protocol: u32) {
        self.0.fetch_and(!Served::bit(protocol), Ordering::Release);
    }

    /// Whether there is one.
    pub fn has(&self, protocol: u32) -> bool {
        self.0.load(Ordering::Acquire) & Served::bit(protocol) != 0
    }
}

impl Default for Served {
    fn default() -> Self {
        Served::new()
    }
}

/// RCX of QUERY_PROTOCOL (58019 §7.7): for the protocol in 63:32 and the version in 31:0, the highest version in 63:32
/// and the lowest in 31:0, or zero when that version is not served.
pub fn query_protocol(rcx: u64, served: &Served) -> u64 {
    let (protocol, version) = ((rcx >> 32) as u32, rcx as u32);
    let known = protocol == svsm_abi::protocol::CORE || served.has(protocol);
    if known && version == VERSION {
        (VERSION as u64) << 32 | VERSION as u64
    } else {
        0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn rax_is_protocol_and_call() {
        let registers = Registers {
            rax: 0x0000_0002_0000_0001,
            ..Default::default()
        };
        assert_eq!((registers.protocol(), registers.call()), (2, 1));
    }

    #[test]
    fn only_served_versions_are_answered() {
        let served = Served::new();
        assert_eq!(query_protocol(1, &served), 1 << 32 | 1);
        for rcx in [0, 2, 2 << 32 | 1, 0x55 << 32 | 1, u64::MAX] {
            assert_eq!(query_protocol(rcx, &served), 0, "{rcx:#x}");
        }
    }

    #[test]
    fn a_services_protocol_is_answered_until_it_is_withdrawn() {
        let served = Served::new();
        served.add(2);
        served.add(31);
        assert_eq!(query_protocol(2 << 32 | 1, &served), 1 << 32 | 1);
        assert_eq!(query_protocol(2 << 32 | 2, &served), 0);
        assert_eq!(query_protocol(34 << 32 | 1, &served), 0);
        served.withdraw(2);
        assert_eq!(query_protocol(2 << 32 | 1, &served), 0);
        assert!(served.has(31));
    }

    #[test]
    fn the_core_protocol_and_large_numbers_are_no_services() {
        let served = Served::new();
        for protocol in [0, 32, 33, u32::MAX] {
            served.add(protocol);
            assert!(!served.has(protocol));
        }
        served.withdraw(0);
        assert_eq!(query_protocol(1, &served), 1 << 32 | 1);
    }
}
