//! Compression of a page, each piece by itself: what is read slowly is compressed no sooner than it is taken.

use std::io;

use bytes::Bytes;
use libdeflater::CompressionLvl;

use super::format::Coding;

/// The fastest level of zstd that its authors recommend for this.
const ZSTD_LEVEL: i32 = 1;

/// What compresses pieces.
pub enum Compressor {
    /// Nothing.
    Identity,
    /// Into a gzip member each.
    Gzip(libdeflater::Compressor),
    /// Into a frame each.
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Compressor {
    /// For this coding.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn new(coding: Coding) -> io::Result<Self> {
        Ok(match coding {
            Coding::Identity => Self::Identity,
            // Level 1: a page is read once, on a network that is faster than any better compression.
            Coding::Gzip => Self::Gzip(libdeflater::Compressor::new(CompressionLvl::new(1).unwrap_or_default())),
            Coding::Zstd => Self::Zstd(zstd::bulk::Compressor::new(ZSTD_LEVEL)?),
        })
    }

    /// One piece, which can be read behind those before it.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn piece(&mut self, piece: Bytes) -> io::Result<Bytes> {
        match self {
            Self::Identity => Ok(piece),
            Self::Gzip(gzip) => {
                let mut out = vec![0; gzip.gzip_compress_bound(piece.len())];
                let written = gzip.gzip_compress(&piece, &mut out).map_err(io::Error::other)?;
                out.truncate(written);
                out.shrink_to_fit();
                Ok(out.into())
            }
            Self::Zstd(zstd) => Ok(zstd.compress(&piece)?.into()),
        }
    }
}
