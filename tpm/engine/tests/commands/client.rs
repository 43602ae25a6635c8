//! A client that builds commands by hand.

use tpm_engine::Tpm;

use crate::host::Host;

/// TPM_RH_*.
pub const OWNER: u32 = 0x4000_0001;
pub const NULL: u32 = 0x4000_0007;
pub const PLATFORM: u32 = 0x4000_000C;

/// A TPM and where commands come from.
pub struct Client {
    pub tpm: Tpm<Host>,
    pub locality: u8,
}

/// A response code, or the bytes after the header: handle, parameters (without the authorization area).
pub type Answer = Result<Vec<u8>, u32>;

impl Client {
    /// A new TPM after Startup(CLEAR).
    pub fn new() -> Client {
        let mut client = Client {
            tpm: Tpm::new(Host::default()),
            locality: 0,
        };
        client.plain(0x144, &[], &[0, 0]).unwrap();
        client
    }

    /// Power off and on, Startup(CLEAR).
    pub fn reset(&mut self) {
        self.tpm.init();
        self.plain(0x144, &[], &[0, 0]).unwrap();
    }

    pub fn run(&mut self, bytes: &[u8]) -> Answer {
        let mut response = [0; 4096];
        let response = self.tpm.execute(self.locality, bytes, &mut response);
        assert_eq!(u32_at(response, 2) as usize, response.len());
        match u32_at(response, 6) {
            0 => Ok(response.to_vec()),
            rc => Err(rc),
        }
    }

    /// A command without sessions.
    pub fn plain(&mut self, code: u32, handles: &[u32], parameters: &[u8]) -> Answer {
        let mut body: Vec<u8> = handles.iter().flat_map(|h| h.to_be_bytes()).collect();
        body.extend(parameters);
        let response = self.run(&packet(0x8001, code, &body))?;
        Ok(response[10..].to_vec())
    }

    /// A command with an empty password for each of the first `auths` handles; its response has no handle.
    pub fn auth(&mut self, code: u32, handles: &[u32], auths: usize, parameters: &[u8]) -> Answer {
        self.with_passwords(code, handles, auths, parameters, 0)
    }

    /// The same, of a command whose response has a handle: it comes before the parameters.
    pub fn auth_with_handle(
        &mut self,
        code: u32,
        handles: &[u32],
        auths: usize,
        parameters: &[u8],
    ) -> Answer {
        self.with_passwords(code, handles, auths, parameters, 4)
    }

    fn with_passwords(
        &mut self,
        code: u32,
        handles: &[u32],
        auths: usize,
        parameters: &[u8],
        handle: usize,
    ) -> Answer {
        let mut body: Vec<u8> = handles.iter().flat_map(|h| h.to_be_bytes()).collect();
        let area = [0x40, 0, 0, 9, 0, 0, 1, 0, 0].repeat(auths);
        body.extend((area.len() as u32).to_be_bytes());
        body.extend(area);
        body.extend(parameters);
        let response = self.run(&packet(0x8002, code, &body))?;
        let size = u32_at(&response, 10 + handle) as usize;
        let start = 14 + handle;
        assert_eq!(response.len(), start + size + 5 * auths);
        Ok([&response[10..10 + handle], &response[start..start + size]].concat())
    }
}

pub fn packet(tag: u16, code: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = tag.to_be_bytes().to_vec();
    bytes.extend((10 + body.len() as u32).to_be_bytes());
    bytes.extend(code.to_be_bytes());
    bytes.extend(body);
    bytes
}

/// A TPM2B.
pub fn sized(bytes: &[u8]) -> Vec<u8> {
    let mut all = (bytes.len() as u16).to_be_bytes().to_vec();
    all.extend(bytes);
    all
}

/// The number at `at`.
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// Takes a TPM2B off the front.
pub fn take_sized<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let size = usize::from(u16::from_be_bytes(bytes[..2].try_into().unwrap()));
    let (value, rest) = bytes[2..].split_at(size);
    *bytes = rest;
    value
}

/// Bytes from hexadecimal digits; blanks do not count.
pub fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits
        .chars()
        .filter_map(|c| c.to_digit(16))
        .map(|d| d as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}
