//! The shapes of responses: what they consist of, and which bytes of them two TPMs must agree on.
//!
//! A shape is a list of field letters: `1 2 4 8` integers (with `?`: of any value), `B` a TPM2B of equal bytes, `b`
//! one of equal length (equal bytes where the keys are known), `~` one of any length, `P` TPM2B_PUBLIC, `C`
//! TPM2B_CREATION_DATA, `T` TPMT_TK_*, `S` TPMT_SIGNATURE, `A` TPM2B_ATTEST, `p` TPM2B_ECC_POINT, `t` TPMS_TIME_INFO,
//! `X` TPMS_CONTEXT, `H` TPML_DIGEST_VALUES, `L` TPML_PCR_SELECTION, `D` TPML_DIGEST, `G` TPML_ALG, `K`
//! TPMS_CAPABILITY_DATA, `*` the rest.

use std::ops::Range;

use crate::commands::command;
use crate::crypto::digest_len;
use crate::side::Exchange;

/// One response parameter.
#[derive(Clone, Debug)]
pub struct Field {
    /// Its letter.
    pub letter: char,
    /// Where it stands in the response.
    pub range: Range<usize>,
    /// What depends on random keys.
    keyed: Vec<Range<usize>>,
    /// What is free.
    free: Vec<Range<usize>>,
}

impl Field {
    /// A TPM2B's bytes behind the size.
    pub fn body(&self) -> Range<usize> {
        (self.range.start + 2).min(self.range.end)..self.range.end
    }
}

/// An entry of the response's authorization area.
#[derive(Clone, Debug)]
pub struct AuthResponse {
    /// nonceTPM.
    pub nonce: Vec<u8>,
    /// TPMA_SESSION.
    pub attributes: u8,
    /// The HMAC.
    pub hmac: Vec<u8>,
}

/// Where the parameters stand in a response with sessions, and its authorization area.
pub fn split(response: &[u8], handle_len: usize) -> Option<(Range<usize>, Vec<AuthResponse>)> {
    let at = 10 + handle_len;
    let size = response.get(at..at + 4)?;
    let size = u32::from_be_bytes(size.try_into().ok()?) as usize;
    let params = at + 4..at + 4 + size;
    let mut rest = response.get(params.end..)?;
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let nonce = take_sized(&mut rest)?;
        let (attributes, tail) = rest.split_first()?;
        rest = tail;
        let hmac = take_sized(&mut rest)?;
        entries.push(AuthResponse {
            nonce,
            attributes: *attributes,
            hmac,
        });
    }
    Some((params, entries))
}

fn take_sized(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let len = usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?]));
    let bytes = rest.get(2..2 + len)?.to_vec();
    *rest = &rest[2 + len..];
    Some(bytes)
}

/// Takes the (decrypted) response apart, and notes what is wrong with it.
pub fn parse(exchange: &mut Exchange) {
    exchange.fault = parse_fields(exchange).err().map(str::to_string);
}

fn parse_fields(exchange: &mut Exchange) -> Result<(), &'static str> {
    let response = &exchange.plain;
    let [t0, t1, s0, s1, s2, s3, ..] = response[..] else {
        return Err("shorter than a header");
    };
    if u32::from_be_bytes([s0, s1, s2, s3]) as usize != response.len() {
        return Err("the header's size is not the response's");
    }
    let tag = u16::from_be_bytes([t0, t1]);
    if exchange.rc() != 0 {
        return match (tag, response.len()) {
            (0x8001, 10) => Ok(()),
            (0x00C4, 10) if exchange.rc() == 0x1E => Ok(()),
            _ => Err("an error is a header with the tag TPM_ST_NO_SESSIONS"),
        };
    }
    let code = exchange
        .command
        .get(6..10)
        .ok_or("success for less than a header")?;
    let code = u32::from_be_bytes([code[0], code[1], code[2], code[3]]);
    let command = command(code).ok_or("success for an unknown command")?;
    if exchange.command.get(..2) != response.get(..2) {
        return Err("the response's tag is not the command's");
    }
    let handle_len = if command.returns_handle { 4 } else { 0 };
    let params = if tag == 0x8002 {
        split(response, handle_len)
            .ok_or("the authorization area is malformed")?
            .0
    } else {
        10 + handle_len..response.len()
    };
    let mut cursor = Cursor {
        bytes: &response[..params.end],
        at: params.start,
        keyed: Vec::new(),
        free: Vec::new(),
    };
    let mut fields = Vec::new();
    for letter in command.shape.split_whitespace() {
        let start = cursor.at;
        cursor
            .field(letter)
            .ok_or("a response parameter is malformed")?;
        fields.push(Field {
            letter: letter.chars().next().unwrap_or('*'),
            range: start..cursor.at,
            keyed: std::mem::take(&mut cursor.keyed),
            free: std::mem::take(&mut cursor.free),
        });
    }
    if cursor.at != params.end {
        return Err("bytes behind the response parameters");
    }
    exchange.fields = fields;
    Ok(())
}

