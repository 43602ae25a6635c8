//! Tests of the decoder. Encodings: APM vol. 3; SNP instructions as Linux and Microsoft's intrinsics have them.

use super::*;
use proptest::prelude::*;

const IN_AL_DX: Io = Io {
    input: true,
    string: false,
    rep: false,
    size: 1,
    address_size: 8,
    port: None,
};

#[test]
fn instructions_in_64_bit_mode() {
    use Kind::*;
    let cases: &[(&[u8], Kind)] = &[
        (&[0xF2, 0x0F, 0x01, 0xFF], Pvalidate),
        (&[0xF3, 0x0F, 0x01, 0xFE], RmpAdjust),
        (&[0xF3, 0x0F, 0x01, 0xFD], RmpQuery),
        (&[0xF2, 0x0F, 0x01, 0xFE], RmpUpdate),
        (&[0xF2, 0x0F, 0x01, 0xFD], RmpRead),
        (&[0xF3, 0x0F, 0x01, 0xFF], Psmash),
        (&[0xF3, 0x0F, 0x01, 0xD9], Vmgexit),
        (&[0xF2, 0x0F, 0x01, 0xD9], Vmgexit),
        (&[0x0F, 0x01, 0xD9], Vmmcall),
        (&[0x0F, 0x01, 0xFE], Invlpgb),
        (&[0x0F, 0x01, 0xFF], Tlbsync),
        (&[0x0F, 0x01, 0xFD], Rdpru),
        (&[0x0F, 0x31], Rdtsc),
        (&[0x0F, 0x01, 0xF9], Rdtscp),
        (&[0x0F, 0x33], Rdpmc),
        (&[0x0F, 0xA2], Cpuid),
        (&[0xF4], Hlt),
        (&[0xF3, 0x90], Pause),
        (&[0x0F, 0x20, 0xC0], MovFromCr { cr: 0, gpr: 0 }),
        (&[0x0F, 0x22, 0xD8], MovToCr { cr: 3, gpr: 0 }),
        (&[0x41, 0x0F, 0x22, 0xE7], MovToCr { cr: 4, gpr: 15 }),
        (&[0x44, 0x0F, 0x20, 0xC3], MovFromCr { cr: 8, gpr: 3 }),
        (&[0xF0, 0x0F, 0x20, 0xC3], MovFromCr { cr: 8, gpr: 3 }),
        // ModRM.mod is ignored: no SIB, no displacement.
        (&[0x0F, 0x22, 0x04], MovToCr { cr: 0, gpr: 4 }),
        (&[0x0F, 0x23, 0xF8], MovToDr { dr: 7, gpr: 0 }),
        (&[0x0F, 0x21, 0xF9], MovFromDr { dr: 7, gpr: 1 }),
        (&[0x0F, 0x06], Clts),
        (&[0x0F, 0x01, 0xF1], Lmsw { gpr: Some(1) }),
        (&[0x41, 0x0F, 0x01, 0xE2], Smsw { gpr: Some(10) }),
        (&[0x0F, 0x01, 0x30], Lmsw { gpr: None }),
        (&[0x0F, 0x01, 0x64, 0x24, 0x08], Smsw { gpr: None }),
        (&[0x0F, 0x32], Rdmsr),
        (&[0x0F, 0x30], Wrmsr),
        (&[0x0F, 0x01, 0xD1], Xsetbv),
        (&[0x0F, 0x01, 0xD0], Xgetbv),
        (&[0x0F, 0x08], Invd),
        (&[0x0F, 0x09], Wbinvd),
        (&[0xF3, 0x0F, 0x09], Wbnoinvd),
        (&[0x0F, 0x01, 0xC8], Monitor),
        (&[0x0F, 0x01, 0xC9], Mwait),
        (&[0x0F, 0x01, 0xFA], Monitorx),
        (&[0x0F, 0x01, 0xFB], Mwaitx),
        // INVLPG: [rax], [rsp], [rip+d32], [rbp+d8], [r12+rcx*4+d32], [disp32].
        (&[0x0F, 0x01, 0x38], Invlpg),
        (&[0x0F, 0x01, 0x3C, 0x24], Invlpg),
        (&[0x0F, 0x01, 0x3D, 1, 2, 3, 4], Invlpg),
        (&[0x0F, 0x01, 0x7D, 0x10], Invlpg),
        (&[0x41, 0x0F, 0x01, 0xBC, 0x8C, 1, 2, 3, 4], Invlpg),
        (&[0x0F, 0x01, 0x3C, 0x25, 1, 2, 3, 4], Invlpg),
        (&[0x0F, 0x01, 0xDF], Invlpga),
        (&[0x0F, 0x01, 0xD8], Vmrun),
        (&[0x0F, 0x01, 0xDA], Vmload),
        (&[0x0F, 0x01, 0xDB], Vmsave),
        (&[0x0F, 0x01, 0xDC], Stgi),
        (&[0x0F, 0x01, 0xDD], Clgi),
        (&[0x0F, 0x01, 0xDE], Skinit),
        (&[0xCC], Int3),
        (&[0xCD, 0x80], Int { vector: 0x80 }),
        (&[0xF1], Icebp),
        (&[0x48, 0xCF], Iret),
        (&[0x9C], Pushf),
        (&[0x9D], Popf),
        (&[0xEC], Io(IN_AL_DX)),
        (
            &[0xED],
            Io(super::Io {
                size: 4,
                ..IN_AL_DX
            }),
        ),
        (
            &[0x66, 0xED],
            Io(super::Io {
                size: 2,
                ..IN_AL_DX
            }),
        ),
        // REX.W does not make it 64 bits.
        (
            &[0x48, 0xED],
            Io(super::Io {
                size: 4,
                ..IN_AL_DX
            }),
        ),
        (
            &[0xE6, 0x80],
            Io(super::Io {
                input: false,
                port: Some(0x80),
                ..IN_AL_DX
            }),
        ),
        (
            &[0xE5, 0x71],
            Io(super::Io {
                size: 4,
                port: Some(0x71),
                ..IN_AL_DX
            }),
        ),
        (
            &[0xF3, 0x6E],
            Io(super::Io {
                input: false,
                string: true,
                rep: true,
                ..IN_AL_DX
            }),
        ),
        (
            &[0x67, 0x66, 0x6D],
            Io(super::Io {
                string: true,
                size: 2,
                address_size: 4,
                ..IN_AL_DX
            }),
        ),
        // A REX before another prefix counts for nothing.
        (&[0x44, 0x66, 0x0F, 0x20, 0xC0], MovFromCr { cr: 0, gpr: 0 }),
        // The last of F2 and F3 wins.
        (&[0xF2, 0xF3, 0x0F, 0x01, 0xFF], Psmash),
        (&[0x2E, 0x65, 0x0F, 0xA2], Cpuid),
    ];
    for (bytes, kind) in cases {
        let expected = Instruction {
            kind: *kind,
            length: bytes.len() as u8,
        };
        assert_eq!(decode(bytes, Mode::Bits64), Ok(expected), "{bytes:x?}");
        // What follows does not matter, and no byte less will do.
        let mut longer = bytes.to_vec();
        longer.extend([0xFF; 8]);
        longer.truncate(15);
        assert_eq!(
            decode(&longer, Mode::Bits64),
            Ok(expected),
            "{bytes:x?} ..."
        );
        let shorter = &bytes[..bytes.len() - 1];
        assert_eq!(
            decode(shorter, Mode::Bits64),
            Err(DecodeError::Truncated {
                available: shorter.len()
            })
        );
    }
}

