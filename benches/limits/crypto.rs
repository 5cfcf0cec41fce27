//! P-256 alone: what no certificate authority can do without.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair,
        UnparsedPublicKey,
    },
};
use std::hint::black_box;

/// A key with a message that it has signed.
pub(crate) struct P256 {
    key: EcdsaKeyPair,
    random: SystemRandom,
    signature: Vec<u8>,
}

/// About what a CSR and a certificate have to be signed.
const MESSAGE: [u8; 300] = [0x5a; 300];

impl P256 {
    /// A fresh key.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?;
        let signature = key.sign(&random, &MESSAGE)?.as_ref().to_vec();
        Ok(Self { key, random, signature })
    }

    /// A signature checked by a public key that comes as bytes, and one made.
    pub(crate) fn verify_and_sign(&self) -> anyhow::Result<()> {
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, self.key.public_key());
        public.verify(&MESSAGE, black_box(&self.signature))?;
        black_box(self.key.sign(&self.random, &MESSAGE)?);
        Ok(())
    }

    /// What a rotation needs up to the certificate: a key made, its CSR signed, that checked, and the
    /// certificate signed.
    pub(crate) fn issue(&self) -> anyhow::Result<()> {
        let fresh = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?;
        black_box(fresh.sign(&self.random, &MESSAGE)?);
        self.verify_and_sign()
    }

    /// What the agent does with a certificate before anyone is given it.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, self.key.public_key());
        Ok(public.verify(&MESSAGE, black_box(&self.signature))?)
    }
}
