//! Huffman codes and the bits that they are written in, as deflate has them: RFC 1951, 3.1.1 and 3.2.2.

/// Codes of symbols, those that are used often being short.
pub struct Code {
    lengths: Vec<u8>,
    /// Of each symbol its code, reversed as it is written, above the number of its bits.
    codes: [u32; MAX_SYMBOLS],
}

/// Symbols of a code at most, rounded up; more than there are bytes.
const MAX_SYMBOLS: usize = 288;

/// Where in an entry the code begins.
const SHIFT: u32 = 8;

impl Code {
    /// For symbols that are used so often; none is longer than `limit` bits.
    pub fn of(counts: &[u32], limit: u8) -> Self {
        let mut counts = counts.to_vec();
        // Readers want no symbol with a code of no bits, so there are two at least.
        for symbol in 0..2 {
            if counts.iter().filter(|count| **count > 0).count() < 2 {
                counts[symbol] = counts[symbol].max(1);
            }
        }
        let mut lengths = lengths(&counts);
        while lengths.iter().any(|length| *length > limit) {
            // More alike they are shorter.
            counts.iter_mut().filter(|count| **count > 0).for_each(|count| *count = *count / 2 + 1);
            lengths = self::lengths(&counts);
        }
        let mut entries = [0; MAX_SYMBOLS];
        for ((entry, code), length) in entries.iter_mut().zip(codes(&lengths)).zip(&lengths) {
            *entry = u32::from(code) << SHIFT | u32::from(*length);
        }
        Self { codes: entries, lengths }
    }

    /// How many bits each symbol has.
    pub fn lengths(&self) -> &[u8] {
        &self.lengths
    }
}

/// Depths of the symbols in a tree in which those that are used seldom are deep.
fn lengths(counts: &[u32]) -> Vec<u8> {
    let mut leaves: Vec<(u32, usize)> =
        counts.iter().enumerate().filter(|(_, count)| **count > 0).map(|(symbol, count)| (*count, symbol)).collect();
    leaves.sort_unstable();
    // Leaves first, then what each two nodes were joined to, which comes in order by itself.
    let mut weights: Vec<u64> = leaves.iter().map(|(count, _)| u64::from(*count)).collect();
    let mut parents = vec![0; 2 * leaves.len()];
    let (mut leaf, mut joined) = (0, leaves.len());
    for node in leaves.len()..(2 * leaves.len()).saturating_sub(1) {
        let mut weight = 0;
        for _ in 0..2 {
            let is_leaf = leaf < leaves.len() && (joined >= weights.len() || weights[leaf] <= weights[joined]);
            let lightest = if is_leaf { &mut leaf } else { &mut joined };
            weight += weights[*lightest];
            parents[*lightest] = node;
            *lightest += 1;
        }
        weights.push(weight);
    }
    let mut depths = vec![0u8; weights.len()];
    let mut lengths = vec![0; counts.len()];
    for node in (0..weights.len().saturating_sub(1)).rev() {
        depths[node] = depths[parents[node]].saturating_add(1);
        if let Some((_, symbol)) = leaves.get(node) {
            lengths[*symbol] = depths[node];
        }
    }
    lengths
}

/// The codes that go with these lengths: in the order of lengths, then of symbols.
fn codes(lengths: &[u8]) -> Vec<u16> {
    let mut first = [0u16; 17];
    for length in lengths.iter().filter(|length| **length > 0) {
        first[usize::from(*length) + 1] += 1;
    }
    for length in 1..16 {
        first[length] = (first[length] + first[length - 1]) << 1;
    }
    let mut next = first;
    let code = |length: &u8| {
        let code = &mut next[usize::from(*length)];
        let this = *code;
        *code += 1;
        if *length == 0 { 0 } else { this.reverse_bits() >> (16 - length) }
    };
    lengths.iter().map(code).collect()
}

