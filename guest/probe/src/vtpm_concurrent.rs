//! The vTPM for several vCPUs at once: who changes a buffer while it is read or answered, who gets which answer, and a
//! vCPU that is deleted with its command under way.

use crate::concurrent::Random;
use crate::crew::{self, MAX, ROUND, record, together, wrong};
use crate::guest::{self, core, peek, put_bytes};
use crate::sha256;
use crate::tpm::{self, rc};
use crate::vcpu::{apic_ids, idle, write_vmsa};
use crate::vtpm::{DONE, HEADER, LONG_MS, done, execute, put, response, works};
use crate::vtpm_slices::{another_key, flush};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use guest_rt::context::Context;
use guest_rt::report::{check, check_that, skip};
use guest_rt::svsm;
use guest_rt::{cpu, need, println, smp, time};
use snp_abi::PAGE_SIZE;
use svsm_abi::core_call::{CREATE_VCPU, DELETE_VCPU};
use svsm_abi::{TPM_SEND_COMMAND, result};

const OK: u64 = result::SUCCESS;
/// Rounds, of all vCPUs together.
const ROUNDS: u64 = 400;
/// What any call may be told when others want the TPM.
const NOT_NOW: [u64; 2] = [result::INCOMPLETE, result::BUSY];

/// Each vCPU's buffer; what for depends on the job.
static BUFFERS: [AtomicU64; MAX] = [const { AtomicU64::new(0) }; MAX];
static AREA: AtomicU64 = AtomicU64::new(0);
static TARGET: AtomicU32 = AtomicU32::new(0);
static STOP: AtomicBool = AtomicBool::new(false);
/// Answers of one kind, for the cases to look at.
static COUNT: AtomicU64 = AtomicU64::new(0);

fn buffer(index: usize) -> u64 {
    BUFFERS[index].load(Ordering::Relaxed)
}

/// Runs the cases.
pub fn run() {
    let (ids, count) = apic_ids();
    let count = count.min(MAX);
    if count < 2 {
        return skip("vtpm-concurrent", "one vCPU");
    }
    for slot in &BUFFERS {
        slot.store(
            need!("vtpm-buffers", guest::valid_run(1)),
            Ordering::Relaxed,
        );
    }
    // The last vCPU is what the others create; it runs nothing meanwhile.
    need!("vtpm-crew", crew::hire(&ids[1..count - 1]));
    TARGET.store(ids[count - 1], Ordering::Relaxed);
    if count > 2 {
        changing();
        becoming_vmsa();
    }
    need!("vtpm-crew", crew::hire(&ids[1..count]));
    own_answers();
    interrupted_key();
    check("vtpm-crew-leaves", Ok(OK), crew::dismiss());
    deleted_owner(ids[count - 1]);
}

/// vCPU 0 calls; the others write into the request meanwhile.
fn changing() {
    STOP.store(false, Ordering::Relaxed);
    put(buffer(0), &tpm::get_random(8));
    together("vtpm-changing-request", |index| {
        let gpa = buffer(0);
        if index == 0 {
            let refusals = [result::INVALID_PARAMETER, result::INCOMPLETE, result::BUSY];
            for _ in 0..ROUNDS {
                record(svsm::vtpm_command(gpa), &refusals);
                // The others' turn, where vCPUs share a processor.
                core::hint::spin_loop();
            }
            STOP.store(true, Ordering::Release);
            return;
        }
        let mut random = Random::new(index);
        let good = tpm::get_random(8);
        let sizes = [12u32, 12, 12, 10, 55, 56, 4087, 4088, u32::MAX];
        while !STOP.load(Ordering::Acquire) {
            let size = sizes[random.below(9) as usize];
            put_bytes(gpa, &TPM_SEND_COMMAND.to_le_bytes());
            put_bytes(gpa + 5, &size.to_le_bytes());
            put_bytes(gpa + 4, &[(random.below(16) == 0) as u8]);
            put_bytes(gpa + HEADER, good.get());
            put_bytes(
                gpa + HEADER + 2,
                &size.min(random.below(64) as u32).to_be_bytes(),
            );
            core::hint::spin_loop();
        }
    });
    check("vtpm-works-after-changing-request", true, works(buffer(0)));
}

/// vCPU 1 makes a VMSA of the page that vCPU 0's responses reach into. Whatever the order, a page that is a VMSA is not
/// written: its first words, which are all that a response reaches, stay what they were.
fn becoming_vmsa() {
    let pages = need!("vtpm-becoming-vmsa", guest::valid_run(2));
    AREA.store(
        need!("vtpm-becoming-vmsa", guest::valid_run(1)),
        Ordering::Relaxed,
    );
    write_vmsa(pages + PAGE_SIZE, Context::new(), idle, |_| {});
    BUFFERS[0].store(pages + PAGE_SIZE - 21, Ordering::Relaxed);
    STOP.store(false, Ordering::Relaxed);
    COUNT.store(0, Ordering::Relaxed);
    together("vtpm-response-into-becoming-vmsa", |index| {
        let request = buffer(0);
        let page = (request | (PAGE_SIZE - 1)) + 1;
        match index {
            0 => {
                for _ in 0..ROUNDS {
                    put(request, &tpm::get_random(32));
                    let refusals = [result::INVALID_ADDRESS, NOT_NOW[0], NOT_NOW[1]];
                    record(svsm::vtpm_command(request), &refusals);
                    core::hint::spin_loop();
                }
                STOP.store(true, Ordering::Release);
            }
            1 => {
                let words = || [peek(page), peek(page + 8), peek(page + 16)];
                while !STOP.load(Ordering::Acquire) {
                    let target = TARGET.load(Ordering::Relaxed) as u64;
                    let created = core(CREATE_VCPU, page, AREA.load(Ordering::Relaxed), target);
                    if created != Ok(OK) {
                        wrong(created.unwrap_or(u64::MAX));
                        continue;
                    }
                    COUNT.fetch_add(1, Ordering::Relaxed);
                    let before = words();
                    for _ in 0..20 {
                        core::hint::spin_loop();
                        if words() != before {
                            wrong(1);
                        }
                    }
                    let deleted = core(DELETE_VCPU, page, 0, 0);
                    if deleted != Ok(OK) {
                        wrong(deleted.unwrap_or(u64::MAX));
                    }
                    core::hint::spin_loop();
                }
            }
            _ => {}
        }
    });
    println!("  {} VMSAs", COUNT.load(Ordering::Relaxed));
    let both = (crew::succeeded() > 0, crew::refused() > 0);
    check("vtpm-response-into-becoming-vmsa-both", (true, true), both);
    let page = need!("vtpm-becoming-vmsa", guest::valid_run(1));
    BUFFERS[0].store(page, Ordering::Relaxed);
    check("vtpm-works-after-becoming-vmsa", true, works(page));
}

