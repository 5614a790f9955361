//! The encryption of a key by a password: Web3 Secret Storage, version 3.
//!
//! The password becomes 32 bytes by scrypt. The first 16 encrypt the key with AES-128 in counter mode, the other 16
//! authenticate what came out, with keccak. The crate that is customary for this (eth-keystore) fixes scrypt's cost
//! at 2^13, a thirty-second of what geth takes, and panics over files that are damaged; the tests hold this module
//! against it.

use aes::{
    Aes128,
    cipher::{KeyIvInit, StreamCipher},
};
use alloy::primitives::{Address, keccak256};
use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Password, SecretKey};

/// How much work it is to try one password. Twice the number is twice the work and twice the memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cost {
    log_n: u8,
}

/// A key that could not be encrypted or decrypted.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The password is another one, or the file was changed.
    #[error("the password is wrong")]
    WrongPassword,
    /// The file is no account.
    #[error("it is not an account in the format Web3 Secret Storage 3")]
    NotAnAccount(#[source] serde_json::Error),
    /// The file uses something that this program does not know, or would not do.
    #[error("it has {0}, which is not supported")]
    Unsupported(String),
    /// What was decrypted is no key.
    #[error("what it holds is not a secret key")]
    NotAKey,
    /// The system gave no randomness.
    #[error("the system gives no randomness")]
    Random(#[source] getrandom::Error),
}

/// The derived key's length, which the format fixes in effect.
const DERIVED_BYTES: usize = 32;
/// Scrypt with these parameters needs 1 GiB: a file that asks for more would stop the machine.
const MAX_WORK: u64 = 1 << 20;

impl Cost {
    /// What geth takes: 256 MiB, and about a second.
    pub const STANDARD: Self = Self { log_n: 18 };
    /// For tests and for keys that are worth nothing.
    pub const LIGHT: Self = Self { log_n: 12 };
}

#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(alias = "Crypto")]
    crypto: Crypto,
    id: String,
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct Crypto {
    cipher: String,
    ciphertext: String,
    cipherparams: CipherParams,
    kdf: String,
    kdfparams: KdfParams,
    mac: String,
}

#[derive(Serialize, Deserialize)]
struct CipherParams {
    iv: String,
}

/// Scrypt's; files with another function lack some of these fields.
#[derive(Serialize, Deserialize)]
struct KdfParams {
    dklen: usize,
    #[serde(default)]
    n: u64,
    #[serde(default)]
    p: u32,
    #[serde(default)]
    r: u32,
    salt: String,
}

/// The text of an account's file.
pub(super) fn seal(
    key: &SecretKey,
    address: Address,
    password: &Password,
    cost: Cost,
) -> Result<String, SealError> {
    let (mut salt, mut iv, mut id) = ([0; 32], [0; 16], [0; 16]);
    for random in [salt.as_mut_slice(), &mut iv, &mut id] {
        getrandom::fill(random).map_err(SealError::Random)?;
    }
    let params = KdfParams { dklen: DERIVED_BYTES, n: 1 << cost.log_n, p: 1, r: 8, salt: HEX.encode(&salt) };
    let derived = derive(password, &params, &salt)?;
    let mut ciphertext = *key.bytes();
    encrypt(&derived, &iv, &mut ciphertext);
    let stored = Stored {
        address: Some(HEX.encode(address.as_slice())),
        crypto: Crypto {
            cipher: "aes-128-ctr".to_owned(),
            ciphertext: HEX.encode(&ciphertext),
            cipherparams: CipherParams { iv: HEX.encode(&iv) },
            kdf: "scrypt".to_owned(),
            kdfparams: params,
            mac: HEX.encode(&authenticate(&derived, &ciphertext)),
        },
        id: uuid(id),
        version: 3,
    };
    Ok(serde_json::to_string(&stored).expect("strings and numbers are always JSON") + "\n")
}

/// The key in an account's file.
pub(super) fn open(text: &str, password: &Password) -> Result<SecretKey, SealError> {
    let Stored { crypto, version, .. } = serde_json::from_str(text).map_err(SealError::NotAnAccount)?;
    if version != 3 {
        return Err(SealError::Unsupported(format!("version {version}")));
    }
    if crypto.cipher != "aes-128-ctr" {
        return Err(SealError::Unsupported("another cipher than aes-128-ctr".to_owned()));
    }
    if crypto.kdf != "scrypt" {
        return Err(SealError::Unsupported("another key derivation than scrypt".to_owned()));
    }
    let iv: [u8; 16] = bytes(&crypto.cipherparams.iv)?;
    let mut ciphertext: [u8; 32] = bytes(&crypto.ciphertext)?;
    let mac: [u8; 32] = bytes(&crypto.mac)?;
    let salt = HEX.decode(crypto.kdfparams.salt.as_bytes());
    let salt = salt.map_err(|_| SealError::Unsupported("a salt that is not hexadecimal".to_owned()))?;
    let derived = derive(password, &crypto.kdfparams, &salt)?;
    // Who learns from the time of this comparison has the file and can compute the same.
    if authenticate(&derived, &ciphertext) != mac {
        return Err(SealError::WrongPassword);
    }
    encrypt(&derived, &iv, &mut ciphertext);
    let plain = Zeroizing::new(ciphertext);
    SecretKey::from_bytes(&plain).map_err(|_| SealError::NotAKey)
}

/// The address that an account's file says, if it says one.
pub(super) fn address(text: &str) -> Result<Option<Address>, SealError> {
    let stored: Stored = serde_json::from_str(text).map_err(SealError::NotAnAccount)?;
    Ok(stored.address.and_then(|address| address.parse().ok()))
}

fn derive(
    password: &Password,
    params: &KdfParams,
    salt: &[u8],
) -> Result<Zeroizing<[u8; DERIVED_BYTES]>, SealError> {
    let unsupported = || {
        let KdfParams { dklen, n, r, p, .. } = params;
        SealError::Unsupported(format!("scrypt with dklen {dklen}, n {n}, r {r}, p {p}"))
    };
    let work = params.n.saturating_mul(params.r.into()).saturating_mul(params.p.max(1).into());
    let is_sane = params.n.is_power_of_two() && params.n > 1 && params.r > 0 && work <= MAX_WORK * 8;
    if !is_sane || params.dklen != DERIVED_BYTES {
        return Err(unsupported());
    }
    let log_n = params.n.trailing_zeros() as u8;
    let scrypt_params = scrypt::Params::new(log_n, params.r, params.p).map_err(|_| unsupported())?;
    let mut derived = Zeroizing::new([0; DERIVED_BYTES]);
    scrypt::scrypt(password.as_bytes(), salt, &scrypt_params, derived.as_mut_slice())
        .map_err(|_| unsupported())?;
    Ok(derived)
}

/// Encrypts and decrypts: the same in counter mode.
fn encrypt(derived: &[u8; DERIVED_BYTES], iv: &[u8; 16], text: &mut [u8; 32]) {
    let (key, _) = derived.split_at(16);
    let cipher = ctr::Ctr128BE::<Aes128>::new_from_slices(key, iv);
    cipher.expect("the key and the first block have 16 bytes").apply_keystream(text);
}

fn authenticate(derived: &[u8; DERIVED_BYTES], ciphertext: &[u8]) -> [u8; 32] {
    let text = Zeroizing::new([&derived[16..], ciphertext].concat());
    keccak256(text.as_slice()).0
}

fn bytes<const N: usize>(digits: &str) -> Result<[u8; N], SealError> {
    let bytes = HEX.decode(digits.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| SealError::Unsupported(format!("a field that is not {N} bytes in hexadecimal")))
}

/// Random bytes in the shape of a UUID of version 4.
fn uuid(mut random: [u8; 16]) -> String {
    random[6] = random[6] & 0x0f | 0x40;
    random[8] = random[8] & 0x3f | 0x80;
    let digits = HEX.encode(&random);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}
