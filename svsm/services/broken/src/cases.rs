//! The misdeeds, how one asks for them, and what the kernel must make of each.
//!
//! A request is [`MAGIC`], the misdeed's number and its argument, little-endian. It is served for the vTPM's protocol, so a
//! guest sends it as it would a TPM command. A service that survives answers the same, with a value in the argument's
//! place.

use crate::instructions::INSTRUCTIONS;

/// First bytes of a request.
pub const MAGIC: [u8; 4] = *b"BAD!";
/// Bytes of a request.
pub const LENGTH: usize = 16;

/// A request, or an answer.
pub const fn message(number: u32, argument: u64) -> [u8; LENGTH] {
    let [a, b, c, d] = MAGIC;
    let [e, f, g, h] = number.to_le_bytes();
    let [i, j, k, l, m, n, o, p] = argument.to_le_bytes();
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}

/// Number and argument of a request, or number and value of an answer; longer ones have more bytes, which mean nothing.
pub fn parse(bytes: &[u8]) -> Option<(u32, u64)> {
    let (magic, rest) = bytes.split_first_chunk::<4>()?;
    let (number, rest) = rest.split_first_chunk::<4>()?;
    let (argument, _) = rest.split_first_chunk::<8>()?;
    (*magic == MAGIC).then(|| (u32::from_le_bytes(*number), u64::from_le_bytes(*argument)))
}

/// What a service can be asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Misdeed {
    /// None: answers the argument.
    Echo,
    /// Reads the byte at the argument.
    Read,
    /// Writes a byte to the argument.
    Write,
    /// Calls the argument.
    Jump,
    /// Writes a return instruction to the argument and calls it.
    Execute,
    /// Writes to its own text.
    WriteText,
    /// Writes to its own constants.
    WriteConstant,
    /// Executes the instruction of that index.
    Instruction,
    /// Sets these flags and makes a call.
    Flags,
    /// Sets TF, loads SS, which holds debug exceptions off until after the next instruction, and makes a call.
    TrapBehindSs,
    /// Toggles IF with POPF; the value says whether that had an effect.
    ToggleIf,
    /// Loads DS with the selector and makes a call.
    LoadDs,
    /// The same with ES.
    LoadEs,
    /// The same with FS.
    LoadFs,
    /// The same with GS.
    LoadGs,
    /// The same with SS.
    LoadSs,
    /// Makes a call with RSP so.
    StackCall,
    /// Pushes with RSP so.
    StackPush,
    /// Computes for some milliseconds with RSP so, while interrupts come.
    StackSpin,
    /// Executes UD2 with RBP so: who walks the stack follows it.
    FrameFault,
    /// Makes the call of that number with a pattern in all registers; the value counts those that were changed.
    Registers,
    /// Makes the call of that number with zeros as arguments; the value is its status.
    Call,
    /// Asks for as many pages of heap; the value is the status.
    Heap,
    /// Maps heap and fills it until there is no more; the value is the number of pages.
    HeapToTheEnd,
    /// Allocates until that fails.
    Allocate,
    /// Logs 16 bytes from there; the value is the status.
    LogFrom,
    /// Logs as many bytes; the value is the status.
    LogLength,
    /// Logs a line of this byte; the value is the status.
    LogByte,
    /// Logs as many lines; the value is the last status.
    LogFlood,
    /// Replies with as many bytes; the value is the status of a refusal.
    Reply,
    /// Gives up with this reason.
    Fail,
    /// Panics.
    Panic,
    /// Recursion without end.
    Recursion,
    /// Loops for ever: 0 without calls, 1 with calls for the time, 2 yielding, 3 logging.
    Loop,
    /// Yields as often, then answers.
    Yield,
}

impl Misdeed {
    /// The misdeed of that number.
    pub fn from_number(number: u32) -> Option<Misdeed> {
        // Each has a case; that is what the list is for.
        let mut cases = CASES.iter().map(|case| case.misdeed);
        if number == Misdeed::Instruction as u32 {
            return Some(Misdeed::Instruction);
        }
        cases.find(|misdeed| *misdeed as u32 == number)
    }
}

