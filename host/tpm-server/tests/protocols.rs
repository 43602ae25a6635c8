//! The protocols, from bytes to bytes: what is parsed, and what a connection answers.

use std::io::{self, Write};
use std::os::fd::OwnedFd;

use macadamia_tpm_server::framing::{Framed, Length, Received, Source};
use macadamia_tpm_server::serve::After;
use macadamia_tpm_server::swtpm::Locality;
use macadamia_tpm_server::{Device, HostPlatform, SharedDevice, mssim, raw, swtpm};
use proptest::prelude::*;

/// A connection whose client has sent everything already.
struct Sent<'a> {
    input: &'a [u8],
    output: Vec<u8>,
    /// Bytes that one read brings.
    piece: usize,
}

impl Source for Sent<'_> {
    fn receive(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let piece = bytes.len().min(self.piece);
        self.input.receive(&mut bytes[..piece])
    }
}

impl Write for Sent<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl swtpm::Host for Sent<'_> {
    fn take_fd(&mut self) -> Option<OwnedFd> {
        None
    }
}

fn device() -> SharedDevice {
    SharedDevice::new(Device::new(HostPlatform::for_tests(b"protocols")))
}

#[derive(Clone, Copy, Debug)]
enum Channel {
    Commands,
    Platform,
    Control,
    Data,
}

/// What a connection answers to `input`, and what it means for the server.
fn talk_in_pieces(
    channel: Channel,
    device: &SharedDevice,
    input: &[u8],
    piece: usize,
) -> (Vec<u8>, After) {
    let mut sent = Sent {
        input,
        output: Vec::new(),
        piece,
    };
    let locality = Locality::new(0, 4);
    let stream = &mut sent;
    let after = match channel {
        Channel::Commands => mssim::serve_commands(stream, device),
        Channel::Platform => mssim::serve_platform(stream, device),
        Channel::Control => swtpm::serve(stream, device, &locality, |_| {}),
        Channel::Data => {
            let mut framed = Framed::new(stream);
            let out = |stream: &mut &mut Sent<'_>, bytes: &[u8]| stream.write_all(bytes);
            raw::serve(&mut framed, out, device, &locality).map(|()| After::Continue)
        }
    };
    (sent.output, after.unwrap())
}

fn talk(channel: Channel, device: &SharedDevice, input: &[u8]) -> Vec<u8> {
    talk_in_pieces(channel, device, input, 4096).0
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

const STARTUP: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];

/// What the engine itself says to a command.
fn engine(device: &SharedDevice, locality: u8, command: &[u8]) -> Vec<u8> {
    device.lock().execute(locality, command).to_vec()
}

#[test]
fn the_simulator_s_command_port_wraps_a_response_in_size_and_zero() {
    let device = device();
    // A command whose response does not depend on what went before: its size field lies.
    let command = [0x80, 1, 0, 0, 0, 99, 0, 0, 1, 0x44];
    let response = engine(&device, 0, &command);
    let mut input = words(&[8]);
    input.push(0);
    input.extend(words(&[10]));
    input.extend(command);
    let mut expected = words(&[response.len() as u32]);
    expected.extend(&response);
    expected.extend(words(&[0]));
    assert_eq!(talk(Channel::Commands, &device, &input), expected);
    // The same twice in one go, and byte by byte.
    let twice = [&input[..], &input[..]].concat();
    for piece in [1, 7, 4096] {
        let (answer, _) = talk_in_pieces(Channel::Commands, &device, &twice, piece);
        assert_eq!(answer, [&expected[..], &expected[..]].concat());
    }
    // A locality that does not exist: TPM_RC_LOCALITY.
    input[4] = 5;
    let answer = talk(Channel::Commands, &device, &input);
    assert_eq!(answer[4..14], [0x80, 1, 0, 0, 0, 10, 0, 0, 9, 7]);
}

