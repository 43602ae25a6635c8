//! The frames of gdb's remote serial protocol (GDB manual, appendix E.1): whole packets out of a stream of bytes that may be
//! noise. What is not a packet with the right checksum goes no further.

/// Longest packet, with its frame. All registers of x86-64 take 1077 bytes.
pub const MAX_PACKET: usize = 2048;

/// What a byte completed.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A packet, as it came: `$`, body, `#`, checksum.
    Packet(&'a [u8]),
    /// One that is damaged or too long: to be asked for again.
    Damaged,
    /// The debugger's user wants the program to stop.
    Interrupt,
}

/// Assembles packets.
pub struct Framer {
    bytes: [u8; MAX_PACKET],
    length: usize,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Outside,
    Body,
    /// Digits of the checksum that are still to come.
    Checksum(u8),
}

const INTERRUPT: u8 = 3;

impl Framer {
    /// Outside of any packet.
    pub const fn new() -> Framer {
        Framer {
            bytes: [0; MAX_PACKET],
            length: 0,
            state: State::Outside,
        }
    }

    /// Forgets what has begun.
    pub fn reset(&mut self) {
        self.state = State::Outside;
    }

    /// Takes a byte.
    pub fn take(&mut self, byte: u8) -> Option<Event<'_>> {
        match (self.state, byte) {
            (State::Outside, INTERRUPT) => return Some(Event::Interrupt),
            // Also in the middle of one: its end got lost.
            (State::Outside | State::Body, b'$') => {
                self.length = 0;
                self.state = State::Body;
            }
            (State::Outside, _) => return None,
            (State::Body, b'#') => self.state = State::Checksum(2),
            (State::Body, _) => {}
            (State::Checksum(left), _) => self.state = State::Checksum(left - 1),
        }
        let Some(place) = self.bytes.get_mut(self.length) else {
            self.state = State::Outside;
            return Some(Event::Damaged);
        };
        *place = byte;
        self.length += 1;
        if self.state != State::Checksum(0) {
            return None;
        }
        self.state = State::Outside;
        let packet = &self.bytes[..self.length];
        Some(if holds(packet) {
            Event::Packet(packet)
        } else {
            Event::Damaged
        })
    }
}

impl Default for Framer {
    fn default() -> Framer {
        Framer::new()
    }
}

/// Whether the checksum is the sum of the body.
fn holds(packet: &[u8]) -> bool {
    let Some((body, &[high, low])) = packet.split_last_chunk::<2>() else {
        return false;
    };
    let Some(body) = body.get(1..body.len() - 1) else {
        return false;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let sum = body.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    digit(high)
        .zip(digit(low))
        .is_some_and(|(high, low)| high << 4 | low == sum.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn packet(body: &[u8]) -> Vec<u8> {
        let sum = body.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        [b"$", body, b"#", std::format!("{sum:02x}").as_bytes()].concat()
    }

    /// Packets, damaged ones as `None`.
    fn all(bytes: &[u8]) -> Vec<Option<Vec<u8>>> {
        let mut framer = Framer::new();
        let mut found = Vec::new();
        for &byte in bytes {
            match framer.take(byte) {
                Some(Event::Packet(packet)) => found.push(Some(packet.to_vec())),
                Some(Event::Damaged) => found.push(None),
                Some(Event::Interrupt) | None => {}
            }
        }
        found
    }

    #[test]
    fn packets_are_found_between_acknowledgements() {
        assert_eq!(
            all(b"++$g#67+$?#3f"),
            [Some(b"$g#67".to_vec()), Some(b"$?#3f".to_vec())]
        );
    }

    #[test]
    fn a_wrong_checksum_is_noticed() {
        assert_eq!(all(b"$g#68$g#6x$g#67").len(), 3);
        assert_eq!(all(b"$g#68$g#6x$g#67")[..2], [None, None]);
    }

    #[test]
    fn an_interrupt_counts_only_between_packets() {
        let mut framer = Framer::new();
        assert_eq!(framer.take(3), Some(Event::Interrupt));
        assert_eq!(framer.take(b'$'), None);
        assert_eq!(framer.take(3), None);
    }

    #[test]
    fn the_longest_packet_fits_and_a_longer_one_is_dropped() {
        let longest = packet(&[b'a'; MAX_PACKET - 4]);
        assert_eq!(all(&longest), [Some(longest.clone())]);
        let mut stream = packet(&[b'a'; MAX_PACKET - 3]);
        stream.extend(packet(b"g"));
        assert_eq!(all(&stream), [None, Some(b"$g#67".to_vec())]);
    }

    proptest! {
        #[test]
        fn noise_hides_no_packet_that_follows_a_reset(noise in proptest::collection::vec(any::<u8>(), 0..5000)) {
            let mut framer = Framer::new();
            for &byte in &noise {
                if let Some(Event::Packet(packet)) = framer.take(byte) {
                    prop_assert!(packet.len() >= 4 && packet.len() <= MAX_PACKET);
                }
            }
            framer.reset();
            let found = packet(b"g").iter().any(|&byte| matches!(framer.take(byte), Some(Event::Packet(_))));
            prop_assert!(found);
        }
    }
}
