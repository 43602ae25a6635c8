//! CRC-32 as IGVM's fixed header uses it: the IEEE 802.3 polynomial, reflected, complemented before and after.

/// Adds `bytes` to the running state. Start with `!0` and complement the last state.
pub(crate) fn update(state: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(state, |state, &byte| {
        let state = state ^ u32::from(byte);
        let state = (state >> 4) ^ NIBBLE[(state & 15) as usize];
        (state >> 4) ^ NIBBLE[(state & 15) as usize]
    })
}

/// Remainders of the sixteen nibbles: headers are some ten kilobytes, so a larger table would not pay.
const NIBBLE: [u32; 16] = {
    let mut table = [0; 16];
    let mut index = 0;
    while index < 16 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 4 {
            value = if value & 1 == 1 {
                (value >> 1) ^ 0xEDB8_8320
            } else {
                value >> 1
            };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_catalogue_of_crc_algorithms() {
        assert_eq!(!update(!0, b"123456789"), 0xCBF4_3926);
        assert_eq!(!update(!0, b""), 0);
    }

    #[test]
    fn parts_add_up() {
        assert_eq!(!update(update(!0, b"1234"), b"56789"), 0xCBF4_3926);
    }
}
