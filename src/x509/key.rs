//! Key pairs. Private key bytes are wiped on drop and never printed; every operation is aws-lc-rs.

use aws_lc_rs::{
    digest,
    encoding::{AsBigEndian as _, AsDer as _},
    rand::SystemRandom,
    rsa,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _,
        RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use std::{fmt, sync::Arc};
use zeroize::Zeroizing;

/// The kinds of key that finial makes. Workloads get P-256; an authority may have any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// NIST P-256, signs with SHA-256.
    EcP256,
    /// NIST P-384, signs with SHA-384.
    EcP384,
    /// RSA with a 2048-bit modulus, signs PKCS#1 v1.5 with SHA-256.
    Rsa2048,
    /// RSA with a 4096-bit modulus, signs PKCS#1 v1.5 with SHA-256.
    Rsa4096,
}

/// The public half of a key pair: its algorithm and the bits that certificates carry.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PublicKey {
    algorithm: PublicAlgorithm,
    bits: Arc<[u8]>,
}

/// What a public key's bits mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PublicAlgorithm {
    /// An uncompressed point on P-256.
    EcP256,
    /// An uncompressed point on P-384.
    EcP384,
    /// A PKCS#1 `RSAPublicKey` of at least 2048 bits.
    Rsa,
}

/// A private key at rest: unencrypted PKCS#8, wiped when the last copy is dropped.
#[derive(Clone)]
pub struct SecretKey(Arc<Zeroizing<Vec<u8>>>);

/// A key pair ready to sign.
pub struct KeyPair {
    signer: Signer,
    key_type: KeyType,
    public: PublicKey,
}

enum Signer {
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

/// A key that cannot be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The crypto library gave no key, which means that the system has no randomness.
    #[error("cannot generate a {0:?} key")]
    Generate(KeyType),
    /// The bytes are not a PKCS#8 key of a supported kind.
    #[error(
        "not an unencrypted PKCS#8 private key of type P-256, P-384 or RSA (2048 to 8192 bits)"
    )]
    Unsupported,
    /// The crypto library refused to sign or to export.
    #[error("the crypto library refused an operation on a {0:?} key")]
    Refused(KeyType),
}

impl KeyPair {
    /// Makes a new key pair; P-256 takes microseconds, RSA up to a second.
    ///
    /// # Errors
    /// [`KeyError::Generate`] when the system cannot give randomness.
    pub fn generate(key_type: KeyType) -> Result<Self, KeyError> {
        let failed = |_| KeyError::Generate(key_type);
        let signer = match key_type {
            KeyType::EcP256 => Signer::Ecdsa(
                EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(failed)?,
            ),
            KeyType::EcP384 => Signer::Ecdsa(
                EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING).map_err(failed)?,
            ),
            KeyType::Rsa2048 => {
                Signer::Rsa(RsaKeyPair::generate(rsa::KeySize::Rsa2048).map_err(failed)?)
            }
            KeyType::Rsa4096 => {
                Signer::Rsa(RsaKeyPair::generate(rsa::KeySize::Rsa4096).map_err(failed)?)
            }
        };
        Ok(Self::assemble(signer, key_type))
    }

    /// Loads a key at rest so that it can sign.
    ///
    /// # Errors
    /// [`KeyError::Unsupported`] when the bytes are no key of a supported kind.
    pub fn load(secret: &SecretKey) -> Result<Self, KeyError> {
        let der = secret.pkcs8_der();
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der) {
            return Ok(Self::assemble(Signer::Ecdsa(pair), KeyType::EcP256));
        }
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, der) {
            return Ok(Self::assemble(Signer::Ecdsa(pair), KeyType::EcP384));
        }
        let pair = RsaKeyPair::from_pkcs8(der).map_err(|_| KeyError::Unsupported)?;
        let key_type = match pair.public_modulus_len() {
            256 => KeyType::Rsa2048,
            512.. => KeyType::Rsa4096,
            _ => return Err(KeyError::Unsupported),
        };
        Ok(Self::assemble(Signer::Rsa(pair), key_type))
    }

    fn assemble(signer: Signer, key_type: KeyType) -> Self {
        let (algorithm, bits) = match (&signer, key_type) {
            (Signer::Ecdsa(pair), KeyType::EcP384) => {
                (PublicAlgorithm::EcP384, pair.public_key().as_ref())
            }
            (Signer::Ecdsa(pair), _) => (PublicAlgorithm::EcP256, pair.public_key().as_ref()),
            (Signer::Rsa(pair), _) => (PublicAlgorithm::Rsa, pair.public_key().as_ref()),
        };
        let public = PublicKey { algorithm, bits: bits.into() };
        Self { signer, key_type, public }
    }

    /// The kind of this key.
    #[must_use]
    pub const fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// The public half.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// The private half as PKCS#8, to store or to hand to its workload.
    ///
    /// # Errors
    /// [`KeyError::Refused`] when the crypto library cannot export it.
    pub fn secret_key(&self) -> Result<SecretKey, KeyError> {
        let refused = |_| KeyError::Refused(self.key_type);
        let der = match &self.signer {
            Signer::Ecdsa(pair) if self.key_type == KeyType::EcP256 => {
                let private = pair.private_key().as_be_bytes().map_err(refused)?;
                p256_pkcs8(private.as_ref(), self.public.bits())
            }
            Signer::Ecdsa(pair) => pair.to_pkcs8v1().map_err(refused)?.as_ref().to_vec(),
            Signer::Rsa(pair) => pair.as_der().map_err(refused)?.as_ref().to_vec(),
        };
        Ok(SecretKey(Arc::new(Zeroizing::new(der))))
    }

    /// Signs `message` with the algorithm of the key's type; ECDSA signatures are DER.
    ///
    /// # Errors
    /// [`KeyError::Refused`] when the crypto library will not.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let refused = |_| KeyError::Refused(self.key_type);
        let random = SystemRandom::new();
        match &self.signer {
            Signer::Ecdsa(pair) => {
                Ok(pair.sign(&random, message).map_err(refused)?.as_ref().to_vec())
            }
            Signer::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(refused)?;
                Ok(signature)
            }
        }
    }
}

