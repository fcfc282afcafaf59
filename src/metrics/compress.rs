//! Compression of a page, as it is taken: one gzip member, one zstd frame. (Many of them in a row are allowed, too, but browsers and
//! curl stop after the first gzip member.)

use std::io::{self, Write as _};

use bytes::Bytes;
use zstd::stream::write::Encoder as ZstdEncoder;

use super::format::Coding;
use super::gzip::Gzip;

/// The fastest usual level of zstd: a page is read once, on a network that is faster than any better compression.
const ZSTD_LEVEL: i32 = 1;

/// What compresses pieces.
pub enum Compressor {
    /// Nothing.
    Identity,
    /// Into gzip (RFC 1952).
    Gzip(Box<Gzip>),
    /// Into zstd (RFC 8878).
    Zstd(ZstdEncoder<'static, Vec<u8>>),
}

impl Compressor {
    /// For this coding.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn new(coding: Coding) -> io::Result<Self> {
        Ok(match coding {
            Coding::Identity => Self::Identity,
            Coding::Gzip => Self::Gzip(Box::default()),
            Coding::Zstd => Self::Zstd(ZstdEncoder::new(Vec::new(), ZSTD_LEVEL)?),
        })
    }

    /// Takes a piece; what of it and those before it can be sent now, which may be nothing.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn piece(&mut self, piece: Bytes) -> io::Result<Bytes> {
        match self {
            Self::Identity => Ok(piece),
            Self::Gzip(gzip) => Ok(gzip.piece(&piece).into()),
            Self::Zstd(zstd) => {
                zstd.write_all(&piece)?;
                Ok(std::mem::take(zstd.get_mut()).into())
            }
        }
    }

    /// What is left when there are no more pieces.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn end(&mut self) -> io::Result<Bytes> {
        match std::mem::replace(self, Self::Identity) {
            Self::Identity => Ok(Bytes::new()),
            Self::Gzip(gzip) => Ok(gzip.end().into()),
            Self::Zstd(zstd) => Ok(zstd.finish()?.into()),
        }
    }
}
