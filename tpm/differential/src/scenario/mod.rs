//! Commands that make sense: scenarios of some ten commands each, with random choices, over a world that lasts for a
//! segment.

mod attest;
mod builder;
mod crypt;
mod hierarchy;
pub mod keys;
mod misc;
mod nv;
mod object;
mod pcr;
mod policy;
pub mod template;

use crate::mutate::{hostile, near_valid};
use crate::rng::Rng;
use crate::step::{Action, Handle, Slot, Step};

use template::Kind;

/// An object that is loaded.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its handle and name.
    pub handle: Handle,
    /// Its TPM2B_PUBLIC without the size.
    pub public: Slot,
    /// Its name.
    pub name: Slot,
    /// Its authorization value.
    pub auth: Vec<u8>,
    /// What it is for.
    pub kind: Kind,
    /// Whether both TPMs have the same.
    pub known: bool,
}

/// What lasts for a segment.
pub struct World {
    /// Authorization values of owner, endorsement, platform, lockout.
    pub auths: [Vec<u8>; 4],
    /// A storage key, persistent.
    pub storage: Object,
    next_slot: Slot,
    next_index: u32,
}

/// Makes actions.
pub struct Generator {
    rng: Rng,
    world: World,
    mutate: bool,
}

impl Generator {
    /// The actions of one segment, with or without mutated ones.
    pub fn new(seed: u64, segment: u64, mutate: bool) -> Generator {
        Generator {
            rng: Rng::new(seed, segment),
            mutate,
            world: World {
                auths: Default::default(),
                storage: Object {
                    handle: Handle::from(0x8100_0001),
                    public: 1,
                    name: 2,
                    auth: Vec::new(),
                    kind: Kind::Storage(3),
                    known: false,
                },
                next_slot: 100,
                next_index: 0x0150_0000,
            },
        }
    }

    /// At least `count` actions.
    pub fn actions(mut self, count: usize) -> Vec<Action> {
        let mut actions = Vec::new();
        self.scenario(&mut actions, |b| b.begin());
        while actions.len() < count {
            let which = self
                .rng
                .below(SCENARIOS.iter().map(|(weight, _)| weight).sum());
            let mut sum = 0;
            let scenario = SCENARIOS.iter().find(|(weight, _)| {
                sum += weight;
                which < sum
            });
            if let Some((_, scenario)) = scenario {
                self.scenario(&mut actions, *scenario);
            }
        }
        actions
    }

    fn scenario(&mut self, actions: &mut Vec<Action>, scenario: Scenario) {
        let mut valid = Vec::new();
        let mut builder = builder::Builder::new(&mut self.rng, &mut self.world, &mut valid);
        scenario(&mut builder);
        let mutated = self.rng.chance(75) && self.mutate;
        for action in valid {
            if let Action::Command(step) = &action
                && mutated
            {
                self.around(actions, step);
            }
            actions.push(action);
        }
        actions.push(Action::FlushAll);
    }

    /// Mutated copies before the valid command.
    fn around(&mut self, actions: &mut Vec<Action>, step: &Step) {
        for _ in 0..[0, 0, 0, 1, 1, 2, 3][self.rng.below(7)] {
            self.world.next_slot += 1;
            let scratch = self.world.next_slot;
            let copy = near_valid(&mut self.rng, step, scratch);
            let leaves = !copy.saves.is_empty();
            actions.push(Action::Command(Box::new(copy)));
            if leaves {
                let mut flush = Step::new(0x165);
                flush.params = vec![crate::step::Piece::Slot(scratch)];
                actions.push(Action::Command(Box::new(flush)));
            }
        }
        if self.rng.chance(8) {
            actions.push(Action::Command(Box::new(hostile(&mut self.rng))));
        }
    }
}

type Scenario = fn(&mut builder::Builder<'_>);

const SCENARIOS: &[(usize, Scenario)] = &[
    (8, pcr::registers),
    (6, pcr::sequences),
    (2, pcr::hash_sequence),
    (10, nv::data),
    (6, nv::counters),
    (3, nv::special),
    (8, object::lifecycle),
    (4, object::derivation),
    (5, object::duplicate),
    (3, object::import),
    (3, object::credential),
    (8, attest::sign),
    (6, attest::quote),
    (2, attest::audit),
    (4, crypt::rsa),
    (6, crypt::ecdh),
    (5, crypt::symmetric),
    (12, policy::assertions),
    (6, policy::authorized),
    (5, policy::used),
    (3, policy::nv),
    (4, hierarchy::auths),
    (2, hierarchy::clear),
    (3, hierarchy::platform),
    (3, hierarchy::dictionary),
    (2, hierarchy::clock),
    (6, misc::capabilities),
    (4, misc::parameters),
    (3, misc::tests),
    (4, misc::contexts),
    (3, misc::sessions),
    (2, misc::restart),
    (3, misc::noise),
];