/// The PKCS#8 (RFC 5208) of a P-256 key, whose parts all have one length: 32 private bytes, and a public
/// point of 65. The crypto library would compute the point's encoding anew, which takes microseconds.
fn p256_pkcs8(private: &[u8], public: &[u8]) -> Vec<u8> {
    /// Version 0, id-ecPublicKey on prime256v1, and the head of an ECPrivateKey (RFC 5915) of version 1.
    const HEAD: [u8; 36] = [
        0x30, 0x81, 0x87, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D,
        0x02, 0x01, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07, 0x04, 0x6D, 0x30,
        0x6B, 0x02, 0x01, 0x01, 0x04, 0x20,
    ];
    /// Its publicKey: [1] with a BIT STRING of whole bytes.
    const PUBLIC: [u8; 5] = [0xA1, 0x44, 0x03, 0x42, 0x00];
    [&HEAD[..], private, &PUBLIC, public].concat()
}

impl PublicKey {
    /// A key from what a certificate or CSR carries. The bits are checked when first used to verify.
    #[must_use]
    pub fn from_bits(algorithm: PublicAlgorithm, bits: &[u8]) -> Self {
        Self { algorithm, bits: bits.into() }
    }

    /// What the bits mean.
    #[must_use]
    pub const fn algorithm(&self) -> PublicAlgorithm {
        self.algorithm
    }

    /// The subjectPublicKey bit string (RFC 5280 §4.1.2.7), without its wrapping.
    #[must_use]
    pub fn bits(&self) -> &[u8] {
        &self.bits
    }

    /// SHA-1 of the bit string: the key identifier of RFC 5280 §4.2.1.2 (1), which Go and SPIRE use.
    #[must_use]
    pub fn key_id(&self) -> Vec<u8> {
        digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &self.bits).as_ref().to_vec()
    }
}

impl SecretKey {
    /// Wraps PKCS#8 bytes; whether they are a key shows when they are loaded.
    #[must_use]
    pub fn from_pkcs8(der: Vec<u8>) -> Self {
        Self(Arc::new(Zeroizing::new(der)))
    }

    /// The unencrypted PKCS#8 bytes. Never log them.
    #[must_use]
    pub fn pkcs8_der(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(redacted)")
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({:?}, private half redacted)", self.key_type)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({:?}, {} bytes)", self.algorithm, self.bits.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_type_survives_a_round_trip_through_pkcs8() {
        for key_type in [KeyType::EcP256, KeyType::EcP384, KeyType::Rsa2048] {
            let pair = KeyPair::generate(key_type).unwrap();
            let loaded = KeyPair::load(&pair.secret_key().unwrap()).unwrap();
            assert_eq!(loaded.key_type(), key_type);
            assert_eq!(loaded.public_key(), pair.public_key());
        }
    }

    #[test]
    fn a_p256_key_is_written_as_the_crypto_library_writes_it() {
        let pair = KeyPair::generate(KeyType::EcP256).unwrap();
        let Signer::Ecdsa(signer) = &pair.signer else { unreachable!("P-256 is ECDSA") };
        let secret = pair.secret_key().unwrap();
        assert_eq!(secret.pkcs8_der(), signer.to_pkcs8v1().unwrap().as_ref());
    }

    #[test]
    fn no_debug_output_shows_private_bytes() {
        let pair = KeyPair::generate(KeyType::EcP256).unwrap();
        let secret = pair.secret_key().unwrap();
        assert_eq!(format!("{secret:?}"), "SecretKey(redacted)");
        assert_eq!(format!("{pair:?}"), "KeyPair(EcP256, private half redacted)");
    }

    #[test]
    fn bytes_that_are_no_key_are_refused() {
        let error = KeyPair::load(&SecretKey::from_pkcs8(b"nonsense".to_vec())).unwrap_err();
        assert!(matches!(error, KeyError::Unsupported));
    }
}
