//! Signing requests as no honest client makes them, put together by hand.

use finial::x509::{KeyPair, KeyType, csr, key::PublicAlgorithm, name::Name};
use yasna::{DERWriter, Tag, construct_der, models::ObjectIdentifier};

pub(crate) const ECDSA_SHA256: &[u64] = &[1, 2, 840, 10045, 4, 3, 2];
pub(crate) const ECDSA_SHA1: &[u64] = &[1, 2, 840, 10045, 4, 1];
pub(crate) const RSA_SHA256: &[u64] = &[1, 2, 840, 113_549, 1, 1, 11];
pub(crate) const RSA_SHA1: &[u64] = &[1, 2, 840, 113_549, 1, 1, 5];
pub(crate) const RSA_MD5: &[u64] = &[1, 2, 840, 113_549, 1, 1, 4];
const EC_PUBLIC_KEY: &[u64] = &[1, 2, 840, 10045, 2, 1];
const RSA_PUBLIC_KEY: &[u64] = &[1, 2, 840, 113_549, 1, 1, 1];
const EXTENSION_REQUEST: &[u64] = &[1, 2, 840, 113_549, 1, 9, 14];

/// The parts of a request. Signed by the key it names unless told otherwise.
pub(crate) struct Forgery {
    pub(crate) version: u8,
    pub(crate) subject: Vec<(&'static [u64], Vec<u8>)>,
    pub(crate) public_key: Vec<u8>,
    /// DER of requested extensions.
    pub(crate) extensions: Vec<Vec<u8>>,
    pub(crate) signature_algorithm: &'static [u64],
    pub(crate) signature: Signature,
}

pub(crate) enum Signature {
    By(KeyPair),
    Bytes(Vec<u8>),
}

impl Forgery {
    /// A request without a fault.
    pub(crate) fn honest() -> Self {
        Self::by(KeyPair::generate(KeyType::EcP256).unwrap())
    }

    pub(crate) fn by(key: KeyPair) -> Self {
        let curve = if key.key_type() == KeyType::EcP384 { P384 } else { P256 };
        let (public_key, signature_algorithm) = match key.public_key().algorithm() {
            PublicAlgorithm::Rsa => (rsa_key(key.public_key().bits()), RSA_SHA256),
            _ => (ec_key(curve, key.public_key().bits()), ECDSA_SHA256),
        };
        Self {
            version: 0,
            subject: Vec::new(),
            public_key,
            extensions: Vec::new(),
            signature_algorithm,
            signature: Signature::By(key),
        }
    }

    /// A request for a key that nobody here can sign with.
    pub(crate) fn unsigned(public_key: Vec<u8>, signature_algorithm: &'static [u64]) -> Self {
        let signature = Signature::Bytes(vec![7; 64]);
        Self { public_key, signature_algorithm, signature, ..Self::honest() }
    }

    pub(crate) fn der(&self) -> Vec<u8> {
        let info = self.info();
        let signature = match &self.signature {
            Signature::By(key) => key.sign(&info).unwrap(),
            Signature::Bytes(bytes) => bytes.clone(),
        };
        construct_der(|writer| {
            writer.write_sequence(|request| {
                request.next().write_der(&info);
                request.next().write_sequence(|algorithm| {
                    algorithm
                        .next()
                        .write_oid(&ObjectIdentifier::from_slice(self.signature_algorithm));
                });
                request.next().write_bitvec_bytes(&signature, signature.len() * 8);
            });
        })
    }

    /// What is signed.
    pub(crate) fn info(&self) -> Vec<u8> {
        construct_der(|writer| self.write_info(writer))
    }

