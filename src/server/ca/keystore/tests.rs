//! What the key file survives and what is refused.

use super::*;
use crate::x509::KeyType;
use std::{fs, os::unix::fs::PermissionsExt as _};

fn secret(key_type: KeyType) -> SecretKey {
    KeyPair::generate(key_type).unwrap().secret_key().unwrap()
}

fn key_file() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.json");
    (directory, path)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn write_private(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    set_mode(path, 0o600);
}

#[test]
fn saved_keys_are_found_again_by_name_and_nobody_else_may_read_them() {
    let (_directory, path) = key_file();
    let store = KeyStore::open(&path).unwrap();
    let (first, second) = (secret(KeyType::EcP256), secret(KeyType::EcP384));
    store.save("x509-CA-A", first).unwrap();
    store.save("x509-CA-B", second.clone()).unwrap();
    store.save("x509-CA-A", second.clone()).unwrap();
    let reopened = KeyStore::open(&path).unwrap();
    let expected = KeyPair::load(&second).unwrap();
    for name in ["x509-CA-A", "x509-CA-B"] {
        let found = reopened.load(name).unwrap().unwrap();
        assert_eq!(found.public_key(), expected.public_key());
    }
    assert!(reopened.load("x509-CA-C").unwrap().is_none());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no leftover");
}

#[test]
fn the_file_has_the_form_of_spire_and_keeps_names_that_finial_does_not_use() {
    let (_directory, path) = key_file();
    let foreign = secret(KeyType::Rsa2048);
    let base64 = {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        STANDARD.encode(foreign.pkcs8_der())
    };
    // As Go's json.MarshalIndent(.., "", "\t") writes it.
    let text = format!("{{\n\t\"keys\": {{\n\t\t\"JWT-Signer-A\": \"{base64}\"\n\t}}\n}}");
    write_private(&path, text.as_bytes());
    let store = KeyStore::open(&path).unwrap();
    store.save("JWT-Signer-A", foreign).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    store.save("x509-CA-A", secret(KeyType::EcP256)).unwrap();
    assert!(KeyStore::open(&path).unwrap().load("JWT-Signer-A").unwrap().is_some());
}

#[test]
fn a_file_cut_at_any_byte_is_refused_with_the_remedy_and_left_as_it_is() {
    let (_directory, path) = key_file();
    KeyStore::open(&path).unwrap().save("x509-CA-A", secret(KeyType::EcP256)).unwrap();
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() {
        write_private(&path, &whole[..length]);
        let error = KeyStore::open(&path).unwrap_err();
        assert!(matches!(error, KeyStoreError::Damaged { .. }), "{length} bytes: {error:?}");
        assert!(error.to_string().contains("restore it from a backup"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), whole[..length]);
    }
}

#[test]
fn a_flipped_byte_never_yields_another_key_unnoticed() {
    let (_directory, path) = key_file();
    let store = KeyStore::open(&path).unwrap();
    store.save("x509-CA-A", secret(KeyType::EcP256)).unwrap();
    let public = store.load("x509-CA-A").unwrap().unwrap().public_key().clone();
    let whole = fs::read(&path).unwrap();
    for position in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[position] ^= 0x01;
        write_private(&path, &bytes);
        // PKCS#8 names the curve and repeats the public key; what still loads is the same key.
        if let Ok(found) = KeyStore::open(&path)
            && let Some(key) = found.load("x509-CA-A").unwrap()
        {
            assert_eq!(key.public_key(), &public, "byte {position}");
        }
    }
}

#[test]
fn a_file_that_others_can_read_is_refused_with_its_mode() {
    let (_directory, path) = key_file();
    KeyStore::open(&path).unwrap().save("x509-CA-A", secret(KeyType::EcP256)).unwrap();
    for mode in [0o644, 0o640, 0o604, 0o620, 0o601, 0o666] {
        set_mode(&path, mode);
        let error = KeyStore::open(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("has mode {mode:04o}, expected 0600")), "{error}");
        assert!(error.contains("chmod 600"), "{error}");
    }
    for mode in [0o600, 0o400] {
        set_mode(&path, mode);
        KeyStore::open(&path).unwrap();
    }
}

#[test]
fn links_directories_and_pipes_are_refused() {
    let (directory, path) = key_file();
    let target = directory.path().join("elsewhere.json");
    write_private(&target, b"{\"keys\": {}}");
    std::os::unix::fs::symlink(&target, &path).unwrap();
    assert!(matches!(KeyStore::open(&path), Err(KeyStoreError::SymbolicLink(_))));
    assert!(matches!(KeyStore::open(directory.path()), Err(KeyStoreError::NotAFile(_))));
    let pipe = directory.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
    assert!(matches!(KeyStore::open(&pipe), Err(KeyStoreError::NotAFile(_))), "without waiting");
}

#[test]
fn a_file_of_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        return; // Only root can give files away.
    }
    let (_directory, path) = key_file();
    write_private(&path, b"{\"keys\": {}}");
    std::os::unix::fs::chown(&path, Some(12_345), None).unwrap();
    let error = KeyStore::open(&path).unwrap_err();
    assert!(matches!(error, KeyStoreError::Owner { owner: 12_345, .. }), "{error}");
}

#[test]
fn a_key_that_cannot_be_written_down_is_not_used() {
    let (directory, path) = key_file();
    let store = KeyStore::open(&path).unwrap();
    fs::create_dir(directory.path().join("keys.json.tmp")).unwrap();
    let error = store.save("x509-CA-A", secret(KeyType::EcP256)).unwrap_err();
    assert!(matches!(error, KeyStoreError::Io { .. }));
    assert!(store.load("x509-CA-A").unwrap().is_none());
}

#[test]
fn memory_forgets_when_the_last_handle_is_gone_and_shares_until_then() {
    let store = KeyStore::in_memory();
    store.clone().save("x509-CA-A", secret(KeyType::EcP256)).unwrap();
    assert!(store.load("x509-CA-A").unwrap().is_some());
    assert!(KeyStore::in_memory().load("x509-CA-A").unwrap().is_none());
}
