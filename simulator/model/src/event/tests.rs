//! Tests of event delivery. Expectations: APM vol. 2 §8.2 (vectors, RF), §8.7 (32-bit), §8.9 (64-bit), table 8-4.

use super::*;
use crate::rmp::Rule;
use crate::walk::test_memory::{C, GEOMETRY, TestMemory};
use proptest::prelude::*;
use snp_abi::vmsa::Segment;

const IDT: u64 = 0x1_0000;
const GDT: u64 = 0x1_1000;
const TSS: u64 = 0x1_2000;
const KERNEL_STACK: u64 = 0x2_0000;
const IST_STACK: u64 = 0x2_1000;
const USER_STACK: u64 = 0x2_2000;
const HANDLER: u64 = 0xFFFF_8000_1234_5678;

const KERNEL_CS: u16 = 0x08;
const USER_CS: u16 = 0x1B;

fn gate(selector: u16, offset: u64, attributes: u64, ist: u64) -> [u64; 2] {
    let low = offset & 0xFFFF
        | u64::from(selector) << 16
        | ist << 32
        | attributes << 40
        | (offset >> 16 & 0xFFFF) << 48;
    [low, offset >> 32]
}

fn set_gate(memory: &mut TestMemory, vector: u8, [low, high]: [u64; 2]) {
    memory.poke_u64(IDT + 16 * u64::from(vector), low);
    memory.poke_u64(IDT + 16 * u64::from(vector) + 8, high);
}

/// A kernel in long mode: pages 0-0x1FFFFF are mapped one to one by a 2 MiB page, supervisor and user.
fn long_mode() -> (Vmsa, TestMemory) {
    let mut memory = TestMemory::default();
    memory.poke_u64(0x1000, 0x2000 | C | 0x27);
    memory.poke_u64(0x2000, 0x3000 | C | 0x27);
    memory.poke_u64(0x3000, C | 0xE7);
    for page in [
        IDT,
        GDT,
        TSS,
        KERNEL_STACK - 0x1000,
        IST_STACK - 0x1000,
        USER_STACK - 0x1000,
    ] {
        memory.add_page(page, true);
    }
    // Code 64-bit DPL 0, data, code 64-bit DPL 3, data DPL 3, code 32-bit DPL 0, conforming 64-bit.
    for (index, descriptor) in [
        0,
        0x00AF_9B00_0000_FFFF,
        0x00CF_9300_0000_FFFF,
        0x00AF_FB00_0000_FFFF,
        0x00CF_F300_0000_FFFF,
        0x00CF_9B00_0000_FFFF,
        0x00AF_9F00_0000_FFFF,
        // Not present, and one that was never accessed.
        0x00AF_1B00_0000_FFFF,
        0x00AF_9A00_0000_FFFF,
    ]
    .into_iter()
    .enumerate()
    {
        memory.poke_u64(GDT + 8 * index as u64, descriptor);
    }
    memory.poke_u64(TSS + 4, KERNEL_STACK);
    memory.poke_u64(TSS + 0x24, IST_STACK);
    for vector in [0u8, 8, 11, 12, 13, 14, 29] {
        set_gate(
            &mut memory,
            vector,
            gate(KERNEL_CS, HANDLER + u64::from(vector), 0x8E, 0),
        );
    }

    let mut cpu: Vmsa = zerocopy::FromZeros::new_zeroed();
    cpu.cr0.set(0x8001_0031);
    cpu.cr3.set(0x1000 | C);
    cpu.cr4.set(0x20);
    cpu.efer.set(0x1D00);
    cpu.idtr = Segment::new(0, 0, 0xFFF, IDT);
    cpu.gdtr = Segment::new(0, 0, 9 * 8 - 1, GDT);
    cpu.tr = Segment::new(0x40, 0x8B, 0x67, TSS);
    cpu.cs = Segment::new(KERNEL_CS, 0x29B, 0xFFFF_FFFF, 0);
    cpu.ss = Segment::new(0x10, 0xC93, 0xFFFF_FFFF, 0);
    cpu.rip.set(0x4_0000);
    cpu.rsp.set(KERNEL_STACK - 0x108);
    // TF, IF, NT, RF and a reserved one.
    cpu.rflags.set(0x1_4302);
    (cpu, memory)
}

