//! Which page of a growing list has the most rows that were not read yet, where pages may have any size.
//!
//! Tasks that are created meanwhile shift the rows: with pages of one size, one after the other, a busy gateway would be asked for the
//! same rows again and again.

/// So many rows are read again on purpose: a page without any may have skipped rows, which this pass does not read.
const MARGIN: f64 = 3.0;

/// The weight of the latest page in the growth.
const WEIGHT: f64 = 0.25;

/// How far a list is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct PagePosition {
    /// Rows before the first one that was not read, at the last response.
    unread: usize,
    /// By how many rows the list grows from one page to the next.
    growth: f64,
    pages: usize,
}

impl PagePosition {
    /// The number and size of the next page, after one that began at `offset`, with so many entries, of which some were read before.
    pub fn next_page(&mut self, offset: usize, entries: usize, read_before: usize, max_size: usize) -> (usize, usize) {
        self.pages += 1;
        #[expect(clippy::cast_precision_loss, reason = "numbers of rows")]
        let grown = (offset + read_before).saturating_sub(self.unread) as f64;
        self.growth = match self.pages {
            1 => 0.0,
            2 => grown,
            // It may have grown by less: without a row that was read before nobody knows.
            _ if read_before == 0 => (1.0 - WEIGHT) * self.growth,
            _ => (1.0 - WEIGHT) * self.growth + WEIGHT * grown,
        };
        self.unread = offset + entries;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number of rows")]
        let skipped = (self.growth - MARGIN).max(0.0) as usize;
        best_page(self.unread + skipped, max_size)
    }
}

/// The number and size of the page with the most rows from `unread` on.
fn best_page(unread: usize, max_size: usize) -> (usize, usize) {
    let sizes = (max_size * 4 / 5).max(1)..=max_size.max(1);
    let size = sizes.max_by_key(|size| size - unread % size).unwrap_or(1);
    (unread / size + 1, size)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_best_page_has_the_most_unread_rows() {
        for (unread, expected) in [(0, (1, 100)), (100, (2, 100)), (140, (2, 100)), (190, (3, 95)), (12_040, (129, 94))]
        {
            let (number, size) = best_page(unread, 100);
            assert_eq!((number, size), expected, "{unread}");
            assert!((number - 1) * size <= unread && unread < number * size, "no unread row is skipped");
        }
        assert_eq!(best_page(7, 1), (8, 1));
    }

    #[test]
    fn a_growing_list_is_read_with_few_repetitions_and_gaps() {
        // 200 rows a second are read while 80 are added.
        let (mut read, mut repeated, mut position) = (HashSet::new(), 0, PagePosition::default());
        let (mut grown, mut page) = (0i64, (1, 100));
        for _ in 0..100 {
            let (number, size) = page;
            let first = (number - 1) * size;
            let (offset, rows) = (i64::try_from(first).unwrap(), i64::try_from(size).unwrap());
            // Row 0 was the newest at the beginning; newer ones have negative numbers.
            let before = (offset - grown..offset - grown + rows).filter(|row| !read.insert(*row)).count();
            repeated += before;
            page = position.next_page(first, size, before, 100);
            grown += 40;
        }
        let last = *read.iter().max().unwrap();
        let gaps = (0..last).filter(|row| !read.contains(row)).count();
        assert!(gaps < 100, "{gaps} of {last} rows were not read");
        assert!(repeated < 1000, "{repeated} rows were read again");
        assert!(last > 8500, "{last}");
    }
}
