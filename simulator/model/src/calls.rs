//! What calls to the SVSM cost: figures by protocol and call, for benchmarks.

use core::fmt;

/// Result code of a call that the guest has to make again (58019 table 2: SVSM_ERR_INCOMPLETE).
pub const INCOMPLETE: u64 = 0x8000_0000;

/// Least, greatest and sum of some values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    count: u64,
    least: u64,
    greatest: u64,
    sum: u64,
}

impl Spread {
    const EMPTY: Spread = Spread {
        count: 0,
        least: u64::MAX,
        greatest: 0,
        sum: 0,
    };

    fn add(&mut self, value: u64) {
        self.count += 1;
        self.least = self.least.min(value);
        self.greatest = self.greatest.max(value);
        self.sum = self.sum.saturating_add(value);
    }
}

impl fmt::Display for Spread {
    /// Least, mean and greatest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let least = if self.count == 0 { 0 } else { self.least };
        let mean = self.sum / self.count.max(1);
        write!(f, "{least}/{mean}/{}", self.greatest)
    }
}

/// One call: from the exit of the guest that asked until it runs again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// RAX when it was made: protocol and call.
    pub request: u64,
    /// RAX when the guest goes on: the result.
    pub result: u64,
    /// Ticks in VMPL0.
    pub ticks: u64,
    /// How often VMPL0 was left.
    pub exits: u64,
    /// Ticks in the machine.
    pub machine: u64,
}

/// All calls with the same request.
#[derive(Clone, Copy, Debug)]
struct Row {
    request: u64,
    ticks: Spread,
    exits: Spread,
    machine: Spread,
    incomplete: u64,
    /// Ticks since the last call that was complete.
    begun: u64,
    /// The same for calls with those that they were continued by.
    whole: Spread,
}

impl Row {
    const fn new(request: u64) -> Row {
        Row {
            request,
            ticks: Spread::EMPTY,
            exits: Spread::EMPTY,
            machine: Spread::EMPTY,
            incomplete: 0,
            begun: 0,
            whole: Spread::EMPTY,
        }
    }

    fn add(&mut self, call: &Call) {
        self.ticks.add(call.ticks);
        self.exits.add(call.exits);
        self.machine.add(call.machine);
        self.begun = self.begun.saturating_add(call.ticks);
        if call.result == INCOMPLETE {
            self.incomplete += 1;
        } else {
            self.whole.add(core::mem::take(&mut self.begun));
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "call {:#x}.{:#x} count={} ticks={} exits={} machine={} incomplete={} whole={}",
            self.request >> 32,
            self.request & 0xFFFF_FFFF,
            self.ticks.count,
            self.ticks,
            self.exits,
            self.machine,
            self.incomplete,
            self.whole
        )
    }
}

/// Most different requests that are told apart.
const ROWS: usize = 64;

/// The figures.
#[derive(Debug)]
pub struct Table {
    rows: [Option<Row>; ROWS],
    /// Calls for which there was no row.
    others: u64,
    calls: u64,
}

impl Table {
    /// No calls yet.
    pub const fn new() -> Table {
        Table {
            rows: [None; ROWS],
            others: 0,
            calls: 0,
        }
    }

    /// Adds a call; returns how many there are.
    pub fn add(&mut self, call: &Call) -> u64 {
        self.calls += 1;
        let row = self
            .rows
            .iter_mut()
            .find(|row| row.as_ref().is_none_or(|row| row.request == call.request));
        match row {
            Some(row) => row.get_or_insert(Row::new(call.request)).add(call),
            None => self.others += 1,
        }
        self.calls
    }

    /// The lines to print, and the number of calls that are in none.
    pub fn lines(&self) -> (impl Iterator<Item = impl fmt::Display + '_>, u64) {
        (self.rows.iter().flatten(), self.others)
    }
}

impl Default for Table {
    fn default() -> Table {
        Table::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::{String, ToString};
    use std::vec::Vec;

    fn lines(table: &Table) -> Vec<String> {
        table.lines().0.map(|line| line.to_string()).collect()
    }

    #[test]
    fn calls_are_gathered_by_request() {
        let mut table = Table::new();
        let call = |request, ticks, result| Call {
            request,
            result,
            ticks,
            exits: 1,
            machine: 2 * ticks,
        };
        assert_eq!(table.add(&call(1, 10, 0)), 1);
        assert_eq!(table.add(&call(1, 20, 0)), 2);
        table.add(&call(2 << 32 | 1, 100, INCOMPLETE));
        table.add(&call(2 << 32 | 1, 100, INCOMPLETE));
        table.add(&call(2 << 32 | 1, 50, 0));
        assert_eq!(
            lines(&table),
            [
                "call 0x0.0x1 count=2 ticks=10/15/20 exits=1/1/1 machine=20/30/40 incomplete=0 whole=10/15/20",
                "call 0x2.0x1 count=3 ticks=50/83/100 exits=1/1/1 machine=100/166/200 incomplete=2 whole=250/250/250",
            ]
        );
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let mut table = Table::new();
        for request in 0..ROWS as u64 + 5 {
            table.add(&Call {
                request,
                result: 0,
                ticks: u64::MAX,
                exits: 0,
                machine: 0,
            });
        }
        assert_eq!(lines(&table).len(), ROWS);
        assert_eq!(table.lines().1, 5);
    }
}
