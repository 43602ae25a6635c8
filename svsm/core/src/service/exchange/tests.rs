//! The state machine by model: every reachable state of a few clients that retry, give up, or put another request into their
//! buffer, with a service that needs several slices. The model keeps what the kernel keeps: whose request is there (buffer and
//! contents) and how many slices it still needs. A call is one step, because the kernel holds the service's gate for all of it.

use super::*;
use std::collections::HashSet;
use std::vec;
use std::vec::Vec;

const CLIENTS: usize = 3;

/// A client, with a buffer of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Client {
    /// How many requests came before the one in the buffer.
    request: u8,
    /// It calls until it has the response. Otherwise it never comes back.
    calling: bool,
}

/// The request that the service has, or whose response it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Taken {
    client: usize,
    contents: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct World {
    state: State,
    taken: Taken,
    /// Slices that the work still needs.
    left: u32,
    /// The time; kept small, since only a response's age counts.
    now: u64,
    clients: [Client; CLIENTS],
}

/// What is explored.
#[derive(Clone, Copy)]
struct Setup {
    /// Slices that a request needs.
    slices: u32,
    /// Requests of a client, one after the other; `None`: it never stops.
    requests: Option<u8>,
    /// Contents of a client's request.
    contents: fn(u8) -> u8,
}

impl World {
    fn new() -> World {
        World {
            state: State::Idle,
            taken: Taken {
                client: 0,
                contents: 0,
            },
            left: 0,
            now: 0,
            clients: [Client {
                request: 0,
                calling: true,
            }; CLIENTS],
        }
    }

    /// A client's call. `true`: it got a response, which must be its own.
    fn call(&mut self, setup: &Setup, client: usize) -> bool {
        let contents = (setup.contents)(self.clients[client].request);
        let mine = Taken { client, contents };
        let call = if self.taken.client != client {
            Call::Other
        } else if self.taken.contents != contents {
            Call::Replaced
        } else {
            Call::Same
        };
        let mut exchange = Exchange { state: self.state };
        let decision = exchange.admit(call, self.now);
        let served = match decision {
            Decision::Start => {
                let owner = self.clients[self.taken.client];
                let waited_for =
                    owner.calling && (setup.contents)(owner.request) == self.taken.contents;
                assert!(
                    !matches!(self.state, State::Done { .. }) || !waited_for || self.now >= KEPT_MS,
                    "a response was thrown away while its owner waited"
                );
                (self.taken, self.left) = (mine, setup.slices);
                self.slice(&mut exchange, decision)
            }
            Decision::Continue | Decision::Lend => self.slice(&mut exchange, decision),
            Decision::Deliver => true,
            Decision::Busy => false,
        };
        self.state = exchange.state;
        if served {
            assert_eq!(self.left, 0, "a response of unfinished work");
            assert_eq!(self.taken, mine, "another's response");
            self.next(setup, client);
        }
        self.normalise();
        served
    }

    fn slice(&mut self, exchange: &mut Exchange, decision: Decision) -> bool {
        assert!(self.left > 0, "a slice without work");
        self.left -= 1;
        self.left == 0 && exchange.finished(decision, self.now)
    }

    /// The client goes on to its next request, if there is one.
    fn next(&mut self, setup: &Setup, client: usize) {
        let client = &mut self.clients[client];
        client.request = client.request.wrapping_add(1);
        client.calling = setup.requests.is_none_or(|all| client.request < all);
    }

    fn wait(&mut self) {
        self.now += KEPT_MS;
        self.normalise();
    }

    /// Counts time from the response, and not beyond what matters.
    fn normalise(&mut self) {
        match &mut self.state {
            State::Done { since } => {
                self.now = (self.now - *since).min(KEPT_MS);
                *since = 0;
            }
            _ => self.now = 0,
        }
    }

    fn calling(&self) -> impl Iterator<Item = usize> + use<> {
        let clients = self.clients;
        (0..CLIENTS).filter(move |&client| clients[client].calling)
    }

    /// All that can happen next.
    fn successors(&self, setup: &Setup) -> Vec<World> {
        let change = |change: &dyn Fn(&mut World)| {
            let mut world = *self;
            change(&mut world);
            world
        };
        let mut next = vec![change(&World::wait)];
        for client in self.calling() {
            next.push(change(&|world| {
                world.call(setup, client);
            }));
            next.push(change(&|world| world.clients[client].calling = false));
            next.push(change(&|world| world.next(setup, client)));
        }
        next
    }
}