#[test]
fn instructions_in_the_legacy_modes() {
    let io = |size, address_size| {
        Kind::Io(Io {
            size,
            address_size,
            ..IN_AL_DX
        })
    };
    for (mode, bytes, kind) in [
        (Mode::Bits32, &[0xED][..], io(4, 4)),
        (Mode::Bits32, &[0x66, 0xED], io(2, 4)),
        (Mode::Bits16, &[0xED], io(2, 2)),
        (Mode::Bits16, &[0x66, 0xED], io(4, 2)),
        (Mode::Bits16, &[0x67, 0xED], io(2, 4)),
        (Mode::Bits32, &[0xF3, 0x0F, 0x01, 0xD9], Kind::Vmgexit),
        (
            Mode::Bits32,
            &[0x0F, 0x22, 0xC0],
            Kind::MovToCr { cr: 0, gpr: 0 },
        ),
        (Mode::Bits32, &[0xCE], Kind::Into),
        // INVLPG with 16-bit addressing: [bx+si], [disp16], [bp+disp8].
        (Mode::Bits16, &[0x0F, 0x01, 0x38], Kind::Invlpg),
        (Mode::Bits16, &[0x0F, 0x01, 0x3E, 1, 2], Kind::Invlpg),
        (Mode::Bits16, &[0x0F, 0x01, 0x7E, 1], Kind::Invlpg),
        (Mode::Bits16, &[0x0F, 0x01, 0xBF, 1, 2], Kind::Invlpg),
        (Mode::Bits32, &[0x67, 0x0F, 0x01, 0x3E, 1, 2], Kind::Invlpg),
    ] {
        let length = bytes.len() as u8;
        assert_eq!(
            decode(bytes, mode),
            Ok(Instruction { kind, length }),
            "{mode:?} {bytes:x?}"
        );
    }
    // 40-4F are INC and DEC here, INTO is gone in 64-bit mode.
    for (mode, byte) in [(Mode::Bits32, 0x48), (Mode::Bits64, 0xCE)] {
        assert_eq!(
            decode(&[byte, 0x90], mode),
            Err(DecodeError::Unknown {
                map: 0,
                opcode: byte
            })
        );
    }
}

