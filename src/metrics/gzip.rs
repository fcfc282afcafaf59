//! gzip (RFC 1952) of what is written line by line: one member, one block with Huffman codes of its own (RFC 1951) a piece.
//!
//! A compressor for any text spends its time looking for what was there before. Here it is known where to look: a line is mostly
//! the line before it, and where it is not, it is what followed the last time something began like that.

use super::huffman::{Bits, Code};

/// Bytes of a block at most.
const MAX_BLOCK: usize = 1 << 17;

/// The shortest match that is worth it, the longest one, and how far back it may be.
const MIN_MATCH: usize = 4;
const MAX_MATCH: usize = 258;
const MAX_DISTANCE: usize = 32_768;

/// How much of something new is passed over at once.
const MAX_NEW: usize = 64;

/// Beginnings that are remembered, by a hash of their first bytes.
const HASH_BITS: u32 = 12;

/// Symbols: bytes, the end of a block, lengths; and distances.
const END_OF_BLOCK: usize = 256;
const LITERALS: usize = 286;
const DISTANCES: usize = 30;

/// In which order the lengths of the codes of code lengths are written.
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// Literals, and what is repeated after them; at the end of a block nothing is.
#[derive(Debug, Clone, Copy)]
struct Sequence {
    literals: u32,
    length: u16,
    distance: u16,
}

/// A member that grows.
#[derive(Default)]
pub struct Gzip {
    crc: crc32fast::Hasher,
    /// Modulo 2^32, as it is written.
    size: u32,
    bits: Bits,
    is_begun: bool,
    sequences: Vec<Sequence>,
    /// One more than where it was in this block, or 0.
    heads: Vec<u32>,
}

impl Gzip {
    /// Takes a piece; what can be sent now.
    pub fn piece(&mut self, text: &[u8]) -> Vec<u8> {
        self.begin();
        self.crc.update(text);
        #[expect(clippy::cast_possible_truncation, reason = "modulo 2^32")]
        {
            self.size = self.size.wrapping_add(text.len() as u32);
        }
        for block in text.chunks(MAX_BLOCK) {
            self.block(block);
        }
        self.bits.take()
    }

    /// What is left.
    pub fn end(mut self) -> Vec<u8> {
        self.begin();
        // The last block: with fixed codes, and nothing in it but its end.
        self.bits.put(0b011, 3);
        self.bits.put(0, 7);
        self.bits.align();
        let mut out = self.bits.take();
        out.extend_from_slice(&self.crc.finalize().to_le_bytes());
        out.extend_from_slice(&self.size.to_le_bytes());
        out
    }

    fn begin(&mut self) {
        if !self.is_begun {
            self.is_begun = true;
            // Deflate, no name, no time, of no system in particular.
            for byte in [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff] {
                self.bits.put(byte, 8);
            }
        }
    }

    fn block(&mut self, text: &[u8]) {
        self.find(text);
        let (mut literals, mut distances) = ([0u32; LITERALS], [0u32; DISTANCES]);
        literals[END_OF_BLOCK] = 1;
        let mut at = 0;
        for sequence in &self.sequences {
            let end = at + sequence.literals as usize;
            for byte in &text[at..end] {
                literals[usize::from(*byte)] += 1;
            }
            at = end + usize::from(sequence.length);
            if sequence.length > 0 {
                literals[length_symbol(sequence.length).0] += 1;
                distances[distance_symbol(sequence.distance).0] += 1;
            }
        }
        let (literals, distances) = (Code::of(&literals, 15), Code::of(&distances, 15));
        self.bits.reserve(2 * text.len() + 1024);
        self.bits.put(0b100, 3);
        write_codes(&mut self.bits, &literals, &distances);
        let mut at = 0;
        for sequence in &self.sequences {
            let end = at + sequence.literals as usize;
            if at < end {
                self.bits.bytes(&literals, &text[at..end]);
            }
            at = end + usize::from(sequence.length);
            if sequence.length > 0 {
                // 15 bits and 5, 15 and 13 at most: there is room for them.
                let (symbol, extra, bits) = length_symbol(sequence.length);
                self.bits.symbol(&literals, symbol);
                self.bits.add(extra, bits);
                let (symbol, extra, bits) = distance_symbol(sequence.distance);
                self.bits.symbol(&distances, symbol);
                self.bits.add(extra, bits);
                self.bits.flush();
            }
        }
        self.bits.symbol(&literals, END_OF_BLOCK);
        self.bits.flush();
    }

