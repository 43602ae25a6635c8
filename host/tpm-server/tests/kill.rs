//! The program is killed while a client changes the state: what was answered is in the file, and at most one command
//! that was not.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

#[allow(dead_code, reason = "the crash test needs the rest")]
#[path = "crash/commands.rs"]
mod commands;

use commands::{OWNER, command, sized, startup};

const INDEX: u32 = 0x0180_0001;
const KILLS: u64 = 25;
/// Time for one round; it takes milliseconds.
const LIMIT: Duration = Duration::from_secs(60);

struct Server {
    /// Taken by who kills it.
    child: Option<Child>,
    stream: TcpStream,
}

impl Server {
    fn start(state: &str) -> Server {
        let mut child = Command::new(env!("CARGO_BIN_EXE_macadamia-tpm-server"))
            .args(["--swtpm-port", "0", "--state", state])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let port = line
            .split(['=', ' '])
            .nth(2)
            .unwrap()
            .parse::<u16>()
            .unwrap();
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let mut server = Server {
            child: Some(child),
            stream,
        };
        assert_eq!(
            server.run(&startup()).map(|answer| answer[6..10].to_vec()),
            Some(vec![0; 4])
        );
        server
    }

    /// The response, unless the server is gone.
    fn run(&mut self, command: &[u8]) -> Option<Vec<u8>> {
        self.stream.write_all(command).ok()?;
        let mut response = vec![0; 10];
        self.stream.read_exact(&mut response).ok()?;
        let size = u32::from_be_bytes(response[2..6].try_into().unwrap());
        response.resize(size as usize, 0);
        self.stream.read_exact(&mut response[10..]).ok()?;
        Some(response)
    }

    fn counter(&mut self) -> u64 {
        let read = command(0x14E, &[OWNER, INDEX], &[b""], &[0, 8, 0, 0]);
        let response = self.run(&read).unwrap();
        assert_eq!(response[6..10], [0; 4], "{response:x?}");
        u64::from_be_bytes(response[16..24].try_into().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn a_counter_loses_nothing_that_was_answered_when_the_program_is_killed() {
    let path = std::env::temp_dir().join(format!("tpm-server-kill-{}", std::process::id()));
    let state = path.to_str().unwrap();
    let public = [
        &INDEX.to_be_bytes()[..],
        &[0, 0x0B, 0, 6, 0, 0x16, 0, 0, 0, 8],
    ]
    .concat();
    let define = command(
        0x12A,
        &[OWNER],
        &[b""],
        &[sized(b""), sized(&public)].concat(),
    );
    let increment = command(0x134, &[OWNER, INDEX], &[b""], &[]);

    let mut server = Server::start(state);
    assert_eq!(server.run(&define).unwrap()[6..10], [0; 4]);
    assert_eq!(server.run(&increment).unwrap()[6..10], [0; 4]);
    let mut counted = server.counter();
    drop(server);
    for kill in 0..KILLS {
        let mut server = Server::start(state);
        let found = server.counter();
        assert!(
            (counted..=counted + 1).contains(&found),
            "{counted} answered before kill {kill}, {found} found"
        );
        counted = found;
        let mut child = server.child.take().unwrap();
        let killer = thread::spawn(move || {
            thread::sleep(Duration::from_micros(500 + kill * 700));
            child.kill().unwrap();
            child.wait().unwrap()
        });
        let start = Instant::now();
        while let Some(response) = server.run(&increment) {
            assert_eq!(response[6..10], [0; 4]);
            counted += 1;
            assert!(start.elapsed() < LIMIT, "kill {kill} has no effect");
        }
        assert!(!killer.join().unwrap().success());
    }
    assert!(counted > KILLS, "{counted}");
    std::fs::remove_file(&path).unwrap();
}