fn user_mode() -> (Vmsa, TestMemory) {
    let (mut cpu, memory) = long_mode();
    cpu.cpl = 3;
    cpu.cs = Segment::new(USER_CS, 0x2FB, 0xFFFF_FFFF, 0);
    cpu.ss = Segment::new(0x23, 0xCF3, 0xFFFF_FFFF, 0);
    cpu.rsp.set(USER_STACK - 8);
    (cpu, memory)
}

fn frame<const N: usize>(memory: &TestMemory, at: u64) -> [u64; N] {
    core::array::from_fn(|index| memory.peek_u64(at + 8 * index as u64))
}

#[test]
fn a_vc_in_the_kernel_pushes_its_error_code_on_the_aligned_stack() {
    let (mut cpu, mut memory) = long_mode();
    let result = deliver(&mut cpu, &mut memory, GEOMETRY, Event::vc(0x72));
    assert_eq!(result, Ok(Delivered::Entered { vector: 29 }));
    // RSP ...EF8 is aligned down to ...EF0, then six words are pushed.
    let rsp = KERNEL_STACK - 0x110 - 48;
    assert_eq!(cpu.rsp.get(), rsp);
    assert_eq!(
        frame(&memory, rsp),
        [0x72, 0x4_0000, 8, 0x1_4302, KERNEL_STACK - 0x108, 0x10]
    );
    assert_eq!(cpu.rip.get(), HANDLER + 29);
    // IF, TF, NT and RF are cleared; CS is loaded, SS stays.
    assert_eq!(cpu.rflags.get(), 2);
    assert_eq!(cpu.cs, Segment::new(8, 0xA9B, 0xFFFF_FFFF, 0));
    assert_eq!(cpu.ss.selector.get(), 0x10);
    assert_eq!(cpu.cpl, 0);
}

#[test]
fn trap_gates_leave_if_alone_and_ist_switches_the_stack() {
    let (mut cpu, mut memory) = long_mode();
    set_gate(&mut memory, 29, gate(KERNEL_CS, HANDLER, 0x8F, 1));
    deliver(&mut cpu, &mut memory, GEOMETRY, Event::vc(0x7B)).unwrap();
    assert_eq!(cpu.rflags.get(), 0x202);
    assert_eq!(cpu.rsp.get(), IST_STACK - 48);
    assert_eq!(memory.peek_u64(IST_STACK - 16), KERNEL_STACK - 0x108);
}

#[test]
fn from_ring_3_the_stack_comes_from_the_tss_and_ss_becomes_null() {
    for (ist, top) in [(0, KERNEL_STACK), (1, IST_STACK)] {
        let (mut cpu, mut memory) = user_mode();
        set_gate(&mut memory, 29, gate(KERNEL_CS, HANDLER, 0x8E, ist));
        deliver(&mut cpu, &mut memory, GEOMETRY, Event::vc(0x72)).unwrap();
        assert_eq!(cpu.rsp.get(), top - 48);
        assert_eq!(
            frame(&memory, top - 48),
            [
                0x72,
                0x4_0000,
                u64::from(USER_CS),
                0x1_4302,
                USER_STACK - 8,
                0x23
            ]
        );
        assert_eq!((cpu.cpl, cpu.ss.selector.get()), (0, 0));
        assert_eq!(
            cpu.ss.attributes.get() & 0x60,
            0,
            "QEMU takes CPL from SS.DPL"
        );
        assert_eq!(cpu.cs.selector.get(), KERNEL_CS);
    }
}

#[test]
fn conforming_handlers_run_at_the_interrupted_level() {
    let (mut cpu, mut memory) = user_mode();
    set_gate(&mut memory, 29, gate(0x30, HANDLER, 0x8E, 0));
    deliver(&mut cpu, &mut memory, GEOMETRY, Event::vc(0x72)).unwrap();
    assert_eq!((cpu.cpl, cpu.cs.selector.get()), (3, 0x33));
    assert_eq!(cpu.rsp.get(), USER_STACK - 16 - 48);
    assert_eq!(cpu.ss.selector.get(), 0x23);
}

#[test]
fn interrupts_have_no_error_code_and_do_not_set_rf() {
    let (mut cpu, mut memory) = long_mode();
    cpu.rflags.set(0x202);
    set_gate(&mut memory, 0x50, gate(KERNEL_CS, HANDLER, 0x8E, 0));
    deliver(&mut cpu, &mut memory, GEOMETRY, Event::interrupt(0x50)).unwrap();
    let rsp = KERNEL_STACK - 0x110 - 40;
    assert_eq!(cpu.rsp.get(), rsp);
    assert_eq!(
        frame(&memory, rsp),
        [0x4_0000, 8, 0x202, KERNEL_STACK - 0x108, 0x10]
    );
}