#[test]
fn the_simulator_s_other_requests_are_answered_as_it_does() {
    let device = device();
    let commands = |input: &[u32]| talk_in_pieces(Channel::Commands, &device, &words(input), 4096);
    assert_eq!(commands(&[15, 1]).0, words(&[1, 0x0d, 0]), "handshake");
    assert_eq!(commands(&[15, 0]).0, [0; 0], "a client of version 0");
    assert_eq!(
        commands(&[5, 6, 4, 0x61626364, 7]).0,
        words(&[0, 0, 0]),
        "hash"
    );
    assert_eq!(commands(&[16, 3]).0, words(&[0]), "alternative result");
    assert_eq!(commands(&[20, 5]).0, [0; 0], "session end");
    assert_eq!(commands(&[21]), (vec![], After::End), "stop");
    assert_eq!(commands(&[1]).0, [0; 0], "no request of this port");

    let platform = |input: &[u32]| talk_in_pieces(Channel::Platform, &device, &words(input), 4096);
    let harmless = [1, 11, 3, 4, 9, 10, 12, 13, 14, 17, 18, 2, 1];
    assert_eq!(platform(&harmless).0, words(&[0; 13]));
    assert_eq!(platform(&[99]).0, words(&[1]));
    assert_eq!(platform(&[20]), (vec![], After::Continue));
    assert_eq!(platform(&[21]), (vec![], After::End));
    let sizes = platform(&[25]).0;
    assert_eq!((sizes.len(), &sizes[..4]), (24, &[0, 0, 0, 16][..]));
}

#[test]
fn without_power_the_simulator_answers_with_nothing() {
    let device = device();
    let mut input = words(&[8]);
    input.push(0);
    input.extend(words(&[12]));
    input.extend(STARTUP);
    talk(Channel::Platform, &device, &words(&[2]));
    assert_eq!(talk(Channel::Commands, &device, &input), words(&[0, 0]));
    assert_eq!(talk(Channel::Data, &device, &STARTUP)[6..], [0, 0, 1, 1]);
    talk(Channel::Platform, &device, &words(&[1]));
    assert_ne!(talk(Channel::Commands, &device, &input), words(&[0, 0]));
}

#[test]
fn failure_mode_can_be_forced_until_the_next_power_on() {
    let device = device();
    let startup = || talk(Channel::Data, &device, &STARTUP)[6..].to_vec();
    assert_eq!(talk(Channel::Platform, &device, &words(&[30])), words(&[0]));
    assert_eq!(startup(), [0, 0, 1, 1]);
    assert_eq!(talk(Channel::Platform, &device, &words(&[17])), words(&[0]));
    assert_eq!(startup(), [0, 0, 0, 0]);
}

#[test]
fn the_data_channel_frames_commands_by_their_own_size() {
    let device = device();
    let odd = [0x80, 1, 0, 0, 0, 11, 0, 0, 0, 0, 7];
    let response = engine(&device, 0, &odd);
    let twice = [odd, odd].concat();
    for piece in [1, 3, 4096] {
        let (answer, _) = talk_in_pieces(Channel::Data, &device, &twice, piece);
        assert_eq!(answer, [&response[..], &response[..]].concat());
    }
    let mut enveloped = words(&[8]);
    enveloped.push(3);
    enveloped.extend(words(&[11]));
    enveloped.extend(odd);
    let mut expected = words(&[response.len() as u32]);
    expected.extend(&response);
    expected.extend(words(&[0]));
    assert_eq!(talk(Channel::Data, &device, &enveloped), expected);
    // Too long, and too short to be a command: an error, and not silence.
    for size in [0u32, 9, 4097, u32::MAX] {
        let mut command = vec![0x80, 1];
        command.extend(size.to_be_bytes());
        command.extend([0, 0, 1, 0x7b, 0, 0]);
        assert_eq!(talk(Channel::Data, &device, &command).len(), 10, "{size}");
    }
}

