//! What a cheap command costs: `cargo test --release -p tpm-engine --test commands -- --ignored speed --nocapture`.

use std::time::Instant;

use crate::client::{Client, hex};

/// Nanoseconds of one of `rounds` runs of `packets`, the best of ten.
fn time(name: &str, packets: &[&str]) {
    let mut client = Client::new();
    let packets: Vec<Vec<u8>> = packets.iter().map(|packet| hex(packet)).collect();
    let mut response = [0; 4096];
    let rounds = 20_000;
    let best = (0..10)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..rounds {
                for packet in &packets {
                    let answer = client.tpm.execute(0, packet, &mut response);
                    assert_eq!(answer[6..10], [0; 4], "{name}");
                }
            }
            start.elapsed().as_nanos() / rounds
        })
        .min();
    println!("{name}: {} ns", best.unwrap());
}

#[test]
#[ignore = "figures, not a check"]
fn speed() {
    let extend = "8002 00000041 00000182 00000010 00000009 40000009 0000 00 0000 00000001 000B \
                  0000000000000000000000000000000000000000000000000000000000000000";
    let start = "8001 0000002B 00000176 40000007 40000007 0010 00000000000000000000000000000000 0000 \
                 00 0010 000B";
    let flush = "8001 0000000E 00000165 02000000";
    time(
        "TPM2_GetCapability",
        &["8001 00000016 0000017A 00000006 00000100 00000001"],
    );
    time(
        "TPM2_PCR_Read",
        &["8001 00000014 0000017E 00000001 000B 03 010000"],
    );
    time("TPM2_GetRandom", &["8001 0000000C 0000017B 0020"]);
    time("TPM2_PCR_Extend", &[extend]);
    time("TPM2_StartAuthSession, TPM2_FlushContext", &[start, flush]);
}