/// What differs between two successful responses that must not.
pub fn difference(one: &Exchange, two: &Exchange, exact: bool) -> Option<String> {
    if one.plain.get(..2) != two.plain.get(..2) {
        return Some("the tag".into());
    }
    for (at, (a, b)) in one.fields.iter().zip(&two.fields).enumerate() {
        let (left, right) = (&one.plain[a.range.clone()], &two.plain[b.range.clone()]);
        let equal = match a.letter {
            '~' => true,
            'K' | 'G' | 'H' => crate::exceptions::same_capability(a.letter, left, right),
            _ => {
                masked(a, left, exact) == masked(b, right, exact)
                    && (left.len() == right.len() || a.letter == 'X')
            }
        };
        if !equal {
            return Some(format!("response parameter {} ({})", at + 1, a.letter));
        }
    }
    if command_returns_handle(one) && !same_handle(one, two) {
        return Some("the handle".into());
    }
    let (a, b) = (one.response.len(), two.response.len());
    let free = one
        .fields
        .iter()
        .any(|field| matches!(field.letter, '~' | 'X' | 'K' | 'G' | 'H'));
    (a != b && !free).then(|| format!("the length: {a} and {b}"))
}

/// Which slot an object gets is the TPM's own affair: libtpms takes one for a persistent parent while it is in use.
fn same_handle(one: &Exchange, two: &Exchange) -> bool {
    match (one.plain.get(10..14), two.plain.get(10..14)) {
        (Some([0x80, ..]), Some([0x80, ..])) => true,
        (one, two) => one == two,
    }
}

fn command_returns_handle(exchange: &Exchange) -> bool {
    exchange
        .command
        .get(6..10)
        .and_then(|code| command(u32::from_be_bytes([code[0], code[1], code[2], code[3]])))
        .is_some_and(|command| command.returns_handle)
}

fn masked(field: &Field, bytes: &[u8], exact: bool) -> Vec<u8> {
    let mut kept = bytes.to_vec();
    let keyed = field.keyed.iter().filter(|_| !exact);
    for range in field.free.iter().chain(keyed) {
        for at in range.clone() {
            if let Some(byte) = kept.get_mut(at - field.range.start) {
                *byte = 0;
            }
        }
    }
    if field.letter == 'X' {
        kept.truncate(16); // the blob is the TPM's own affair
    }
    kept
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    keyed: Vec<Range<usize>>,
    free: Vec<Range<usize>>,
}