/// Bits on their way into bytes, the lowest first.
#[derive(Default)]
pub struct Bits {
    out: Vec<u8>,
    /// Bytes of `out` that are written.
    written: usize,
    held: u64,
    count: u32,
}

impl Bits {
    /// So many bits may be added between two flushes, which leave up to 7.
    const ROOM: u32 = u64::BITS - 7;

    /// Makes room for so many bytes.
    pub fn reserve(&mut self, bytes: usize) {
        let wanted = self.written + bytes + size_of::<u64>();
        if self.out.len() < wanted {
            self.out.resize(wanted, 0);
        }
    }

    /// Writes the lowest `count` bits of `bits`, the others of which are 0.
    pub fn put(&mut self, bits: u64, count: u32) {
        self.add(bits, count);
        self.flush();
    }

    /// The same, to be flushed with others.
    pub fn add(&mut self, bits: u64, count: u32) {
        self.held |= bits << self.count;
        self.count += count;
        debug_assert!(self.count < 7 + Self::ROOM, "{} bits were not flushed", self.count);
    }

    /// Adds a symbol, of 15 bits at most.
    #[inline]
    pub fn symbol(&mut self, code: &Code, symbol: usize) {
        let entry = code.codes[symbol];
        self.add((entry >> SHIFT).into(), entry % (1 << SHIFT));
    }

    /// Writes the symbols of bytes.
    pub fn bytes(&mut self, code: &Code, bytes: &[u8]) {
        const AT_ONCE: usize = (Bits::ROOM / 15) as usize;
        let (some, rest) = bytes.as_chunks::<AT_ONCE>();
        for some in some {
            for byte in some {
                self.symbol(code, usize::from(*byte));
            }
            self.flush();
        }
        for byte in rest {
            self.symbol(code, usize::from(*byte));
        }
        self.flush();
    }

    /// Moves the whole bytes of what was added to what is written. Without asking whether there are any, for that is hard to tell
    /// beforehand.
    #[inline]
    pub fn flush(&mut self) {
        self.reserve(0);
        self.out[self.written..self.written + size_of::<u64>()].copy_from_slice(&self.held.to_le_bytes());
        let bytes = self.count / 8;
        self.written += bytes as usize;
        self.held >>= 8 * bytes;
        self.count %= 8;
    }

    /// Goes on to the next whole byte.
    pub fn align(&mut self) {
        self.count = self.count.next_multiple_of(8);
        self.flush();
    }

    /// The whole bytes so far.
    pub fn take(&mut self) -> Vec<u8> {
        self.flush();
        let whole = self.out[..self.written].to_vec();
        self.written = 0;
        whole
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What readers want of the lengths: none too long, none missing, and every sequence of bits means something.
    fn check(counts: &[u32], limit: u8) {
        let code = Code::of(counts, limit);
        let unit = 1u32 << limit;
        let used = code.lengths().iter().filter(|length| **length > 0);
        assert!(code.lengths().iter().all(|length| *length <= limit), "{:?}", code.lengths());
        assert_eq!(used.map(|length| unit >> length).sum::<u32>(), unit, "{counts:?}");
        assert!(counts.iter().zip(code.lengths()).all(|(count, length)| *count == 0 || *length > 0));
    }

    #[test]
    fn codes_that_would_be_too_long_are_made_shorter() {
        // Fibonacci's numbers give the deepest trees.
        let mut fibonacci = vec![1, 1];
        while fibonacci.len() < 30 {
            fibonacci.push(fibonacci[fibonacci.len() - 1] + fibonacci[fibonacci.len() - 2]);
        }
        assert_eq!(lengths(&fibonacci).iter().max(), Some(&29), "without a limit");
        check(&fibonacci, 15);
        check(&fibonacci[..19], 7);
    }

    proptest! {
        #[test]
        fn every_code_is_complete(
            counts in proptest::collection::vec(prop_oneof![Just(0), 1u32..9, any::<u32>().prop_map(|count| count >> 8)], 2..286),
        ) {
            check(&counts, 15);
        }
    }
}