#[test]
fn other_instructions_are_named_not_guessed() {
    for (bytes, map, opcode) in [
        (&[0x90][..], 0, 0x90),
        (&[0xF3, 0x41, 0x90], 0, 0x90),
        (&[0xF0, 0xF4], 0, 0xF4),
        (&[0xF0, 0x0F, 0x20, 0xD8], 1, 0x20),
        (&[0x0F, 0x05], 1, 0x05),
        (&[0x0F, 0x01, 0xF8], 2, 0xF8),
        (&[0x0F, 0x01, 0x18], 2, 0x18),
    ] {
        assert_eq!(
            decode(bytes, Mode::Bits64),
            Err(DecodeError::Unknown { map, opcode }),
            "{bytes:x?}"
        );
    }
    assert_eq!(decode(&[0x66; 16], Mode::Bits64), Err(DecodeError::TooLong));
}

#[test]
fn the_mode_comes_from_cs() {
    let mut vmsa: snp_abi::vmsa::Vmsa = zerocopy::FromZeros::new_zeroed();
    for (efer, attributes, expected) in [
        (0x500, 0x29B, Mode::Bits64),
        (0x500, 0xC9B, Mode::Bits32),
        (0x500, 0x09B, Mode::Bits16),
        (0, 0xC9B, Mode::Bits32),
        // L means nothing outside long mode.
        (0, 0x29B, Mode::Bits16),
    ] {
        vmsa.efer.set(efer);
        vmsa.cs.attributes.set(attributes);
        assert_eq!(Mode::of(&vmsa), expected);
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..20),
        mode in prop_oneof![Just(Mode::Bits16), Just(Mode::Bits32), Just(Mode::Bits64)],
    ) {
        if let Ok(instruction) = decode(&bytes, mode) {
            let length = usize::from(instruction.length);
            prop_assert!((1..=15).contains(&length) && length <= bytes.len());
        }
    }

    #[test]
    fn known_opcodes_with_random_operands_never_panic(
        prefix in proptest::collection::vec(
            prop_oneof![Just(0x66u8), Just(0x67), Just(0xF2), Just(0xF3), Just(0xF0), 0x40u8..0x50], 0..4),
        opcode in prop_oneof![Just(0x01u8), 0x20u8..0x24, 0x30u8..0x34],
        rest in any::<[u8; 9]>(),
    ) {
        let mut bytes = prefix;
        bytes.extend([0x0F, opcode]);
        bytes.extend(rest);
        if let Ok(instruction) = decode(&bytes, Mode::Bits64) {
            let exact = &bytes[..usize::from(instruction.length)];
            prop_assert_eq!(decode(exact, Mode::Bits64), Ok(instruction));
        }
    }
}
