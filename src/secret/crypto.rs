//! Hashes, signatures and their verification.

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::{digest, hmac, signature};

/// HMAC-SHA256 of a text.
pub fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec()
}

/// Whether `tag` is the HMAC-SHA256 of a text; compared in constant time.
pub fn is_mac(key: &[u8], text: &[u8], tag: &[u8]) -> bool {
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key), text, tag).is_ok()
}

/// Whether `tag` is the Ed25519 signature of a text by the owner of this public key (RFC 8032).
pub fn is_ed25519(key: &[u8], text: &[u8], tag: &[u8]) -> bool {
    signature::UnparsedPublicKey::new(&signature::ED25519, key).verify(text, tag).is_ok()
}

/// Whether `tag` is the RSASSA-PKCS1-v1.5 signature with SHA-256 of a text (RS256, RFC 7518) by the owner of this public key, a
/// modulus and an exponent.
pub fn is_rs256((n, e): (&[u8], &[u8]), text: &[u8], tag: &[u8]) -> bool {
    signature::RsaPublicKeyComponents { n, e }.verify(&signature::RSA_PKCS1_2048_8192_SHA256, text, tag).is_ok()
}

/// The SHA-256 of a text, in hexadecimal digits.
pub fn sha256_hex(text: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, text).as_ref())
}

/// A key that nobody else knows, for this process.
pub fn random_key() -> [u8; 32] {
    let mut key = [0; 32];
    // Where the system gives none, the seed of the hash maps of the standard library has to do.
    if SystemRandom::new().fill(&mut key).is_err() {
        let state = std::hash::RandomState::new();
        for (n, part) in key.chunks_mut(8).enumerate() {
            part.copy_from_slice(&std::hash::BuildHasher::hash_one(&state, n).to_le_bytes());
        }
    }
    key
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// Hexadecimal digits as bytes; `None` for anything else.
pub fn decode_hex(text: &str) -> Option<Vec<u8>> {
    HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).ok()
}

/// The public key of a seed, and its signature of a text.
#[cfg(test)]
pub fn sign_ed25519(seed: [u8; 32], text: &[u8]) -> (Vec<u8>, Vec<u8>) {
    use signature::KeyPair as _;
    let pair = signature::Ed25519KeyPair::from_seed_unchecked(&seed).expect("any seed is valid");
    (pair.public_key().as_ref().to_vec(), pair.sign(text).as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_standards() {
        // FIPS 180-2, appendix B.1, and RFC 4231, test case 2.
        assert_eq!(sha256_hex(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let tag = mac(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(hex(&tag), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        assert!(is_mac(b"Jefe", b"what do ya want for nothing?", &tag) && !is_mac(b"Jefe", b"", &tag));
        assert_eq!((decode_hex("00fF"), decode_hex("0"), decode_hex("xy")), (Some(vec![0, 255]), None, None));
    }

    /// RFC 8032, section 7.1, test 2.
    #[test]
    fn an_ed25519_signature_is_verified() {
        let key = decode_hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c").unwrap();
        let tag = decode_hex(
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        );
        let tag = tag.unwrap();
        assert!(is_ed25519(&key, b"\x72", &tag));
        assert!(
            !is_ed25519(&key, b"\x73", &tag) && !is_ed25519(&key[1..], b"\x72", &tag) && !is_ed25519(&[], b"", &[])
        );
    }
}
