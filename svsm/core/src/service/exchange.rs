//! One service and the calls for it: what becomes of a call, by what the service is doing (see `docs/src/services.md`).
//!
//! A service works on one request at a time, in slices, each given by the vCPU whose call comes in. The call that brought
//! the request, made again unchanged (same buffer, same bytes), goes on with it and gets the response. Another call lends
//! its slice to the work that is there, and is told BUSY: so the work ends even if its owner never comes back.

#[cfg(all(test, not(loom)))]
mod tests;

/// Milliseconds for which a response is kept for its owner while others want the service.
pub const KEPT_MS: u64 = 2000;

/// How a call relates to the request that the service has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// The same buffer with the same contents.
    Same,
    /// The same buffer, with another request in it: its owner has given the old one up.
    Replaced,
    /// Another buffer.
    Other,
}

/// What the service has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    /// No request.
    Idle,
    /// A request, unfinished.
    Working,
    /// A response that waits for its owner, since this time in milliseconds.
    Done { since: u64 },
}

/// What is to be done with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Take its request in and give the service a slice.
    Start,
    /// Give the service a slice for this call.
    Continue,
    /// Give the service a slice for another's request; the answer is BUSY.
    Lend,
    /// Give it the response that waits.
    Deliver,
    /// BUSY, without a slice.
    Busy,
}

/// The state of a service's exchange with the guest. Only whoever holds the service may use it.
#[derive(Debug)]
pub struct Exchange {
    state: State,
}

impl Exchange {
    /// Without a request.
    pub const fn new() -> Exchange {
        Exchange { state: State::Idle }
    }

    /// What to do with a call at time `now`.
    pub fn admit(&mut self, call: Call, now: u64) -> Decision {
        match (self.state, call) {
            (State::Idle, _) => self.start(),
            (State::Working, Call::Same) => Decision::Continue,
            (State::Working, Call::Replaced | Call::Other) => Decision::Lend,
            (State::Done { .. }, Call::Same) => {
                self.state = State::Idle;
                Decision::Deliver
            }
            (State::Done { .. }, Call::Replaced) => self.start(),
            (State::Done { since }, Call::Other) if now.saturating_sub(since) >= KEPT_MS => {
                self.start()
            }
            (State::Done { .. }, Call::Other) => Decision::Busy,
        }
    }

    fn start(&mut self) -> Decision {
        self.state = State::Working;
        Decision::Start
    }

    /// The service has answered in a slice that `decision` gave it. `true`: the response is this call's.
    pub fn finished(&mut self, decision: Decision, now: u64) -> bool {
        let own = matches!(decision, Decision::Start | Decision::Continue);
        self.state = if own {
            State::Idle
        } else {
            State::Done { since: now }
        };
        own
    }
}

impl Default for Exchange {
    fn default() -> Self {
        Exchange::new()
    }
}
