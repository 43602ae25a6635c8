//! The last calls to the SVSM one by one, for benchmarks that want medians, or to tell phases apart.

use crate::calls::Call;
use core::fmt;

/// What came before a call, since the one before it had ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Before {
    /// Ticks in VMPLs below 0.
    pub guest: u64,
    /// How often they were left, with the exit that made the call.
    pub exits: u64,
    /// Ticks in the machine.
    pub machine: u64,
}

/// A call and what came before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// What came before.
    pub before: Before,
    /// The call.
    pub call: Call,
}

impl Record {
    const EMPTY: Record = Record {
        before: Before {
            guest: 0,
            exits: 0,
            machine: 0,
        },
        call: Call {
            request: 0,
            result: 0,
            ticks: 0,
            exits: 0,
            machine: 0,
        },
    };
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record { before, call } = self;
        write!(
            f,
            "{:#x}.{:#x} result={:#x} ticks={} exits={} machine={} before={}/{}/{}",
            call.request >> 32,
            call.request & 0xFFFF_FFFF,
            call.result,
            call.ticks,
            call.exits,
            call.machine,
            before.guest,
            before.exits,
            before.machine
        )
    }
}

/// Most calls that are remembered.
const CALLS: usize = 1024;

/// The last calls.
#[derive(Debug)]
pub struct Log {
    records: [Record; CALLS],
    /// Calls there were.
    count: usize,
}

impl Log {
    /// No calls yet.
    pub const fn new() -> Log {
        Log {
            records: [Record::EMPTY; CALLS],
            count: 0,
        }
    }

    /// Adds a call, in the place of the oldest when there is no room.
    pub fn add(&mut self, record: Record) {
        self.records[self.count % CALLS] = record;
        self.count += 1;
    }

    /// Those that are remembered, the oldest first.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        let first = self.count.saturating_sub(CALLS);
        (first..self.count).map(|at| &self.records[at % CALLS])
    }
}

impl Default for Log {
    fn default() -> Log {
        Log::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;
    use std::vec::Vec;

    fn record(request: u64) -> Record {
        let mut record = Record::EMPTY;
        record.call.request = request;
        record
    }

    #[test]
    fn the_oldest_make_room() {
        let mut log = Log::new();
        let requests = |log: &Log| -> Vec<u64> { log.records().map(|r| r.call.request).collect() };
        log.add(record(0));
        log.add(record(1));
        assert_eq!(requests(&log), [0, 1]);
        for request in 2..CALLS as u64 + 2 {
            log.add(record(request));
        }
        assert_eq!(requests(&log), (2..CALLS as u64 + 2).collect::<Vec<_>>());
    }

    #[test]
    fn a_line_has_all() {
        let mut record = record(2 << 32 | 1);
        record.call.ticks = 7;
        record.call.exits = 2;
        record.call.machine = 9;
        record.before = Before {
            guest: 3,
            exits: 1,
            machine: 5,
        };
        assert_eq!(
            record.to_string(),
            "0x2.0x1 result=0x0 ticks=7 exits=2 machine=9 before=3/1/5"
        );
    }
}
