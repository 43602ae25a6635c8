//! Keys that both TPMs are given, so that what they compute with them must be equal; test material, of no use
//! elsewhere.

/// A modulus of 2048 bits.
pub const RSA_N: &str = concat!(
    "e0aeb7a7c0f3fa9e32b544252c5689f34ccb3bd9c0ce8b5bc8b06cb20ea492dffc252f3335ed7e14b1deef0037714bd80d72",
    "f92aebca8bd3d5e90eeb3d904894dbe5654f14ed537b2019652514fef7658911fff32a93037ddde4370ae83d9d0a3361729d",
    "2a5558c2f46157d4275253e70c5b1df532241824b0284ac255054252da0da66c0a6b0ac67aa498efe2df450162df5f66e29a",
    "f817a4a5df19fec7ab5fc362241d50f66366de5112bcc587a680c23c1aa0e318c0ef70e8b4ba961f8814f0757c215b101942",
    "83465b9fea706ad19e9c020be200f025700550ceade237bc51f1018a88caa3a0b66c3664f1b1f57e0fd99e5eb23fbb845297",
    "df0c51806435",
);
/// One of its primes.
pub const RSA_P: &str = concat!(
    "f806fad8ba91108c7d3905f0d35be1447c4e37867686038c3948042fcc71015a1b09d101a3ea775b333dad97c568dc4ad9d2",
    "2309f538710eca7f670e602ed7e63b23d09509c06b4c0fe48fa071018c271861522f4deae33896b034ae13b075a098cd1c96",
    "19735bfadb900cb4b4b2d80769f77f88172a1e84d15a9485fd5bf2b7",
);
/// A private key on P-256.
pub const P256_D: &str = "2f40232e9b2685c086834985f3d53f3c77148a06875172461f245a307a18ab9b";
/// Its public key's x.
pub const P256_X: &str = "c293db7435aaa30f1447bc97e7bac3c7657bf1594a29a435081f6f6c1f9cf1bc";
/// And y.
pub const P256_Y: &str = "892fcd8a7f465466c9a7b2c51c8133905a313b18b630191b07abbc7bc70ef792";
/// A private key on P-384.
pub const P384_D: &str = "d21e19ed3b6a663967eac158260df0f85a8b1516ad512cef0119cf28f5df06c6d4d0cadb8ca3b98c9e303b1860d86148";
/// Its public key's x.
pub const P384_X: &str = "a856322bd5f7def1841bd12843e534e392af64308af0ba9d67cec18e15109b9a0953991084ba3a551f4ca49037c98d7a";
/// And y.
pub const P384_Y: &str = "91a0d6b6c39d4ea392ed279079f08e5e0a0209e848500cc428f2ac81ef099a7136644ba1bad412b899b37574d2653685";

/// The bytes of a key.
pub fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2)
        .filter_map(|at| u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok())
        .collect()
}
