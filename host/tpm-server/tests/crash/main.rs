//! A thousand commands that change the state, each with power lost, the process killed and the store failing at its
//! write boundaries: a new engine finds the state before the command or after it, never another.
//!
//! By default the boundaries of a command's commit are before it, at its first and last bytes, at three places within,
//! between writing and syncing, and after it; that every byte of a write is such a boundary for the store itself is
//! tested in `store.rs`. With `TPM_CRASH_EVERY_BYTE=1` it is every byte here too, for hours.

mod commands;
mod observe;

use std::collections::HashMap;

use commands::{AUTH_FAIL, LOCKOUT, Model, Op, startup};
use macadamia_tpm_server::store::fault::{Faulty, Remains};
use macadamia_tpm_server::store::{Durability, Journal, Store};
use observe::{State, Target, code, observe, resets_and_clock};
use tpm_engine::Tpm;
use tpm_engine::platform::{Change, EntropyError, Platform, StoreError};

const COMMANDS: usize = 1000;
const RETRY: u32 = 0x922;

/// Nothing here depends on the time of day or on luck, so that a command repeated is the same command.
struct Deterministic {
    journal: Journal,
    drawn: u8,
}

impl Platform for Deterministic {
    fn entropy(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        for byte in out {
            self.drawn = self.drawn.wrapping_mul(5).wrapping_add(17);
            *byte = self.drawn;
        }
        Ok(())
    }

    fn now_ms(&mut self) -> u64 {
        5000
    }

    fn load(&mut self, each: &mut dyn FnMut(u32, &[u8])) -> Result<(), StoreError> {
        for (key, value) in self.journal.load()? {
            each(*key, value);
        }
        Ok(())
    }

    fn commit(&mut self, changes: &[Change<'_>]) -> Result<(), StoreError> {
        self.journal.commit(changes)
    }
}

struct Machine {
    tpm: Tpm<Deterministic>,
    medium: Faulty,
    response: Box<[u8; 4096]>,
}

impl Machine {
    fn boot(file: Option<Vec<u8>>) -> Machine {
        let medium = Faulty::holding(file);
        let journal = Journal::open(medium.clone(), Durability::Fsync).unwrap();
        Machine {
            tpm: Tpm::new(Deterministic { journal, drawn: 1 }),
            medium,
            response: Box::new([0; 4096]),
        }
    }

    /// Ready for the command of `op`.
    fn ready(file: &[u8], op: &Op) -> Machine {
        let mut machine = Machine::boot(Some(file.to_vec()));
        if !op.unstarted {
            assert_eq!(code(&machine.run(&startup())), 0);
        }
        if let Some(before) = &op.before {
            assert_eq!(code(&machine.run(before)), 0, "what {} needs", op.name);
        }
        machine
    }

