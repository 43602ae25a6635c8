//! Return addresses from the chain of frame pointers, for reports.

/// Most addresses in a report.
pub const MAX: usize = 16;

/// The return addresses above the frame at `rbp`, up to [`MAX`]. Reads nothing but memory that can be read, and ends
/// where the chain stops making sense.
pub fn walk(mut rbp: u64) -> impl Iterator<Item = u64> {
    let mut left = MAX;
    core::iter::from_fn(move || {
        if left == 0 || !rbp.is_multiple_of(8) {
            return None;
        }
        left -= 1;
        let next = crate::mm::try_read_own(rbp)?;
        let address = crate::mm::try_read_own(rbp.checked_add(8)?)?;
        // Frames are found at ascending addresses; the first one has a zero.
        rbp = if next > rbp { next } else { 0 };
        (address != 0).then_some(address)
    })
}