/// Every state that can be reached. The checks of [`World::call`] hold in all of them.
fn reachable(setup: &Setup) -> HashSet<World> {
    let mut found = HashSet::from([World::new()]);
    let mut open = vec![World::new()];
    while let Some(world) = open.pop() {
        for next in world.successors(setup) {
            if found.insert(next) {
                open.push(next);
            }
        }
    }
    found
}

/// Different requests, and the same one again and again; all clients have the same ones.
const CONTENTS: [fn(u8) -> u8; 2] = [|request| request, |_| 0];

fn setups() -> impl Iterator<Item = Setup> {
    (1..=4).flat_map(|slices| {
        CONTENTS.map(|contents| Setup {
            slices,
            requests: Some(3),
            contents,
        })
    })
}

#[test]
fn a_response_goes_to_its_request_and_to_no_other() {
    for setup in setups() {
        let states = reachable(&setup).len();
        assert!(states > 300, "{states} states are too few to say anything");
    }
}

#[test]
fn whoever_keeps_calling_is_served_when_all_others_go_away() {
    for setup in setups() {
        for world in reachable(&setup) {
            for client in world.calling() {
                // The work that is there, its response's time, and the client's own work.
                let mut alone = world;
                let mut calls = 1;
                while !alone.call(&setup, client) {
                    calls += 1;
                    if matches!(alone.state, State::Done { .. }) {
                        alone.wait();
                    }
                    assert!(calls <= 2 * setup.slices, "{world:?}: client {client}");
                }
            }
        }
    }
}

#[test]
fn work_ends_with_anybodys_calls() {
    for setup in setups() {
        for world in reachable(&setup) {
            if world.state != State::Working {
                continue;
            }
            for client in world.calling() {
                let mut world = world;
                for _ in 0..world.left {
                    assert_eq!(world.state, State::Working);
                    let _ = world.call(&setup, client);
                }
                assert_ne!(world.state, State::Working);
            }
        }
    }
}

#[test]
fn clients_in_turn_are_all_served_again_and_again() {
    for setup in setups() {
        for world in reachable(&setup) {
            let endless = Setup {
                requests: None,
                ..setup
            };
            let mut world = world;
            let mut served = [0; CLIENTS];
            let clients: Vec<_> = world.calling().collect();
            // One request takes at most `slices` calls and the one that fetches its response.
            let calls = 4 * CLIENTS * (setup.slices as usize + CLIENTS);
            for turn in 0..calls {
                let client = clients.get(turn % clients.len().max(1));
                let Some(&client) = client else { break };
                served[client] += u32::from(world.call(&endless, client));
                if clients.len() < CLIENTS && matches!(world.state, State::Done { .. }) {
                    // The owner may be one that has gone away.
                    world.wait();
                }
            }
            for client in clients {
                assert!(served[client] >= 2, "{world:?}: {served:?}");
            }
        }
    }
}

#[test]
fn a_response_is_kept_for_its_owner_for_its_time() {
    let mut exchange = Exchange::new();
    assert_eq!(exchange.admit(Call::Other, 0), Decision::Start);
    assert_eq!(exchange.admit(Call::Other, 5), Decision::Lend);
    assert!(!exchange.finished(Decision::Lend, 10));
    assert_eq!(exchange.admit(Call::Other, 10), Decision::Busy);
    assert_eq!(exchange.admit(Call::Other, 9 + KEPT_MS), Decision::Busy);
    // A clock that goes back keeps it longer, and breaks nothing.
    assert_eq!(exchange.admit(Call::Other, 0), Decision::Busy);
    assert_eq!(exchange.admit(Call::Same, 1 << 60), Decision::Deliver);
    assert_eq!(exchange.admit(Call::Same, 1 << 60), Decision::Start);
    assert!(exchange.finished(Decision::Start, 1 << 60));

    assert_eq!(exchange.admit(Call::Other, 0), Decision::Start);
    assert!(!exchange.finished(Decision::Lend, 10));
    assert_eq!(exchange.admit(Call::Other, 10 + KEPT_MS), Decision::Start);
}
