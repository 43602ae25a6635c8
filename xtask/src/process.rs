//! Child processes with a time limit: output line by line while they run, all of it afterwards, and nothing left
//! behind when time is up.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A process that ended by itself.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to both outputs, in the order of arrival.
    pub all: String,
}

/// Runs `command` without standard input for at most `limit`. `on_line` sees each line of either output as it comes.
/// The exit status is the caller's to judge.
pub fn run(
    command: &mut Command,
    limit: Duration,
    mut on_line: impl FnMut(&str),
) -> Result<Finished> {
    let name = describe(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{name}`"))?;
    let deadline = Instant::now() + limit;
    let (sender, lines) = mpsc::channel();
    let stdout = child.stdout.take().context("no standard output")?;
    let stderr = child.stderr.take().context("no standard error")?;
    let readers = [
        thread::spawn({
            let sender = sender.clone();
            move || forward(BufReader::new(stdout), true, &sender)
        }),
        thread::spawn(move || forward(BufReader::new(stderr), false, &sender)),
    ];
    let mut finished = Finished {
        status: ExitStatus::default(),
        stdout: String::new(),
        all: String::new(),
    };
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok((is_stdout, line)) => {
                on_line(&line);
                finished.all.push_str(&line);
                finished.all.push('\n');
                if is_stdout {
                    finished.stdout.push_str(&line);
                    finished.stdout.push('\n');
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                kill_tree(child.id());
                let _ = child.wait();
                bail!(
                    "`{name}` took longer than {} s and was ended; its last lines:\n{}",
                    limit.as_secs(),
                    last_lines(&finished.all, 20)
                );
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    for reader in readers {
        let _ = reader.join();
    }
    finished.status = child.wait()?;
    Ok(finished)
}

/// [`run`], with any exit status but 0 an error that carries the last lines.
pub fn check(
    command: &mut Command,
    limit: Duration,
    on_line: impl FnMut(&str),
) -> Result<Finished> {
    let finished = run(command, limit, on_line)?;
    if !finished.status.success() {
        bail!(
            "`{}` failed ({}):\n{}",
            describe(command),
            finished.status,
            last_lines(&finished.all, 60)
        );
    }
    Ok(finished)
}

/// Standard output of a short command that must succeed.
pub fn output(command: &mut Command) -> Result<String> {
    Ok(check(command, Duration::from_secs(60), |_| {})?.stdout)
}

/// Whether a program of this name is in the search path, or a file has this full path.
pub fn exists(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    })
}

/// The last `count` lines of `text`.
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// Ends a process and all its descendants: cargo and apt-get do their work in children, which would otherwise go on.
pub fn kill_tree(pid: u32) {
    let mut doomed = vec![pid];
    let mut next = 0;
    while next < doomed.len() {
        doomed.extend(children(doomed[next]));
        next += 1;
    }
    // The standard library can end direct children only. The shell has `kill` built in; the program may be absent.
    let list: Vec<String> = doomed.iter().map(u32::to_string).collect();
    let _ = Command::new("sh")
        .args(["-c", &format!("kill -KILL {}", list.join(" "))])
        .stderr(Stdio::null())
        .status();
}

fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<u32>>()
        })
        .collect()
}

fn describe(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args().take(6) {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

fn forward(mut input: impl BufRead, is_stdout: bool, sender: &mpsc::Sender<(bool, String)>) {
    let mut bytes = Vec::new();
    while matches!(input.read_until(b'\n', &mut bytes), Ok(count) if count > 0) {
        let line = String::from_utf8_lossy(&bytes);
        let line = line.trim_end_matches(['\n', '\r']).to_owned();
        if sender.send((is_stdout, line)).is_err() {
            return;
        }
        bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_past_its_time_is_ended_with_its_children() {
        let started = Instant::now();
        let mut command = Command::new("sh");
        command.args(["-c", "echo begun; sleep 60; echo never"]);
        let error = run(&mut command, Duration::from_millis(300), |_| {}).unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(20));
        assert!(error.to_string().contains("begun"), "{error}");
    }

    #[test]
    fn a_failure_carries_what_the_process_said() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo the reason >&2; exit 3"]);
        let error = check(&mut command, Duration::from_secs(10), |_| {}).unwrap_err();
        assert!(error.to_string().contains("the reason"), "{error}");
    }
}
