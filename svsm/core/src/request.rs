//! An SVSM call as it arrives: which protocol, which call, which registers (58019 §5).

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

/// Versions of a protocol that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// Number of the protocol.
    pub protocol: u32,
    /// Lowest version.
    pub min: u32,
    /// Highest version.
    pub max: u32,
}

/// The protocols that this SVSM serves.
pub const PROTOCOLS: [Versions; 1] = [Versions {
    protocol: svsm_abi::protocol::CORE,
    min: 1,
    max: 1,
}];

/// RCX of QUERY_PROTOCOL (58019 §7.7): for the protocol in 63:32 and the version in 31:0, the highest version in 63:32
/// and the lowest in 31:0, or zero when that version is not served.
pub fn query_protocol(rcx: u64) -> u64 {
    let version = rcx as u32;
    PROTOCOLS
        .iter()
        .find(|p| p.protocol == (rcx >> 32) as u32 && (p.min..=p.max).contains(&version))
        .map_or(0, |p| (p.max as u64) << 32 | p.min as u64)
}

#[cfg(test)]
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
        assert_eq!(query_protocol(1), 1 << 32 | 1);
        assert_eq!(query_protocol(0), 0);
        assert_eq!(query_protocol(2), 0);
        assert_eq!(query_protocol(0x55 << 32 | 1), 0);
        assert_eq!(query_protocol(u64::MAX), 0);
    }
}
