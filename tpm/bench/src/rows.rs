//! The rows of the table: for each the commands to prepare it and those to measure.

use anyhow::{Context, Result};

use crate::command::value::*;
use crate::command::{
    Bytes, MARK, PARAMETERS, attributes, authorized, create, create_primary, flush, p256, plain,
    rsa2048, sealed,
};
use crate::measure::{Copy, Program, Step, Target};

/// One row.
pub struct Row {
    /// For machines.
    pub key: &'static str,
    /// For people.
    pub name: &'static str,
    /// How many samples.
    pub samples: u32,
    /// Runs per sample: what is quick is measured many times between two looks at the clock.
    pub batch: u32,
    /// Makes keys and the like, and the commands to measure.
    pub prepare: fn(&mut dyn Target) -> Result<Program>,
}

const fn row(
    key: &'static str,
    name: &'static str,
    (samples, batch): (u32, u32),
    prepare: fn(&mut dyn Target) -> Result<Program>,
) -> Row {
    Row {
        key,
        name,
        samples,
        batch,
        prepare,
    }
}

/// Samples and batch for commands of about a microsecond, of some tenths of a millisecond, and of milliseconds.
const QUICK: (u32, u32) = (300, 100);
const MIDDLE: (u32, u32) = (300, 1);
const SLOW: (u32, u32) = (100, 1);

/// All of them.
pub const ROWS: [Row; 20] = [
    row("pcr_extend", "PCR_Extend", QUICK, pcr_extend),
    row("pcr_read", "PCR_Read, 8 PCRs", QUICK, pcr_read),
    row("get_random", "GetRandom, 32 bytes", QUICK, get_random),
    row(
        "get_capability",
        "GetCapability, fixed properties",
        QUICK,
        get_capability,
    ),
    row("hash", "Hash, 1 KiB", QUICK, hash),
    row("session", "StartAuthSession + FlushContext", QUICK, session),
    row(
        "create_primary_p256",
        "CreatePrimary, P-256",
        MIDDLE,
        create_primary_p256,
    ),
    row(
        "create_primary_rsa",
        "CreatePrimary, RSA-2048",
        SLOW,
        create_primary_rsa,
    ),
    row(
        "create_load_p256",
        "Create + Load, P-256",
        MIDDLE,
        create_load,
    ),
    row("sign_p256", "Sign, ECDSA P-256", MIDDLE, sign_p256),
    row("sign_rsa", "Sign, RSASSA 2048", SLOW, sign_rsa),
    row(
        "verify_p256",
        "VerifySignature, ECDSA P-256",
        MIDDLE,
        verify_p256,
    ),
    row(
        "verify_rsa",
        "VerifySignature, RSASSA 2048",
        MIDDLE,
        verify_rsa,
    ),
    row("quote", "Quote, ECDSA P-256", MIDDLE, quote),
    row("rsa_decrypt", "RSA_Decrypt, OAEP 2048", SLOW, rsa_decrypt),
    row("ecdh_zgen", "ECDH_ZGen, P-256", MIDDLE, ecdh_zgen),
    row("unseal", "Unseal", QUICK, unseal),
    row("nv_write", "NV_Write, 32 bytes", QUICK, nv_write),
    row("nv_read", "NV_Read, 32 bytes", QUICK, nv_read),
    row("nv_increment", "NV_Increment", QUICK, nv_increment),
];

/// Startup, and the self-test that would otherwise run with the first use of an algorithm.
pub fn start(target: &mut dyn Target) -> Result<()> {
    target.execute(&plain(0x144, Bytes::new().u16(0)))?;
    target.execute(&plain(0x143, Bytes::new().u8(1)))?;
    Ok(())
}

/// Removes all transient objects and the index.
pub fn clean_up(target: &mut dyn Target) -> Result<()> {
    const TRANSIENT: u32 = 0x8000_0000;
    let list = Bytes::new().u32(1).u32(TRANSIENT).u32(16); // TPM_CAP_HANDLES
    let response = target.execute(&plain(0x17a, list))?;
    let handles = response.get(19..).unwrap_or_default();
    for handle in handles.chunks_exact(4) {
        target.execute(&flush(number(handle, 0)?))?;
    }
    let _ = target.execute(&authorized(0x122, &[RH_OWNER, INDEX], Bytes::new()));
    Ok(())
}

fn pcr_extend(_: &mut dyn Target) -> Result<Program> {
    let digests = Bytes::new().u32(1).u16(ALG_SHA256).raw([0x55; 32]);
    Ok(vec![Step::timed(authorized(0x182, &[10], digests))])
}

/// PCRs 0 to 7 of the SHA-256 bank.
fn selection() -> Bytes {
    Bytes::new().u32(1).u16(ALG_SHA256).u8(3).raw([0xff, 0, 0])
}

fn pcr_read(_: &mut dyn Target) -> Result<Program> {
    Ok(vec![Step::timed(plain(0x17e, selection()))])
}