#[test]
fn faults_are_pushed_with_rf() {
    let (mut cpu, mut memory) = long_mode();
    cpu.rflags.set(0x202);
    deliver(&mut cpu, &mut memory, GEOMETRY, Event::gp0()).unwrap();
    assert_eq!(memory.peek_u64(cpu.rsp.get() + 24), 0x1_0202);
}

#[test]
fn a_page_fault_sets_cr2() {
    let (mut cpu, mut memory) = long_mode();
    deliver(&mut cpu, &mut memory, GEOMETRY, Event::pf(0xDEAD_B000, 6)).unwrap();
    assert_eq!(cpu.cr2.get(), 0xDEAD_B000);
    assert_eq!(memory.peek_u64(cpu.rsp.get()), 6);
}

/// Delivers to a vCPU set up by `change`; returns the vector entered and the error code on its stack.
fn outcome(
    event: Event,
    change: impl FnOnce(&mut Vmsa, &mut TestMemory),
) -> Result<Option<(u8, u64)>, DeliveryError> {
    let (mut cpu, mut memory) = user_mode();
    change(&mut cpu, &mut memory);
    Ok(match deliver(&mut cpu, &mut memory, GEOMETRY, event)? {
        Delivered::Entered { vector } => Some((vector, memory.peek_u64(cpu.rsp.get()))),
        Delivered::Shutdown => None,
    })
}

#[test]
fn faults_while_delivering_an_interrupt_are_delivered_in_its_place() {
    let event = Event::interrupt(0x50);
    // Selector error codes: index | TI | IDT | EXT.
    let idt_code = 0x50 << 3 | 3;
    let with_gate = |selector, attributes| {
        outcome(event, |_, memory| {
            set_gate(memory, 0x50, gate(selector, HANDLER, attributes, 0));
        })
    };
    assert_eq!(
        with_gate(KERNEL_CS, 0x0E),
        Ok(Some((11, idt_code))),
        "not present"
    );
    assert_eq!(
        with_gate(KERNEL_CS, 0x85),
        Ok(Some((13, idt_code))),
        "task gate in long mode"
    );
    assert_eq!(
        with_gate(KERNEL_CS, 0x86),
        Ok(Some((13, idt_code))),
        "16-bit gate in long mode"
    );
    assert_eq!(with_gate(0, 0x8E), Ok(Some((13, 1))), "null selector");
    assert_eq!(with_gate(0x10, 0x8E), Ok(Some((13, 0x11))), "data segment");
    assert_eq!(
        with_gate(0x28, 0x8E),
        Ok(Some((13, 0x29))),
        "32-bit segment"
    );
    assert_eq!(
        with_gate(0x38, 0x8E),
        Ok(Some((11, 0x39))),
        "segment not present"
    );
    assert_eq!(
        with_gate(0x800, 0x8E),
        Ok(Some((13, 0x801))),
        "beyond the GDT"
    );
    assert_eq!(
        outcome(event, |_, memory| {
            set_gate(
                memory,
                0x50,
                gate(KERNEL_CS, 0x8000_0000_0000_0000, 0x8E, 0),
            );
        }),
        Ok(Some((13, 1))),
        "handler not canonical"
    );
    assert_eq!(
        outcome(event, |cpu, _| cpu.idtr.limit.set(0x50 * 16 + 14)),
        Ok(Some((13, idt_code))),
        "beyond the IDT"
    );
}

#[test]
fn software_interrupts_check_the_gates_level_and_have_no_ext() {
    let event = Event {
        kind: EventKind::SoftwareInterrupt,
        ..Event::interrupt(0x80)
    };
    let with_gate = |attributes| {
        outcome(event, |_, memory| {
            set_gate(memory, 0x80, gate(KERNEL_CS, HANDLER, attributes, 0));
        })
        .unwrap()
        .unwrap()
    };
    assert_eq!(with_gate(0x8E), (13, 0x80 << 3 | 2));
    assert_eq!(with_gate(0xEE).0, 0x80);
}

