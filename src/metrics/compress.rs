//! Compression of a page while it is read. One gzip member for the whole page: browsers and curl stop after the first one.

use std::io::{self, Write as _};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::format::Coding;

/// A page is read once, on a network that is faster than any better compression.
const LEVEL: Compression = Compression::new(1);

/// Compresses the pieces of a page.
pub enum Compressor {
    /// Passes them through.
    Identity,
    /// gzip (RFC 1952).
    Gzip(Box<GzEncoder<Vec<u8>>>),
}

impl Compressor {
    /// For this coding.
    pub fn new(coding: Coding) -> Self {
        match coding {
            Coding::Identity => Self::Identity,
            Coding::Gzip => Self::Gzip(Box::new(GzEncoder::new(Vec::new(), LEVEL))),
        }
    }

    /// Takes a piece, and returns what can be sent now: possibly nothing.
    ///
    /// # Errors
    /// None in practice: it writes into memory.
    pub fn compress(&mut self, piece: Bytes) -> io::Result<Bytes> {
        match self {
            Self::Identity => Ok(piece),
            Self::Gzip(gzip) => {
                gzip.write_all(&piece)?;
                Ok(std::mem::take(gzip.get_mut()).into())
            }
        }
    }

    /// What is left after the last piece.
    ///
    /// # Errors
    /// None in practice: it writes into memory.
    pub fn finish(&mut self) -> io::Result<Bytes> {
        match std::mem::replace(self, Self::Identity) {
            Self::Identity => Ok(Bytes::new()),
            Self::Gzip(gzip) => Ok(gzip.finish()?.into()),
        }
    }
}