fn get_random(_: &mut dyn Target) -> Result<Program> {
    Ok(vec![Step::timed(plain(0x17b, Bytes::new().u16(32)))])
}

fn get_capability(_: &mut dyn Target) -> Result<Program> {
    const CAP_TPM_PROPERTIES: u32 = 6;
    const PT_FIXED: u32 = 0x100;
    let properties = Bytes::new().u32(CAP_TPM_PROPERTIES).u32(PT_FIXED).u32(32);
    Ok(vec![Step::timed(plain(0x17a, properties))])
}

fn hash(_: &mut dyn Target) -> Result<Program> {
    let data = Bytes::new().sized([0x55; 1024]);
    let data = data.u16(ALG_SHA256).u32(RH_OWNER);
    Ok(vec![Step::timed(plain(0x17d, data))])
}

fn session(_: &mut dyn Target) -> Result<Program> {
    let start = Bytes::new()
        .u32(RH_NULL)
        .u32(RH_NULL)
        .sized([0x55; 16])
        .u16(0)
        .u8(0)
        .u16(ALG_NULL)
        .u16(ALG_SHA256);
    Ok(vec![
        Step::timed(plain(0x176, start)),
        Step::timed(flush(0)).with(HANDLE),
    ])
}

/// The first step's new handle as the only handle of another.
const HANDLE: Copy = handle_of(0);

const fn handle_of(step: usize) -> Copy {
    Copy {
        step,
        source: 10,
        target: 10,
        length: 4,
    }
}

fn create_primary_p256(_: &mut dyn Target) -> Result<Program> {
    Ok(primary(&p256(attributes::STORAGE, &no_scheme())))
}

fn create_primary_rsa(_: &mut dyn Target) -> Result<Program> {
    Ok(primary(&rsa2048(attributes::STORAGE, &no_scheme())))
}

/// Another key each time: how long the search for primes takes is a matter of luck.
fn primary(public: &Bytes) -> Program {
    vec![
        Step::timed(create_primary(public)).numbered(&MARK),
        Step::untimed(flush(0)).with(HANDLE),
    ]
}

fn no_scheme() -> Bytes {
    Bytes::new().u16(ALG_NULL)
}

fn ecdsa() -> Bytes {
    Bytes::new().u16(ALG_ECDSA).u16(ALG_SHA256)
}

fn rsassa() -> Bytes {
    Bytes::new().u16(ALG_RSASSA).u16(ALG_SHA256)
}

/// Makes a primary key and returns its handle.
fn key(target: &mut dyn Target, public: &Bytes) -> Result<u32> {
    let response = target.execute(&create_primary(public))?;
    number(&response, 10)
}

fn create_load(target: &mut dyn Target) -> Result<Program> {
    let parent = key(target, &p256(attributes::STORAGE, &no_scheme()))?;
    let create = create(parent, &[], &p256(attributes::SIGN, &no_scheme()));
    let (load, length) = load(target, parent, &create)?;
    let halves = Copy {
        step: 0,
        source: 14,
        target: PARAMETERS,
        length,
    };
    Ok(vec![
        Step::timed(create),
        Step::timed(load).with(halves),
        Step::untimed(flush(0)).with(handle_of(1)),
    ])
}

/// The TPM2_Load that fits a TPM2_Create, and the length of its parameters: what TPM2_Create returns first.
fn load(target: &mut dyn Target, parent: u32, create: &[u8]) -> Result<(Vec<u8>, usize)> {
    let response = target.execute(create)?;
    let private = 2 + usize::from(short(&response, 14)?);
    let public = 2 + usize::from(short(&response, 14 + private)?);
    let both = part(&response, 14, private + public)?;
    let load = authorized(0x157, &[parent], Bytes::new().raw(both));
    Ok((load, private + public))
}

fn sign_command(key: u32, scheme: &Bytes) -> Vec<u8> {
    let parameters = Bytes::new().sized([0x55; 32]).raw(scheme);
    let no_ticket = Bytes::new().u16(0x8024).u32(RH_NULL).u16(0);
    authorized(0x15d, &[key], parameters.raw(no_ticket))
}

fn sign_p256(target: &mut dyn Target) -> Result<Program> {
    let key = key(target, &p256(attributes::SIGN, &no_scheme()))?;
    Ok(vec![Step::timed(sign_command(key, &ecdsa()))])
}

fn sign_rsa(target: &mut dyn Target) -> Result<Program> {
    let key = key(target, &rsa2048(attributes::SIGN, &no_scheme()))?;
    Ok(vec![Step::timed(sign_command(key, &rsassa()))])
}

fn verify_p256(target: &mut dyn Target) -> Result<Program> {
    let public = p256(attributes::SIGN, &no_scheme());
    verify(target, &public, &ecdsa())
}

