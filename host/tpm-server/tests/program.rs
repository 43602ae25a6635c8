//! The program itself, over real sockets and pipes.

use std::io::{BufRead, BufReader, IoSlice, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

/// Something whose response does not depend on the engine's state: a command without a code.
const NOTHING: [u8; 10] = [0x80, 1, 0, 0, 0, 10, 0, 0, 0, 0];

struct Program {
    child: Child,
    line: String,
    _stdout: BufReader<ChildStdout>,
}

impl Program {
    fn start(arguments: &[&str]) -> Program {
        let mut child = Command::new(env!("CARGO_BIN_EXE_macadamia-tpm-server"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert!(line.starts_with("listening "), "{line:?}");
        Program {
            child,
            line,
            _stdout: stdout,
        }
    }

    fn port(&self, name: &str) -> u16 {
        let words = self.line.split_whitespace();
        let value = words.filter_map(|word| word.split_once('='));
        let (_, port) = value.into_iter().find(|(key, _)| *key == name).unwrap();
        port.parse().unwrap()
    }

    fn connect(&self, name: &str) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port(name))).unwrap();
        let limit = Some(Duration::from_secs(20));
        stream.set_read_timeout(limit).unwrap();
        stream
    }

    /// Waits for the end; whether it was a clean one.
    fn ended(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(20) {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.success();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the program does not end");
    }

    fn terminate(&mut self) -> bool {
        // The shell's own `kill`: the program of that name is not on every machine.
        let kill = format!("kill {}", self.child.id());
        assert!(
            Command::new("sh")
                .args(["-c", &kill])
                .status()
                .unwrap()
                .success()
        );
        self.ended()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ask(stream: &mut (impl Read + Write), request: &[u8], answer: usize) -> Vec<u8> {
    stream.write_all(request).unwrap();
    let mut bytes = vec![0; answer];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

fn temporary(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("tpm-server-{}-{name}", std::process::id()))
}

#[test]
fn the_simulator_s_ports_serve_clients_one_after_and_beside_another() {
    let mut program = Program::start(&["--mssim-port", "0"]);
    assert_eq!(program.port("platform"), program.port("mssim") + 1);
    let request = [&[0, 0, 0, 8, 0, 0, 0, 0, 10][..], &NOTHING].concat();
    for _ in 0..3 {
        let mut platform = program.connect("platform");
        assert_eq!(ask(&mut platform, &[0, 0, 0, 1], 4), [0; 4]);
        let mut commands = program.connect("mssim");
        let answer = ask(&mut commands, &request, 18);
        assert_eq!(answer[..6], [0, 0, 0, 10, 0x80, 1]);
        // One leaves in the middle of a command.
        commands.write_all(&request[..12]).unwrap();
    }
    let mut first = program.connect("mssim");
    first.write_all(&request[..12]).unwrap();
    let mut second = program.connect("mssim");
    ask(&mut second, &request, 18);
    let rest = ask(&mut first, &request[12..], 18);
    assert_eq!(rest[..4], [0, 0, 0, 10]);
    first.write_all(&[0, 0, 0, 21]).unwrap();
    assert!(program.ended(), "STOP");
}

#[test]
fn a_command_that_is_not_finished_is_answered_on_the_data_channel() {
    let mut program = Program::start(&["--swtpm-port", "0"]);
    let mut data = program.connect("swtpm");
    let answer = ask(&mut data, &[0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0], 10);
    assert_eq!(answer[..6], [0x80, 1, 0, 0, 0, 10]);
    assert_eq!(ask(&mut data, &NOTHING, 10)[..6], [0x80, 1, 0, 0, 0, 10]);
    let mut control = program.connect("ctrl");
    assert_eq!(ask(&mut control, &[0, 0, 0, 3], 4), [0; 4]);
    assert!(program.ended(), "SHUTDOWN");
}

#[test]
fn a_data_channel_comes_over_the_control_channel_as_qemu_sends_it() {
    let path = temporary("ctrl");
    let how = format!("type=unixio,path={}", path.display());
    let mut program = Program::start(&["--ctrl", &how, "--terminate"]);
    let mut control = UnixStream::connect(&path).unwrap();
    let (mut mine, theirs) = UnixStream::pair().unwrap();
    mine.set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = [theirs.as_fd()];
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
    let request = [IoSlice::new(&[0, 0, 0, 0x10])];
    sendmsg(&control, &request, &mut ancillary, SendFlags::empty()).unwrap();
    drop(theirs);
    assert_eq!(ask(&mut control, &[], 4), [0; 4]);
    assert_eq!(ask(&mut mine, &NOTHING, 10)[..6], [0x80, 1, 0, 0, 0, 10]);
    assert_eq!(ask(&mut control, &[0, 0, 0, 14], 4), [0; 4]);
    assert_eq!(ask(&mut mine, &NOTHING, 10)[6..], [0, 0, 1, 1]);
    drop(mine);
    assert!(program.ended(), "--terminate");
    assert!(!path.exists());
}

#[test]
fn a_signal_ends_it_cleanly_and_the_socket_goes_with_it() {
    let path = temporary("signal");
    // What a killed predecessor leaves.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let how = format!("type=unixio,path={}", path.display());
    let mut program = Program::start(&["--ctrl", &how]);
    assert!(path.exists());
    assert!(program.terminate());
    assert!(!path.exists());
}

#[test]
fn commands_come_through_stdin_until_it_ends() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_macadamia-tpm-server"))
        .arg("--stdio")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(&[NOTHING, NOTHING].concat()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout.len(), 20);
}

#[test]
fn a_state_file_belongs_to_one_server_and_is_never_overwritten_by_a_guess() {
    let path = temporary("state");
    let state = path.to_str().unwrap();
    let program = Program::start(&["--mssim-port", "0", "--state", state]);
    let run = || {
        let output = Command::new(env!("CARGO_BIN_EXE_macadamia-tpm-server"))
            .args(["--stdio", "--state", state])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(run().contains("another process has it in use"));
    drop(program);
    std::fs::write(&path, "not a state").unwrap();
    let error = run();
    assert!(error.contains("begins with \"not a st\""), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"not a state");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn what_is_insecure_says_so() {
    let output = Command::new(env!("CARGO_BIN_EXE_macadamia-tpm-server"))
        .args(["--stdio", "--seed", "00ff"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success());
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("INSECURE")
    );
}