/// What must become of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// It answers with this value.
    Answers(u64),
    /// It answers, with any value.
    AnswersSomehow,
    /// The kernel ends it for one of these exceptions.
    Exception(&'static [u8]),
    /// The kernel ends it: it gave up with this reason.
    GaveUp(u64),
    /// The kernel ends it: an answer of so many bytes is none.
    BadAnswer(u64),
    /// The kernel ends it after the longest time that a request may take.
    TooLong,
    /// It answers, or the kernel ends it; nobody else is hurt.
    Bounded,
}

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// For people; unique.
    pub name: &'static str,
    /// What is asked for.
    pub misdeed: Misdeed,
    /// Of what, or how much.
    pub argument: u64,
    /// What must become of it.
    pub ends: Ends,
}

impl Case {
    /// The request for it.
    pub const fn request(&self) -> [u8; LENGTH] {
        message(self.misdeed as u32, self.argument)
    }
}

/// All cases.
pub fn all() -> impl Iterator<Item = Case> {
    let instructions = INSTRUCTIONS
        .iter()
        .enumerate()
        .map(|(index, instruction)| Case {
            name: instruction.name,
            misdeed: Misdeed::Instruction,
            argument: index as u64,
            ends: instruction.ends,
        });
    CASES.iter().copied().chain(instructions)
}

/// A page fault.
const PF: Ends = Ends::Exception(&[14]);
/// An address that is not canonical.
const NOT_CANONICAL: Ends = Ends::Exception(&[12, 13]);
/// A selector that is not for ring 3.
const SELECTOR: Ends = Ends::Exception(&[10, 11, 12, 13]);
/// Statuses of `service_abi::status`.
const OK: Ends = Ends::Answers(0);
const UNKNOWN_CALL: Ends = Ends::Answers(1);
const BAD_ARGUMENT: Ends = Ends::Answers(2);
const QUOTA: Ends = Ends::Answers(3);

const GUEST_RAM: u64 = 0xFFFF_8000_0000_0000;
const KERNEL: u64 = 0xFFFF_FFFF_8000_0000;
const KERNEL_STACKS: u64 = 0xFFFF_FFFF_C000_0000;
const HOLE: u64 = 0x8000_0000_0000;
const HEAP: u64 = 0x100_0000;
const STACK_TOP: u64 = 0x200_0000;
const STACK_BYTES: u64 = 32 * 4096;
const MESSAGE: u64 = 0x300_0000;

const fn case(name: &'static str, misdeed: Misdeed, argument: u64, ends: Ends) -> Case {
    Case {
        name,
        misdeed,
        argument,
        ends,
    }
}