/// All vCPUs at once, each with data of its own: nobody gets another's answer.
fn own_answers() {
    together("vtpm-own-answers", |index| {
        let mut random = Random::new(index);
        while ROUND.fetch_add(1, Ordering::Relaxed) < ROUNDS {
            let data = [random.below(256) as u8 ^ (index as u8) << 5; 64];
            put(buffer(index), &tpm::hash(&data));
            let outcome = done(buffer(index));
            if !record(outcome.map(|outcome| outcome.code), &[]) {
                continue;
            }
            let answer = response(buffer(index));
            if answer.code() != rc::SUCCESS
                || answer.sized_at(10) != Some(&sha256::digest(&[&data]))
            {
                wrong(answer.code() as u64 | 1 << 32);
            }
        }
    });
}

/// vCPU 0 makes a key; the others want something short meanwhile, again and again.
fn interrupted_key() {
    STOP.store(false, Ordering::Relaxed);
    COUNT.store(0, Ordering::Relaxed);
    together("vtpm-interrupted-key", |index| {
        let gpa = buffer(index);
        if index == 0 {
            put(gpa, &another_key());
            let outcome = done(gpa);
            STOP.store(true, Ordering::Release);
            let answer = response(gpa);
            record(outcome.map(|outcome| outcome.code), &[]);
            if answer.code() != rc::SUCCESS || answer.u32_at(10) != tpm::FIRST_TRANSIENT {
                wrong(answer.code() as u64 | 1 << 32);
            }
            return;
        }
        put(gpa, &tpm::get_random(16));
        loop {
            let last = STOP.load(Ordering::Acquire);
            let answer = svsm::vtpm_command(gpa);
            if answer == Ok(result::BUSY) {
                COUNT.fetch_add(1, Ordering::Relaxed);
            }
            if record(answer, &NOT_NOW) {
                if last {
                    return;
                }
                let bytes = response(gpa).sized_at(10).map(<[u8]>::len);
                if bytes != Some(16) {
                    wrong(2 << 32);
                }
                put(gpa, &tpm::get_random(16));
            }
            core::hint::spin_loop();
        }
    });
    let busy = COUNT.load(Ordering::Relaxed);
    check_that(
        "vtpm-interrupted-key-busy",
        busy > 0,
        "BUSY for others",
        busy,
    );
    flush("vtpm-interrupted-key-made", buffer(0));
}

extern "C" fn make_key(gpa: u64) {
    while svsm::vtpm_command(gpa) == Ok(result::INCOMPLETE) {
        COUNT.fetch_add(1, Ordering::Release);
    }
    STOP.store(true, Ordering::Release);
}

/// A vCPU is deleted with a key under way. The others finish it, wait for an owner that does not come, and go on.
fn deleted_owner(apic_id: u32) {
    let (own, other) = (buffer(1), buffer(0));
    COUNT.store(0, Ordering::Relaxed);
    STOP.store(false, Ordering::Relaxed);
    let command = another_key();
    put(own, &command);
    let owner = need!("vtpm-deleted-owner", smp::start(apic_id, make_key, own));
    let begun = time::wait_until(LONG_MS, || COUNT.load(Ordering::Acquire) >= 3);
    check("vtpm-deleted-owner-began", true, begun);
    check("vtpm-deleted-owner", Ok(OK), crew::stop(owner));
    if STOP.load(Ordering::Acquire) {
        return check_that(
            "vtpm-deleted-owner-in-time",
            false,
            "a key under way",
            "one made",
        );
    }
    put(other, &tpm::get_random(8));
    let first = svsm::vtpm_command(other);
    check("vtpm-deleted-owner-others-busy", Ok(result::BUSY), first);
    let begun = cpu::rdtsc();
    let outcome = need!("vtpm-deleted-owner", done(other));
    let ms = (cpu::rdtsc() - begun) / time::ticks_per_ms();
    check("vtpm-deleted-owner-others-go-on", OK, outcome.code);
    println!("  others go on after {ms} ms, {} times BUSY", outcome.busy);
    check(
        "vtpm-deleted-owner-unanswered",
        command.get()[0],
        first_byte(own),
    );
    flush("vtpm-deleted-owner-key-made", other);
    check(
        "vtpm-deleted-owner-afterwards",
        DONE,
        execute(own, &tpm::get_random(8)),
    );
}

/// The first byte of the command in the buffer at `gpa`: of a request still, or written over by a response.
fn first_byte(gpa: u64) -> u8 {
    let mut byte = [0];
    guest::get_bytes(gpa + HEADER, &mut byte);
    byte[0]
}