#[test]
fn double_faults_follow_the_classes() {
    let no_handler =
        |vector| move |_: &mut Vmsa, memory: &mut TestMemory| set_gate(memory, vector, [0, 0]);
    // Contributory after contributory, and #VC counts as one.
    assert_eq!(outcome(Event::vc(0x72), no_handler(29)), Ok(Some((8, 0))));
    assert_eq!(outcome(Event::gp0(), no_handler(13)), Ok(Some((8, 0))));
    assert_eq!(outcome(Event::pf(0, 0), no_handler(14)), Ok(Some((8, 0))));
    // After a benign one the second is delivered: a gate of type 0 is #GP.
    let ud = (13, 6 << 3 | 3);
    assert_eq!(outcome(Event::ud(), no_handler(6)), Ok(Some(ud)));
    // A fault while delivering #DF: shutdown.
    let nothing = |cpu: &mut Vmsa, _: &mut TestMemory| cpu.idtr.limit.set(0);
    assert_eq!(outcome(Event::vc(0x72), nothing), Ok(None));
    assert_eq!(outcome(Event::interrupt(0x20), nothing), Ok(None));
}

#[test]
fn cr2_is_written_even_if_a_double_fault_is_delivered() {
    let (mut cpu, mut memory) = long_mode();
    set_gate(&mut memory, 14, [0, 0]);
    let result = deliver(&mut cpu, &mut memory, GEOMETRY, Event::pf(0xBAD_0000, 4));
    assert_eq!(result, Ok(Delivered::Entered { vector: 8 }));
    assert_eq!(cpu.cr2.get(), 0xBAD_0000);
}

#[test]
fn a_page_fault_on_the_new_stack_is_delivered_on_its_own() {
    // #UD handler on a stack that is not mapped; #PF through IST 1. After a contributory one: #DF.
    let unmapped = 0x4000_0000u64;
    let change = |memory: &mut TestMemory| {
        memory.poke_u64(TSS + 4, unmapped);
        set_gate(memory, 6, gate(KERNEL_CS, HANDLER, 0x8E, 0));
        set_gate(memory, 14, gate(KERNEL_CS, HANDLER, 0x8E, 1));
    };
    let (mut cpu, mut memory) = user_mode();
    change(&mut memory);
    let result = deliver(&mut cpu, &mut memory, GEOMETRY, Event::ud());
    assert_eq!(result, Ok(Delivered::Entered { vector: 14 }));
    assert_eq!(cpu.cr2.get(), unmapped - 40);
    assert_eq!(memory.peek_u64(cpu.rsp.get()), 2, "a supervisor write");
    // The pushed state is still the interrupted one.
    assert_eq!(memory.peek_u64(cpu.rsp.get() + 8), 0x4_0000);
    let contributory = outcome(Event::gp0(), |_, memory| change(memory));
    assert_eq!(
        contributory,
        Ok(Some((14, 2))),
        "contributory, then page fault: serial"
    );
    let page_fault = outcome(Event::pf(1, 4), |_, memory| {
        change(memory);
        set_gate(memory, 14, gate(KERNEL_CS, HANDLER, 0x8E, 0));
        set_gate(memory, 8, gate(KERNEL_CS, HANDLER, 0x8E, 1));
    });
    assert_eq!(page_fault, Ok(Some((8, 0))));
}

#[test]
fn a_nested_fault_leaves_the_vcpu_unchanged() {
    let (mut cpu, mut memory) = long_mode();
    let gone = 0x9_9000u64;
    cpu.rsp.set(gone + 0x800);
    let before = zerocopy::IntoBytes::as_bytes(&cpu).to_vec();
    let event = Event::vc(0x72);
    let result = deliver(&mut cpu, &mut memory, GEOMETRY, event);
    let Err(DeliveryError::Nested { violation, pending }) = result else {
        panic!("{result:?}");
    };
    assert_eq!(violation.rule, Rule::NotMapped);
    assert_eq!(pending, event);
    assert_eq!(zerocopy::IntoBytes::as_bytes(&cpu), before);
    memory.add_page(gone, true);
    let again = deliver(&mut cpu, &mut memory, GEOMETRY, pending);
    assert_eq!(again, Ok(Delivered::Entered { vector: 29 }));
}

