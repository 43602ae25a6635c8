//! `macadamia-igvm build` as it is typed.

mod common;

use boot_abi::{GuestParams, layout};
use common::memory::load;
use common::{assert_refused, guest, scratch, svsm, tool};

#[test]
fn the_command_line_builds_a_linux_image() {
    let svsm = scratch("linux-svsm.elf", &svsm());
    let guest = scratch("linux-guest.elf", &guest());
    let kernel = scratch("linux-kernel", b"abc");
    let cmdline = scratch("linux-cmdline", b"console=ttyS0");
    let output = scratch("linux.igvm", b"");
    let build = |extra: &[&str]| {
        let mut arguments = vec![
            "build",
            "--svsm",
            svsm.to_str().unwrap(),
            "--guest",
            guest.to_str().unwrap(),
        ];
        arguments.extend([
            "--kernel",
            kernel.to_str().unwrap(),
            "-o",
            output.to_str().unwrap(),
        ]);
        arguments.extend(extra);
        let result = tool(&arguments);
        assert!(
            result.status.success(),
            "{}",
            String::from_utf8_lossy(&result.stderr)
        );
        std::fs::read(&output).unwrap()
    };
    let image = build(&[
        "--cmdline-file",
        cmdline.to_str().unwrap(),
        "--guest-kind",
        "linux",
    ]);
    let payload = load(&image)
        .read::<GuestParams>(layout::GUEST_PARAMS_GPA)
        .payload;
    // FIPS 180-4's example, and the digest of nothing.
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    assert_eq!(
        hex(&payload.kernel),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    assert_eq!(
        hex(&payload.initrd),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    assert_eq!(
        image,
        build(&["--cmdline", "console=ttyS0"]),
        "a string and a file of it are the same"
    );
    assert_ne!(image, build(&["--cmdline", "console=ttyS1"]));
}

#[test]
fn bad_inputs_of_the_command_line_get_one_line() {
    let text = scratch("no.elf", b"#!/bin/sh\n");
    let good = scratch("good.elf", &guest());
    let output = scratch("bad.igvm", b"");
    std::fs::remove_file(&output).unwrap();
    let (text, good, out) = (
        text.to_str().unwrap(),
        good.to_str().unwrap(),
        output.to_str().unwrap(),
    );
    assert_refused(&tool(&["build", "--payload", text, "-o", out]), "ELF");
    assert_refused(
        &tool(&["build", "--payload", "/nonexistent/x", "-o", out]),
        "cannot read /nonexistent/x",
    );
    assert_refused(
        &tool(&["build", "--payload", good, "-o", "/nonexistent/x"]),
        "cannot write /nonexistent/x",
    );
    assert_refused(
        &tool(&["build", "--payload", good, "--policy", "0x10000", "-o", out]),
        "policy",
    );
    assert_refused(
        &tool(&[
            "build",
            "--svsm",
            good,
            "--guest",
            good,
            "--guest-kind",
            "linux",
            "-o",
            out,
        ]),
        "a Linux guest needs --kernel",
    );
    assert!(!output.exists(), "a refused image is not written");
    assert_eq!(
        tool(&["build", "--payload", good, "--policy", "zero", "-o", out])
            .status
            .code(),
        Some(2)
    );
    assert_eq!(tool(&["build", "-o", out]).status.code(), Some(2));
}