    /// What of a block is a repetition.
    fn find(&mut self, text: &[u8]) {
        self.sequences.clear();
        self.heads.clear();
        self.heads.resize(1 << HASH_BITS, 0);
        let (mut before, mut line, mut end) = (None, 0, line_end(text, 0));
        let (mut at, mut literals) = (0, 0);
        while at < text.len() {
            while end < at {
                (before, line) = (Some(line), end + 1);
                end = line_end(text, line);
            }
            // The same column of the line before; else what began like this.
            let column = before.map(|before: usize| before + at - line).filter(|column| *column < line);
            let mut found = column.map_or((0, 0), |column| (common(text, column, at), column));
            if let Some(first) = text[at..].first_chunk::<MIN_MATCH>() {
                let hash = u32::from_le_bytes(*first).wrapping_mul(0x9e37_79b1) >> (u32::BITS - HASH_BITS);
                #[expect(clippy::cast_possible_truncation, reason = "a block is not that large")]
                let known = std::mem::replace(&mut self.heads[hash as usize], at as u32 + 1);
                if found.0 < MIN_MATCH
                    && let Some(known) = (known as usize).checked_sub(1)
                {
                    found = (common(text, known, at), known);
                }
            }
            let (length, from) = found;
            if length >= MIN_MATCH && at - from <= MAX_DISTANCE {
                self.sequences.push(sequence(at - literals, length, at - from));
                at += length;
                literals = at;
            } else {
                // Something new, such as an id or a number: it is looked at again where that ends.
                at += 1;
                let rest = &text[at..text.len().min(at + MAX_NEW)];
                at += memchr::memchr3(b'"', b' ', b'\n', rest).unwrap_or(rest.len());
            }
        }
        self.sequences.push(sequence(at - literals, 0, 0));
    }
}

#[expect(clippy::cast_possible_truncation, reason = "each has its bound: of a block, a match, a distance")]
const fn sequence(literals: usize, length: usize, distance: usize) -> Sequence {
    Sequence { literals: literals as u32, length: length as u16, distance: distance as u16 }
}

/// Where the line that begins there ends.
fn line_end(text: &[u8], from: usize) -> usize {
    memchr::memchr(b'\n', &text[from..]).map_or(text.len(), |end| from + end)
}

/// How many bytes at `earlier` and at `at` are the same; as many as a match has, at most.
fn common(text: &[u8], earlier: usize, at: usize) -> usize {
    let now = &text[at..text.len().min(at + MAX_MATCH)];
    let then = &text[earlier..earlier + now.len()];
    let ((now, now_rest), (then, then_rest)) = (now.as_chunks::<8>(), then.as_chunks::<8>());
    let mut same = 0;
    for (now, then) in now.iter().zip(then) {
        let differ = u64::from_le_bytes(*now) ^ u64::from_le_bytes(*then);
        if differ != 0 {
            return same + differ.trailing_zeros() as usize / 8;
        }
        same += 8;
    }
    same + now_rest.iter().zip(then_rest).take_while(|(now, then)| now == then).count()
}

/// The symbol of a length, and its further bits with how many they are (RFC 1951, 3.2.5).
const fn length_symbol(length: u16) -> (usize, u64, u32) {
    if length == 258 {
        return (285, 0, 0);
    }
    let offset = (length - 3) as u32;
    if offset < 8 {
        return (257 + offset as usize, 0, 0);
    }
    let bits = offset.ilog2() - 2;
    let symbol = 257 + 4 * bits + (offset >> bits);
    (symbol as usize, (offset & ((1 << bits) - 1)) as u64, bits)
}

/// The same of a distance.
const fn distance_symbol(distance: u16) -> (usize, u64, u32) {
    let offset = (distance - 1) as u32;
    if offset < 4 {
        return (offset as usize, 0, 0);
    }
    let bits = offset.ilog2() - 1;
    let symbol = 2 * bits + (offset >> bits);
    (symbol as usize, (offset & ((1 << bits) - 1)) as u64, bits)
}