    fn write_info(&self, writer: DERWriter<'_>) {
        writer.write_sequence(|info| {
            info.next().write_u8(self.version);
            info.next().write_sequence(|names| {
                for (kind, value) in &self.subject {
                    names.next().write_set(|name| {
                        name.next().write_sequence(|attribute| {
                            attribute.next().write_oid(&ObjectIdentifier::from_slice(kind));
                            let text = String::from_utf8(value.clone()).unwrap();
                            attribute.next().write_utf8_string(&text);
                        });
                    });
                }
            });
            info.next().write_der(&self.public_key);
            info.next().write_tagged_implicit(Tag::context(0), |attributes| {
                attributes.write_set(|attributes| {
                    if self.extensions.is_empty() {
                        return;
                    }
                    attributes.next().write_sequence(|attribute| {
                        attribute
                            .next()
                            .write_oid(&ObjectIdentifier::from_slice(EXTENSION_REQUEST));
                        attribute.next().write_set(|values| {
                            values.next().write_sequence(|list| {
                                for extension in &self.extensions {
                                    list.next().write_der(extension);
                                }
                            });
                        });
                    });
                });
            });
        });
    }
}

/// A request as our agents make it.
pub(crate) fn plain(key: &KeyPair) -> Vec<u8> {
    csr::create(key, &Name::default(), Some("spiffe://example.org/w")).unwrap()
}

pub(crate) const P256: &[u64] = &[1, 2, 840, 10045, 3, 1, 7];
pub(crate) const P384: &[u64] = &[1, 3, 132, 0, 34];

/// SubjectPublicKeyInfo of a key on a named curve.
pub(crate) fn ec_key(curve: &[u64], point: &[u8]) -> Vec<u8> {
    public_key(
        EC_PUBLIC_KEY,
        |parameters| parameters.write_oid(&ObjectIdentifier::from_slice(curve)),
        point,
    )
}

/// SubjectPublicKeyInfo of an RSA key given as PKCS#1.
pub(crate) fn rsa_key(pkcs1: &[u8]) -> Vec<u8> {
    public_key(RSA_PUBLIC_KEY, |parameters| parameters.write_null(), pkcs1)
}

/// PKCS#1 of an RSA key with this modulus and exponent.
pub(crate) fn pkcs1(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    construct_der(|writer| {
        writer.write_sequence(|key| {
            key.next().write_bigint_bytes(modulus, true);
            key.next().write_bigint_bytes(exponent, true);
        });
    })
}

/// SubjectPublicKeyInfo of a key whose algorithm has no parameters, such as Ed25519.
pub(crate) fn bare_key(algorithm: &[u64], bits: &[u8]) -> Vec<u8> {
    construct_der(|writer| {
        writer.write_sequence(|info| {
            info.next().write_sequence(|fields| {
                fields.next().write_oid(&ObjectIdentifier::from_slice(algorithm));
            });
            info.next().write_bitvec_bytes(bits, bits.len() * 8);
        });
    })
}

fn public_key(algorithm: &[u64], parameters: impl FnOnce(DERWriter<'_>), bits: &[u8]) -> Vec<u8> {
    construct_der(|writer| {
        writer.write_sequence(|info| {
            info.next().write_sequence(|fields| {
                fields.next().write_oid(&ObjectIdentifier::from_slice(algorithm));
                parameters(fields.next());
            });
            info.next().write_bitvec_bytes(bits, bits.len() * 8);
        });
    })
}

/// An Extension with this content.
pub(crate) fn extension(oid: &[u64], content: &[u8]) -> Vec<u8> {
    construct_der(|writer| {
        writer.write_sequence(|extension| {
            extension.next().write_oid(&ObjectIdentifier::from_slice(oid));
            extension.next().write_bool(true);
            extension.next().write_bytes(content);
        });
    })
}

/// A subjectAltName extension with these URIs.
pub(crate) fn uri_names(uris: &[&str]) -> Vec<u8> {
    let content = construct_der(|writer| {
        writer.write_sequence(|names| {
            for uri in uris {
                names.next().write_tagged_implicit(Tag::context(6), |name| {
                    name.write_bytes(uri.as_bytes())
                });
            }
        });
    });
    extension(&[2, 5, 29, 17], &content)
}
