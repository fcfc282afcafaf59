//! Compresses a page while it is sent, as one gzip member: browsers and curl read only the first member.

use std::io::{self, Write as _};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::format::Coding;

/// The fastest level: a page is read once, and better compression takes longer than it saves.
const LEVEL: Compression = Compression::new(1);

/// Compresses the pieces of a page.
pub enum Compressor {
    /// Passes them through.
    Identity,
    /// gzip (RFC 1952).
    Gzip(Box<GzEncoder<Vec<u8>>>),
}

impl Compressor {
    /// A compressor for this coding.
    pub fn new(coding: Coding) -> Self {
        match coding {
            Coding::Identity => Self::Identity,
            Coding::Gzip => Self::Gzip(Box::new(GzEncoder::new(Vec::new(), LEVEL))),
        }
    }

    /// Compresses a piece. The result may be empty, because gzip buffers its input.
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

    /// Returns the rest after the last piece.
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