/// The lengths of both codes, with runs of zeros cut short (RFC 1951, 3.2.7).
fn write_codes(bits: &mut Bits, literals: &Code, distances: &Code) {
    let used = |lengths: &[u8], least: usize| {
        lengths.iter().rposition(|length| *length > 0).map_or(least, |last| (last + 1).max(least))
    };
    let (most, furthest) = (used(literals.lengths(), 257), used(distances.lengths(), 1));
    let lengths = [&literals.lengths()[..most], &distances.lengths()[..furthest]].concat();
    // Each with its further bits and how many they are.
    let mut symbols: Vec<(usize, u64, u32)> = Vec::with_capacity(lengths.len());
    for run in lengths.chunk_by(|a, b| a == b) {
        let mut left = run.len();
        while run[0] == 0 && left >= 3 {
            let zeros = left.min(138);
            symbols.push(if zeros <= 10 { (17, zeros as u64 - 3, 3) } else { (18, zeros as u64 - 11, 7) });
            left -= zeros;
        }
        symbols.extend(std::iter::repeat_n((usize::from(run[0]), 0, 0), left));
    }
    let mut counts = [0; ORDER.len()];
    for (symbol, ..) in &symbols {
        counts[*symbol] += 1;
    }
    let code = Code::of(&counts, 7);
    let listed = ORDER.iter().rposition(|symbol| code.lengths()[*symbol] > 0).map_or(4, |last| (last + 1).max(4));
    bits.put(most as u64 - 257, 5);
    bits.put(furthest as u64 - 1, 5);
    bits.put(listed as u64 - 4, 4);
    for symbol in &ORDER[..listed] {
        bits.put(u64::from(code.lengths()[*symbol]), 3);
    }
    for (symbol, extra, more) in symbols {
        bits.symbol(&code, symbol);
        bits.put(extra, more);
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::io::Read as _;

    use proptest::prelude::*;

    use super::*;

    /// What a well-known reader makes of it, and how long it was.
    fn read_back(pieces: &[&[u8]]) -> (Vec<u8>, usize) {
        let mut gzip = Gzip::default();
        let mut member: Vec<u8> = pieces.iter().flat_map(|piece| gzip.piece(piece)).collect();
        member.extend(gzip.end());
        let mut text = Vec::new();
        // One member and nothing behind it: the reader stops after the first, and says where.
        let mut rest = member.as_slice();
        let mut reader = flate2::bufread::GzDecoder::new(&mut rest);
        reader.read_to_end(&mut text).unwrap();
        assert!(rest.is_empty(), "{} bytes are left", rest.len());
        (text, member.len())
    }

    #[test]
    fn symbols_are_those_of_the_table() {
        let tables = [
            (3, (257, 0, 0)),
            (10, (264, 0, 0)),
            (11, (265, 0, 1)),
            (12, (265, 1, 1)),
            (13, (266, 0, 1)),
            (114, (279, 15, 4)),
            (115, (280, 0, 4)),
            (257, (284, 30, 5)),
            (258, (285, 0, 0)),
        ];
        for (length, expected) in tables {
            assert_eq!(length_symbol(length), expected, "{length}");
        }
        let tables = [
            (1, (0, 0, 0)),
            (4, (3, 0, 0)),
            (5, (4, 0, 1)),
            (6, (4, 1, 1)),
            (24_577, (29, 0, 13)),
            (32_768, (29, 8191, 13)),
        ];
        for (distance, expected) in tables {
            assert_eq!(distance_symbol(distance), expected, "{distance}");
        }
    }

    #[test]
    fn nothing_and_little_and_much_of_one_kind_are_read_back() {
        let much = vec![b'x'; 3 * MAX_BLOCK + 7];
        let bytes: Vec<u8> = (0..=255).collect();
        let cases: [&[&[u8]]; 7] = [
            &[],
            &[b"", b"a"],
            &[b""],
            &[b"\n\n\n"],
            &[b"abcabcabcabcabc"],
            &[&much, b"end", &much],
            &[&bytes, &bytes],
        ];
        for pieces in cases {
            assert_eq!(read_back(pieces).0, pieces.concat());
        }
        assert!(read_back(&[&much]).1 < much.len() / 100);
    }

    #[test]
    fn lines_as_they_are_on_a_page_become_small() {
        let mut page = String::new();
        for n in 0..5000u64 {
            let id = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            for status in ["queued", "running", "succeeded", "failed"] {
                let labels = format!("upstream=\"gw\",task_id=\"task_{id:016x}\",status=\"{status}\"");
                let _ = writeln!(page, "task_status{{{labels}}} {}", n % 2);
            }
        }
        let (text, size) = read_back(&[page.as_bytes()]);
        assert!(text == page.as_bytes());
        assert!(size * 10 < page.len(), "{size} of {}", page.len());
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_back(
            pieces in proptest::collection::vec(
                prop_oneof![
                    proptest::collection::vec(any::<u8>(), 0..600),
                    "([a-c]{0,9}[ \"\n]){0,200}".prop_map(String::into_bytes),
                    ("[ -~]{0,40}", 0usize..4000).prop_map(|(line, times)| format!("{line}\n").repeat(times).into_bytes()),
                ],
                0..5,
            )
        ) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(read_back(&pieces).0, pieces.concat());
        }
    }
}