fn verify_rsa(target: &mut dyn Target) -> Result<Program> {
    let public = rsa2048(attributes::SIGN, &no_scheme());
    verify(target, &public, &rsassa())
}

fn verify(target: &mut dyn Target, public: &Bytes, scheme: &Bytes) -> Result<Program> {
    let key = key(target, public)?;
    let response = target.execute(&sign_command(key, scheme))?;
    let size = number(&response, 10)? as usize;
    let signature = part(&response, 14, size)?;
    let fields = Bytes::new().u32(key).sized([0x55; 32]).raw(signature);
    Ok(vec![Step::timed(plain(0x177, fields))])
}

fn quote(target: &mut dyn Target) -> Result<Program> {
    let key = key(target, &p256(attributes::ATTEST, &ecdsa()))?;
    let parameters = Bytes::new()
        .sized([0x55; 32])
        .u16(ALG_NULL)
        .raw(selection());
    Ok(vec![Step::timed(authorized(0x158, &[key], parameters))])
}

fn rsa_decrypt(target: &mut dyn Target) -> Result<Program> {
    let key = key(target, &rsa2048(attributes::DECRYPT, &no_scheme()))?;
    let oaep = Bytes::new().u16(ALG_OAEP).u16(ALG_SHA256).u16(0);
    let fields = Bytes::new().u32(key).sized([0x55; 32]).raw(&oaep);
    let response = target.execute(&plain(0x174, fields))?;
    let cipher = part(&response, 12, usize::from(short(&response, 10)?))?;
    let parameters = Bytes::new().sized(cipher).raw(oaep);
    Ok(vec![Step::timed(authorized(0x159, &[key], parameters))])
}

fn ecdh_zgen(target: &mut dyn Target) -> Result<Program> {
    let key = key(target, &p256(attributes::DECRYPT, &no_scheme()))?;
    let response = target.execute(&plain(0x163, Bytes::new().u32(key)))?;
    let secret = 2 + usize::from(short(&response, 10)?);
    let size = usize::from(short(&response, 10 + secret)?);
    let point = part(&response, 12 + secret, size)?;
    let parameters = Bytes::new().sized(point);
    Ok(vec![Step::timed(authorized(0x154, &[key], parameters))])
}

fn unseal(target: &mut dyn Target) -> Result<Program> {
    let parent = key(target, &p256(attributes::STORAGE, &no_scheme()))?;
    let (load, _) = load(target, parent, &create(parent, &[0x55; 32], &sealed()))?;
    let data = number(&target.execute(&load)?, 10)?;
    Ok(vec![Step::timed(authorized(0x15e, &[data], Bytes::new()))])
}

const INDEX: u32 = 0x0150_0001;

/// Defines an index whose own password reads and writes it.
fn define(target: &mut dyn Target, kind: u32, size: u16) -> Result<()> {
    const AUTHWRITE_AUTHREAD_NO_DA: u32 = 0x0204_0004;
    let public = Bytes::new()
        .u32(INDEX)
        .u16(ALG_SHA256)
        .u32(AUTHWRITE_AUTHREAD_NO_DA | kind << 4)
        .u16(0)
        .u16(size);
    let parameters = Bytes::new().u16(0).sized(public);
    target.execute(&authorized(0x12a, &[RH_OWNER], parameters))?;
    Ok(())
}

/// Other data each time, for what does not change need not be stored.
fn nv_write_step() -> Step {
    let mut data = [0x55; 32];
    data[..4].copy_from_slice(&MARK);
    let parameters = Bytes::new().sized(data).u16(0);
    Step::timed(authorized(0x137, &[INDEX, INDEX], parameters)).numbered(&MARK)
}

fn nv_write(target: &mut dyn Target) -> Result<Program> {
    define(target, 0, 32)?;
    Ok(vec![nv_write_step()])
}

fn nv_read(target: &mut dyn Target) -> Result<Program> {
    define(target, 0, 32)?;
    target.execute(&nv_write_step().command)?;
    let parameters = Bytes::new().u16(32).u16(0);
    Ok(vec![Step::timed(authorized(
        0x14e,
        &[INDEX, INDEX],
        parameters,
    ))])
}

fn nv_increment(target: &mut dyn Target) -> Result<Program> {
    const COUNTER: u32 = 1;
    define(target, COUNTER, 8)?;
    let step = authorized(0x134, &[INDEX, INDEX], Bytes::new());
    Ok(vec![Step::timed(step)])
}

fn part(bytes: &[u8], at: usize, length: usize) -> Result<&[u8]> {
    bytes
        .get(at..at + length)
        .with_context(|| format!("a response of {} bytes is too short", bytes.len()))
}

fn short(bytes: &[u8], at: usize) -> Result<u16> {
    Ok(u16::from_be_bytes(part(bytes, at, 2)?.try_into()?))
}

fn number(bytes: &[u8], at: usize) -> Result<u32> {
    Ok(u32::from_be_bytes(part(bytes, at, 4)?.try_into()?))
}