impl Cursor<'_> {
    fn field(&mut self, letter: &str) -> Option<()> {
        match letter {
            "1" => self.skip(1),
            "2" => self.skip(2),
            "4" => self.skip(4),
            "8" => self.skip(8),
            "1?" => self.free(1),
            "2?" => self.free(2),
            "4?" => self.free(4),
            "B" | "~" => self.sized(),
            "b" => self.keyed_sized(),
            "P" => self.nested(Self::public),
            "C" => self.nested(Self::creation),
            "A" => self.nested(Self::attest),
            "p" => self.nested(|it| {
                it.keyed_sized()?;
                it.keyed_sized()
            }),
            "T" => {
                self.skip(6)?;
                self.keyed_sized()
            }
            "S" => self.signature(),
            "X" => {
                self.free(8)?;
                self.skip(8)?;
                self.sized()
            }
            "t" => {
                self.free(16)?; // time and clock
                self.skip(9) // resetCount, restartCount, safe
            }
            "H" => self.list(|it| {
                let alg = it.u16()?;
                it.skip(digest_len(alg))
            }),
            "L" => self.list(Self::pcr_selection),
            "D" => self.list(Self::sized),
            "G" => self.list(|it| it.skip(2)),
            _ => {
                self.at = self.bytes.len();
                Some(())
            }
        }
    }

    fn skip(&mut self, len: usize) -> Option<()> {
        self.at = self
            .at
            .checked_add(len)
            .filter(|at| *at <= self.bytes.len())?;
        Some(())
    }

    fn free(&mut self, len: usize) -> Option<()> {
        self.free.push(self.at..self.at + len);
        self.skip(len)
    }

    fn u16(&mut self) -> Option<u16> {
        let bytes = self.bytes.get(self.at..self.at + 2)?;
        self.at += 2;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from(self.u16()?) << 16 | u32::from(self.u16()?))
    }

    fn sized(&mut self) -> Option<()> {
        let len = self.u16()?;
        self.skip(len.into())
    }

    fn keyed_sized(&mut self) -> Option<()> {
        let start = self.at + 2;
        self.sized()?;
        self.keyed.push(start..self.at);
        Some(())
    }

    fn nested(&mut self, inner: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        let len = usize::from(self.u16()?);
        let end = self.at + len;
        if len > 0 {
            inner(self)?;
        }
        (self.at == end).then_some(())
    }

    fn list(&mut self, mut each: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        for _ in 0..self.u32()? {
            each(self)?;
        }
        Some(())
    }

    fn pcr_selection(&mut self) -> Option<()> {
        self.skip(2)?;
        let size = *self.bytes.get(self.at)?;
        self.skip(1 + usize::from(size))
    }

    fn clock_info(&mut self) -> Option<()> {
        self.free(16)?; // clock, and the counts that are obfuscated for some keys
        self.skip(1)
    }

    fn symmetric(&mut self) -> Option<()> {
        match self.u16()? {
            0x10 => Some(()),
            _ => self.skip(4),
        }
    }

    fn scheme(&mut self) -> Option<()> {
        match self.u16()? {
            0x10 | 0x15 => Some(()), // NULL, RSAES
            0x0A => self.skip(4),    // XOR
            0x1A => self.skip(4),    // ECDAA
            _ => self.skip(2),
        }
    }

    fn public(&mut self) -> Option<()> {
        let kind = self.u16()?;
        self.skip(6)?;
        self.keyed_sized()?;
        match kind {
            0x01 => {
                self.symmetric()?;
                self.scheme()?;
                self.skip(6)?;
            }
            0x23 => {
                self.symmetric()?;
                self.scheme()?;
                self.skip(2)?;
                self.scheme()?;
                self.keyed_sized()?;
            }
            0x08 => self.scheme()?,
            _ => self.symmetric()?,
        }
        self.keyed_sized()
    }

    fn creation(&mut self) -> Option<()> {
        self.list(Self::pcr_selection)?;
        self.sized()?;
        self.skip(3)?;
        self.keyed_sized()?;
        self.keyed_sized()?;
        self.sized()
    }

    fn signature(&mut self) -> Option<()> {
        match self.u16()? {
            0x10 => Some(()),
            0x05 => {
                let len = digest_len(self.u16()?);
                self.keyed.push(self.at..self.at + len);
                self.skip(len)
            }
            0x14 => {
                self.skip(2)?;
                self.keyed_sized()
            }
            0x16 => {
                self.skip(2)?;
                self.random_sized()
            }
            _ => {
                self.skip(2)?;
                self.random_sized()?;
                self.random_sized()
            }
        }
    }

    /// Of a signature that is random even with a known key.
    fn random_sized(&mut self) -> Option<()> {
        let start = self.at + 2;
        self.sized()?;
        self.free.push(start..self.at);
        Some(())
    }

    fn attest(&mut self) -> Option<()> {
        self.skip(4)?;
        let kind = self.u16()?;
        self.keyed_sized()?;
        self.sized()?;
        self.clock_info()?;
        self.free(8)?; // the firmware's version
        match kind {
            0x8014 => {
                self.keyed_sized()?; // NV
                self.skip(2)?;
                self.sized()
            }
            0x8015 => {
                self.skip(10)?; // command audit
                self.keyed_sized()?;
                self.sized()
            }
            0x8016 => {
                self.skip(1)?; // session audit
                self.keyed_sized()
            }
            0x8017 | 0x801A => {
                self.keyed_sized()?; // certify, creation
                self.keyed_sized()
            }
            0x8018 => {
                self.list(Self::pcr_selection)?; // quote
                self.sized()
            }
            0x8019 => {
                self.free(8)?; // time
                self.clock_info()?;
                self.free(8)
            }
            0x801C => {
                self.keyed_sized()?; // NV digest
                self.keyed_sized()
            }
            _ => None,
        }
    }
}
