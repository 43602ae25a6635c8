//! What a vTPM of known seeds keeps secret: found by running the engine on the same seeds, so that a test can look for it in
//! the machine's memory.

use svsm_vtpm::{KnownSeeds, Volatile};
use tpm_engine::codec::Writer;
use tpm_engine::limits::MAX_COMMAND_SIZE;
use tpm_engine::types::Unique;
use tpm_engine::{EndorsementKey, Tpm};

/// Where the test's guest makes its endorsement keys persistent.
const KEYS: [(&str, EndorsementKey, u32); 2] = [
    ("EK P-256", EndorsementKey::EccP256, 0x8101_0001),
    ("EK RSA-2048", EndorsementKey::Rsa2048, 0x8101_0002),
];
/// Words of entropy that are printed.
const WORDS: usize = 32;

/// Records of the store, see docs/src/tpm-state.md.
const PERMANENT: u32 = 1;
const SAVED: u32 = 2;

/// The empty password, as the authorization area of a command.
const PASSWORD: [u8; 13] = [0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0];

/// Prints them: `secret` or `public`, hexadecimal digits, a name.
pub fn print() -> Option<()> {
    let mut tpm = Tpm::new(Volatile::new(KnownSeeds::new()));
    // As the shim does it.
    run(&mut tpm, 0x8001, 0x144, &[0, 0])?;
    let mut words = KnownSeeds::new();
    let entropy: Vec<u8> = (0..WORDS)
        .flat_map(|_| words.next().to_le_bytes())
        .collect();
    line("secret", "entropy", &entropy);
    for (name, key, handle) in KEYS {
        create(&mut tpm, key, handle)?;
        let record = tpm.platform().records().get(&handle)?;
        // The record ends with TPMT_SENSITIVE: seedValue of 32 bytes, then the private key, each with its size.
        let size = if key == EndorsementKey::Rsa2048 {
            128
        } else {
            32
        };
        let (rest, private) = record.split_at_checked(record.len().checked_sub(size)?)?;
        line("secret", &format!("{name}, private"), private);
        let seed = rest.get(rest.len().checked_sub(34)?..rest.len() - 2)?;
        line("secret", &format!("{name}, seedValue"), seed);
        let unique = match &tpm.endorsement_key(key)?.unique {
            Unique::Ecc(point) => point.x.to_vec(),
            Unique::Rsa(modulus) => modulus.to_vec(),
            _ => return None,
        };
        line("public", &format!("{name}, public"), &unique);
    }
    run(&mut tpm, 0x8001, 0x145, &[0, 1])?;
    let records = tpm.platform().records();
    let mut rest = records.get(&PERMANENT)?.get(6..)?;
    for _ in ["owner", "endorsement", "lockout"] {
        sized(&mut rest)?;
        rest = rest.get(2..)?;
        sized(&mut rest)?;
    }
    for hierarchy in ["endorsement", "storage", "platform"] {
        line("secret", &format!("{hierarchy} seed"), sized(&mut rest)?);
        line("secret", &format!("{hierarchy} proof"), sized(&mut rest)?);
    }
    let mut rest = records.get(&SAVED)?.as_slice();
    line("secret", "null seed", sized(&mut rest)?);
    line("secret", "null proof", sized(&mut rest)?);
    Some(())
}

/// CreatePrimary and EvictControl.
fn create(tpm: &mut Tpm<Volatile<KnownSeeds>>, key: EndorsementKey, handle: u32) -> Option<()> {
    let mut template = [0; 1024];
    let mut writer = Writer::new(&mut template);
    writer.put(&key.template());
    let length = writer.finish().ok()?;
    let mut create = vec![0x40, 0, 0, 0x0B];
    create.extend(PASSWORD);
    create.extend([0, 4, 0, 0, 0, 0]);
    create.extend(u16::try_from(length).ok()?.to_be_bytes());
    create.extend(template.get(..length)?);
    create.extend([0; 6]);
    run(tpm, 0x8002, 0x131, &create)?;
    let mut evict = vec![0x40, 0, 0, 1, 0x80, 0, 0, 0];
    evict.extend(PASSWORD);
    evict.extend(handle.to_be_bytes());
    run(tpm, 0x8002, 0x120, &evict)?;
    run(tpm, 0x8001, 0x165, &[0x80, 0, 0, 0])
}

/// One command, which must succeed.
fn run(tpm: &mut Tpm<Volatile<KnownSeeds>>, tag: u16, code: u32, body: &[u8]) -> Option<()> {
    let mut command = tag.to_be_bytes().to_vec();
    command.extend(u32::try_from(10 + body.len()).ok()?.to_be_bytes());
    command.extend(code.to_be_bytes());
    command.extend(body);
    let mut response = [0; MAX_COMMAND_SIZE];
    let answer = tpm.execute(0, &command, &mut response);
    if answer.get(6..10) == Some(&[0; 4]) {
        return Some(());
    }
    eprintln!("command {code:#x}: {answer:02x?}");
    None
}

/// A TPM2B off the front.
fn sized<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (size, after) = rest.split_first_chunk::<2>()?;
    let (bytes, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*size)))?;
    *rest = after;
    Some(bytes)
}

fn line(kind: &str, name: &str, bytes: &[u8]) {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    println!("{kind} {digits} {name}");
}