/// All but the instructions.
#[rustfmt::skip] // a table
const CASES: &[Case] = {
    use Ends::*;
    use Misdeed::*;
    &[
    case("echo", Echo, 0x0123_4567_89AB_CDEF, Answers(0x0123_4567_89AB_CDEF)),
    // Memory.
    case("read kernel text", Read, KERNEL, PF),
    case("read the last byte of the address space", Read, u64::MAX, PF),
    case("read guest RAM", Read, GUEST_RAM, PF),
    case("read guest RAM at 16 MiB", Read, GUEST_RAM + 0x100_0000, PF),
    case("read a kernel stack", Read, KERNEL_STACKS + 0x2000, PF),
    case("read address 0", Read, 0, PF),
    case("read before the image", Read, 0x3F_FFFF, PF),
    case("read behind the heap", Read, HEAP + 256 * 4096, PF),
    case("read behind the message page", Read, MESSAGE + 4096, PF),
    case("read where no address is", Read, HOLE, NOT_CANONICAL),
    case("read where no address is any more", Read, GUEST_RAM - 1, NOT_CANONICAL),
    case("write kernel text", Write, KERNEL, PF),
    case("write the kernel's data", Write, KERNEL + 0x10_0000, PF),
    case("write guest RAM", Write, GUEST_RAM + 0x100_0000, PF),
    case("write a kernel stack", Write, KERNEL_STACKS + 0x2000, PF),
    case("write address 0", Write, 0, PF),
    case("write above the stack", Write, STACK_TOP, PF),
    case("write below the stack", Write, STACK_TOP - STACK_BYTES - 1, PF),
    case("write before the message page", Write, MESSAGE - 1, PF),
    case("write where no address is", Write, HOLE, NOT_CANONICAL),
    case("write own text", WriteText, 0, PF),
    case("write own constants", WriteConstant, 0, PF),
    // Jumps.
    case("jump to 0", Jump, 0, PF),
    case("jump into the kernel", Jump, KERNEL, PF),
    case("jump into guest RAM", Jump, GUEST_RAM, PF),
    case("jump to no address", Jump, HOLE, NOT_CANONICAL),
    case("jump to the message page", Jump, MESSAGE, PF),
    case("execute the heap", Execute, HEAP + 0x80, PF),
    case("execute the stack", Execute, STACK_TOP - STACK_BYTES, PF),
    case("execute the message page", Execute, MESSAGE + 0x800, PF),
    case("execute kernel memory", Execute, KERNEL + 0x10_0000, PF),
    // Flags, selectors, registers.
    case("call with DF", Flags, 1 << 10, OK),
    case("call with AC", Flags, 1 << 18, OK),
    case("call with NT", Flags, 1 << 14, OK),
    case("call with IOPL 3", Flags, 3 << 12, OK),
    case("call with ID, VIP and VIF", Flags, 7 << 19, OK),
    case("call with all arithmetic flags", Flags, 0x8D5, OK),
    case("call with TF", Flags, 1 << 8, Bounded),
    case("TF behind a load of SS", TrapBehindSs, 0, Bounded),
    case("toggle IF", ToggleIf, 0, Answers(0)),
    case("ds 0", LoadDs, 0, OK),
    case("es 0", LoadEs, 0, OK),
    case("fs 0", LoadFs, 0, OK),
    case("gs 0", LoadGs, 0, OK),
    case("gs 3", LoadGs, 3, OK),
    case("gs of ring 3", LoadGs, 0x2B, OK),
    case("ds of ring 3's code", LoadDs, 0x33, OK),
    case("ss of ring 3", LoadSs, 0x2B, OK),
    case("ss 0", LoadSs, 0, SELECTOR),
    case("fs of the TSS", LoadFs, 0x1B, SELECTOR),
    case("ds of ring 0", LoadDs, 0x10, SELECTOR),
    case("es of ring 0", LoadEs, 0x10, SELECTOR),
    case("fs of ring 0", LoadFs, 0x10, SELECTOR),
    case("gs of ring 0", LoadGs, 0x10, SELECTOR),
    case("ss of ring 0", LoadSs, 0x10, SELECTOR),
    case("gs of ring 0, asked for by ring 3", LoadGs, 0x13, SELECTOR),
    case("ds of a local table", LoadDs, 0x7, SELECTOR),
    case("gs behind the table", LoadGs, 0xFFF8, SELECTOR),
    case("call with rsp 0", StackCall, 0, OK),
    case("call with the kernel's rsp", StackCall, KERNEL_STACKS + 0x3000, OK),
    case("call with rsp nowhere", StackCall, HOLE, OK),
    case("call with an odd rsp", StackCall, STACK_TOP - 0x333, OK),
    case("push with rsp 0", StackPush, 0, PF),
    case("push with the kernel's rsp", StackPush, KERNEL_STACKS + 0x3000, PF),
    case("push with rsp nowhere", StackPush, HOLE + 0x1000, NOT_CANONICAL),
    case("interrupts with rsp 0", StackSpin, 0, OK),
    case("interrupts with the kernel's rsp", StackSpin, KERNEL_STACKS + 0x3000, OK),
    case("fault with rbp 0", FrameFault, 0, Exception(&[6])),
    case("fault with the kernel's rbp", FrameFault, KERNEL_STACKS + 0x2FF0, Exception(&[6])),
    case("fault with rbp nowhere", FrameFault, HOLE, Exception(&[6])),
    case("registers through LOG", Registers, 1, Answers(0)),
    case("registers through HEAP", Registers, 2, Answers(0)),
    case("registers through ENTROPY", Registers, 3, Answers(0)),
    case("registers through TIME", Registers, 4, Answers(0)),
    case("registers through YIELD", Registers, 5, Answers(0)),
    case("registers through no call", Registers, 99, Answers(0)),
    // Calls.
    case("call 7", Call, 7, UNKNOWN_CALL),
    case("call 2^32", Call, 1 << 32, UNKNOWN_CALL),
    case("call -1", Call, u64::MAX, UNKNOWN_CALL),
    case("no pages", Heap, 0, QUOTA),
    case("all pages there could be and one", Heap, 257, QUOTA),
    case("pages of 2^64 bytes", Heap, 1 << 52, QUOTA),
    case("pages that overflow", Heap, u64::MAX, QUOTA),
    case("heap to the end", HeapToTheEnd, 0, AnswersSomehow),
    case("allocate to the end", Allocate, 0, GaveUp(1)),
    case("log kernel memory", LogFrom, KERNEL, BAD_ARGUMENT),
    case("log guest RAM", LogFrom, GUEST_RAM, BAD_ARGUMENT),
    case("log address 0", LogFrom, 0, BAD_ARGUMENT),
    case("log from nowhere", LogFrom, HOLE, BAD_ARGUMENT),
    case("log over the end of the address space", LogFrom, u64::MAX - 7, BAD_ARGUMENT),
    case("log into the image", LogFrom, 0x3F_FFF8, BAD_ARGUMENT),
    case("log over the stack's end", LogFrom, STACK_TOP - 8, BAD_ARGUMENT),
    case("log into the stack", LogFrom, STACK_TOP - STACK_BYTES - 8, BAD_ARGUMENT),
    case("log over the message page's end", LogFrom, MESSAGE + 4088, BAD_ARGUMENT),
    case("log heap that is not mapped", LogFrom, HEAP + 256 * 4096 - 16, BAD_ARGUMENT),
    case("log 160 bytes", LogLength, 160, OK),
    case("log 161 bytes", LogLength, 161, BAD_ARGUMENT),
    case("log 2^63 bytes", LogLength, 1 << 63, BAD_ARGUMENT),
    case("log -1 bytes", LogLength, u64::MAX, BAD_ARGUMENT),
    case("log zeros", LogByte, 0, BAD_ARGUMENT),
    case("log line ends", LogByte, 0x0A, BAD_ARGUMENT),
    case("log escapes", LogByte, 0x1B, BAD_ARGUMENT),
    case("log 0x7f", LogByte, 0x7F, BAD_ARGUMENT),
    case("log 0xff", LogByte, 0xFF, BAD_ARGUMENT),
    case("log 100 lines", LogFlood, 100, AnswersSomehow),
    case("reply a page and a byte", Reply, 4097, BAD_ARGUMENT),
    case("reply -1 bytes", Reply, u64::MAX, BAD_ARGUMENT),
    case("reply more than a guest's page has room for", Reply, 4093, BadAnswer(4093)),
    case("reply a whole page", Reply, 4096, BadAnswer(4096)),
    case("give up", Fail, 0x0BAD, GaveUp(0x0BAD)),
    case("give up with -1", Fail, u64::MAX, GaveUp(u64::MAX)),
    case("panic", Panic, 0, GaveUp(1)),
    // Time.
    case("recursion", Recursion, 0, PF),
    case("yield 20 times", Yield, 20, OK),
    case("loop", Loop, 0, TooLong),
    case("loop of calls", Loop, 1, TooLong),
    case("loop of yields", Loop, 2, TooLong),
    case("loop of lines", Loop, 3, TooLong),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_numbers_come_back() {
        for (index, case) in all().enumerate() {
            assert!(
                all().skip(index + 1).all(|other| other.name != case.name),
                "{}",
                case.name
            );
            let request = case.request();
            assert_eq!(
                parse(&request),
                Some((case.misdeed as u32, case.argument)),
                "{}",
                case.name
            );
            assert_eq!(
                Misdeed::from_number(case.misdeed as u32),
                Some(case.misdeed)
            );
        }
        assert_eq!(parse(b"BAD!"), None);
        assert_eq!(Misdeed::from_number(1000), None);
    }
}