/// Answers of Debian's swtpm 0.7.1, but for the capabilities: it can migrate, and has no LOCK_STORAGE yet.
#[test]
fn the_control_channel_answers_as_swtpm_does() {
    let device = device();
    let control = |input: &[u8]| talk(Channel::Control, &device, input);
    assert_eq!(control(&words(&[1])), words(&[0, 0x1_fcbf]));
    assert_eq!(control(&words(&[4])), words(&[0, 0]));
    assert_eq!(control(&[0, 0, 0, 5, 0]), words(&[0]));
    assert_eq!(control(&[0, 0, 0, 5, 9, 0, 0, 0]), words(&[0x3d]));
    assert_eq!(
        control(&words(&[6, 7, 4, 0x61626364, 8])),
        words(&[0, 0, 0])
    );
    assert_eq!(control(&words(&[11, 0])), words(&[0x3d]));
    assert_eq!(control(&words(&[11, 0x0300_0000])), words(&[0]));
    assert_eq!(control(&words(&[11, 0x0900_0000])), words(&[0x3d]));
    assert_eq!(control(&words(&[9])), words(&[0]));
    assert_eq!(control(&words(&[13, 0, 1, 0])), words(&[0xa]));
    assert_eq!(control(&words(&[15])), words(&[0, 0]));
    assert_eq!(control(&words(&[17, 0])), words(&[0, 4096, 2808, 4096]));
    assert_eq!(control(&words(&[17, 2048])), words(&[0xa]));
    assert_eq!(control(&words(&[18, 0, 7, 9999, 0])), words(&[3]));
    assert_eq!(
        control(&words(&[18, 0, 0, 0, 0])),
        [&words(&[0, 3, 3])[..], b"{}\0"].concat()
    );
    assert!(control(&words(&[18, 0, 7, 0, 0])).ends_with(b"\"RSAKeySizes\":[2048,3072]}}\0"));
    assert_eq!(control(&words(&[12, 0, 3, 0])), words(&[0x800, 0, 0, 0]));
    assert_eq!(control(&words(&[99])), words(&[0xa]));
    assert_eq!(control(&words(&[14])), words(&[0]));
    for stopped in [6, 8, 4, 9, 10] {
        assert_eq!(control(&words(&[stopped])), words(&[0xa]), "{stopped}");
    }
    assert_eq!(control(&words(&[12, 0, 1, 0])), words(&[0xa]));
    assert_eq!(control(&words(&[17, 1])), words(&[0, 2808, 2808, 4096]));
    assert_eq!(control(&words(&[17, 99999])), words(&[0, 4096, 2808, 4096]));
    assert_eq!(control(&words(&[2, 0])), words(&[0]));
    // What only a later swtpm or this one has, and what this one does not.
    assert_eq!(control(&words(&[19, 3])), words(&[0]));
    assert_eq!(control(&words(&[10])), words(&[9]));
    assert_eq!(control(&words(&[12, 0, 2, 0])), words(&[9, 0, 0, 0]));
    assert_eq!(control(&words(&[16])), words(&[3]), "no descriptor came");
    assert_eq!(
        talk_in_pieces(Channel::Control, &device, &words(&[3, 1]), 4096),
        (words(&[0]), After::End)
    );
}

#[test]
fn the_control_channel_describes_the_engine_that_is_there() {
    let device = device();
    let info = talk(Channel::Control, &device, &words(&[18, 0, 3, 0, 0]));
    let info = String::from_utf8_lossy(&info[12..]).into_owned();
    engine(&device, 0, &STARTUP);
    let property = |property: u32| {
        let get = [0x8001_0000, 0x0016_0000, 0x017a_0000, 0x0006_0000];
        let mut command = words(&get)[..14].to_vec();
        command.extend(words(&[property, 1]));
        let response = engine(&device, 0, &command);
        u32::from_be_bytes(response[23..27].try_into().unwrap())
    };
    let revision = format!("\"revision\":{}}}", property(0x102));
    let manufacturer = format!("\"id:{:08X}\"", property(0x105));
    let version = format!("\"id:{:08X}\"", property(0x10b));
    for part in [revision, manufacturer, version] {
        assert!(info.contains(&part), "{part} in {info}");
    }
}

#[test]
fn a_locality_request_may_have_one_byte_or_four() {
    let device = device();
    for piece in [1, 2, 4096] {
        let bytes = [
            0, 0, 0, 5, 1, 0, 0, 0, 0, 0, 0, 5, 2, 0, 0, 0, 5, 3, 0, 0, 0, 0, 0, 0, 15,
        ];
        let (answer, _) = talk_in_pieces(Channel::Control, &device, &bytes, piece);
        assert_eq!(answer, words(&[0, 0, 0, 0, 0]), "{piece}");
    }
}

