//! Images that the machine must refuse with one clear line.

/// A way to spoil a good image.
pub struct BadImage {
    /// In the report.
    pub name: &'static str,
    /// Makes it of a good one.
    pub spoil: fn(Vec<u8>) -> Vec<u8>,
}

/// Every flip of every header byte, and directives that contradict each other, are tested on the host with the same
/// loader; these show that the machine refuses with words.
pub const ALL: &[BadImage] = &[
    BadImage {
        name: "empty",
        // QEMU passes no module of zero bytes on, so one byte it is.
        spoil: |_| vec![0],
    },
    BadImage {
        name: "no IGVM file",
        spoil: |good| good.iter().map(|byte| !byte).collect(),
    },
    BadImage {
        name: "ends inside the fixed header",
        spoil: |good| good[..20].to_vec(),
    },
    BadImage {
        name: "ends half-way",
        spoil: |good| good[..good.len() / 2].to_vec(),
    },
    BadImage {
        name: "one byte short",
        spoil: |good| good[..good.len() - 1].to_vec(),
    },
    BadImage {
        name: "one bit of a directive flipped",
        spoil: |mut good| {
            good[0x40] ^= 0x10;
            good
        },
    },
    BadImage {
        name: "wrong checksum",
        // IGVM_FIXED_HEADER: magic, version, header offset, header size, file size, checksum.
        spoil: |mut good| {
            good[20] ^= 1;
            good
        },
    },
];