    fn file(&self, remains: Remains) -> Vec<u8> {
        self.medium.remains(remains).unwrap()
    }
}

impl Target for Machine {
    fn run(&mut self, command: &[u8]) -> Vec<u8> {
        self.tpm.execute(0, command, &mut self.response).to_vec()
    }
}

/// States by the records they come from: an engine is a function of them.
#[derive(Default)]
struct Observed(HashMap<Vec<(u32, Vec<u8>)>, State>);

impl Observed {
    fn of(&mut self, file: &[u8]) -> &State {
        let mut journal = Journal::open(Faulty::holding(Some(file.to_vec())), Durability::Fsync)
            .expect("the file is a state");
        let records = journal.load().unwrap();
        let records = records
            .iter()
            .map(|(key, value)| (*key, value.to_vec()))
            .collect();
        self.0
            .entry(records)
            .or_insert_with(|| observe(|| Machine::boot(Some(file.to_vec()))))
    }
}

/// Steps of a commit of `steps` steps at which it is stopped.
fn boundaries(steps: u64, model: &mut Model) -> Vec<u64> {
    if std::env::var_os("TPM_CRASH_EVERY_BYTE").is_some() {
        return (0..=steps).collect();
    }
    let mut stops: Vec<u64> = (0..3).map(|_| model.random(steps.max(1))).collect();
    stops.extend([
        0,
        1,
        steps.saturating_sub(2),
        steps.saturating_sub(1),
        steps,
    ]);
    stops.retain(|stop| *stop <= steps);
    stops.sort_unstable();
    stops.dedup();
    stops
}

#[test]
fn a_thousand_commands_interrupted_leave_the_state_before_or_after() {
    let mut machine = Machine::boot(None);
    assert_eq!(code(&machine.run(&startup())), 0);
    let mut model = Model::new();
    let tries = model.dictionary().unwrap();
    assert_eq!(code(&machine.run(&tries.command)), 0);
    let mut file = machine.file(Remains::Synced);
    let mut observed = Observed::default();
    let mut interruptions = 0;
    let mut written = 0;
    let mut moved = (0, 0);
    for number in 0..COMMANDS {
        let op = model.next();
        let what = format!("command {number}, {}", op.name);
        let mut whole = Machine::ready(&file, &op);
        whole.medium.keep_history();
        let (start, before) = (whole.medium.steps(), whole.file(Remains::Synced));
        let response = whole.run(&op.command);
        let answer = code(&response);
        // A TPM may note that a protected authorization is about to be used before it looks at it.
        let retry = op.expected == AUTH_FAIL && answer == RETRY;
        assert!(
            retry || answer == op.expected,
            "{what}: {answer:x}, {:x?}",
            op.command
        );
        let steps = whole.medium.steps() - start;
        let after = whole.file(Remains::Synced);
        let history = whole.medium.history();
        drop(whole);
        written += u64::from(steps != 0);
        let state_before = observed.of(&before).clone();
        let state_after = observed.of(&after).clone();
        // A command whose authorization is protected against dictionary attacks notes in the store that it is about to
        // look at it (TPM Part 1 §17.8.6): a power loss from then on may count as a failed try, and nothing else changes.
        let noted: Vec<State> = history
            .iter()
            .map(|file| observed.of(file).clone())
            .collect();
        for noted in noted
            .iter()
            .filter(|state| **state != state_before && **state != state_after)
        {
            // lockoutAuth itself counts as failed until it is known to be right (docs/src/tpm-state.md).
            let lockout = op.command[10..14] == LOCKOUT.to_be_bytes();
            assert_eq!(
                without_attempt(noted, lockout),
                without_attempt(&state_before, lockout),
                "{what}: a commit before the last"
            );
        }
        // Every boot is a TPM Reset, and Clock does not go back.
        let now = resets_and_clock(&state_after);
        if op.name == "Clear" {
            moved = (0, 0);
        }
        assert!(
            now.0 > moved.0 && now.1 >= moved.1,
            "{what}: {now:?} follows {moved:?}"
        );
        moved = (resets_and_clock(&state_before).0.min(now.0) - 1, now.1);

        for stop in boundaries(steps, &mut model) {
            let mut machine = Machine::ready(&file, &op);
            machine.medium.stop_after(stop);
            let interrupted = machine.run(&op.command);
            let answered = code(&interrupted) == answer;
            for remains in [Remains::Everything, Remains::Synced, Remains::Zeros] {
                let state = observed.of(&machine.file(remains));
                assert!(
                    *state == state_after
                        || (!answered && (*state == state_before || noted.contains(state))),
                    "{what}, stopped at step {stop} of {steps}, {remains:?}, answered: {answered}: {}",
                    difference(state, &state_before, &state_after)
                );
            }
            interruptions += 1;
            // The store works again: the same engine goes on from what is there.
            machine.medium.stop_after(1 << 40);
            machine.tpm.init();
            assert_eq!(code(&machine.run(&startup())), 0, "{what}: starts again");
        }
        file = after;
    }
    println!(
        "{COMMANDS} commands, {written} of them wrote, {interruptions} interruptions, {} states",
        observed.0.len()
    );
    assert!(written > COMMANDS as u64 * 9 / 10, "{written}");
}

/// All but TPM_PT_LOCKOUT_COUNTER, and TPM_PT_PERMANENT's inLockout that follows from it; for a command with lockoutAuth all but
/// whether that can be used now.
fn without_attempt(state: &State, lockout: bool) -> State {
    let mut state = state.clone();
    if lockout {
        state.retain(|key, _| !key.starts_with("lockout auth "));
    }
    let properties = state.get_mut("permanent").unwrap();
    for property in properties[19..].chunks_mut(8) {
        match property[..4] {
            [0, 0, 2, 0x0E] => property[4..].fill(0),
            [0, 0, 2, 0x00] => property[6] &= !2,
            _ => {}
        }
    }
    state
}

fn difference(state: &State, before: &State, after: &State) -> String {
    let mut text = String::new();
    for (key, value) in state {
        if before.get(key) != Some(value) && after.get(key) != Some(value) {
            let shown = (value, before.get(key), after.get(key));
            text += &format!(
                "\n{key}: {:x?} is neither {:x?} nor {:x?}",
                shown.0, shown.1, shown.2
            );
        }
    }
    text
}