#[test]
fn the_permanent_state_can_be_carried_to_another_device() {
    let (from, to) = (
        device(),
        SharedDevice::new(Device::new(HostPlatform::for_tests(b"other"))),
    );
    let state = talk(Channel::Control, &from, &words(&[12, 0, 1, 0]));
    let length = u32::from_be_bytes(state[12..16].try_into().unwrap());
    assert_eq!(state.len(), 16 + length as usize);
    let mut request = words(&[14, 13, 0, 1, length]);
    request.extend(&state[16..]);
    request.extend(words(&[2, 0, 12, 0, 1, 0]));
    let answer = talk(Channel::Control, &to, &request);
    assert_eq!(answer[..12], words(&[0, 0, 0])[..]);
    assert_eq!(answer[12 + 16..], state[16..]);
    // A state that is none is refused, and nothing is lost.
    let answer = talk(
        Channel::Control,
        &to,
        &words(&[14, 13, 0, 1, 4, 0x4d43444d, 2, 0]),
    );
    assert_eq!(answer, words(&[0, 9, 0]));
    assert_eq!(talk(Channel::Control, &to, &words(&[12, 0, 1, 0])), state);
}

#[test]
fn what_a_command_says_about_its_length_is_not_believed() {
    assert_eq!(
        mssim::command_length(&words(&[6, 1 << 21])),
        Length::Refused
    );
    assert_eq!(swtpm::length(&words(&[7, 1 << 21])), Length::Refused);
    assert_eq!(raw::length(&[0x80, 1, 0, 0, 0x10, 1]), Length::Refused);
    let mut source: &[u8] = &[0; 10];
    let mut framed = Framed::new(&mut source);
    let _ = framed.next(|_| Length::AtLeast(usize::MAX)).unwrap();
}

fn lengths() -> [fn(&[u8]) -> Length; 4] {
    [
        mssim::command_length,
        mssim::platform_length,
        raw::length,
        swtpm::length,
    ]
}

/// Bytes that often look like messages.
fn foreign() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![0u32..32, Just(u32::MAX), Just(12), any::<u32>()];
    let piece = prop_oneof![
        word.prop_map(|word| word.to_be_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 0..20),
        Just(STARTUP.to_vec()),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn a_length_is_within_the_bytes_or_behind_them(bytes in foreign()) {
        for length in lengths() {
            match length(&bytes) {
                Length::AtLeast(more) => prop_assert!(more > bytes.len() && more <= (1 << 20) + 20),
                Length::Whole(size) => {
                    prop_assert!(size > 0 && size <= bytes.len());
                    // What is behind a message does not change it. (Padding is told by the byte behind it.)
                    let seen = size.max(4).min(bytes.len());
                    prop_assert_eq!(length(&bytes[..seen]), Length::Whole(size));
                }
                Length::Refused => {}
            }
        }
        if let Length::Whole(size) = mssim::command_length(&bytes) {
            prop_assert!(mssim::parse_command(&bytes[..size]).is_some());
        }
        if let Length::Whole(size) = swtpm::length(&bytes) {
            prop_assert!(swtpm::parse(&bytes[..size]).is_some());
        }
        let (_, command) = raw::parse(&bytes);
        prop_assert!(command.len() <= bytes.len());
    }

    #[test]
    fn how_bytes_arrive_changes_nothing(bytes in foreign(), piece in 1usize..9) {
        for length in [mssim::command_length, mssim::platform_length, swtpm::length] {
            let whole = messages(&bytes, 4096, length);
            prop_assert_eq!(messages(&bytes, piece, length), whole);
        }
    }

    #[test]
    fn no_bytes_bring_a_connection_down(bytes in foreign()) {
        let device = device();
        for channel in [Channel::Commands, Channel::Platform, Channel::Control, Channel::Data] {
            talk(channel, &device, &bytes);
        }
    }
}

/// The messages up to the first that is refused.
fn messages(bytes: &[u8], piece: usize, length: fn(&[u8]) -> Length) -> Vec<Vec<u8>> {
    let mut sent = Sent {
        input: bytes,
        output: Vec::new(),
        piece,
    };
    let mut framed = Framed::new(&mut sent);
    let mut messages = Vec::new();
    while let Received::Message(message) = framed.next(length).unwrap() {
        messages.push(message);
    }
    messages
}
