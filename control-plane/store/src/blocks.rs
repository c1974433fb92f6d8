//! How many rows a statement carries.
//!
//! Rule: powers of two only, the largest first, so that however long a batch is, its statements are a handful of texts
//! that a connection has prepared before.

/// The most rows of a statement: SQLite takes 32,766 values, and no row here has more than 100.
const MOST: usize = 256;

/// Cuts rows into blocks.
pub(crate) fn blocks<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = 1_usize << rows.len().min(MOST).checked_ilog2()?;
        let (block, rest) = rows.split_at_checked(size)?;
        rows = rest;
        Some(block)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_powers_of_two_and_all_rows_once_in_order() {
        let rows: Vec<usize> = (0..1_000).collect();
        for count in 0..rows.len() {
            let cut: Vec<&[usize]> = blocks(&rows[..count]).collect();
            assert!(cut.iter().all(|block| block.len().is_power_of_two() && block.len() <= MOST));
            assert_eq!(cut.concat(), rows[..count]);
            assert!(cut.len() <= count / MOST + 8);
        }
    }
}