#[test]
fn a_stack_that_is_not_validated_raises_vc_404() {
    let change = |cpu: &mut Vmsa, memory: &mut TestMemory| {
        memory.not_validated.push(KERNEL_STACK - 0x1000);
        set_gate(memory, 0x50, gate(KERNEL_CS, HANDLER, 0x8E, 0));
        set_gate(memory, 29, gate(KERNEL_CS, HANDLER, 0x8E, 1));
        cpu.rflags.set(0x202);
    };
    assert_eq!(
        outcome(Event::interrupt(0x50), change),
        Ok(Some((29, 0x404)))
    );
}

#[test]
fn a_stack_pointer_that_is_not_canonical_is_a_stack_fault() {
    let change = |_: &mut Vmsa, memory: &mut TestMemory| {
        set_gate(memory, 0x50, gate(KERNEL_CS, HANDLER, 0x8E, 0));
        set_gate(memory, 12, gate(KERNEL_CS, HANDLER, 0x8E, 1));
        memory.poke_u64(TSS + 4, 0x8000_0000_0000_0000);
    };
    assert_eq!(outcome(Event::interrupt(0x50), change), Ok(Some((12, 1))));
    // A TSS too short for the stack pointer: #TS with TR's selector.
    let short = |cpu: &mut Vmsa, memory: &mut TestMemory| {
        set_gate(memory, 0x50, gate(KERNEL_CS, HANDLER, 0x8E, 0));
        set_gate(memory, 10, gate(0x30, HANDLER, 0x8E, 0));
        cpu.tr.limit.set(10);
    };
    assert_eq!(outcome(Event::interrupt(0x50), short), Ok(Some((10, 0x41))));
}

#[test]
fn the_accessed_bit_of_the_descriptor_is_set() {
    let (mut cpu, mut memory) = long_mode();
    set_gate(&mut memory, 29, gate(0x40, HANDLER, 0x8E, 0));
    deliver(&mut cpu, &mut memory, GEOMETRY, Event::vc(0x72)).unwrap();
    assert_eq!(memory.peek_u64(GDT + 0x40), 0x00AF_9B00_0000_FFFF);
    assert_eq!(cpu.cs.attributes.get(), 0xA9B);
}

/// OVMF's reset vector: flat 32-bit segments, paging off.
fn protected_mode() -> (Vmsa, TestMemory) {
    let (mut cpu, mut memory) = long_mode();
    cpu.cr0.set(0x11);
    cpu.efer.set(0x1000);
    cpu.cs = Segment::new(0x28, 0xC9B, 0xFFFF_FFFF, 0);
    cpu.rsp.set(0xFFFF_FFFF_0000_0000 | KERNEL_STACK);
    cpu.rip.set(0xFFFF_0100);
    let gate = 0x28u64 << 16 | 0x8E00 << 32 | 0x5678 | 0xFFFF << 48;
    memory.poke_u64(IDT + 29 * 8, gate);
    (cpu, memory)
}

#[test]
fn a_vc_in_32_bit_mode_pushes_four_words() {
    let (mut cpu, mut memory) = protected_mode();
    let result = deliver(&mut cpu, &mut memory, GEOMETRY, Event::vc(0x72));
    assert_eq!(result, Ok(Delivered::Entered { vector: 29 }));
    assert_eq!(cpu.rsp.get(), KERNEL_STACK - 16);
    let words = [0u64, 4, 8, 12].map(|at| u32::from_le_bytes(memory.peek(KERNEL_STACK - 16 + at)));
    assert_eq!(words, [0x72, 0xFFFF_0100, 0x28, 0x1_4302]);
    assert_eq!(cpu.rip.get(), 0xFFFF_5678);
    assert_eq!(cpu.rflags.get(), 2);
}

#[test]
fn what_32_bit_mode_does_not_model_is_named() {
    let (mut cpu, mut memory) = protected_mode();
    cpu.cpl = 3;
    assert_eq!(
        deliver(&mut cpu, &mut memory, GEOMETRY, Event::vc(0x72)),
        Err(DeliveryError::LegacyPrivilegeChange { vector: 29 })
    );
    let (mut cpu, mut memory) = protected_mode();
    memory.poke_u64(IDT + 29 * 8, 0x28 << 16 | 0x8500 << 32);
    assert_eq!(
        deliver(&mut cpu, &mut memory, GEOMETRY, Event::vc(0x72)),
        Err(DeliveryError::TaskGate { vector: 29 })
    );
    let (mut cpu, mut memory) = protected_mode();
    cpu.rflags.set(1 << 17 | 2);
    assert_eq!(
        deliver(&mut cpu, &mut memory, GEOMETRY, Event::vc(0x72)),
        Err(DeliveryError::Virtual8086 { vector: 29 })
    );
}

#[test]
fn the_stack_limit_is_checked_in_32_bit_mode() {
    let (mut cpu, mut memory) = protected_mode();
    cpu.ss.limit.set(0x1000);
    memory.poke_u64(IDT + 8 * 8, 0);
    // #VC, then #SS: a double fault without a handler: shutdown.
    assert_eq!(
        deliver(&mut cpu, &mut memory, GEOMETRY, Event::vc(0x72)),
        Ok(Delivered::Shutdown)
    );
}

#[test]
fn real_mode_uses_the_vector_table_and_pushes_no_error_code() {
    let (mut cpu, mut memory) = long_mode();
    cpu.cr0.set(0x10);
    cpu.efer.set(0x1000);
    cpu.idtr = Segment::new(0, 0, 0x3FF, IDT);
    cpu.cs = Segment::new(0xF000, 0x9B, 0xFFFF, 0xF_0000);
    cpu.ss = Segment::new(0x1F00, 0x93, 0xFFFF, 0x1_F000);
    cpu.rsp.set(0x1000);
    cpu.rip.set(0x1234);
    cpu.rflags.set(0x302);
    memory.poke(IDT + 13 * 4, &[0x78, 0x56, 0x00, 0xE0]);
    deliver(&mut cpu, &mut memory, GEOMETRY, Event::gp0()).unwrap();
    assert_eq!(cpu.rsp.get(), 0xFFA);
    assert_eq!(
        memory.peek::<6>(0x1_FFFA),
        [0x34, 0x12, 0x00, 0xF0, 0x02, 0x03]
    );
    assert_eq!(
        (cpu.rip.get(), cpu.cs.selector.get(), cpu.cs.base.get()),
        (0x5678, 0xE000, 0xE_0000)
    );
    assert_eq!(cpu.rflags.get(), 2);
}

#[test]
fn events_round_trip_through_eventinj() {
    // 80000b1d + error code 72 is what QEMU was given for #VC; 8000030D is KVM's #GP; 80000202 an NMI.
    assert_eq!(Event::vc(0x72).to_bits(), 0x72_8000_0B1D);
    assert_eq!(Event::exception(13, None).to_bits(), 0x8000_030D);
    assert_eq!(Event::nmi().to_bits(), 0x8000_0202);
    assert_eq!(Event::interrupt(0x50).to_bits(), 0x8000_0050);
    for event in [
        Event::vc(0x404),
        Event::nmi(),
        Event::ud(),
        Event::interrupt(0x20),
    ] {
        assert_eq!(Event::from_bits(event.to_bits()), Some(event));
    }
    assert_eq!(Event::from_bits(0x7FFF_FFFF), None, "valid is clear");
    assert_eq!(Event::from_bits(0x8000_0100), None, "type 1 is reserved");
}

proptest! {
    #[test]
    fn delivery_with_random_state_never_panics(
        gate_bits in any::<[u64; 2]>(), descriptor in any::<u64>(), vector in any::<u8>(),
        rsp in any::<u64>(), cpl in 0u8..4, cr0 in any::<u64>(), efer in any::<u64>(),
        tss in any::<u64>(), limits in any::<[u16; 3]>(), attributes in any::<u16>(),
    ) {
        let (mut cpu, mut memory) = long_mode();
        set_gate(&mut memory, vector, [gate_bits[0] & !0xFFFF_0000 | 8 << 16, gate_bits[1]]);
        memory.poke_u64(GDT + 8, descriptor);
        memory.poke_u64(TSS + 4, tss);
        cpu.rsp.set(rsp);
        cpu.cpl = cpl;
        cpu.cr0.set(cr0);
        cpu.efer.set(efer & 0x1D00);
        cpu.ss.attributes.set(attributes);
        cpu.idtr.limit.set(u32::from(limits[0]));
        cpu.gdtr.limit.set(u32::from(limits[1]));
        cpu.ss.limit.set(u32::from(limits[2]));
        let before = zerocopy::IntoBytes::as_bytes(&cpu).to_vec();
        let result = deliver(&mut cpu, &mut memory, GEOMETRY, Event::exception(vector, Some(1)));
        if !matches!(result, Ok(Delivered::Entered { .. })) {
            prop_assert_eq!(zerocopy::IntoBytes::as_bytes(&cpu), before);
        }
    }
}
